"""Where events come from, and how they are divided: by entity, in time, or both."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rondeau.data.disk.mapped import in_blocks
from rondeau.data.faults import Faults
from rondeau.data.made.cards import made_transactions
from rondeau.data.splits import cuts_in_time, shared, split_rows
from rondeau.data.tables.event_table import Columns, choose_columns, events_of
from rondeau.data.tables.events import Events
from rondeau.data.tables.roles import Roles
from rondeau.data.tables.table import glance, read_table
from rondeau.data.texts.vocabulary import UNKNOWN
from rondeau.errors import CheckpointError
from rondeau.tasks.events.pieces import pieces
from rondeau.tasks.events.preparation import EventPreparation

if TYPE_CHECKING:
    from rondeau.tasks.events.task import EventSettings

LEAST = 5  # events of a history from which on another that is the same is no chance


@dataclass(frozen=True)
class EventColumns:
    """The columns of a run's data: those of the roles, the features, and what of the label is looked for."""

    roles: Roles
    categories: tuple[str, ...]
    numbers: tuple[str, ...]
    positive: str

    def of_table(self) -> Columns:
        """As the reader takes them."""
        return Columns(self.roles, list(self.categories), list(self.numbers), self.positive)

    def to_json(self) -> dict[str, Any]:
        """As `from_json` takes it."""
        features = {"categories": list(self.categories), "numbers": list(self.numbers)}
        return {**self.roles._asdict(), **features, "positive": self.positive}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> EventColumns:
        """What `to_json` gave. Raises `CheckpointError` for anything else."""
        try:
            roles = Roles(data["entity"], data["time"], data["label"])
            return cls(roles, tuple(data["categories"]), tuple(data["numbers"]), str(data["positive"]))
        except (KeyError, TypeError) as error:
            raise CheckpointError("the columns of events are damaged", got=repr(error)) from error


MADE = EventColumns(Roles("card", "time", "fraud"), ("shop", "country", "channel"), ("amount",), "1")


def find_events(settings: EventSettings, faults: Faults) -> tuple[str, Events, EventColumns, list[str]]:
    """The name, the events, their columns, and what was decided; made ones where there is no path."""
    s = settings
    if s.path is None:
        return "made card transactions", made_transactions(seed=s.seed), MADE, []
    columns_read = _without(s.path, s.leave_out, s.encoding) if s.leave_out else None
    table = read_table(s.path, faults, columns=columns_read, encoding=s.encoding)
    columns, notes = choose_columns(
        table, s.entity, s.time, s.label, s.positive, s.categories, s.numbers, group=s.group
    )
    events = events_of(table, columns, s.group, faults)
    kept = EventColumns(columns.roles, tuple(columns.categories), tuple(columns.numbers), str(columns.positive))
    return Path(s.path).name, events, kept, notes


def _without(path: str, left_out: tuple[str, ...], encoding: str) -> list[str]:
    """The columns of a table but for some, which are not even read. Raises `DataError` for one that is not there."""
    table = glance(path, encoding=encoding)
    for name in left_out:
        table[name]
    return [name for name in table.columns if name not in left_out]


def read_like(
    columns: EventColumns, features: EventPreparation, path: str, settings: EventSettings, labelled: bool
) -> Events:
    """Events of another table with a run's columns. Raises `DataError` where one is missing or of another kind."""
    kinds = dict.fromkeys(columns.categories, "category") | dict.fromkeys(columns.numbers, "number")
    faults = Faults(settings.on_error)
    table = read_table(path, faults, kinds=kinds, encoding=settings.encoding)
    for name in (columns.roles.entity, str(columns.roles.time), *([str(columns.roles.label)] if labelled else [])):
        table[name]
    events = events_of(table, columns.of_table(), None, faults)
    features.check(events)
    if faults.total:
        events.notes.append(f"left out: {faults.describe()}")
    unknown = {name: _unknown(events, features, name) for name in columns.categories}
    told = [f"{count:,} of {name!r}" for name, count in unknown.items() if count]
    if told:
        events.notes.append(f"words that the training part did not have: {', '.join(told)}")
    gone = {name: _absent(events.numbers[name]) for name in columns.numbers}
    told = [f"{n:,} of {name!r}" for name, n in gone.items() if n and not features.scales[name].missing]
    if told:
        events.notes.append(f"missing, as none was in training, and taken for the mean: {', '.join(told)}")
    return events


def _unknown(events: Events, features: EventPreparation, name: str) -> int:
    column = events.categories[name]
    unknown = features.table(name, column) == UNKNOWN
    return sum(int(unknown[codes].sum()) for _, (codes,) in in_blocks(column.codes))


def _absent(values: NDArray[np.float32]) -> int:
    return sum(int(np.isnan(part).sum()) for _, (part,) in in_blocks(values))


class Division(NamedTuple):
    """Tables of pieces for training, validation and test, what tells them from others, and notes."""

    tables: list[NDArray[np.int64]]
    digest: str
    notes: list[str]


def divide_events(events: Events, settings: EventSettings, faults: Faults) -> Division:
    """By entity or group, in time, or both.

    In time, all entities are in all parts, and an event that is held out is judged by a past that the model has learnt
    from; the later part never shows in the earlier. By entity, no event of an entity that is held out is learnt from.
    An entity of the training part with the same history as one held out has leaked, and goes through `faults`: where
    these are skipped, it is left out of the training part.
    """
    s = settings
    shares = (s.validation, s.test)
    everyone = np.arange(len(events.entities))
    owners, notes = [everyone] * 3, []
    if s.split != "time":
        found = split_rows(events.groups, *shares, s.seed, _labels(events))
        owners = [*found]
        owners[0] = _without_leaks(events, owners, faults)
        notes.append("held out: whole entities" + (f" by {s.group!r}" if s.group else ""))
    ends = [(-np.inf, np.inf)] * 3
    if s.split != "entity":
        first, second = cuts_in_time(lambda: (part for _, (part,) in in_blocks(events.times)), *shares)
        ends = [(-np.inf, first), (first, second), (second, np.inf)]
        notes.append("held out: the last events; each is judged by all before it, those of earlier parts among them")
    tables = [pieces(events, rows, begin, end, s.longest) for rows, (begin, end) in zip(owners, ends, strict=True)]
    return Division(tables, _digest(events, tables), notes)


def _labels(events: Events) -> list[bool] | None:
    """Of each entity whether it has a positive event."""
    if events.labels is None:
        return None
    found = []
    for block in events.blocks():
        part = events.part(*block)
        found += (np.bincount(part.owners, part.labels == 1, len(part.entities)) > 0).tolist()
    return found


def _without_leaks(events: Events, owners: list[NDArray[np.int64]], faults: Faults) -> NDArray[np.int64]:
    lengths = np.diff(events.offsets)
    digests = events.digests()
    known = {digests[i]: i for i in owners[0].tolist() if lengths[i] >= LEAST}
    held = [digests[i] for part in owners[1:] for i in part.tolist()]
    leaks = set(shared(known, held))
    for digest in leaks:
        where = f"entity {events.entities[known[digest]]!r}"
        other = next(events.entities[i] for part in owners[1:] for i in part.tolist() if digests[i] == digest)
        what = "an entity of the training part has the same events as one that is held out"
        faults.add(what, where=where, got=f"{other!r}", fix="Give both the same --group, or leave one out")
    return np.array([i for i in owners[0].tolist() if digests[i] not in leaks], np.int64)


def _digest(events: Events, tables: list[NDArray[np.int64]]) -> str:
    whole = hashlib.blake2b(digest_size=16)
    columns: list[NDArray[Any]] = [events.offsets, events.times]
    columns += [column.codes for column in events.categories.values()]
    columns += [*events.numbers.values(), *([] if events.labels is None else [events.labels])]
    for column in columns:
        for _, (part,) in in_blocks(column):
            whole.update(part.tobytes())
    for table in tables:
        whole.update(table.tobytes() + b"|")
    return whole.hexdigest()
