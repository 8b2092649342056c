"""Decoding, token after token: greedily, or with a beam of hypotheses. It knows no model, only a `step`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from rondeau.errors import ArgumentError, NumericsError, ShapeError
from rondeau.layers.graph import map_leaves
from rondeau.sequence import Ragged

Step = Callable[[Tensor, Any], tuple[Tensor, Any]]


class Hypothesis(NamedTuple):
    """One decoded sequence.

    `tokens` come without begin and end; `log_probability` is the sum over all of them, the end with them; `score` is
    that divided by the length penalty; `ended` is false for a sequence that was cut off at `max_length`.
    """

    tokens: list[int]
    log_probability: float
    score: float
    ended: bool


@torch.no_grad()
def beam_search(
    step: Step,
    state: Any,
    begin: int | Tensor,
    end: int,
    width: int = 5,
    max_length: int = 100,
    length_penalty: float = 1.0,
) -> list[list[Hypothesis]]:
    """The most probable sequences, as far as `width` hypotheses a row can find them.

    At each step every living hypothesis is continued by every token, and the best `width` are kept. One that ends keeps
    its place, so the beam of a row narrows until all its hypotheses have ended (Sutskever, Vinyals & Le 2014). A width
    of 1 is `greedy`; one of at least as many as there are sequences is exhaustive. Rows know nothing of each other.

    Args:
        step: `(tokens (n,), state) -> (log-probabilities (n, vocabulary), state)`, for any number n of hypotheses.
        state: before the first step: tensors `(rows, ...)` or `Ragged`, alone or in tuples, lists and dicts.
        begin: the token all rows begin with, or one for each, `(rows,)`.
        end: the token that ends a sequence.
        width: hypotheses a row (default 5).
        max_length: tokens at most, the end among them (default 100).
        length_penalty: alpha of Wu et al. 2016 (arXiv 1609.08144): scores are log-probabilities divided by
            `((5 + length) / 6) ** alpha`, the end counted (default 1; 0 for plain log-probabilities).

    Returns for each row its hypotheses, at most `width` and none of probability zero: those that ended, then those cut
    off at `max_length`, each best score first.

    Raises `ArgumentError`, `ShapeError`, and `NumericsError` for NaN.

    >>> coin = torch.tensor([[0.6, 0.4]]).log()  # 0 goes on, 1 ends
    >>> [best, *_] = beam_search(lambda tokens, s: (coin.expand(len(tokens), 2), s), torch.zeros(1), begin=0, end=1)
    >>> [hypothesis.tokens for hypothesis in best[:3]]
    [[], [0], [0, 0]]
    """
    _check(width, max_length)
    last = _first_tokens(begin, state)
    rows, device = len(last), last.device
    tokens = last.new_zeros(rows, width, 0)
    totals = torch.full((rows, width), -torch.inf, dtype=torch.float64, device=device)
    totals[:, 0] = 0  # all beams of a row begin alike: one of them is enough
    ended = torch.zeros(rows, width, dtype=torch.bool, device=device)
    lengths = last.new_zeros(rows, width)
    for _ in range(max_length):
        living = (totals > -torch.inf) & ~ended
        if not bool(living.any()):
            break
        logs, state = step(last, state)  # of the living only, row after row
        _check_logs(logs, len(last), end)
        size = logs.shape[1]
        after = torch.full((rows, width, size), -torch.inf, dtype=totals.dtype, device=device)
        after[living] = totals[living][:, None] + logs
        after[ended, end] = totals[ended]  # what has ended has one way to go on: to stay as it is
        rank = after.clone()
        rank[ended, end] = torch.inf
        chosen = rank.flatten(1).topk(width).indices
        parent, token = chosen // size, chosen % size

        totals = after.flatten(1).gather(1, chosen)
        had_ended = ended.gather(1, parent)
        lengths = lengths.gather(1, parent) + ~had_ended
        ended = had_ended | ((token == end) & (totals > -torch.inf))
        history = tokens.gather(1, parent[..., None].expand(-1, -1, tokens.shape[2]))
        tokens = torch.cat([history, token[..., None]], dim=2)
        going_on = (totals > -torch.inf) & ~ended
        place = (living.flatten().cumsum(0) - 1).reshape(rows, width).gather(1, parent)  # of the parent in `state`
        state = select(state, place[going_on])
        last = token[going_on]
    return _ranked(tokens, lengths, totals, ended, length_penalty)


@torch.no_grad()
def greedy(
    step: Step, state: Any, begin: int | Tensor, end: int, max_length: int = 100, length_penalty: float = 1.0
) -> list[Hypothesis]:
    """The sequence of the most probable token at each step, for each row. Arguments as in `beam_search`."""
    _check(1, max_length)
    last = _first_tokens(begin, state)
    living = torch.arange(len(last), device=last.device)
    tokens = last.new_full((len(last), max_length), end)
    lengths = torch.zeros_like(last)
    totals = torch.zeros(len(last), dtype=torch.float64, device=last.device)
    for t in range(max_length):
        if not len(living):
            break
        logs, state = step(last, state)
        _check_logs(logs, len(last), end)
        best, last = logs.max(-1)
        totals[living] += best
        lengths[living] += 1
        tokens[living, t] = last
        going_on = (last != end).nonzero()[:, 0]
        state = select(state, going_on)
        living, last = living[going_on], last[going_on]
    ended = torch.ones_like(totals, dtype=torch.bool).index_fill(0, living, False)
    found = _ranked(tokens[:, None], lengths[:, None], totals[:, None], ended[:, None], length_penalty)
    return [best for [best] in found]


def select(state: Any, rows: Tensor) -> Any:
    """Some rows of a state: of each tensor `(rows, ...)` or `Ragged` in it."""

    def take(leaf: Any) -> Any:
        if leaf is None:
            return None
        if isinstance(leaf, Ragged):
            return leaf.select(rows)
        if isinstance(leaf, Tensor):
            return leaf[rows.to(leaf.device)]
        expected = "tensors or Ragged, alone or in tuples, lists and dicts"
        raise ArgumentError("a decoder's state cannot be selected by rows", expected=expected, got=type(leaf).__name__)

    return map_leaves(take, state)


def penalty(length: int, alpha: float) -> float:
    """What the log-probability of a sequence of `length` tokens is divided by: `((5 + length) / 6) ** alpha`."""
    return float(((5 + length) / 6) ** alpha)


def _first_tokens(begin: int | Tensor, state: Any) -> Tensor:
    if isinstance(begin, Tensor):
        if begin.ndim != 1:
            raise ShapeError("decoding: begin", expected="a token, or (rows,)", got=tuple(begin.shape))
        return begin.long()
    leaves: list[Any] = []
    map_leaves(lambda leaf: leaves.append(leaf) if isinstance(leaf, (Tensor, Ragged)) else None, state)
    if not leaves:
        what = "decoding: the state does not say how many rows there are"
        raise ArgumentError(what, got=type(state).__name__, fix="Give begin as a tensor (rows,)")
    return torch.full((len(leaves[0]),), begin, device=leaves[0].device)


def _check(width: int, max_length: int) -> None:
    for name, value in (("width", width), ("max_length", max_length)):
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise ArgumentError(f"decoding: {name}", expected="a positive integer", got=repr(value))


def _check_logs(logs: Tensor, count: int, end: int) -> None:
    if logs.ndim != 2 or logs.shape[0] != count:
        raise ShapeError("decoding: what step returned", expected=f"({count}, vocabulary)", got=tuple(logs.shape))
    if not 0 <= end < logs.shape[1]:
        raise ArgumentError("decoding: end is no token", expected=f"0 to {logs.shape[1] - 1}", got=end)
    highest = float(logs.max())
    if highest != highest:
        raise NumericsError("decoding: step returned NaN", fix="Look for NaN in the weights or the inputs")
    if highest > 1e-3:  # rounding leaves a certain token a little above 0
        fix = "Return torch.log_softmax(logits, -1)"
        raise ArgumentError("decoding: step returned no log-probabilities", expected="at most 0", got=highest, fix=fix)


def _ranked(tokens: Tensor, lengths: Tensor, totals: Tensor, ended: Tensor, alpha: float) -> list[list[Hypothesis]]:
    """From `(rows, width, ...)`, each row's hypotheses: those that ended first, the better score first."""
    result = []
    for row in zip(tokens.tolist(), lengths.tolist(), totals.tolist(), ended.tolist(), strict=True):
        found = [
            Hypothesis(ids[: length - done], total, total / penalty(length, alpha), done)
            for ids, length, total, done in zip(*row, strict=True)
            if total > -torch.inf
        ]
        result.append(sorted(found, key=lambda one: (one.ended, one.score), reverse=True))
    return result
