"""Several inputs into one."""

from __future__ import annotations

from functools import reduce
from typing import Any

import torch
from torch import Tensor

from rondeau.errors import ArgumentError, ShapeError
from rondeau.layers.base import Layer
from rondeau.layers.graph import Shape
from rondeau.sequence import Ragged


class _Merge(Layer):
    """Takes a list of at least two inputs; all tensors, or all `Ragged` with the same rows."""

    def check_shape(self, shape: Any) -> None:
        if not isinstance(shape, list) or len(shape) < 2:
            raise ArgumentError(f"layer {self.name}", expected="a list of at least two inputs", got=shape)
        self.compute_output_shape(shape)  # which says where they do not fit

    def compute_output_shape(self, input_shape: list[Shape]) -> Shape:
        return reduce(self._fitted, input_shape)

    def _fitted(self, one: Shape, other: Shape) -> Shape:
        pairs = list(zip(one, other, strict=False))
        if len(one) != len(other) or any(a != b and None not in (a, b) and 1 not in (a, b) for a, b in pairs):
            raise ShapeError("the inputs differ in shape", expected=one, got=other, where=f"layer {self.name}")
        return tuple(_size(a, b) for a, b in pairs)

    def forward(self, inputs: list[Any]) -> Any:
        if not any(isinstance(x, Ragged) for x in inputs):
            return self.merge(inputs)
        masks = [x.mask for x in inputs if isinstance(x, Ragged) and x.mask is not None]
        first = next(x for x in inputs if isinstance(x, Ragged) and (x.mask is not None or not masks))
        for x in inputs:
            if not isinstance(x, Ragged) or not torch.equal(x.lengths, first.lengths):
                got = [x.lengths.tolist() if isinstance(x, Ragged) else tuple(x.shape) for x in inputs]
                fix = "Give every input the same mask or lengths"
                raise ShapeError(f"layer {self.name}: the inputs differ in their rows", got=got, fix=fix)
        if not all(torch.equal(mask, masks[0]) for mask in masks):
            fix = "Give every input the same mask, or pad them first"
            raise ShapeError(f"layer {self.name}: the inputs' masks differ", fix=fix)
        return first.with_values(self.merge([x.values for x in inputs]))

    def merge(self, inputs: list[Tensor]) -> Tensor:
        raise NotImplementedError(type(self).__name__)  # abstract


def _size(one: int | None, other: int | None) -> int | None:
    """The size of an axis where two meet, 1 being stretched; unknown where either may turn out to be anything."""
    if one is None or other is None:
        known = other if one is None else one
        return None if known == 1 else known
    return other if one == 1 else one


class Add(_Merge):
    """The sum of the inputs, of one shape (sizes of 1 are stretched): residual connections.

    >>> Add()([torch.ones(2, 3), torch.ones(2, 3)]).sum().item()
    12.0
    """

    def merge(self, inputs: list[Tensor]) -> Tensor:
        return reduce(torch.add, inputs)


class Multiply(_Merge):
    """The product of the inputs, of one shape (sizes of 1 are stretched), element by element."""

    def merge(self, inputs: list[Tensor]) -> Tensor:
        return reduce(torch.mul, inputs)


class Average(_Merge):
    """The mean of the inputs, of one shape (sizes of 1 are stretched)."""

    def merge(self, inputs: list[Tensor]) -> Tensor:
        return reduce(torch.add, inputs) / len(inputs)


class Concatenate(_Merge):
    """The inputs side by side along `axis` (default -1), alike in all others; `Ragged` ones along the features only.

    >>> Concatenate()([torch.ones(2, 3), torch.ones(2, 4)]).shape
    torch.Size([2, 7])
    """

    def __init__(self, axis: int = -1, **options: Any) -> None:
        super().__init__(**options)
        self.axis = axis

    def compute_output_shape(self, input_shape: list[Shape]) -> Shape:
        first = list(input_shape[0])
        if not -len(first) <= self.axis < len(first):
            raise ArgumentError(f"layer {self.name}: axis", expected=f"one of {len(first)} axes", got=self.axis)
        axis = self.axis % len(first)
        for shape in input_shape[1:]:
            if len(shape) != len(first):
                raise ShapeError(f"layer {self.name}: the inputs differ in rank", expected=tuple(first), got=shape)
            for i, (a, b) in enumerate(zip(shape, first, strict=True)):
                if i != axis and a != b and None not in (a, b):
                    what = f"layer {self.name}: the inputs differ in axis {i}"
                    raise ShapeError(what, expected=input_shape[0], got=shape)
                first[i] = b if a is None else a
        sizes = [shape[axis] for shape in input_shape]
        first[axis] = None if None in sizes else sum(sizes)
        return tuple(first)

    def forward(self, inputs: list[Any]) -> Any:
        ragged = next((x for x in inputs if isinstance(x, Ragged)), None)
        if ragged is not None and (ragged.values.ndim < 2 or self.axis not in (-1, ragged.values.ndim)):
            got = f"axis={self.axis} of {len(ragged.shape)} axes"
            raise ArgumentError(f"layer {self.name}: Ragged inputs concatenate along their last features", got=got)
        return super().forward(inputs)

    def merge(self, inputs: list[Tensor]) -> Tensor:
        # a Ragged's values lack the batch axis, so its last axis may be counted one too far
        return torch.cat(inputs, dim=self.axis if self.axis < inputs[0].ndim else -1)
