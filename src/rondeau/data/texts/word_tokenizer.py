"""Text to ids of words, and back."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from rondeau.data.texts.tokenizer import UNKNOWN, Ids, StreamDecoder, checked_ids, strings
from rondeau.errors import ArgumentError, CheckpointError

_TOKEN = re.compile(r" ?\w+(?:['’]\w+)*| ?[^\w\s]|\s")  # all of any text, each character in one token


class WordTokenizer:
    """A token for each word or mark with the space before it, and for each other white space.

    Ids go from the most frequent token on, as a sampled softmax wants them; id 0 is every token that is not known.
    What is known comes back letter for letter.

    Args:
        words: the known tokens, ids 1, 2, ... in this order.

    >>> tokenizer = WordTokenizer.train("a cat, a dog, a cat", 10)
    >>> tokenizer.decode(tokenizer.encode(" a cat, a bird"))
    ' a cat, a\ufffd'
    """

    unknown = 0

    def __init__(self, words: Sequence[str]) -> None:
        self.tokens: tuple[str, ...] = (UNKNOWN, *words)
        self._ids = {word: id for id, word in enumerate(words, 1)}
        if len(self._ids) != len(words) or UNKNOWN in self._ids:
            raise ArgumentError("WordTokenizer: the words must be distinct and not '\\ufffd'")

    @classmethod
    def train(cls, text: str | Iterable[str], vocabulary_size: int) -> WordTokenizer:
        """The most frequent tokens of a text, or of its parts one after another, up to so many ids.

        One that comes a single time is left out, so that the model learns what an unknown one is like; but where
        that leaves nothing, all are known. Raises `ArgumentError` for fewer than 2 ids.
        """
        if vocabulary_size < 2:
            expected = "2 or more: the unknown word and a known one"
            raise ArgumentError("WordTokenizer: the vocabulary is too small", expected=expected, got=vocabulary_size)
        counts: Counter[str] = Counter()
        for part in [text] if isinstance(text, str) else text:
            counts.update(cls.split(part))
        counts.pop(UNKNOWN, None)
        known = {word: count for word, count in counts.items() if count > 1} or counts
        return cls(sorted(known, key=lambda word: (-known[word], word))[: vocabulary_size - 1])

    @staticmethod
    def split(text: str) -> list[str]:
        """The tokens of a text, which put together are the text."""
        return _TOKEN.findall(text)

    @property
    def size(self) -> int:
        """The number of ids."""
        return len(self.tokens)

    def encode(self, text: str) -> Ids:
        """The ids of `text`, `(tokens,)`."""
        known = self._ids
        return np.fromiter((known.get(word, 0) for word in self.split(text)), np.int64)

    def decode(self, ids: ArrayLike) -> str:
        """The text of `ids`. Raises `DataError` for an id outside the vocabulary."""
        return "".join(self.tokens[id] for id in checked_ids(ids, self.size).tolist())

    def decode_stream(self) -> StreamDecoder:
        """Every token is whole by itself."""
        return _WordStream(self)

    def to_json(self) -> dict[str, Any]:
        """As `from_json` takes it."""
        return {"kind": "words", "words": list(self.tokens[1:])}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> WordTokenizer:
        """What `to_json` described. Raises `CheckpointError` for anything else."""
        words = strings(data, "words", "words")
        try:
            return cls(words)
        except ArgumentError as error:
            raise CheckpointError("damaged vocabulary", got=error.what) from error


class _WordStream:
    def __init__(self, tokenizer: WordTokenizer) -> None:
        self._tokenizer = tokenizer

    def push(self, token: int) -> str:
        return self._tokenizer.decode([token])

    def flush(self) -> str:
        return ""
