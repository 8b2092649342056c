"""How fast the machine multiplies float32 matrices right now: 768 x 768 x 768, and the case's own outside products."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from benchmarks.cases import Problem
from benchmarks.formulas import FORMULAS

SIZE = 768


class Products:
    """Some matrix products, one after the other, into the same memory each time."""

    note = ""

    def __init__(self, pairs: list[tuple[Tensor, Tensor]]) -> None:
        self.work = [(a, b, torch.empty(a.shape[0], b.shape[1])) for a, b in pairs]

    def change(self) -> None:
        """Nothing: there are no parameters."""

    def run(self) -> None:
        for a, b, out in self.work:
            torch.mm(a, b, out=out)

    def results(self) -> dict[str, Any]:
        return {}


def outside(problem: Problem) -> list[tuple[int, int, int]]:
    """(rows, inner, columns) of the products that a training step makes once, over all real steps: xW, dW, dU, dx."""
    case, wide = problem.case, FORMULAS[problem.cell].products * problem.case.units
    steps, features = case.steps, case.features
    return [(steps, features, wide), (features, steps, wide), (case.units, steps, wide), (steps, wide, features)]


def square_operations() -> int:
    """Floating-point operations of the square product."""
    return 2 * SIZE**3


def outside_operations(problem: Problem) -> int:
    """Floating-point operations of the outside products together."""
    return sum(2 * rows * inner * columns for rows, inner, columns in outside(problem))


def make_square(problem: Problem) -> Products:
    """The product of two square matrices."""
    return Products([(torch.randn(SIZE, SIZE), torch.randn(SIZE, SIZE))])


def make(problem: Problem) -> Products:
    """The case's outside products."""
    return Products([(torch.randn(r, i), torch.randn(i, c)) for r, i, c in outside(problem)])
