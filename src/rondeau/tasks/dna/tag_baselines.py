"""Tags told from a few letters around, without a memory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rondeau.tasks.dna.reading import kmers

ORDERS = (1, 3, 5)  # of the Markov chains; of proteins 1
WIDTHS = (15, 31, 61, 121)
CONTEXTS = (1, 3, 5, 7, 9)  # letters
_MOST = 300_000  # contexts that are counted
Tags = NDArray[np.int64]


class Tagged(NamedTuple):
    """A stretch: its symbols, and the number of each letter's tag, -1 for one that is not known."""

    codes: NDArray[np.uint8]
    tags: Tags


class Told(NamedTuple):
    """A baseline's name, how many numbers it holds, and its tags for each test stretch."""

    name: str
    parameters: int | None
    tags: list[Tags]


def all_told(train: Any, held: Any, test: list[Tagged], letters: int, tags: int) -> Iterator[Told]:
    """All baselines; `train`, `held`: functions that give the stretches anew."""
    share = np.zeros(tags)
    for one in train():
        share += np.bincount(one.tags[one.tags >= 0], minlength=tags)
    most = int(share.argmax())
    yield Told("most frequent tag", 1, [np.full(len(one.codes), most) for one in test])
    yield _by_context(train, held, test, letters, tags)
    yield _by_chains(train, held, test, letters, tags, share)


def _by_context(train: Any, held: Any, test: list[Tagged], letters: int, tags: int) -> Told:
    best: tuple[float, int, Tags] | None = None
    for width in CONTEXTS:
        if letters**width * tags > 4 * _MOST:
            break
        counts = np.zeros((letters**width + 1, tags))
        for one in train():
            known = one.tags >= 0
            np.add.at(counts, (_around(one.codes, letters, width)[known], one.tags[known]), 1)
        counts += counts.sum(0) / max(counts.sum(), 1)  # what was never seen gets the most frequent one
        table = counts.argmax(1)
        right = _right(held(), lambda one, table=table, width=width: table[_around(one.codes, letters, width)])
        if best is None or right > best[0]:
            best = right, width, table
    assert best is not None
    _, width, table = best
    return Told(
        f"most frequent tag of {width} letters around",
        len(table),
        [table[_around(one.codes, letters, width)] for one in test],
    )


def _around(codes: NDArray[np.uint8], letters: int, width: int) -> Tags:
    """The k-mer around each letter; at the ends the last one that is whole, where there is any."""
    ids = kmers(codes, letters, width)
    if not len(ids):
        return np.full(len(codes), letters**width)
    return np.pad(ids, (width // 2, width - 1 - width // 2), mode="edge")


def _by_chains(train: Any, held: Any, test: list[Tagged], letters: int, tags: int, share: NDArray[np.float64]) -> Told:
    """Of each tag a Markov chain; a letter gets the tag whose chain likes the letters around it best."""
    best: tuple[float, _Chains, int] | None = None
    for order in ORDERS:
        if order > 1 and letters > 4:
            break
        chains = _Chains(train(), letters, tags, order, share)
        for width in WIDTHS:
            right = _right(held(), lambda one, chains=chains, width=width: chains.told(one, width))
            if best is None or right > best[0]:
                best = right, chains, width
    assert best is not None
    _, chains, width = best
    name = f"Markov chain of order {chains.order} for each tag, {width} letters around"
    return Told(name, chains.logs.size - tags, [chains.told(one, width) for one in test])


class _Chains:
    """Of each tag the logarithms of the chances of letters after `order` others, half a count added to each."""

    def __init__(self, train: Any, letters: int, tags: int, order: int, share: NDArray[np.float64]) -> None:
        self.letters, self.order, self.share = letters, order, share
        counts = np.full((tags, letters ** (order + 1)), 0.5)
        for one in train:
            ids = kmers(one.codes, letters, order + 1)
            if len(ids):
                own = one.tags[order:]
                good = (ids < counts.shape[1]) & (own >= 0)
                np.add.at(counts, (own[good], ids[good]), 1)
        table = counts.reshape(tags, -1, letters)
        logs = np.log(table / table.sum(2, keepdims=True)).reshape(tags, -1)
        self.logs = np.concatenate([logs, np.zeros((tags, 1))], 1)  # what is ambiguous says nothing

    def told(self, one: Tagged, width: int) -> Tags:
        """The tag of each letter, by so many letters around it."""
        ids = kmers(one.codes, self.letters, self.order + 1)
        if not len(ids):
            return np.full(len(one.codes), int(self.share.argmax()))
        each = np.pad(self.logs[:, ids], ((0, 0), (self.order, 0)))
        sums = np.pad(each.cumsum(1), ((0, 0), (1, 0)))
        at = np.arange(len(one.codes))
        low, high = np.maximum(at - width // 2, 0), np.minimum(at + width // 2 + 1, len(at))
        prior = np.log(np.maximum(self.share, 0.5) / max(self.share.sum(), 1))
        found: Tags = (sums[:, high] - sums[:, low] + prior[:, None]).argmax(0)
        return found


def _right(stretches: Any, told: Any) -> float:
    right = total = 0
    for one in stretches:
        known = one.tags >= 0
        right += int((told(one) == one.tags)[known].sum())
        total += int(known.sum())
    return right / max(total, 1)
