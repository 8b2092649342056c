"""What is learnt before the model is: features and their scale, the alphabet, and a character n-gram."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rondeau.data.audio.batches import Frames
from rondeau.data.audio.features import Floats
from rondeau.errors import CheckpointError
from rondeau.tasks.audio.prepared import Hearing
from rondeau.tasks.language.ngram import InterpolatedNgram
from rondeau.tasks.recognition.alphabet import Alphabet

SETTLED, LONGEST = 50, 300  # loud frames: what the mean begins with counts as so many; it forgets what is older
_HEARD = 500  # recordings
_END = 0  # of a transcript: no symbol has this number


class RunningMean:
    """Frames less what sets this voice and microphone apart from the training part's, as far as was heard by then.

    That is the mean of the last seconds' loud frames less the training part's `loud`, `(width,)`. A frame is loud that
    is louder than the training part's mean; loud frame n moves the mean by 1 / (50 + n) of the way to it, at least by
    1 / 300. In pieces it gives what it gives at once: `mean` and `count` are its state.
    """

    def __init__(self, loud: NDArray[np.float64]) -> None:
        self.loud, self.mean, self.count = loud, loud.copy(), 0

    def push(self, frames: Floats) -> Floats:
        """More frames `(frames, width)`, scaled; as many."""
        found = np.empty(frames.shape, np.float32)
        for row, frame in enumerate(frames.astype(np.float64)):
            if frame.mean() > 0:
                self.count += 1
                self.mean = self.mean + (frame - self.mean) / min(SETTLED + self.count, LONGEST)
            found[row] = frame - (self.mean - self.loud)
        return found


def learn_loud(frames: Frames) -> tuple[float, ...]:
    """The mean of the training part's loud frames, scaled by it, of at most 500 of its recordings, evenly taken."""
    count = min(len(frames), _HEARD)
    total, seen = np.zeros(frames.features.width), 0
    for i in range(count):
        one = frames[i * len(frames) // count].astype(np.float64)
        loud = one[one.mean(1) > 0]
        total, seen = total + loud.sum(0), seen + len(loud)
    return tuple((total / max(seen, 1)).tolist())


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
    """`alphabet`; `hearing`; `loud`: the mean of loud frames, where voices are set apart as they come (`RunningMean`),
    None where it is of whole recordings; `order` of the n-gram, None for none, and the `texts` it is of."""

    alphabet: Alphabet
    hearing: Hearing
    loud: tuple[float, ...] | None = None
    order: int | None = None
    texts: tuple[str, ...] = ()

    def finish(self, frames: Floats) -> Floats:
        """What a model reads of a whole recording's features."""
        made = self.hearing.finish(frames)
        return made if self.loud is None else self.running().push(made)

    def running(self) -> RunningMean:
        """For sound that is still coming."""
        return RunningMean(np.array(self.loud, np.float64))

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
            "loud": None if self.loud is None else list(self.loud),
            "language": language,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Prepared:
        """What `to_json` gave. Raises `CheckpointError` for anything else."""
        try:
            known, language = data["alphabet"], data["language"] or {"order": None, "texts": ()}
            alphabet = Alphabet(tuple(map(str, known["characters"])), bool(known["lower"]))
            hearing, texts = Hearing.from_json(data["hearing"]), tuple(map(str, language["texts"]))
            loud = None if data["loud"] is None else tuple(map(float, data["loud"]))
            return cls(alphabet, hearing, loud, language["order"], texts)
        except (KeyError, TypeError) as error:
            raise CheckpointError("the preparation of speech is damaged", got=repr(error)) from error
