"""A scan whose numbers are not all finite: the first step, of values or of gradients, that made one of such as are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from rondeau.cells.base import map_state, state_leaves
from rondeau.errors import ArgumentError
from rondeau.insight.flow import named_leaves
from rondeau.insight.operations import Done, first_backward, first_forward
from rondeau.insight.places import Place, is_finite, padded_step, word
from rondeau.insight.trajectory import Trajectory, row_of
from rondeau.recurrence import Keep, scan
from rondeau.recurrence.given import giving
from rondeau.recurrence.watch import Call
from rondeau.sequence import Ragged

_EVERY = 10**9  # steps: all of them


class BrokenStep(NamedTuple):
    """Where, in the batch; which part: a name given in the step, "h" or another part of the state, or "output"; which
    operation of the step, where it is known."""

    place: Place
    part: str
    operation: Done | None


def broken_forward(call: Call) -> BrokenStep | None:
    """The first step, and of several at once the first row, whose input and state are finite and something else not."""
    kept = list(_kept(call))
    wrong = {name: _rows_wrong(values) for name, values in kept}
    if not any(bool(w.any()) for w in wrong.values()):
        return None
    made = _steps_made(call)
    anywhere = torch.stack(list(wrong.values())).any(0)
    places = anywhere.nonzero()[:, 0]
    index = int(places[made[places].argmin()])
    name = next(name for name, w in wrong.items() if bool(w[index]))
    values = dict(kept)[name][index]
    found = (~torch.isfinite(values)).nonzero()[0].tolist()
    row = int(call.inputs.row_index[index])
    path = _path(call, row)
    with giving(call.weights):
        t = int(made[index])
        operation = first_forward(lambda: path.once(t))
    place = Place(word(values[tuple(found)]), row, _padded(call, row, index), tuple(found))
    return BrokenStep(place, name, operation)


def _kept(call: Call) -> Iterator[tuple[str, Tensor]]:
    """What each step named, its state and its output: name -> `(steps, ...)`, in the order in which they are made."""
    context = {n: call.inputs.with_values(c) if each else c for n, (each, c) in call.context.items()}

    def run(keep: Keep) -> Ragged:
        with torch.no_grad(), giving(call.weights):
            outputs, _ = scan(
                call.cell,
                _detached(call),
                call.state,
                reverse=call.reverse,
                context=context,
                keep=keep,
                engine=call.engine,
            )
        found: Ragged = outputs
        return found

    keep = Keep(states=True, intermediates=True)
    try:
        outputs = run(keep)
        yield from ((name, kept.values) for name, kept in keep.intermediates.items())
    except ArgumentError:  # a step that names something at some steps only cannot be asked for names
        keep = Keep(states=True)
        outputs = run(keep)
    yield from ((name, kept.values) for name, kept in named_leaves(keep.states))
    yield "output", outputs.values


def _detached(call: Call) -> Ragged:
    return call.inputs.with_values(call.inputs.values.detach())


def _rows_wrong(values: Tensor) -> Tensor:
    if not values.is_floating_point():
        return torch.zeros(len(values), dtype=torch.bool)
    return ~torch.isfinite(values.detach().cpu()).reshape(len(values), -1).all(1)


def _steps_made(call: Call) -> Tensor:
    """Of each step in the inputs' order, how many its row has made before: `(steps,)`."""
    inputs = call.inputs
    step = torch.arange(len(inputs.values)) - torch.repeat_interleave(inputs.offsets, inputs.lengths)
    last = torch.repeat_interleave(inputs.lengths, inputs.lengths) - 1
    return last - step if call.reverse else step


def _padded(call: Call, row: int, index: int) -> int:
    return padded_step(call.inputs, row, index - int(call.inputs.offsets[row]))


def _path(call: Call, row: int) -> Trajectory:
    with giving(call.weights):
        state = map_state(Tensor.detach, call.state)
        return row_of(call.cell, _detached(call), state, call.context, call.reverse, row, _EVERY)


def broken_backward(call: Call, outputs: Tensor | None, final: Sequence[Tensor | None]) -> BrokenStep | None:
    """The last step, the first as gradients go, that makes a gradient that is not finite of such as are.

    Args:
        outputs: the loss's gradient by `call.outputs`; final: by the parts of `call.final`; None where there is none.
    """
    lengths = call.inputs.lengths
    seeds = _by_step(call, outputs)
    candidates = _suspects(call, seeds, final)
    for row in [*candidates, *(r for r in range(len(lengths)) if r not in candidates)]:
        if not int(lengths[row]):
            continue
        path = _path(call, row)
        found = _walk(call, path, row, seeds, [None if g is None else g[row : row + 1] for g in final])
        if found is not None:
            t, part, value, operation = found
            step = int(lengths[row]) - 1 - t if call.reverse else t
            return BrokenStep(Place(value, row, padded_step(call.inputs, row, step)), part, operation)
    return None


def _by_step(call: Call, outputs: Tensor | None) -> Tensor | None:
    if outputs is None or not call.last:
        return outputs
    every = outputs.new_zeros(len(call.inputs.values), *outputs.shape[1:])
    inputs = call.inputs
    some = inputs.lengths > 0
    ends = inputs.offsets if call.reverse else inputs.offsets + inputs.lengths - 1
    every[ends[some]] = outputs[some]
    return every


def _suspects(call: Call, seeds: Tensor | None, final: Sequence[Tensor | None]) -> list[int]:
    """Rows whose gradients by a state or an input are not finite, that where it happens latest first."""
    context = {n: call.inputs.with_values(c.detach()) if each else c.detach() for n, (each, c) in call.context.items()}
    keep = Keep(cotangents=True)
    state = map_state(lambda s: s.detach().clone().requires_grad_(s.is_floating_point()), call.state)
    inputs = _detached(call)
    values = inputs.values.requires_grad_(inputs.values.is_floating_point())
    with torch.enable_grad(), giving({name: w.detach() for name, w in call.weights.items()}):
        made, after = scan(
            call.cell, inputs, state, reverse=call.reverse, context=context, keep=keep, engine=call.engine
        )
        ends = [(made.values, seeds), *zip((leaf for _, leaf in state_leaves(after)), final, strict=True)]
        ends = [(t, g) for t, g in ends if g is not None and t.requires_grad]
        starts = [s for s in (values, *(leaf for _, leaf in state_leaves(state))) if s.requires_grad]
        found = torch.autograd.grad([t for t, _ in ends], starts, [g for _, g in ends], allow_unused=True)
    wrong = torch.stack([_rows_wrong(kept.values) for _, kept in named_leaves(keep.cotangents)]).any(0)
    if values.requires_grad and found[0] is not None:
        wrong |= _rows_wrong(found[0])
    at, rows = _steps_made(call), call.inputs.row_index
    order = [(-int(at[i]), int(rows[i])) for i in wrong.nonzero()[:, 0].tolist()]
    return list(dict.fromkeys(row for _, row in sorted(order)))


def _walk(
    call: Call, path: Trajectory, row: int, seeds: Tensor | None, final: list[Tensor | None]
) -> tuple[int, str, str, Done | None] | None:
    """One row, step by step from its last: the step, the part of what it read, the number, and the operation."""
    first = int(call.inputs.offsets[row])
    length = len(path)
    later: list[Tensor] = [
        torch.zeros_like(leaf) if given is None else given
        for given, (_, leaf) in zip(final, state_leaves(path.states[-1]), strict=True)
    ]
    own = call.cell.named_parameters()
    weights: dict[int, tuple[str, Tensor]] = {id(p): (name, p) for name, p in own if p.requires_grad}
    given = {name: w.detach().requires_grad_(w.requires_grad) for name, w in call.weights.items()}
    weights |= {id(w): (name, w) for name, w in given.items() if w.requires_grad}
    for t in reversed(range(length)):
        index = first + (length - 1 - t if call.reverse else t)
        seed = None if seeds is None else seeds[index : index + 1]
        with giving(given):
            x, state, output, after = path.differentiable(t)
            ends = [(output, seed), *zip((leaf for _, leaf in state_leaves(after)), later, strict=True)]
            ends = [(made, g) for made, g in ends if g is not None and made.requires_grad]
            before = [(name or "state", leaf) for name, leaf in state_leaves(state)]
            read = [*before, ("input", x), *weights.values()]
            read = [(name, leaf) for name, leaf in read if leaf.requires_grad]
            if not ends:
                return None
            found = torch.autograd.grad(
                [m for m, _ in ends], [r for _, r in read], [g for _, g in ends], allow_unused=True
            )
            for (name, _), gradient in zip(read, found, strict=True):
                if gradient is not None and not is_finite(gradient):
                    value = word(gradient[~torch.isfinite(gradient)][0])
                    return t, name, value, _operation(path, t, seed, later)
        by_id = {id(leaf): g for (_, leaf), g in zip(read, found, strict=True)}
        later = [_or_zeros(by_id.get(id(leaf)), leaf) for _, leaf in before]
    return None


def _or_zeros(gradient: Tensor | None, like: Tensor) -> Tensor:
    return torch.zeros_like(like) if gradient is None else gradient.detach()


def _operation(path: Trajectory, t: int, seed: Tensor | None, later: list[Tensor]) -> Done | None:
    def step() -> list[tuple[Tensor, Tensor]]:
        _, _, output, after = path.differentiable(t)
        ends = [(output, seed), *zip((leaf for _, leaf in state_leaves(after)), later, strict=True)]
        return [(made, g) for made, g in ends if g is not None]

    return first_backward(step)
