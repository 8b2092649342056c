"""A scan on compiled loops: what torch does before and after them, and its place in autograd."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor

from rondeau.cells.base import Cell, map_state, state_leaves
from rondeau.errors import EngineError
from rondeau.recurrence import pool, reference
from rondeau.recurrence.extent import known
from rondeau.recurrence.ir import Node, ancestors
from rondeau.recurrence.keep import Record
from rondeau.recurrence.loops import OUTPUT, Loop, Loops, kept_place
from rondeau.recurrence.plan.program import Place
from rondeau.recurrence.readings import Readings
from rondeau.recurrence.replay import Replay
from rondeau.recurrence.rows import Dealt, deal, parts_for
from rondeau.sequence import Ragged


@dataclass
class Again:
    """What it takes to run a scan once more on the reference loop: for gradients of gradients."""

    cell: Cell
    lengths: Tensor
    state: Any
    context: dict[str, tuple[bool, Tensor]]
    reverse: bool
    unchanged: Callable[[], bool]
    record: Record | None = None

    def gradients(
        self,
        tensors: Sequence[Tensor],
        names: Sequence[str],
        cotangents: Sequence[Tensor | None],
        needed: Sequence[bool],
    ) -> list[Tensor | None]:
        """The gradients as a graph of their own. Parameters are the cell's own tensors, the others those given.

        Raises `EngineError` where the cell is no longer what the forward pass saw.
        """
        if not self.unchanged():
            what = "gradients of gradients step the cell once more, but it has changed since the forward pass"
            fix = "Take them before changing it, or run scan(..., engine='reference')"
            raise EngineError(what, where=type(self.cell).__name__, fix=fix)
        given = dict(zip(names, tensors, strict=True))
        leaves = iter([t for n, t in given.items() if n.startswith("state.")])
        context = {n: (per_step, given[f"context.{n}"]) for n, (per_step, _) in self.context.items()}
        state = map_state(lambda _: next(leaves), self.state)
        with torch.enable_grad():
            x = Ragged(given["x"], self.lengths)
            again = None if self.record is None else partial(Readings, self.record, again=True)
            outputs, final = reference.run(self.cell, x, state, context, self.reverse, again)
        results = [outputs.values, *(t for _, t in state_leaves(final))]
        pairs = [(r, c) for r, c in zip(results, cotangents, strict=True) if c is not None and r.requires_grad]
        sources = [t for t, need in zip(tensors, needed, strict=True) if need]
        found = iter(
            torch.autograd.grad(
                [r for r, _ in pairs], sources, [c for _, c in pairs], create_graph=True, allow_unused=True
            )
        )
        return [next(found) if need else None for need in needed]


@dataclass
class Call:
    """One scan: its loops, rows, and the names of the tensors that come with it, in their order."""

    loops: Loops
    lengths: Tensor
    reverse: bool
    names: tuple[str, ...]
    again: Again | None = None
    sizes: dict[str, int] = field(default_factory=dict)  # of memories, by name
    record: Record | None = None  # for what the loops are asked to keep

    def empty(self, count: int, *shape: int, zero: bool = False) -> Tensor:
        """`(count, *shape)`, shape as the graph has it."""
        make = torch.zeros if zero else torch.empty
        return make(count, *known(shape, self.sizes), dtype=self.loops.dtype)

    def dealt(self, loop: Loop) -> Dealt:
        return deal(self.lengths, self.reverse, parts_for(len(self.lengths), loop.macs, loop.pointwise))

    def node(self, name: str) -> Node | None:
        """The input a name stands for; None where the step does not read it."""
        return self.loops.node(name)


@dataclass
class Kept:
    """What a scan leaves for its backward pass: buffers, and the pool they go back to."""

    buffers: dict[Place, Tensor] = field(default_factory=dict)
    owned: list[Tensor] = field(default_factory=list)

    def release(self) -> None:
        """After the last use of the buffers: others may have their memory."""
        self.buffers = {}
        while self.owned:
            pool.give(self.owned.pop())


def forward(call: Call, tensors: Sequence[Tensor], train: bool) -> tuple[Tensor, list[Tensor], Kept]:
    """Outputs `(tokens, size)`, final states `(batch, ...)`, and what was kept for the backward loop."""
    loops = call.loops
    loop = loops.training if train else loops.inference
    given = dict(zip(call.names, tensors, strict=True))
    dealt = call.dealt(loop)
    tokens, batch = dealt.tokens, len(call.lengths)
    values = _values(call, given, tokens)
    step = loops.step
    output = call.empty(tokens, step.output.size)
    final = [torch.empty(batch, *s.shape, dtype=loops.dtype) for s in step.states]
    kept = Kept()
    before = _before(call, values, kept)
    places = _read(loop, values)
    if train:
        _reserve(call, kept, tokens, before)
        places |= kept.buffers
    asked = {place: call.empty(tokens, n.size) for place, n in loops.asked.items()}
    places |= {OUTPUT: output, **asked}
    weights = {w: values.whole(w) for w in loop.weights}
    initial = [_plain(given[f"state.{i}"]) for i in range(len(step.states))]
    loop.run(dealt, places, weights, initial, final, call.sizes)
    if not train:
        kept.release()
    _keep(call, list(asked.values()))
    return output, final, kept


def _keep(call: Call, values: list[Tensor]) -> None:
    """Give the user what the forward loop wrote down for him."""
    record, found = call.record, call.loops.step.asked
    if record is None or found is None:
        return
    shaped = iter(
        [t.view(len(t), *known(n.shape, call.sizes)) for t, n in zip(values, call.loops.asked.values(), strict=True)]
    )
    record.cotangents = None
    record.states = [next(shaped) for _ in call.loops.step.states] if found.states else []
    record.intermediates = {name: next(shaped).to(dtype) for name, (_, dtype) in found.named.items()}


def _before(call: Call, values: Values, kept: Kept) -> dict[Place, Tensor]:
    """The products before the loop, into memory that the kept values may take over."""
    found: dict[Place, Tensor] = {}
    for node in call.loops.split.before:
        if node.op != "product" or len(node.shape) != 1:
            continue
        weight, operand = values.whole(node.args[1]), values.steps(node.args[0])
        result = pool.take(values.tokens, node.size, call.loops.dtype)
        kept.owned.append(result)
        values.per_step[node] = found[Place("token", f"n{node.index}")] = torch.mm(operand, weight, out=result)
    return found


def _reserve(call: Call, kept: Kept, tokens: int, before: Mapping[Place, Tensor]) -> None:
    """Room for every kept value, in one piece for those that share a buffer."""
    for node, place in call.loops.kept.items():
        buffer = place.buffer
        if buffer in kept.buffers:
            continue
        if buffer in before:
            kept.buffers[buffer] = before[buffer]
            continue
        size = known(place.within or node.size, call.sizes)
        kept.buffers[buffer] = pool.take(tokens, size, call.loops.dtype)
        kept.owned.append(kept.buffers[buffer])


def backward(
    call: Call,
    tensors: Sequence[Tensor],
    output: Tensor,
    kept: Kept,
    grad_output: Tensor | None,
    grad_final: Sequence[Tensor | None],
    needed: Sequence[bool],
    last: bool,
) -> list[Tensor | None]:
    """The gradient of each of the tensors that is needed. `last`: what was kept is read for the last time."""
    loops, step = call.loops, call.loops.step
    loop, found = loops.backward, loops.split
    given = dict(zip(call.names, tensors, strict=True))
    tokens, batch = len(output), len(call.lengths)
    values = _values(call, given, tokens)
    for node in found.kept:
        place = loops.kept.get(node)
        if place is None:
            values.per_step[node] = output.view(tokens, *known(node.shape, call.sizes))
        elif not place.within:
            values.per_step[node] = kept.buffers[place].view(tokens, *known(node.shape, call.sizes))
        else:
            values.per_step[node] = kept.buffers[place.buffer][:, place.start : place.start + node.size]
    cotangent = loops.inputs.get(("output_cotangent", "0"))
    if cotangent is not None:
        zero = torch.zeros(tokens, cotangent.size, dtype=loops.dtype) if grad_output is None else grad_output
        values.per_step[cotangent] = _plain(zero)
    # what is kept lies in its buffers as the loop wants it, also where these are shared
    places = _read(loop, values, set(found.kept)) | {OUTPUT: output, **kept.buffers}
    own = Kept()
    inside: dict[Node, Tensor] = {}
    for n in found.inside:
        if last and n in loops.replaced:
            inside[n] = kept.buffers[loops.replaced[n]]
        else:
            inside[n] = pool.take(tokens, known(n.size, call.sizes), loops.dtype)
            own.owned.append(inside[n])
    direct = {k: call.empty(tokens, n.size) for k, n in found.direct.items()}
    row_totals = {k: call.empty(batch, n.size, zero=True) for k, n in found.row_totals.items()}
    places |= {kept_place(n): t for n, t in inside.items()}
    places |= {Place("token", f"direct.{k}"): t for k, t in direct.items()}
    places |= {Place("row_total", k): t for k, t in row_totals.items()}
    cotangents = [
        torch.empty(tokens, *s.shape, dtype=loops.dtype) for s, _ in zip(step.states, found.cotangents, strict=False)
    ]
    places |= {Place("token", f"cotangent {i}"): t for i, t in enumerate(cotangents)}
    initial = [
        torch.zeros(batch, *s.shape, dtype=loops.dtype) if g is None else _plain(g)
        for s, g in zip(step.states, grad_final, strict=True)
    ]
    final = [torch.empty_like(t) for t in initial]
    weights = {w: values.whole(w) for w in loop.weights}
    sums = loop.run(call.dealt(loop), places, weights, initial, final, call.sizes)
    if call.record is not None and cotangents:
        call.record.cotangents = cotangents
    for n, t in inside.items():
        values.per_step[n] = t.view(tokens, *known(n.shape, call.sizes))
    for total in found.totals:
        start = loop.layout.totals[Place("total", f"t{total.index}")]
        end = known(start + total.size, call.sizes)
        values.alone[total] = sums[known(start, call.sizes) : end].view(known(total.shape, call.sizes))
    results: list[Tensor | None] = []
    for name, need in zip(call.names, needed, strict=True):
        results.append(_gradient(call, name, values, final, direct, row_totals) if need else None)
    own.release()
    if last:
        kept.release()
    return results


def _gradient(
    call: Call,
    name: str,
    values: Values,
    final: list[Tensor],
    direct: Mapping[str, Tensor],
    row_totals: Mapping[str, Tensor],
) -> Tensor | None:
    found = call.loops.split
    kind, _, place = name.partition(".")
    if kind == "state":
        return final[int(place)]  # also where the step does not read it: a row without steps hands it on
    key = place if kind == "context" else name
    if key in direct:
        return direct[key].view(len(direct[key]), *known(found.direct[key].shape, call.sizes))
    if key in row_totals:
        return row_totals[key].view(len(row_totals[key]), *known(found.row_totals[key].shape, call.sizes))
    after = found.after.get(key)
    if after is None:
        return None
    if kind != "context":
        return values.whole(after) if kind == "param" else values.steps(after)
    each = values.steps(after)
    source = call.node(name)
    if source is not None and source.attrs[0] == "row":
        sums = each.new_zeros(len(call.lengths), *each.shape[1:])
        return sums.index_add_(0, values.owners, each)
    return each


class Values:
    """Nodes that torch computes: for all steps, once per row, or without rows."""

    def __init__(self, lengths: Tensor, tokens: int, dtype: torch.dtype, sizes: Mapping[str, int]) -> None:
        self.sizes = sizes
        self.lengths, self.tokens, self.dtype = lengths, tokens, dtype
        self.per_step: dict[Node, Tensor] = {}
        self.per_row: dict[Node, Tensor] = {}
        self.alone: dict[Node, Tensor] = {}
        self._owners: Tensor | None = None

    @property
    def owners(self) -> Tensor:
        """For each step the row it belongs to."""
        if self._owners is None:
            self._owners = torch.repeat_interleave(torch.arange(len(self.lengths)), self.lengths)
        return self._owners

    def whole(self, node: Node) -> Tensor:
        if node not in self.alone:
            given = {**self.per_step, **self.alone}
            for row, tensor in self.per_row.items():
                if row not in given and _uses(node, row):
                    given[row] = tensor[self.owners]
            replay = Replay(given, self.tokens, self.dtype, self.sizes)
            self.alone[node] = replay(node)
            self.alone.update({n: t for n, t in replay.known.items() if not n.rows})
        found = self.alone[node]
        return found.to(self.dtype) if found.is_floating_point() else found

    def steps(self, node: Node) -> Tensor:
        if node not in self.per_step:
            given = {**self.per_step, **self.alone}
            for row, tensor in self.per_row.items():
                if row not in given and _uses(node, row):
                    given[row] = tensor[self.owners]
            replay = Replay(given, self.tokens, self.dtype, self.sizes)
            self.per_step[node] = replay(node)
        return self.per_step[node]

    def rows(self, node: Node) -> Tensor:
        if node not in self.per_row:
            self.per_row[node] = Replay({**self.per_row, **self.alone}, len(self.lengths), self.dtype, self.sizes)(node)
        return self.per_row[node]


def _uses(node: Node, row: Node) -> bool:
    return row in ancestors([node])


def _values(call: Call, given: Mapping[str, Tensor], tokens: int) -> Values:
    values = Values(call.lengths, tokens, call.loops.dtype, call.sizes)
    for name, tensor in given.items():
        node = call.node(name)
        if node is None:
            continue
        kind = node.attrs[0]
        if kind == "param":
            values.alone[node] = tensor
        elif kind == "step":
            values.per_step[node] = _plain(tensor)
        elif kind == "row":
            values.per_row[node] = _plain(tensor)
    return values


def _plain(tensor: Tensor) -> Tensor:
    tensor = tensor.detach() if tensor.requires_grad else tensor
    return tensor if tensor.is_contiguous() else tensor.contiguous()


def _read(loop: Loop, values: Values, but: Collection[Node] = ()) -> dict[Place, Tensor]:
    """What the loop reads and does not carry: computed now, contiguous."""
    found: dict[Place, Tensor] = {}
    for node, place in loop.program.leaves.items():
        if node in but:
            continue
        if place.kind == "token":
            found[place] = _plain(values.steps(node))
        elif place.kind == "row":
            found[place] = _plain(values.rows(node))
        elif place.kind == "param":
            found[place] = _plain(values.whole(node))
    return found


class Scan(torch.autograd.Function):
    """The scan in autograd."""

    @staticmethod
    def forward(ctx: Any, call: Call, *tensors: Tensor) -> tuple[Tensor, ...]:
        output, final, kept = forward(call, tensors, train=True)
        ctx.call, ctx.kept = call, kept
        ctx.save_for_backward(*tensors, output)
        ctx.set_materialize_grads(False)
        return (output, *final)

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor | None, *grad_final: Tensor | None) -> tuple[Any, ...]:
        call = ctx.call
        count = len(call.names)
        saved = ctx.saved_tensors
        if torch.is_grad_enabled() and call.again is not None:  # create_graph=True
            cotangents = (grad_output, *grad_final)
            with torch.autocast("cpu", enabled=False):
                return (None, *call.again.gradients(saved[:count], call.names, cotangents, ctx.needs_input_grad[1:]))
        # with retain_graph=True, or where torch does not say, there may be another backward pass
        last = not torch._C._autograd._get_current_graph_task_keep_graph()
        with torch.no_grad(), torch.autocast("cpu", enabled=False):
            gradients = backward(
                call, saved[:count], saved[count], ctx.kept, grad_output, grad_final, ctx.needs_input_grad[1:], last
            )
        return (None, *gradients)
