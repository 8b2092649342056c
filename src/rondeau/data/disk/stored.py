"""Very many small records, kept in a file without a name instead of in memory."""

from __future__ import annotations

import mmap
import tempfile
import weakref
from array import array
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from rondeau.data.disk.mapped import Pages
from rondeau.errors import StateError


class Words(Sequence[Any]):
    """Few words that come many times, and None: four bytes each time.

    >>> words = Words()
    >>> for word in ("a", None, "a"):
    ...     words.append(word)
    >>> list(words), words.codes.tolist(), words.words
    (['a', None, 'a'], [0, 1, 0], ['a', None])
    """

    def __init__(self) -> None:
        self.words: list[str | None] = []
        self._numbers: dict[str | None, int] = {}
        self._codes = array("i")

    def append(self, word: str | None) -> None:
        """One more."""
        number = self._numbers.setdefault(word, len(self.words))
        if number == len(self.words):
            self.words.append(word)
        self._codes.append(number)

    def __len__(self) -> int:
        return len(self._codes)

    def __getitem__(self, number: Any) -> Any:
        if isinstance(number, slice):
            return [self.words[code] for code in self._codes[number]]
        return self.words[self._codes[number]]

    def __iter__(self) -> Iterator[str | None]:
        return map(self.words.__getitem__, self._codes)

    def counts(self) -> dict[str | None, int]:
        """How often each word comes, in the order in which they came first."""
        return dict(zip(self.words, np.bincount(self.codes, minlength=len(self.words)).tolist(), strict=True))

    @property
    def codes(self) -> NDArray[np.int32]:
        """Of each its number in `words`, in the order in which these came first."""
        return np.array(self._codes, np.int32)


class Stored(Sequence[bytes]):
    """Records of bytes by their number; of each only where it ends is in memory, eight bytes.

    The file lies in the folder for temporary files, has no name, and is gone with the object. Add all records first:
    with the first one that is read it is finished, and adding is a `StateError`.

    >>> records = Stored([b"one", b"", b"three"])
    >>> len(records), records[2], records[-3]
    (3, b'three', b'one')
    """

    def __init__(self, records: Iterable[bytes] = ()) -> None:
        self._ends = array("q", [0])
        self._file = tempfile.TemporaryFile(buffering=1 << 20)  # noqa: SIM115  (it lives as long as the object)
        weakref.finalize(self, self._file.close)
        self._map: mmap.mmap | None = None
        self._finished = False
        for record in records:
            self.add(record)

    def add(self, record: bytes) -> None:
        """Append a record."""
        if self._finished:
            raise StateError("a record is added after some were read", fix="Add all of them first")
        self._file.write(record)
        self._ends.append(self._ends[-1] + len(record))

    def __len__(self) -> int:
        return len(self._ends) - 1

    @overload
    def __getitem__(self, number: int) -> bytes: ...
    @overload
    def __getitem__(self, number: slice) -> list[bytes]: ...
    def __getitem__(self, number: Any) -> Any:
        if isinstance(number, slice):
            return [self[i] for i in range(*number.indices(len(self)))]
        index = int(number) + (len(self) if number < 0 else 0)
        if not 0 <= index < len(self):
            raise IndexError(f"record {number} of {len(self)}")
        start, end = self._ends[index], self._ends[index + 1]
        if start == end:
            return b""
        found = self._bytes()[start:end]
        self._pages.looked(1, end - start)
        return found

    @property
    def sizes(self) -> NDArray[np.int64]:
        """Bytes of each record, `(records,)`."""
        ends = np.frombuffer(self._ends, np.int64)
        return ends[1:] - ends[:-1]

    def _bytes(self) -> mmap.mmap:
        if self._map is None:
            self._finished = True
            self._file.flush()
            self._map = mmap.mmap(self._file.fileno(), 0, access=mmap.ACCESS_READ)
            self._pages = Pages.of(self._map)
        return self._map
