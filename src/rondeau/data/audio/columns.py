"""Columns of very many short words, a few bytes each."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray


class Texts:
    """Strings by number, one after another in one piece of memory; None is kept apart from "".

    >>> texts = Texts(["a", None, ""])
    >>> len(texts), texts[0], texts[1], texts[2]
    (3, 'a', None, '')
    """

    def __init__(self, texts: Iterable[str | None] = ()) -> None:
        self._bytes, self._ends, self._none = bytearray(), array("q", [0]), array("b")
        for text in texts:
            self.add(text)

    def add(self, text: str | None) -> None:
        """Append one."""
        if text is not None:
            self._bytes += text.encode("utf-8", "surrogateescape")  # a file's name may be no UTF-8
        self._ends.append(len(self._bytes))
        self._none.append(text is None)

    def __len__(self) -> int:
        return len(self._none)

    def __getitem__(self, number: int) -> str | None:
        if self._none[number]:
            return None
        return self._bytes[self._ends[number] : self._ends[number + 1]].decode("utf-8", "surrogateescape")


class Codes:
    """Words of which many are the same: numbers, and the words they stand for; -1 is none.

    >>> codes = Codes(["b", "a", None, "b"])
    >>> codes.numbers.tolist(), codes.words, list(codes)
    ([0, 1, -1, 0], ['b', 'a'], ['b', 'a', None, 'b'])
    """

    def __init__(self, words: Iterable[str | None] = ()) -> None:
        self._numbers, self.words = array("i"), list[str]()
        self._known: dict[str, int] = {}
        for word in words:
            self.add(word)

    def add(self, word: str | None) -> None:
        """Append one."""
        if word is None:
            self._numbers.append(-1)
            return
        number = self._known.setdefault(word, len(self.words))
        if number == len(self.words):
            self.words.append(word)
        self._numbers.append(number)

    @property
    def numbers(self) -> NDArray[np.int32]:
        """Of each the place of its word in `words`."""
        return np.array(self._numbers, np.int32)

    def __len__(self) -> int:
        return len(self._numbers)

    def __getitem__(self, number: int) -> str | None:
        code = self._numbers[number]
        return None if code < 0 else self.words[code]

    def __iter__(self) -> Iterator[str | None]:
        return (self[i] for i in range(len(self)))
