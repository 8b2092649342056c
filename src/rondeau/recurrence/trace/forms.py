"""What a traced tensor stands for: a node of the graph, and where the row axis is in the tensor."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from rondeau.recurrence.ir import Node


class Declined(Exception):
    """The step cannot be compiled. `reason` is one clause; `where` the user's line, if known."""

    def __init__(self, reason: str, where: str | None = None) -> None:
        self.reason, self.where = reason, where
        super().__init__(reason)


@dataclass(frozen=True)
class Form:
    """A traced tensor as a node.

    `axis`: where the tensor has its row axis; None where it has none. `merged`: rows and the node's axis `axis` are one
    axis of the tensor, as after `view(batch * heads, ...)`.
    """

    node: Node
    axis: int | None = None
    merged: bool = False

    @property
    def outside(self) -> bool:
        """Whether it is the same for all rows and steps, so that torch itself computes it, outside the loop."""
        return self.axis is None and not self.node.rows

    def dims(self, batch: int) -> tuple[int, ...]:
        """The shape of the tensor."""
        shape = self.node.shape
        if self.axis is None:
            return shape
        if self.merged:
            return (*shape[: self.axis], batch * shape[self.axis], *shape[self.axis + 1 :])
        return (*shape[: self.axis], batch, *shape[self.axis :])

    def place(self, dim: int, rank: int) -> int:
        """The node's axis that is the tensor's axis `dim` (not the row axis itself)."""
        dim %= rank
        return dim - 1 if self.axis is not None and not self.merged and dim > self.axis else dim


def numbering(form: Form, batch: int) -> Tensor:
    """A tensor like the traced one whose elements are numbered: row times the node's size, plus the flat index."""
    shape, axis = form.node.shape, form.axis
    if axis is None:
        return torch.arange(form.node.size).view(shape)
    ids = torch.arange(batch * form.node.size).view(batch, *shape).movedim(0, axis)
    return ids.flatten(axis, axis + 1) if form.merged else ids


def affine(ids: Tensor) -> tuple[int, tuple[int, ...]] | None:
    """Offset and strides, if the ids (of one row) are an affine function of their index."""
    if ids.numel() == 0:
        return 0, (0,) * ids.ndim
    first = ids[(0,) * ids.ndim]
    strides = []
    for axis, size in enumerate(ids.shape):
        index = [0] * ids.ndim
        index[axis] = 1
        strides.append(int(ids[tuple(index)] - first) if size > 1 else 0)
    expected = first.clone()
    for axis, (size, stride) in enumerate(zip(ids.shape, strides, strict=True)):
        along = [1] * ids.ndim
        along[axis] = size
        expected = expected + (torch.arange(size) * stride).view(along)
    return (int(first), tuple(strides)) if torch.equal(expected, ids) else None


def rows_of(ids: Tensor, size: int, batch: int) -> tuple[int, bool, Tensor] | None:
    """Where the row axis of a rearranged numbering is: (axis, merged, ids of one row), or None if rows are mixed."""
    rows, within = ids // size, ids % size
    for axis, length in enumerate(ids.shape):
        if length == 0 or length % batch:
            continue
        each = length // batch
        along = [1] * ids.ndim
        along[axis] = length
        expected = (torch.arange(length) // each).view(along)
        if not torch.equal(rows, expected.expand_as(rows)):
            continue
        parts = torch.unflatten(within, axis, (batch, each))
        one = parts.select(axis, 0)
        if not torch.equal(parts, one.unsqueeze(axis).expand_as(parts)):
            return None
        return (axis, False, one.squeeze(axis)) if each == 1 else (axis, True, one)
    return None
