"""Layers that act on the time axis as a whole."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from rondeau.errors import ArgumentError
from rondeau.layers.base import Layer
from rondeau.layers.graph import Shape
from rondeau.sequence import Ragged


class TimeDistributed(Layer):
    """A layer applied to every step alone: `(batch, time, ...)`; with lengths or a mask, to the real steps only."""

    def __init__(self, layer: Any, **options: Any) -> None:
        super().__init__(**options)
        if not isinstance(layer, torch.nn.Module):
            raise ArgumentError("TimeDistributed: layer", expected="a layer", got=type(layer).__name__)
        self.layer = layer

    def build(self, input_shape: Shape) -> None:
        if isinstance(self.layer, Layer):
            self.layer.build_for((input_shape[0], *input_shape[2:]))

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        inner = (input_shape[0], *input_shape[2:])
        after = self.layer.compute_output_shape(inner) if isinstance(self.layer, Layer) else inner
        return (after[0], input_shape[1], *after[1:])

    def forward(self, x: Any, mask: Tensor | None = None) -> Any:
        if mask is not None:
            kept = Ragged.compress(x, mask)
            return kept.with_values(self.layer(kept.values)).expand(zeros=True)
        if isinstance(x, Ragged):
            return x.with_values(self.layer(x.values))
        y = self.layer(x.flatten(0, 1))
        return y.reshape(*x.shape[:2], *y.shape[1:])


class RepeatVector(Layer):
    """`(batch, features)` -> `(batch, n, features)`: one vector at every step."""

    input_rank = 2

    def __init__(self, n: int, **options: Any) -> None:
        super().__init__(**options)
        if not isinstance(n, int) or n < 1:
            raise ArgumentError("RepeatVector: n", expected="a positive integer", got=repr(n))
        self.n = n

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return (input_shape[0], self.n, input_shape[1])

    def forward(self, x: Tensor) -> Tensor:
        return x[:, None].expand(-1, self.n, -1)


class Masking(Layer):
    """A step whose features all equal `mask_value` (default 0) is no step: gives a `Ragged` of the others.

    A `Ragged` passes unchanged: all its steps are real.
    """

    input_rank = 3

    def __init__(self, mask_value: float = 0.0, **options: Any) -> None:
        super().__init__(**options)
        self.mask_value = mask_value

    def forward(self, x: Any) -> Ragged:
        return x if isinstance(x, Ragged) else Ragged.compress(x, (x != self.mask_value).any(-1))
