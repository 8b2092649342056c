"""What a model hears: the energy in bands of frequency, a frame every hundredth of a second."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rondeau.errors import ArgumentError, CheckpointError, ShapeError

Floats = NDArray[np.float32]

KINDS = ("log_mel", "mfcc")
_FLOOR = 1e-10  # power below which all is silence
_AT_ONCE = 4096  # frames transformed together: a long recording takes no more memory
_TO_DECIBELS = 10 / np.log(10)


@dataclass(frozen=True)
class Features:
    """Samples `(samples,)` -> frames `(frames, width)`, float32: of a whole recording, or as they come.

    Frame `t` is of the samples `t * hop` to `t * hop + window` and of no others (nothing is centred or padded), so that
    a stream gives the same numbers; what does not fill a last frame is left out, and a recording shorter than one is
    filled up with zeros.

    Args:
        kind: 'log_mel' (default): the natural logarithm of the energy in each band; 'mfcc': the cosine transform of
            that in decibels (Davis & Mermelstein 1980).
        rate: samples a second.
        bands: of the mel scale (Slaney 1998), triangles of unit area.
        window, hop: seconds of a frame (Hann), and from one to the next.
        lowest, highest: Hz, of the bands (default: 0, and half the rate).
        coefficients: of an MFCC, the first ones.

    Raises `ArgumentError` for sizes that give no bands or frames. Numbers are librosa's, with `n_fft` the next power
    of two.

    >>> import numpy as np
    >>> features = Features(rate=8000)
    >>> frames = features(np.zeros(8000, np.float32))
    >>> frames.shape, features.width
    ((98, 40), 40)
    """

    kind: str = "log_mel"
    rate: int = 16000
    bands: int = 40
    window: float = 0.025
    hop: float = 0.010
    lowest: float = 0.0
    highest: float | None = None
    coefficients: int = 13

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ArgumentError("features", expected=" or ".join(map(repr, KINDS)), got=repr(self.kind))
        for name in ("rate", "bands", "coefficients"):
            if getattr(self, name) < 1:
                raise ArgumentError(f"features: {name}", expected="1 or more", got=getattr(self, name))
        if self.kind == "mfcc" and self.coefficients > self.bands:
            expected = f"at most {self.bands}, the bands"
            raise ArgumentError("features: coefficients", expected=expected, got=self.coefficients)
        if round(self.hop * self.rate) < 1 or round(self.window * self.rate) < 2:
            got = f"window={self.window}, hop={self.hop}"
            raise ArgumentError("features: window and hop in seconds", expected="a sample or more", got=got)
        if not 0 <= self.lowest < self.top <= self.rate / 2:
            got = f"{self.lowest} to {self.top} Hz"
            raise ArgumentError("features: lowest and highest", expected=f"within 0 to {self.rate / 2} Hz", got=got)

    @property
    def top(self) -> float:
        """The highest frequency, Hz."""
        return self.rate / 2 if self.highest is None else self.highest

    @property
    def width(self) -> int:
        """Numbers of a frame."""
        return self.coefficients if self.kind == "mfcc" else self.bands

    @property
    def length(self) -> int:
        """Samples of a frame."""
        return round(self.window * self.rate)

    @property
    def step(self) -> int:
        """Samples from one frame's beginning to the next's."""
        return round(self.hop * self.rate)

    def frames_of(self, samples: int) -> int:
        """How many frames so many samples give."""
        return 0 if samples <= 0 else max(1 + (samples - self.length) // self.step, 1)

    def seconds_of(self, frame: float) -> float:
        """Where a frame's middle lies in the recording."""
        return (frame * self.step + self.length / 2) / self.rate

    def __call__(self, samples: NDArray[Any]) -> Floats:
        """Raises `ShapeError` for more than one channel."""
        given = np.asarray(samples, np.float32)
        if given.ndim != 1:
            raise ShapeError("samples", expected="(samples,)", got=given.shape)
        if 0 < len(given) < self.length:
            given = np.concatenate([given, np.zeros(self.length - len(given), np.float32)])
        return self._frames(given)

    def stream(self) -> FeatureStream:
        """For samples as they come."""
        return FeatureStream(self)

    def to_json(self) -> dict[str, Any]:
        """As `from_json` takes it."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Features:
        """What `to_json` gave. Raises `CheckpointError` for anything else."""
        known = {one.name for one in fields(cls)}
        if not isinstance(data, Mapping) or set(data) != known:
            raise CheckpointError("the features are damaged", expected=", ".join(sorted(known)), got=data)
        return cls(**data)

    def _frames(self, samples: Floats) -> Floats:
        """All whole frames."""
        if len(samples) < self.length:
            return np.zeros((0, self.width), np.float32)
        windows = np.lib.stride_tricks.sliding_window_view(samples, self.length)[:: self.step]
        parts = [self._transformed(windows[i : i + _AT_ONCE]) for i in range(0, len(windows), _AT_ONCE)]
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def _transformed(self, windows: Floats) -> Floats:
        spectrum = np.fft.rfft(windows * self._hann, self._size)
        power = spectrum.real**2 + spectrum.imag**2
        energy = power.astype(np.float64) @ self._filters  # in double precision, so that no rounding is seen after
        mel = np.log(np.maximum(energy, _FLOOR))
        if self.kind == "log_mel":
            return np.asarray(mel, np.float32)
        return np.asarray(mel * _TO_DECIBELS @ self._cosines, np.float32)

    @property
    def _size(self) -> int:
        return 1 << (self.length - 1).bit_length()

    @cached_property
    def _hann(self) -> Floats:
        turns = 2 * np.pi * np.arange(self.length) / self.length
        return (0.5 - 0.5 * np.cos(turns)).astype(np.float32)

    @cached_property
    def _filters(self) -> NDArray[np.float64]:
        return np.ascontiguousarray(mel_filters(self.rate, self._size, self.bands, self.lowest, self.top).T)

    @cached_property
    def _cosines(self) -> NDArray[np.float64]:
        """The orthonormal cosine transform, `(bands, coefficients)`."""
        n, k = np.arange(self.bands)[:, None], np.arange(self.coefficients)[None]
        table = np.cos(np.pi * k * (2 * n + 1) / (2 * self.bands)) * np.sqrt(2 / self.bands)
        table[:, 0] /= np.sqrt(2)
        return np.asarray(table)


class FeatureStream:
    """Samples in pieces of any size -> frames, each as soon as its last sample is there.

    Attributes:
        frames: how many have come.

    >>> features = Features(rate=8000)
    >>> stream = features.stream()
    >>> stream.push(np.zeros(199, np.float32)).shape, stream.push(np.zeros(1, np.float32)).shape
    ((0, 40), (1, 40))
    """

    def __init__(self, features: Features) -> None:
        self.features, self.frames = features, 0
        self._held: Floats = np.zeros(0, np.float32)

    def push(self, samples: NDArray[Any]) -> Floats:
        """More samples `(samples,)`; the frames they complete, `(frames, width)`."""
        held = np.concatenate([self._held, np.asarray(samples, np.float32)])
        made = self.features._frames(held)
        self._held = held[len(made) * self.features.step :]
        self.frames += len(made)
        return made

    def finish(self) -> Floats:
        """The end: the one frame, filled up with zeros, of a recording shorter than that, and else none."""
        if self.frames or not len(self._held):
            return np.zeros((0, self.features.width), np.float32)
        made = self.features(self._held)
        self.frames, self._held = len(made), np.zeros(0, np.float32)
        return made


def mel_filters(rate: int, size: int, bands: int, lowest: float, highest: float) -> NDArray[np.float64]:
    """`(bands, size // 2 + 1)`: triangles of unit area, evenly spaced on the mel scale of Slaney's Auditory Toolbox."""
    edges = _hertz(np.linspace(_mel(lowest), _mel(highest), bands + 2))
    bins = np.linspace(0, rate / 2, size // 2 + 1)
    rising = (bins - edges[:-2, None]) / np.diff(edges)[:-1, None]
    falling = (edges[2:, None] - bins) / np.diff(edges)[1:, None]
    area = 2 / (edges[2:] - edges[:-2])
    return np.asarray(np.maximum(0, np.minimum(rising, falling)) * area[:, None])


_LINEAR = 200 / 3  # Hz a mel, up to 1000 Hz
_LOG = np.log(6.4) / 27  # a mel above


def _mel(hertz: float) -> float:
    return hertz / _LINEAR if hertz < 1000 else 15 + float(np.log(hertz / 1000)) / _LOG


def _hertz(mel: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(mel < 15, mel * _LINEAR, 1000 * np.exp((mel - 15) * _LOG))
