"""`scan`: a cell over time. Every recurrent computation in Rondeau ends here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from rondeau.cells.base import Cell, begin
from rondeau.errors import ArgumentError, ShapeError
from rondeau.recurrence.context import gather_context
from rondeau.recurrence.engine import run
from rondeau.recurrence.given import all_given
from rondeau.recurrence.keep import Keep, Record
from rondeau.recurrence.policy import Policy, check_policy
from rondeau.recurrence.resets import cut
from rondeau.recurrence.runtime import threads
from rondeau.recurrence.watch import Call, watcher
from rondeau.recurrence.windowed import last_output, run_windows
from rondeau.sequence import Ragged


def scan(
    cell: Cell,
    inputs: Tensor | Ragged,
    state: Any = None,
    lengths: Any = None,
    reverse: bool = False,
    *,
    context: Mapping[str, Any] | None = None,
    generator: torch.Generator | None = None,
    resets: Any = None,
    engine: str | None = None,
    keep: Keep | None = None,
    gradient: Policy | None = None,
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
        state: the state before the first step, in the cell's named form (tensors in the same order, in a plain list
            or alone, will do), each `(batch, size)`; default: `cell.initial_state(batch)`.
        lengths: real steps of each row of a padded tensor, `(batch,)` integers; padding is not computed.
        reverse: from each row's last real step to its first; outputs come in input order all the same.
        context: named tensors the cell declares: `(batch, ...)` for `per_row`, `(batch, time, ...)` or a `Ragged` for
            `per_step`. One given here replaces what the cell's `draw` says.
        generator: where `draw` takes its random numbers in training; default: the cell's own generator if it has a
            seed, else torch's global one.
        resets: `(batch, time)` truth values, or a `Ragged` of them: before a step where they are true the state starts
            anew, as `cell.initial_state` has it, in either direction; a reset on a step that is not real moves to the
            next one that is. One on the row's first step wins over `state`; going backwards, where a reset divides a
            step from the one before it, none can. The final state comes from the step made last.
        engine: "native" for compiled loops or an error, "reference" for the plain PyTorch loop; default: compiled loops
            where the step allows, else the reference loop, after one warning that says why.
        keep: what to keep of the steps besides the outputs, and where to find it afterwards; or of the outputs the
            last one only.
        gradient: how far back derivatives go, and what is computed again for them: `Full()`, the default,
            `Truncated(steps)` or `Recompute(every)`. Outputs are the same for all.

    Returns:
        outputs: as the inputs came: `(batch, time, output_size)`, zero behind each row's length, or a `Ragged`;
            with `Keep(outputs="last")` each row's last one, `(batch, output_size)`.
        state: after each row's last real step; a row without steps keeps its initial state.

    Raises `ShapeError`, `StateError` or `DataError` for inputs, states or lengths that do not fit, `ArgumentError` for
    context the cell does not declare, or intermediates it does not name, `StateError` when `step` returns another state
    than it took or reads context nobody gave, `EngineError` for a step that cannot be compiled under `engine="native"`.

    >>> from rondeau.cells import LSTMCell
    >>> outputs, state = scan(LSTMCell(4), torch.zeros(2, 5, 3), lengths=[5, 0])
    >>> outputs.shape, state.c.shape
    (torch.Size([2, 5, 4]), torch.Size([2, 4]))
    """
    if torch.compiler.is_compiling():
        from rondeau.recurrence import compiled  # what it imports is in memory only then

        if resets is not None:
            fix = "Cut the rows at their resets before, or scan outside of torch.compile"
            raise ArgumentError("scan: resets under torch.compile or torch.export", expected="None", fix=fix)
        return compiled.scan(cell, inputs, state, lengths, reverse, context, generator, engine, keep, gradient)
    if not isinstance(cell, Cell):
        fix = "Of a layer, pass its cell: scan(layer.cell, ...)"
        raise ArgumentError("scan: cell", expected="a Cell", got=type(cell).__name__, fix=fix)
    if cell._forward_hooks or cell._forward_pre_hooks:
        what = f"{type(cell).__name__} has hooks on its call, and a scan calls its step"
        fix = "Put them on the layer; for weights computed from others, use torch.nn.utils.parametrizations"
        raise ArgumentError(what, fix=fix)
    policy = check_policy(gradient, "scan")
    threads.settle()
    ragged = _as_ragged(inputs, lengths)
    cell.build_for(ragged.values.shape[-1])
    state = begin(cell, state, ragged, where="the initial state")
    tensors = gather_context(cell, ragged, context or {}, generator)
    rows = ragged
    if resets is not None:
        stretches = cut(ragged, resets, reverse)
        rows, state, tensors = stretches.rows, stretches.begin(cell, state), stretches.context(tensors)
    initial, record = state, None
    if keep is not None:
        record, state = _begin(keep, cell, ragged, state)
    last = keep is not None and keep.last_output
    if policy.every is not None:
        found, state = run_windows(cell, rows, state, tensors, reverse, engine, record, policy, last, len(ragged))
    else:
        outputs, state = run(cell, rows, state, tensors, reverse, engine, record)
        found = last_output(outputs, reverse) if last else outputs.values
    note = watcher()
    if note is not None:
        note(Call(cell, rows, initial, tensors, all_given(), reverse, policy, found, state, last, engine))
    if resets is not None:
        state = stretches.end(state)
        found = stretches.end(found) if last else found
    if last:
        return found, state
    outputs = ragged.with_values(found)
    if isinstance(inputs, Ragged):
        return outputs, state
    if lengths is None:  # every row is full
        return outputs.values.view(*inputs.shape[:2], *outputs.values.shape[1:]), state
    return outputs.pad(inputs.shape[1]), state


def _begin(keep: Any, cell: Cell, inputs: Ragged, state: Any) -> tuple[Record | None, Any]:
    if not isinstance(keep, Keep):
        fix = "Write keep = Keep(states=True), and read keep.states afterwards"
        raise ArgumentError("scan: keep", expected="a Keep", got=type(keep).__name__, fix=fix)
    return keep.begin(cell, inputs, state)


def _as_ragged(inputs: Tensor | Ragged, lengths: Any) -> Ragged:
    if not isinstance(inputs, (Tensor, Ragged)):
        fix = "Make a tensor of them: torch.tensor(...), or Ragged.from_rows(...) for rows of unequal length"
        raise ArgumentError("scan: inputs", expected="a tensor or a Ragged", got=type(inputs).__name__, fix=fix)
    if isinstance(inputs, Ragged):
        if inputs.values.ndim < 2:
            raise ShapeError("scan: ragged inputs", expected="values (steps, features)", got=tuple(inputs.values.shape))
        if lengths is not None:
            raise ArgumentError("scan: lengths were given twice", fix="A Ragged carries its own; leave lengths out")
        return inputs
    if inputs.ndim < 3:
        fix = "Add a batch axis (or a features axis) to the inputs"
        raise ShapeError("scan: inputs", expected="(batch, time, features)", got=tuple(inputs.shape), fix=fix)
    return Ragged.full(inputs) if lengths is None else Ragged.from_padded(inputs, lengths)
