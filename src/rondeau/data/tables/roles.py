"""Which column of a table says whom a row is about, when it was, and what is to be told of it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from rondeau.data.tables.by_values import class_by_values, entity_by_values, label_by_values, time_by_values
from rondeau.data.tables.coding import distinct, parts_of
from rondeau.data.tables.files import SUFFIXES, table_files
from rondeau.data.tables.table import Table, glance
from rondeau.data.texts.text_lines import suffix_of
from rondeau.errors import ArgumentError, DataError

LABELS = ("label", "class", "target", "fraud", "is_fraud", "isfraud", "outcome", "y", "activity", "category")
ENTITIES: tuple[str, ...] = (
    "entity",
    "series",
    "card",
    "customer",
    "client",
    "account",
    "user",
    "member",
    "person",
    "patient",
    "subject",
)
ENTITIES += ("device", "machine", "unit", "session", "sequence", "case", "recording", "sample", "name", "id")
HEAD = 5000  # rows
TIMES = ("time", "timestamp", "datetime", "date", "step", "seconds", "t", "index", "when")


class Roles(NamedTuple):
    """Columns by what they are for; `time` and `label` None where there is none."""

    entity: str
    time: str | None
    label: str | None


def find_roles(
    table: Table, entity: str | None = None, time: str | None = None, label: str | None = None, labelled: bool = True
) -> Roles:
    """The columns asked for; where none is, what a column's name and contents say, or its contents alone.

    Contents alone decide nothing where rows need no label (`labelled`), as in data to be answered: these may be few.

    Raises `DataError` for a column that is not there, or a role that no column plays, saying how to name one.
    """
    for asked in (entity, time, label):
        if asked is not None:
            table[asked]  # says what is near where there is none
    found = Roles(entity or "", time, label or guess_label(table))
    found = found._replace(entity=entity or guess_entity(table, {found.label, time}) or "")
    found = found._replace(time=time or guess_time(table, {found.label, found.entity}))
    if labelled:
        found = _by_values(table, found, asked=label is not None)
        if found.label is None:
            raise _none("what is to be told", "--label", table, LABELS)
    if not found.entity:
        raise _none("whom a row is about", "--entity", table, ENTITIES)
    return found


def _by_values(table: Table, found: Roles, asked: bool) -> Roles:
    """Roles that no name has shown, by what columns hold; a label by name alone has to be one, unless it was asked."""
    entity = found.entity or entity_by_values(table, {found.label, found.time})
    time = found.time or time_by_values(table, entity, {found.label})
    label = found.label
    if not asked and not (label and _tells(table, entity, label)):
        label = label_by_values(table, entity, {time}) or class_by_values(table, entity, {time}) or label
    return Roles(entity or "", time, label)


def first_rows(path: Path) -> Table | None:
    """The first rows of a table, enough to see what is in its columns; None where there is none."""
    if path.is_file() and suffix_of(path) not in SUFFIXES:
        return None
    return glance(path, HEAD) if table_files(path) else None


def guess_label(table: Table) -> str | None:
    """A column called label, class, fraud or the like; None where there is none."""
    return _named(table.columns, LABELS)


def guess_entity(table: Table, taken: Iterable[str | None] = ()) -> str | None:
    """A column called after what rows may be about, whose values come again."""
    free = [name for name in table.columns if name not in set(taken)]
    most = max(1, len(table) // 2)
    return _named(free, ENTITIES, lambda name: 1 <= _distinct(table, name, most) <= most)


def guess_time(table: Table, taken: Iterable[str | None] = ()) -> str | None:
    """The first column of dates, or one of numbers called time, step or the like."""
    free = [name for name in table.columns if name not in set(taken)]
    dates = [name for name in free if table[name].kind == "time"]
    return dates[0] if dates else _named([name for name in free if table[name].kind == "number"], TIMES)


def one_label_each(table: Table, entity: str, label: str) -> bool | None:
    """Whether all rows of an entity have one label; None where all rows of the table have."""
    owners, labels = _codes(table, entity), _codes(table, label)
    if len(np.unique(labels)) < 2:
        return None
    pairs = len(np.unique(np.stack([owners, labels]), axis=1).T)
    return pairs == len(np.unique(owners)) and pairs < len(owners)


def _tells(table: Table, entity: str | None, label: str) -> bool:
    """Whether a column that is called like a label is one: of two values at most, or one for each entity. Of what is
    called label or fraud no doubt is left."""
    return (
        bool({"label", "fraud"} & set(_words(label)))
        or entity is None
        or label_values(table, label) <= 2
        or one_label_each(table, entity, label) is not False
    )


def label_values(table: Table, label: str) -> int:
    """How many different labels there are."""
    return _distinct(table, label)


def check_features(names: Sequence[str], roles: Roles, table: Table) -> None:
    """Raise `ArgumentError` for the label's column among the features, or the entity's or time's."""
    for role, column in zip(("label", "entity", "time"), (roles.label, roles.entity, roles.time), strict=True):
        if column in names and role != "time":
            fix = "Take it out of --categories and --numbers, or of --channels"
            what = f"the column of the {role} is among the features"
            raise ArgumentError(what, got=column, where=table.path, fix=fix)


def check_leaks(table: Table, features: Sequence[str], label: str) -> None:
    """Raise `DataError` for a feature that is the label by another name: each of its values goes with one label, and
    there are no more of them than labels."""
    answers = table[label]
    told = distinct(parts_of([answers])).values
    classes = len(told)
    for name in features:
        values = distinct(parts_of([table[name]]), classes).values
        if classes < 2 or len(values) != classes:
            continue
        pairs: set[int] = set()
        for _, (own, said) in parts_of([table[name], answers]):
            numbers = np.searchsorted(values, own) * classes + np.searchsorted(told, said)
            pairs.update(np.unique(numbers).tolist())
        if len(pairs) == classes:
            fix = f"It would give the answer away; leave it out: --leave-out {name}"
            raise DataError("a column says the same as the label", got=name, where=f"{table.path}, {label}", fix=fix)


def _codes(table: Table, name: str) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    codes = np.unique(table[name].values, return_inverse=True)[1]
    return codes.reshape(-1).astype(np.int64)


def _distinct(table: Table, name: str, most: int | None = None) -> int:
    """How many different values a column has, some more than `most` at most; of words how many the table has had."""
    column = table[name]
    return len(column.labels) if column.kind == "category" else len(distinct(parts_of([column]), most).values)


def _words(name: str) -> list[str]:
    """A column's name in words: `isFraud` and `is_fraud` are is, fraud."""
    return re.findall(r"[a-z]+|\d+", re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower())


def _named(
    columns: Iterable[str], wanted: Sequence[str], good: Callable[[str], bool] = lambda name: True
) -> str | None:
    """The first of the wanted words that a column is called, or has in its name, and that column, if it is `good`."""
    names = list(columns)
    for word in wanted:
        whole = [name for name in names if name.lower() == word and good(name)]
        if whole:
            return whole[0]
    for word in wanted:
        if len(word) > 1:  # a single letter within a name says nothing
            inside = [name for name in names if word in _words(name) and good(name)]
            if inside:
                return inside[0]
    return None


def _none(what: str, option: str, table: Table, wanted: Sequence[str]) -> DataError:
    expected = f"a column such as {', '.join(wanted[:5])}"
    fix = f"Name it: {option} COLUMN"
    return DataError(
        f"no column says {what}", expected=expected, got=", ".join(table.columns), where=table.path, fix=fix
    )
