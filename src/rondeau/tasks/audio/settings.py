"""What the classification of recordings can be asked."""

from __future__ import annotations

from dataclasses import dataclass, replace

from rondeau.data.audio.augment import Augment
from rondeau.data.audio.features import KINDS
from rondeau.data.audio.find import matcher_of
from rondeau.errors import ArgumentError
from rondeau.tasks.audio.prepared import NORMALISATIONS
from rondeau.tasks.settings import Settings, option

_FRAMES = Augment(stretch=0.2, warp=0.2, time_masks=1, time_mask=0.15, band_masks=1, band_mask=0.2)

AUGMENTS: dict[str, Augment] = {
    "none": Augment(),
    "light": _FRAMES,
    "strong": replace(_FRAMES, speed=0.15, noise=0.3, gain=6.0, shift=0.03),
}
"""'light': of frames alone, at little cost; 'strong': of samples as well."""


@dataclass(frozen=True)
class AudioSettings(Settings):
    """What every job that hears is asked: how recordings are found, heard and altered."""

    group: str | None = option(
        None, "What must not be divided: speaker (default where it is known), another column, or none."
    )
    pattern: str | None = option(None, "How files are named: {label}_{speaker}_{take}.wav, with a / of whole paths.")
    listen: bool = option(True, "Read all samples once at the start: finds silent files, and repeats.")
    rate: int | None = option(None, "Samples a second. Default: the commonest of the training part, at most 16,000.")
    features: str = option("log_mel", "What a frame holds.", KINDS)
    bands: int = option(40, "Bands of frequency.")
    window: float = option(0.025, "Seconds of a frame.")
    hop: float = option(0.010, "Seconds from one frame to the next.")
    normalise: str | None = option(
        None, "What each recording loses by itself. Default: loud, of MFCC mean.", NORMALISATIONS
    )
    augment: str = option("light", "How much recordings are altered in training.", tuple(AUGMENTS))
    cache: str | None = option(None, "Keep features in this folder; then only they are altered, not samples.")
    workers: int = option(0, "Processes that read and alter recordings; 0: a thread.")
    cell: str = option("gru", "The recurrent cell.", ("lstm", "gru", "simple_rnn"))
    units: int = option(64, "Units of a recurrent layer, in each direction.")
    filters: int = option(64, "Filters of the two convolutions in front; 0: none.")
    kernel: int = option(5, "Frames that a filter sees.")
    stride: int = option(2, "Frames from one place of the first filters to the next.")
    epochs: int = option(25, "Times all of the training part is read, at most.")
    learning_rate: float = option(3e-3, "Of Adam, at the start; it falls along a cosine.")

    def check(self) -> None:
        super().check()
        for name, least in (("bands", 1), ("filters", 0), ("kernel", 1), ("stride", 1), ("workers", 0)):
            if getattr(self, name) < least:
                raise ArgumentError(name, expected=f"{least} or more", got=getattr(self, name))
        if self.normalise == "loud" and self.features != "log_mel":
            fix = "Take --normalise mean"
            raise ArgumentError("normalise: loud is of log energies", got=f"features={self.features!r}", fix=fix)
        if self.rate is not None and self.rate < 100:
            raise ArgumentError("rate: samples a second", expected="100 or more", got=self.rate)
        if self.pattern is not None:
            matcher_of(self.pattern)

    @property
    def normalisation(self) -> str:
        """What each recording loses by itself."""
        return self.normalise or ("loud" if self.features == "log_mel" else "mean")

    @property
    def alterations(self) -> Augment:
        """How recordings are altered in training."""
        return AUGMENTS[self.augment]
