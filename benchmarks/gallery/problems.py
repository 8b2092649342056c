"""The two problems: adding (Hochreiter & Schmidhuber 1997), copy memory (Arjovsky et al. 2016, arXiv 1511.06464)."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from rondeau.data.made.synthetic import SYMBOLS, WORD, copy_memory


class Batch(NamedTuple):
    """Inputs `(rows, steps, features)` and what the last answers should be: `(rows, answers, ...)`."""

    x: Tensor
    y: Tensor


class Problem(NamedTuple):
    """A problem of any length.

    Attributes:
        outputs: numbers in an answer; answers: how many of the last steps give one.
        guess: the loss of the best answer that needs no memory.
        batch: (rows, steps, seed) -> a batch.
        loss: (answers `(rows, answers, outputs)`, y) -> 0-d.
        score: (answers, y) -> what a reader compares, a number; score_name: what it is.
    """

    title: str
    outputs: int
    answers: int
    guess: float
    batch: Callable[[int, int, int], Batch]
    loss: Callable[[Tensor, Tensor], Tensor]
    score_name: str
    score: Callable[[Tensor, Tensor], float]


def adding(rows: int, steps: int, seed: int) -> Batch:
    """Numbers between 0 and 1, of which one in each half is marked: what is the sum of the two?"""
    rng = np.random.default_rng(seed)
    x = np.zeros((rows, steps, 2), np.float32)
    x[..., 0] = rng.random((rows, steps))
    every, half = np.arange(rows), steps // 2
    marked = rng.integers(0, half, rows), rng.integers(half, steps, rows)
    for places in marked:
        x[every, places, 1] = 1
    y = sum(x[every, places, 0] for places in marked)
    return Batch(torch.from_numpy(x), torch.from_numpy(np.asarray(y))[:, None, None])


def copying(rows: int, steps: int, seed: int) -> Batch:
    """Four of eight symbols at the start, said again at the end, after a signal."""
    problem = copy_memory(rows, steps, seed)
    x = torch.nn.functional.one_hot(torch.from_numpy(problem.x), problem.ids).float()
    return Batch(x, torch.from_numpy(problem.y[:, -WORD:]) - 1)


def _squared_error(answers: Tensor, y: Tensor) -> Tensor:
    return torch.nn.functional.mse_loss(answers, y)


def _entropy(answers: Tensor, y: Tensor) -> Tensor:
    return torch.nn.functional.cross_entropy(answers.flatten(0, 1), y.flatten())


PROBLEMS: dict[str, Problem] = {
    "adding": Problem(
        "Adding problem",
        1,
        1,
        1 / 6,
        adding,
        _squared_error,
        "mean squared error",
        lambda a, y: float(_squared_error(a, y)),
    ),
    "copy": Problem(
        "Copy memory",
        SYMBOLS,
        WORD,
        math.log(SYMBOLS),
        copying,
        _entropy,
        "share of symbols recalled",
        lambda a, y: float((a.argmax(-1) == y).float().mean()),
    ),
}
