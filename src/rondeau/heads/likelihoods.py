"""What a network says of a number to come: a distribution, quantiles, or a point; how likely, drawn, and summed up."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from rondeau.errors import ArgumentError

LEVELS = (0.02, 0.1, 0.25, 0.4, 0.5, 0.6, 0.75, 0.9, 0.98)
"""The quantiles that `Quantiles` gives, unless told others."""

_LEAST = 1e-4  # of a scale or mean, in units of the series' own scale: a spread of 0 would be infinitely sure


class Likelihood(ABC):
    """How `size` outputs of a network become a statement about one number.

    Outputs are `(..., size)`, any real numbers; values `(...)`. `scale`, of the values' shape or one that broadcasts,
    is what one unit of the network's is worth; only `NegativeBinomial` needs it: of all else give scaled values.

    Attributes:
        name: as a setting says it. size: outputs a value.
        counts: whether values are counts 0, 1, 2, ..., which must not be shifted or divided.
    """

    name: str
    size: int
    counts = False

    @abstractmethod
    def loss(self, outputs: Tensor, values: Tensor, scale: Tensor | float = 1.0) -> Tensor:
        """How badly the outputs say the values, `(...)`: the negative log-likelihood in nats where there is one."""

    @abstractmethod
    def mean(self, outputs: Tensor, scale: Tensor | float = 1.0) -> Tensor:
        """The expected value, `(...)`; of quantiles and points the middle."""

    @abstractmethod
    def quantiles(self, outputs: Tensor, levels: Sequence[float], scale: Tensor | float = 1.0) -> Tensor:
        """`(..., levels)`."""

    @abstractmethod
    def sample(self, outputs: Tensor, generator: np.random.Generator, scale: Tensor | float = 1.0) -> Tensor:
        """One draw for each value, `(...)`."""


class Gaussian(Likelihood):
    """Outputs: mean, and what softplus makes the standard deviation."""

    name, size = "gaussian", 2

    def parameters(self, outputs: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation."""
        return outputs[..., 0], F.softplus(outputs[..., 1]) + _LEAST

    def loss(self, outputs: Tensor, values: Tensor, scale: Tensor | float = 1.0) -> Tensor:
        mean, deviation = self.parameters(outputs)
        distance: Tensor = ((values - mean) / deviation).square() / 2
        nats: Tensor = distance + deviation.log() + math.log(2 * math.pi) / 2
        return nats

    def mean(self, outputs: Tensor, scale: Tensor | float = 1.0) -> Tensor:
        return self.parameters(outputs)[0]

    def quantiles(self, outputs: Tensor, levels: Sequence[float], scale: Tensor | float = 1.0) -> Tensor:
        mean, deviation = self.parameters(outputs)
        standard: Tensor = torch.special.ndtri(_levels(levels, outputs))
        return mean[..., None] + deviation[..., None] * standard

    def sample(self, outputs: Tensor, generator: np.random.Generator, scale: Tensor | float = 1.0) -> Tensor:
        mean, deviation = self.parameters(outputs)
        return mean + deviation * _like(generator.standard_normal(mean.shape), mean)


class StudentT(Likelihood):
    """Outputs: location, what softplus makes the scale, and, plus 2, the degrees of freedom: heavy tails, finite
    variance."""

    name, size = "student_t", 3

    def parameters(self, outputs: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Location, scale, degrees of freedom."""
        return outputs[..., 0], F.softplus(outputs[..., 1]) + _LEAST, 2 + F.softplus(outputs[..., 2])

    def loss(self, outputs: Tensor, values: Tensor, scale: Tensor | float = 1.0) -> Tensor:
        location, spread, freedom = self.parameters(outputs)
        distance = ((values - location) / spread).square() / freedom
        constant = torch.lgamma(freedom / 2) - torch.lgamma((freedom + 1) / 2) + (math.pi * freedom).log() / 2
        return (freedom + 1) / 2 * distance.log1p() + spread.log() + constant

    def mean(self, outputs: Tensor, scale: Tensor | float = 1.0) -> Tensor:
        return self.parameters(outputs)[0]

    def quantiles(self, outputs: Tensor, levels: Sequence[float], scale: Tensor | float = 1.0) -> Tensor:
        location, spread, freedom = self.parameters(outputs)
        standard = _student_quantiles(freedom.double(), _levels(levels, freedom.double()))
        return location[..., None] + spread[..., None] * standard.to(outputs.dtype)

    def sample(self, outputs: Tensor, generator: np.random.Generator, scale: Tensor | float = 1.0) -> Tensor:
        location, spread, freedom = self.parameters(outputs)
        return location + spread * _like(generator.standard_t(freedom.double().cpu().numpy()), location)


class NegativeBinomial(Likelihood):
    """Counts: outputs are, after softplus, the mean in units of `scale`, and the dispersion times its square root.

    The variance is mean + dispersion * mean^2 (Salinas et al. 2020, arXiv 1704.04110, section 3.1).
    """

    name, size, counts = "negative_binomial", 2, True

    def parameters(self, outputs: Tensor, scale: Tensor | float = 1.0) -> tuple[Tensor, Tensor]:
        """Mean and dispersion."""
        units = torch.as_tensor(scale, dtype=outputs.dtype, device=outputs.device)
        return units * (F.softplus(outputs[..., 0]) + _LEAST), (F.softplus(outputs[..., 1]) + _LEAST) / units.sqrt()

    def loss(self, outputs: Tensor, values: Tensor, scale: Tensor | float = 1.0) -> Tensor:
        mean, dispersion = self.parameters(outputs, scale)
        return -_count_log_probability(values, mean, dispersion)

    def mean(self, outputs: Tensor, scale: Tensor | float = 1.0) -> Tensor:
        return self.parameters(outputs, scale)[0]

    def quantiles(self, outputs: Tensor, levels: Sequence[float], scale: Tensor | float = 1.0) -> Tensor:
        mean, dispersion = (p.double() for p in self.parameters(outputs, scale))
        wanted = _levels(levels, mean)
        found = torch.full((*mean.shape, len(levels)), -1.0, dtype=mean.dtype, device=mean.device)
        below, start, width = torch.zeros_like(mean)[..., None], 0, 256
        while bool((found < 0).any()):
            counts = torch.arange(start, start + width, dtype=mean.dtype, device=mean.device)
            probability = _count_log_probability(counts, mean[..., None], dispersion[..., None]).exp()
            reached = below + probability.cumsum(-1)  # (..., width)
            at = torch.searchsorted(reached, wanted.expand(found.shape).contiguous())
            found = torch.where((found < 0) & (at < width), at.to(found.dtype) + start, found)
            below, start = reached[..., -1:], start + width
            found = torch.where((found < 0) & (probability[..., -1:] < 1e-12) & (below > 0.5), float(start), found)
        return found.to(outputs.dtype)

    def sample(self, outputs: Tensor, generator: np.random.Generator, scale: Tensor | float = 1.0) -> Tensor:
        mean, dispersion = (p.double().cpu().numpy() for p in self.parameters(outputs, scale))
        rate = generator.standard_gamma(1 / dispersion) * dispersion * mean
        return _like(generator.poisson(np.minimum(rate, 1e15)), outputs)


class Quantiles(Likelihood):
    """Outputs are the quantiles themselves; the loss is the pinball loss, its mean over the levels, doubled.

    Crossed quantiles are put in order (Chernozhukov et al. 2010). A draw is taken between them along straight lines,
    which go on beyond the outermost. The median's share of the loss is the absolute error.

    Args:
        levels: rising, each between 0 and 1.
    """

    name = "quantile"

    def __init__(self, levels: Sequence[float] = LEVELS) -> None:
        rising = all(a < b for a, b in pairwise(levels))
        if not len(levels) or not rising or not 0 < levels[0] <= levels[-1] < 1:
            raise ArgumentError("levels", expected="rising numbers between 0 and 1", got=tuple(levels))
        self.levels, self.size = tuple(levels), len(levels)

    def loss(self, outputs: Tensor, values: Tensor, scale: Tensor | float = 1.0) -> Tensor:
        return pinball(outputs, values[..., None], _levels(self.levels, outputs)).mean(-1) * 2

    def mean(self, outputs: Tensor, scale: Tensor | float = 1.0) -> Tensor:
        return self.quantiles(outputs, [0.5])[..., 0]

    def quantiles(self, outputs: Tensor, levels: Sequence[float], scale: Tensor | float = 1.0) -> Tensor:
        wanted = _levels(levels, outputs).expand(*outputs.shape[:-1], len(levels))
        return self._between(outputs, wanted)

    def _between(self, outputs: Tensor, wanted: Tensor) -> Tensor:
        if self.size == 1:
            return outputs.expand(wanted.shape)
        known, ordered = _levels(self.levels, outputs), outputs.sort(-1).values
        right = torch.searchsorted(known, wanted.contiguous()).clamp(1, self.size - 1)
        low, high = ordered.gather(-1, right - 1), ordered.gather(-1, right)
        return low + (high - low) * (wanted - known[right - 1]) / (known[right] - known[right - 1])

    def sample(self, outputs: Tensor, generator: np.random.Generator, scale: Tensor | float = 1.0) -> Tensor:
        drawn = _like(generator.random(outputs.shape[:-1]), outputs)
        return self._between(outputs, drawn[..., None])[..., 0]


class Point(Likelihood):
    """One output, the value itself, by its absolute error; a draw is that value."""

    name, size = "point", 1

    def loss(self, outputs: Tensor, values: Tensor, scale: Tensor | float = 1.0) -> Tensor:
        return (outputs[..., 0] - values).abs()

    def mean(self, outputs: Tensor, scale: Tensor | float = 1.0) -> Tensor:
        return outputs[..., 0]

    def quantiles(self, outputs: Tensor, levels: Sequence[float], scale: Tensor | float = 1.0) -> Tensor:
        return outputs.expand(*outputs.shape[:-1], len(levels))

    def sample(self, outputs: Tensor, generator: np.random.Generator, scale: Tensor | float = 1.0) -> Tensor:
        return outputs[..., 0]


KINDS: dict[str, Any] = {kind.name: kind for kind in (Gaussian, StudentT, NegativeBinomial, Quantiles, Point)}


def likelihood(name: str) -> Likelihood:
    """The likelihood of a name. Raises `ArgumentError` for one there is not.

    >>> likelihood("student_t").size
    3
    """
    if name not in KINDS:
        raise ArgumentError("likelihood", expected=" or ".join(map(repr, KINDS)), got=repr(name))
    found: Likelihood = KINDS[name]()
    return found


def pinball(quantile: Tensor, value: Tensor, level: Tensor | float) -> Tensor:
    """The loss whose least expectation the quantile of a level has (Koenker and Bassett 1978); shapes broadcast.

    >>> pinball(torch.tensor([1.0, 3.0]), torch.tensor(2.0), 0.9)
    tensor([0.9000, 0.1000])
    """
    error = value - quantile
    return torch.maximum(level * error, (level - 1) * error)


def _count_log_probability(counts: Tensor, mean: Tensor, dispersion: Tensor) -> Tensor:
    number = 1 / dispersion  # of failures
    ways = torch.lgamma(counts + number) - torch.lgamma(counts + 1) - torch.lgamma(number)
    product = dispersion * mean
    return ways - number * product.log1p() + counts * (product.log() - product.log1p())


def _student_quantiles(freedom: Tensor, levels: Tensor) -> Tensor:
    """Quantiles of the standard t, `(...)` and `(levels,)` to `(..., levels)`, by halving; float64."""
    freedom = freedom[..., None]
    tail = (levels - 0.5).abs().expand(*freedom.shape[:-1], len(levels))
    high = torch.ones_like(tail)
    while bool((short := _student_half(high, freedom) < tail).any()):
        high = torch.where(short, 2 * high, high)
    low = torch.zeros_like(high)
    for _ in range(60):
        middle = (low + high) / 2
        left = _student_half(middle, freedom) < tail
        low, high = torch.where(left, middle, low), torch.where(left, high, middle)
    return (levels - 0.5).sign() * (low + high) / 2


def _student_half(t: Tensor, freedom: Tensor) -> Tensor:
    """The probability from 0 to t: the integral of cos^(n-1) up to atan(t / sqrt(n)), by Gauss and Legendre."""
    nodes, weights = (torch.as_tensor(a, dtype=t.dtype, device=t.device) for a in np.polynomial.legendre.leggauss(64))
    end = torch.atan(t / freedom.sqrt())[..., None]
    angles = end / 2 * (nodes + 1)
    inside = ((freedom[..., None] - 1) * angles.cos().log()).exp()
    integral = (inside * weights).sum(-1) * end[..., 0] / 2
    constant = torch.lgamma((freedom + 1) / 2) - torch.lgamma(freedom / 2) - math.log(math.pi) / 2
    return integral * constant.exp()


def _levels(levels: Sequence[float], like: Tensor) -> Tensor:
    return torch.tensor(list(levels), dtype=like.dtype, device=like.device)


def _like(drawn: Any, like: Tensor) -> Tensor:
    return torch.as_tensor(drawn, device=like.device).to(like.dtype)
