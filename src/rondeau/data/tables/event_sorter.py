"""Events as they come, brought into the order of entity and time on disk."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rondeau.data.disk.cache import Scratch
from rondeau.data.tables.events import Coded, Events
from rondeau.data.tables.grouped import Grouper
from rondeau.errors import DataError

_ROW, _LINE, _LABEL, _GROUP = "row", "line", "label", "group"
_CATEGORY, _NUMBER = "category ", "number "  # before a column's own name


class EventSorter:
    """Takes events part by part, and gives them by entity and time; of one moment they stay as they came.

    They lie in a folder for temporary files that vanishes with the result, one record an event; memory is needed for
    a number per entity, for its words, and for some hundred thousand events.

    Args:
        entities: the words that entities' codes stand for; categories: those of each category, by its name.
        numbers: names of the columns of numbers; labelled: whether there are labels.
        groups: the words of what entities belong to, None where they stand alone.
        dated: whether times are seconds since 1970.
    """

    def __init__(
        self,
        entities: Sequence[str],
        categories: Mapping[str, tuple[str, ...]],
        numbers: Sequence[str],
        labelled: bool = False,
        groups: Sequence[str] | None = None,
        dated: bool = False,
    ) -> None:
        self.entities, self.categories, self.numbers = entities, categories, numbers
        self.labelled, self.groups, self.dated = labelled, groups, dated
        fields = [(_ROW, "i8"), (_LINE, "i8"), *((_CATEGORY + name, "i4") for name in categories)]
        fields += [(_NUMBER + name, "f4") for name in numbers]
        fields += [(_GROUP, "i4")] * (groups is not None) + [(_LABEL, "i1")] * labelled
        self.record = np.dtype(fields, align=True)
        self.rows = 0
        self._folder = Scratch()
        self._grouper = Grouper(self._folder.path / "events", self.record.itemsize, np.uint8, np.float64)

    def add(
        self,
        entity: ArrayLike,
        times: ArrayLike,
        categories: Mapping[str, ArrayLike],
        numbers: Mapping[str, ArrayLike],
        labels: ArrayLike | None = None,
        groups: ArrayLike | None = None,
        lines: ArrayLike = 0,
    ) -> None:
        """Some events: entities by code, times, categories by code, numbers, labels, groups by code, lines in the file.

        Raises `DataError` for a time that is missing.
        """
        owners, when = np.asarray(entity), np.asarray(times, np.float64)
        if not np.isfinite(when).all():
            row = self.rows + int(np.flatnonzero(~np.isfinite(when))[0])
            raise DataError("an event has no time", where=f"event {row}", fix="Leave it out, or write its time")
        records = np.zeros(len(owners), self.record)
        records[_ROW] = np.arange(self.rows, self.rows + len(owners))
        records[_LINE] = lines
        for name, codes in categories.items():
            records[_CATEGORY + name] = codes
        for name, values in numbers.items():
            records[_NUMBER + name] = np.asarray(values, np.float32)
        for name, given in ((_LABEL, labels), (_GROUP, groups)):
            if given is not None:
                records[name] = given
        self._grouper.add(owners, when, records.view(np.uint8).reshape(len(owners), self.record.itemsize))
        self.rows += len(owners)

    def close(self) -> Events:
        """The events in their order. Raises `DataError` where there are none, and for an entity in several groups."""
        if not self.rows:
            raise DataError("there are no events", expected="at least one")
        grouped = self._grouper.close()
        counts = self._grouper.counts
        present = np.flatnonzero(counts)
        records: Any = grouped.values.values.view(self.record).reshape(-1)
        entities = tuple(self.entities[code] for code in present.tolist())
        events = Events(
            entities=entities,
            offsets=np.append(0, counts[present].cumsum()).astype(np.int64),
            times=grouped.times.values,
            dated=self.dated,
            categories={name: Coded(records[_CATEGORY + name], words) for name, words in self.categories.items()},
            numbers={name: records[_NUMBER + name] for name in self.numbers},
            labels=records[_LABEL] if self.labelled else None,
            groups=entities,
            lines=records[_LINE],
            kept=self._folder,
        )
        events.notes.extend(_order_notes(events, records[_ROW]))
        if self.groups is not None:
            events = replace(events, groups=_groups(events, records[_GROUP], self.groups))
        self.result = events
        return events

    def __enter__(self) -> EventSorter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is None:
                self.close()
        except BaseException:
            self._grouper.__exit__(*sys.exc_info())
            raise
        if error is not None:
            self._grouper.__exit__(kind, error, trace)


def _groups(events: Events, groups: NDArray[np.int32], words: Sequence[str]) -> tuple[str, ...]:
    """Of each entity its group."""
    found: list[str] = []
    for first, last in events.blocks():
        begin, end = events.offsets[[first, last]].tolist()
        codes = np.array(groups[begin:end])
        events.looked(1, end - begin)
        own = codes[events.offsets[first:last] - begin]
        wrong = np.flatnonzero(codes != np.repeat(own, np.diff(events.offsets[first : last + 1])))
        if len(wrong):
            owner = int(events.owners_of(wrong[:1] + begin)[0])
            got = f"{words[own[owner - first]]!r} and {words[codes[wrong[0]]]!r}"
            fix = "Its events would stand in several parts; choose another column for --group"
            what = "an entity belongs to several groups"
            raise DataError(what, where=f"entity {events.entities[owner]!r}", got=got, fix=fix)
        found += [words[code] for code in own.tolist()]
    return tuple(found)


def _order_notes(events: Events, came: NDArray[np.int64]) -> list[str]:
    """What was moved, and what shares a moment; `came`: of each event its place before."""
    unsorted = same = 0
    for first, last in events.blocks():
        begin, end = events.offsets[[first, last]].tolist()
        inside = np.ones(end - begin, bool)
        inside[events.offsets[first:last] - begin] = False  # an entity's first event has none before
        unsorted += int((np.diff(came[begin:end]) < 0)[inside[1:]].sum())
        same += int((np.diff(events.times[begin:end]) == 0)[inside[1:]].sum())
        events.looked(1, end - begin)
    notes = [f"{unsorted:,} events came before one that is earlier, and were sorted by time"] if unsorted else []
    if same:
        notes.append(f"{same:,} events share entity and time with another; they keep the order of the file")
    return notes


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
    columns: dict[str, Any] = {"time": times, **{name: c.codes for name, c in categories.items()}, **numbers}
    columns |= {} if labels is None else {"label": labels}
    for name, values in columns.items():
        if len(np.asarray(values)) != rows:
            raise DataError("a column has another number of events", expected=rows, got=len(values), where=name)
    words = {name: column.words for name, column in categories.items()}
    sorter = EventSorter(entity.words, words, list(numbers), labels is not None, group and group.words, dated)
    with sorter:
        sorter.add(
            entity.codes,
            times,
            {name: column.codes for name, column in categories.items()},
            numbers,
            labels,
            group and group.codes,
            np.arange(1, rows + 1) if lines is None else lines,
        )
    return sorter.result
