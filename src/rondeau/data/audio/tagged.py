"""Recordings and what is heard in them when: intervals in a manifest."""

from __future__ import annotations

import os
from array import array
from collections.abc import Iterable, Iterator
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rondeau.data.audio.columns import Codes
from rondeau.data.audio.features import Features
from rondeau.data.audio.find import find_rows, manifest_in
from rondeau.data.audio.index import AudioIndex, Recording, indexed
from rondeau.data.faults import Faults
from rondeau.errors import DataError

_SLACK = 0.05  # seconds by which an interval may reach beyond its recording


class Interval(NamedTuple):
    """Seconds between which something is heard, and what."""

    start: float
    end: float
    label: str


class Tagged:
    """Whole recordings and their intervals, by number.

    Attributes: `index`, the recordings; `labels`, of all intervals, as `Codes`.
    """

    def __init__(self, index: AudioIndex, intervals: Iterable[list[Interval]]) -> None:
        self.index, self.labels = index, Codes()
        self._starts, self._ends, self._first = array("d"), array("d"), array("q", [0])
        for several in intervals:
            for start, end, label in several:
                self._starts.append(start)
                self._ends.append(end)
                self.labels.add(label)
            self._first.append(len(self._starts))

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, number: int) -> Recording:
        return self.index[number]

    def intervals(self, number: int) -> list[Interval]:
        """What is heard in a recording, by rising start."""
        rows = range(self._first[number], self._first[number + 1])
        return [Interval(self._starts[i], self._ends[i], self.labels[i] or "") for i in rows]

    def take(self, rows: NDArray[Any]) -> Tagged:
        """These recordings, in this order."""
        return Tagged(self.index.take(rows), (self.intervals(int(row)) for row in rows))

    def frames(self, number: int, features: Features, labels: tuple[str, ...]) -> NDArray[np.int64]:
        """Of each frame the place in `labels` of what is heard at its middle, `(frames,)`; `labels[0]` where nothing.

        What is in no place of `labels` counts as `len(labels)`.
        """
        one = self.index[number]
        count = features.frames_of(max(round(one.seconds * features.rate), 1))
        places = {label: place for place, label in enumerate(labels)}
        middles = features.seconds_of(0) + np.arange(count) * features.step / features.rate
        found = np.zeros(count, np.int64)
        for start, end, label in self.intervals(number):
            found[(middles >= start) & (middles < end)] = places.get(label, len(labels))
        return found


def find_tagged(
    path: str | os.PathLike[str], faults: Faults | None = None, columns: dict[str, str] | None = None
) -> Tagged:
    """The recordings of a manifest with a row for each interval: `path`, `start`, `end`, `label`; see `find_audio`.

    A row without start and end names a recording in which nothing is heard. Rows of one file stand anywhere.

    Raises `DataError` where there are none, and, by `faults`, for intervals that overlap, are without a label, or lie
    beyond their recording's end.
    """
    faults, root = Faults() if faults is None else faults, Path(path)
    if not root.exists():
        raise DataError("no such file or folder", expected="a manifest of recordings", got=str(path))
    manifest = manifest_in(root) if root.is_dir() else root
    if manifest is None:
        expected = "a CSV or JSONL file with columns path, start, end and label"
        raise DataError("the folder holds no manifest", expected=expected, where=path)
    rows = sorted(find_rows(manifest, faults, columns), key=lambda row: (str(row.path), row.start))
    index = AudioIndex(manifest.parent, [f"{manifest.name} lists what is heard when"])
    several = []
    groups = [list(own) for _, own in groupby(rows, key=lambda row: row.path)]
    whole = (own[0]._replace(start=0.0, end=None, label=None, text=None) for own in groups)
    by_path = {own[0].path: own for own in groups}
    there = indexed(whole, manifest.parent, faults, total=len(groups))
    for number in range(len(there)):
        one = there[number]
        intervals = _checked(by_path[one.path], one, there.where(number), faults)
        if intervals is not None:
            index.add(one)
            several.append(intervals)
    if not len(index):
        raise DataError("there are no recordings", got=faults.describe() or "none", where=path)
    return Tagged(index, several)


def _checked(rows: list[Recording], one: Recording, where: str, faults: Faults) -> list[Interval] | None:
    """A recording's intervals, None where something is wrong with them."""
    found: list[Interval] = []
    for row in rows:
        if row.end is None and not row.start and row.label is None:
            continue
        end = one.seconds if row.end is None else row.end
        if row.label is None:
            faults.add("an interval has no label", where=where, got=f"{row.start} to {end} s")
            return None
        if row.start >= one.seconds or end > one.seconds + _SLACK:
            what = "an interval reaches beyond its recording"
            faults.add(what, where=where, got=f"{row.start} to {end} s", expected=f"0 to {one.seconds:.3f} s")
            return None
        if found and row.start < found[-1].end:
            got = f"{found[-1].start} to {found[-1].end} and {row.start} to {end} s"
            faults.add("intervals overlap", where=where, got=got)
            return None
        found.append(Interval(row.start, end, row.label))
    return found


def runs(labels: NDArray[Any]) -> Iterator[tuple[int, int, int]]:
    """First frame, the frame after the last, and the label of each run of equal labels.

    >>> list(runs(np.array([0, 0, 1, 1, 1, 0])))
    [(0, 2, 0), (2, 5, 1), (5, 6, 0)]
    """
    ends = [*(np.flatnonzero(np.diff(labels)) + 1).tolist(), len(labels)]
    for begin, end in zip([0, *ends[:-1]], ends, strict=True):
        if end > begin:
            yield begin, end, int(labels[begin])
