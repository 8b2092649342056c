"""The reference loop: `cell.step` called once per time step, in plain PyTorch. What every faster path is held to."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from rondeau.cells.base import Cell, Context, check_state, map_state, state_leaves
from rondeau.errors import ShapeError, StateError
from rondeau.sequence import Ragged


def run(
    cell: Cell, inputs: Ragged, state: Any, context: dict[str, tuple[bool, Tensor]], reverse: bool
) -> tuple[Ragged, Any]:
    """Outputs (sequence-major, in input order) and the state after each row's last step.

    Rows run longest first, so that the rows still alive are always the first ones and no padding is computed.
    """
    order, alive, index = schedule(inputs.lengths)
    if reverse:
        index = inputs.reversal[index]
    device = inputs.device
    if len(order) and not torch.equal(order, torch.arange(len(order))):
        state = map_state(lambda s: s[order.to(s.device)], state)
        rows = {name: t[order.to(t.device)] for name, (per_step, t) in context.items() if not per_step}
    else:
        rows = {name: t for name, (per_step, t) in context.items() if not per_step}
    index = index.to(device)
    steps = inputs.values[index].split(alive)
    per_step = {name: t[index].split(alive) for name, (is_step, t) in context.items() if is_step}
    counts = torch.arange(len(alive), device=device)

    outputs: list[Tensor] = []
    finished: list[Any] = []  # states of the rows that ended, shortest first
    takes_context = cell.takes_context
    live = len(inputs)
    for t, (n, x) in enumerate(zip(alive, steps, strict=True)):
        if n < live:
            finished.append(_part(state, n, live))
            state, live = _part(state, 0, n), n
        if takes_context:
            tensors = {name: part[:n] for name, part in rows.items()} | {k: v[t] for k, v in per_step.items()}
            output, after = cell.step(x, state, Context(cell, tensors, counts[t]))
        else:
            output, after = cell.step(x, state)
        if t == 0:
            _check_step(cell, output, after, state, n)
        outputs.append(output)
        state = after
    finished.append(state)
    final = map_state(lambda *parts: torch.cat(parts[::-1]) if len(parts) > 1 else parts[0], *finished)
    back = torch.empty_like(order)
    back[order] = torch.arange(len(order))
    final = map_state(lambda s: s[back.to(s.device)], final)
    return inputs.with_values(_unschedule(cell, outputs, index, inputs)), final


def schedule(lengths: Tensor) -> tuple[Tensor, list[int], Tensor]:
    """Rows longest first `(batch,)`; how many are alive at each step; and the step in `values` each takes, time-major."""
    order = torch.argsort(lengths, descending=True, stable=True)
    by_length = lengths[order]
    longest = int(by_length[0]) if len(by_length) else 0
    running = torch.arange(longest)[:, None] < by_length  # (time, rows)
    starts = (lengths.cumsum(0) - lengths)[order]
    index = (starts + torch.arange(longest)[:, None])[running]
    return order, running.sum(1).tolist(), index


def _unschedule(cell: Cell, outputs: list[Tensor], index: Tensor, inputs: Ragged) -> Tensor:
    if not outputs:
        return inputs.values.new_zeros(0, cell.output_size)
    back = torch.empty_like(index)
    back[index] = torch.arange(len(index), device=index.device)
    return torch.cat(outputs)[back]


def _part(state: Any, start: int, end: int) -> Any:
    return map_state(lambda s: s[start:end], state)


def _check_step(cell: Cell, output: Any, after: Any, before: Any, rows: int) -> None:
    name = type(cell).__name__
    if not isinstance(after, type(before)):
        raise StateError(
            f"{name}.step returns another state than it took",
            expected=type(before).__name__,
            got=type(after).__name__,
            fix="step must end with: return output, TheState(...), the state's type being that of state_size",
        )
    check_state(cell, after, rows, where=f"what {name}.step returned")
    for (part, was), (_, now) in zip(state_leaves(before), state_leaves(after), strict=True):
        if was.dtype != now.dtype:
            raise StateError(
                f"{name}.step returns its state {part} in another type", expected=was.dtype, got=now.dtype
            )
    if not isinstance(output, Tensor) or output.shape[0] != rows:
        got = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
        raise ShapeError(f"{name}.step: the output", expected=f"({rows}, {cell.output_size})", got=got)
