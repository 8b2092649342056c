"""The methods behind `saliency`: each gives every number of a row's steps its part in a model's output."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rondeau.errors import ArgumentError
from rondeau.insight.sources import Sources, Values
from rondeau.insight.targets import Target, value_of

_FIRST = 8  # points of the first attempt at an integral


class Path:
    """A row and its baseline, and the target as a function of what lies between them.

    Attributes:
        differences: row less baseline, one for each source, `(steps, *features)`.
        evaluations: rows that went through the model so far.
    """

    def __init__(self, sources: Sources, baseline: Values, target: Target, batch_size: int) -> None:
        self.sources, self.baseline, self.target, self.batch_size = sources, baseline, target, batch_size
        self.differences = [value - start for value, start in zip(sources.values, baseline, strict=True)]
        self.evaluations = 0

    def ends(self) -> tuple[float, float]:
        """The target at the row, and at the baseline."""
        self.value, self.nothing = self.values(torch.tensor([[1.0], [0.0]]).expand(2, self.sources.steps)).tolist()
        return self.value, self.nothing

    def values(self, weights: Tensor) -> Tensor:
        """The target, `(rows,)` in double, where step t of row r stands `weights[r, t]` of the way to the row's own."""
        found = []
        with torch.no_grad():
            for part in torch.split(weights, self.batch_size):
                found.append(value_of(self.target, self.sources.run(self._between(part))).double().cpu())
                self.evaluations += len(part)
        return torch.cat(found)

    def gradients(self, weights: Tensor) -> Iterator[Values]:
        """The target's gradients by the sources where all steps stand `weights[r]` of the way, by batches of rows."""
        for part in torch.split(weights, self.batch_size):
            here = [value.requires_grad_() for value in self._between(part[:, None].expand(-1, self.sources.steps))]
            values = value_of(self.target, self.sources.run(here))
            self.evaluations += len(part)
            if not values.requires_grad:
                what = f"saliency: {self.target.name} cannot be differentiated by the input"
                fix = "Use method='occlusion', which takes no gradients"
                raise ArgumentError(what, fix=fix)
            found = torch.autograd.grad(values.sum(), here, allow_unused=True)
            yield [
                torch.zeros_like(value) if gradient is None else gradient
                for value, gradient in zip(here, found, strict=True)
            ]

    def _between(self, weights: Tensor) -> Values:
        """Rows at `weights`, `(rows, steps)`, of the way: at 1 exactly the row's steps, at 0 the baseline's."""
        found = []
        for own, start in zip(self.sources.values, self.baseline, strict=True):
            share = weights.to(own).reshape(*weights.shape, *[1] * (own.ndim - 1))
            found.append(torch.lerp(start[None], own[None], share))
        return found


@dataclass(frozen=True)
class Attribution:
    """Parts of each source's numbers in the target, `(steps, *features)` in double, or `(steps,)`."""

    parts: Values


def gradient_x_input(window: int, tolerance: float, max_points: int) -> Callable[[Path], Attribution]:
    """∂f/∂x · (x - baseline)."""

    def attribute(path: Path) -> Attribution:
        return Attribution(_weighted(path, torch.ones(1), torch.ones(1)))

    return attribute


def integrated_gradients(window: int, tolerance: float, max_points: int) -> Callable[[Path], Attribution]:
    """The mean of the gradients along the path, times x - baseline; points are added until the sum is complete."""

    def attribute(path: Path) -> Attribution:
        points = min(_FIRST, max_points)
        while True:
            places, weights = np.polynomial.legendre.leggauss(points)
            parts = _weighted(path, torch.from_numpy((places + 1) / 2), torch.from_numpy(weights / 2))
            scores = torch.stack([part.flatten(1).sum(1) if part.ndim > 1 else part for part in parts]).sum(0)
            gap = abs(float(scores.sum()) - (path.value - path.nothing))
            if gap <= tolerance * float(scores.abs().sum()) or points >= max_points:
                return Attribution(parts)
            points = min(2 * points, max_points)

    return attribute


def occlusion(window: int, tolerance: float, max_points: int) -> Callable[[Path], Attribution]:
    """What f loses where each `window` of steps is the baseline's, spread evenly over these steps."""

    def attribute(path: Path) -> Attribution:
        steps = path.sources.steps
        owner = torch.arange(steps) // window
        weights = torch.ones(int(owner[-1]) + 1 if steps else 0, steps)
        weights[owner, torch.arange(steps)] = 0
        lost = path.value - path.values(weights) if steps else torch.zeros(0, dtype=torch.float64)
        return Attribution([lost[owner] / torch.bincount(owner)[owner]])

    return attribute


METHODS: dict[str, Callable[[int, float, int], Callable[[Path], Attribution]]] = {
    "integrated_gradients": integrated_gradients,
    "gradient_x_input": gradient_x_input,
    "occlusion": occlusion,
}


def _weighted(path: Path, places: Tensor, weights: Tensor) -> Values:
    """x - baseline, times the weighted sum of the gradients at these places of the path; in double."""
    total: list[Any] = [torch.zeros_like(value, dtype=torch.float64) for value in path.differences]
    begin = 0
    for gradients in path.gradients(places):
        rows = len(gradients[0])
        share = weights[begin : begin + rows].double()
        total = [
            whole + torch.tensordot(share.to(part.device), part.double(), dims=1)
            for whole, part in zip(total, gradients, strict=True)
        ]
        begin += rows
    return [whole * difference.double() for whole, difference in zip(total, path.differences, strict=True)]
