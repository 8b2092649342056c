"""A recogniser's outputs as symbols, in pieces or at once: one way of asking, whatever head and search there are."""

from __future__ import annotations

from typing import Any, NamedTuple

from torch import Tensor

from rondeau.heads import ctc_decoding, transducer_decoding
from rondeau.heads.ctc_decoding import Found, Heard, PrefixBeam, Scorer
from rondeau.heads.transducer_decoding import TransducerBeam
from rondeau.models.recognizer import Recognizer

# log-probability below which a symbol is not thought of at a step: a transducer pays for each with a network's step
LEAST = {"ctc": -9.0, "transducer": -6.0}


class Asked(NamedTuple):
    """How to decode: transcripts followed, what else ranks them and how much, steps after which all is settled."""

    beam: int = 8
    scorer: Scorer | None = None
    weight: float = 0.3
    lag: int | None = None


class Decoder:
    """Turns what `Recognizer.encode` or a stream of it gives into symbols.

    `begin` gives a state, `push` takes outputs and a state and gives what is heard for good and the next state, and
    `finish` gives the rest.
    """

    def __init__(self, model: Recognizer, asked: Asked) -> None:
        self.model, self.search = model, _search(model, asked)

    def begin(self) -> Any:
        """The state before the first step; None where nothing is heard yet."""
        return None if self.search is None else self.search.begin()

    def push(self, outputs: Tensor, state: Any) -> tuple[list[Heard], Any]:
        """More outputs `(steps, ...)`."""
        if self.search is not None:
            told: tuple[list[Heard], Any] = self.search.settled(self.search.push(outputs, state))
            return told
        if self.model.transducer is None:
            return ctc_decoding.greedy(outputs, state)
        return transducer_decoding.greedy(self.model.transducer, outputs, state)

    def finish(self, state: Any) -> list[Heard]:
        """What was not settled yet: of the best transcript."""
        return [] if self.search is None else self.search.found(state)[0].symbols

    def whole(self, outputs: Tensor) -> Found:
        """All of a recording at once, with the log-probability of what is heard (NaN without a beam)."""
        state = self.begin()
        if self.search is not None:
            best: Found = self.search.found(self.search.push(outputs, state))[0]
            return best
        heard, _ = self.push(outputs, state)
        return Found(heard, float("nan"), float("nan"))


def _search(model: Recognizer, asked: Asked) -> Any:
    if asked.beam == 1:
        return None
    options: dict[str, Any] = {"weight": asked.weight, "least": LEAST[model.head], "lag": asked.lag}
    if model.transducer is None:
        return PrefixBeam(asked.beam, asked.scorer, **options)
    return TransducerBeam(model.transducer, asked.beam, asked.scorer, **options)
