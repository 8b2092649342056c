"""Batches of rows of like length, from data of any size."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rondeau.data.disk.mapped import Pages
from rondeau.data.shuffle import Permutation, Rows
from rondeau.errors import ArgumentError, DataError
from rondeau.training.batch import Batch, as_batch, row_count
from rondeau.training.source import Source
from rondeau.training.stream import mixed

CHUNK, FEWEST = 256, 64  # batches whose rows are sorted together: at most, and at least
GROUPS = 16  # of like first side, within which pairs are sorted by the second
LOOKED_AT = 1 << 20  # rows: the padding is counted over so many
_BLOCK = 1 << 18  # rows of the lengths that are read at a time


class Buckets(Source):
    """Batches of rows of like length: little padding where something pads, and even work where nothing does.

    In each epoch the rows are shuffled, cut into chunks of up to 256 batches, sorted by length within a chunk, and its
    batches shuffled again. The order follows from the epoch and the seed alone, so a run that was interrupted goes on
    with the batches it had not seen; an epoch has equally many batches every time. Nothing but row numbers of one
    chunk is held in memory.

    Args:
        lengths: steps of each row, `(rows,)`, or `(rows, sides)` where a row has several, as a pair of sentences has.
            A memory map stays where it is.
        make: row numbers, int64 `(batch,)` -> x, (x, y), (x, y, weight) or a `Batch` of these rows in that order. It
            must give the same again for the same rows, and draw nothing from torch's global generator.
        batch_size: rows a batch (default 32); with `tokens` the most there may be.
        tokens: steps a batch holds on average (of the longest side) instead; a row that is longer comes alone.
        shuffle: without, chunks are taken in the order given and only sorted: for evaluating. `numbers` says which
            rows came.
        inputs, outputs: of the model, where `make` gives lists.

    Raises `ArgumentError` for sizes out of range, `DataError` for lengths that are none, and while it is read for a
    batch of other rows than were asked for.

    >>> data = [[1, 2, 3], [4], [5, 6, 7], [8]]
    >>> source = Buckets([3, 1, 3, 1], lambda rows: [data[i] for i in rows], batch_size=2)
    >>> sorted(batch.x.tolist() for batch in source.batches(0, 0, 0))[1][0]
    [5, 6, 7]
    >>> len(source), source.waste
    (2, 0.0)
    """

    def __init__(
        self,
        lengths: Any,
        make: Callable[[Tensor], Any],
        batch_size: int | None = None,
        tokens: int | None = None,
        shuffle: bool = True,
        inputs: int = 1,
        outputs: int = 1,
    ) -> None:
        for name, value in (("batch_size", batch_size), ("tokens", tokens)):
            if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
                raise ArgumentError(f"Buckets: {name}", expected="a positive whole number", got=repr(value))
        self.make, self.shuffle, self.parts = make, shuffle, (inputs, outputs)
        self.lengths = _as_lengths(lengths)
        self.rows, self._pages = len(self.lengths), Pages(self.lengths)
        _check(self._blocks())
        self.cut = _by_steps(self._blocks(), tokens, batch_size) if tokens else _by_rows(self.rows, batch_size or 32)
        # two chunks where there are few batches: rows are to meet others in every epoch
        in_chunk = min(max(self.cut.batches // 2, FEWEST), CHUNK)
        self.chunk = round(in_chunk * self.rows / self.cut.batches) if tokens else in_chunk * (batch_size or 32)

    def _blocks(self) -> Iterator[NDArray[Any]]:
        for begin in range(0, self.rows, _BLOCK):
            block = np.asarray(self.lengths[begin : begin + _BLOCK])
            yield block
            self._pages.looked(1, block.nbytes)

    def __len__(self) -> int:
        return self.cut.batches

    def batches(self, epoch: int, start: int, seed: int) -> Iterator[Batch]:
        for rows in self.numbers(epoch, start, seed):
            yield self.made(rows)

    def made(self, rows: Tensor) -> Batch:
        """The batch of these rows. Raises `DataError` if `make` gives another number of rows."""
        batch = as_batch(self.make(rows), *self.parts)
        if row_count(batch) != len(rows):
            what = "make gave another number of rows than it was asked for"
            raise DataError(what, expected=len(rows), got=row_count(batch))
        return batch

    def numbers(self, epoch: int = 0, start: int = 0, seed: int = 0) -> Iterator[Tensor]:
        """The row numbers of each batch of an epoch, from batch `start` on, int64 `(batch,)`."""
        for rows in self._plan(epoch, start, seed):
            yield torch.from_numpy(np.array(rows, np.int64))

    def _plan(self, epoch: int, start: int, seed: int) -> Iterator[Rows]:
        order = Permutation(self.rows, mixed(seed, epoch)) if self.shuffle else None
        given = weight = 0  # batches of the chunks before, and what their rows weigh
        left: Rows = np.zeros(0, np.int64)  # rows of the batch that the last chunk could not fill
        left_numbers = left
        for place, begin in enumerate(range(0, self.rows, self.chunk)):
            end = min(begin + self.chunk, self.rows)
            rows = np.arange(begin, end) if order is None else order.part(begin, end)
            lengths = self._pages.take(self.lengths, rows)
            # every other chunk the longest first, so that a batch that reaches over a border has rows of like length
            by_length = _sorted(lengths, backwards=place % 2 == 1)
            rows = rows[by_length]
            weights = self.cut.weigh(lengths[by_length])
            ends = weight + weights.cumsum()
            numbers = np.minimum((ends - weights) // self.cut.share, self.cut.batches - 1)
            weight = int(ends[-1])
            rows, numbers = np.concatenate([left, rows]), np.concatenate([left_numbers, numbers])
            whole = len(rows) if end == self.rows else int(np.searchsorted(numbers, numbers[-1]))
            left, left_numbers = rows[whole:], numbers[whole:]
            made = np.split(rows[:whole], np.flatnonzero(np.diff(numbers[:whole])) + 1) if whole else []
            if given + len(made) > start:
                if order is not None:
                    made = [made[i] for i in Permutation(len(made), mixed(seed, epoch, place)).part(0, len(made))]
                yield from made[max(start - given, 0) :]
            given += len(made)

    @property
    def waste(self) -> float:
        """The share of padding if these batches were padded to their longest row; over a million rows at most."""
        return _padding(self.lengths, self._plan(0, 0, 0))

    def describe(self) -> str:
        """`1,250 batches; 3.1 % padding if they were padded, 41.0 % unsorted`, a line for who trains."""
        size = max(round(self.rows / len(self)), 1)
        order = Permutation(self.rows, 0)
        unsorted = (order.part(i, min(i + size, self.rows)) for i in range(0, self.rows, size))
        plain = _padding(self.lengths, unsorted)
        return f"{len(self):,} batches; {self.waste:.1%} padding if they were padded, {plain:.1%} unsorted"


class _Cut(NamedTuple):
    """How rows in a line become batches: a batch begins with the row at which another `share` of weight is full.

    A row weighs one, or as many 1/1024 as it has steps, within `least` and `share`: sums are exact.
    """

    batches: int
    share: int
    least: int
    by_rows: bool = False

    def weigh(self, lengths: NDArray[Any]) -> Rows:
        if self.by_rows:
            return np.ones(len(lengths), np.int64)
        longest = lengths if lengths.ndim == 1 else lengths.max(1)
        return np.clip(longest.astype(np.int64) * _UNIT, min(self.least, self.share), self.share)


_UNIT = 1024


def _by_rows(rows: int, size: int) -> _Cut:
    return _Cut(-(-rows // size), size, 1, by_rows=True)


def _by_steps(lengths: Iterator[NDArray[Any]], tokens: int, most_rows: int | None) -> _Cut:
    """The largest share of which every order of the rows fills as many batches: no row may weigh more than it."""
    least = max(tokens // most_rows, 1) if most_rows else 1
    counts = np.zeros(tokens + 1, np.int64)  # rows of each length
    for block in lengths:
        longest = block.reshape(len(block), -1).max(1).astype(np.int64)
        counts += np.bincount(longest.clip(least, tokens), minlength=tokens + 1)
    weights = np.arange(tokens + 1) * _UNIT
    batches, share = -(-int((counts * weights).sum()) // (tokens * _UNIT)), tokens * _UNIT
    while True:
        heavy, rest = int(counts[weights > share].sum()), int((counts * weights)[weights <= share].sum())
        if rest + heavy * share >= batches * share:
            return _Cut(batches, share, least * _UNIT)
        share = rest // (batches - heavy)


def _as_lengths(lengths: Any) -> NDArray[Any]:
    array = lengths if isinstance(lengths, np.ndarray) else np.asarray(lengths)
    if array.ndim not in (1, 2) or array.dtype.kind not in "iu" or (array.ndim == 2 and not array.shape[1]):
        got = f"{array.dtype} of shape {array.shape}"
        raise DataError("Buckets: the lengths of the rows", expected="whole numbers, (rows,)", got=got)
    if not len(array):
        raise DataError("there is no data", expected="at least one row", got=0)
    return array


def _check(blocks: Iterator[NDArray[Any]]) -> None:
    before = 0
    for block in blocks:
        if (block < 0).any():
            where = f"row {before + int(np.argwhere(block < 0)[0][0])}"
            raise DataError("a length is negative", got=int(block.min()), where=where)
        before += len(block)


def _sorted(lengths: NDArray[Any], backwards: bool) -> Rows:
    """An order by length, in which rows of equal length stay as they came.

    Of two sides the first decides in which of some groups a row comes, and the second where in the group.
    """
    keys = (lengths[:, None] if lengths.ndim == 1 else lengths).astype(np.int64) * (-1 if backwards else 1)
    if keys.shape[1] == 1:
        return np.argsort(keys[:, 0], kind="stable")
    ranks = np.empty(len(keys), np.int64)
    ranks[np.lexsort(keys.T[::-1])] = np.arange(len(keys))
    return np.lexsort([ranks, *keys.T[:0:-1], ranks * GROUPS // len(keys)])


def _padding(lengths: NDArray[Any], plan: Iterator[Rows]) -> float:
    real = padded = seen = 0
    for rows in plan:
        own = lengths[rows].reshape(len(rows), -1)
        real += int(own.sum(dtype=np.int64))
        padded += int(own.max(0).sum()) * len(rows)
        seen += len(rows)
        if seen >= LOOKED_AT:
            break
    return 1 - real / padded if padded else 0.0
