"""One sequence as it was read, and what is wrong with some."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rondeau.data.dna.alphabets import ILLEGAL, Alphabet, Codes
from rondeau.data.faults import Faults


class Feature(NamedTuple):
    """A stretch of a sequence: `kind` ('CDS', 'exon'), steps `begin` up to before `end`, `strand` '+', '-' or '.'."""

    kind: str
    begin: int
    end: int
    strand: str = "."


class SequenceRecord(NamedTuple):
    """A sequence.

    `id`, `description` (the rest of its heading), `letters` as they stand in the file, `quality` (Phred, a number a
    letter, None without), `features`, `label` and `group` where the data say them, `tags` (a byte a letter, None
    without), `where` it stands.
    """

    id: str
    letters: bytes
    description: str = ""
    quality: NDArray[np.uint8] | None = None
    features: tuple[Feature, ...] = ()
    label: str | None = None
    group: str | None = None
    tags: bytes | None = None
    where: str = ""


def encoded(
    records: Iterable[SequenceRecord], alphabet: Alphabet, faults: Faults, unique: bool = True
) -> Iterator[tuple[SequenceRecord, Codes]]:
    """Records with the numbers of their symbols.

    Faults: a record without letters, a letter that is not of the alphabet, and where they are to be `unique` an id that
    came before.
    """
    seen: set[bytes] = set()
    for record in records:
        if not record.letters:
            faults.add("a record has no sequence", where=_named(record), fix="Take it out")
            continue
        key = hashlib.blake2b(record.id.encode("utf-8", "surrogatepass"), digest_size=8).digest()
        if unique and key in seen:
            fix = "Give each record an id of its own"
            faults.add("an id comes twice", where=_named(record), got=repr(record.id), fix=fix)
            continue
        codes = alphabet.encode(record.letters)
        illegal = np.flatnonzero(codes == ILLEGAL)
        if len(illegal):
            faults.add("a letter is not of the alphabet", **illegal_letter(record, alphabet, int(illegal[0])))
            continue
        seen.add(key)
        yield record, codes


def illegal_letter(record: SequenceRecord, alphabet: Alphabet, at: int) -> dict[str, Any]:
    """What to say of a letter at a place, from 0."""
    letter = chr(record.letters[at])
    fix = "Take gaps out: sequences are read unaligned" if letter in "-." else None
    where = f"{_named(record)}, position {at + 1:,}"
    expected = f"{alphabet.name}: {alphabet.symbols}"
    return {"where": where, "expected": expected, "got": repr(letter), "fix": fix}


def _named(record: SequenceRecord) -> str:
    return f"{record.where} ({record.id!r})" if record.where else repr(record.id)
