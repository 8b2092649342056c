"""Rows of unequal length on disk: written one after the other, any of them read without the rest."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import torch
from numpy.typing import DTypeLike, NDArray
from torch import Tensor

from rondeau.data.disk.cache import written_aside
from rondeau.data.disk.mapped import Pages, mapped
from rondeau.errors import ArgumentError, CheckpointError, DataError, ShapeError
from rondeau.sequence import Ragged

FORMAT, VERSION = "rondeau-packed", 1
VALUES, OFFSETS, LENGTHS, _ABOUT = "values.bin", "offsets.bin", "lengths.bin", "packed.json"
_BUFFER = 1 << 20  # bytes written at once
_AT_ONCE = 256  # rows gathered before it is seen whether pages are to be let go
_LONG = 512  # steps: rows that are longer on average are copied one by one


def smallest_type(size: int) -> np.dtype[Any]:
    """The smallest unsigned type for the ids 0 ... size - 1."""
    return np.dtype(next(t for t in (np.uint8, np.uint16, np.uint32, np.int64) if size - 1 <= np.iinfo(t).max))


class PackedWriter:
    """Appends rows to a folder that appears, whole, when the writer is closed.

    Args:
        folder: where; what stands there is replaced at the end, and only then.
        dtype: of the numbers, as NumPy names it.
        features: numbers of a step: 3, (8, 8), or () for one number, such as an id (default).
        about: facts to be kept with the rows, in JSON's types.

    As a context manager it is closed at the end, and leaves nothing behind after an error.

    Raises `ArgumentError` for a type that is none, `ShapeError` for steps of other features, `DataError` for numbers
    that the type does not hold.

    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp()) / "rows"
    >>> with PackedWriter(folder, "uint8") as writer:
    ...     writer.append([1, 2, 3])
    ...     writer.append([4])
    >>> rows = Packed(folder)
    >>> len(rows), rows[0].tolist(), rows.batch([1, 0]).lengths.tolist()
    (2, [1, 2, 3], [1, 3])
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        dtype: DTypeLike,
        features: int | tuple[int, ...] = (),
        about: dict[str, Any] | None = None,
    ) -> None:
        self.folder, self.dtype = Path(folder), _number_type(dtype)
        self.features = (features,) if isinstance(features, int) else tuple(features)
        self.about = {} if about is None else dict(about)
        self.rows = self.steps = 0
        self._stack = contextlib.ExitStack()
        self._aside = self._stack.enter_context(written_aside(self.folder))
        self._aside.mkdir()
        self._files = {
            name: self._stack.enter_context((self._aside / name).open("wb", buffering=_BUFFER))
            for name in (VALUES, OFFSETS, LENGTHS)
        }
        self._files[OFFSETS].write(np.zeros(1, np.int64).tobytes())

    def append(self, row: Any) -> None:
        """One row, `(steps, *features)`."""
        values = np.asarray(row)
        self.extend(values, [len(values)])

    def extend(self, values: Any, lengths: Any) -> None:
        """Many rows, one after the other in `values`, `(steps, *features)`, and how many steps each has."""
        values, lengths = np.asarray(values), np.asarray(lengths, np.int64)
        if values.shape[1:] != self.features and len(values):
            raise ShapeError("a row's steps", expected=("steps", *self.features), got=values.shape)
        if lengths.sum() != len(values) or (lengths < 0).any():
            raise DataError("lengths and values do not fit", expected=int(lengths.sum()), got=len(values))
        self._files[VALUES].write(self._as_stored(values).tobytes())
        self._files[OFFSETS].write((self.steps + lengths.cumsum()).tobytes())
        self._files[LENGTHS].write(lengths.tobytes())
        self.rows += len(lengths)
        self.steps += len(values)

    def _as_stored(self, values: NDArray[Any]) -> NDArray[Any]:
        if values.dtype == self.dtype or not len(values):
            return values.astype(self.dtype, copy=False)
        if values.dtype.kind not in "biuf" or (values.dtype.kind == "f" and self.dtype.kind in "iu"):
            got = f"{values.dtype}"
            raise DataError("numbers of another kind", expected=self.dtype, got=got, where=f"row {self.rows}")
        if self.dtype.kind in "iu":
            limits = np.iinfo(self.dtype)
            if values.min() < limits.min or values.max() > limits.max:
                got = f"{values.min()} to {values.max()}"
                what = f"numbers that {self.dtype} does not hold"
                raise DataError(what, expected=f"{limits.min} to {limits.max}", got=got, where=f"row {self.rows}")
        return values.astype(self.dtype)

    def close(self) -> None:
        """Put the rows in their place; where that fails, nothing is left of them."""
        try:
            self._finish()
        except BaseException:
            self._stack.__exit__(*sys.exc_info())
            raise
        self._stack.close()

    def _finish(self) -> None:
        for file in self._files.values():
            file.flush()
            os.fsync(file.fileno())
            file.close()
        describe(self._aside, self.rows, self.steps, self.dtype, self.features, self.about)

    def __enter__(self) -> PackedWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.close()
        else:
            self._stack.__exit__(kind, error, trace)


def describe(
    folder: Path, rows: int, steps: int, dtype: np.dtype[Any], features: tuple[int, ...], about: dict[str, Any]
) -> None:
    """Write what `Packed` must know beside the numbers."""
    facts = {"rows": rows, "steps": steps, "dtype": dtype.str, "features": list(features)}
    told = {"format": FORMAT, "version": VERSION, **facts, "about": about}
    (folder / _ABOUT).write_text(json.dumps(told), encoding="utf-8")


class Packed:
    """The rows in a folder that a `PackedWriter` wrote; only what is asked for is read.

    `packed[i]` is a row, `(steps, *features)`; `batch` gives some of them as a `Ragged`.

    Args:
        folder: the folder.

    Attributes:
        lengths: steps of each row, int64, on disk. values: all steps, `(steps, *features)`, on disk.
        about: the facts that were kept with the rows.

    Raises `CheckpointError` for a folder that is none, damaged, or written by a newer Rondeau.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)
        told = self._told()
        self.about: dict[str, Any] = told["about"]
        dtype, features = np.dtype(told["dtype"]), tuple(told["features"])
        self.values = self._mapped(VALUES, dtype, (told["steps"], *features))
        self.offsets = self._mapped(OFFSETS, np.dtype(np.int64), (told["rows"] + 1,))
        self.lengths = self._mapped(LENGTHS, np.dtype(np.int64), (told["rows"],))
        self._pages = Pages(self.values, self.offsets, self.lengths)

    def _told(self) -> dict[str, Any]:
        file = self.folder / _ABOUT
        try:
            told: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise CheckpointError("there are no packed rows", where=self.folder, got=error) from error
        if not isinstance(told, dict) or told.get("format") != FORMAT:
            raise CheckpointError("there are no packed rows", where=self.folder)
        if told["version"] > VERSION:
            fix = "Upgrade: pip install -U rondeau"
            raise CheckpointError("written by a newer Rondeau", got=told["version"], where=self.folder, fix=fix)
        return told

    def _mapped(self, name: str, dtype: np.dtype[Any], shape: tuple[int, ...]) -> NDArray[Any]:
        path = self.folder / name
        expected = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
        got = path.stat().st_size if path.is_file() else None
        if got != expected:
            raise CheckpointError("packed rows are damaged", expected=f"{expected} bytes", got=got, where=path)
        return mapped(path, dtype, shape)

    def __len__(self) -> int:
        return len(self.lengths)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the numbers as they are stored."""
        return self.values.dtype

    def __getitem__(self, row: int) -> NDArray[Any]:
        count = len(self)
        if not -count <= row < count:
            raise IndexError(row)  # as a list does, so that a loop over the rows ends
        row = row % count
        begin, end = int(self.offsets[row]), int(self.offsets[row + 1])
        found = np.array(self.values[begin:end])
        self._pages.looked(1, found.nbytes)
        return found

    def __iter__(self) -> Iterator[NDArray[Any]]:
        return (self[row] for row in range(len(self)))

    def batch(self, rows: Any, first: int | None = None) -> Ragged:
        """Some rows in the order given, whole numbers as int64, floats as they are stored.

        Args:
            rows: their numbers `(batch,)`.
            first: steps of each that are wanted at most (default: all).

        Raises `DataError` for a row that is not there.
        """
        index = np.asarray(rows, np.int64)
        if len(index) and not 0 <= index.min() <= index.max() < len(self):
            got = f"{index.min()} to {index.max()}"
            raise DataError("there is no such row", expected=f"0 to {len(self) - 1}", got=got)
        starts, lengths = self._pages.take(self.offsets, index), self._pages.take(self.lengths, index)
        if first is not None:
            lengths = np.minimum(lengths, first)
        several = [
            self._gathered(starts[i : i + _AT_ONCE], lengths[i : i + _AT_ONCE]) for i in range(0, len(index), _AT_ONCE)
        ]
        values = several[0] if len(several) == 1 else np.concatenate([self.values[:0], *several])
        return Ragged(_as_tensor(values), torch.from_numpy(np.array(lengths)))

    def _gathered(self, starts: NDArray[Any], lengths: NDArray[Any]) -> NDArray[Any]:
        steps = int(lengths.sum())
        plain = np.asarray(self.values)  # parts of a memory map are slower to take
        self._pages.looked(len(lengths), steps * plain.strides[0])
        if steps <= _LONG * len(lengths):
            places = np.arange(steps) + np.repeat(starts - (lengths.cumsum() - lengths), lengths)
            found: NDArray[Any] = plain[places]
            return found
        found = np.empty((steps, *plain.shape[1:]), plain.dtype)
        at = 0
        for start, length in zip(starts.tolist(), lengths.tolist(), strict=True):
            found[at : at + length] = plain[start : start + length]
            at += length
        return found

    def __reduce__(self) -> tuple[type[Packed], tuple[Path]]:
        return Packed, (self.folder,)  # another process maps the files itself


def pack(
    rows: Iterable[Any],
    folder: str | os.PathLike[str],
    dtype: DTypeLike,
    features: int | tuple[int, ...] = (),
    about: dict[str, Any] | None = None,
) -> Packed:
    """All rows of an iterable, one at a time in memory, as `Packed` in `folder`; arguments as of `PackedWriter`."""
    with PackedWriter(folder, dtype, features, about) as writer:
        held: list[NDArray[Any]] = []
        size = 0
        for row in rows:
            held.append(np.asarray(row))
            size += held[-1].nbytes + 64
            if size > _BUFFER:
                _flush(writer, held)
                held, size = [], 0
        _flush(writer, held)
    return Packed(folder)


def _flush(writer: PackedWriter, rows: list[NDArray[Any]]) -> None:
    filled = [row for row in rows if len(row)]
    for row in filled:
        if row.shape[1:] != writer.features:
            raise ShapeError("a row's steps", expected=("steps", *writer.features), got=row.shape)
    if rows:
        empty = np.zeros((0, *writer.features), writer.dtype)
        writer.extend(np.concatenate(filled) if filled else empty, [len(row) for row in rows])


def _as_tensor(values: NDArray[Any]) -> Tensor:
    native = values.astype(np.int64 if values.dtype.kind in "iu" else values.dtype.newbyteorder("="), copy=False)
    return torch.from_numpy(native)


def _number_type(dtype: DTypeLike) -> np.dtype[Any]:
    try:
        found = np.dtype(dtype)
    except TypeError as error:
        raise ArgumentError("dtype", expected="a type of numbers, 'float32'", got=repr(dtype)) from error
    if found.kind not in "biuf" or found.itemsize > 8:
        raise ArgumentError("dtype", expected="integers or floats of up to 8 bytes", got=found)
    return found
