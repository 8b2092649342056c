"""`Recompute`: forward without keeping, backward window by window, each computed once more.

Chen et al. (2016), arXiv 1604.06174; Gruslys et al. (2016), arXiv 1606.03401.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from rondeau.cells.base import Cell, map_state, state_tensors
from rondeau.errors import EngineError
from rondeau.recurrence import native
from rondeau.recurrence.cuts import Cuts, Window
from rondeau.recurrence.gathered import Results
from rondeau.recurrence.given import all_given
from rondeau.recurrence.keep import Record
from rondeau.recurrence.steppers import Stepper, stepper
from rondeau.sequence import Ragged


def recompute(
    cell: Cell,
    inputs: Ragged,
    state: Any,
    context: dict[str, tuple[bool, Tensor]],
    engine: str | None,
    record: Record | None,
    cuts: Cuts,
    last: bool,
) -> tuple[Tensor, Any]:
    """As `run_windows`, with exact gradients in the memory of a window.

    Raises `EngineError` where `torch.func` or forward-mode differentiation need the operations of all steps.
    """
    if torch._C._are_functorch_transforms_active() or torch.autograd.forward_ad._current_level >= 0:
        fix = "Leave gradient out, or use gradient=Truncated(steps)"
        raise EngineError("Recompute hides its steps from torch.func and from forward-mode differentiation", fix=fix)
    if all_given():
        raise EngineError("Recompute does not know weights that come with a call", fix="Leave gradient out")
    steps = stepper(cell, inputs, state, context, cuts.reverse, engine, record)
    tensors = [inputs.values, *state_tensors(state), *(t for _, t in context.values())]
    call = Call(steps, cuts, last, len(state_tensors(state)), [s for s, _ in context.values()], record)
    with torch.no_grad():
        output, final = call.forward(tensors, inputs)
    steps.warn()
    captured = steps.captured
    if any(t.requires_grad for t in (*tensors, *captured)):
        call.again = native.Again(cell, inputs.lengths, state, context, cuts.reverse, steps.unchanged, record)
        call.results = [output, *final]
        output, *final = Scan.apply(call, *tensors, *captured)  # type: ignore[no-untyped-call]
    remaining = iter(final)
    return output, map_state(lambda _: next(remaining), state)


@dataclass
class Call:
    """One scan: tensors are values, `states` many states, context (`per_step`: of each whether per step), captured."""

    steps: Stepper
    cuts: Cuts
    last: bool
    states: int
    per_step: list[bool]
    record: Record | None
    boundaries: Boundaries | None = None
    results: list[Tensor] | None = None
    kinds: list[torch.dtype] = field(default_factory=list)  # of the states, as steps return them
    again: native.Again | None = None

    def given(self, tensors: Sequence[Tensor]) -> Given:
        """What windows take their parts of."""
        own = [t.detach() for t in tensors[: 1 + self.states + len(self.per_step)]]
        rows = [t if s else self.cuts.sort(t) for t, s in zip(own[1 + self.states :], self.per_step, strict=True)]
        return Given(own[0], [self.cuts.sort(t) for t in own[1 : 1 + self.states]], rows, self.per_step)

    def forward(self, tensors: Sequence[Tensor], inputs: Ragged) -> tuple[Tensor, list[Tensor]]:
        """Outputs, or last ones, and final states; what is between windows is kept."""
        given = self.given(tensors)
        state = given.states
        results = Results(self.cuts, self.last, tuple(state))
        for window in self.cuts:
            state = [s[: window.rows] for s in state] if window.first else [s[window.here] for s in given.states]
            if window.first:
                self.boundaries = self.boundaries or Boundaries(self.cuts, state)
                self.boundaries.put(window, state)
            part = None if self.record is None else self.record.part()
            output, state = self.steps.forward(window, given.of(window, state), part)
            if self.record is not None and part is not None:
                self.record.put(window.index, part)
            results.add(window, output, tuple(state))
        self.kinds = [s.dtype for s in state]
        return results.outputs(inputs), list(results.state())

    def backward(
        self, tensors: Sequence[Tensor], grad_output: Tensor | None, grad_final: Sequence[Tensor | None],
        needed: Sequence[bool], free: bool,
    ) -> list[Tensor | None]:  # fmt: skip
        """The gradients of the tensors that need one. `free`: what the forward pass kept is read for the last time."""
        given, cuts = self.given(tensors), self.cuts
        plain = 1 + self.states + len(self.per_step)
        captured = list(tensors[plain:])
        carried = [
            None if not k.is_floating_point else torch.zeros_like(s, dtype=k) if g is None else cuts.sort(g).clone()
            for s, g, k in zip(given.states, grad_final, self.kinds, strict=True)
        ]
        if self.last and grad_output is not None:
            grad_output = cuts.sort(grad_output)
        sums = Sums(given, tensors, needed)
        wanted = [needed[0], *(c is not None for c in carried), *needed[1 + self.states :]]
        cotangents = None
        for window in reversed(cuts):
            here = window.here
            if window.first and self.boundaries is not None:
                state = self.boundaries.of(window)
            else:
                state = [s[here] for s in given.states]
            part = self.record.part() if self.record is not None and self.record.wish.cotangents else None
            found = self.steps.gradients(
                window, given.of(window, state), captured, self._cotangent(window, grad_output),
                [None if c is None else c[here] for c in carried], wanted, part,
            )  # fmt: skip
            for c, g in zip(carried, found[1 : 1 + self.states], strict=True):
                if c is not None:
                    c[here] = 0 if g is None else g
            sums.add(window, found)
            if self.record is not None and part is not None:
                cotangents = cotangents or self.record.empty(given.states, zeros=True)
                for whole, c in zip(cotangents, part.cotangents or (), strict=False):
                    whole[window.index] = c
        if free:
            self.boundaries = None
        if self.record is not None and cotangents is not None:
            self.record.cotangents = cotangents
        states = [None if c is None else cuts.unsort(c) for c in carried]
        found = [sums.steps[0], *states, *sums.of_context(cuts), *sums.captured]
        return [g if need else None for g, need in zip(found, needed, strict=True)]

    def _cotangent(self, window: Window, grad_output: Tensor | None) -> Tensor | None:
        """The output's, for the steps of a window."""
        if grad_output is None or (self.last and window.going == window.rows):
            return None
        if not self.last:
            return grad_output.index_select(0, window.index)
        ended = grad_output[window.ended]
        return ended.new_zeros(len(window.index), *ended.shape[1:]).index_copy_(0, window.last[window.going :], ended)

    def differentiable(
        self, tensors: Sequence[Tensor], grad_output: Tensor | None, grad_final: Sequence[Tensor | None],
        needed: Sequence[bool],
    ) -> list[Tensor | None]:  # fmt: skip
        """The gradients as a graph of their own: all steps are made once more, on the reference loop."""
        again = self.again
        if again is None:
            raise ValueError("a call that was never differentiable")
        if self.last and grad_output is not None:
            lengths = again.lengths.to(grad_output.device)
            some = (lengths > 0).nonzero()[:, 0]
            starts = lengths.cumsum(0) - lengths
            places = (starts if self.cuts.reverse else starts + lengths - 1)[some]
            empty = grad_output.new_zeros(int(again.lengths.sum()), *grad_output.shape[1:])
            grad_output = empty.index_copy(0, places, grad_output.index_select(0, some))
        names = self.steps.names
        with self.steps.settings():
            cast = [self.steps.cast(t) for t in tensors]
            return again.gradients(cast, names, [grad_output, *grad_final], needed)


class Boundaries:
    """The states before each window but the first, in one piece of memory for each.

    Small pieces that stay, between large ones that come and go, would keep malloc from using the same memory again.
    """

    def __init__(self, cuts: Cuts, like: Sequence[Tensor]) -> None:
        self._starts, rows = cuts.boundaries()
        self._states = [s.new_empty(rows, *s.shape[1:]) for s in like]

    def put(self, window: Window, states: Sequence[Tensor]) -> None:
        for kept, state in zip(self.of(window), states, strict=True):
            kept.copy_(state)

    def of(self, window: Window) -> list[Tensor]:
        start = self._starts[window.start, window.first]
        return [s[start : start + window.rows] for s in self._states]


@dataclass
class Given:
    """Tensors of a call, without gradients; what belongs to rows stands longest row first."""

    x: Tensor
    states: list[Tensor]
    context: list[Tensor]
    per_step: list[bool]

    def of(self, window: Window, state: list[Tensor]) -> list[Tensor]:
        """What a window takes: its steps, its states, its context."""
        context = [
            t.index_select(0, window.index) if s else t[window.here]
            for t, s in zip(self.context, self.per_step, strict=True)
        ]
        return [self.x.index_select(0, window.index), *state, *context]


class Sums:
    """Gradients of windows, added up: `steps` and `captured`; None where nothing was found."""

    def __init__(self, given: Given, tensors: Sequence[Tensor], needed: Sequence[bool]) -> None:
        self.given, self.needed = given, needed
        self.start = 1 + len(given.states)
        self.steps: list[Tensor | None] = [None] * (1 + len(given.context))
        self.captured: list[Tensor | None] = [None] * (len(tensors) - self.start - len(given.context))

    def add(self, window: Window, found: Sequence[Tensor | None]) -> None:
        end = self.start + len(self.given.context)
        kinds = [(self.given.x, True), *zip(self.given.context, self.given.per_step, strict=True)]
        for i, (gradient, (whole, per_step)) in enumerate(
            zip([found[0], *found[self.start : end]], kinds, strict=True)
        ):
            if gradient is None:
                continue
            total = self.steps[i]
            if total is None:
                total = self.steps[i] = torch.zeros_like(whole, memory_format=torch.contiguous_format)
            if per_step:
                total.index_copy_(0, window.index, gradient.to(total.dtype))
            else:
                total[window.here] += gradient
        for i, gradient in enumerate(found[end:]):
            if gradient is not None:
                total = self.captured[i]
                self.captured[i] = gradient if total is None else total + gradient

    def of_context(self, cuts: Cuts) -> list[Tensor | None]:
        return [
            g if g is None or per_step else cuts.unsort(g)
            for g, per_step in zip(self.steps[1:], self.given.per_step, strict=True)
        ]


class Scan(torch.autograd.Function):
    """The scan in autograd; its results were computed before."""

    @staticmethod
    def forward(ctx: Any, call: Call, *tensors: Tensor) -> tuple[Tensor, ...]:
        results, call.results = call.results, None  # which would refer to this very node
        if results is None:
            raise ValueError("a call without results")
        ctx.call = call
        ctx.save_for_backward(*tensors)
        ctx.mark_non_differentiable(*(t for t in results if not t.is_floating_point()))
        ctx.set_materialize_grads(False)
        return tuple(results)

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor | None, *grad_final: Tensor | None) -> tuple[Any, ...]:
        call: Call = ctx.call
        tensors, needed = ctx.saved_tensors, ctx.needs_input_grad[1:]
        if torch.is_grad_enabled():  # create_graph=True
            return (None, *call.differentiable(tensors, grad_output, grad_final, needed))
        # with retain_graph=True, or where torch does not say, there may be another backward pass
        free = not torch._C._autograd._get_current_graph_task_keep_graph()
        with torch.no_grad():
            return (None, *call.backward(tensors, grad_output, grad_final, needed, free))
