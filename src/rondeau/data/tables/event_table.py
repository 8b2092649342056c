"""Events from tables: a row an event, with columns for the entity, the time, the label, categories and numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rondeau.data.disk.mapped import in_blocks
from rondeau.data.faults import Faults
from rondeau.data.progress import Meter
from rondeau.data.tables.coding import MISSING, Coder, parts_of, tallies
from rondeau.data.tables.event_sorter import EventSorter
from rondeau.data.tables.events import Events
from rondeau.data.tables.roles import Roles, check_features, check_leaks, find_roles
from rondeau.data.tables.table import Column, Table
from rondeau.errors import ArgumentError, DataError

POSITIVE = ("1", "true", "yes", "y", "t", "fraud", "positive", "pos", "bad", "anomaly")
UNIQUE = 0.5  # a category with more words than this share of the rows tells rows apart, and nothing about others


class Columns(NamedTuple):
    """What of a table is used: roles, features, and which word of the label is positive."""

    roles: Roles
    categories: list[str]
    numbers: list[str]
    positive: str | None


def choose_columns(
    table: Table,
    entity: str | None = None,
    time: str | None = None,
    label: str | None = None,
    positive: str | None = None,
    categories: Sequence[str] = (),
    numbers: Sequence[str] = (),
    leave_out: Sequence[str] = (),
    group: str | None = None,
) -> tuple[Columns, list[str]]:
    """The columns asked for, or recognised, and in words what was decided.

    Raises `DataError` for columns that are missing, give the label away, or a label that has not two values;
    `ArgumentError` for the label among the features.
    """
    for name in (*categories, *numbers, *leave_out, *([group] if group else [])):
        table[name]
    roles = find_roles(table, entity, time, label)
    if roles.time is None:
        fix = "Name the column that says when an event was: --time COLUMN"
        raise DataError("no column says when an event was", got=", ".join(table.columns), where=table.path, fix=fix)
    check_features([*categories, *numbers], roles, table)
    notes = [f"events of each {roles.entity!r}, in the order of {roles.time!r}; to be told: {roles.label!r}"]
    taken = {*roles, *leave_out, group}
    free = [column for name, column in table.columns.items() if name not in taken]
    words, figures = list(categories), list(numbers)
    if not categories and not numbers:
        for column in free:
            why = _useless(column, len(table))
            if why is None:
                (words if column.kind == "category" else figures).append(column.name)
            else:
                notes.append(f"column {column.name!r} is left out: {why}")
    for name in figures:
        if table[name].kind != "number":
            fix = "Give it to --categories"
            raise DataError("a column holds no numbers", got=name, where=table.path, fix=fix)
    label_name = str(roles.label)  # there is one, or `find_roles` would have said so
    check_leaks(table, [*words, *figures], label_name)
    word = positive_word(table, label_name, positive)
    features = ", ".join([*words, *figures]) or "the time alone"
    notes.append(f"{word!r} is what is looked for in {roles.label!r}; features: {features}")
    return Columns(roles, words, figures, word), notes


def positive_word(table: Table, label: str, asked: str | None) -> str:
    """The label's word that is looked for: the one asked for, a usual one such as 1, true or fraud, else the rarer.

    Raises `DataError` for a label of one value, or more than two.
    """
    there = sorted((word, n) for word, n in tallies(table, label).items() if n and word != MISSING)
    words, counts = [word for word, _ in there], np.array([n for _, n in there])
    if asked is not None and asked not in words:
        raise ArgumentError("positive", expected=f"a value of {label!r}: {', '.join(words[:10])}", got=asked)
    if len(words) < 2:
        got = f"{counts[0]:,} times {words[0]!r}" if words else "none"
        raise DataError("the label has one value only", expected="two", got=got, where=f"{table.path}, {label}")
    if asked is not None:
        return asked
    if len(words) > 2:
        fix = "Say which of them is looked for, against all others: --positive VALUE"
        got = ", ".join(words[:10])
        raise DataError("the label has more than two values", expected="two", got=got, where=label, fix=fix)
    known = [word for word in words if word.lower() in POSITIVE]
    return known[0] if len(known) == 1 else words[int(counts.argmin())]


def events_of(table: Table, columns: Columns, group: str | None = None, faults: Faults | None = None) -> Events:
    """The events of a table; a row without an entity or a time goes through `faults`.

    Without the label's column the events have no labels, as where they are to be scored.
    """
    faults = Faults() if faults is None else faults
    roles = columns.roles
    entity, when = table[roles.entity], table[str(roles.time)]  # there is one, or `choose_columns` would have said so
    if when.kind == "category":
        raise DataError("the column of the time holds words", got=when.name, where=table.path)
    needed = (entity, when)
    _tell_missing(table, needed, faults)
    figures = [_number(table, name) for name in columns.numbers]
    label = None if roles.label is None or roles.label not in table else table[roles.label]
    others = [table[name] for name in columns.categories] + [c for c in (label, group and table[group]) if c]
    coders = {column.name: Coder(column, needed) for column in (entity, *others)}
    labels = None if label is None else _labels(coders[label.name].words, columns)
    sorter = EventSorter(
        coders[entity.name].words,
        {name: coders[name].words for name in columns.categories},
        columns.numbers,
        labels is not None,
        coders[group].words if group else None,
        when.kind == "time",
    )
    used = list({column.name: column for column in (entity, when, *others, *figures)}.values())
    with sorter, Meter("sorting events", len(table), "rows") as meter:
        for rows, parts in parts_of(used, needed):
            given = dict(zip((column.name for column in used), parts, strict=True))
            codes = {name: coder.codes(given[name]) for name, coder in coders.items()}
            times = given[when.name]
            sorter.add(
                codes[entity.name],
                times.astype("datetime64[us]").astype(np.int64) / 1e6 if when.kind == "time" else times,
                {name: codes[name] for name in columns.categories},
                {name: given[name] for name in columns.numbers},
                None if labels is None or label is None else labels[codes[label.name]],
                codes[group] if group else None,
                table.lines(rows),
            )
            meter.advance(len(rows))
    return sorter.result


def _tell_missing(table: Table, needed: Sequence[Column], faults: Faults) -> None:
    """Rows without an entity, and of the others those without a time."""
    entity, when = needed
    for begin, (owners, times) in in_blocks(entity.values, when.values):
        gone = entity.lacks(owners)
        for column, absent, what in (
            (entity, gone, "an event has no entity"),
            (when, when.lacks(times) & ~gone, "an event has no time"),
        ):
            for row in np.flatnonzero(absent).tolist():
                faults.add(what, where=f"{table.where(begin + row)}, {column.name}")


def _number(table: Table, name: str) -> Column:
    column = table[name]
    if column.kind != "number":
        what = "a column that held numbers in training holds none"
        raise DataError(what, got=f"{name}, {column.kind}", where=table.path)
    return column


def _labels(words: Sequence[str], columns: Columns) -> NDArray[np.int8]:
    """Of each of the label's words what it says."""
    return np.array([-1 if word == MISSING else int(word == columns.positive) for word in words], np.int8)


def _useless(column: Column, rows: int) -> str | None:
    """Why a column is no feature; None where it is one."""
    if column.kind == "time":
        return "it is another time"
    if all((values == column.values[0]).all() for _, (values,) in in_blocks(column.values)):
        return "it is the same everywhere"
    distinct = len(column.labels)
    if column.kind == "category" and (distinct == rows or distinct > max(UNIQUE * rows, 20)):
        return "hardly any of its words comes twice"
    return None
