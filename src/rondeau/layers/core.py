"""Layers that treat every step alike, and `Input`."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from rondeau import activations
from rondeau.errors import ArgumentError, DataError, ShapeError
from rondeau.layers.base import Layer, each_step
from rondeau.layers.graph import Node, Shape, SymbolicTensor
from rondeau.sequence import Ragged


class InputLayer(Layer):
    """Where data enters a model; made by `Input`."""

    def __init__(self, shape: Any, batch_size: int | None = None, dtype: Any = None, name: str | None = None) -> None:
        super().__init__(name)
        self.batch_shape: Shape = (batch_size, *shape)
        self.dtype = dtype

    def forward(self, x: Any) -> Any:
        return x


def Input(  # noqa: N802  (Keras's name)
    shape: Any, batch_size: int | None = None, dtype: str | None = None, name: str | None = None
) -> SymbolicTensor:
    """A symbolic tensor `(batch_size, *shape)` to build a functional model from; unknown sizes are None.

    >>> Input((None, 8)).shape
    (None, None, 8)
    """
    layer = InputLayer(tuple(shape), batch_size, dtype, name)
    node = Node(layer, (), {})
    node.outputs = SymbolicTensor(layer.batch_shape, getattr(torch, dtype) if dtype else None, node, None)
    return node.outputs  # type: ignore[no-any-return]


class Dense(Layer):
    """`activation(x W + b)` over the last axis; on a sequence, the same at every step.

    Args (defaults as in Keras): units, activation None, use_bias True, kernel_initializer 'glorot_uniform',
    bias_initializer 'zeros', kernel_regularizer and bias_regularizer None. Shapes `(..., features)` -> `(..., units)`.
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
        if not isinstance(units, int) or units < 1:
            raise ArgumentError("Dense: units", expected="a positive integer", got=repr(units))
        self.units, self.activation, self.use_bias = units, activations.get(activation), use_bias
        self.kernel_initializer, self.kernel_regularizer = kernel_initializer, kernel_regularizer
        self.bias_initializer, self.bias_regularizer = bias_initializer, bias_regularizer

    def build(self, input_shape: Shape) -> None:
        features = known_features(self, input_shape)
        self.kernel = self.add_weight("kernel", (features, self.units), self.kernel_initializer, self.kernel_regularizer)
        self.bias: Tensor | None = None
        if self.use_bias:
            self.bias = self.add_weight("bias", (self.units,), self.bias_initializer, self.bias_regularizer)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return (*input_shape[:-1], self.units)

    def forward(self, x: Any) -> Any:
        return each_step(x, lambda values: self.activation(F.linear(values, self.kernel.T, self.bias)))


class Embedding(Layer):
    """A row of a table `(input_dim, output_dim)` for each integer id.

    Args:
        input_dim: number of ids; an id outside raises `DataError` naming it and its position.
        output_dim: features of a row.
        embeddings_initializer: default 'uniform' (±0.05), as in Keras.
        mask_zero: id 0 is padding: the layer gives a `Ragged` of the other steps. In a `Ragged` every step is real.

    Shapes: ids `(batch, ...)` -> `(batch, ..., output_dim)`.
    """

    def __init__(
        self,
        input_dim: int,
        output_dim: int,
        embeddings_initializer: Any = "uniform",
        embeddings_regularizer: Any = None,
        mask_zero: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        for name, size in (("input_dim", input_dim), ("output_dim", output_dim)):
            if not isinstance(size, int) or size < 1:
                raise ArgumentError(f"Embedding: {name}", expected="a positive integer", got=repr(size))
        self.input_dim, self.output_dim, self.mask_zero = input_dim, output_dim, mask_zero
        self.embeddings_initializer, self.embeddings_regularizer = embeddings_initializer, embeddings_regularizer
        # the table's shape is known from the start, so the layer is built at once
        self.add_weight("embeddings", (input_dim, output_dim), embeddings_initializer, embeddings_regularizer)
        if not self._trainable:
            self.requires_grad_(False)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return (*input_shape, self.output_dim)

    def forward(self, ids: Any) -> Any:
        if self.mask_zero and isinstance(ids, Tensor):
            ids = Ragged.compress(ids, ids != 0)
        return each_step(ids, lambda values: F.embedding(self._checked(ids, values), self.embeddings))

    def _checked(self, ids: Any, values: Tensor) -> Tensor:
        if values.is_floating_point():
            whole = values.long()
            if not torch.equal(whole.to(values.dtype), values):
                raise DataError("ids must be whole numbers", got=values.dtype, where=f"layer {self.name}")
            values = whole
        if values.numel() and (int(values.min()) < 0 or int(values.max()) >= self.input_dim):
            wrong = ((values < 0) | (values >= self.input_dim)).nonzero()[0].tolist()
            token = int(values[tuple(wrong)])
            if isinstance(ids, Ragged):
                row = int(ids.row_index[wrong[0]])
                wrong = [row, wrong[0] - int(ids.offsets[row]), *wrong[1:]]
            raise DataError(
                f"layer {self.name}: token id {token} is outside the table",
                expected=f"0 to {self.input_dim - 1} (input_dim={self.input_dim})",
                got=token,
                where=f"position {tuple(wrong)} of the batch",
                fix="Raise input_dim, or map unknown tokens to an id of their own",
            )
        return values.long()


class Activation(Layer):
    """An activation function as a layer; by name or any callable tensor -> tensor of the same shape."""

    def __init__(self, activation: Any, **options: Any) -> None:
        super().__init__(**options)
        self.activation = activations.get(activation)

    def forward(self, x: Any) -> Any:
        return each_step(x, self.activation)


class Dropout(Layer):
    """In training, zeroes a share `rate` of the values and scales the others by 1 / (1 - rate) (Srivastava et al. 2014).

    `noise_shape` as in Keras: sizes of 1 share one draw along that axis, e.g. `(None, 1, None)` for all steps alike
    (None: the input's size). `seed=None` draws from torch's global generator.
    """

    def __init__(self, rate: float, noise_shape: Any = None, seed: int | None = None, **options: Any) -> None:
        super().__init__(**options)
        if not 0 <= rate < 1:
            raise ArgumentError("Dropout: rate", expected="0 <= rate < 1", got=rate)
        self.rate, self.noise_shape, self.seed = rate, noise_shape, seed

    def forward(self, x: Any) -> Any:
        if not self.training or self.rate == 0:
            return x
        if isinstance(x, Ragged) and self.noise_shape is not None:
            return x.with_values(x.values * self._shared_noise(x))
        return each_step(x, lambda values: values * self._noise(values, self._sizes(values)))

    def _sizes(self, x: Tensor) -> tuple[int, ...]:
        if self.noise_shape is None:
            return tuple(x.shape)
        if len(self.noise_shape) != x.ndim:
            expected = f"{x.ndim} sizes"
            raise ShapeError("Dropout: noise_shape", expected=expected, got=self.noise_shape, where=f"layer {self.name}")
        return tuple(own if size is None else size for size, own in zip(self.noise_shape, x.shape, strict=True))

    def _noise(self, like: Tensor, shape: tuple[int, ...]) -> Tensor:
        keep = 1 - self.rate
        noise = torch.empty(shape, dtype=like.dtype, device=like.device)
        return noise.bernoulli_(keep, generator=self.generator(like.device)) / keep

    def _shared_noise(self, x: Ragged) -> Tensor:
        """Noise of `(batch, time, ...)` sizes, laid along a Ragged's steps."""
        batch, time, *rest = (len(x), int(x.lengths.max()), *x.values.shape[1:])
        sizes = tuple(own if s is None else s for s, own in zip(self.noise_shape, (batch, time, *rest), strict=True))
        noise = self._noise(x.values, sizes).expand(batch, time, *rest)
        return Ragged.from_padded(noise, x.lengths).values


class Flatten(Layer):
    """All axes but the batch in one: `(batch, a, b)` -> `(batch, a b)`."""

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        rest = input_shape[1:]
        return (input_shape[0], None if None in rest else math.prod(rest))

    def forward(self, x: Tensor) -> Tensor:
        if isinstance(x, Ragged):
            fix = "Pool over time first, or take a recurrent layer's last output"
            raise ShapeError("rows of unequal length cannot be flattened", where=f"layer {self.name}", fix=fix)
        return x.flatten(1)


def known_features(layer: Layer, shape: Shape) -> int:
    """The size of the last axis, which weights depend on. Raises `ShapeError` where it is unknown."""
    if not shape or shape[-1] is None or not isinstance(shape[-1], int):
        fix = "Give Input a shape whose last size is a number"
        raise ShapeError("the number of features must be known", got=shape, where=f"layer {layer.name}", fix=fix)
    return shape[-1]
