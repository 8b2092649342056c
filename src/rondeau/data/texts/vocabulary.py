"""Tokens and their ids."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rondeau.errors import ArgumentError, CheckpointError, DataError

PADDING, UNKNOWN = 0, 1
_SPECIAL = ("", "\ufffd")


class Vocabulary:
    """Ids for tokens: 0 is padding, 1 whatever is not known, the others from the most frequent token on.

    >>> words = Vocabulary.build([["a", "b", "a"], ["a"]])
    >>> words.encode(["a", "b", "c"]).tolist(), words.decode([2, 3])
    ([2, 3, 1], ['a', 'b'])
    """

    def __init__(self, tokens: Sequence[str]) -> None:
        """`tokens`: in the order of their ids, from 2 on. Raises `ArgumentError` for one that comes twice."""
        self.tokens: tuple[str, ...] = (*_SPECIAL, *tokens)
        self._ids = {token: id for id, token in enumerate(self.tokens) if id > UNKNOWN}
        if len(self._ids) != len(tokens):
            raise ArgumentError("a vocabulary's tokens are each there once", got=f"{len(tokens)} tokens")

    @classmethod
    def build(cls, sequences: Iterable[Iterable[str]], min_count: int = 1, size: int | None = None) -> Vocabulary:
        """From all tokens, in one pass; see `from_counts`."""
        counts: Counter[str] = Counter()
        for sequence in sequences:
            counts.update(sequence)
        return cls.from_counts(counts, min_count, size)

    @classmethod
    def from_counts(cls, counts: Mapping[str, int], min_count: int = 1, size: int | None = None) -> Vocabulary:
        """Tokens that came `min_count` times or more, the most frequent first (equal ones by their letters).

        `size`: ids there are at most, padding and unknown among them.
        """
        kept = sorted((t for t, n in counts.items() if n >= min_count), key=lambda token: (-counts[token], token))
        return cls(kept if size is None else kept[: max(0, size - len(_SPECIAL))])

    @property
    def size(self) -> int:
        """How many ids there are."""
        return len(self.tokens)

    def __contains__(self, token: str) -> bool:
        return token in self._ids

    def encode(self, tokens: Iterable[str]) -> NDArray[np.int64]:
        """The ids of tokens, `(tokens,)`."""
        known = self._ids
        return np.fromiter((known.get(token, UNKNOWN) for token in tokens), np.int64)

    def decode(self, ids: ArrayLike) -> list[str]:
        """The tokens of ids. Raises `DataError` for an id outside the vocabulary."""
        found = np.asarray(ids, np.int64)
        if found.size and not 0 <= found.min() <= found.max() < self.size:
            raise DataError("an id is outside the vocabulary", expected=f"0 to {self.size - 1}", got=found.tolist())
        return [self.tokens[id] for id in found.tolist()]

    def to_json(self) -> dict[str, Any]:
        """As `from_json` takes it."""
        return {"tokens": list(self.tokens[len(_SPECIAL) :])}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Vocabulary:
        """What `to_json` gave. Raises `CheckpointError` for anything else."""
        tokens = data.get("tokens")
        if not isinstance(tokens, list) or not all(isinstance(token, str) for token in tokens):
            raise CheckpointError("a vocabulary is damaged", expected="tokens, a list of strings")
        return cls(tokens)
