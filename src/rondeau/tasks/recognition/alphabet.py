"""The characters that transcripts are made of, numbered from 1: 0 is the heads' blank."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

from rondeau.errors import DataError


@dataclass(frozen=True)
class Alphabet:
    """`characters` in order; character i is symbol i + 1. `lower`: texts are in lower case.

    >>> alphabet = Alphabet.of(["One two", "two"])
    >>> alphabet.characters, alphabet.encode(" two  one")
    ((' ', 'e', 'n', 'o', 't', 'w'), [5, 6, 4, 1, 4, 3, 2])
    """

    characters: tuple[str, ...]
    lower: bool = True

    @classmethod
    def of(cls, texts: Iterable[str], lower: bool = True) -> Alphabet:
        """Of the training part's transcripts. Raises `DataError` where nothing is said in any."""
        found = sorted({character for text in texts for character in plain(text, lower)})
        if not found:
            raise DataError("nothing is said in the training part: all its transcripts are empty")
        return cls(tuple(found), lower)

    @property
    def classes(self) -> int:
        """Symbols and the blank."""
        return len(self.characters) + 1

    def plain(self, text: str) -> str:
        """A text as it is compared: one space between words, in lower case where that is asked."""
        return plain(text, self.lower)

    def encode(self, text: str) -> list[int]:
        """Symbols; characters outside the alphabet are left out, see `outside`."""
        number = {character: i for i, character in enumerate(self.characters, 1)}
        return [number[character] for character in self.plain(text) if character in number]

    def decode(self, symbols: Iterable[int]) -> str:
        """The text that symbols write."""
        return "".join(self.characters[symbol - 1] for symbol in symbols)

    def outside(self, texts: Iterable[str]) -> Counter[str]:
        """The characters of some texts that are not in the alphabet, and how often they are there."""
        return Counter(c for text in texts for c in self.plain(text) if c not in self.characters)


def plain(text: str, lower: bool) -> str:
    """One space between words, none at the ends; in lower case where asked."""
    text = " ".join(text.split())
    return text.lower() if lower else text


def named(characters: Counter[str], most: int = 8) -> str:
    """`'é' (3), 'q' (1)`, the commonest first."""
    found = [f"{character!r} ({count:,})" for character, count in characters.most_common(most)]
    return ", ".join([*found, *(["..."] if len(characters) > most else [])])


def repeats(text: str) -> int:
    """How many characters are the same as the one before: CTC needs a frame more for each."""
    return sum(a == b for a, b in pairwise(text))
