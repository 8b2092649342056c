"""Whom rows are about, when they were, and what is to be told of them, by what columns hold: names say nothing here."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from rondeau.data.tables.table import Column, Table

HEAD = 5000  # rows that are looked at
_ENTITIES = 5  # fewer different values are kinds of rows, not those whom they are about
_REPEATED = 3  # rows of one value on average, from which on it comes again by more than chance
_RISING = 0.95  # of steps within an entity
_BEAT = 0.5  # of the steps that are as long as each other
_DENSE = 0.8  # of the whole numbers between the smallest and the largest


def entity_by_values(table: Table, taken: Iterable[str | None] = ()) -> str | None:
    """The column that says whom rows are about: of words or whole numbers that come again, the one with most of them.

    Whole numbers count where they have equally many digits or follow each other from 0 or 1 on, as keys do and amounts
    do not. None where no column is so.
    """
    most: tuple[int, str] | None = None
    for column in _free(table, taken):
        values = _head(column)
        distinct = len(np.unique(values))
        if _ENTITIES <= distinct <= len(values) // _REPEATED and (column.kind == "category" or _keys(values)):
            most = max(most or (0, ""), (distinct, column.name), key=lambda found: found[0])
    return None if most is None else most[1]


def time_by_values(table: Table, entity: str | None, taken: Iterable[str | None] = ()) -> str | None:
    """The first column of numbers that rise from row to row of an entity; None for none."""
    if entity is None:
        return None
    owners = _owners(table, entity)
    order = np.argsort(owners, kind="stable")
    inside = np.diff(owners[order]) == 0
    for column in _free(table, {entity, *taken}):
        values = _head(column)
        if column.kind != "number" or np.isnan(values).any() or not inside.any():
            continue
        if (np.diff(values[order])[inside] > 0).mean() >= _RISING:
            return column.name
    return None


def label_by_values(table: Table, entity: str | None, taken: Iterable[str | None] = ()) -> str | None:
    """The only column of two values that are not the same for all rows of an entity, so that each row has its own.

    Of several the only one of 0 and 1; None where that does not decide either.
    """
    owners = _owners(table, entity)
    if entity is None or owners.max() + 1 < _ENTITIES:
        return None
    two = [c for c in _free(table, {entity, *taken}) if len(np.unique(_head(c))) == 2 and not _gaps(c)]
    own = [column for column in two if not _fixed(owners, _head(column))]
    if len(own) > 1:
        own = [column for column in own if column.kind == "number" and set(_head(column).tolist()) == {0.0, 1.0}]
    return own[0].name if len(own) == 1 else None


def class_by_values(table: Table, entity: str | None, taken: Iterable[str | None] = ()) -> str | None:
    """The only column of few values that is the same for all rows of an entity, and not for all entities."""
    owners = _owners(table, entity)
    entities, found = int(owners.max()) + 1, []
    if entity is None or entities < _ENTITIES:
        return None
    for column in _free(table, {entity, *taken}):
        values = _head(column)
        few = 2 <= len(np.unique(values)) <= max(2, min(20, entities // 4))
        if few and (column.kind == "category" or _whole(values)) and _fixed(owners, values):
            found.append(column.name)
    return found[0] if len(found) == 1 else None


def on_a_beat(table: Table, entity: str, time: str) -> bool:
    """Whether most rows of an entity are one step after another, as those of series are and events hardly ever."""
    owners, moments = _owners(table, entity), _head(table[time])
    order = np.lexsort((moments, owners))
    steps = np.diff(moments[order])[np.diff(owners[order]) == 0]
    return len(steps) > 0 and bool(np.unique(steps, return_counts=True)[1].max() > _BEAT * len(steps))


def _free(table: Table, taken: Iterable[str | None]) -> list[Column]:
    names = set(taken)
    return [column for column in table.columns.values() if column.name not in names and column.kind != "time"]


def _owners(table: Table, entity: str | None) -> NDArray[np.int64]:
    """Of each row the number of its entity."""
    if entity is None:
        return np.zeros(1, np.int64)
    return np.unique(_head(table[entity]), return_inverse=True)[1].reshape(-1).astype(np.int64)


def _head(column: Column) -> NDArray[np.float64]:
    return column.values[:HEAD].astype(np.float64)


def _gaps(column: Column) -> bool:
    values = _head(column)
    return bool((values < 0).any() if column.kind == "category" else np.isnan(values).any())


def _whole(values: NDArray[np.float64]) -> bool:
    return bool(np.isfinite(values).all() and (values == np.rint(values)).all())


def _keys(values: NDArray[np.float64]) -> bool:
    if not _whole(values) or values.min() < 0:
        return False
    low, high = int(values.min()), int(values.max())
    follow = low <= 1 and len(np.unique(values)) >= _DENSE * (high - low + 1)
    return follow or (low >= 100 and len(str(low)) == len(str(high)))


def _fixed(owners: NDArray[np.int64], values: NDArray[np.float64]) -> bool:
    """Whether all rows of an owner have one value."""
    codes = np.unique(values, return_inverse=True)[1].reshape(-1)
    return len(np.unique(np.stack([owners, codes]), axis=1).T) == len(np.unique(owners))
