"""Sequences of any length, read a stretch of steps at a time: arrays, memory maps, rows of unequal length, files."""

from __future__ import annotations

import mmap
from abc import ABC, abstractmethod
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rondeau.errors import DataError, ShapeError
from rondeau.sequence import Ragged, to_tensor
from rondeau.training.batch import by_parts, is_array, plain

Numbers = Any  # a NumPy array or a tensor
SHORT = 256  # steps: stretches that are shorter on average are gathered by their places, longer ones copied one by one
MAPPED = 1 << 24  # bytes read from a memory map after which its pages are let go


class Steps(ABC):
    """Rows of steps, of which some are read at a time.

    Attributes:
        lengths: steps of each row, int64.
        dense: whether a stretch that all rows have in full comes as a tensor `(rows, steps, ...)`; else as `Ragged`.
    """

    lengths: Tensor
    dense = False

    @abstractmethod
    def read(self, rows: Tensor, begin: int, counts: Tensor) -> Tensor:
        """Of each of `rows` the steps from `begin` on, `counts` of them; all in a line: `(counts.sum(), ...)`."""

    def stretch(self, rows: Tensor, begin: int, counts: Tensor, dense: bool) -> Tensor | Ragged:
        """`read` as a batch: a tensor where it is `dense` and all rows have as many steps, else a `Ragged`."""
        values = self.read(rows, begin, counts)
        if dense and bool((counts == counts[0]).all()):
            return values.reshape(len(rows), int(counts[0]), *values.shape[1:])
        return Ragged(values, counts)

    def __len__(self) -> int:
        return len(self.lengths)


class Padded(Steps):
    """`(rows, time, ...)`: an array, which may be a memory map, or a tensor; nothing is copied but what is read."""

    dense = True

    def __init__(self, data: Numbers) -> None:
        self.data = bare(data)
        self.pages = Pages(data)
        self.lengths = torch.full((len(data),), data.shape[1])

    def read(self, rows: Tensor, begin: int, counts: Tensor) -> Tensor:
        if bool((counts == counts[0]).all()):
            index: Any = rows if isinstance(self.data, Tensor) else rows.numpy()
            if len(rows) == 1:
                index = slice(int(rows), int(rows) + 1)  # a view, so that no more is touched than is read
            part = self.pages.copy(self.data[index, begin : begin + int(counts[0])])
            return part.flatten(0, 1)
        parts = [self.data[r, begin : begin + n] for r, n in zip(rows.tolist(), counts.tolist(), strict=True)]
        return torch.cat([self.pages.copy(part) for part in parts])


class Joined(Steps):
    """Rows that lie in one array of steps `(steps, ...)`, row i from `starts[i]` on; read as `dtype`, if given."""

    def __init__(
        self,
        values: Numbers,
        starts: Tensor,
        lengths: Tensor,
        dense: bool = False,
        dtype: torch.dtype | None = None,
    ) -> None:
        self.dtype = dtype
        self.values, self.starts, self.lengths, self.dense = bare(values), starts, lengths, dense
        self.pages = Pages(values)

    def read(self, rows: Tensor, begin: int, counts: Tensor) -> Tensor:
        starts = self.starts[rows] + begin
        if isinstance(self.values, np.ndarray) and int(counts.sum()) <= SHORT * len(counts):
            shift = torch.repeat_interleave(starts - (counts.cumsum(0) - counts), counts)
            values = self.pages.gather(self.values, (shift + torch.arange(len(shift))).numpy())
        else:
            parts = [self.values[s : s + n] for s, n in zip(starts.tolist(), counts.tolist(), strict=True)]
            values = torch.cat([self.pages.copy(part) for part in parts])
        return values if self.dtype is None else values.to(self.dtype)


class Listed(Steps):
    """A list of rows, each an array `(length, ...)` of its own."""

    def __init__(self, rows: list[Numbers], name: str) -> None:
        self.rows = [bare(row) for row in rows]
        self.pages = [Pages(row) for row in rows]
        self.lengths = torch.tensor([len(row) for row in rows])
        self.dense = len({tuple(row.shape) for row in rows}) == 1
        filled = [row for row in rows if len(row)] or rows[:1]
        for i, row in enumerate(rows):
            if len(row) and row.shape[1:] != filled[0].shape[1:]:
                expected, got = tuple(filled[0].shape[1:]), tuple(row.shape[1:])
                raise ShapeError(f"{name}: a row's steps have another shape", expected=expected, got=got, where=i)
        self.empty = torch.cat([self.pages[0].copy(row[:0].reshape(0, *filled[0].shape[1:])) for row in filled])

    def read(self, rows: Tensor, begin: int, counts: Tensor) -> Tensor:
        each = zip(rows.tolist(), counts.tolist(), strict=True)
        parts = [self.pages[r].copy(self.rows[r][begin : begin + n]) for r, n in each if n]
        return torch.cat([self.empty, *parts])  # in the rows' common type, whichever are read


def bare(data: Numbers) -> Numbers:
    """A memory map as a plain array, whose parts are quicker to take."""
    return np.asarray(data) if isinstance(data, np.memmap) else data


class Pages:
    """Copies of parts of an array; of a memory map, what has been read is let go, so that memory stays flat.

    The system keeps pages of a mapped file with the process that read them for as long as there is room; a program
    that goes through a file ten times its memory would seem to fill all of it.
    """

    def __init__(self, data: Numbers) -> None:
        self.map = _map_below(data)
        self.read = 0

    def copy(self, part: Numbers) -> Tensor:
        """A tensor of its own."""
        if isinstance(part, Tensor):
            return plain(part)
        return self._counted(np.array(part))

    def gather(self, data: Any, places: Any) -> Tensor:
        """The steps of an array at many places, as a tensor of its own."""
        return self._counted(data[places])

    def _counted(self, copied: Any) -> Tensor:
        if self.map is not None:
            self.read += copied.nbytes
            if self.read >= MAPPED:
                self.map.madvise(mmap.MADV_DONTNEED)
                self.read = 0
        return plain(to_tensor(copied))


def _map_below(data: Numbers) -> mmap.mmap | None:
    """The file's map that an array looks into, if it is one that only reads or writes through: nothing is lost."""
    if not hasattr(mmap, "MADV_DONTNEED") or getattr(data, "mode", None) not in ("r", "r+", "w+"):
        return None
    while isinstance(data, np.ndarray):
        data = data.base
    return data if isinstance(data, mmap.mmap) else None


def to_steps(value: Any, parts: int = 1, name: str = "x") -> Any:
    """What a user gives as x, y or sample_weight, as `Steps`, as `to_data` would understand it; None stays None.

    Numbers that stand one for each row, `(rows,)`, become a tensor. Raises `DataError` for no arrays of numbers.
    """
    return by_parts(value, parts, name, lambda part: isinstance(part, Steps), _is_steps, _steps)


def _is_steps(value: Any) -> bool:
    return isinstance(value, Steps) or is_array(value)


def _steps(value: Any, name: str) -> Any:
    if isinstance(value, Ragged):
        if value.mask is not None:
            fix = "Give the padded array, to be masked inside the model, or Ragged(r.values, r.lengths)"
            raise DataError(f"{name} is a Ragged with a mask, which windows do not know", fix=fix)
        return Joined(value.values, value.offsets, value.lengths)
    if not isinstance(value, (Tensor, np.ndarray, list, tuple)) and hasattr(value, "__array__"):
        value = np.asarray(value)
    if isinstance(value, np.ndarray) and value.dtype == object:  # an array of lists
        value = list(value) if value.ndim == 1 else value.tolist()
    if isinstance(value, (list, tuple)) and value and hasattr(value[0], "__len__"):
        return Listed([_numbers(row, f"{name}, row {i}") for i, row in enumerate(value)], name)
    value = _numbers(value, name)
    return Padded(value) if value.ndim > 1 else plain(to_tensor(value))


def _numbers(value: Any, where: str) -> Numbers:
    """Arrays and tensors as they are: a copy of a memory map would be all of it."""
    return value if isinstance(value, np.ndarray) and value.dtype.kind in "biuf" else to_tensor(value, where)


def cut_in_time(leaf: Tensor | Ragged, begin: int, end: int) -> Tensor | Ragged:
    """The steps from `begin` to `end` of each row, fewer where rows end before."""
    if isinstance(leaf, Tensor):
        return leaf[:, begin:end]
    lengths = (leaf.lengths.clamp(max=end) - begin).clamp(min=0)
    index = torch.repeat_interleave(leaf.offsets + begin - lengths.cumsum(0) + lengths, lengths)
    index = index + torch.arange(len(index))
    return Ragged(leaf.values[index.to(leaf.device)], lengths)


def joined_in_time(parts: list[Any]) -> Tensor | Ragged:
    """Parts of rows that continue each other, as one; masks are joined where all parts have one."""
    if not any(isinstance(part, Ragged) for part in parts):
        return torch.cat(parts, 1)
    ragged = [part if isinstance(part, Ragged) else Ragged.full(part) for part in parts]
    masks = [part.mask for part in ragged if part.mask is not None]
    lengths = torch.stack([part.lengths for part in ragged])
    rows = zip(*(part.rows() for part in ragged), strict=True)
    values = torch.cat([steps for row in rows for steps in row])
    return Ragged(values, lengths.sum(0), torch.cat(masks, 1) if len(masks) == len(ragged) else None)
