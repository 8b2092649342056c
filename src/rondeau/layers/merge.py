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

    def compute_output_shape(self, input_shape: list[Shape]) -> Shape:
        first = input_shape[0]
        for shape in input_shape[1:]:
            if len(shape) != len(first) or any(
                a != b for a, b in zip(shape, first, strict=True) if None not in (a, b) and 1 not in (a, b)
            ):
                raise ShapeError("the inputs differ in shape", expected=first, got=shape, where=f"layer {self.name}")
        return tuple(max((s[i] for s in input_shape if s[i]), default=None) for i in range(len(first)))

    def forward(self, inputs: list[Any]) -> Any:
        if not any(isinstance(x, Ragged) for x in inputs):
            return self.merge(inputs)
        first = inputs[0]
        for x in inputs:
            if not isinstance(x, Ragged) or not torch.equal(x.lengths, first.lengths):
                got = [x.lengths.tolist() if isinstance(x, Ragged) else tuple(x.shape) for x in inputs]
                fix = "Give every input the same mask or lengths"
                raise ShapeError("the inputs differ in their rows", got=got, where=f"layer {self.name}", fix=fix)
        return first.with_values(self.merge([x.values for x in inputs]))

    def merge(self, inputs: list[Tensor]) -> Tensor:
        raise NotImplementedError(type(self).__name__)  # abstract


class Add(_Merge):
    """The sum of the inputs; residual connections."""

    def merge(self, inputs: list[Tensor]) -> Tensor:
        return reduce(torch.add, inputs)


class Multiply(_Merge):
    """The product of the inputs, element by element."""

    def merge(self, inputs: list[Tensor]) -> Tensor:
        return reduce(torch.mul, inputs)


class Average(_Merge):
    """The mean of the inputs."""

    def merge(self, inputs: list[Tensor]) -> Tensor:
        return reduce(torch.add, inputs) / len(inputs)


class Concatenate(_Merge):
    """The inputs side by side along `axis` (default -1; for `Ragged`, the last axis only)."""

    def __init__(self, axis: int = -1, **options: Any) -> None:
        super().__init__(**options)
        self.axis = axis

    def compute_output_shape(self, input_shape: list[Shape]) -> Shape:
        first, axis = list(input_shape[0]), self.axis % len(input_shape[0])
        for shape in input_shape:
            for i, (a, b) in enumerate(zip(shape, first, strict=False)):
                if len(shape) != len(first) or (i != axis and a != b and None not in (a, b)):
                    where = f"layer {self.name}"
                    raise ShapeError(f"the inputs differ in axis {i}", expected=tuple(first), got=shape, where=where)
        sizes = [shape[axis] for shape in input_shape]
        first[axis] = None if None in sizes else sum(sizes)
        return tuple(first)

    def forward(self, inputs: list[Any]) -> Any:
        ragged = next((x for x in inputs if isinstance(x, Ragged)), None)
        if ragged is not None and self.axis not in (-1, ragged.values.ndim):
            raise ArgumentError("Ragged inputs concatenate along features only", expected="axis=-1", got=self.axis)
        return super().forward(inputs)

    def merge(self, inputs: list[Tensor]) -> Tensor:
        # a Ragged's values lack the batch axis, so a positive axis counts from the end
        return torch.cat(inputs, dim=self.axis if self.axis < inputs[0].ndim else -1)
