"""What a cell's step may read beside its input and state: gathered, drawn and checked before the loop."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from rondeau.cells.base import Cell
from rondeau.errors import ArgumentError, ShapeError
from rondeau.sequence import Ragged


def gather_context(
    cell: Cell, inputs: Ragged, given: Mapping[str, Any], generator: torch.Generator | None
) -> dict[str, tuple[bool, Tensor]]:
    """Name -> (per step?, tensor): `(batch, ...)` per row, `(steps, ...)`, one entry per real step, per step.

    Args:
        given: what the caller of `scan` gave; it goes before what the cell draws in training.
        generator: for the draws; None: the cell's own where it has a seed, else torch's global one.

    Raises `ArgumentError` for a name the cell does not declare, or declares twice, and `ShapeError` for other shapes.
    """
    names = (*cell.per_row, *cell.per_step)
    owner = type(cell).__name__
    if "index" in names or len(set(names)) < len(names):
        raise ArgumentError(f"{owner}: per_row and per_step", expected="each name once, and none 'index'", got=names)
    drawn: Mapping[str, Any] = {}
    if cell.training:
        source = cell.generator(inputs.device) if generator is None else generator
        drawn = cell.draw(inputs.lengths, source)
    tensors = {}
    for name, value in {**drawn, **given}.items():
        if name not in names:
            what = f"{owner} declares no context named {name!r}"
            fix = "Name it in the cell's per_row or per_step"
            raise ArgumentError(what, expected=f"one of: {', '.join(names) or 'none'}", fix=fix)
        per_step = name in cell.per_step
        if per_step and name in given:
            _check_places(name, value, inputs)
        tensors[name] = (per_step, _per_step(name, value, inputs) if per_step else _per_row(name, value, inputs))
    return tensors


def _per_row(name: str, value: Any, inputs: Ragged) -> Tensor:
    if not isinstance(value, Tensor) or value.ndim == 0 or value.shape[0] != len(inputs):
        raise ShapeError(f"scan: context {name!r}", expected=f"a tensor ({len(inputs)}, ...)", got=_form(value))
    return value


def _per_step(name: str, value: Any, inputs: Ragged) -> Tensor:
    if isinstance(value, Ragged):
        if not torch.equal(value.lengths, inputs.lengths):
            what = f"scan: context {name!r} has other lengths than the inputs"
            raise ShapeError(what, expected=inputs.lengths.tolist(), got=value.lengths.tolist())
        return value.values
    time = int(inputs.lengths.max()) if len(inputs) else 0
    if not isinstance(value, Tensor) or value.ndim < 2 or len(value) != len(inputs) or value.shape[1] < time:
        expected = f"a tensor ({len(inputs)}, {time}, ...), or a Ragged"
        raise ShapeError(f"scan: context {name!r}", expected=expected, got=_form(value))
    return Ragged.from_padded(value, inputs.lengths).values


def _check_places(name: str, value: Any, inputs: Ragged) -> None:
    """Where a mask with holes compressed the inputs, a padded tensor does not say which of its steps are meant."""
    if isinstance(value, Ragged) or inputs.mask is None:
        return
    if not torch.equal(inputs.mask, torch.arange(inputs.mask.shape[1]) < inputs.lengths[:, None]):
        fix = "Give it compressed by the inputs' mask: Ragged.compress(value, mask)"
        raise ArgumentError(f"scan: context {name!r} is padded, but the inputs have masked steps in between", fix=fix)


def _form(value: Any) -> str:
    return str(tuple(value.shape)) if isinstance(value, Tensor) else type(value).__name__
