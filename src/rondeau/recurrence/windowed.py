"""A scan window by window: for policies that cut time, and where only last outputs are kept."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from rondeau.cells.base import Cell, map_state
from rondeau.recurrence.cuts import Cuts
from rondeau.recurrence.engine import run
from rondeau.recurrence.gathered import Results
from rondeau.recurrence.keep import Record, differentiable
from rondeau.recurrence.policy import Policy, Recompute
from rondeau.recurrence.recompute import recompute
from rondeau.sequence import Ragged


def run_windows(
    cell: Cell,
    inputs: Ragged,
    state: Any,
    context: dict[str, tuple[bool, Tensor]],
    reverse: bool,
    engine: str | None,
    record: Record | None,
    policy: Policy,
    last: bool,
    most: int,
) -> tuple[Tensor, Any]:
    """As `engine.run`, under a policy; the outputs as `(steps, units)`, or, if `last`, of each row's last step.

    `most`: rows that go side by side.
    """
    cuts = Cuts(inputs.lengths, reverse, policy.every or 1, inputs.device, most)
    if len(cuts) <= 1:  # one window is the whole
        outputs, state = run(cell, inputs, state, context, reverse, engine, record)
        return last_output(outputs, reverse) if last else outputs.values, state
    if isinstance(policy, Recompute) and torch.is_grad_enabled():
        return recompute(cell, inputs, state, context, engine, record, cuts, last)
    return _truncated(cell, inputs, state, context, engine, record, cuts, last)


def last_output(outputs: Ragged, reverse: bool) -> Tensor:
    """The output of the step each row makes last, `(batch, units)`; zeros for a row without steps."""
    some = outputs.lengths > 0
    place = (outputs.offsets if reverse else outputs.offsets + outputs.lengths - 1)[some].to(outputs.device)
    found = outputs.values.index_select(0, place)
    if bool(some.all()):
        return found
    rows = some.nonzero()[:, 0].to(outputs.device)
    return found.new_zeros(len(outputs), *found.shape[1:]).index_copy(0, rows, found)


def _truncated(
    cell: Cell,
    inputs: Ragged,
    state: Any,
    context: dict[str, tuple[bool, Tensor]],
    engine: str | None,
    record: Record | None,
    cuts: Cuts,
    last: bool,
) -> tuple[Tensor, Any]:
    x = cuts.taken(inputs.values)
    steps = {n: cuts.taken(t) for n, (per_step, t) in context.items() if per_step}
    rows = {n: cuts.sort(t) for n, (per_step, t) in context.items() if not per_step}
    initial = state = map_state(cuts.sort, state)
    results = Results(cuts, last, initial)
    for window in cuts:
        if window.first:
            state = map_state(lambda s, n=window.rows: s.detach()[:n], state)
        else:
            state = map_state(lambda s, here=window.here: s[here], initial)
        if record is not None and record.wish.cotangents:
            state = map_state(differentiable, state)
        given = {n: (s, steps[n](window) if s else rows[n][window.here]) for n, (s, _) in context.items()}
        part = None if record is None else record.part()
        outputs, state = run(cell, window.ragged(x(window)), state, given, cuts.reverse, engine, part, window.first)
        if record is not None and part is not None:
            record.put(window.index, part)
            record.parts.append((window.index, part))
        results.add(window, outputs.values, state)
    return results.outputs(inputs), results.state()
