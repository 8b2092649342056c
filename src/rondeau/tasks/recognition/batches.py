"""Batches of recordings and their transcripts, as a recogniser learns from them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from rondeau.data.audio.augment import drawn
from rondeau.data.audio.batches import AudioBatches, Frames
from rondeau.heads.ctc import frames_needed
from rondeau.models.stacking import Stacking
from rondeau.sequence import Ragged


class SpeechBatches(AudioBatches):
    """`[frames, symbols]` and targets of zero: the model's output is the loss.

    Args:
        frames: of the recordings; symbols: of each its transcript's; stacking: of the model.
        aligned: whether CTC must find room for a transcript: a recording that is altered until it has none is taken as
            it is.
    """

    def __init__(
        self,
        frames: Frames,
        symbols: list[list[int]],
        stacking: Stacking,
        batch_size: int,
        training: bool,
        aligned: bool,
    ) -> None:
        self.symbols, self.stacking, self.aligned = symbols, stacking, aligned
        super().__init__(frames, None, batch_size, training=training)
        self.parts = (2, 1)

    def _make(self, numbers: Tensor) -> Any:
        rows, epochs = (numbers % self.rows).tolist(), (numbers // self.rows).tolist()
        several = [self._frames(row, epoch) for row, epoch in zip(rows, epochs, strict=True)]
        lengths = torch.tensor([len(self.symbols[row]) for row in rows])
        symbols = torch.tensor([symbol for row in rows for symbol in self.symbols[row]], dtype=torch.long)
        return [Ragged.from_rows(several), Ragged(symbols, lengths)], torch.zeros(len(rows), 1)

    def _frames(self, row: int, epoch: int) -> Tensor:
        generator = drawn(self._seed, epoch, row) if self.training else None
        frames = torch.from_numpy(self.frames.get(row, generator))
        if generator is not None and self.aligned and not self._fits(row, len(frames)):
            return torch.from_numpy(self.frames.get(row))
        return frames

    def _fits(self, row: int, frames: int) -> bool:
        symbols = self.symbols[row]
        needed = frames_needed(Ragged(torch.tensor(symbols, dtype=torch.long), torch.tensor([len(symbols)])))
        return bool(needed[0] <= self.stacking.steps(torch.tensor(frames)))
