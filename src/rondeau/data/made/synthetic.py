"""Sequence problems of any length, made from a seed: does what was learnt on short ones hold on long ones?"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from rondeau.errors import ArgumentError

Array = np.ndarray[Any, Any]
SYMBOLS, WORD = 8, 4  # of the copy task: how many symbols there are, and how many are to be remembered
LEVELS = 8  # brackets are nested so deep at most
MODULUS = 5


class Problem(NamedTuple):
    """A problem: rows of ids `(rows, length)`, and for every step the class that is right `(rows, length)`.

    `counted`: the steps by which a model is judged, `(rows, length)`, true where an answer takes memory. `ids` and
    `classes`: how many of each there are.
    """

    x: Array
    y: Array
    counted: Array
    ids: int
    classes: int


def copy_memory(rows: int, length: int, seed: int = 0) -> Problem:
    """Four symbols at the start are to be said at the end, after a signal; nothing in between (arXiv 1511.06464).

    In rows of `length` steps, nine or more, each symbol is to be kept for `length - 4` of them.
    """
    _check(rows, length, 2 * WORD + 1)
    rng = np.random.default_rng(seed)
    word = rng.integers(1, SYMBOLS + 1, (rows, WORD))
    x, y = np.zeros((2, rows, length), np.int64)
    x[:, :WORD] = word
    x[:, length - WORD - 1] = SYMBOLS + 1  # the signal
    y[:, length - WORD :] = word
    return Problem(x, y, y > 0, SYMBOLS + 2, SYMBOLS + 1)


def bracket_depth(rows: int, length: int, seed: int = 0) -> Problem:
    """After each bracket, how many are open: 0 to 8. None closes where none is open, and a ninth never opens."""
    _check(rows, length, 1)
    rng = np.random.default_rng(seed)
    coins = rng.random((rows, length)) < 0.5
    depth = np.zeros(rows, np.int64)
    x, y = np.zeros((2, rows, length), np.int64)
    for step in range(length):
        opens = (coins[:, step] | (depth == 0)) & (depth < LEVELS)
        depth += np.where(opens, 1, -1)
        x[:, step], y[:, step] = ~opens, depth
    return Problem(x, y, np.ones(x.shape, bool), 2, LEVELS + 1)


def running_sum(rows: int, length: int, seed: int = 0) -> Problem:
    """After each digit, 0 to 4, the sum of all so far modulo 5."""
    _check(rows, length, 1)
    x = np.random.default_rng(seed).integers(0, MODULUS, (rows, length))
    return Problem(x, x.cumsum(1) % MODULUS, np.ones(x.shape, bool), MODULUS, MODULUS)


PROBLEMS: dict[str, Callable[..., Problem]] = {
    "copy memory": copy_memory,
    "bracket depth": bracket_depth,
    "running sum": running_sum,
}


def _check(rows: int, length: int, least: int) -> None:
    for name, value, lowest in (("rows", rows, 1), ("length", length, least)):
        if not isinstance(value, int) or isinstance(value, bool) or value < lowest:
            raise ArgumentError(name, expected=f"a whole number, {lowest} or more", got=repr(value))
