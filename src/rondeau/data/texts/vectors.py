"""Word vectors that others have trained: text files of fastText and word2vec (.vec) and of GloVe."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rondeau.data.faults import Faults
from rondeau.data.texts.text_lines import read_lines
from rondeau.data.texts.vocabulary import Vocabulary
from rondeau.errors import DataError


@dataclass(frozen=True)
class Vectors:
    """A vector for each token of a vocabulary.

    Attributes:
        table: `(tokens, features)`, float32; row 0, the padding's, is zeros.
        found: which tokens the file has, `(tokens,)`.
        name: the file's.
    """

    table: NDArray[np.float32]
    found: NDArray[np.bool_]
    name: str

    def coverage(self, counts: Iterable[int] | None = None) -> float:
        """The share of words that the file has; with the `counts` of each id the share of a text's tokens."""
        own = np.ones(len(self.found)) if counts is None else np.asarray(list(counts), np.float64)
        own[:2] = 0  # neither padding nor the unknown word is looked for
        return float(own[self.found].sum() / own.sum()) if own.sum() else 0.0


def read_vectors(
    path: str | os.PathLike[str], vocabulary: Vocabulary, seed: int = 0, faults: Faults | None = None
) -> Vectors:
    """The vectors of a vocabulary's tokens, from a file of any size read once; only theirs are kept.

    A line is a word, which may hold blanks, and its numbers; a first line with two whole numbers, as .vec files have,
    is passed over. A word that is not there as it is written takes the vector of its lower-case form. What the file
    does not have is drawn from a normal distribution with the mean and spread of what it has, by `seed`.

    Faults: a line with another number of numbers than the first, or with what is none. Raises `DataError` for a file
    without vectors or without any word of the vocabulary.
    """
    faults = Faults() if faults is None else faults
    wanted = {token: id for id, token in enumerate(vocabulary.tokens) if id > 1}
    by_lower: dict[str, list[int]] = {}
    for token, id in wanted.items():
        if token.lower() != token:
            by_lower.setdefault(token.lower(), []).append(id)
    table: NDArray[np.float32] | None = None
    exact = np.zeros(vocabulary.size, bool)
    found = np.zeros(vocabulary.size, bool)
    features = 0
    for number, line in read_lines(path, "utf-8", faults):
        parts = line.rstrip("\r\n ").split(" ")
        if number == 1 and len(parts) == 2 and all(part.isdigit() for part in parts):
            continue
        if table is None:
            features = _features(parts, path)
            table = np.zeros((vocabulary.size, features), np.float32)
        word = " ".join(parts[:-features])
        if not word:
            faults.add(
                "a vector of another length", where=f"{path}, line {number:,}", expected=features, got=len(parts) - 1
            )
            continue
        own = wanted.get(word)
        others = [id for id in by_lower.get(word, ()) if not exact[id]]
        if own is None and not others:
            continue
        vector = _numbers(parts[-features:])
        if vector is None:
            faults.add("a vector with what is no number", where=f"{path}, line {number:,}", got=f"the word {word!r}")
            continue
        for id in others:
            table[id], found[id] = vector, True
        if own is not None and not exact[own]:  # of a word that comes twice the first counts
            table[own], found[own], exact[own] = vector, True, True
    if table is None:
        raise DataError("no vectors in the file", expected="a word and its numbers on each line", where=path)
    if not found.any():
        fix = "Is it of the same language, and are words the tokens?"
        raise DataError("the file has none of the words", got=f"{len(wanted):,} words", where=path, fix=fix)
    known = table[found]
    drawn = np.random.default_rng(seed).normal(known.mean(), known.std(), (vocabulary.size, features))
    table[~found] = drawn[~found]
    table[0] = 0
    return Vectors(table, found, os.path.basename(path))


def _features(parts: list[str], path: Any) -> int:
    """How many numbers end the first line; its word may be a number, too, and is left one part."""
    count = 0
    while count < len(parts) - 1 and _numbers(parts[-count - 1 :][:1]) is not None:
        count += 1
    if count < 2:
        raise DataError("no vectors in the file", expected="a word and its numbers on each line", where=path)
    return count


def _numbers(parts: list[str]) -> NDArray[np.float32] | None:
    try:
        vector = np.array(parts, dtype=np.float32)
    except ValueError:
        return None
    return vector if np.isfinite(vector).all() else None
