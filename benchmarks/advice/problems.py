"""Small problems that take memory, drawn at random, and faulty kinds of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

ROWS, HELD_OUT = 320, 96


@dataclass(frozen=True)
class Problem:
    """Rows to learn from and rows held out.

    Attributes:
        x: `(rows, steps, features)`, or ids `(rows, steps)`; y: a target a row, or a step.
        outputs: of the last layer; classes: whether targets are classes, else numbers; by_step: a target a step.
        ids: how many there are; 0 for numbers.
        lag: steps between a cause and its answer, at most.
    """

    name: str
    x: Tensor
    y: Tensor
    outputs: int
    classes: bool
    by_step: bool
    ids: int
    lag: int

    def rows(self, count: int) -> tuple[Tensor, Tensor]:
        """The first `count` rows to learn from."""
        return self.x[:count], self.y[:count]

    @property
    def held_out(self) -> tuple[Tensor, Tensor]:
        return self.x[ROWS:], self.y[ROWS:]


Make = Callable[[torch.Generator, int], Problem]


def early_class(g: torch.Generator, steps: int) -> Problem:
    """The class is that of a mark in the first quarter of the row; noise goes on."""
    rows, classes = ROWS + HELD_OUT, _whole(g, 2, 4)
    y = torch.randint(classes, (rows,), generator=g)
    place = torch.randint(max(steps // 4, 1), (rows,), generator=g)
    x = 0.1 * torch.randn(rows, steps, classes, generator=g)
    x[torch.arange(rows), place, y] += 1.0
    return Problem("early class", x, y, classes, True, False, 0, steps)


def early_value(g: torch.Generator, steps: int) -> Problem:
    """The value that stands at a mark in the first quarter of the row."""
    rows = ROWS + HELD_OUT
    x = torch.randn(rows, steps, 2, generator=g)
    place = torch.randint(max(steps // 4, 1), (rows,), generator=g)
    x[:, :, 1] = 0.0
    x[torch.arange(rows), place, 1] = 1.0
    y = x[torch.arange(rows), place, :1]
    return Problem("early value", x, y, 1, False, False, 0, steps)


def total(g: torch.Generator, steps: int) -> Problem:
    """The sum of a feature over all steps, so scaled that its variance is one."""
    x = torch.randn(ROWS + HELD_OUT, steps, 2, generator=g)
    return Problem("total", x, x[:, :, :1].sum(1) / steps**0.5, 1, False, False, 0, steps)


def series(g: torch.Generator, steps: int) -> Problem:
    """The next value of two sines, of periods common to all rows and phases of each, with a little noise."""
    rows = ROWS + HELD_OUT
    period = 4 + 16 * torch.rand(2, generator=g)
    phase = 6.283 * torch.rand(rows, 1, 2, generator=g)
    time = torch.arange(steps + 1)[None, :, None]
    values = (6.283 * time / period + phase).sin().sum(2, keepdim=True)
    values = values + 0.05 * torch.randn(values.shape, generator=g)
    return Problem("series", values[:, :-1], values[:, 1:], 1, False, True, 0, 3)


def language(g: torch.Generator, steps: int) -> Problem:
    """The next letter, which the last two decide nine times in ten."""
    rows, letters = ROWS + HELD_OUT, _whole(g, 4, 6)
    rule = torch.stack([torch.randperm(letters, generator=g) for _ in range(letters)])  # a row for the last but one
    text = torch.randint(letters, (rows, steps + 1), generator=g)
    free = torch.rand(rows, steps + 1, generator=g) < 0.1
    for t in range(2, steps + 1):
        text[:, t] = torch.where(free[:, t], text[:, t], rule[text[:, t - 2], text[:, t - 1]])
    return Problem("language", text[:, :-1], text[:, 1:], letters, True, True, letters, 2)


def kept(g: torch.Generator, steps: int) -> Problem:
    """At every step of the second half the sign of the first one's value; of the first half, zero."""
    rows = ROWS + HELD_OUT
    x = torch.randn(rows, steps, 2, generator=g)
    x[:, 0, 0] = x[:, 0, 0].sign() * 1.5
    x[:, 1:, 0] *= 0.1
    y = torch.zeros(rows, steps, 1)
    y[:, steps // 2 :] = x[:, :1, :1].sign()
    return Problem("kept", x, y, 1, False, True, 0, steps)


def delayed(g: torch.Generator, steps: int) -> Problem:
    """What was read half a row ago."""
    lag = steps // 2
    x = torch.randn(ROWS + HELD_OUT, steps, 1, generator=g).sign()
    y = torch.cat([torch.zeros_like(x[:, :lag]), x[:, :-lag]], dim=1)
    return Problem("delayed", x, y, 1, False, True, 0, lag)


def present(g: torch.Generator, steps: int) -> Problem:
    """A fault of the problem: what the last step says, whatever came before, at each step or at the end."""
    x = torch.randn(ROWS + HELD_OUT, steps, 3, generator=g)
    classes, by_step = _coin(g), _coin(g)
    direction = torch.randn(3, generator=g)
    y = (x @ direction)[..., None] if by_step else (x[:, -1] @ direction)[:, None]
    if classes:
        return Problem("present", x, (y[..., 0] > 0).long(), 2, True, by_step, 0, 1)
    return Problem("present", x, y.tanh(), 1, False, by_step, 0, 1)


HEALTHY: tuple[Make, ...] = (early_class, total, series, language)
EARLY: tuple[Make, ...] = (early_class, early_value)
LONG: tuple[Make, ...] = (early_class, total)
WINDOWED: tuple[Make, ...] = (series, language)
BEYOND: tuple[Make, ...] = (kept, delayed)


def _whole(g: torch.Generator, low: int, high: int) -> int:
    """From low to high, both included."""
    return int(torch.randint(low, high + 1, (), generator=g))


def _coin(g: torch.Generator) -> bool:
    return bool(torch.rand((), generator=g) < 0.5)
