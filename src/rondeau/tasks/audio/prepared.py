"""What is learnt from the training part's recordings alone: features, classes, a scale for each number of a frame."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rondeau.data.audio.batches import Frames
from rondeau.data.audio.features import Features, Floats
from rondeau.data.audio.index import AudioIndex, Recording
from rondeau.data.progress import progress
from rondeau.data.scaler import Scaler
from rondeau.errors import CheckpointError

NORMALISATIONS = ("loud", "level", "mean", "mean_variance", "none")
_FLOOR = 8.0  # nepers of energy, 35 dB, below a recording's loudest number
_LOUD = 1.5  # nepers by which a frame is quieter that counts a third
SCALED_FROM = 4000  # recordings at most
HIGHEST_RATE = 16000  # beyond it a recording says little more of what was said


@dataclass(frozen=True)
class Hearing:
    """From samples to what a model reads.

    Attributes:
        features: of the samples; normalise: what is taken from each recording by itself: its 'mean' (default), its
            'mean_variance', or 'none'; scaler: of the training part, after that.
    """

    features: Features
    normalise: str
    scaler: Scaler

    def finish(self, frames: Floats) -> Floats:
        """Normalised and scaled, `(frames, width)`."""
        return np.asarray(self.scaler.transform(normalised(frames, self.normalise)), np.float32)

    def to_json(self) -> dict[str, Any]:
        """As `from_json` takes it."""
        return {"features": self.features.to_json(), "normalise": self.normalise, "scaler": self.scaler.to_json()}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Hearing:
        """What `to_json` gave. Raises `CheckpointError` for anything else."""
        try:
            parts = data["features"], str(data["normalise"]), data["scaler"]
        except (KeyError, TypeError) as error:
            raise CheckpointError("the preparation of recordings is damaged", got=repr(error)) from error
        return cls(Features.from_json(parts[0]), parts[1], Scaler.from_json(parts[2]))


def normalised(frames: Floats, how: str) -> Floats:
    """Less the recording's own mean, and by its own deviation: a speaker's distance and microphone go with them.

    'loud', of log energies: what is more than 35 dB below the loudest is lifted to that, as all recordings have another
    quiet, and the mean counts loud frames most; 'level': less one mean for all bands; 'mean', 'mean_variance', 'none'.
    """
    if how == "none" or not len(frames):
        return frames
    if how == "loud":
        lifted = np.logaddexp(frames, frames.max() - np.float32(_FLOOR))
        energy = np.log(np.exp(lifted - lifted.max()).mean(1))
        weight = np.exp((energy - energy.max()) / _LOUD)
        return np.asarray(lifted - (weight @ lifted) / weight.sum(), np.float32)
    if how == "level":
        return np.asarray(frames - frames.mean(), np.float32)
    apart = frames - frames.mean(0)
    return apart if how == "mean" else np.asarray(apart / np.maximum(apart.std(0), 0.1), np.float32)


def learn_hearing(
    recordings: Sequence[Recording], features: Features, normalise: str, cache: str | None = None
) -> Hearing:
    """The scale of the training part, from at most 4,000 of its recordings, evenly taken."""
    count = min(len(recordings), SCALED_FROM)
    chosen = [i * len(recordings) // count for i in range(count)]
    frames = Frames(recordings, features, cache=cache)
    parts = progress(chosen, "learning the scale of the features", unit="recordings")
    return Hearing(features, normalise, Scaler.fit(normalised(frames[row], normalise) for row in parts))


def usual_rate(index: AudioIndex) -> int:
    """The commonest rate, at most 16,000 a second."""
    rate = int(Counter(index.rates.tolist()).most_common(1)[0][0])
    return min(rate, HIGHEST_RATE)


@dataclass(frozen=True)
class Prepared:
    """A `hearing`, and the classes that the training part has, sorted."""

    hearing: Hearing
    labels: tuple[str, ...]

    def numbers(self, index: AudioIndex) -> tuple[NDArray[np.int64], list[str]]:
        """Of each recording the number of its class, and the names of all, those that were learnt first."""
        unseen = sorted({word for word in index.labels.words if word not in self.labels})
        names = [*self.labels, *unseen]
        place = {name: number for number, name in enumerate(names)}
        codes = np.array([place[word] for word in index.labels.words], np.int64)
        return codes[index.labels.numbers], names

    @property
    def positive(self) -> int | None:
        """Of two classes the second is the one to be found."""
        return 1 if len(self.labels) == 2 else None

    def to_json(self) -> dict[str, Any]:
        """As `from_json` takes it."""
        return {"hearing": self.hearing.to_json(), "labels": list(self.labels)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Prepared:
        """What `to_json` gave. Raises `CheckpointError` for anything else."""
        try:
            return cls(Hearing.from_json(data["hearing"]), tuple(map(str, data["labels"])))
        except (KeyError, TypeError) as error:
            raise CheckpointError("the preparation of recordings is damaged", got=repr(error)) from error
