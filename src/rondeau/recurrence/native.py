"""A scan on compiled loops: what torch does before and after them, and its place in autograd."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor

from rondeau.cells.base import Cell, map_state, state_leaves
from rondeau.errors import EngineError
from rondeau.recurrence import pool, reference
from rondeau.recurrence.alone import alone
from rondeau.recurrence.extent import known
from rondeau.recurrence.given import giving
from rondeau.recurrence.ir import Node
from rondeau.recurrence.keep import Record
from rondeau.recurrence.loops import Loop, Loops
from rondeau.recurrence.outside import After, Before, plain
from rondeau.recurrence.plan.program import Place
from rondeau.recurrence.readings import Readings
from rondeau.recurrence.rows import Dealt, deal, parts_for, rows_in_cache
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
    first: int = 0
    weights: tuple[str, ...] = ()  # names of those that came with the call: the first parameters

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
        weights = {name: given[f"param.{i}"] for i, name in enumerate(self.weights)}
        with torch.enable_grad(), giving(weights):
            x = Ragged(given["x"], self.lengths)
            again = None if self.record is None else partial(Readings, self.record, again=True)
            outputs, final = reference.run(self.cell, x, state, context, self.reverse, again, self.first)
        results = [outputs.values, *(t for _, t in state_leaves(final))]
        pairs = [(r, c) for r, c in zip(results, cotangents, strict=True) if c is not None and r.requires_grad]
        sources = [t for t, need in zip(tensors, needed, strict=True) if need]
        ends, given_by = [r for r, _ in pairs], [c for _, c in pairs]
        with alone(sources) as at:
            found = torch.autograd.grad(ends, sources, given_by, create_graph=True, allow_unused=True)
            each = iter([at(source, gradient) for source, gradient in zip(sources, found, strict=True)])
        return [next(each) if need else None for need in needed]


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
    first: int = 0  # steps the rows have made before

    def empty(self, count: int, *shape: int, zero: bool = False) -> Tensor:
        """`(count, *shape)`, shape as the graph has it."""
        make = torch.zeros if zero else torch.empty
        return make(count, *known(shape, self.sizes), dtype=self.loops.dtype)

    def dealt(self, loop: Loop) -> Dealt:
        parts = parts_for(self.lengths.shape[0], loop.macs, loop.pointwise)
        limit = rows_in_cache(known(loop.layout.row, self.sizes) * self.loops.dtype.itemsize)
        return deal(self.lengths, self.reverse, parts, limit)

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
    dealt = call.dealt(loops.training if train else loops.inference)
    tiled = _tiled(dealt)
    plan = loops.outside(("before", call.names, train, tiled), lambda: Before(loops, call.names, train, tiled))
    loop, step, kept = plan.loop, loops.step, Kept()
    values = plan.recipe.begin(dealt.tokens, call.lengths, call.sizes)
    plan.sources.put(values, tensors)
    plan.recipe.run(values)
    for place, buffer in plan.hoisted:
        kept.owned.append(values[place])
        if buffer in plan.buffers:
            kept.buffers[buffer] = values[place]
    for buffer, size in plan.buffers.items():
        if buffer not in kept.buffers:
            kept.buffers[buffer] = pool.take(dealt.tokens, known(size, call.sizes), loops.dtype)
            kept.owned.append(kept.buffers[buffer])
    output = call.empty(dealt.tokens, step.output.size)
    final = [call.empty(call.lengths.shape[0], *s.shape) for s in step.states]
    asked = [call.empty(dealt.tokens, n.size) for n in loops.asked.values()]
    filled = [values[place] for place in plan.reads]
    written = [*(kept.buffers[buffer] for buffer in plan.buffers), output, *asked]
    tiles = [None] * len(loop.tiles) if tiled else []
    weights = [values[place] for place in plan.weights]
    initial = [plain(tensors[i]) for i in plan.sources.states]
    loop.run(
        dealt, plan.slots, [*map(plain, filled), *written, *tiles], weights, initial, final, call.sizes, call.first
    )
    if not train:
        kept.release()
    _keep(call, asked)
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
    dealt = call.dealt(loops.backward)
    tiled = _tiled(dealt)
    plan = loops.outside(("after", call.names, *needed, tiled), lambda: After(loops, call.names, needed, tiled))
    loop, sizes, batch = plan.loop, call.sizes, call.lengths.shape[0]
    tokens = output.shape[0]
    values = plan.recipe.begin(tokens, call.lengths, sizes)
    plan.sources.put(values, tensors)
    if plan.cotangent is not None:
        node, place = plan.cotangent
        values[place] = call.empty(tokens, node.size, zero=True) if grad_output is None else plain(grad_output)
    plan.put_kept(values, kept.buffers, output, sizes)
    plan.recipe.run(values, 0, plan.before)
    own = Kept()
    inside = [kept.buffers[loops.replaced[n]] if last and n in loops.replaced else _room(call, own, n, tokens)
              for n in loops.split.inside]  # fmt: skip
    direct = [call.empty(tokens, n.size) for n in loops.split.direct.values()]
    row_totals = [call.empty(batch, n.size, zero=True) for n in loops.split.row_totals.values()]
    cotangents = [call.empty(tokens, *s.shape) for s, _ in zip(step.states, loops.split.cotangents, strict=False)]
    initial = [call.empty(batch, *s.shape, zero=True) if g is None else plain(g)
               for s, g in zip(step.states, grad_final, strict=True)]  # fmt: skip
    final = [torch.empty_like(t) for t in initial]
    filled = [plain(values[place]) for place in plan.reads]
    left = [*inside, *direct, *row_totals]
    tiles = [call.empty(tokens, n.size) if made else None for n, made in plan.tiles.items()]
    written = [*(kept.buffers[b] for b in plan.buffers), output, *left, *cotangents, *tiles]
    weights = [values[place] for place in plan.weights]
    sums = loop.run(dealt, plan.slots, [*filled, *written], weights, initial, final, sizes, call.first)
    if call.record is not None and cotangents:
        call.record.cotangents = cotangents
    plan.put_results(values, left, sums, sizes)
    for place, tensor in zip(plan.named_tiles.values(), [t for t in tiles if t is not None], strict=True):
        values[place] = tensor
    plan.recipe.run(values, plan.before)
    results = [final[place] if is_state else None if place is None else values[place]
               for is_state, place in plan.gradients]  # fmt: skip
    own.release()
    if last:
        kept.release()
    return results


def _tiled(dealt: Dealt) -> bool:
    """Whether the loop makes its tiles itself: where it keeps all threads at work, as torch would."""
    return dealt.shares == torch.get_num_threads()


def _room(call: Call, own: Kept, node: Node, tokens: int) -> Tensor:
    own.owned.append(pool.take(tokens, known(node.size, call.sizes), call.loops.dtype))
    return own.owned[-1]


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
