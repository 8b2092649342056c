"""Pieces of entities' histories: what a model reads, and from where on its answers count."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, overload

import numpy as np
import torch
from numpy.typing import NDArray

from rondeau.data.disk import mapped
from rondeau.data.progress import progress
from rondeau.data.tables.events import Events
from rondeau.errors import DataError
from rondeau.sequence import Ragged
from rondeau.tasks.events.preparation import EventPreparation
from rondeau.training.batch import Batch
from rondeau.training.source import Source, parts_of

NUMBERS = "(numbers)"  # the model's input for these; those of categories are called after their columns


class Piece(NamedTuple):
    """Rows `begin` to `end` of one entity's events, read in order; answers count from row `counted` on."""

    entity: int
    begin: int
    counted: int
    end: int


class History(NamedTuple):
    """One piece, and the events that it is of."""

    events: Events
    piece: Piece


class Pieces(Sequence[History]):
    """The pieces of a part of the data.

    Args:
        events: all events.
        table: of each piece its four numbers, `(pieces, 4)` int64.
    """

    def __init__(self, events: Events, table: NDArray[np.int64]) -> None:
        self.events, self.table = events, table

    def __len__(self) -> int:
        return len(self.table)

    @overload
    def __getitem__(self, index: int) -> History: ...

    @overload
    def __getitem__(self, index: slice) -> Pieces: ...

    def __getitem__(self, index: int | slice) -> History | Pieces:
        if isinstance(index, slice):
            return Pieces(self.events, self.table[index])
        return History(self.events, Piece(*self.table[index].tolist()))

    def rows(self) -> NDArray[np.int64]:
        """The rows whose answers count, piece after piece."""
        return ranges(self.table[:, 2], self.table[:, 3])

    def blocks(self, known: bool = False) -> Iterator[NDArray[np.int64]]:
        """These rows, some hundred thousand at a time; `known`: those alone that have a label."""
        ends = (self.table[:, 3] - self.table[:, 2]).cumsum()
        first = done = 0
        while first < len(self.table):
            last = max(int(np.searchsorted(ends, done + mapped.BLOCK, "right")), first + 1)
            rows = ranges(self.table[first:last, 2], self.table[first:last, 3])
            yield rows[self.events.labels_of(rows) >= 0] if known else rows
            first, done = last, int(ends[last - 1])

    def known(self) -> NDArray[np.int64]:
        """Those of the rows that have a label."""
        return np.concatenate([np.zeros(0, np.int64), *self.blocks(known=True)])

    def counts(self) -> tuple[int, int]:
        """How many events that count have a label, and how many of these a positive one."""
        known = positive = 0
        for rows in self.blocks(known=True):
            known += len(rows)
            positive += int((self.events.labels_of(rows) == 1).sum())
        return known, positive


def pieces(events: Events, entities: NDArray[np.int64], begin: float, end: float, longest: int) -> NDArray[np.int64]:
    """A table of pieces: the events of some entities, those at or after `begin` and before `end` counting.

    Args:
        longest: events of a piece at most; a longer history is cut, and each later piece begins with as many as half of
            that which have counted before, so that the model has a past to go by.
    """
    table = []
    half = max(longest // 2, 1)
    for entity in progress(entities.tolist(), "cutting histories", unit="entities"):
        first, last = int(events.offsets[entity]), int(events.offsets[entity + 1])
        at, stop = first, last
        if np.isfinite([begin, end]).any():
            at, stop = (first + int(place) for place in np.searchsorted(events.times[first:last], [begin, end]))
            events.looked(1, last - first)
        while at < stop:
            start = max(first, at - half) if stop - first > longest else first
            until = min(stop, start + longest)
            table.append((entity, start, at, until))
            at = until
    return np.asarray(table, np.int64).reshape(-1, 4)


def ranges(begins: NDArray[np.int64], ends: NDArray[np.int64]) -> NDArray[np.int64]:
    """All numbers from each begin to its end, one range after the other."""
    lengths = ends - begins
    shift = np.repeat(begins - np.append(0, lengths[:-1].cumsum()), lengths) if len(lengths) else begins
    return np.arange(int(lengths.sum())) + shift


class EventBatches(Source):
    """Batches of pieces, made as they are asked for; a step that does not count weighs nothing.

    Args:
        shuffle: a new order each epoch.
        targets: whether labels go along; without, x alone.
    """

    def __init__(
        self, pieces: Pieces, preparation: EventPreparation, size: int, shuffle: bool, targets: bool = True
    ) -> None:
        if not len(pieces):
            raise DataError("there are no events to read", expected="at least one")
        self.pieces, self.size, self.shuffle, self.targets = pieces, size, shuffle, targets
        self.preparation = preparation
        self._ids = {name: preparation.table(name, pieces.events.categories[name]) for name in preparation.words}

    def __len__(self) -> int:
        return -(-len(self.pieces) // self.size)

    def batches(self, epoch: int, start: int, seed: int) -> Iterator[Batch]:
        for part in parts_of(len(self.pieces), self.size, self.shuffle, epoch, seed)[start:]:
            yield self.batch(part.numpy())

    def batch(self, numbers: NDArray[np.int64]) -> Batch:
        """The pieces of these numbers as one batch."""
        table, events = self.pieces.table[numbers], self.pieces.events
        rows = ranges(table[:, 1], table[:, 3])
        lengths = torch.from_numpy(table[:, 3] - table[:, 1])
        x: dict[str, Any] = {
            name: Ragged(torch.from_numpy(ids[events.categories[name].codes[rows]]), lengths)
            for name, ids in self._ids.items()
        }
        x[NUMBERS] = Ragged(torch.from_numpy(self.preparation.values(events, rows)), lengths)
        events.looked(len(table), len(rows))
        if not self.targets or events.labels is None:
            return Batch(x)
        labels = events.labels[rows]
        counts = (rows >= np.repeat(table[:, 2], lengths.numpy())) & (labels >= 0)
        weights = np.where(labels == 1, self.preparation.weight, 1.0) * counts
        y = Ragged(torch.from_numpy((labels == 1).astype(np.float32)[:, None]), lengths)
        return Batch(x, y, Ragged(torch.from_numpy(weights.astype(np.float32)), lengths))
