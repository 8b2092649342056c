"""Many sequences on disk: a byte a symbol, qualities and tags beside them, and of each record a few facts in memory."""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from rondeau.data.disk.growing import Growing
from rondeau.data.disk.mapped import Pages
from rondeau.data.disk.stored import Stored
from rondeau.data.dna.alphabets import Alphabet, Codes
from rondeau.data.dna.records import SequenceRecord
from rondeau.sequence import Ragged

Rows = NDArray[np.int64]


class SequenceStore:
    """Sequences by number; a record costs some ten bytes of memory beside its label, whatever its length.

    Args:
        alphabet: of the symbols.
        records: with the numbers of their symbols, read once.

    Attributes:
        lengths: `(records,)`; labels, groups: of each record, None without; digest: tells these sequences from others.
        qualities, tagged: whether every record has them.
    """

    def __init__(self, alphabet: Alphabet, records: Iterable[tuple[SequenceRecord, Codes]]) -> None:
        self.alphabet = alphabet
        codes, quality, tags = Growing(np.uint8, 1 << 22), Growing(np.uint8, 1 << 22), Growing(np.uint8, 1 << 22)
        ends, keys = array("q", [0]), array("Q")
        self.labels: list[str | None] = []
        self.groups: list[str | None] = []
        self._names = Stored()
        words: dict[str | None, str | None] = {}
        whole = hashlib.blake2b(digest_size=16)
        self.qualities = self.tagged = True
        for record, own in records:
            codes.add(own)
            ends.append(ends[-1] + len(own))
            key = hashlib.blake2b(own.tobytes(), digest_size=8).digest()
            keys.append(int.from_bytes(key, "little"))
            self.qualities &= record.quality is not None
            self.tagged &= record.tags is not None
            if self.qualities and record.quality is not None:
                quality.add(record.quality)
            if self.tagged and record.tags is not None:
                tags.add(np.frombuffer(record.tags, np.uint8))
                whole.update(record.tags)
            self._names.add(f"{record.id}\0{record.where}".encode("utf-8", "surrogatepass"))
            for values, value in ((self.labels, record.label), (self.groups, record.group)):
                values.append(words.setdefault(value, value))
            whole.update(f"{record.label}\0{record.group}\0".encode("utf-8", "surrogatepass") + key)
        self.codes: Codes = codes.array()
        self.quality: NDArray[np.uint8] = quality.array()
        self.tags: NDArray[np.uint8] = tags.array()
        self.offsets: Rows = np.array(ends, np.int64)
        self.keys: NDArray[np.uint64] = np.array(keys, np.uint64)
        self.digest = whole.hexdigest()
        some = len(self.offsets) > 1
        self.qualities, self.tagged = self.qualities and some, self.tagged and some
        self._pages = Pages(self.codes, self.quality, self.tags)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def lengths(self) -> Rows:
        """Letters of each record."""
        return self.offsets[1:] - self.offsets[:-1]

    def id(self, row: int) -> str:
        """The id of a record."""
        return self._names[row].decode("utf-8", "surrogatepass").partition("\0")[0]

    def where(self, row: int) -> str:
        """Where a record stands."""
        return self._names[row].decode("utf-8", "surrogatepass").partition("\0")[2]

    def read(self, row: int, begin: int = 0, end: int | None = None) -> Codes:
        """The numbers of a record's symbols, from `begin` to before `end`; what is beyond its end is left out."""
        return self._part(self.codes, row, begin, end)

    def read_quality(self, row: int) -> NDArray[np.uint8]:
        """The qualities of a record's letters."""
        return self._part(self.quality, row, 0, None)

    def read_tags(self, row: int, begin: int = 0, end: int | None = None) -> NDArray[np.uint8]:
        """A record's tags."""
        return self._part(self.tags, row, begin, end)

    def _part(self, what: NDArray[np.uint8], row: int, begin: int, end: int | None) -> NDArray[np.uint8]:
        first, last = int(self.offsets[row]), int(self.offsets[row + 1])
        stop = last if end is None else min(first + end, last)
        found = np.array(what[first + begin : stop])
        self._pages.looked(1, len(found))
        return found

    def text(self, row: int, begin: int = 0, end: int | None = None) -> str:
        """The letters of a record, in capitals."""
        return self.alphabet.decode(self.read(row, begin, end))


def ragged(rows: list[NDArray[Any]], dtype: torch.dtype = torch.int64) -> Ragged:
    """Rows of one type as a batch."""
    lengths = torch.tensor([len(row) for row in rows], dtype=torch.int64)
    values = np.concatenate(rows) if rows else np.zeros(0, np.uint8)
    return Ragged(torch.from_numpy(np.ascontiguousarray(values)).to(dtype), lengths)
