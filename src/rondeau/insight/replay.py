"""A scan made once more for a few of its rows, with everything kept: what it computed is measured beside it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from rondeau.cells.base import map_state, state_leaves
from rondeau.recurrence import Keep, scan
from rondeau.recurrence.given import giving
from rondeau.recurrence.policy import Policy, Truncated
from rondeau.recurrence.watch import Call
from rondeau.sequence import Ragged


class Watched:
    """A call of `scan`, and the loss's gradients by what came of it, once a backward pass went through.

    Those of several backward passes add up, as they do in weights.
    """

    def __init__(self, call: Call) -> None:
        self.call = call
        leaves = [leaf for _, leaf in state_leaves(call.final)]
        outputs, final = _Sum(), [_Sum() for _ in leaves]
        # a hook that knew the call would keep the graph, which keeps the hook: memory that is never given back
        for part, tensor in ((outputs, call.outputs), *zip(final, leaves, strict=True)):
            if tensor.requires_grad:
                tensor.register_hook(part.add)
        self._outputs, self._final = outputs, final
        self._versions = _versions(call)

    @property
    def changed(self) -> bool:
        """Whether something that the scan read was changed in place since then: made again, it would be another one."""
        return _versions(self.call) != self._versions

    @property
    def outputs(self) -> Tensor | None:
        """By the outputs; None where none came."""
        return self._outputs.gradient

    @property
    def final(self) -> list[Tensor | None]:
        """By the parts of the final state."""
        return [part.gradient for part in self._final]

    @property
    def reached(self) -> bool:
        """Whether a backward pass went through the scan."""
        return self.outputs is not None or any(gradient is not None for gradient in self.final)


def _versions(call: Call) -> list[int]:
    """How often each tensor that a scan reads has been changed in place."""
    read = [call.inputs.values, *call.weights.values(), *call.cell.parameters()]
    read += [leaf for _, leaf in state_leaves(call.state)] + [values for _, values in call.context.values()]
    return [tensor._version for tensor in read if not tensor.is_inference()]


class _Sum:
    """The gradients that came by a tensor, added up."""

    def __init__(self) -> None:
        self._sum: Tensor | None = None
        self._differentiable: Tensor | None = None

    @property
    def gradient(self) -> Tensor | None:
        return self._differentiable if self._sum is None else self._sum

    def add(self, gradient: Tensor | None) -> None:
        if gradient is None:
            return
        own = gradient.detach()
        if torch.is_grad_enabled():  # create_graph=True: for a penalty on gradients, no part of the loss's own
            self._differentiable = own
        else:
            self._sum = own if self._sum is None else self._sum + own


@dataclass
class Replay:
    """Some rows of a scan as one goes forwards over them, with at most so many of each row's last steps.

    Attributes:
        inputs, state, context: of these rows, detached; a scan in reverse is turned round.
        lengths: `(rows,)`.
        outputs: the loss's gradient by the outputs `(steps, units)`; final: by the parts of the final state.
        whole: the same with all steps, where these are the last ones only.
    """

    watched: Watched
    inputs: Ragged
    state: Any
    context: dict[str, Any]
    outputs: Tensor
    final: list[Tensor]
    whole: Replay | None = None

    @property
    def lengths(self) -> Tensor:
        return self.inputs.lengths

    def run(self, keep: Keep, policy: Policy | None = None) -> tuple[Ragged, Any, list[Tensor]]:
        """The outputs, the final state, and what they can be differentiated by to reach every step's state."""
        call = self.watched.call
        weights = {name: weight.detach() for name, weight in call.weights.items()}
        state = map_state(lambda s: s.detach().clone().requires_grad_(s.is_floating_point()), self.state)
        sources = [leaf for _, leaf in state_leaves(state) if leaf.requires_grad]
        inputs = self.inputs
        if (
            policy is not None and inputs.values.is_floating_point()
        ):  # where time is cut, no later step depends on the initial state
            inputs = inputs.with_values(inputs.values.clone().requires_grad_())
            sources.append(inputs.values)
        with giving(weights), torch.enable_grad():
            outputs, final = scan(
                call.cell,
                inputs,
                state,
                context=self.context,
                generator=_of_its_own(self.inputs),
                engine=call.engine,
                keep=keep,
                gradient=policy,
            )
        return outputs, final, sources

    def between_cuts(self, every: int) -> Replay:
        """The same from further back, where needed: each row from a step where a cut after so many steps is made."""
        if self.whole is None:
            return self
        before = self.whole.lengths - self.lengths
        return _without(self.whole, before - before % every)

    def last_steps(self) -> Tensor:
        """Where each row's last step stands among the steps: `(rows,)`."""
        return self.inputs.offsets + self.lengths - 1


def replay(watched: Watched, rows: int, steps: int) -> Replay | None:
    """A scan's `rows` rows, spread evenly over the batch, and of each at most the last `steps` steps it made.

    None where no row has a step.
    """
    call = watched.call
    inputs, outputs = call.inputs.with_values(call.inputs.values.detach()), _gradient(watched)
    chosen = _spread((inputs.lengths > 0).nonzero()[:, 0], rows)
    if not len(chosen):
        return None
    device = inputs.device
    here = chosen.to(device)
    state = map_state(lambda s: s.detach().index_select(0, here.to(s.device)), call.state)
    final = [
        (torch.zeros_like(leaf) if given is None else given).detach().index_select(0, here.to(leaf.device))
        for given, (_, leaf) in zip(watched.final, state_leaves(call.final), strict=True)
    ]
    order = _Part(inputs.lengths, chosen, call.reverse)
    context = {}
    for name, (per_step, values) in call.context.items():
        values = values.detach()
        context[name] = order.ragged(values) if per_step else values.index_select(0, here.to(values.device))
    found = Replay(watched, order.ragged(inputs.values), state, context, order.ragged(outputs).values, final)
    return _shortened(found, steps)


class _Part:
    """The steps of some rows, in the order in which the scan makes them."""

    def __init__(self, lengths: Tensor, chosen: Tensor, reverse: bool) -> None:
        self.lengths, self.chosen, self.reverse = lengths, chosen, reverse

    def ragged(self, values: Tensor) -> Ragged:
        part = Ragged(values, self.lengths).select(self.chosen)
        return part.reverse() if self.reverse else part


def _gradient(watched: Watched) -> Tensor:
    """The loss's gradient by the output of each step, zeros where there is none."""
    call, given = watched.call, watched.outputs
    steps = len(call.inputs.values)
    if not call.last:
        return torch.zeros_like(call.outputs) if given is None else given
    everywhere = call.outputs.new_zeros(steps, *call.outputs.shape[1:])
    if given is None or not steps:
        return everywhere.detach()
    some = call.inputs.lengths > 0
    ends = call.inputs.offsets if call.reverse else call.inputs.offsets + call.inputs.lengths - 1
    everywhere[ends[some].to(everywhere.device)] = given[some.to(given.device)]
    return everywhere.detach()


def _spread(rows: Tensor, most: int) -> Tensor:
    if len(rows) <= most:
        return rows
    return rows[torch.linspace(0, len(rows) - 1, most).round().long()]


def _shortened(whole: Replay, steps: int) -> Replay:
    """The last `steps` steps of each row, from the state before them."""
    return _without(whole, (whole.lengths - steps).clamp(min=0))


def _without(whole: Replay, before: Tensor) -> Replay:
    """Each row without its first steps, `(rows,)`, from the state after them."""
    lengths = whole.lengths
    if not int(before.max()):
        return whole
    step = torch.arange(len(whole.inputs.values)) - torch.repeat_interleave(whole.inputs.offsets, lengths)
    late = step >= torch.repeat_interleave(before, lengths)
    call = whole.watched.call

    def part(values: Tensor, which: Tensor, counts: Tensor) -> Ragged:
        return Ragged(values[which.to(values.device)], counts)

    def parts(which: Tensor, counts: Tensor) -> dict[str, Any]:
        return {n: part(v.values, which, counts) if isinstance(v, Ragged) else v for n, v in whole.context.items()}

    early = part(whole.inputs.values, ~late, before)
    with torch.no_grad(), giving(call.weights):
        drawing = _of_its_own(early)
        _, state = scan(
            call.cell, early, whole.state, context=parts(~late, before), generator=drawing, engine=call.engine
        )
    return Replay(
        whole.watched,
        part(whole.inputs.values, late, lengths - before),
        state,
        parts(late, lengths - before),
        part(whole.outputs, late, lengths - before).values,
        whole.final,
        whole,
    )


def _of_its_own(inputs: Ragged) -> torch.Generator:
    """Where a cell in training draws what is replaced by the scan's own: the user's random numbers stay his."""
    return torch.Generator(inputs.device)


def cut_of(policy: Policy) -> int | None:
    """Steps after which a policy cuts the gradient; None if it does not."""
    return policy.every if isinstance(policy, Truncated) else None
