"""What is learnt before the model is: features and their scale, the alphabet, and a character n-gram."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rondeau.data.audio.features import Floats
from rondeau.errors import CheckpointError
from rondeau.tasks.audio.prepared import Hearing
from rondeau.tasks.language.ngram import InterpolatedNgram
from rondeau.tasks.recognition.alphabet import Alphabet

SETTLED, LONGEST = 50, 300  # frames: what the mean begins with counts as so many; it forgets what is older
_END = 0  # of a transcript: no symbol has this number


class RunningMean:
    """Frames less the mean of those so far, of the last seconds, so that a voice's own colour goes as it speaks.

    Frame t moves the mean by 1 / (50 + t) of the way to it, at least by 1 / 300; it begins at zero. In pieces it gives
    what it gives at once; `mean` and `count` are its state.
    """

    def __init__(self, width: int) -> None:
        self.mean, self.count = np.zeros(width), 0

    def push(self, frames: Floats) -> Floats:
        """More frames `(frames, width)`, scaled; each less the mean up to it."""
        found = np.empty(frames.shape, np.float32)
        for row, frame in enumerate(frames.astype(np.float64)):
            self.count += 1
            self.mean = self.mean + (frame - self.mean) / min(SETTLED + self.count, LONGEST)
            found[row] = frame - self.mean
        return found


class NgramScorer:
    """A character n-gram of transcripts, as decoders ask it: symbols from 1, each after those before it.

    >>> scorer = NgramScorer([[1, 2], [1, 2], [1, 3]], classes=4, order=2)
    >>> scorer.score((1,), 2) > scorer.score((1,), 3)
    True
    """

    def __init__(self, texts: Sequence[Sequence[int]], classes: int, order: int) -> None:
        ids = [_END, *(symbol for text in texts for symbol in (*text, _END))]
        self.model = InterpolatedNgram(ids, classes, min(order, len(ids)))
        self._known: dict[tuple[int, ...], list[float]] = {}

    def score(self, prefix: tuple[int, ...], symbol: int) -> float:
        """The natural logarithm of a symbol's probability."""
        before = self.model.order - 1
        context = (_END, *prefix)[-before:] if before else ()
        found = self._known.get(context)
        if found is None:
            found = [math.log(p) for p in self.model.next_distribution(context).tolist()]
            self._known[context] = found
        return found[symbol]


@dataclass(frozen=True)
class Prepared:
    """`alphabet`; `hearing`; `running`: whether the mean is taken as sound comes, and not of whole recordings;
    `order` of the n-gram, None for none, and the `texts` it is of."""

    alphabet: Alphabet
    hearing: Hearing
    running: bool = False
    order: int | None = None
    texts: tuple[str, ...] = ()

    def finish(self, frames: Floats) -> Floats:
        """What a model reads of a whole recording's features."""
        made = self.hearing.finish(frames)
        return RunningMean(made.shape[1]).push(made) if self.running else made

    def scorer(self) -> NgramScorer | None:
        """The n-gram, where one was asked for."""
        if self.order is None:
            return None
        texts = [self.alphabet.encode(text) for text in self.texts]
        return NgramScorer(texts, self.alphabet.classes, self.order)

    def to_json(self) -> dict[str, Any]:
        """As `from_json` takes it."""
        alphabet = {"characters": list(self.alphabet.characters), "lower": self.alphabet.lower}
        language = None if self.order is None else {"order": self.order, "texts": list(self.texts)}
        return {
            "alphabet": alphabet,
            "hearing": self.hearing.to_json(),
            "running": self.running,
            "language": language,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Prepared:
        """What `to_json` gave. Raises `CheckpointError` for anything else."""
        try:
            known, language = data["alphabet"], data["language"] or {"order": None, "texts": ()}
            alphabet = Alphabet(tuple(map(str, known["characters"])), bool(known["lower"]))
            hearing, texts = Hearing.from_json(data["hearing"]), tuple(map(str, language["texts"]))
            return cls(alphabet, hearing, bool(data["running"]), language["order"], texts)
        except (KeyError, TypeError) as error:
            raise CheckpointError("the preparation of speech is damaged", got=repr(error)) from error
