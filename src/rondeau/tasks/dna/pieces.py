"""Stretches of long sequences: divided without leakage, cut into windows."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rondeau.data.dna.alphabets import Codes
from rondeau.data.splits import split_rows
from rondeau.errors import DataError

Rows = NDArray[np.int64]
WHOLE = 10  # records from which on whole ones are held out
UNITS = 60  # stretches that fewer ones are cut into


class Stretch(NamedTuple):
    """A stretch of a record in a `SequenceStore` or `Genome`."""

    source: Any
    row: int
    begin: int
    end: int

    def codes(self, most: int) -> Codes:
        """Its first symbols, so many at most."""
        found: Codes = self.source.read(self.row, self.begin, min(self.begin + most, self.end))
        return found


@dataclass(frozen=True)
class Pieces:
    """Stretches of the sequences in `source` (a `SequenceStore` or `Genome`): of each its record, begin and end."""

    source: Any
    rows: Rows
    begins: Rows
    ends: Rows

    @classmethod
    def whole(cls, source: Any) -> Pieces:
        """All records as they are."""
        lengths = np.asarray(source.lengths)
        return cls(source, np.arange(len(lengths)), np.zeros(len(lengths), np.int64), lengths)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, number: int) -> Stretch:
        """One of them."""
        return Stretch(self.source, *self.at(number))

    def at(self, number: int) -> tuple[int, int, int]:
        """Record, begin and end of one."""
        return int(self.rows[number]), int(self.begins[number]), int(self.ends[number])

    @property
    def lengths(self) -> Rows:
        """Letters of each."""
        return self.ends - self.begins

    @property
    def letters(self) -> int:
        """Letters of all."""
        return int(self.lengths.sum())

    def select(self, numbers: Any) -> Pieces:
        """Some of them."""
        return Pieces(self.source, self.rows[numbers], self.begins[numbers], self.ends[numbers])

    def read(self, number: int, before: int = 0, behind: int = 0) -> Codes:
        """The symbols of one, with as many before and behind as there are of those asked for."""
        row, begin, end = self.at(number)
        found: Codes = self.source.read(row, max(begin - before, 0), end + behind)
        return found

    def cut(self, size: int) -> Pieces:
        """All of them in stretches of `size` letters; the last of each is shorter."""
        counts = -(-self.lengths // size)
        which = np.repeat(np.arange(len(self)), counts)
        firsts = np.repeat(counts.cumsum() - counts, counts)
        begins = self.begins[which] + (np.arange(len(which)) - firsts) * size
        return Pieces(self.source, self.rows[which], begins, np.minimum(begins + size, self.ends[which]))

    def place(self, number: int) -> str:
        """`chr1:101-200`, counted from 1."""
        row, begin, end = self.at(number)
        return f"{self.source.id(row)}:{begin + 1:,}-{end:,}"

    def codes(self) -> Iterator[Codes]:
        """The symbols of each."""
        return (self.read(number) for number in range(len(self)))


def divide(
    source: Any, validation: float, test: float, seed: int, least: int
) -> tuple[Pieces, Pieces, Pieces, list[str]]:
    """Training, validation and test stretches, and notes.

    Whole records where there are ten or more, equal ones together; else stretches of a sixtieth of all letters, none
    shorter than `least`. Raises `DataError` where there are too few letters to hold some out.
    """
    whole = Pieces.whole(source)
    if len(whole) >= WHOLE:
        keys: Any = getattr(source, "keys", None)
        names = keys.tolist() if keys is not None else [source.id(row) for row in range(len(source))]
        repeated = len(names) - len(set(names))
        notes = [f"whole records are held out, {len(whole):,} there are"]
        if repeated:
            notes.append(f"{repeated:,} records repeat others; equal ones are kept in one part")
        pieces = whole
    else:
        size = max(whole.letters // UNITS, least)
        pieces = whole.cut(size)
        names = [f"{row} {begin}" for row, begin in zip(pieces.rows.tolist(), pieces.begins.tolist(), strict=True)]
        notes = [f"stretches of {size:,} letters are held out: there are {len(whole)} records"]
    wanted = 1 + (validation > 0) + (test > 0)
    if len(pieces) < wanted:
        fix = "Give more sequences, or smaller windows"
        got = f"{whole.letters:,} letters"
        raise DataError("too few letters to hold some out", expected=f"{wanted * least:,} or more", got=got, fix=fix)
    parts = split_rows(names, validation, test, seed)
    train, held, last = (pieces.select(rows) for rows in parts)
    return train, held, last, notes


def digest_of(source: Any, parts: tuple[Pieces, ...]) -> str:
    """Tells sequences and their division from others."""
    found = hashlib.blake2b(str(source.digest).encode(), digest_size=16)
    for part in parts:
        for numbers in (part.rows, part.begins, part.ends):
            found.update(np.ascontiguousarray(numbers, "<i8").tobytes())
        found.update(b"|")
    return found.hexdigest()
