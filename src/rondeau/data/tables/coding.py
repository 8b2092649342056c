"""The different values of a column, and its rows as their numbers, without holding the column."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rondeau.data.disk.mapped import in_blocks
from rondeau.data.tables.table import Column, Table

MISSING = "(missing)"
Rows = NDArray[np.int64]


class Part(NamedTuple):
    """Some rows of a table: their numbers, and the values of some columns."""

    rows: Rows
    values: list[NDArray[Any]]


def parts_of(columns: Sequence[Column], needed: Sequence[Column] = ()) -> Iterator[Part]:
    """The rows of columns, some at a time, without those where one of the columns in `needed` has no value."""
    for begin, values in in_blocks(*(column.values for column in (*columns, *needed))):
        rows = np.arange(begin, begin + len(values[0]))
        gone = np.zeros(len(rows), bool)
        for column, part in zip(needed, values[len(columns) :], strict=True):
            gone |= column.lacks(part)
        values = values[: len(columns)]
        if gone.any():
            rows, values = rows[~gone], [part[~gone] for part in values]
        yield Part(rows, values)


class Distinct(NamedTuple):
    """The different values of a column, rising, and the first row that has each."""

    values: NDArray[Any]
    rows: Rows


def distinct(parts: Iterator[Part], most: int | None = None) -> Distinct:
    """The different values of one column's parts; memory is needed for them alone.

    Args:
        most: where there are more, some more of them are enough.
    """
    found: Distinct | None = None
    for rows, (values,) in parts:
        own, first = np.unique(values, return_index=True)
        if found is None:
            found = Distinct(own, rows[first])
        elif not _holds(found.values, own):
            joined, at = np.unique(np.concatenate([found.values, own]), return_index=True)
            found = Distinct(joined, np.concatenate([found.rows, rows[first]])[at])
        if most is not None and len(found.values) > most:
            break
    return Distinct(np.zeros(0), np.zeros(0, np.int64)) if found is None else found


def _holds(known: NDArray[Any], values: NDArray[Any]) -> bool:
    if not len(known):
        return not len(values)
    at = np.minimum(np.searchsorted(known, values), len(known) - 1)
    return bool((known[at] == values).all())


class Coder:
    """A column's rows as numbers of `words`; missing ones are a word of their own.

    Args:
        column: of the table.
        needed: only rows that have a value in each of these are looked at.

    >>> column = Column("shop", "category", "", np.int32([0, -1, 1]), ("north", "south"))
    >>> coder = Coder(column)
    >>> coder.words, coder.codes(column.values).tolist()
    (('north', 'south', '(missing)'), [0, 2, 1])
    """

    words: tuple[str, ...]
    codes: Callable[[NDArray[Any]], NDArray[np.int32]]

    def __init__(self, column: Column, needed: Sequence[Column] = ()) -> None:
        if column.kind == "category":
            labels = column.labels
            absent = any((values < 0).any() for _, (values,) in parts_of([column], needed))
            self.words = (*labels, MISSING) if absent else labels
            self.codes = lambda values: np.where(values < 0, len(labels), values).astype(np.int32)
        else:
            known, rows = distinct(parts_of([column], needed))
            self.words = tuple(word or MISSING for word in column.words(rows))
            self.codes = lambda values: np.searchsorted(known, values).astype(np.int32)


def tallies(table: Table, name: str) -> dict[str, int]:
    """How often each value of a column comes, by its word."""
    coder = Coder(table[name])
    counts = np.zeros(len(coder.words), np.int64)
    for _, (values,) in parts_of([table[name]]):
        counts += np.bincount(coder.codes(values), minlength=len(counts))
    return dict(zip(coder.words, counts.tolist(), strict=True))
