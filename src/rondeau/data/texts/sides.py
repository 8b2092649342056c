"""The two sides of a translation: how a text becomes ids there, and ids a text again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rondeau.data.progress import progress
from rondeau.data.texts.segment import PIECES, Segmenter
from rondeau.data.texts.vocabulary import UNKNOWN, Vocabulary
from rondeau.errors import CheckpointError

Ids = NDArray[np.int64]


class Side(NamedTuple):
    """A segmenter and the vocabulary of its tokens.

    >>> side = Side.learn(["one two", "two three"])
    >>> side.decode(side.encode("two four"))
    ['two', '\\ufffd']
    """

    segmenter: Segmenter
    vocabulary: Vocabulary

    @classmethod
    def learn(
        cls,
        texts: Iterable[str],
        unit: str = "words",
        lower: bool = False,
        min_count: int = 1,
        pieces: int = PIECES,
    ) -> Side:
        """From training texts, gone through twice: tokens that come `min_count` times or more; all byte-pair pieces.

        Raises `ArgumentError` for an unknown unit.
        """
        segmenter = Segmenter.train(texts, unit, lower, pieces)
        least = 1 if unit == "bpe" else min_count
        return cls(
            segmenter,
            Vocabulary.build(
                (segmenter.split(text) for text in progress(texts, "counting words", unit="texts")), least
            ),
        )

    def encode(self, text: str) -> Ids:
        """The ids of a text, `(tokens,)`."""
        return self.vocabulary.encode(self.segmenter.split(text))

    def decode(self, ids: Iterable[int]) -> list[str]:
        """The tokens of ids."""
        return self.vocabulary.decode(np.fromiter(ids, np.int64))

    def unknown_share(self, encoded: Iterable[Ids]) -> float:
        """How much of some texts the vocabulary does not know."""
        tokens = unknown = 0
        for ids in encoded:
            tokens += len(ids)
            unknown += int((ids == UNKNOWN).sum())
        return unknown / max(tokens, 1)

    def to_json(self) -> dict[str, Any]:
        """As `from_json` takes it."""
        return {"segmenter": self.segmenter.to_json(), "vocabulary": self.vocabulary.to_json()}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Side:
        """What `to_json` gave. Raises `CheckpointError` for anything else."""
        if not isinstance(data, dict) or not {"segmenter", "vocabulary"} <= data.keys():
            raise CheckpointError("a side of a translation is damaged", expected="segmenter and vocabulary")
        return cls(Segmenter.from_json(data["segmenter"]), Vocabulary.from_json(data["vocabulary"]))
