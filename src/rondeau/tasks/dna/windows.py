"""Windows of sequences as a language model reads them: letters or k-mers, and what came before each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rondeau.data.buckets import Buckets
from rondeau.data.disk.growing import Growing
from rondeau.data.dna.alphabets import ALPHABETS, Alphabet, Codes
from rondeau.data.prefetch import Prefetch
from rondeau.errors import ArgumentError, CheckpointError
from rondeau.sequence import Ragged
from rondeau.tasks.dna.pieces import Pieces
from rondeau.tasks.dna.reading import kmers
from rondeau.training.batch import Batch
from rondeau.training.source import Source

_MOST = 100_000  # k-mers
_AT_ONCE = 64  # windows
_BLOCK = 1 << 18  # windows whose lengths are made at once


@dataclass(frozen=True)
class Tokens:
    """Letters, or k-mers side by side, of which the model tells the next.

    Ids that are told: plain letters, or k-mers of such. What is read has more: ambiguous symbols (of k-mers one for all
    of these), and last `begin`, which stands where nothing came before.
    """

    alphabet: Alphabet
    kmer: int = 1

    def __post_init__(self) -> None:
        if self.alphabet.size**self.kmer > _MOST:
            got = f"{self.alphabet.size} letters, {self.kmer} of them"
            raise ArgumentError("kmer: too many k-mers", expected=f"up to {_MOST:,}", got=got, fix="Choose a smaller k")

    @property
    def told(self) -> int:
        """Ids that are told."""
        return int(self.alphabet.size**self.kmer)

    @property
    def begin(self) -> int:
        """The id of nothing."""
        return len(self.alphabet.symbols) if self.kmer == 1 else self.told + 1

    @cached_property
    def chances(self) -> NDArray[np.float32]:
        """Of each id that is read how likely it is each that is told, `(begin + 1, told)`; zeros for `begin`."""
        if self.kmer == 1:
            return np.concatenate([self.alphabet.chances, np.zeros((1, self.told), np.float32)])
        unknown = np.full((1, self.told), 1 / self.told, np.float32)
        return np.concatenate([np.eye(self.told, dtype=np.float32), unknown, np.zeros_like(unknown)])

    def ids(self, codes: Codes) -> NDArray[np.int64]:
        """The ids of symbols; of k-mers the letters at the end that do not make one are left out."""
        if self.kmer == 1:
            return codes.astype(np.int64)
        return kmers(codes, self.alphabet.size, self.kmer, self.kmer)

    def text(self, ids: Any) -> str:
        """The letters of told ids."""
        if self.kmer == 1:
            return self.alphabet.decode(ids)
        powers = self.alphabet.size ** np.arange(self.kmer - 1, -1, -1)
        return self.alphabet.decode((np.asarray(ids)[:, None] // powers % self.alphabet.size).ravel())

    def to_json(self) -> dict[str, Any]:
        """As `from_json` takes it."""
        return {"alphabet": self.alphabet.name, "kmer": self.kmer}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Tokens:
        """What `to_json` gave. Raises `CheckpointError` for anything else."""
        try:
            return cls(ALPHABETS[data["alphabet"]], int(data["kmer"]))
        except (KeyError, TypeError, ValueError) as error:
            raise CheckpointError("how the sequences are read is damaged", got=repr(error)) from error


class Windows:
    """Stretches cut into windows that stand one behind the other; nothing is in memory but where the stretches are.

    Args:
        pieces: the stretches; tokens: how they are read; size: tokens of a window.
        both: whether the other strand's windows are there as well, behind those of the first.
    """

    def __init__(self, pieces: Pieces, tokens: Tokens, size: int, both: bool = False) -> None:
        self.pieces, self.tokens, self.letters = pieces, tokens, size * tokens.kmer
        counts = -(-pieces.lengths // self.letters)
        last = pieces.lengths - (counts - 1) * self.letters  # a rest shorter than a k-mer is no window
        counts = np.where(last < tokens.kmer, counts - 1, counts)
        self._ends = counts.cumsum()
        self.count = int(self._ends[-1]) if len(counts) else 0
        self.both = both

    def __len__(self) -> int:
        return self.count * (2 if self.both else 1)

    def lengths(self) -> NDArray[np.uint32]:
        """Tokens of each window; on disk where there are very many."""
        counts = np.diff(self._ends, prepend=0)
        some = np.flatnonzero(counts)
        last = self._ends[some] - 1  # the last window of each stretch may be shorter
        rest = np.minimum(self.pieces.lengths[some] - (counts[some] - 1) * self.letters, self.letters)
        found = Growing(np.uint32)
        for _ in range(2 if self.both else 1):
            for begin in range(0, self.count, _BLOCK):
                block = np.full(min(_BLOCK, self.count - begin), self.letters // self.tokens.kmer, np.uint32)
                low, high = np.searchsorted(last, [begin, begin + len(block)])
                block[last[low:high] - begin] = rest[low:high] // self.tokens.kmer
                found.add(block)
        return found.array()

    def place(self, number: int) -> tuple[int, int, int]:
        """Record, begin and end of a window."""
        piece = int(np.searchsorted(self._ends, number, "right"))
        row, begin, end = self.pieces.at(piece)
        first = begin + (number - (int(self._ends[piece - 1]) if piece else 0)) * self.letters
        return row, first, min(first + self.letters, end)

    def read(self, number: int) -> tuple[NDArray[np.int64], int]:
        """The ids of a window, and that of what came before."""
        other = number >= self.count
        row, begin, end = self.place(number % self.count)
        source, kmer = self.pieces.source, self.tokens.kmer
        end = begin + (end - begin) // kmer * kmer
        if other:
            codes = source.alphabet.reverse_complement(source.read(row, begin, end + kmer))
            before, own = codes[: len(codes) - (end - begin)], codes[len(codes) - (end - begin) :]
        else:
            codes = source.read(row, max(begin - kmer, 0), end)
            before, own = codes[: len(codes) - (end - begin)], codes[len(codes) - (end - begin) :]
        known = self.tokens.ids(before)
        return self.tokens.ids(own), int(known[-1]) if len(known) else self.tokens.begin

    def batch(self, rows: Tensor) -> Batch:
        """Some windows: x what came before each token, y the tokens; ambiguous ones have no weight."""
        given = [self.read(number) for number in rows.tolist()]
        lengths = torch.tensor([len(own) for own, _ in given])
        y = Ragged(torch.from_numpy(np.concatenate([own for own, _ in given])), lengths)
        x = y.with_values(
            torch.from_numpy(np.concatenate([part for own, before in given for part in ([before], own[:-1])]))
        )
        known = y.values < self.tokens.told
        weight = None if bool(known.all()) else y.with_values(known.float())
        return Batch(x, y.with_values(torch.where(known, y.values, 0)), weight)

    def source(self, batch_size: int, shuffle: bool, most: int | None = None) -> Source:
        """Batches of windows; of each epoch the first that hold `most` letters, where that is given."""
        buckets = Buckets(self.lengths(), self.batch, batch_size, shuffle=shuffle)
        ahead = Prefetch(buckets)
        batches = None if most is None else -(-most // (self.letters * batch_size))
        return ahead if batches is None or batches >= len(buckets) else First(ahead, batches)


class First(Source):
    """The first batches of each epoch of a source that shuffles: other rows in every epoch."""

    def __init__(self, source: Source, most: int) -> None:
        self.source, self.most = source, most
        self.carries_state = source.carries_state

    def __len__(self) -> int:
        return min(self.most, len(self.source))

    def peek(self) -> Batch | None:
        return self.source.peek()

    def batches(self, epoch: int, start: int, seed: int) -> Iterator[Batch]:
        given = self.source.batches(epoch, start, seed)
        try:
            for _ in range(start, len(self)):
                yield next(given)
        finally:
            close = getattr(given, "close", None)
            if close is not None:
                close()


def costs(model: Any, tokens: Tokens, stretches: list[tuple[Codes, int]]) -> list[NDArray[np.float64]]:
    """Of stretches of symbols what their tokens cost in bits, NaN for ambiguous ones.

    Args:
        stretches: symbols, and how many letters in front are read and not judged, a multiple of k.
    """
    found: list[NDArray[np.float64]] = []
    for first in range(0, len(stretches), _AT_ONCE):
        some = [(tokens.ids(codes), given // tokens.kmer) for codes, given in stretches[first : first + _AT_ONCE]]
        lengths = torch.tensor([len(ids) for ids, _ in some])
        x = np.concatenate([part for ids, _ in some for part in ([tokens.begin], ids[:-1]) if len(ids)])
        if not len(x):
            found += [np.zeros(0) for _ in some]
            continue
        logits = model.predict(Ragged(torch.from_numpy(x.astype(np.int64)), lengths), batch_size=_AT_ONCE)
        for (ids, given), own in zip(some, logits, strict=True):
            values = np.asarray(own, np.float64)
            logs = values - values.max(1, keepdims=True)
            logs -= np.log(np.exp(logs).sum(1, keepdims=True))
            known = ids < tokens.told
            bits = np.where(known, -logs[np.arange(len(ids)), np.where(known, ids, 0)] / np.log(2), np.nan)
            found.append(bits[given:])
    return found
