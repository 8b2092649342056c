"""Features kept on disk under the hash of the sound they were made of."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rondeau.data.audio.features import Features, Floats
from rondeau.data.audio.index import Recording
from rondeau.data.audio.read import read_audio
from rondeau.data.disk.cache import key_of, place, written_aside
from rondeau.errors import DataError

_BYTES = 16  # of a hash


class FeatureCache:
    """The features of recordings by number, made once.

    Each is a file named by the hash of the sound file's bytes, of the part of it that is meant, and of the features: a
    recording that is moved or is there twice is found again, one that has changed is made anew. While it is used a
    file is taken for unchanged.

    Args:
        recordings: by number; features: of them.
        folder: where (made if need be).

    Raises `DataError` for a folder that cannot be made.
    """

    def __init__(self, recordings: Sequence[Recording], features: Features, folder: str | os.PathLike[str]) -> None:
        self.recordings, self.features = recordings, features
        self.folder = place("features", folder)
        self.made = 0  # how many were not there
        self._keys: NDArray[np.uint8] = np.zeros((len(recordings), _BYTES), np.uint8)
        self._known = np.zeros(len(recordings), bool)

    def __getitem__(self, number: int) -> Floats:
        """`(frames, width)`, float32."""
        path = self._path(number)
        width = self.features.width
        if path.exists():
            found = np.fromfile(path, np.float32)
            if len(found) % width == 0:
                return found.reshape(-1, width)
        one = self.recordings[number]
        frames = self.features(read_audio(one.path, self.features.rate, one.start, one.end))
        with written_aside(path) as aside:
            frames.tofile(aside)
        self.made += 1
        return frames

    def _path(self, number: int) -> Path:
        if not self._known[number]:
            one = self.recordings[number]
            try:
                digest = hashlib.blake2b(Path(one.path).read_bytes(), digest_size=_BYTES)
            except OSError as error:
                raise DataError("a sound file cannot be read", got=error.strerror, where=one.path) from error
            digest.update(key_of(self.features.to_json(), one.start, one.end).encode())
            self._keys[number] = np.frombuffer(digest.digest(), np.uint8)
            self._known[number] = True
        name: str = self._keys[number].tobytes().hex()
        return Path(self.folder, name[:2], name[2:])
