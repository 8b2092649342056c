"""Recordings without answers: a file, a folder, a manifest, a list of paths or a file's bytes on standard input."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from rondeau.data.audio.features import Features, Floats
from rondeau.data.audio.find import find_audio
from rondeau.data.audio.read import SUFFIXES, read_audio
from rondeau.data.faults import Faults
from rondeau.errors import DataError

_MAGIC = (b"RIFF", b"fLaC", b"OggS", b"ID3", b"\xff\xfb", b"\xff\xf3", b"FORM", b".snd")


class Heard(NamedTuple):
    """A recording's features before they are scaled, where they come from, and how long it is."""

    frames: Floats
    where: str
    seconds: float


def heard_inputs(path: str, features: Features, faults: Faults) -> Iterator[Heard]:
    """Recordings to be answered, one after another.

    Args:
        path: a sound file; a folder or manifest of them; `-`: on standard input a sound file, or paths, one a line.
    """
    if path == "-":
        yield from _standard_input(features, faults)
    elif Path(path).is_file() and Path(path).suffix.lower() in SUFFIXES:
        yield _heard(path, path, features)
    else:
        index = find_audio(path, None, faults)
        for row in range(len(index)):
            one = index[row]
            try:
                yield _heard(one.path, index.where(row), features, one.start, one.end)
            except DataError as error:
                faults.add(error.what, where=index.where(row), got=error.got)


def _standard_input(features: Features, faults: Faults) -> Iterator[Heard]:
    first = sys.stdin.buffer.readline()
    if first.startswith(_MAGIC):
        yield _heard(first + sys.stdin.buffer.read(), "standard input", features)
        return
    while first:
        name = first.decode("utf-8", "surrogateescape").strip()
        if name:
            try:
                yield _heard(name, name, features)
            except DataError as error:
                faults.add(error.what, where=name, got=error.got)
        first = sys.stdin.buffer.readline()


def _heard(
    source: Path | str | bytes, where: str, features: Features, start: float = 0.0, end: float | None = None
) -> Heard:
    samples = read_audio(source, features.rate, start, end)
    if not len(samples):
        raise DataError("a recording has no samples", where=where)
    return Heard(features(samples), where, len(samples) / features.rate)
