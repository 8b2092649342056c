"""Labelled series from long tables: a row a step, with columns for the series, the time, the label and the channels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from rondeau.data.faults import Faults
from rondeau.data.series.ts import Series
from rondeau.data.tables.roles import Roles, check_features, find_roles
from rondeau.data.tables.table import Table
from rondeau.errors import DataError


@dataclass(frozen=True)
class SeriesTable:
    """Series, what each is called and belongs to (`groups`), the names of the `channels`, the columns' `roles`, and
    what was done."""

    series: list[Series]
    names: list[str]
    groups: list[str]
    channels: list[str]
    roles: Roles
    notes: list[str] = field(default_factory=list)


def series_of(
    table: Table,
    faults: Faults | None = None,
    series: str | None = None,
    time: str | None = None,
    label: str | None = None,
    channels: Sequence[str] = (),
    group: str | None = None,
    labelled: bool = True,
) -> SeriesTable:
    """The series of a long table.

    Args:
        series, time, label: columns (default: recognised by their names); without a time the rows' order counts.
        channels: columns of numbers (default: all others); group: column of what a series belongs to.
        labelled: whether each series needs a label.

    Through `faults` goes a series of several labels, or with two rows of one moment, or without a label. Raises
    `DataError` for columns that are not there or do not fit, `ArgumentError` for the label among the channels.
    """
    faults = Faults() if faults is None else faults
    roles = find_roles(table, series, time, label, labelled)
    names = _channels(table, roles, channels, group)
    notes = [f"series by {roles.entity!r}, in the order of {repr(roles.time) if roles.time else 'the rows'}"]
    owners = table[roles.entity]
    codes = np.unique(owners.values, return_inverse=True)[1].reshape(-1)
    when = _order(table, roles.time)
    order = np.lexsort((np.arange(len(codes)), when, codes)) if roles.time else np.argsort(codes, kind="stable")
    unsorted = int(((np.diff(codes) == 0) & (np.diff(when) < 0)).sum())
    if unsorted and roles.time:
        notes.append(f"{unsorted:,} rows came before an earlier one of their series, and were sorted by {roles.time!r}")
    values = np.stack([table[name].values[order] for name in names], axis=1).astype(np.float32)
    ends = np.append(np.flatnonzero(np.diff(codes[order])) + 1, len(order))
    made = SeriesTable([], [], [], names, roles, notes)
    for begin, end in zip(np.append(0, ends[:-1]).tolist(), ends.tolist(), strict=True):
        rows = order[begin:end]
        name = str(owners.texts(rows[:1])[0] if owners.kind == "category" else owners.values[rows[0]])
        where = f"{table.where(int(rows[0]))}, series {name!r}"
        answer = _label(table, roles.label, rows, where, faults, labelled)
        if labelled and answer is None:
            continue
        same = np.flatnonzero(np.diff(when[rows]) == 0) if roles.time else np.zeros(0, np.int64)
        if len(same):
            what = "two rows of a series are of one moment"
            faults.add(what, where=f"{table.where(int(rows[same[0] + 1]))}, series {name!r}", fix="Leave one out")
            continue
        made.series.append(Series(values[begin:end], answer, where=where))
        made.names.append(name)
        made.groups.append(_group(table, group, rows, where) if group else name)
    if not made.series:
        raise DataError("no series is left", where=table.path)
    return made


def _channels(table: Table, roles: Roles, asked: Sequence[str], group: str | None) -> list[str]:
    taken = {*roles, group}
    names = list(asked) if asked else [n for n in table.of_kind("number") if n not in taken]
    check_features(names, roles, table)
    for name in names:
        if table[name].kind != "number":
            got = f"{name!r}, {table[name].kind}"
            raise DataError("a channel holds no numbers", expected="a column of numbers", got=got, where=table.path)
    if not names:
        got = ", ".join(table.columns)
        raise DataError("the table has no channel", expected="a column of numbers", got=got, where=table.path)
    return names


def _order(table: Table, time: str | None) -> NDArray[np.float64]:
    if time is None:
        return np.zeros(len(table))
    column = table[time]
    if column.kind == "category":
        fix = "Name another: --time COLUMN"
        raise DataError("the column of the time holds words", got=time, where=table.path, fix=fix)
    if column.missing.any():
        row = int(np.flatnonzero(column.missing)[0])
        raise DataError("a row has no time", where=f"{table.where(row)}, {time}", fix="Leave the row out")
    return column.values.astype(np.int64 if column.kind == "time" else np.float64).astype(np.float64)


def _label(
    table: Table, name: str | None, rows: NDArray[np.int64], where: str, faults: Faults, labelled: bool
) -> str | None:
    if name is None:
        return None
    found = sorted({word for word in table[name].words(rows) if word})
    if len(found) > 1:
        if labelled:
            fix = "A label for each row is the matter of --task events"
            faults.add("a series has several labels", where=where, got=", ".join(found[:5]), fix=fix)
        return None
    if not found and labelled:
        faults.add("a series has no label", where=where)
    return found[0] if found else None


def _group(table: Table, group: str, rows: NDArray[np.int64], where: str) -> str:
    found = sorted(set(table[group].words(rows)))
    if len(found) > 1:
        fix = "Its rows would stand in several parts; choose another column for --group"
        raise DataError("a series belongs to several groups", where=where, got=", ".join(found[:5]), fix=fix)
    return found[0]
