"""Samples from sound files of any rate and number of channels."""

from __future__ import annotations

import importlib
import os
from io import BytesIO
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rondeau.errors import DataError, MissingExtraError

Samples = NDArray[np.float32]

SUFFIXES = (".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff", ".au")
SILENCE = 10 ** (-80 / 20)
"""A recording whose loudest sample is below this, 80 dB under full scale, is silent."""


class Header(NamedTuple):
    """What a file says of itself: samples of each channel, samples a second, channels."""

    frames: int
    rate: int
    channels: int


def library(name: str) -> Any:
    """A module of the extra `audio`. Raises `MissingExtraError` where it is not installed."""
    try:
        return importlib.import_module(name)
    except (ImportError, OSError) as error:  # soundfile raises OSError where it finds no libsndfile
        fix = "Install it: pip install 'rondeau[audio]'"
        raise MissingExtraError(f"sound files need {name}", got=error, fix=fix) from error


def read_header(path: str | os.PathLike[str]) -> Header:
    """Length, rate and channels, without the samples.

    Raises `DataError` for a file that is empty, damaged, no sound, or shorter than a WAV file's own header says.
    """
    _check_there(path)
    try:
        found = library("soundfile").info(os.fspath(path))
    except RuntimeError as error:  # soundfile's own error is one
        raise _damaged(path, error) from error
    missing = _missing_bytes(path)
    if missing:
        what = "a sound file is truncated"
        raise DataError(what, expected="all that its header tells of", got=f"{missing:,} bytes less", where=path)
    if found.frames <= 0:
        raise DataError("a sound file has no samples", where=path)
    return Header(int(found.frames), int(found.samplerate), int(found.channels))


def read_audio(
    path: str | os.PathLike[str] | bytes,
    rate: int | None = None,
    start: float = 0.0,
    end: float | None = None,
) -> Samples:
    """The samples of a file, `(samples,)` float32 in -1 to 1: the mean of its channels, at `rate` samples a second.

    Args:
        path: wav, flac, ogg, mp3, and what else libsndfile knows; or such a file's bytes.
        rate: wanted (default: the file's own); others are resampled by soxr at its high quality.
        start, end: seconds between which it is read (default: all).

    Raises `DataError` for a file that is missing, empty or damaged, or a number that is not finite.
    """
    samples, own = read_own_rate(path, start, end)
    return samples if rate is None else resample(samples, own, rate)


def read_own_rate(
    path: str | os.PathLike[str] | bytes, start: float = 0.0, end: float | None = None
) -> tuple[Samples, int]:
    """As `read_audio`, at the file's own rate, and that rate."""
    where: Any = "the given bytes" if isinstance(path, bytes) else path
    if not isinstance(path, bytes):
        _check_there(path)
    source: str | BinaryIO = BytesIO(path) if isinstance(path, bytes) else os.fspath(path)
    try:
        with library("soundfile").SoundFile(source) as file:
            first = round(start * file.samplerate)
            count = -1 if end is None else max(round(end * file.samplerate) - first, 0)
            if first:
                file.seek(min(first, file.frames))
            channels, own = file.read(count, "float32", always_2d=True), int(file.samplerate)
    except RuntimeError as error:
        raise _damaged(where, error) from error
    if not np.isfinite(channels).all():
        raise DataError("a sound file holds numbers that are not finite", where=where)
    if channels.shape[1] == 1:
        return np.ascontiguousarray(channels[:, 0]), own
    return channels.mean(1, dtype=np.float32), own


def resample(samples: Samples, old: int, new: int) -> Samples:
    """From `old` to `new` samples a second."""
    if old == new or not len(samples):
        return samples
    made: Samples = library("soxr").resample(samples, old, new, quality="HQ")
    return made.astype(np.float32, copy=False)


def is_silent(samples: Samples) -> bool:
    """Whether no sample is louder than `SILENCE`."""
    return not len(samples) or float(np.abs(samples).max()) < SILENCE


def _check_there(path: str | os.PathLike[str]) -> None:
    try:
        size = os.stat(path).st_size
    except OSError as error:
        raise DataError("a sound file cannot be read", got=error.strerror, where=path) from error
    if not size:
        raise DataError("a sound file is empty", got="0 bytes", where=path)


def _damaged(where: object, error: Exception) -> DataError:
    return DataError("a file is damaged, or is no sound", got=error, where=where)


def _missing_bytes(path: str | os.PathLike[str]) -> int:
    """How many bytes a RIFF WAV file is shorter than its `data` chunk; libsndfile takes what is there in silence."""
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        head = file.read(12)
        if head[:4] != b"RIFF" or head[8:] != b"WAVE":
            return 0
        at = 12
        while at + 8 <= size:
            file.seek(at)
            chunk = file.read(8)
            length = int.from_bytes(chunk[4:], "little")
            if chunk[:4] == b"data":
                # a stream's writer, which cannot know, leaves the largest number, or nought
                return max(at + 8 + length - size, 0) if 0 < length < 0x7FFFFFFF else 0
            at += 8 + length + length % 2
        return 0
