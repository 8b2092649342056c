"""Orders of many rows, drawn from a seed, any part of which can be had without the rest."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from rondeau.training.stream import mixed

Rows = NDArray[np.int64]

DRAWN = 1 << 20  # up to so many rows a permutation is simply drawn: 8 MB
_ROUNDS = 6


class Permutation:
    """A random order of `rows` rows, the same for the same seed; `part(a, b)` is what stands at a ... b - 1 of it.

    Up to a million rows it is drawn whole. Beyond, it is computed where it is asked for, in constant memory: a Feistel
    network over numbers of as many bits as there are rows, applied again where it leaves their range (Black & Rogaway
    2002, "Ciphers with arbitrary finite domains").

    >>> order = Permutation(5, seed=1)
    >>> sorted(order.part(0, 5).tolist())
    [0, 1, 2, 3, 4]
    """

    def __init__(self, rows: int, seed: int) -> None:
        self.rows = rows
        self._drawn: Rows | None = None
        if rows <= DRAWN:
            generator = torch.Generator().manual_seed(mixed(seed, rows))
            self._drawn = torch.randperm(rows, generator=generator).numpy()
        else:
            self._half = ((rows - 1).bit_length() + 1) // 2
            self._keys = [_scramble(np.uint64(mixed(seed, number))) for number in range(_ROUNDS)]

    def part(self, begin: int, end: int) -> Rows:
        """The rows at the places `begin` to `end - 1`."""
        if self._drawn is not None:
            return self._drawn[begin:end]
        numbers = self._cipher(np.arange(begin, end, dtype=np.uint64))
        while (outside := numbers >= self.rows).any():
            numbers[outside] = self._cipher(numbers[outside])
        return numbers.astype(np.int64)

    def _cipher(self, numbers: NDArray[np.uint64]) -> NDArray[np.uint64]:
        half, low = np.uint64(self._half), np.uint64((1 << self._half) - 1)
        left, right = numbers >> half, numbers & low
        for key in self._keys:
            left, right = right, left ^ (_scramble(right + key) & low)
        joined: NDArray[np.uint64] = (left << half) | right
        return joined


def _scramble(numbers: Any) -> Any:
    """The finaliser of splitmix64: every bit of the result depends on every bit that came in."""
    with np.errstate(over="ignore"):
        numbers = (numbers ^ (numbers >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        numbers = (numbers ^ (numbers >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return numbers ^ (numbers >> np.uint64(31))
