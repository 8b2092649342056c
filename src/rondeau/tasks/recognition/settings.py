"""What the recognition of speech can be asked."""

from __future__ import annotations

from dataclasses import dataclass

from rondeau.data.audio.augment import Augment
from rondeau.data.audio.find import matcher_of
from rondeau.errors import ArgumentError
from rondeau.models.recognizer import HEADS
from rondeau.tasks.audio.settings import AUGMENTS
from rondeau.tasks.settings import Settings, option


@dataclass(frozen=True)
class RecognitionSettings(Settings):
    """What a recogniser is asked."""

    group: str | None = option(
        None, "What must not be divided: speaker (default where it is known), another column, or none."
    )
    pattern: str | None = option(None, "How files are named: {speaker}_{take}.wav, with a / of whole paths.")
    listen: bool = option(True, "Read all samples once at the start: finds silent files, and repeats.")
    lower: bool = option(True, "Transcripts in lower case.")
    rate: int | None = option(None, "Samples a second. Default: the commonest of the training part, at most 16,000.")
    bands: int = option(40, "Bands of frequency.")
    window: float = option(0.025, "Seconds of a frame.")
    hop: float = option(0.010, "Seconds from one frame to the next.")
    augment: str = option("light", "How much recordings are altered in training.", tuple(AUGMENTS))
    workers: int = option(0, "Processes that read and alter recordings; 0: a thread.")
    head: str = option("ctc", "What turns frames into symbols.", HEADS)
    streaming: bool = option(False, "Read forwards only, for sound that is still coming: rondeau live.")
    stack: int = option(6, "Frames of a step of the recurrent layers.")
    stride: int = option(3, "Frames from one step to the next.")
    units: int = option(128, "Units of a recurrent layer, in each direction.")
    layers: int = option(2, "Recurrent layers.")
    joint: int = option(128, "Width of a transducer's joint and prediction networks.")
    dropout: float = option(0.2, "Rate before, between and after the recurrent layers.")
    batch_size: int = option(16, "Recordings of a batch.")
    epochs: int = option(40, "Times all of the training part is read, at most.")
    learning_rate: float = option(3e-3, "Of Adam, at the start; it falls along a cosine.")
    beam: int = option(8, "Transcripts that are followed while decoding; 1: the likeliest symbol each time.")
    ngram: int | None = option(None, "Order of a character n-gram of the training transcripts that helps to decode.")
    ngram_weight: float = option(0.3, "How much that counts.")

    def check(self) -> None:
        super().check()
        for name in ("bands", "stack", "stride", "joint", "beam"):
            if getattr(self, name) < 1:
                raise ArgumentError(name, expected="1 or more", got=getattr(self, name))
        if self.workers < 0:
            raise ArgumentError("workers", expected="0 or more", got=self.workers)
        if self.ngram is not None and not 1 <= self.ngram <= 20:
            raise ArgumentError("ngram", expected="1 to 20", got=self.ngram)
        if self.ngram is not None and self.beam == 1:
            raise ArgumentError("ngram: it helps a beam only", got="beam=1", fix="Give --beam 8, or leave --ngram out")
        if not self.ngram_weight >= 0:
            raise ArgumentError("ngram_weight", expected="0 or more", got=self.ngram_weight)
        if self.rate is not None and self.rate < 100:
            raise ArgumentError("rate: samples a second", expected="100 or more", got=self.rate)
        if not 0 <= self.dropout < 1:
            raise ArgumentError("dropout", expected="0 or more, below 1", got=self.dropout)
        if self.pattern is not None:
            matcher_of(self.pattern)

    @property
    def alterations(self) -> Augment:
        """How recordings are altered in training."""
        return AUGMENTS[self.augment]
