"""Rows of a table in any order, put together by a key and sorted by time, in constant memory."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from rondeau.data.disk.cache import written_aside
from rondeau.data.disk.packed import LENGTHS, OFFSETS, VALUES, Packed, describe
from rondeau.data.progress import Meter
from rondeau.errors import DataError, ShapeError

_BLOCK = 1 << 18  # rows of a bucket
_File = Any  # of bytes, open for reading or both


class Grouped(NamedTuple):
    """Row `i` of each holds what has key `i`, by time: the values `(steps, features)`, and when it was."""

    values: Packed
    times: Packed


class Grouper:
    """Takes a table's rows part by part, and gives them back by key.

    The parts go to disk as they come, and how many rows each key has is counted. At the end they are dealt to buckets
    of keys next to each other, which fit into memory, and each bucket is sorted by key and time, rows of one time in
    the order they came. Files are written in long stretches only. Memory is needed for a number per key, and for
    262,144 rows, or for those of the key with most.

    Args:
        folder: where the result comes to stand, in `values` and `times`; whole, or not at all.
        features: numbers of a row.
        dtype, time: types of the values, and of the times (default: seconds as int64).

    >>> import tempfile
    >>> with Grouper(Path(tempfile.mkdtemp()) / "cards", 1) as grouper:
    ...     grouper.add([1, 0, 1], [30, 10, 20], [[0.3], [0.1], [0.2]])
    >>> grouper.result.values.lengths.tolist(), grouper.result.times[1].tolist()
    ([1, 2], [20, 30])
    """

    def __init__(
        self, folder: str | os.PathLike[str], features: int, dtype: DTypeLike = "float32", time: DTypeLike = "int64"
    ) -> None:
        self.folder, self.features = Path(folder), features
        self.types = {"keys": np.dtype(np.int32), "times": np.dtype(time), "values": np.dtype(dtype)}
        self.counts: NDArray[np.int64] = np.zeros(0, np.int64)
        self.rows = 0
        self._stack = contextlib.ExitStack()
        self._aside = self._stack.enter_context(written_aside(self.folder))
        self._aside.mkdir()
        self._files = {name: self._stack.enter_context((self._aside / f"{name}.raw").open("wb")) for name in self.types}

    def add(self, keys: ArrayLike, times: ArrayLike, values: ArrayLike) -> None:
        """Rows: their keys, whole numbers from 0 on `(rows,)`, times `(rows,)` and values `(rows, features)`.

        Raises `ShapeError` where they do not fit each other, `DataError` for a negative key or a time that is none.
        """
        codes, moments, numbers = np.asarray(keys), np.asarray(times), np.asarray(values)
        if numbers.shape != (len(codes), self.features) or moments.shape != (len(codes),):
            expected = f"({len(codes)},) times and ({len(codes)}, {self.features}) values"
            raise ShapeError("rows to group", expected=expected, got=f"{moments.shape} and {numbers.shape}")
        if not len(codes):
            return
        if codes.dtype.kind not in "iu" or codes.min() < 0:
            raise DataError("keys to group by", expected="whole numbers from 0 on", got=codes.min())
        if moments.dtype.kind == "f" and np.isnan(moments).any():
            where = f"row {self.rows + int(np.isnan(moments).argmax())}"
            raise DataError("a time is missing", where=where, fix="Leave such rows out, or fill them in")
        own = np.bincount(codes)
        if len(own) > len(self.counts):
            self.counts = np.concatenate([self.counts, np.zeros(len(own) - len(self.counts), np.int64)])
        self.counts[: len(own)] += own
        for name, part in (("keys", codes), ("times", moments), ("values", numbers)):
            self._files[name].write(part.astype(self.types[name]).tobytes())
        self.rows += len(codes)

    def close(self) -> Grouped:
        """Bring the rows together."""
        try:
            for file in self._files.values():
                file.close()
            with Meter("grouping rows", 2 * self.rows, "rows") as meter:
                self._group(meter)
            for name in self.types:
                (self._aside / f"{name}.raw").unlink()
        except BaseException:
            self._stack.__exit__(*sys.exc_info())
            raise
        self._stack.close()
        self.result = Grouped(Packed(self.folder / "values"), Packed(self.folder / "times"))
        return self.result

    def _made(self, name: str) -> Path:
        """The numbers of a `Packed` that are to be filled; of the keys a file that is deleted in the end."""
        if name == "keys":
            path = self._aside / "keys.bin"
        else:
            folder = self._aside / name
            folder.mkdir()
            np.concatenate([[0], self.counts.cumsum()]).tofile(folder / OFFSETS)
            self.counts.tofile(folder / LENGTHS)
            features = (self.features,) if name == "values" else ()
            describe(folder, len(self.counts), self.rows, self.types[name], features, {})
            path = folder / VALUES
        path.touch()
        return path

    def _buckets(self) -> Iterator[tuple[int, int]]:
        """Keys that are next to each other and have a block of rows together, or one with more: first, and last + 1."""
        ends = self.counts.cumsum()
        key = 0
        while key < len(ends):
            begin = int(ends[key] - self.counts[key])
            last = max(int(np.searchsorted(ends, begin + _BLOCK, side="right")), key + 1)
            yield key, last
            key = last

    def _group(self, meter: Meter) -> None:
        """Deal the rows to the buckets, each of which lies where its keys' rows will, and sort each bucket."""
        paths = {name: self._made(name) for name in self.types}
        buckets = np.array(list(self._buckets()), np.int64).reshape(-1, 2)
        ends = np.append(0, self.counts.cumsum())
        with contextlib.ExitStack() as stack:
            files = {name: stack.enter_context(path.open("r+b", buffering=0)) for name, path in paths.items()}
            free = ends[buckets[:, 0]]  # where the next row of each bucket goes
            for parts in self._given():
                owner = np.searchsorted(buckets[:, 1], parts["keys"], "right")
                order = np.argsort(owner.astype(np.uint16 if len(buckets) < 1 << 16 else np.int64), kind="stable")
                sizes = np.bincount(owner, minlength=len(buckets))
                stops = sizes.cumsum()
                for name, part in parts.items():
                    part = part[order]
                    for bucket in np.flatnonzero(sizes).tolist():
                        own = part[stops[bucket] - sizes[bucket] : stops[bucket]]
                        _write(files[name], int(free[bucket]), own)
                free += sizes
                meter.advance(len(owner))
            for begin, end in zip(ends[buckets[:, 0]].tolist(), ends[buckets[:, 1]].tolist(), strict=True):
                self._sort(files, begin, end)
                meter.advance(end - begin)
        paths["keys"].unlink()

    def _given(self) -> Iterator[dict[str, NDArray[Any]]]:
        """The rows as they came, a block at a time."""
        with contextlib.ExitStack() as stack:
            files = {name: stack.enter_context((self._aside / f"{name}.raw").open("rb")) for name in self.types}
            for begin in range(0, self.rows, _BLOCK):
                yield {
                    name: self._read(files[name], name, begin, min(begin + _BLOCK, self.rows)) for name in self.types
                }

    def _sort(self, files: Mapping[str, _File], begin: int, end: int) -> None:
        keys, times = (self._read(files[name], name, begin, end) for name in ("keys", "times"))
        if ((np.diff(keys) < 0) | ((np.diff(keys) == 0) & (np.diff(times) < 0))).any():
            order = np.lexsort([times, keys])
            _write(files["times"], begin, times[order])
            _write(files["values"], begin, self._read(files["values"], "values", begin, end)[order])

    def _read(self, file: _File, name: str, begin: int, end: int) -> NDArray[Any]:
        dtype, features = self.types[name], (self.features,) if name == "values" else ()
        found = np.empty((end - begin, *features), dtype)
        file.seek(begin * (found.nbytes // max(end - begin, 1)))
        left = memoryview(found.reshape(-1).view(np.uint8).data)
        while len(left):  # one call may give less than was asked for
            came = file.readinto(left)
            if not came:
                raise DataError("a file of the rows has become shorter", where=self.folder)
            left = left[came:]
        return found

    def __enter__(self) -> Grouper:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.close()
        else:
            self._stack.__exit__(kind, error, trace)


def _write(file: _File, row: int, part: NDArray[Any]) -> None:
    """Some rows to their place in a file of such rows."""
    if len(part):
        file.seek(row * (part.nbytes // len(part)))
        left = memoryview(np.ascontiguousarray(part).reshape(-1).view(np.uint8).data)
        while len(left):  # one call may write less than was asked for
            left = left[file.write(left) :]
