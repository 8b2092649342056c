"""Fewer points for long trainings: a picture has room for some hundred, and a page for some megabyte."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from rondeau.report.figures.drawing import SERIES

Point = TypeVar("Point")
MOST = 120


def thin(points: Sequence[Point], most: int = MOST) -> list[Point]:
    """At most so many of the points, evenly spread, the first and the last among them."""
    if len(points) <= most:
        return list(points)
    return [points[round(i * (len(points) - 1) / (most - 1))] for i in range(most)]


def peaks(points: Sequence[Point], height: Callable[[Point], float], most: int = MOST) -> list[Point]:
    """At most so many of the points: of each stretch the highest, so that no spike is lost."""
    size = math.ceil(len(points) / most)
    return [max(points[i : i + size], key=height) for i in range(0, len(points), max(size, 1))]


def look(i: int, count: int) -> dict[str, Any]:
    """Of the i-th line, with so many points: its colour, and marks on a few of the points."""
    return {"color": SERIES[i % len(SERIES)], "markersize": 3, "markevery": max(1, math.ceil(count / 24))}
