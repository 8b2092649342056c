"""Time series from a table: one or many, a row for each value or a column for each series, on a regular beat."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rondeau.data.faults import Faults
from rondeau.data.series.beat import Step, step_of
from rondeau.data.series.shape import Shape
from rondeau.data.tables.kinds import STAMPS
from rondeau.data.tables.table import Column, Table
from rondeau.errors import DataError

_WIDEST = 20  # times as many steps as rows: beyond that a stamp is wrong rather than values missing


@dataclass(frozen=True)
class SeriesSet:
    """Series one after another, each on its beat: series i is `values[offsets[i]:offsets[i + 1]]`.

    Attributes:
        names: `(series,)`; offsets: `(series + 1,)`.
        values: `(steps,)` float64, NaN where missing.
        stamps: `(steps,)` datetime64[us], or int64 of a column that counts or where there is none.
        step: how stamps follow each other.
        numbers: known covariates by name, `(steps,)`, NaN where missing; words: those of categories as lists of words.
        future: steps after each series' last value for which covariates are given, `(series,)`; they are part of it.
        notes: what was recognised.
    """

    names: list[str]
    offsets: NDArray[np.int64]
    values: NDArray[np.float64]
    stamps: NDArray[Any]
    step: Step
    numbers: dict[str, NDArray[np.float64]] = field(default_factory=dict)
    words: dict[str, Column] = field(default_factory=dict)
    future: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    notes: list[str] = field(default_factory=list)

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Steps of each series up to its last value, `(series,)`."""
        whole: NDArray[np.int64] = self.offsets[1:] - self.offsets[:-1]
        return whole - self.future if len(self.future) else whole

    def __len__(self) -> int:
        return len(self.names)

    def part(self, series: int, begin: int, end: int) -> NDArray[np.float64]:
        """Values of a series from step to step."""
        start = int(self.offsets[series])
        return self.values[start + begin : start + end]


def read_series(table: Table, shape: Shape, faults: Faults | None = None) -> SeriesSet:
    """The series of a table, on a regular beat where stamps have one: steps that no row has are missing values.

    Rows after a series' last value that give only covariates are its future. Through `faults`: a missing value or step,
    a missing, unsorted or repeated stamp, a row without its series' name. Stamps without a beat are taken as they come.

    Raises `DataError` for those, and for a table without any value.
    """
    faults = faults or Faults()
    counted = shape.time is None or table[shape.time].kind == "number"
    stamps, good = _stamps_of(table, shape, faults)
    if shape.wide:
        names = list(shape.targets)
        series = np.repeat(np.arange(len(names)), len(stamps))
        values = np.concatenate([table[name].values for name in names])
        rows = np.tile(np.arange(len(stamps)), len(names))
    else:
        series, names = _series_of(table, shape, good, faults)
        values, rows = table[shape.targets[0]].values, np.arange(len(stamps))
    keep = good[rows]
    series, values, rows = series[keep], np.asarray(values)[keep], rows[keep]
    rows, series, values = _sorted(table, stamps, series, values, rows, faults, shape, names)
    if not len(rows) or np.isnan(values).all():
        raise DataError("the table holds no value to forecast from", where=table.path)
    notes = [*shape.notes]
    step = step_of(stamps[rows], series, counted)
    if shape.time is not None:
        notes.append(f"a value comes {step.describe()}")
    made, held = _laid_out(table, shape, step, stamps, names, rows, series, values, notes)
    _tell_missing(table, made, held, faults)
    return made


def _stamps_of(table: Table, shape: Shape, faults: Faults) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    if shape.time is None:
        return np.arange(table.rows, dtype=np.int64), np.ones(table.rows, bool)
    column = table[shape.time]
    good = ~column.missing
    for row in np.flatnonzero(~good):
        faults.add("a time stamp is missing", where=table.where(int(row)), got=f"column {shape.time!r} is empty")
    if column.kind == "number":
        return np.where(good, np.rint(np.nan_to_num(column.values)), 0).astype(np.int64), good
    return column.values, good


def _series_of(
    table: Table, shape: Shape, good: NDArray[np.bool_], faults: Faults
) -> tuple[NDArray[np.int64], list[str]]:
    """Of each row the number of its series, and their names: words of a column, or files where moments repeat."""
    if shape.entity is not None:
        column = table[shape.entity]
        for row in np.flatnonzero(column.missing):
            good[row] = False
            faults.add(
                "a row does not say its series", where=table.where(int(row)), got=f"column {shape.entity!r} is empty"
            )
        if column.kind != "category":
            found, numbers = np.unique(column.values, return_inverse=True)
            return numbers.astype(np.int64), [f"{value:g}" for value in found]
        return column.values.astype(np.int64), list(column.labels)
    starts = [place[0] for place in table.places]
    files = list(dict.fromkeys(place[1] for place in table.places))
    if len(files) > 1:
        of_place = np.asarray([files.index(place[1]) for place in table.places])
        shape.notes.append(f"each of the {len(files)} files is a series")
        return of_place[np.searchsorted(starts, np.arange(table.rows), "right") - 1], files
    return np.zeros(table.rows, np.int64), [shape.targets[0]]


def _sorted(
    table: Table,
    stamps: NDArray[Any],
    series: NDArray[np.int64],
    values: NDArray[np.float64],
    rows: NDArray[np.int64],
    faults: Faults,
    shape: Shape,
    names: Sequence[str],
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Rows by series and stamp, each stamp once; what was out of order or came twice is told."""
    stable = np.argsort(series, kind="stable")  # by series, in the file's order
    rows, series, values = rows[stable], series[stable], values[stable]
    moments = stamps[rows]
    same = np.diff(series) == 0
    back = same & (np.diff(moments).astype(np.int64) < 0)
    for at in np.flatnonzero(back) + 1 if not shape.wide else np.flatnonzero(back[: len(stamps) - 1]) + 1:
        got = f"{_moment(moments[at])} after {_moment(moments[at - 1])}{_of(names, series[at])}"
        faults.add(
            "time stamps are not in order", where=table.where(int(rows[at])), got=got, fix="Sort the file by time"
        )
    if back.any():
        order = np.lexsort((moments, series))
        rows, series, values, moments = rows[order], series[order], values[order], moments[order]
    twice = np.concatenate([[False], (np.diff(series) == 0) & (np.diff(moments).astype(np.int64) == 0)])
    told = twice if not shape.wide else twice & (series == 0)
    fix = None if shape.entity else "If rows belong to several series, say what tells them apart: --entity COLUMN"
    for at in np.flatnonzero(told):
        got = f"{_moment(moments[at])}, also at {table.where(int(rows[at - 1]))}{_of(names, series[at])}"
        faults.add("a time stamp comes twice", where=table.where(int(rows[at])), got=got, fix=fix)
    keep = ~twice
    return rows[keep], series[keep], values[keep]


def _of(names: Sequence[str], series: Any) -> str:
    return f" in series {names[int(series)]!r}" if len(names) > 1 else ""


def _moment(stamp: Any) -> str:
    text = str(stamp)
    return text.removesuffix(".000000").removesuffix("T00:00:00")


def _laid_out(
    table: Table,
    shape: Shape,
    step: Step,
    stamps: NDArray[Any],
    names: list[str],
    rows: NDArray[np.int64],
    series: NDArray[np.int64],
    values: NDArray[np.float64],
    notes: list[str],
) -> tuple[SeriesSet, NDArray[np.int64]]:
    """Each row at its place on the beat of its series, and of each step its row, -1 where it has none."""
    present, series = np.unique(series, return_inverse=True)
    names = [names[i] for i in present]
    begins = np.searchsorted(series, np.arange(len(names)))
    moments = stamps[rows]
    if step.unit == "irregular":
        places = np.arange(len(rows)) - begins[series]
    else:
        exact = step.places(moments, moments[begins][series])
        places = np.rint(exact).astype(np.int64)
        off = np.abs(exact - places) > 1e-6
        if off.any():
            notes.append(f"{int(off.sum())} stamps are off the beat and moved to the nearest step")
        places = _apart(places, series)
    sizes = np.maximum.reduceat(places, begins) + 1
    if sizes.sum() > _WIDEST * len(rows) + 1000:
        worst = int((sizes / np.bincount(series)).argmax())
        what = "the time stamps leave far more steps out than they give"
        got = f"{np.bincount(series)[worst]} values on {sizes[worst]:,} steps in series {names[worst]!r}"
        raise DataError(what, expected=f"a value {step.describe()}", got=got, fix="Is one of its time stamps wrong?")
    offsets = np.concatenate([[0], sizes.cumsum()]).astype(np.int64)
    at = offsets[series] + places
    total = int(offsets[-1])

    def spread(column: NDArray[Any], empty: Any) -> NDArray[Any]:
        out = np.full(total, empty, column.dtype)
        out[at] = column
        return out

    numbers: dict[str, NDArray[np.float64]] = {}
    words: dict[str, Column] = {}
    for name in shape.known:
        column = table[name]
        if column.kind == "number":
            numbers[name] = spread(column.values[rows], np.nan)
        elif column.kind == "category":
            words[name] = Column(name, "category", column.reason, spread(column.values[rows], -1), column.labels)
        else:
            raise DataError("a covariate holds time stamps", expected="numbers or words", got=repr(name))
    all_values = spread(values, np.nan)
    local = np.arange(total) - np.repeat(offsets[:-1], sizes)
    if step.unit == "irregular":
        all_stamps = moments.copy()
    elif step.unit == "number":
        all_stamps = np.repeat(moments[begins].astype(np.int64), sizes) + local * int(step.size)
    else:
        all_stamps = step.stamp(np.repeat(moments[begins].astype(STAMPS), sizes), local)
    future = np.zeros(len(names), np.int64)
    if shape.known:
        known = ~np.isnan(all_values)
        last = np.maximum.reduceat(np.where(known, local, -1), offsets[:-1])
        future = sizes - 1 - last
    made = SeriesSet(names, offsets, all_values, all_stamps, step, numbers, words, future, notes)
    return made, spread(rows, -1)


def _apart(places: NDArray[np.int64], series: NDArray[np.int64]) -> NDArray[np.int64]:
    """Places without two rows of a series on one: the later goes on to the next."""
    rows = np.arange(len(places))
    beyond = int(places.max()) + len(places) + 1  # between the series
    moved: NDArray[np.int64] = np.maximum.accumulate(places - rows + series * beyond) + rows - series * beyond
    return moved


def _tell_missing(table: Table, made: SeriesSet, held: NDArray[np.int64], faults: Faults) -> None:
    """Each stretch of missing values, the future apart."""
    empty = np.isnan(made.values)
    ends = made.offsets[1:] - made.future
    for i, (begin, end) in enumerate(zip(made.offsets[:-1].tolist(), ends.tolist(), strict=True)):
        known = np.flatnonzero(~empty[begin:end])
        gaps = np.flatnonzero(empty[begin:end])
        gaps = gaps[gaps > known[0]] if len(known) else gaps  # before its first value a series has not begun
        if not len(gaps):
            continue
        for run in np.split(gaps, np.flatnonzero(np.diff(gaps) > 1) + 1):
            first, last = made.stamps[begin + run[0]], made.stamps[begin + run[-1]]
            span = _moment(first) if len(run) == 1 else f"{len(run)} steps from {_moment(first)} to {_moment(last)}"
            fix = "With --on-error skip they are left missing, and the model is told so"
            row = int(held[begin + run[0]])
            where = table.where(row) if row >= 0 else f"{table.where(_before(held, begin + run[0]))}, behind it"
            faults.add("values are missing", where=where, got=span + _of(made.names, i), fix=fix)


def _before(held: NDArray[np.int64], at: int) -> int:
    """The row of the last step before `at` that has one."""
    while held[at] < 0:  # a series begins with a row
        at -= 1
    return int(held[at])


def extended(data: SeriesSet, horizon: int) -> SeriesSet:
    """The series with `horizon` steps after the last value of each, values missing, covariates as they were given.

    Raises `DataError` where covariates are known in advance and a series does not give them so far ahead.
    """
    short = np.flatnonzero(data.future < horizon) if data.numbers or data.words else np.zeros(0, np.int64)
    if len(short):
        name = data.names[int(short[0])]
        what = "the covariates of the steps to forecast are missing"
        got = f"{int(data.future[short[0]])} in series {name!r}"
        fix = "Give rows with their time stamps and covariates after the last value, and leave the target empty"
        raise DataError(what, expected=f"{horizon} steps after the last value", got=got, fix=fix)
    lengths = data.lengths
    offsets = np.concatenate([[0], (lengths + horizon).cumsum()]).astype(np.int64)
    series = np.repeat(np.arange(len(data)), lengths + horizon)
    local = np.arange(int(offsets[-1])) - offsets[series]
    old = data.offsets[series] + local
    beyond = local >= lengths[series]
    given = old < data.offsets[series + 1]
    at = np.minimum(old, data.offsets[series + 1] - 1)
    values = np.where(beyond, np.nan, data.values[at])
    last = data.stamps[data.offsets[:-1] + lengths - 1][series]
    ahead = np.maximum(local - lengths[series] + 1, 0)
    if data.step.unit == "number":
        stamps = np.where(given, data.stamps[at], last + ahead * int(data.step.size))
    elif data.step.unit == "irregular":
        stamps = np.where(given, data.stamps[at], data.step.stamp(last, ahead))
    else:
        stamps = data.step.stamp(data.stamps[data.offsets[:-1]][series], local)
    numbers = {name: np.where(given, column[at], np.nan) for name, column in data.numbers.items()}
    words = {
        name: Column(name, "category", c.reason, np.where(given, c.values[at], -1), c.labels)
        for name, c in data.words.items()
    }
    future = np.full(len(data), horizon, np.int64)
    return SeriesSet(data.names, offsets, values, stamps, data.step, numbers, words, future, data.notes)


def taken(data: SeriesSet, keep: NDArray[np.int64]) -> SeriesSet:
    """Some of the series, by their numbers."""
    sizes = np.diff(data.offsets)[keep]
    offsets = np.concatenate([[0], sizes.cumsum()]).astype(np.int64)
    at = np.arange(int(offsets[-1])) - np.repeat(offsets[:-1], sizes) + np.repeat(data.offsets[keep], sizes)
    numbers = {name: column[at] for name, column in data.numbers.items()}
    words = {n: Column(n, "category", c.reason, c.values[at], c.labels) for n, c in data.words.items()}
    names, future = [data.names[i] for i in keep], data.future[keep] if len(data.future) else data.future
    return SeriesSet(names, offsets, data.values[at], data.stamps[at], data.step, numbers, words, future, data.notes)
