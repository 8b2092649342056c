"""Rows of a table in any order, put together by a key and sorted by time, in constant memory."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from rondeau.data.disk.cache import written_aside
from rondeau.data.disk.mapped import Pages, mapped
from rondeau.data.disk.packed import LENGTHS, OFFSETS, VALUES, Packed, describe
from rondeau.data.progress import Meter
from rondeau.errors import DataError, ShapeError

_BLOCK = 1 << 18  # rows that are sorted at once


class Grouped(NamedTuple):
    """Row `i` of each holds what has key `i`, by time: the values `(steps, features)`, and when it was."""

    values: Packed
    times: Packed


class Grouper:
    """Takes a table's rows part by part, and gives them back by key.

    The parts go to disk as they come; at the end they are brought together by counting how many there are of each key
    (a counting sort), and each key's rows are sorted by their time, those of one time in the order they came. Memory
    is needed for a number per key, and for 262,144 rows.

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
                self._scatter(meter)
                self._sort(meter)
            for name in self.types:
                (self._aside / f"{name}.raw").unlink()
        except BaseException:
            self._stack.__exit__(*sys.exc_info())
            raise
        self._stack.close()
        self.result = Grouped(Packed(self.folder / "values"), Packed(self.folder / "times"))
        return self.result

    def _out(self, name: str) -> NDArray[Any]:
        """The array of a `Packed` to be filled."""
        folder, dtype = self._aside / name, self.types[name]
        features = (self.features,) if name == "values" else ()
        folder.mkdir()
        np.concatenate([[0], self.counts.cumsum()]).tofile(folder / OFFSETS)
        self.counts.tofile(folder / LENGTHS)
        describe(folder, len(self.counts), self.rows, dtype, features, {})
        if not self.rows:
            (folder / VALUES).touch()
            return np.zeros((0, *features), dtype)
        return np.memmap(folder / VALUES, dtype, "w+", shape=(self.rows, *features))

    def _scatter(self, meter: Meter) -> None:
        given = {name: mapped(self._aside / f"{name}.raw", dtype) for name, dtype in self.types.items()}
        self._made = {name: self._out(name) for name in ("times", "values")}
        pages = Pages(*given.values(), *self._made.values())
        free = self.counts.cumsum() - self.counts  # where the next row of each key goes
        for begin in range(0, self.rows, _BLOCK):
            part = slice(begin, min(begin + _BLOCK, self.rows))
            keys = np.asarray(given["keys"][part])
            order = np.argsort(keys, kind="stable")
            keys = keys[order]
            first = np.flatnonzero(np.diff(keys, prepend=-1))
            sizes = np.diff(first, append=len(keys))
            places = np.repeat(free[keys[first]] - first, sizes) + np.arange(len(keys))
            free[keys[first]] += sizes
            pages.put(self._made["times"], places, np.asarray(given["times"][part])[order])
            values = np.asarray(given["values"][part.start * self.features : part.stop * self.features])
            pages.put(self._made["values"], places, values.reshape(-1, self.features)[order])
            meter.advance(len(keys))

    def _sort(self, meter: Meter) -> None:
        times, values = self._made["times"], self._made["values"]
        pages = Pages(times, values)
        ends = self.counts.cumsum()
        key = 0
        while key < len(ends):
            begin = int(ends[key] - self.counts[key])
            last = max(int(np.searchsorted(ends, begin + _BLOCK, side="right")), key + 1)
            part = slice(begin, int(ends[last - 1]))
            moments = np.array(times[part])
            owner = np.repeat(np.arange(last - key), self.counts[key:last])
            if ((np.diff(moments) < 0) & (np.diff(owner) == 0)).any():
                order = np.lexsort([moments, owner])
                times[part], values[part] = moments[order], np.array(values[part])[order]
            pages.looked(1, moments.nbytes * (1 + self.features))
            meter.advance(part.stop - part.start)
            key = last
        for array in self._made.values():
            if isinstance(array, np.memmap):
                array.flush()
        self._made = {}

    def __enter__(self) -> Grouper:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.close()
        else:
            self._stack.__exit__(kind, error, trace)
