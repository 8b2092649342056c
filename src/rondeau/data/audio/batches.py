"""Batches of recordings of like length, read and altered as they are asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rondeau.data.audio.augment import Augment, drawn
from rondeau.data.audio.cache import FeatureCache
from rondeau.data.audio.features import Features, Floats
from rondeau.data.audio.index import AudioIndex, Recording
from rondeau.data.audio.read import read_audio
from rondeau.data.buckets import Buckets
from rondeau.sequence import Ragged
from rondeau.training.stream import mixed

Finish = Callable[[Floats], Floats]


class Frames:
    """The frames of recordings by number, as a model reads them.

    Args:
        recordings: by number; features: of them.
        finish: what is done last, such as scaling (default: nothing).
        augment: how recordings are altered where a generator is given (default: not at all).
        cache: folder to keep features in; what alters samples is then left out.
    """

    def __init__(
        self,
        recordings: Sequence[Recording],
        features: Features,
        finish: Finish | None = None,
        augment: Augment | None = None,
        cache: str | None = None,
    ) -> None:
        self.recordings, self.features, self.finish = recordings, features, finish
        self.augment = augment or Augment()
        self.cache = None if cache is None else FeatureCache(recordings, features, cache)

    def __len__(self) -> int:
        return len(self.recordings)

    def __getitem__(self, number: int) -> Floats:
        return self.get(number)

    def __iter__(self) -> Iterator[Floats]:
        return (self.get(number) for number in range(len(self)))

    def raw(self, number: int, generator: np.random.Generator | None = None) -> Floats:
        """Features alone, of altered samples if they are to be."""
        if self.cache is not None:
            return self.cache[number]
        one, rate = self.recordings[number], self.features.rate
        samples = read_audio(one.path, rate, one.start, one.end)
        if generator is not None and self.augment.alters_samples:
            samples = self.augment.samples(samples, rate, generator)
        return self.features(samples)

    def get(self, number: int, generator: np.random.Generator | None = None) -> Floats:
        """`(frames, width)`; altered by what the generator draws, if there is one."""
        frames = self.raw(number, generator)
        if generator is not None and self.augment.alters_frames:
            frames = self.augment.frames(frames, generator)
        return frames if self.finish is None else self.finish(frames)

    def lengths(self) -> Any:
        """Frames of each recording before it is altered, `(recordings,)`, from the index alone."""
        seconds = (
            self.recordings.seconds
            if isinstance(self.recordings, AudioIndex)
            else np.array([one.seconds for one in self.recordings])
        )
        samples = np.maximum(np.round(seconds * self.features.rate).astype(np.int64), 1)
        return np.maximum(1 + (samples - self.features.length) // self.features.step, 1)


class AudioBatches(Buckets):
    """Buckets of recordings; each is altered anew in every epoch, by a generator from seed, epoch and its number.

    Args:
        frames: of the recordings.
        targets: row numbers, int64 `(batch,)` -> what stands beside x in a batch: y, or (y, weight).
        training: shuffle, and alter.
        other arguments: of `Buckets`.

    `numbers` gives row + rows x epoch, so that a process that makes batches knows the epoch too.
    """

    def __init__(
        self,
        frames: Frames,
        targets: Callable[[Tensor], Any] | None,
        batch_size: int | None = None,
        tokens: int | None = None,
        training: bool = True,
    ) -> None:
        self.frames, self.targets, self.training = frames, targets, training
        self._seed = 0
        super().__init__(frames.lengths(), self._make, batch_size, tokens, shuffle=training)

    def numbers(self, epoch: int = 0, start: int = 0, seed: int = 0) -> Iterator[Tensor]:
        """Of each batch its rows, each plus the epoch times the rows there are."""
        self._seed = mixed(seed, 1)  # now, and not with the first batch: a process that makes them begins before that
        found = super().numbers(epoch, start, seed)
        return (rows + epoch * self.rows for rows in found) if self.training else found

    def _make(self, numbers: Tensor) -> Any:
        rows, epochs = numbers % self.rows, numbers // self.rows
        several = [
            self.frames.get(row, drawn(self._seed, epoch, row) if self.training else None)
            for row, epoch in zip(rows.tolist(), epochs.tolist(), strict=True)
        ]
        x = Ragged.from_rows([torch.from_numpy(one) for one in several])
        if self.targets is None:
            return x
        answers = self.targets(rows)
        return (x, *answers) if isinstance(answers, tuple) else (x, answers)
