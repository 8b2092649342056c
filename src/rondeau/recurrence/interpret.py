"""A scan without compiled loops: the graph evaluated step by step in torch, on any device, differentiably."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from rondeau.recurrence.ir import Node
from rondeau.recurrence.native import Call
from rondeau.recurrence.recipe import Recipe
from rondeau.recurrence.reference import schedule
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
    step = call.loops.step
    with torch.device("cpu"):
        order, alive, index = schedule(call.lengths)
        if call.reverse:
            index = Ragged(torch.zeros(len(index)), call.lengths).reversal[index]
    order, index = order.to(device), index.to(device)
    states = [given[f"state.{i}"][order] for i in range(len(step.states))]
    outside = {node: t for n, t in given.items() if n.startswith("param.") and (node := call.node(n))}
    rows = {n: given[name][order] for name in given if (n := call.node(name)) and n.attrs[0] == "row"}
    steps = {n: given[name][index] for name in given if (n := call.node(name)) and n.attrs[0] == "step"}
    recipe = Recipe(call.loops.dtype)
    places = {n: recipe.given(n) for n in (*outside, *rows, *steps, *_changing(call))}
    wanted = [recipe.value(n) for n in (step.output, *step.states)]
    outputs, finished, start = [], [], 0
    for t, count in enumerate(alive):
        finished.append([s[count:] for s in states])
        states = [s[:count] for s in states]
        known = {**outside, **{n: v[:count] for n, v in rows.items()}}
        known |= {n: v[start : start + count] for n, v in steps.items()}
        for node in _changing(call):
            kind, name = node.attrs
            known[node] = torch.tensor(t).expand(count) if kind == "index" else states[int(name)]
        values = recipe.begin(count, None, call.sizes)
        for node, place in places.items():
            values[place] = known[node]
        recipe.run(values)
        output, *states = (
            values[w].expand(count, *n.shape) for w, n in zip(wanted, (step.output, *step.states), strict=True)
        )
        outputs.append(output)
        start += count
    finished.append(states)
    final = [torch.cat(parts[::-1])[torch.argsort(order)] for parts in zip(*finished, strict=True)]
    if not outputs:
        return torch.empty(0, *step.output.shape, dtype=call.loops.dtype), final
    return torch.cat(outputs)[torch.argsort(index)], final


def _changing(call: Call) -> list[Node]:
    """What changes from step to step: states, and the index."""
    return [node for (kind, _), node in call.loops.inputs.items() if kind in ("state", "index")]
