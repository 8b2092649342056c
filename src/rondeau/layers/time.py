"""Layers that act on the time axis as a whole."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from rondeau.errors import ArgumentError, ShapeError
from rondeau.layers.base import Layer, real_steps
from rondeau.layers.graph import Shape
from rondeau.module import positive
from rondeau.sequence import Ragged


class TimeDistributed(Layer):
    """A layer applied to every step alone: `(batch, time, ...)` -> `(batch, time, ...)`.

    Args:
        layer: a layer, or any torch module.

    In a `Ragged`, and called with `mask` `(batch, time)`, it is applied to the real steps only; with a mask the
    output is zero at the others, where Keras applies the layer all the same.

    >>> from rondeau.layers import Dense
    >>> TimeDistributed(Dense(4))(torch.zeros(2, 7, 3)).shape
    torch.Size([2, 7, 4])
    """

    def __init__(self, layer: Any, **options: Any) -> None:
        super().__init__(**options)
        if not isinstance(layer, torch.nn.Module):
            raise ArgumentError("TimeDistributed: layer", expected="a layer", got=type(layer).__name__)
        self.layer = layer

    def build(self, input_shape: Shape) -> None:
        if isinstance(self.layer, Layer):
            self.layer.build_for((input_shape[0], *input_shape[2:]))

    def check_shape(self, shape: Any) -> None:
        if not isinstance(shape, tuple) or len(shape) < 3:
            raise ShapeError(f"layer {self.name}: the input", expected="(batch, time, ...)", got=shape)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        inner = (input_shape[0], *input_shape[2:])
        after = self.layer.compute_output_shape(inner) if isinstance(self.layer, Layer) else inner
        return (after[0], input_shape[1], *after[1:])

    def forward(self, x: Any, mask: Any = None) -> Any:
        steps = real_steps(self, x, mask)
        if isinstance(steps, Ragged):
            kept = steps.with_values(self._rows(steps.values))
            return kept if mask is None else kept.expand(zeros=True)
        y = self._rows(x.flatten(0, 1))
        return y.reshape(*x.shape[:2], *y.shape[1:])

    def _rows(self, steps: Tensor) -> Tensor:
        """What the layer makes of `(steps, ...)`."""
        return self._one(self.layer(steps))

    def _one(self, y: Any) -> Tensor:
        if not isinstance(y, Tensor):
            got = f"{type(y).__name__} from {type(self.layer).__name__}"
            fix = "Put a layer there that gives one tensor, or a module of your own around this one"
            raise ArgumentError(
                f"layer {self.name}: what it applies to each step", expected="one tensor", got=got, fix=fix
            )
        return y


class RepeatVector(Layer):
    """`(batch, features)` -> `(batch, n, features)`: one vector at each of `n` steps.

    >>> RepeatVector(2)(torch.tensor([[1.0, 2.0]])).tolist()
    [[[1.0, 2.0], [1.0, 2.0]]]
    """

    input_rank = 2

    def __init__(self, n: int, **options: Any) -> None:
        super().__init__(**options)
        self.n = positive("RepeatVector", "n", n)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return (input_shape[0], self.n, input_shape[1])

    def forward(self, x: Tensor) -> Tensor:
        return x[:, None].expand(-1, self.n, -1)


class Masking(Layer):
    """A step whose features all equal `mask_value` (default 0) is no step: gives a `Ragged` of the others.

    `(batch, time, features)`. A `Ragged` passes unchanged: all its steps are real.

    >>> Masking()(torch.tensor([[[1.0], [0.0], [2.0]]])).values.tolist()
    [[1.0], [2.0]]
    """

    input_rank = 3

    def __init__(self, mask_value: float = 0.0, **options: Any) -> None:
        super().__init__(**options)
        self.mask_value = mask_value

    def forward(self, x: Any) -> Ragged:
        return x if isinstance(x, Ragged) else Ragged.compress(x, (x != self.mask_value).any(-1))
