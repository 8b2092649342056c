"""How letters become what a network reads: symbols, or overlapping k-mers, and qualities beside them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rondeau.data.dna.alphabets import ALPHABETS, Alphabet, Codes
from rondeau.errors import ArgumentError, CheckpointError

_MOST = 100_000  # k-mers
Ids = NDArray[np.int64]


@dataclass(frozen=True)
class Reading:
    """Attributes: `alphabet`; `kmer`, letters that are read as one; `quality`, whether there are some.

    Ids are the alphabet's symbols, or k-mers of plain letters with one more id, the last, for those with others.
    """

    alphabet: Alphabet
    kmer: int = 1
    quality: bool = False

    def __post_init__(self) -> None:
        if self.alphabet.size**self.kmer > _MOST:
            got = f"{self.alphabet.size} letters, {self.kmer} of them: {self.alphabet.size**self.kmer:,}"
            raise ArgumentError("kmer: too many k-mers", expected=f"up to {_MOST:,}", got=got, fix="Choose a smaller k")

    @property
    def size(self) -> int:
        """How many ids there are."""
        return len(self.alphabet.symbols) if self.kmer == 1 else self.alphabet.size**self.kmer + 1

    def ids(self, codes: Codes) -> Ids:
        """The ids of symbols, `(steps,)`; of k-mers k - 1 fewer, at least one."""
        if self.kmer == 1:
            return codes.astype(np.int64)
        if len(codes) < self.kmer:
            return np.full(1, self.size - 1)
        return kmers(codes, self.alphabet.size, self.kmer)

    def right(self, quality: NDArray[np.uint8]) -> NDArray[np.float32]:
        """How likely each step is read rightly, `(steps, 1)`: of Phred qualities, of a k-mer all letters together."""
        logs = np.log1p(-np.minimum(10 ** (-quality.astype(np.float64) / 10), 0.75))
        if self.kmer > 1 and len(logs) >= self.kmer:
            logs = np.convolve(logs, np.ones(self.kmer), "valid")
        elif self.kmer > 1:
            logs = logs.sum(keepdims=True)
        return np.exp(logs).astype(np.float32)[:, None]

    @cached_property
    def complement(self) -> list[int]:
        """Of each id that on the other strand. Raises `ArgumentError` for proteins."""
        if self.alphabet.complement is None:
            raise ArgumentError("strands: a protein has no other strand", got=self.alphabet.name, fix="--strands one")
        if self.kmer == 1:
            return [int(i) for i in self.alphabet.complement]
        size, numbers = self.alphabet.size, np.arange(self.alphabet.size**self.kmer)
        found = np.zeros_like(numbers)
        for place in range(self.kmer):
            letter = numbers // size**place % size
            found += self.alphabet.complement[letter].astype(np.int64) * size ** (self.kmer - 1 - place)
        return [*found.tolist(), self.size - 1]

    def words(self, ids: Any) -> list[str]:
        """What ids stand for."""
        if self.kmer == 1:
            return list(self.alphabet.decode(ids))
        size = self.alphabet.size
        powers = size ** np.arange(self.kmer - 1, -1, -1)
        return [
            "?" if number == self.size - 1 else self.alphabet.decode(number // powers % size)
            for number in np.asarray(ids).tolist()
        ]

    def to_json(self) -> dict[str, Any]:
        """As `from_json` takes it."""
        return {"alphabet": self.alphabet.name, "kmer": self.kmer, "quality": self.quality}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Reading:
        """What `to_json` gave. Raises `CheckpointError` for anything else."""
        try:
            return cls(ALPHABETS[data["alphabet"]], int(data["kmer"]), bool(data["quality"]))
        except (KeyError, TypeError, ValueError) as error:
            raise CheckpointError("how the sequences are read is damaged", got=repr(error)) from error


def kmers(codes: Codes, letters: int, k: int, stride: int = 1) -> Ids:
    """Ids of the k-mers of `codes`, each `stride` letters after the one before; `letters**k` for those with others.

    >>> kmers(np.array([0, 1, 2, 3], np.uint8), 4, 2).tolist()
    [1, 6, 11]
    """
    count = max((len(codes) - k) // stride + 1, 0)
    found, plain = np.zeros(count, np.int64), np.ones(count, bool)
    for place in range(k):
        letter = codes[place : place + (count - 1) * stride + 1 : stride] if count else codes[:0]
        found = found * letters + letter
        plain &= letter < letters
    return np.where(plain, found, letters**k)
