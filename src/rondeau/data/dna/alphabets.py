"""The letters of DNA, RNA and proteins; ambiguous ones stand for several, each equally likely (IUPAC codes).

Codes of letters: A. Cornish-Bowden (1985), Nomenclature for incompletely specified bases in nucleic acid sequences,
Nucleic Acids Research 13(9); IUPAC-IUB (1984), Nomenclature and symbolism for amino acids and peptides.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rondeau.errors import ArgumentError, DataError

Codes = NDArray[np.uint8]
ILLEGAL = 255
_AMBIGUOUS_BASES = {
    **{"R": "AG", "Y": "CT", "S": "CG", "W": "AT", "K": "GT", "M": "AC"},
    **{"B": "CGT", "D": "AGT", "H": "ACT", "V": "ACG", "N": "ACGT"},
}
_AMBIGUOUS_ACIDS = {"B": "DN", "Z": "EQ", "J": "IL", "X": "ACDEFGHIKLMNPQRSTVWY"}
_COMPLEMENT = dict(zip("ACGTRYSWKMBDHVN", "TGCAYRSWMKVHDBN", strict=True))


@dataclass(frozen=True)
class Alphabet:
    """Letters, and symbols that stand for several of them.

    Attributes: `name`; `letters`, the plain ones; `ambiguous`, of each further symbol the letters it may be.

    A sequence is held as the numbers of its symbols, plain letters first: `codes`, uint8. Capitals and small letters
    are the same.

    >>> DNA.encode("acgN").tolist(), DNA.decode(DNA.encode("acgN"))
    ([0, 1, 2, 14], 'ACGN')
    >>> DNA.chances[DNA.encode("N")].tolist()
    [[0.25, 0.25, 0.25, 0.25]]
    >>> DNA.decode(DNA.reverse_complement(DNA.encode("AACG")))
    'CGTT'
    """

    name: str
    letters: str
    ambiguous: Mapping[str, str]

    @cached_property
    def symbols(self) -> str:
        """All symbols, in the order of their numbers."""
        return self.letters + "".join(self.ambiguous)

    @property
    def size(self) -> int:
        """How many plain letters there are."""
        return len(self.letters)

    @cached_property
    def table(self) -> bytes:
        """Of each byte the number of its symbol, 255 for what is none: for `bytes.translate`."""
        found = bytearray([ILLEGAL]) * 256
        for number, symbol in enumerate(self.symbols):
            found[ord(symbol)] = found[ord(symbol.lower())] = number
        return bytes(found)

    @cached_property
    def chances(self) -> NDArray[np.float32]:
        """Of each symbol how likely it is each letter, `(symbols, letters)`; rows add up to 1."""
        found = np.zeros((len(self.symbols), self.size), np.float32)
        for number, symbol in enumerate(self.symbols):
            meant = self.ambiguous.get(symbol, symbol)
            for letter in meant:
                found[number, self.letters.index(letter)] = 1 / len(meant)
        return found

    @cached_property
    def complement(self) -> Codes | None:
        """Of each symbol that on the other strand, `(symbols,)`; None for proteins, which have no other strand."""
        if self.name == "protein":
            return None
        plain = self.symbols.replace("U", "T")
        return np.array([plain.index(_COMPLEMENT[symbol]) for symbol in plain], np.uint8)

    def encode(self, text: str | bytes) -> Codes:
        """The numbers of a text's symbols, `(steps,)`; 255 where a letter is not of the alphabet."""
        raw = text.encode("ascii", "replace") if isinstance(text, str) else text
        return np.frombuffer(raw.translate(self.table), np.uint8)

    def decode(self, codes: Any) -> str:
        """The text of symbols' numbers, in capitals."""
        symbols = np.frombuffer(self.symbols.encode(), np.uint8)
        return bytes(symbols[np.asarray(codes, np.int64)]).decode()

    def reverse_complement(self, codes: Codes) -> Codes:
        """The other strand, read in its own direction. Raises `ArgumentError` for proteins."""
        if self.complement is None:
            raise ArgumentError("a protein has no other strand", fix="Leave --strands at one")
        return self.complement[codes[::-1]]


DNA = Alphabet("dna", "ACGT", _AMBIGUOUS_BASES)
RNA = Alphabet("rna", "ACGU", {symbol: meant.replace("T", "U") for symbol, meant in _AMBIGUOUS_BASES.items()})
PROTEIN = Alphabet("protein", "ACDEFGHIKLMNPQRSTVWYUO*", _AMBIGUOUS_ACIDS)
ALPHABETS = {one.name: one for one in (DNA, RNA, PROTEIN)}


def detect(texts: Iterable[str | bytes]) -> tuple[Alphabet, str]:
    """The alphabet that sequences are written in, and why.

    Bases where nine of ten letters are A, C, G, T, U or N, of RNA where U comes and T does not; else amino acids.
    Raises `DataError` where there is no letter.
    """
    counts: Counter[int] = Counter()
    for text in texts:
        raw = text.encode("ascii", "replace") if isinstance(text, str) else text
        counts.update(raw.upper())
    letters = {chr(code): count for code, count in counts.items() if chr(code).isalpha()}
    total = sum(letters.values())
    if not total:
        raise DataError("there is no letter to tell the alphabet by", expected="DNA, RNA or protein sequences")
    bases = sum(letters.get(letter, 0) for letter in "ACGTUN")
    if bases < 0.9 * total:
        return PROTEIN, f"protein: {1 - bases / total:.0%} of the letters are other than A, C, G, T, U and N"
    if letters.get("U", 0) > letters.get("T", 0):
        return RNA, f"RNA: {bases / total:.0%} of the letters are bases, with U and no T"
    return DNA, f"DNA: {bases / total:.0%} of the letters are A, C, G, T or N"
