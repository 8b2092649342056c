"""Events from tables: a row an event, with columns for the entity, the time, the label, categories and numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rondeau.data.faults import Faults
from rondeau.data.series.labelled import words_of
from rondeau.data.tables.events import MISSING, Coded, Events, sorted_events
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
    column = coded(table, label)
    tally = np.bincount(column.codes, minlength=len(column.words))
    there = sorted((word, int(n)) for word, n in zip(column.words, tally, strict=True) if n and word != MISSING)
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
    time = str(roles.time)  # there is one, or `choose_columns` would have said so
    wanted = [roles.entity, time]
    good = np.ones(len(table), bool)
    for name, what in zip(wanted, ("an event has no entity", "an event has no time"), strict=True):
        for row in np.flatnonzero(table[name].missing):
            if good[row]:
                faults.add(what, where=f"{table.where(int(row))}, {name}")
            good[row] = False
    if not good.all():
        table = table.take(good)
    when = table[time]
    dated = when.kind == "time"
    if when.kind == "category":
        raise DataError("the column of the time holds words", got=time, where=table.path)
    times = when.values.astype("datetime64[us]").astype(np.int64) / 1e6 if dated else when.values
    events = sorted_events(
        coded(table, roles.entity),
        times,
        {name: coded(table, name) for name in columns.categories},
        {name: _numbers(table, name) for name in columns.numbers},
        _labels(table, columns),
        coded(table, group) if group else None,
        dated,
        _lines(table),
    )
    return events


def _lines(table: Table) -> NDArray[np.int64]:
    """Of each row its line in the file."""
    begins = np.array([begin for begin, _, _ in table.places])
    first = np.array([line for _, _, line in table.places])
    rows = np.arange(len(table))
    held = np.searchsorted(begins, rows, "right") - 1
    return np.asarray(first[held] + rows - begins[held], np.int64)


def coded(table: Table, name: str) -> Coded:
    """A column as words; missing ones are a word of their own."""
    column = table[name]
    if column.kind == "category":
        absent = column.values < 0
        if not absent.any():
            return Coded(column.values.astype(np.int32), column.labels)
        filled = np.where(absent, len(column.labels), column.values).astype(np.int32)
        return Coded(filled, (*column.labels, MISSING))
    first, codes = np.unique(column.values, return_index=True, return_inverse=True)[1:]
    words = tuple(word or MISSING for word in words_of(table, name, first))
    return Coded(codes.reshape(-1).astype(np.int32), words)


def _numbers(table: Table, name: str) -> NDArray[np.float64]:
    if table[name].kind != "number":
        what = "a column that held numbers in training holds none"
        raise DataError(what, got=f"{name}, {table[name].kind}", where=table.path)
    values: NDArray[np.float64] = table[name].values
    return values


def _labels(table: Table, columns: Columns) -> NDArray[np.int8] | None:
    label = columns.roles.label
    if label is None or label not in table:
        return None
    column = coded(table, label)
    by_word = np.array([-1 if word == MISSING else int(word == columns.positive) for word in column.words], np.int8)
    labels: NDArray[Any] = by_word[column.codes]
    return labels


def _useless(column: Column, rows: int) -> str | None:
    """Why a column is no feature; None where it is one."""
    if column.kind == "time":
        return "it is another time"
    if (column.values == column.values[0]).all():
        return "it is the same everywhere"
    distinct = len(column.labels)
    if column.kind == "category" and (distinct == rows or distinct > max(UNIQUE * rows, 20)):
        return "hardly any of its words comes twice"
    return None
