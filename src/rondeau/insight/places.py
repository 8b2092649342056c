"""Where in a tensor the first number stands that is not finite."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from rondeau.sequence import Ragged


class Place(NamedTuple):
    """A number that is not finite: "nan", "inf" or "-inf", and where; None where it has no such axis.

    row, step: of the batch; entry: in the axes behind these.
    """

    value: str
    row: int | None = None
    step: int | None = None
    entry: tuple[int, ...] = ()


def leaves(data: Any) -> Iterator[Tensor | Ragged]:
    """The tensors and `Ragged` in nested lists, tuples, mappings, and what has `values` or `data` like a packed one."""
    if isinstance(data, (Tensor, Ragged)):
        yield data
    elif isinstance(data, torch.nn.utils.rnn.PackedSequence):
        yield data.data
    elif isinstance(data, Mapping):
        for part in data.values():
            yield from leaves(part)
    elif isinstance(data, (list, tuple)):
        for part in data:
            yield from leaves(part)


def tensors(data: Any) -> list[Tensor]:
    """All tensors in it, a `Ragged`'s values for it."""
    return [leaf.values if isinstance(leaf, Ragged) else leaf for leaf in leaves(data)]


def is_finite(data: Any) -> bool:
    """Whether all numbers of all tensors in it are."""
    return all(_finite(tensor) for tensor in tensors(data))


def _finite(tensor: Tensor) -> bool:
    if not (tensor.is_floating_point() or tensor.is_complex()):
        return True
    values = tensor.detach()
    if values.layout is not torch.strided:
        values = values.coalesce().values()
    return bool(torch.isfinite(values).all())


def first(data: Any, *, sequence: bool = True) -> Place | None:
    """The first number that is not finite, row by row; None where all are.

    Args:
        sequence: whether the second of three axes or more is one of steps.
    """
    for leaf in leaves(data):
        values = leaf.values if isinstance(leaf, Ragged) else leaf
        if _finite(values):
            continue
        place = (~torch.isfinite(values.detach())).nonzero()[0].tolist()
        value = word(values.detach()[tuple(place)])
        if isinstance(leaf, Ragged):
            row, step = of_ragged(leaf, place[0])
            return Place(value, row, step, tuple(place[1:]))
        if not place:
            return Place(value)
        if sequence and values.ndim > 2:
            return Place(value, place[0], place[1], tuple(place[2:]))
        return Place(value, place[0], None, tuple(place[1:]))
    return None


def of_ragged(ragged: Ragged, index: int) -> tuple[int, int]:
    """Row and step of a `Ragged`'s value; where it was compressed by a mask, the step in the padded form."""
    row = int(ragged.row_index[index])
    return row, padded_step(ragged, row, index - int(ragged.offsets[row]))


def padded_step(ragged: Ragged, row: int, step: int) -> int:
    """A row's step, counted among the real ones, where it stood in the padded form; the same without a mask."""
    return step if ragged.mask is None else int(ragged.mask[row].nonzero()[step])


def word(value: Tensor) -> str:
    """ "nan", "inf" or "-inf"."""
    if value.is_complex():
        return "nan" if bool(torch.isnan(value)) else "inf"
    number = float(value)
    return "nan" if math.isnan(number) else "inf" if number > 0 else "-inf"
