"""A transducer's symbols as the frames come: the likeliest at each node, or a beam of transcripts.

Both take an encoder's features in pieces of any size with the state before them, and give the state behind.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from rondeau.errors import NumericsError, ShapeError
from rondeau.heads.ctc import BLANK
from rondeau.heads.ctc_decoding import CONTEXT, NEVER, Found, Heard, Scorer, add_logs, check_counts, common
from rondeau.heads.transducer import Transducer, Written


class WrittenState(NamedTuple):
    """Between two pieces of greedy decoding: what is written so far, and how many frames there were."""

    written: Written
    frames: int = 0


@torch.no_grad()
def greedy(
    head: Transducer, features: Tensor, state: WrittenState | None = None, most: int = 5
) -> tuple[list[Heard], WrittenState]:
    """At each node the likeliest: a symbol, or the blank, which goes on to the next frame.

    Args:
        features: the encoder's, `(frames, features)`.
        state: what the piece before gave; default: these are the first frames.
        most: symbols between two frames at most (default 5).
    """
    check_counts(most=most)
    written, frames = state or WrittenState(head.begin())
    found: list[Heard] = []
    for frame in head.read(_checked(features))[:, None]:
        for _ in range(most):
            symbol = int(_sound(head.join(frame, written.features)).argmax())
            if symbol == BLANK:
                break
            found.append(Heard(symbol, frames))
            written = head.write(torch.tensor([symbol], device=features.device), written.state)
        frames += 1
    return found, WrittenState(written, frames)


class Alive(NamedTuple):
    """A transcript so far.

    `total`: log-probability of all its paths. `language`: the scorer's sum over its symbols. `frames`: where these were
    written. `before`, `written`: the prediction network without and with its last symbol, one row each; the second is
    None until it is needed.
    """

    total: float
    language: float
    frames: tuple[int, ...]
    before: Written
    written: Written | None = None


class TranscriptState(NamedTuple):
    """Between two pieces: the transcripts alive, what was settled before them, and how many frames there were."""

    prefixes: dict[tuple[int, ...], Alive]
    context: tuple[int, ...] = ()
    frames: int = 0


class TransducerBeam:
    """A beam of transcripts, frame by frame; paths of one transcript are added up.

    Time-synchronous search (Saon, Tuske & Audhkhasi 2020, "Alignment-length synchronous decoding for RNN transducer",
    algorithm 1): between two frames the transcripts alive are continued by a symbol, up to `most` times, and each time
    the best `width` go on; the best `width` of all that then read the next frame are kept.

    Args:
        head: the joint network; width: transcripts kept (default 4); most: symbols between two frames (default 3).
        scorer: what else judges transcripts; weight, bonus, least, lag: with it, as in `PrefixBeam`.

    Nothing is cut off where `width` is at least the number of transcripts: then those of at most `most` symbols have
    their exact log-probabilities.
    """

    def __init__(
        self,
        head: Transducer,
        width: int = 4,
        scorer: Scorer | None = None,
        weight: float = 0.5,
        bonus: float = 0.0,
        least: float = NEVER,
        lag: int | None = None,
        most: int = 3,
    ) -> None:
        check_counts(width=width, most=most, lag=1 if lag is None else lag)
        self.head, self.width, self.most, self.lag = head, width, most, lag
        self.scorer, self.weight, self.bonus, self.least = scorer, weight, bonus, least

    def begin(self) -> TranscriptState:
        """The state before the first frame."""
        with torch.no_grad():
            return TranscriptState({(): Alive(0.0, 0.0, (), *2 * [self.head.begin()])})

    @torch.no_grad()
    def push(self, features: Tensor, state: TranscriptState) -> TranscriptState:
        """The state after some more frames: an encoder's features `(frames, features)`."""
        for frame in self.head.read(_checked(features))[:, None]:
            state = self._frame(frame, state)
        return state

    def _frame(self, frame: Tensor, state: TranscriptState) -> TranscriptState:
        alive, read = state.prefixes, dict[tuple[int, ...], Alive]()
        for number in range(self.most + 1):
            alive = self._written(alive)
            after: dict[tuple[int, ...], Alive] = {}
            for (prefix, known), row in zip(alive.items(), self._logs(frame, alive), strict=True):
                _merge(read, prefix, known._replace(total=known.total + row[BLANK]))
                for symbol in range(1, len(row)) if number < self.most else ():
                    if row[symbol] > NEVER and row[symbol] >= self.least:
                        _merge(after, (*prefix, symbol), self._continued(prefix, known, symbol, row[symbol], state))
            alive = self._hopeful(self._best(after), read)
            if not alive:
                break
        kept = self._best(read)
        if self.lag is not None:
            best, known = next(iter(kept.items()))
            old = best[: sum(at <= state.frames - self.lag for at in known.frames)]
            kept = {prefix: one for prefix, one in kept.items() if prefix[: len(old)] == old}
        return TranscriptState(kept, state.context, state.frames + 1)

    def _continued(
        self, prefix: tuple[int, ...], known: Alive, symbol: int, log: float, state: TranscriptState
    ) -> Alive:
        old = state.prefixes.get((*prefix, symbol))
        if old is not None:  # alive before this frame: what it is made of is known
            return old._replace(total=known.total + log)
        language = known.language
        if self.scorer is not None:
            language += self.scorer.score(state.context + prefix, symbol)
        assert known.written is not None  # `_written` has been here
        return Alive(known.total + log, language, (*known.frames, state.frames), known.written)

    def _written(self, alive: dict[tuple[int, ...], Alive]) -> dict[tuple[int, ...], Alive]:
        """With what the prediction network makes of each, all that is missing in one step."""
        missing = [prefix for prefix, known in alive.items() if known.written is None]
        if not missing:
            return alive
        parts = zip(*(alive[prefix].before.state for prefix in missing), strict=True)
        symbols = torch.tensor([prefix[-1] for prefix in missing], device=self.head.embedding.embeddings.device)
        new = self.head.write(symbols, [torch.cat(part) for part in parts])
        rows = {prefix: slice(i, i + 1) for i, prefix in enumerate(missing)}
        return {
            prefix: known
            if prefix not in rows
            else known._replace(written=Written(new.features[rows[prefix]], [s[rows[prefix]] for s in new.state]))
            for prefix, known in alive.items()
        }

    def _logs(self, frame: Tensor, alive: dict[tuple[int, ...], Alive]) -> list[list[float]]:
        """Log-probabilities of the classes at this frame's node of each."""
        features = torch.cat([known.written.features for known in alive.values() if known.written is not None])
        logits = _sound(self.head.join(frame, features)).double()
        found: list[list[float]] = torch.log_softmax(logits, -1).tolist()
        return found

    def _rank(self, one: tuple[tuple[int, ...], Alive]) -> float:
        prefix, known = one
        return known.total + self.weight * known.language + self.bonus * len(prefix)

    def _hopeful(
        self, alive: dict[tuple[int, ...], Alive], read: dict[tuple[int, ...], Alive]
    ) -> dict[tuple[int, ...], Alive]:
        """Those that may still come among the best that have read the frame; reading it makes none more probable."""
        if len(read) < self.width:
            return alive
        least = sorted(map(self._rank, read.items()), reverse=True)[self.width - 1]
        return {prefix: known for prefix, known in alive.items() if self._rank((prefix, known)) > least}

    def _best(self, some: dict[tuple[int, ...], Alive]) -> dict[tuple[int, ...], Alive]:
        return dict(sorted(some.items(), key=self._rank, reverse=True)[: self.width])

    def found(self, state: TranscriptState) -> list[Found]:
        """The transcripts alive, the best score first; of a stream what is not `settled` yet."""
        ranked = sorted(state.prefixes.items(), key=self._rank, reverse=True)
        return [
            Found(list(map(Heard, prefix, known.frames)), known.total, self._rank((prefix, known)))
            for prefix, known in ranked
        ]

    def settled(self, state: TranscriptState) -> tuple[list[Heard], TranscriptState]:
        """The symbols in which all transcripts agree, which will never change, and the state without these."""
        prefixes = list(state.prefixes)
        agreed = common(prefixes)
        count = len(agreed)
        if not count:
            return [], state
        told = list(map(Heard, agreed, state.prefixes[prefixes[0]].frames))
        kept = {p[count:]: known._replace(frames=known.frames[count:]) for p, known in state.prefixes.items()}
        return told, TranscriptState(kept, (*state.context, *agreed)[-CONTEXT:], state.frames)


def _merge(into: dict[tuple[int, ...], Alive], prefix: tuple[int, ...], one: Alive) -> None:
    """Add the paths of a transcript to those it has."""
    other = into.get(prefix)
    into[prefix] = one if other is None else other._replace(total=add_logs(other.total, one.total))


def _checked(features: Tensor) -> Tensor:
    if features.ndim != 2:
        raise ShapeError("decoding: the frames", expected="(frames, features)", got=tuple(features.shape))
    return features


def _sound(logits: Tensor) -> Tensor:
    if bool(logits.isnan().any()):
        raise NumericsError("decoding: a frame's scores are NaN", fix="Look for NaN in the weights or the inputs")
    return logits
