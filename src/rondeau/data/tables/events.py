"""Events of many entities, such as card transactions: what happened when and to whom, with categories and amounts."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rondeau.errors import DataError

Array = NDArray[Any]
MISSING = "(missing)"


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
    what was done.
    """

    entities: tuple[str, ...]
    offsets: NDArray[np.int64]
    times: NDArray[np.float64]
    dated: bool
    categories: Mapping[str, Coded]
    numbers: Mapping[str, NDArray[np.float32]]
    labels: NDArray[np.int8] | None
    groups: tuple[str, ...]
    lines: NDArray[np.int64]
    notes: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.times)

    @property
    def owners(self) -> NDArray[np.int64]:
        """The number of the entity that each event belongs to."""
        return np.repeat(np.arange(len(self.entities)), np.diff(self.offsets))

    @property
    def gaps(self) -> NDArray[np.float64]:
        """Time since the entity's event before; 0 for its first."""
        gaps = np.diff(self.times, prepend=self.times[:1])
        gaps[self.offsets[:-1][np.diff(self.offsets) > 0]] = 0
        return gaps

    def digests(self) -> list[str]:
        """Of each entity what tells its events from any other's, without its name; times count from its first event."""
        since = self.times - np.repeat(self.times[self.offsets[:-1]], np.diff(self.offsets))
        words = {name: np.asarray(column.words, dtype=object) for name, column in self.categories.items()}
        found = []
        for begin, end in pairwise(self.offsets.tolist()):
            digest = hashlib.blake2b(since[begin:end].tobytes(), digest_size=16)
            for name, column in self.categories.items():
                digest.update("\0".join(words[name][column.codes[begin:end]]).encode("utf-8", "surrogatepass"))
            for values in self.numbers.values():
                digest.update(values[begin:end].astype("<f4").tobytes())
            found.append(digest.hexdigest())
        return found


def sorted_events(
    entity: Coded,
    times: ArrayLike,
    categories: Mapping[str, Coded],
    numbers: Mapping[str, ArrayLike],
    labels: ArrayLike | None = None,
    group: Coded | None = None,
    dated: bool = False,
    lines: ArrayLike | None = None,
) -> Events:
    """Events in any order as `Events`; of one moment they stay as they came.

    Raises `DataError` for columns of unlike length, a time that is missing, and an entity in several groups.
    """
    rows = len(entity.codes)
    if not rows:
        raise DataError("there are no events", expected="at least one")
    when = np.asarray(times, np.float64)
    columns: dict[str, Any] = {"time": when, **{name: c.codes for name, c in categories.items()}}
    columns |= {name: np.asarray(values) for name, values in numbers.items()}
    columns |= {} if labels is None else {"label": np.asarray(labels)}
    for name, values in columns.items():
        if len(values) != rows:
            raise DataError("a column has another number of events", expected=rows, got=len(values), where=name)
    if not np.isfinite(when).all():
        row = int(np.flatnonzero(~np.isfinite(when))[0])
        raise DataError("an event has no time", where=f"event {row}", fix="Leave it out, or write its time")
    order = np.lexsort((np.arange(rows), when, entity.codes))
    codes = entity.codes[order]
    present, begins = np.unique(codes, return_index=True)
    offsets = np.append(begins, rows).astype(np.int64)
    ordered = when[order]
    same = (np.diff(ordered) == 0) & (np.diff(codes) == 0)
    unsorted = int(((np.diff(order) < 0) & (np.diff(codes) == 0)).sum())
    notes = [f"{unsorted:,} events came before one that is earlier, and were sorted by time"] if unsorted else []
    if same.any():
        notes.append(f"{int(same.sum()):,} events share entity and time with another; they keep the order of the file")
    return Events(
        entities=tuple(entity.words[code] for code in present),
        offsets=offsets,
        times=ordered,
        dated=dated,
        categories={name: Coded(column.codes[order], column.words) for name, column in categories.items()},
        numbers={name: np.asarray(values, np.float32)[order] for name, values in numbers.items()},
        labels=None if labels is None else np.asarray(labels, np.int8)[order],
        groups=_groups(group, order, offsets, entity, present),
        lines=np.arange(1, rows + 1)[order] if lines is None else np.asarray(lines, np.int64)[order],
        notes=notes,
    )


def _groups(
    group: Coded | None, order: Array, offsets: NDArray[np.int64], entity: Coded, present: Array
) -> tuple[str, ...]:
    if group is None:
        return tuple(entity.words[code] for code in present)
    codes = group.codes[order]
    first = np.repeat(codes[offsets[:-1]], np.diff(offsets))
    wrong = np.flatnonzero(codes != first)
    if len(wrong):
        owner = int(np.searchsorted(offsets, wrong[0], "right")) - 1
        got = f"{group.words[first[wrong[0]]]!r} and {group.words[codes[wrong[0]]]!r}"
        fix = "Its events would stand in several parts; choose another column for --group"
        what = "an entity belongs to several groups"
        raise DataError(what, where=f"entity {entity.words[present[owner]]!r}", got=got, fix=fix)
    return tuple(group.words[code] for code in codes[offsets[:-1]])
