"""From the frames' log-probabilities to symbols, as the frames come: the best path, or a beam of prefixes.

Both take frames in pieces of any size with the state before them, and give the state behind: what is found in pieces
is what is found at once.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from rondeau.errors import ArgumentError, NumericsError, ShapeError
from rondeau.heads.ctc import BLANK

NEVER = -math.inf
CONTEXT = 32  # settled symbols that a scorer is still shown


class Scorer(Protocol):
    """What knows which symbols follow each other, such as a character n-gram."""

    def score(self, prefix: tuple[int, ...], symbol: int) -> float:
        """The natural logarithm of a symbol's probability after those before it."""
        ...


class Heard(NamedTuple):
    """A symbol, and the frame at which it began, counted from the first of all."""

    symbol: int
    frame: int


class GreedyState(NamedTuple):
    """Between two pieces: the class at the last frame, and how many frames there were."""

    last: int = BLANK
    frames: int = 0


def greedy(logs: Any, state: GreedyState | None = None) -> tuple[list[Heard], GreedyState]:
    """The symbols of the most probable path.

    Args:
        logs: log-probabilities, or any scores that rank alike, `(frames, classes)`.
        state: what the piece before gave; default: these are the first frames.

    >>> piece = torch.eye(3)[[1, 1, 0, 1, 2]]
    >>> [heard.symbol for heard in greedy(piece)[0]]
    [1, 1, 2]
    """
    last, frames = state or GreedyState()
    found: list[Heard] = []
    for symbol in _rows(logs).argmax(1).tolist():
        if symbol not in (BLANK, last):
            found.append(Heard(symbol, frames))
        last, frames = symbol, frames + 1
    return found, GreedyState(last, frames)


class Prefix(NamedTuple):
    """What is known of a transcript's beginning.

    `blank`, `symbol`: log-probability of its paths that end in a blank, and in its last symbol. `language`: the
    scorer's sum over its symbols. `frames`: where its symbols were first heard.
    """

    blank: float
    symbol: float
    language: float
    frames: tuple[int, ...]

    @property
    def total(self) -> float:
        """Log-probability of all its paths."""
        return add_logs(self.blank, self.symbol)


class BeamState(NamedTuple):
    """Between two pieces: the prefixes alive, what was settled before them, and how many frames there were."""

    prefixes: dict[tuple[int, ...], Prefix]
    context: tuple[int, ...] = ()
    frames: int = 0


class Found(NamedTuple):
    """A transcript, or what is left of it unsettled: its symbols, log-probability of all its paths, and its score."""

    symbols: list[Heard]
    log_probability: float
    score: float


class PrefixBeam:
    """Prefix-beam search (Hannun et al. 2014, arXiv 1408.2873): paths of one transcript are added up.

    Args:
        width: prefixes kept after each frame (default 8).
        scorer: ranks them too; its log-probability is weighed by `weight` (default 0.5), and each symbol adds `bonus`
            (default 0), which makes up for a scorer's taste for short transcripts.
        least: the log-probability a symbol must have at a frame to be thought of there; default: any.
        lag: frames after which a symbol of the best prefix is settled, and prefixes without it are given up; default:
            none ever is.

    A prefix's score is its log-probability + weight * scorer's + bonus * symbols. Nothing is cut off where `width` is
    at least the number of prefixes: then all log-probabilities are exact. Raises `ArgumentError`.

    >>> search = PrefixBeam(width=4)
    >>> logs = torch.tensor([[0.5, 0.5], [0.5, 0.5]]).log()
    >>> [best, *_] = search.found(search.push(logs, search.begin()))
    >>> [heard.symbol for heard in best.symbols], round(best.log_probability, 4)
    ([1], -0.2877)
    """

    def __init__(
        self,
        width: int = 8,
        scorer: Scorer | None = None,
        weight: float = 0.5,
        bonus: float = 0.0,
        least: float = NEVER,
        lag: int | None = None,
    ) -> None:
        check_counts(width=width, lag=1 if lag is None else lag)
        self.width, self.scorer, self.weight, self.bonus, self.least = width, scorer, weight, bonus, least
        self.lag = lag

    def begin(self) -> BeamState:
        """The state before the first frame: the empty transcript is certain."""
        return BeamState({(): Prefix(0.0, NEVER, 0.0, ())})

    def push(self, logs: Any, state: BeamState) -> BeamState:
        """The state after some more frames, log-probabilities `(frames, classes)`. `ShapeError`, `NumericsError`."""
        for row in _log_rows(logs).tolist():
            state = self._frame(row, state)
        return state

    def _frame(self, row: list[float], state: BeamState) -> BeamState:
        likely = [symbol for symbol in range(1, len(row)) if row[symbol] > NEVER and row[symbol] >= self.least]
        blanks: dict[tuple[int, ...], float] = {}
        symbols: dict[tuple[int, ...], float] = {}
        for prefix, known in state.prefixes.items():
            total = known.total
            blanks[prefix] = total + row[BLANK]
            if prefix:
                symbols[prefix] = add_logs(symbols.get(prefix, NEVER), known.symbol + row[prefix[-1]])
            for symbol in likely:
                before = known.blank if prefix and symbol == prefix[-1] else total
                if before > NEVER:
                    longer = (*prefix, symbol)
                    symbols[longer] = add_logs(symbols.get(longer, NEVER), before + row[symbol])
        after = {
            prefix: self._known(prefix, blanks.get(prefix, NEVER), symbols.get(prefix, NEVER), state)
            for prefix in blanks | symbols
        }
        ranked = sorted(after.items(), key=self._rank, reverse=True)[: self.width]
        if self.lag is not None:
            best, known = ranked[0]
            old = best[: sum(frame <= state.frames - self.lag for frame in known.frames)]
            ranked = [one for one in ranked if one[0][: len(old)] == old]
        return BeamState(dict(ranked), state.context, state.frames + 1)

    def _known(self, prefix: tuple[int, ...], blank: float, symbol: float, state: BeamState) -> Prefix:
        old = state.prefixes.get(prefix)
        if old is not None:
            return Prefix(blank, symbol, old.language, old.frames)
        parent = state.prefixes[prefix[:-1]]
        language = parent.language
        if self.scorer is not None:
            language += self.scorer.score(state.context + prefix[:-1], prefix[-1])
        return Prefix(blank, symbol, language, (*parent.frames, state.frames))

    def _rank(self, one: tuple[tuple[int, ...], Prefix]) -> float:
        prefix, known = one
        return known.total + self.weight * known.language + self.bonus * len(prefix)

    def found(self, state: BeamState) -> list[Found]:
        """The transcripts alive, the best score first; of a stream what is not `settled` yet."""
        ranked = sorted(state.prefixes.items(), key=self._rank, reverse=True)
        return [
            Found(list(map(Heard, prefix, known.frames)), known.total, self._rank((prefix, known)))
            for prefix, known in ranked
        ]

    def settled(self, state: BeamState) -> tuple[list[Heard], BeamState]:
        """The symbols in which all prefixes agree but the last of them, and the state without these.

        They will never change: they can be told while more frames come, and need be kept no longer.
        """
        prefixes = list(state.prefixes)
        agreed = common(prefixes)
        count = max(0, len(agreed) - 1)  # the last is needed to tell a repeat
        if not count:
            return [], state
        first = state.prefixes[prefixes[0]]
        told = list(map(Heard, agreed[:count], first.frames))
        kept = {p[count:]: known._replace(frames=known.frames[count:]) for p, known in state.prefixes.items()}
        return told, BeamState(kept, (*state.context, *agreed[:count])[-CONTEXT:], state.frames)


def check_counts(**counts: Any) -> None:
    """Raise `ArgumentError` for what is no positive whole number."""
    for name, value in counts.items():
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise ArgumentError(f"decoding: {name}", expected="a positive whole number", got=repr(value))


def common(prefixes: list[tuple[int, ...]]) -> tuple[int, ...]:
    """What all begin with."""
    shortest, longest = min(prefixes), max(prefixes)  # in their order the two that differ soonest
    for place, symbol in enumerate(shortest):
        if place >= len(longest) or symbol != longest[place]:
            return shortest[:place]
    return shortest


def add_logs(one: float, other: float) -> float:
    """The logarithm of the sum of two numbers, of their logarithms."""
    if one < other:
        one, other = other, one
    return one if other == NEVER else one + math.log1p(math.exp(other - one))


def _rows(logs: Any) -> NDArray[Any]:
    array: NDArray[Any] = logs.detach().cpu().numpy() if isinstance(logs, torch.Tensor) else np.asarray(logs)
    if array.ndim != 2 or array.shape[1] < 2:
        raise ShapeError("decoding: the frames", expected="(frames, classes), two classes or more", got=array.shape)
    if np.isnan(array).any():
        raise NumericsError("decoding: a frame's scores are NaN", fix="Look for NaN in the weights or the inputs")
    return array


def _log_rows(logs: Any) -> NDArray[Any]:
    array = _rows(logs)
    if array.size and float(array.max()) > 1e-3:  # rounding leaves a certain class a little above 0
        fix = "Give torch.log_softmax(logits, -1)"
        raise ArgumentError("decoding: no log-probabilities", expected="at most 0", got=float(array.max()), fix=fix)
    return array
