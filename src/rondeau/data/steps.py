"""Sequences that are too long for memory: from a file of numbers, or as a program makes them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rondeau.errors import ArgumentError, DataError, ShapeError
from rondeau.sequence import Ragged
from rondeau.training.batch import Batch, as_batch, data_leaves, map_data, plain
from rondeau.training.steps import Steps, cut_in_time, joined_in_time
from rondeau.training.stream import RandomStream, mixed
from rondeau.training.windows import Reading, WindowSource

_NUMBERS = "biuf"  # kinds of NumPy's types: truth values, integers, floats


class StepFile(Steps):
    """Steps that lie one after the other in a binary file, as x or y of `fit(window=...)`; a window at a time is read.

    Args:
        path: the file, numbers and nothing else.
        dtype: their type, as NumPy names it; '>f4' and the like for another byte order.
        features: numbers of a step: 3, (8, 8), or () for one number, such as an id (default).
        rows: the steps are cut into so many rows, read side by side; the first are one longer where need be.
        first, steps: of the file, from which step on, and how many (default: all).

    Raises `DataError` for a file that is missing, or holds no whole number of steps, or fewer than asked for.

    x and y of one file, where the next value is to be predicted:

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "signal.f32"
    >>> np.arange(9, dtype=np.float32).tofile(path)
    >>> x, y = StepFile(path, "float32", 1, rows=2, steps=8), StepFile(path, "float32", 1, rows=2, first=1)
    >>> x.lengths.tolist(), y.read(torch.tensor([1]), 0, torch.tensor([2])).tolist()
    ([4, 4], [[5.0], [6.0]])
    """

    def __init__(
        self,
        path: str | Path,
        dtype: Any,
        features: int | tuple[int, ...] = (),
        rows: int = 1,
        first: int = 0,
        steps: int | None = None,
    ) -> None:
        self.path, self.features = Path(path), (features,) if isinstance(features, int) else tuple(features)
        self.dtype = _number_type(dtype)
        self.native = self.dtype.newbyteorder("=")
        for name, value, least in (
            ("rows", rows, 1),
            ("first", first, 0),
            ("steps", rows if steps is None else steps, 0),
        ):
            if not isinstance(value, int) or isinstance(value, bool) or value < least:
                raise ArgumentError(f"StepFile: {name}", expected=f"a whole number, {least} or more", got=repr(value))
        if any(not isinstance(size, int) or size < 1 for size in self.features):
            raise ArgumentError("StepFile: features", expected="sizes of 1 or more", got=features)
        self.numbers = int(np.prod(self.features, dtype=np.int64))
        self.step = self.numbers * self.dtype.itemsize  # bytes
        held = self._held()
        total = held - first if steps is None else steps
        if total < rows or first + total > held:
            expected = "one for each row, or more" if total < rows else f"{first + total:,}"
            raise DataError("the file has too few steps", expected=expected, got=f"{held:,}", where=self.path)
        self.lengths = torch.full((rows,), total // rows)
        self.lengths[: total % rows] += 1
        self.starts = self.lengths.cumsum(0) - self.lengths + first
        self.dense = total % rows == 0

    def _held(self) -> int:
        if not self.path.is_file():
            raise DataError("there is no such file", where=self.path)
        size = self.path.stat().st_size
        if size % self.step:
            expected = f"a multiple of {self.step} bytes, {self.numbers} of {self.dtype} a step"
            raise DataError("the file has no whole number of steps", expected=expected, got=size, where=self.path)
        return size // self.step

    def read(self, rows: Tensor, begin: int, counts: Tensor) -> Tensor:
        values = np.empty((int(counts.sum()), *self.features), self.dtype)
        target = memoryview(values.reshape(-1).view(np.uint8).data)
        done = 0
        with self.path.open("rb", buffering=0) as file:
            for start, count in zip((self.starts[rows] + begin).tolist(), counts.tolist(), strict=True):
                file.seek(start * self.step)
                end = done + count * self.step
                while done < end:  # one call may give less than was asked for
                    came = file.readinto(target[done:end])
                    if not came:
                        raise DataError("the file has become shorter", where=self.path)
                    done += came
        return plain(torch.from_numpy(values.astype(self.native, copy=False)))


def _number_type(dtype: Any) -> np.dtype[Any]:
    try:
        found: np.dtype[Any] = np.dtype(dtype)
    except TypeError as error:
        raise ArgumentError("StepFile: dtype", expected="a type of numbers, 'float32'", got=repr(dtype)) from error
    if found.kind not in _NUMBERS or found.itemsize > 8:
        raise ArgumentError("StepFile: dtype", expected="integers or floats of up to 8 bytes", got=found)
    return found


class StepStream(WindowSource):
    """Rows whose steps come in chunks, as a program makes them or reads them: x of `fit(window=...)`.

    Args:
        chunks: a function that begins the stream and gives an iterable of chunks: it is called for every epoch, and
            for a look at the first chunk. Or the iterable itself; what can be gone through once only serves one epoch.

    A chunk is x, (x, y) or (x, y, sample_weight), each `(rows, steps, ...)`, or a list of rows, for the same rows in
    every chunk; it continues the one before, and may have any number of steps: windows are cut anew. A row that is
    shorter than the longest in its chunk has ended, and has no steps in later chunks. One chunk and one window are in
    memory at a time.

    What `chunks` draws from torch's global generator follows from the seed and the epoch, so that a resumed run sees
    the same; it is read anew up to the place where the run stood.

    Raises `DataError` or `ShapeError` while it is read, for chunks that do not continue each other.

    >>> def chunks():
    ...     for i in range(3):
    ...         yield np.full((2, 5, 1), i), np.zeros((2, 5, 1))
    >>> [batch.x.shape[1] for batch in StepStream(chunks).in_windows(4).batches(0, 0, 0)]
    [4, 4, 4, 3]
    """

    def __init__(self, chunks: Callable[[], Iterable[Any]] | Iterable[Any]) -> None:
        if not callable(chunks) and not isinstance(chunks, Iterable):
            expected = "a function that gives chunks, or an iterable of them"
            raise ArgumentError("StepStream", expected=expected, got=type(chunks).__name__)
        self.chunks = chunks
        self._once: list[Iterator[Any]] = [chunks] if isinstance(chunks, Iterator) else []

    def __len__(self) -> int:
        raise TypeError("a stream does not know how long it is")

    def _begin(self) -> Iterator[Any]:
        if self._once:
            return self._once[0]
        chunks = self.chunks() if callable(self.chunks) else self.chunks
        if not isinstance(chunks, Iterable):
            raise DataError("StepStream: chunks()", expected="an iterable of chunks", got=type(chunks).__name__)
        return iter(chunks)

    def peek(self) -> Batch | None:
        with RandomStream(0):
            first = next(self._begin(), None)
        if first is None:
            return None
        if self._once:
            self._once[0] = chain([first], self._once[0])
        return _chunk(first, *self.parts)

    def readings(self, epoch: int, seed: int) -> Iterator[Reading]:
        yield _ChunkReading(self._begin, RandomStream(mixed(seed, epoch)), self.parts)


class _ChunkReading(Reading):
    """Chunks as they come, cut anew.

    Attributes:
        held: chunks of which something has not been read yet; `begin`: the step at which the first of them begins.
    """

    def __init__(self, begin: Callable[[], Iterator[Any]], stream: RandomStream, parts: tuple[int, int]) -> None:
        self.stream, self.parts = stream, parts
        with stream:
            self.chunks = begin()
        self.held: deque[Batch] = deque()
        self.begin = self.end = 0
        self.ended: Tensor | None = None  # which rows have

    def read(self, begin: int, size: int) -> Batch | None:
        while self.end < begin + size and self._take():
            while self.held and self.begin + _time(self.held[0]) <= begin:  # passed over
                self.begin += _time(self.held.popleft())
        stop = min(begin + size, self.end)
        if stop <= begin:
            return None
        pieces = []
        at = self.begin
        for chunk in self.held:
            first, last = max(begin - at, 0), min(stop - at, _time(chunk))
            if first < last:
                pieces.append(_cut(chunk, first, last))
            at += _time(chunk)
        while self.held and self.begin + _time(self.held[0]) <= stop:
            self.begin += _time(self.held.popleft())
        return _together(pieces)

    def _take(self) -> bool:
        with self.stream:
            given = next(self.chunks, None)
        if given is None:
            return False
        chunk = _chunk(given, *self.parts)
        lengths, time = _lengths(chunk), _time(chunk)
        if self.ended is None:
            self.ended = torch.zeros(len(lengths), dtype=torch.bool)
        if len(lengths) != len(self.ended):
            raise DataError("a chunk has other rows than those before", expected=len(self.ended), got=len(lengths))
        again = (self.ended & (lengths > 0)).nonzero()
        if len(again):
            fix = (
                "A row that is shorter than the longest of its chunk has ended: until then give all rows as many steps"
            )
            where = f"row {int(again[0])}, step {self.end}"
            raise DataError("a row goes on after it has ended", where=where, fix=fix)
        self.ended |= lengths < time
        if time:
            self.held.append(chunk)
            self.end += time
        return True


def _chunk(given: Any, inputs: int, outputs: int) -> Batch:
    """A chunk as tensors and `Ragged` of its own: who makes it may use its memory again."""
    chunk = as_batch(given, inputs, outputs)
    chunk = chunk.map(lambda part: map_data(_own, part))
    leaves = data_leaves(chunk.x)
    if not leaves:
        raise DataError("a chunk has no x", expected="x, (x, y) or (x, y, sample_weight)")
    for name, part in (("x", chunk.x), ("y", chunk.y), ("sample_weight", chunk.weight)):
        for leaf in data_leaves(part):
            if not isinstance(leaf, Ragged) and leaf.ndim < 2:
                raise ShapeError(f"a chunk's {name}", expected="(rows, steps, ...)", got=tuple(leaf.shape))
    lengths = _lengths(chunk)
    if any(isinstance(leaf, Ragged) for leaf in leaves):
        chunk = chunk.map(lambda part: map_data(lambda leaf: _as_ragged(leaf, lengths), part))
    for leaf in [*leaves, *data_leaves(chunk.y), *data_leaves(chunk.weight)]:
        if not torch.equal(_leaf_lengths(leaf), lengths):
            expected, got = lengths.tolist(), _leaf_lengths(leaf).tolist()
            raise DataError("the parts of a chunk have unequal steps", expected=expected, got=got)
    return chunk


def _own(leaf: Any) -> Any:
    return leaf.with_values(leaf.values.clone()) if isinstance(leaf, Ragged) else leaf.clone()


def _as_ragged(leaf: Any, lengths: Tensor) -> Any:
    fits = isinstance(leaf, Tensor) and len(leaf) == len(lengths) and leaf.shape[1] == int(lengths.max())
    return Ragged.from_padded(leaf, lengths) if fits else leaf


def _lengths(chunk: Batch) -> Tensor:
    leaves = data_leaves(chunk.x)
    return _leaf_lengths(next((leaf for leaf in leaves if isinstance(leaf, Ragged)), leaves[0]))


def _leaf_lengths(leaf: Any) -> Tensor:
    return leaf.lengths if isinstance(leaf, Ragged) else torch.full((len(leaf),), leaf.shape[1])


def _time(chunk: Batch) -> int:
    lengths = _lengths(chunk)
    return int(lengths.max()) if len(lengths) else 0


def _cut(chunk: Batch, begin: int, end: int) -> Batch:
    return chunk.map(lambda part: map_data(lambda leaf: cut_in_time(leaf, begin, end), part))


def _together(pieces: list[Batch]) -> Batch:
    """Pieces that continue each other, as one."""
    if len(pieces) == 1:
        return pieces[0]
    each = zip(*(data_leaves([piece.x, piece.y, piece.weight]) for piece in pieces), strict=True)
    leaves = iter([joined_in_time(list(parts)) for parts in each])
    return pieces[0].map(lambda part: map_data(lambda _: next(leaves), part))
