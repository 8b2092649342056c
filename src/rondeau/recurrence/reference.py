"""The reference loop: `cell.step` called once per time step, in plain PyTorch. What every faster path is held to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from jaxtyping import Int64, Shaped
from torch import Tensor

from rondeau.cells.base import Cell, Context, check_state, map_state, state_leaves
from rondeau.cells.naming import collecting
from rondeau.errors import ShapeError, StateError
from rondeau.recurrence.keep import tensors_of
from rondeau.recurrence.readings import Readings
from rondeau.sequence import Ragged


def run(
    cell: Cell,
    inputs: Ragged,
    state: Any,
    context: dict[str, tuple[bool, Tensor]],
    reverse: bool,
    readings: Callable[[Tensor], Readings] | None = None,
    first: int = 0,
) -> tuple[Ragged, Any]:
    """Outputs (sequence-major, in input order) and the state after each row's last step.

    Args:
        inputs: values `(steps, features)`.
        state: in the cell's named form, each tensor `(batch, size)`.
        context: name -> (per step?, tensor): `(batch, ...)`, or per step `(steps, ...)`, in the order of the values.
        reverse: each row from its last step to its first.
        readings: given the order of all steps, what keeps more of them than the outputs.
        first: how many steps the rows have made before.

    Rows run longest first, so that the rows still alive are always the first ones and no padding is computed. Raises
    `StateError` or `ShapeError` for a step that returns another state than it took, or an output of another shape.
    """
    order, alive, index = schedule(inputs.lengths)
    index = (inputs.reversal[index] if reverse else index).to(inputs.device)
    state = map_state(lambda s: s[order.to(s.device)], state)
    steps = torch.split(inputs.values[index], alive)
    context_at = _context_at(cell, context, order, index, alive, first)
    keeping = None if readings is None else readings(index)
    with collecting(keeping):
        outputs, final = _loop(cell, len(inputs), steps, state, alive, context_at, keeping)
        if keeping is not None and not outputs:
            _imagined(cell, inputs, state, context, keeping)
    back = inverse(order)
    final = map_state(lambda s: s[back.to(s.device)], final)
    if keeping is not None:
        keeping.done(final)
    return inputs.with_values(_unschedule(cell, outputs, index, inputs)), final


def _loop(
    cell: Cell,
    rows: int,
    steps: Sequence[Tensor],
    state: Any,
    alive: list[int],
    context_at: Callable[[int, int], tuple[Context, ...]],
    keeping: Readings | None,
) -> tuple[list[Tensor], Any]:
    """The outputs of all steps, and the final states, both longest row first."""
    outputs: list[Tensor] = []
    finished: list[Any] = []  # states of the rows that ended, shortest first
    live, start = rows, 0
    for t, (n, x) in enumerate(zip(alive, steps, strict=True)):
        if n < live:
            finished.append(_part(state, n, live))
            state, live = _part(state, 0, n), n
        more = context_at(t, n)
        if keeping is not None:
            keeping.step(start, n)
        output, after = cell.step(x, state, *more)
        if t == 0:
            check_step(cell, output, after, state, n)
        if keeping is not None:
            after = keeping.after(after, tensors_of(x, state, more))
        outputs.append(output)
        state, start = after, start + n
    finished.append(state)
    return outputs, map_state(lambda *parts: torch.cat(parts[::-1]), *finished)


def _imagined(
    cell: Cell, inputs: Ragged, state: Any, context: dict[str, tuple[bool, Tensor]], keeping: Readings
) -> None:
    """One step of one row of zeros, for the names and shapes that no real step says."""

    def row(tensor: Tensor) -> Tensor:
        return tensor.new_zeros(1, *tensor.shape[1:])

    tensors = {name: row(tensor) for name, (_, tensor) in context.items()}
    more = (Context(cell, tensors),) if cell.takes_context else ()
    keeping.step(0, 1)
    with torch.no_grad():
        cell.step(row(inputs.values), map_state(row, state), *more)
    keeping.named_at_every_step()


def _context_at(
    cell: Cell, context: dict[str, tuple[bool, Tensor]], order: Tensor, index: Tensor, alive: list[int], first: int
) -> Callable[[int, int], tuple[Context, ...]]:
    """What step t reads, for its first n rows: a `Context`, or nothing for a cell that takes none."""
    if not cell.takes_context:
        return lambda t, n: ()
    per_row = {name: tensor[order.to(tensor.device)] for name, (is_step, tensor) in context.items() if not is_step}
    per_step = {name: torch.split(tensor[index], alive) for name, (is_step, tensor) in context.items() if is_step}
    counts = torch.arange(first, first + len(alive), device=index.device)

    def at(t: int, n: int) -> tuple[Context, ...]:
        tensors = {name: tensor[:n] for name, tensor in per_row.items()}
        tensors |= {name: parts[t] for name, parts in per_step.items()}
        return (Context(cell, tensors, counts[t]),)

    return at


def schedule(
    lengths: Int64[Tensor, " batch"],
) -> tuple[Int64[Tensor, " batch"], list[int], Int64[Tensor, " steps"]]:
    """Rows longest first; how many are alive at each step; where in `values` the step is that each takes, time-major.

    >>> schedule(torch.tensor([1, 3, 2]))
    (tensor([1, 2, 0]), [3, 2, 1], tensor([1, 4, 0, 2, 5, 3]))
    """
    order = torch.argsort(lengths, descending=True, stable=True)
    by_length = lengths[order]
    longest = int(by_length[0]) if len(by_length) else 0
    running = torch.arange(longest)[:, None] < by_length  # (time, rows)
    starts = (lengths.cumsum(0) - lengths)[order]
    index = (starts + torch.arange(longest)[:, None])[running]
    return order, running.sum(1).tolist(), index


def _unschedule(
    cell: Cell, outputs: list[Tensor], index: Int64[Tensor, " steps"], inputs: Ragged
) -> Shaped[Tensor, "steps units"]:
    if not outputs:
        dtype = inputs.dtype if inputs.dtype.is_floating_point else torch.get_default_dtype()
        return inputs.values.new_zeros(0, cell.output_size, dtype=dtype)
    return torch.cat(outputs)[inverse(index)]


def inverse(permutation: Int64[Tensor, " n"]) -> Int64[Tensor, " n"]:
    """The permutation that puts things back."""
    back = torch.empty_like(permutation)
    back[permutation] = torch.arange(len(permutation), device=permutation.device)
    return back


def _part(state: Any, start: int, end: int) -> Any:
    return map_state(lambda s: s[start:end], state)


def check_step(cell: Cell, output: Any, after: Any, before: Any, rows: int) -> None:
    """Once per loop, after the first step: what a user's cell may get wrong."""
    name = type(cell).__name__
    if type(after) is not type(before):
        raise StateError(
            f"{name}.step returns another state than it took",
            expected=type(before).__name__,
            got=type(after).__name__,
            fix="step must end with: return output, TheState(...), of the same kind as state_size",
        )
    check_state(cell, after, rows, where=f"what {name}.step returned")
    for (part, was), (_, now) in zip(state_leaves(before), state_leaves(after), strict=True):
        if was.dtype != now.dtype and not torch.is_autocast_enabled(now.device.type):
            what = f"{name}.step returns its state {part} in another type"
            raise StateError(what, expected=was.dtype, got=now.dtype)
    shape = (rows, cell.output_size)
    if not isinstance(output, Tensor) or tuple(output.shape) != shape:
        got = str(tuple(output.shape)) if isinstance(output, Tensor) else type(output).__name__
        fix = "output_size must be the output's number of features"
        raise ShapeError(f"{name}.step returns another output than it said", expected=shape, got=got, fix=fix)
