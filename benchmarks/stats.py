"""Medians, spreads and means of what was measured."""

from __future__ import annotations

import math
from collections.abc import Sequence


def median(values: Sequence[float]) -> float:
    """The middle value; of an even number, the mean of the middle two."""
    ordered = sorted(values)
    half, odd = divmod(len(ordered), 2)
    return ordered[half] if odd else (ordered[half - 1] + ordered[half]) / 2


def spread(values: Sequence[float]) -> float:
    """Half the distance between the quartiles, as a share of the median: how much a measurement was disturbed."""
    ordered = sorted(values)
    last = len(ordered) - 1
    return (ordered[math.ceil(0.75 * last)] - ordered[math.floor(0.25 * last)]) / 2 / median(ordered)


def geometric_mean(values: Sequence[float]) -> float:
    """The mean of ratios: twice as fast here and half as fast there make one."""
    return math.exp(sum(map(math.log, values)) / len(values))
