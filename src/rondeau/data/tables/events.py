"""Events of many entities, such as card transactions: what happened when and to whom, with categories and amounts."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rondeau.data.disk import mapped
from rondeau.data.disk.mapped import Pages
from rondeau.data.tables.coding import MISSING

Array = NDArray[Any]
Rows = NDArray[np.int64]


class Coded(NamedTuple):
    """A column of words: of each row a code, `(rows,)` int32, and the word each code stands for."""

    codes: NDArray[np.int32]
    words: tuple[str, ...]

    @classmethod
    def of(cls, values: Sequence[Any] | Array) -> Coded:
        """From the words themselves; None is missing."""
        given = np.asarray([MISSING if value is None else str(value) for value in values], dtype=str)
        words, codes = np.unique(given, return_inverse=True)
        return cls(codes.astype(np.int32), tuple(words.tolist()))


@dataclass(frozen=True, eq=False)
class Events:
    """Events sorted by entity, then by time; those of entity i are rows `offsets[i]` to `offsets[i + 1]`.

    `times`: float64; seconds since 1970 where `dated`, else the data's own numbers. `categories`, `numbers`: features
    by name, `(events,)`; a missing number is NaN. `labels`: int8, 1 positive, 0 negative, -1 not known; None where
    there are none. `groups`: of each entity what it belongs to. `lines`: of each event its line in the file. `notes`:
    what was done. `kept`: what the arrays lie in.

    The arrays may lie on disk. Who reads parts of them tells `looked`, so that memory is given back; to go through
    all of them take `blocks`, and `part` of each.
    """

    entities: tuple[str, ...]
    offsets: Rows
    times: NDArray[np.float64]
    dated: bool
    categories: Mapping[str, Coded]
    numbers: Mapping[str, NDArray[np.float32]]
    labels: NDArray[np.int8] | None
    groups: tuple[str, ...]
    lines: Rows
    notes: list[str] = field(default_factory=list)
    kept: Any = None
    _pages: Pages = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_pages", Pages(self.times, self.lines))  # all other columns lie beside `lines`

    def __len__(self) -> int:
        return len(self.times)

    def looked(self, places: int, events: int) -> None:
        """So many events were looked at, in so many places."""
        self._pages.looked(2 * places, events * (self.times.strides[0] + self.lines.strides[0]))

    def blocks(self, size: int | None = None) -> Iterator[tuple[int, int]]:
        """First entity, and the one after the last, of stretches of `size` events, or of one entity with more."""
        first = 0
        while first < len(self.entities):
            until = int(self.offsets[first]) + (size or mapped.BLOCK)
            last = max(int(np.searchsorted(self.offsets, until, "right")) - 1, first + 1)
            yield first, last
            first = last

    def part(self, first: int, last: int) -> Events:
        """Entities `first` to `last - 1`, in memory."""
        offsets = self.offsets[first : last + 1]
        own = slice(int(offsets[0]), int(offsets[-1]))
        self.looked(1, own.stop - own.start)
        return Events(
            self.entities[first:last],
            offsets - offsets[0],
            np.array(self.times[own]),
            self.dated,
            {name: Coded(np.array(column.codes[own]), column.words) for name, column in self.categories.items()},
            {name: np.array(values[own]) for name, values in self.numbers.items()},
            None if self.labels is None else np.array(self.labels[own]),
            self.groups[first:last],
            np.array(self.lines[own]),
        )

    def of(self, column: Array, rows: Rows) -> Array:
        """Some events' values in one of the columns."""
        return self._pages.take(column, rows)

    def labels_of(self, rows: Rows) -> NDArray[np.int8]:
        """Some events' labels, 0 where there are none."""
        return np.zeros(len(rows), np.int8) if self.labels is None else self.of(self.labels, rows)

    def owners_of(self, rows: Rows) -> Rows:
        """The number of the entity that each of some events belongs to."""
        return np.searchsorted(self.offsets, rows, "right") - 1

    @property
    def owners(self) -> Rows:
        """The number of the entity that each event belongs to."""
        return self.owners_of(np.arange(len(self)))

    def gaps_of(self, rows: Rows) -> NDArray[np.float64]:
        """Time since the entity's event before, of some events; 0 for its first."""
        gaps: NDArray[np.float64] = self.of(self.times, rows) - self.of(self.times, np.maximum(rows - 1, 0))
        gaps[self.offsets[self.owners_of(rows)] == rows] = 0
        return gaps

    @property
    def gaps(self) -> NDArray[np.float64]:
        """Time since the entity's event before; 0 for its first."""
        return self.gaps_of(np.arange(len(self)))

    def digests(self) -> list[str]:
        """Of each entity what tells its events from any other's, without its name; times count from its first event."""
        words = {name: np.asarray(column.words, dtype=object) for name, column in self.categories.items()}
        return [digest for block in self.blocks() for digest in _digests(self.part(*block), words)]


def _digests(events: Events, words: Mapping[str, Array]) -> Iterator[str]:
    since = events.times - np.repeat(events.times[events.offsets[:-1]], np.diff(events.offsets))
    for begin, end in pairwise(events.offsets.tolist()):
        digest = hashlib.blake2b(since[begin:end].tobytes(), digest_size=16)
        for name, column in events.categories.items():
            digest.update("\0".join(words[name][column.codes[begin:end]]).encode("utf-8", "surrogatepass"))
        for values in events.numbers.values():
            digest.update(values[begin:end].astype("<f4").tobytes())
        yield digest.hexdigest()
