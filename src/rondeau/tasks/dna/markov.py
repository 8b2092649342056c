"""A Markov chain of order k over letters: what comes next, told by the k letters before."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
from numpy.typing import NDArray

from rondeau.data.dna.alphabets import Codes
from rondeau.errors import ArgumentError, DataError
from rondeau.tasks.dna.reading import kmers

_MOST = 1 << 24  # contexts and letters that are counted
_AT_ONCE = 1 << 20  # letters
Floats = NDArray[np.float64]


class MarkovChain:
    """Chances of letters after the `order` letters before them, half a count added to each.

    Args:
        stretches: symbols of sequences, read once.
        letters: how many plain ones there are.
        order: letters of a context; 0 for none.

    Letters with an ambiguous one among them or before them are not counted. A stretch's first letters, whose context is
    short, are told by chains of lower order. Raises `ArgumentError` for an order below 0 or too large to be held,
    `DataError` where there is no letter.

    >>> chain = MarkovChain([np.array([0, 1, 0, 1, 0, 1], np.uint8)], 4, 1)
    >>> chain.bits(np.array([0, 1], np.uint8)).round(2).tolist()
    [1.19, 0.51]
    """

    def __init__(self, stretches: Iterable[Codes], letters: int, order: int) -> None:
        if order < 0 or letters ** (order + 1) > _MOST:
            raise ArgumentError("order of the Markov chain", expected=f"0 or more, up to {_MOST:,} counts", got=order)
        self.letters, self.order = letters, order
        counts = [np.zeros(letters ** (k + 1) + 1, np.int64) for k in range(order + 1)]
        for codes in stretches:
            for begin in range(0, len(codes), _AT_ONCE):
                own = codes[max(begin - order, 0) : begin + _AT_ONCE]
                for k in range(order + 1):
                    part = own[order - k if begin else 0 :]
                    counts[k] += np.bincount(kmers(part, letters, k + 1), minlength=len(counts[k]))
        if not counts[0][:-1].any():
            raise DataError("there is no letter to count", expected="sequences with plain letters")
        self._logs: list[Floats] = []
        for own_counts in counts:
            table = own_counts[:-1].reshape(-1, letters) + 0.5
            self._logs.append(np.append(np.log2(table / table.sum(1, keepdims=True)).ravel(), np.nan))

    @property
    def parameters(self) -> int:
        """How many chances it holds, those of the longest contexts."""
        return len(self._logs[-1]) - 1

    def bits(self, codes: Codes, given: int = 0) -> Floats:
        """What each letter costs, `(letters - given,)`; NaN for an ambiguous one.

        Args:
            given: letters in front that are known and not judged.
        """
        found = np.full(len(codes), np.nan)
        for k, logs in enumerate(self._logs):  # longer contexts where there are some
            costs = -logs[kmers(codes, self.letters, k + 1)]
            found[k:] = np.where(np.isnan(costs), found[k:], costs)
        return found[given:]


def chosen(
    train: Callable[[], Iterable[Codes]], held: Callable[[], Iterable[Codes]], letters: int, most: int | None = None
) -> MarkovChain:
    """The chain of the order that tells the validation stretches best, from 0 up to where three are worse.

    Args:
        train, held: give the stretches anew each time; most: the highest order that is tried (default: 12 of bases).
    """
    best: tuple[float, MarkovChain] | None = None
    highest = int(np.log(_MOST) / np.log(letters)) - 1 if most is None else most
    for order in range(highest + 1):
        chain = MarkovChain(train(), letters, order)
        sums = [(np.nansum(bits), np.isfinite(bits).sum()) for bits in map(chain.bits, held())]
        cost = float(sum(one for one, _ in sums) / max(sum(count for _, count in sums), 1))
        if best is None or cost < best[0]:
            best = cost, chain
        elif order >= best[1].order + 3:
            break
    assert best is not None
    return best[1]
