"""`scan`: a cell over time. Every recurrent computation in Rondeau ends here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Shaped
from torch import Tensor

from rondeau.cells.base import Cell, check_state
from rondeau.errors import ArgumentError, ShapeError
from rondeau.recurrence.reference import run
from rondeau.sequence import Ragged


def scan(
    cell: Cell,
    inputs: Shaped[Tensor, "batch time *features"] | Ragged,
    state: Any = None,
    lengths: Any = None,
    reverse: bool = False,
    *,
    context: Mapping[str, Any] | None = None,
    generator: torch.Generator | None = None,
) -> tuple[Any, Any]:
    """Run `cell` over the steps of `inputs`, from `state` to the final state.

    What it computes, for one row:

        outputs = []
        order = range(length) if not reverse else range(length - 1, -1, -1)
        for index, t in enumerate(order):
            output, state = cell.step(inputs[t], state)
            outputs.append(output)
        if reverse:
            outputs = outputs[::-1]
        return stack(outputs), state

    Args:
        cell: the step; it is built for the inputs' features if it is not yet.
        inputs: `(batch, time, features)`, or a `Ragged` whose values are `(steps, features)`.
        state: the state before the first step, in the cell's named form (a plain tuple or tensor in the same order will do),
            each tensor `(batch, size)`; default: `cell.initial_state(batch)`.
        lengths: real steps of each row of a padded tensor, `(batch,)` integers; padding is not computed.
        reverse: from each row's last real step to its first; outputs come in input order all the same.
        context: named tensors the cell declares, `(batch, ...)` for `per_row`, `(batch, time, ...)` or `Ragged` for `per_step`.
        generator: where the cell's `draw` takes its random numbers in training (default: torch's global generator).

    Returns:
        outputs: as the inputs came: `(batch, time, output_size)`, zero behind each row's length, or a `Ragged`.
        state: after each row's last real step; a row without steps keeps its initial state.

    Raises `ShapeError`, `StateError` or `DataError` for inputs, states or lengths that do not fit; `StateError` when `step`
    returns another state than it took.

    >>> from rondeau.cells import LSTMCell
    >>> outputs, state = scan(LSTMCell(4), torch.zeros(2, 5, 3), lengths=[5, 0])
    >>> outputs.shape, state.c.shape
    (torch.Size([2, 5, 4]), torch.Size([2, 4]))
    """
    if isinstance(inputs, Tensor) and inputs.ndim < 3:
        fix = "Add a batch axis (or a features axis) to the inputs"
        raise ShapeError("scan: inputs", expected="(batch, time, features)", got=tuple(inputs.shape), fix=fix)
    if isinstance(inputs, Ragged) and inputs.values.ndim < 2:
        raise ShapeError("scan: ragged inputs", expected="values (steps, features)", got=tuple(inputs.values.shape))
    if isinstance(inputs, Ragged) and lengths is not None:
        raise ArgumentError("scan: lengths were given twice", fix="A Ragged carries its own; leave lengths out")
    padded = inputs if isinstance(inputs, Tensor) else None
    ragged = inputs
    if padded is not None:
        batch, time = padded.shape[:2]
        full = [time] * batch if lengths is None else lengths
        ragged = Ragged.from_padded(padded, full)
    cell.build_for(ragged.values.shape[-1])
    if state is None:
        state = cell.initial_state(len(ragged), dtype=ragged.dtype, device=ragged.device)
    state = check_state(cell, state, len(ragged), where="the initial state")
    tensors = _context(cell, ragged, context or {}, generator)
    outputs, state = run(cell, ragged, state, tensors, reverse)
    return (outputs if padded is None else outputs.pad(padded.shape[1])), state


def _context(
    cell: Cell, inputs: Ragged, given: Mapping[str, Any], generator: torch.Generator | None
) -> dict[str, tuple[bool, Tensor]]:
    """Name -> (per step?, tensor); a per-step tensor has become `(steps, ...)`, one entry per real step."""
    for name in given:
        if name not in (*cell.per_row, *cell.per_step):
            declared = ", ".join((*cell.per_row, *cell.per_step)) or "none"
            raise ArgumentError(
                f"{type(cell).__name__} declares no context named {name!r}",
                expected=f"one of: {declared}",
                fix="Name it in the cell's per_row or per_step",
            )
    drawn = cell.draw(inputs.lengths, generator) if cell.training else {}
    tensors = {}
    for name, value in {**drawn, **given}.items():
        per_step = name in cell.per_step
        tensors[name] = (per_step, _per_step(name, value, inputs) if per_step else _per_row(name, value, inputs))
    return tensors


def _per_row(name: str, value: Tensor, inputs: Ragged) -> Tensor:
    if value.ndim == 0 or value.shape[0] != len(inputs):
        raise ShapeError(f"scan: context {name!r}", expected=f"({len(inputs)}, ...)", got=tuple(value.shape))
    return value


def _per_step(name: str, value: Tensor | Ragged, inputs: Ragged) -> Tensor:
    if isinstance(value, Ragged):
        if not torch.equal(value.lengths, inputs.lengths):
            expected, got = inputs.lengths.tolist(), value.lengths.tolist()
            raise ShapeError(f"scan: context {name!r} has other lengths", expected=expected, got=got)
        return value.values
    if value.ndim < 2 or value.shape[0] != len(inputs) or value.shape[1] < int(inputs.lengths.max()):
        expected = f"({len(inputs)}, {int(inputs.lengths.max())}, ...)"
        raise ShapeError(f"scan: context {name!r}", expected=expected, got=tuple(value.shape))
    return Ragged.from_padded(value, inputs.lengths).values
