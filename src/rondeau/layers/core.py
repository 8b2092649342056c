"""Layers that treat every step alike, and `Input`."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from rondeau import activations
from rondeau.errors import ArgumentError, ShapeError
from rondeau.layers.base import Layer, each_step
from rondeau.layers.graph import Node, Shape, SymbolicTensor
from rondeau.module import positive, share
from rondeau.sequence import Ragged


class InputLayer(Layer):
    """Where data enters a model; made by `Input`, whose arguments it takes."""

    def __init__(
        self, shape: Any, batch_size: int | None = None, dtype: str | None = None, name: str | None = None
    ) -> None:
        super().__init__(name)
        known = isinstance(shape, (list, tuple)) and all(size is None or isinstance(size, int) for size in shape)
        if not known:
            fix = "Without the batch: Input((None, 8)) for sequences of 8 features"
            raise ArgumentError(
                "Input: shape", expected="a tuple of sizes, None where unknown", got=repr(shape), fix=fix
            )
        if dtype is not None and not isinstance(getattr(torch, str(dtype), None), torch.dtype):
            raise ArgumentError("Input: dtype", expected="a type's name, such as 'int64' or 'float32'", got=repr(dtype))
        self.batch_shape: Shape = (batch_size, *shape)
        self.dtype = dtype

    def forward(self, x: Any) -> Any:
        return x


def Input(  # Keras's name
    shape: Any = None,
    batch_size: int | None = None,
    dtype: str | None = None,
    name: str | None = None,
    batch_shape: Any = None,
) -> SymbolicTensor:
    """A symbolic tensor `(batch_size, *shape)` to build a functional model from, or to begin a `Sequential` with.

    Args:
        shape: sizes without the batch, None where unknown.
        batch_size: default None, any.
        dtype: name of a torch type (default None: as the data comes).
        name: of the input; default 'input_layer', numbered by the model.
        batch_shape: all sizes, the batch's first; instead of `shape` and `batch_size`.

    >>> Input((None, 8)).shape
    (None, None, 8)
    """
    if (shape is None) == (batch_shape is None) or (batch_shape is not None and batch_size is not None):
        got = f"shape={shape}, batch_size={batch_size}, batch_shape={batch_shape}"
        raise ArgumentError("Input", expected="shape, with batch_size or without, or batch_shape alone", got=got)
    if batch_shape is not None:
        batch_size, shape = batch_shape[0], tuple(batch_shape[1:])
    layer = InputLayer(tuple(shape) if isinstance(shape, list) else shape, batch_size, dtype, name)
    node = Node(layer, (), {})
    node.outputs = SymbolicTensor(layer.batch_shape, getattr(torch, dtype) if dtype else None, node, None)
    return node.outputs  # type: ignore[no-any-return]


class Dense(Layer):
    """`activation(x W + b)` over the last axis; on a sequence, the same at every step.

    Args:
        units: features of the output.
        activation: a name or function (default None, linear).
        use_bias: default true.
        kernel_initializer, bias_initializer: default 'glorot_uniform', 'zeros'.
        kernel_regularizer, bias_regularizer: penalties, added to `losses` (default None).

    Shapes `(..., features)` -> `(..., units)`; a `Ragged` gives a `Ragged`. Weights `kernel` `(features, units)` and
    `bias` `(units,)`. Raises `ShapeError` for other features than it was built for.

    >>> Dense(4, activation="relu")(torch.zeros(2, 7, 3)).shape
    torch.Size([2, 7, 4])
    """

    fixed_features = True

    def __init__(
        self,
        units: int,
        activation: Any = None,
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.units, self.activation, self.use_bias = (
            positive("Dense", "units", units),
            activations.get(activation),
            use_bias,
        )
        self.kernel_initializer, self.kernel_regularizer = kernel_initializer, kernel_regularizer
        self.bias_initializer, self.bias_regularizer = bias_initializer, bias_regularizer

    def build(self, input_shape: Shape) -> None:
        features = known_features(self, input_shape)
        self.kernel = self.add_weight(
            "kernel", (features, self.units), self.kernel_initializer, self.kernel_regularizer
        )
        self.bias: Tensor | None = None
        if self.use_bias:
            self.bias = self.add_weight("bias", (self.units,), self.bias_initializer, self.bias_regularizer)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return (*input_shape[:-1], self.units)

    def forward(self, x: Any) -> Any:
        return each_step(x, lambda values: self.activation(F.linear(values, self.kernel.T, self.bias)))


class Activation(Layer):
    """An activation function as a layer: a name, or any callable tensor -> tensor of the same shape.

    >>> Activation("relu")(torch.tensor([[-1.0, 2.0]])).tolist()
    [[0.0, 2.0]]
    """

    def __init__(self, activation: Any, **options: Any) -> None:
        super().__init__(**options)
        self.activation = activations.get(activation)

    def forward(self, x: Any) -> Any:
        return each_step(x, self.activation)


class Dropout(Layer):
    """In training, zeroes a share `rate` of the values and scales the others by 1 / (1 - rate) (Srivastava 2014).

    Args:
        rate: 0 <= rate < 1.
        noise_shape: sizes of 1 share one draw along that axis, None being the input's size: `(None, 1, None)` for all
            steps of a row alike. Default: a draw for each value.
        seed: None (default) draws from torch's global generator.

    The shape stays; a `Ragged` gives a `Ragged`. In `eval` mode the input itself. Raises `ArgumentError` for another
    rate, `ShapeError` for a noise_shape that does not fit the input.
    """

    def __init__(self, rate: float, noise_shape: Any = None, seed: int | None = None, **options: Any) -> None:
        super().__init__(**options)
        self.rate, self.noise_shape, self.seed = share("Dropout", "rate", rate), noise_shape, seed

    def forward(self, x: Any) -> Any:
        if not self.training or self.rate == 0:
            return x
        if self.noise_shape is None:
            return each_step(x, lambda values: values * self._noise(values, tuple(values.shape)))
        if isinstance(x, Tensor):
            return x * self._noise(x, self._sizes(tuple(x.shape)))
        # noise of (batch, time, ...), laid along the steps
        padded = (len(x), int(x.lengths.max()) if len(x) else 0, *x.values.shape[1:])
        noise = self._noise(x.values, self._sizes(padded)).expand(padded)
        return x.with_values(x.values * Ragged.from_padded(noise, x.lengths).values)

    def _sizes(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        given = tuple(self.noise_shape)
        sizes = tuple(own if size is None else size for size, own in zip(given, shape, strict=False))
        if len(given) != len(shape) or any(size not in (1, own) for size, own in zip(sizes, shape, strict=True)):
            what = f"layer {self.name}: noise_shape does not fit the input"
            raise ShapeError(what, expected=f"None, 1 or its size for each axis of {shape}", got=given)
        return sizes

    def _noise(self, like: Tensor, shape: tuple[int, ...]) -> Tensor:
        keep = 1 - self.rate
        # on a CPU twice as fast as bernoulli_, which draws in float64; float32 whatever `like` is: it decides the rate
        drawn = torch.rand(shape, dtype=torch.float32, device=like.device, generator=self.generator(like.device))
        return drawn.lt_(keep).to(like.dtype).div_(keep)


class Flatten(Layer):
    """All axes but the batch in one: `(batch, a, b)` -> `(batch, a b)`. Raises `ShapeError` for a `Ragged`.

    >>> Flatten()(torch.zeros(2, 3, 4)).shape
    torch.Size([2, 12])
    """

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        rest = input_shape[1:]
        return (input_shape[0], None if None in rest else math.prod(rest))

    def forward(self, x: Tensor) -> Tensor:
        if isinstance(x, Ragged):
            fix = "Pool over time first, or take a recurrent layer's last output"
            raise ShapeError("rows of unequal length cannot be flattened", where=f"layer {self.name}", fix=fix)
        return x.flatten(1) if x.ndim > 1 else x[:, None]


def known_features(layer: Layer, shape: Shape) -> int:
    """The size of the last axis, which weights depend on. Raises `ShapeError` where it is unknown."""
    if not shape or shape[-1] is None or not isinstance(shape[-1], int):
        fix = "Give Input a shape whose last size is a number"
        raise ShapeError("the number of features must be known", got=shape, where=f"layer {layer.name}", fix=fix)
    return shape[-1]
