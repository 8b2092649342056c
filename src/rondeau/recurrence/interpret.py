"""A scan without compiled loops: the graph evaluated step by step in torch, on any device, differentiably."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from rondeau.recurrence.native import Call
from rondeau.recurrence.reference import schedule
from rondeau.recurrence.replay import Replay
from rondeau.sequence import Ragged


def interpret(call: Call, tensors: Sequence[Tensor]) -> tuple[Tensor, list[Tensor]]:
    """Outputs `(steps, size)` and final states `(batch, ...)` of the call's step, given as its `names` say.

    Rows run longest first, so that those still alive are always the first ones.
    """
    given = dict(zip(call.names, tensors, strict=True))
    device = given["x"].device
    with torch.device(device):
        return _run(call, given, device)


def _run(call: Call, given: Mapping[str, Tensor], device: torch.device) -> tuple[Tensor, list[Tensor]]:
    step, inputs = call.loops.step, call.loops.inputs
    with torch.device("cpu"):
        order, alive, index = schedule(call.lengths)
        if call.reverse:
            index = Ragged(torch.zeros(len(index)), call.lengths).reversal[index]
    order, index = order.to(device), index.to(device)
    states = [given[f"state.{i}"][order] for i in range(len(step.states))]
    outside = {call.node(n): t for n, t in given.items() if n.startswith("param.")}
    rows = {n: given[name][order] for name in given if (n := call.node(name)) and n.attrs[0] == "row"}
    steps = {n: given[name][index] for name in given if (n := call.node(name)) and n.attrs[0] == "step"}
    outputs, finished, start = [], [], 0
    for t, count in enumerate(alive):
        finished.append([s[count:] for s in states])
        states = [s[:count] for s in states]
        known = {n: v for n, v in outside.items() if n is not None}
        known |= {n: v[:count] for n, v in rows.items()} | {n: v[start : start + count] for n, v in steps.items()}
        known |= {inputs["state", str(i)]: s for i, s in enumerate(states) if ("state", str(i)) in inputs}
        if ("index", "index") in inputs:
            known[inputs["index", "index"]] = torch.tensor(t).expand(count)
        replay = Replay(known, count, call.loops.dtype, call.sizes)
        outputs.append(replay(step.output).expand(count, *step.output.shape))
        states = [replay(s).expand(count, *s.shape) for s in step.states]
        start += count
    finished.append(states)
    final = [torch.cat(parts[::-1])[torch.argsort(order)] for parts in zip(*finished, strict=True)]
    if not outputs:
        return torch.empty(0, *step.output.shape, dtype=call.loops.dtype), final
    return torch.cat(outputs)[torch.argsort(index)], final
