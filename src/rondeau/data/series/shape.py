"""Which columns of a table mean what to time series: those that are said, and what the table shows of the others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from rondeau.data.tables.table import Table
from rondeau.errors import DataError

TARGETS = ("target", "y", "value", "values", "sales", "sold", "demand", "quantity", "count", "load", "units")
_LOOKED_AT = 100_000  # rows in which switches, of two numbers, are told from others
_ONCE = 0.98  # of the moments, from which on those that come twice are faults, and no sign of several series
_COUNTERS = ("t", "time", "step", "index", "period", "week", "month", "day", "hour", "year")


@dataclass(frozen=True)
class Shape:
    """Which columns mean what: `time` and `entity` may be none; of a wide table there are several `targets`."""

    time: str | None
    entity: str | None
    targets: tuple[str, ...]
    known: tuple[str, ...]
    wide: bool
    notes: list[str] = field(default_factory=list)


def shape_of(
    table: Table,
    target: str | None = None,
    time: str | None = None,
    entity: str | None = None,
    known: Sequence[str] = (),
) -> Shape:
    """Which columns mean what: those that are said, and for the others what the table shows.

    Raises `DataError` for columns that are not there or of another kind, and where the target cannot be told.
    """
    for name in (target, time, entity, *known):
        if name is not None:
            table[name]
    notes: list[str] = []
    time = time if time is not None else _time(table, notes)
    if time is not None and table[time].kind == "category":
        what = f"column {time!r} holds no time stamps"
        raise DataError(what, expected="time stamps or numbers", got=table[time].reason, where=table.path)
    if target is not None and table[target].kind != "number":
        what = f"the target {target!r} holds no numbers"
        raise DataError(what, expected="numbers", got=table[target].reason, where=table.path)
    if target is not None and target in known:
        what = "the target is among the covariates known in advance"
        raise DataError(what, got=repr(target), where=table.path, fix="Leave it out of --known")
    entity = entity if entity is not None else _entity(table, time, known, notes)
    numbers = [name for name in table.of_kind("number") if name not in (time, entity, *known)]
    if target is not None:
        return Shape(time, entity, (target,), tuple(known), False, notes)
    if not numbers:
        raise DataError("no column holds numbers to forecast", expected="one", got=", ".join(table.columns))
    if len(numbers) == 1:
        notes.append(f"the target is {numbers[0]!r}, the only other column of numbers")
        return Shape(time, entity, tuple(numbers), tuple(known), False, notes)
    named = [name for name in numbers if name.lower() in TARGETS]
    if len(named) == 1:
        notes.append(f"the target is {named[0]!r}, by its name")
        return Shape(time, entity, tuple(named), tuple(known), False, notes)
    if entity is None:
        notes.append(f"each of the {len(numbers)} columns of numbers is a series: {_some(numbers)}")
        return Shape(time, None, tuple(numbers), tuple(known), True, notes)
    varied = [name for name in numbers if len(np.unique(table[name].values[:_LOOKED_AT])) > 2]
    if len(varied) == 1:
        notes.append(f"the target is {varied[0]!r}, the only other column of more than two numbers")
        return Shape(time, entity, tuple(varied), tuple(known), False, notes)
    fix = "Say which: --target COLUMN"
    raise DataError("several columns could be the target", expected="one", got=", ".join(numbers), fix=fix)


def _some(names: Sequence[str], shown: int = 5) -> str:
    return ", ".join(names[:shown]) + (", ..." if len(names) > shown else "")


def _time(table: Table, notes: list[str]) -> str | None:
    stamps = table.of_kind("time")
    if len(stamps) > 1:
        fix = "Say which: --time COLUMN"
        raise DataError("several columns hold time stamps", expected="one", got=", ".join(stamps), fix=fix)
    if stamps:
        notes.append(f"{stamps[0]!r} says when: {table[stamps[0]].reason}")
        return stamps[0]
    for name in table.of_kind("number"):
        values = table[name].values
        if name.lower() in _COUNTERS and not np.isnan(values).any() and (values == np.rint(values)).all():
            notes.append(f"{name!r} says when: whole numbers, by its name")
            return name
    notes.append("no column says when: rows are taken to follow each other")
    return None


def _entity(table: Table, time: str | None, known: Sequence[str], notes: list[str]) -> str | None:
    """The column of words of which each moment has one row a word; none where each moment comes once."""
    words = [name for name in table.of_kind("category") if name not in known and name != time]
    if time is None or not words:
        return None
    stamps = table[time].values
    if len(np.unique(stamps)) > _ONCE * len(stamps):
        return None
    least: tuple[float, str] | None = None
    for name in words:
        codes = table[name].values
        order = np.lexsort((stamps, codes))
        again = ((np.diff(codes[order]) == 0) & (np.diff(stamps[order]).astype(np.int64) == 0)).mean()
        if least is None or again < least[0]:
            least = again, name
    if least is None or least[0] > 0.02:
        return None
    notes.append(f"each {least[1]!r} is a series: no moment comes twice in one")
    return least[1]
