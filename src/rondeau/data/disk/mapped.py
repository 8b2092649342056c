"""Arrays on disk, mapped into memory: few of their pages are held at a time."""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

_TOUCHED = 1 << 16  # bytes that a look at one place may bring into memory with it
_HELD = 1 << 26  # bytes that may be in memory before the pages are let go
_PLACES = 256  # looked at between two counts
BLOCK = 1 << 18  # rows that are gone through at once


def mapped(path: Path, dtype: DTypeLike, shape: tuple[int, ...] | None = None) -> NDArray[Any]:
    """A file of numbers, read only; as one row unless `shape` says another. An empty file is an empty array."""
    if path.stat().st_size == 0:
        return np.zeros(shape or (0,), dtype)
    return np.memmap(path, dtype, "r", shape=shape)


class Pages:
    """Lets pages of mapped arrays go once many have been looked at.

    The system counts them as this process's memory for as long as there is room; a program that goes through a file
    ten times its memory would seem to fill all of it.
    """

    def __init__(self, *arrays: NDArray[Any]) -> None:
        # what came from another process is a copy, and has no map
        maps = (array._mmap for array in arrays if isinstance(array, np.memmap))  # type: ignore[attr-defined]
        self.maps: list[mmap.mmap] = [one for one in maps if one is not None]
        self.touched = 0

    @classmethod
    def of(cls, *maps: mmap.mmap) -> Pages:
        """Those of bare maps."""
        pages = cls()
        pages.maps = list(maps)
        return pages

    def looked(self, places: int, size: int) -> None:
        """So many places were looked at, and so many bytes read there."""
        self.touched += places * _TOUCHED + size
        if self.touched >= _HELD and hasattr(mmap, "MADV_DONTNEED"):
            for one in self.maps:
                one.madvise(mmap.MADV_DONTNEED)
            self.touched = 0

    def take(self, array: NDArray[Any], index: NDArray[np.int64]) -> NDArray[Any]:
        """`array[index]`, letting pages go in between where there are many places."""
        plain = np.asarray(array)  # parts of a memory map are slower to take
        if not self.maps or not len(index):
            found: NDArray[Any] = plain[index]
            return found
        parts = []
        for begin in range(0, len(index), _PLACES):
            places = index[begin : begin + _PLACES]
            parts.append(plain[places])
            span = int(places.max() - places.min() + 1) * abs(plain.strides[0]) + _TOUCHED
            self.looked(0, min(len(places) * _TOUCHED, span))
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def put(self, array: NDArray[Any], index: NDArray[np.int64], values: NDArray[Any]) -> None:
        """`array[index] = values`, likewise; best with rising places."""
        for i in range(0, len(index), _PLACES):
            array[index[i : i + _PLACES]] = values[i : i + _PLACES]
            self.looked(_PLACES, 0)


def in_blocks(*arrays: NDArray[Any]) -> Iterator[tuple[int, list[NDArray[Any]]]]:
    """Arrays of as many rows, side by side and some rows at a time: the first of these rows, and each array's part.

    The parts are in memory; those of mapped arrays are let go after.

    >>> [(begin, part.tolist()) for begin, (part,) in in_blocks(np.arange(3))]
    [(0, [0, 1, 2])]
    """
    pages, rows = Pages(*arrays), len(arrays[0])
    for begin in range(0, rows, BLOCK):
        end = min(begin + BLOCK, rows)
        yield begin, [np.array(array[begin:end]) for array in arrays]
        pages.looked(len(arrays), sum((end - begin) * abs(array.strides[0]) for array in arrays))
