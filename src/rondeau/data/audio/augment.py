"""Recordings altered in training, never twice alike: faster and slower, other voices, noise, and parts left out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from rondeau.data.audio.read import Samples, library
from rondeau.errors import ArgumentError

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Augment:
    """How much a recording may be altered; 0 everywhere alters nothing.

    Of samples: `speed`, faster or slower by up to this share, pitch and all (Ko et al. 2015, "Audio augmentation for
    speech recognition"); `noise`, the chance of noise, white to red, 5 to 30 dB below the recording; `gain`, louder or
    quieter by up to so many decibels; `shift`, up to so many seconds of quiet before, or cut off the beginning.

    Of frames: `stretch`, slower or faster by up to this share at the same pitch; `warp`, a longer or shorter vocal
    tract by up to this share (Jaitly & Hinton 2013, "Vocal tract length perturbation"), as a shift along the bands;
    `tilt`, another spectral slope and curve, up to so many nepers at the ends, as another microphone has; `time_masks`
    and `band_masks`, so many runs of frames and of bands that become their mean, each of up to `time_mask` of the
    frames and `band_mask` of the bands (SpecAugment, Park et al. 2019, arXiv 1904.08779).

    Raises `ArgumentError` for shares out of range.

    >>> import numpy as np
    >>> augment, frames = Augment(warp=0.1, time_masks=1), np.zeros((50, 40), np.float32)
    >>> augment.frames(frames, drawn(0, 0, 7)).shape
    (50, 40)
    """

    speed: float = 0.0
    noise: float = 0.0
    gain: float = 0.0
    shift: float = 0.0
    stretch: float = 0.0
    warp: float = 0.0
    tilt: float = 0.0
    time_masks: int = 0
    time_mask: float = 0.15
    band_masks: int = 0
    band_mask: float = 0.2

    def __post_init__(self) -> None:
        for name in ("speed", "stretch", "warp", "time_mask", "band_mask"):
            if not 0 <= getattr(self, name) < 1:
                raise ArgumentError(f"augment: {name}", expected="0 or more, below 1", got=getattr(self, name))
        for name in ("gain", "shift", "tilt", "time_masks", "band_masks"):
            if not getattr(self, name) >= 0:
                raise ArgumentError(f"augment: {name}", expected="0 or more", got=getattr(self, name))
        if not 0 <= self.noise <= 1:
            raise ArgumentError("augment: noise, a chance", expected="0 to 1", got=self.noise)

    @property
    def alters_samples(self) -> bool:
        """Whether anything is done before the features are made."""
        return bool(self.speed or self.noise or self.gain or self.shift)

    @property
    def alters_frames(self) -> bool:
        """Whether anything is done to the features."""
        return bool(self.stretch or self.warp or self.tilt or self.time_masks or self.band_masks)

    def samples(self, samples: Samples, rate: int, generator: Generator) -> Samples:
        """Samples `(samples,)` altered; as many, or more or fewer with `speed` and `shift`."""
        if self.speed and len(samples):
            samples = faster(samples, 1 + self.speed * generator.uniform(-1, 1))
        if self.shift:
            samples = shifted(samples, round(rate * self.shift * generator.uniform(-1, 1)))
        if self.noise and generator.random() < self.noise:
            samples = with_noise(samples, generator.uniform(5, 30), generator.uniform(0, 1), generator)
        if self.gain:
            samples = samples * np.float32(10 ** (self.gain * generator.uniform(-1, 1) / 20))
        return samples

    def frames(self, frames: Floats, generator: Generator) -> Floats:
        """Log energies `(frames, bands)` altered, in a new array; with `stretch` more or fewer of them."""
        if not len(frames):
            return frames
        if self.stretch:
            frames = stretched(frames, 1 + self.stretch * generator.uniform(-1, 1))
        if self.warp:
            frames = warped(frames, 1 + self.warp * generator.uniform(-1, 1))
        if self.tilt:
            frames = frames + self._slope(frames.shape[1], generator)
        return self._masked(frames, generator) if self.time_masks or self.band_masks else frames

    def _slope(self, bands: int, generator: Generator) -> Floats:
        place = np.linspace(-1, 1, bands)
        straight, bent = generator.uniform(-1, 1, 2)
        return np.asarray(self.tilt * (straight * place + bent * (1.5 * place**2 - 0.5)), np.float32)

    def _masked(self, frames: Floats, generator: Generator) -> Floats:
        frames, mean = frames.copy(), frames.mean(0)
        for _ in range(self.time_masks):
            begin, end = _run(len(frames), self.time_mask, generator)
            frames[begin:end] = mean
        for _ in range(self.band_masks):
            begin, end = _run(frames.shape[1], self.band_mask, generator)
            frames[:, begin:end] = mean[begin:end]
        return frames

    def to_json(self) -> dict[str, Any]:
        """As `Augment(**...)` takes it."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Augment:
        """What `to_json` gave."""
        return cls(**data)


def drawn(seed: int, epoch: int, example: int) -> Generator:
    """The generator of an example in an epoch: a run that is taken up again draws the same."""
    return np.random.default_rng([seed % 2**63, epoch, example])


def faster(samples: Samples, factor: float) -> Samples:
    """`factor` times as fast and as high: `(samples / factor,)`."""
    made = library("soxr").resample(samples, 1000.0 * factor, 1000.0, quality="MQ")
    return np.asarray(made, np.float32)


def shifted(samples: Samples, count: int) -> Samples:
    """`count` samples of quiet before; a negative number is cut off, half of the recording at most."""
    if count >= 0:
        return np.concatenate([np.zeros(count, np.float32), samples])
    return samples[min(-count, len(samples) // 2) :]


def with_noise(samples: Samples, decibels: float, colour: float, generator: Generator) -> Samples:
    """With noise so many decibels below the recording's power; `colour` 0: white, 1: red, falling 6 dB an octave."""
    if len(samples) < 2:
        return samples
    spectrum = np.fft.rfft(generator.standard_normal(len(samples)))
    noise = np.fft.irfft(spectrum * np.maximum(np.arange(len(spectrum)), 1.0) ** -colour, len(samples))
    power = float(np.mean(np.square(samples, dtype=np.float64)))
    scale = np.sqrt(power / max(float(np.mean(noise**2)), 1e-30)) * 10 ** (-decibels / 20)
    return np.asarray(samples + scale * noise, np.float32)


def stretched(frames: Floats, factor: float) -> Floats:
    """`factor` times as many frames, between whose neighbours straight lines are drawn."""
    count = max(round(len(frames) * factor), 1)
    return _between(frames, np.linspace(0, len(frames) - 1, count))


def warped(frames: Floats, factor: float) -> Floats:
    """Each band hears what lay at `factor` times its number; beyond the last one the last."""
    bands = frames.shape[1]
    return np.ascontiguousarray(_between(frames.T, np.minimum(np.arange(bands) * factor, bands - 1)).T)


def _between(rows: Floats, places: NDArray[np.float64]) -> Floats:
    low = np.minimum(places.astype(np.int64), len(rows) - 1)
    high = np.minimum(low + 1, len(rows) - 1)
    part = (places - low).astype(np.float32)[:, None]
    return np.asarray(rows[low] * (1 - part) + rows[high] * part, np.float32)


def _run(size: int, share: float, generator: Generator) -> tuple[int, int]:
    length = round(generator.uniform(0, share) * size)
    begin = int(generator.integers(0, size - length + 1))
    return begin, begin + length
