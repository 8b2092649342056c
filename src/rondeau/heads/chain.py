"""The linear chain: the distribution of a conditional random field over sequences of tags, and what follows from it.

A conditional random field (Lafferty, McCallum & Pereira 2001) gives a sequence of tags y the probability
`exp(start[y_1] + sum e_t[y_t] + sum transitions[y_t, y_t+1] + end[y_T]) / Z`. The same distribution, without Z, is a
chain of conditional probabilities `p(y_t | y_t-1, x)`: `conditionals` finds them by the backward recursion, and
everything else here reads them. `chain[t, i, j]` is the log-probability of tag j at step t after tag i; at a row's
first step all i are alike, so that rows stand one after another and a step's term is told without its row's ends.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from rondeau.errors import ShapeError
from rondeau.sequence import Ragged

FORBIDDEN = -1e4  # exp of it is 0 in every floating-point type, and finite scores keep gradients finite


class Layout:
    """The steps of a batch ordered so that step k of all rows that have one stands together, long rows first.

    Args:
        lengths: `(batch,)`.
        from_end: count a row's steps from its last.

    Attributes:
        rows: the rows by falling length; index: of each place the step in the `Ragged`; slices: the places of step k;
        sizes: how many rows have a step k, and 0 at last.
    """

    def __init__(self, lengths: Tensor, from_end: bool) -> None:
        self.rows = torch.argsort(lengths, descending=True, stable=True)
        ordered = lengths[self.rows]
        longest = int(ordered[0]) if len(ordered) else 0
        offsets = (torch.cumsum(lengths, 0) - lengths)[self.rows]
        steps = torch.arange(longest)
        alive = ordered > steps[:, None]  # (longest, batch)
        place = offsets + ordered - 1 - steps[:, None] if from_end else offsets + steps[:, None]
        self.index = place[alive]
        self.sizes = [*alive.sum(1).tolist(), 0]
        ends = torch.tensor(self.sizes).cumsum(0).tolist()
        self.slices = [slice(end - size, end) for end, size in zip(ends, self.sizes[:-1], strict=False)]


class _Conditionals(torch.autograd.Function):
    """Log-probabilities of each tag after each tag; scores in the layout's order, and out likewise."""

    @staticmethod
    def forward(ctx: Any, scores: Tensor, transitions: Tensor, start: Tensor, end: Tensor, layout: Layout) -> Tensor:
        ahead = scores.clone()  # score of a tag and of all that may follow it, up to a number for each row
        totals = torch.empty_like(scores)
        highest = transitions.amax(1)
        weights = torch.exp(transitions - highest[:, None]).T.contiguous()
        after = end.expand(layout.sizes[0] if layout.slices else 0, -1)
        for k, here in enumerate(layout.slices):
            now = ahead[here].add_(after)
            peak = now.amax(1, keepdim=True)
            sums = torch.exp(now - peak) @ weights
            if bool((sums < _LEAST).any()):  # what may follow is far less likely than what may not: slower, and exact
                totals[here] = torch.logsumexp(transitions + now[:, None, :], 2)
            else:
                totals[here] = sums.log_().add_(highest).add_(peak)
            going_on = totals[here][: layout.sizes[k + 1]]
            after = going_on - going_on.amax(1, keepdim=True)  # any number for a row may be taken away
            first = slice(here.start + layout.sizes[k + 1], here.stop)
            totals[first] = torch.logsumexp(start + ahead[first], 1, keepdim=True)
        chain = transitions + (ahead[:, None, :] - totals[:, :, None])
        first_steps = _first(layout)
        chain[first_steps] = (start + ahead[first_steps] - totals[first_steps])[:, None, :].expand(-1, len(start), -1)
        ctx.save_for_backward(chain)
        ctx.layout = layout
        return chain

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, given: Tensor) -> tuple[Tensor | None, ...]:
        (chain,) = ctx.saved_tensors
        layout = ctx.layout
        likely = chain.exp()
        moved = given.sum(1)  # gradient of each step's scores; what the totals send back comes in the loop
        lost = given.sum(2)  # gradient of the totals, with its sign turned
        before = moved.new_zeros(0, moved.shape[1])
        for k in range(len(layout.slices) - 1, -1, -1):  # from the rows' first steps on
            here = layout.slices[k]
            lost[here][: len(before)] -= before
            moved[here] -= torch.bmm(lost[here][:, None, :], likely[here])[:, 0]
            before = moved[here]
        rest = given - likely * lost[:, :, None]
        first = _first(layout)
        start = moved[first].sum(0)
        transitions = rest.sum(0) - rest[first].sum(0)
        end = moved[layout.slices[0]].sum(0) if layout.slices else torch.zeros_like(start)
        return moved, transitions, start, end, None


_LEAST = 1e-30


def _first(layout: Layout) -> Tensor:
    """The places of the rows' first steps, in a layout from the end."""
    if not layout.slices:
        return torch.zeros(0, dtype=torch.long)
    ends = [torch.arange(one.start + layout.sizes[k + 1], one.stop) for k, one in enumerate(layout.slices)]
    return torch.cat(ends)


def conditionals(emissions: Ragged, transitions: Tensor, start: Tensor, end: Tensor) -> Ragged:
    """The chain of a conditional random field.

    Args:
        emissions: the score of each tag at each step, `Ragged` with values `(steps, tags)`.
        transitions: `(tags, tags)`, of tag j (second axis) after tag i; start, end: `(tags,)`, of a row's ends.

    Returns a `Ragged` with values `(steps, tags, tags)`; see the module. Differentiable once. Scores above 1e4 apart
    from each other leave what is forbidden possible.
    """
    tags = emissions.values.shape[-1]
    fits = transitions.shape == (tags, tags) and start.shape == end.shape == (tags,)
    if emissions.values.ndim != 2 or not fits:
        got = f"emissions {tuple(emissions.values.shape)}, transitions {tuple(transitions.shape)}"
        raise ShapeError("a chain of tags", expected="(steps, tags), (tags, tags), (tags,), (tags,)", got=got)
    layout = Layout(emissions.lengths, from_end=True)
    index = layout.index.to(emissions.device)
    apply: Any = _Conditionals.apply
    ordered = apply(emissions.values.index_select(0, index), transitions, start, end, layout)
    return emissions.with_values(ordered.index_select(0, torch.argsort(index)))


def log_likelihood(chain: Ragged, tags: Tensor) -> Tensor:
    """The log-probability of each row's tags, `(batch,)`; `tags` `(steps,)`, row after row, whole numbers."""
    terms = chosen(chain.values, tags)
    return terms.new_zeros(len(chain)).index_add(0, chain.row_index.to(terms.device), terms)


def chosen(chain: Tensor, tags: Tensor) -> Tensor:
    """The log-probability of the tag at each step after the one before it: `(steps, tags, tags)`, `(steps,)`."""
    before = torch.cat([tags[:1], tags[:-1]])  # the first of a row may be told any
    steps = torch.arange(len(tags), device=chain.device)
    return chain[steps, before, tags]


@torch.no_grad()
def viterbi(chain: Ragged) -> tuple[Ragged, Tensor]:
    """The most probable tags of each row (Viterbi 1967), `Ragged` int64, and their log-probability `(batch,)`."""
    layout = Layout(chain.lengths, from_end=False)
    device = chain.device
    ordered = chain.values.index_select(0, layout.index.to(device))
    pointers: list[Tensor] = []
    best = ordered.new_zeros(len(chain), ordered.shape[-1])
    for k, here in enumerate(layout.slices):
        if k == 0:
            best[: layout.sizes[0]] = ordered[here][:, 0]
            continue
        reached = best[: layout.sizes[k], :, None] + ordered[here]
        best[: layout.sizes[k]], back = reached.max(1)
        pointers.append(back)
    scores, last = best.max(1)
    if layout.sizes[0] < len(chain):
        scores[layout.sizes[0] :] = 0  # rows without steps
    found = torch.empty(len(ordered), dtype=torch.long, device=device)
    for k in range(len(layout.slices) - 1, -1, -1):
        found[layout.slices[k]] = last[: layout.sizes[k]]
        if k:
            size = layout.sizes[k]
            last[:size] = pointers[k - 1].gather(1, last[:size, None])[:, 0]
    back_in_order = torch.argsort(layout.index).to(device)
    by_row = torch.argsort(layout.rows).to(device)
    return chain.with_values(found[back_in_order]), scores[by_row]


@torch.no_grad()
def marginals(chain: Ragged) -> Ragged:
    """The probability of each tag at each step, whatever the others: `Ragged` with values `(steps, tags)`."""
    layout = Layout(chain.lengths, from_end=False)
    likely = chain.values.index_select(0, layout.index.to(chain.device)).exp()
    found = likely[:, 0].clone()
    for k, here in enumerate(layout.slices[1:], 1):
        before = found[layout.slices[k - 1]][: layout.sizes[k]]
        found[here] = torch.bmm(before[:, None, :], likely[here])[:, 0]
    return chain.with_values(found[torch.argsort(layout.index).to(chain.device)])
