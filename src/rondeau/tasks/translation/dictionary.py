"""A dictionary learnt from pairs, for translating word by word: model 1 of Brown et al. 1993."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from rondeau.data.texts.vocabulary import PADDING, UNKNOWN

Ids = NDArray[np.int64]
_MOST = 20_000_000  # links of a source word with a target word that are looked at
_LONGEST = 200  # tokens of a side


class Dictionary:
    """How probable each target word is where a source word stands, whatever else does; all words in source order.

    Args:
        sources, targets: ids of training pairs; id 0 stands for nothing, 1 for what is not known.
        rounds: of expectation maximisation (default 6).

    Attributes: `best`, of each source word the most probable target word; `chances`, how probable it is; `parameters`,
    pairs of words that were seen together.

    >>> pairs = [([2, 3], [5, 6]), ([2], [5]), ([3, 4], [6, 7])]
    >>> Dictionary(*([np.array(p[side]) for p in pairs] for side in (0, 1))).translate(np.array([4, 2]))
    [7, 5]
    """

    def __init__(self, sources: Sequence[Ids], targets: Sequence[Ids], rounds: int = 6) -> None:
        left, right, written = _links(sources, targets)
        width = int(right.max(initial=0)) + 1
        kinds, link = np.unique(left * width + right, return_inverse=True)
        origin = kinds // width
        chance = np.ones(len(kinds))
        words = int(written.max(initial=-1)) + 1
        for _ in range(rounds):
            weight = chance[link]
            weight /= np.bincount(written, weight, words)[written]  # each target word has one source, or none
            counts = np.bincount(link, weight, len(kinds))
            chance = counts / np.bincount(origin, counts)[origin]
        self.parameters = len(kinds)
        best: dict[int, tuple[float, int]] = {}
        for word, other, value in zip(origin.tolist(), (kinds % width).tolist(), chance.tolist(), strict=True):
            if word not in (PADDING, UNKNOWN) and other != UNKNOWN and value > best.get(word, (0.0, 0))[0]:
                best[word] = value, other
        self.best = {word: other for word, (_, other) in best.items()}
        self.chances = {word: value for word, (value, _) in best.items()}

    def translate(self, source: Ids) -> list[int]:
        """Its words' best translations, one after another; a word without one is left out."""
        return [self.best[word] for word in source.tolist() if word in self.best]


def _links(sources: Sequence[Ids], targets: Sequence[Ids]) -> tuple[Ids, Ids, Ids]:
    """Every source word (and nothing) beside every target word of its pair, and the latter's number."""
    left, right, written = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    links = words = 0
    for one, other in zip(sources, targets, strict=True):
        one, other = np.concatenate([[PADDING], one[:_LONGEST]]), other[:_LONGEST]
        links += len(one) * len(other)
        if links > _MOST:
            break
        left.append(np.repeat(one, len(other)))
        right.append(np.tile(other, len(one)))
        written.append(np.tile(np.arange(words, words + len(other)), len(one)))
        words += len(other)
    return np.concatenate(left), np.concatenate(right), np.concatenate(written)
