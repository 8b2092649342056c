"""Whether an answer stands in its question, and whether what a model is judged on is what it has learnt from."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from rondeau.data.texts.vocabulary import Vocabulary
from rondeau.tasks.texts.divide import key_of
from rondeau.tasks.texts.examples import Encoded

KEPT = 20_000
"""Training documents that are remembered by a number, at most."""

_LOOKED_AT = 5000  # documents
_TELLS = 0.98  # of a class's documents have the word, and of the others' as few lack it


def remember(texts: Iterable[str], count: int) -> list[int]:
    """Numbers of some of so many texts, the same ones for the same texts; at most about 20,000.

    A text is among them by its number alone, so that a text that is seen again is looked for only if it would be.
    """
    every = 1 + count // KEPT
    return sorted({key for text in texts if (key := key_of(text)) % every == 0})


def seen_share(texts: Iterable[str], remembered: Iterable[int], count: int) -> float:
    """The share of texts that were among the `count` that were remembered, estimated from those it can be told of."""
    known, every = set(remembered), 1 + count // KEPT
    told = [key in known for text in texts if (key := key_of(text)) % every == 0]
    return sum(told) / len(told) if told else 0.0


def telling_words(
    encoded: Encoded, y: NDArray[np.int64], labels: list[str], vocabulary: Vocabulary
) -> list[tuple[str, str]]:
    """Words that tell a class from all others by themselves, each with the class; looks at 5,000 documents."""
    chosen = np.random.default_rng(0).permutation(len(y))[:_LOOKED_AT]
    counts = np.zeros((len(labels), vocabulary.size), np.int64)
    documents = np.bincount(y[chosen], minlength=len(labels))
    for row in chosen.tolist():
        counts[y[row], np.unique(encoded.ids(row))] += 1
    found = []
    for number, label in enumerate(labels):
        inside, outside = counts[number], counts.sum(0) - counts[number]
        others = int(documents.sum() - documents[number])
        if documents[number] < 10 or others < 10:
            continue
        tells = (inside >= _TELLS * documents[number]) & (outside <= (1 - _TELLS) * others)
        found += [(vocabulary.tokens[id], label) for id in np.flatnonzero(tells).tolist() if id > 1]
    return found
