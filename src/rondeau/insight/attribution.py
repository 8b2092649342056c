"""The methods behind `saliency`: each gives every number of a row's steps its part in a model's output."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from rondeau.errors import ArgumentError
from rondeau.insight.sources import Sources, Values
from rondeau.insight.targets import Target, value_of

_POINTS = 8  # of Gauss's rule, for each stretch of an integral


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
        return Attribution([part[0] for part in _weighted(path, torch.ones(1, 1), torch.ones(1, 1))])

    return attribute


@dataclass
class Stretch:
    """A part of the path, from `begin` to `end` of the way: the target at both, and what the gradients make of it."""

    begin: float
    end: float
    before: float
    after: float
    parts: Values

    @property
    def gap(self) -> float:
        """By how much the parts' sum misses what the target gains here."""
        return sum(float(part.sum()) for part in self.parts) - (self.after - self.before)


def integrated_gradients(window: int, tolerance: float, max_points: int) -> Callable[[Path], Attribution]:
    """The mean of the gradients along the path, times x - baseline.

    Of every stretch of the path it is known what the parts must add up to: the target's gain over it. Those that miss
    it most are halved, until all that is missed, taken together, is at most `tolerance` of what was attributed.
    """

    def attribute(path: Path) -> Attribution:
        points = min(_POINTS, max_points)
        found = _integrals(path, [(0.0, 1.0, path.nothing, path.value)], points)
        used = points
        while True:
            parts = [torch.stack(own).sum(0) for own in zip(*(one.parts for one in found), strict=True)]
            attributed = float(torch.stack([by_step(part) for part in parts]).sum(0).abs().sum())
            gaps = [abs(one.gap) for one in found]
            room = (max_points - used) // (2 * points)
            if sum(gaps) <= tolerance * attributed or not room:
                return Attribution(parts)
            far = max(max(gaps) / 10, tolerance * attributed / len(found) / 2)
            chosen = sorted((i for i, gap in enumerate(gaps) if gap >= far), key=lambda i: -gaps[i])[:room]
            halves = _halved(path, [found[i] for i in chosen])
            found = [one for i, one in enumerate(found) if i not in set(chosen)] + _integrals(path, halves, points)
            used += len(halves) * points

    return attribute


Ends = tuple[float, float, float, float]


def _halved(path: Path, stretches: list[Stretch]) -> list[Ends]:
    """Where each half begins and ends, and the target there."""
    middles = [(one.begin + one.end) / 2 for one in stretches]
    values = path.values(torch.tensor(middles)[:, None].expand(-1, path.sources.steps)).tolist()
    return [
        half
        for one, at, value in zip(stretches, middles, values, strict=True)
        for half in ((one.begin, at, one.before, value), (at, one.end, value, one.after))
    ]


def _integrals(path: Path, ends: list[Ends], points: int) -> list[Stretch]:
    """Each stretch's parts, by Gauss's rule at so many points."""
    places, weights = (torch.from_numpy(one) for one in np.polynomial.legendre.leggauss(points))
    begin, end = torch.tensor([[one[0], one[1]] for one in ends], dtype=torch.float64).T[:, :, None]
    sums = _weighted(path, begin + (end - begin) * (places + 1) / 2, (end - begin) * weights / 2)
    return [Stretch(*one, [part[i] for part in sums]) for i, one in enumerate(ends)]


def by_step(part: Tensor) -> Tensor:
    """Sums over features, `(steps,)`."""
    return part.flatten(1).sum(1) if part.ndim > 1 else part


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
    """For each row of places on the path, `(rows, points)`: x - baseline times the weighted sum of the gradients there.

    Each `(rows, steps, *features)`, in double.
    """
    rows, points = places.shape
    total = [torch.zeros(rows, *one.shape, dtype=torch.float64, device=one.device) for one in path.differences]
    done = 0
    for gradients in path.gradients(places.flatten()):
        here = torch.arange(done, done + len(gradients[0]))
        done += len(here)
        for whole, part in zip(total, gradients, strict=True):
            share = weights.flatten()[here].to(whole).reshape(-1, *[1] * (part.ndim - 1))
            whole.index_add_(0, (here // points).to(whole.device), share * part.double())
    return [whole * difference.double() for whole, difference in zip(total, path.differences, strict=True)]
