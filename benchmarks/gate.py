"""The correctness gate: outputs and every gradient against float64. Nobody's time counts who does not pass it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.cases import Problem
from benchmarks.peers.base import INPUTS, OUTPUTS

# In units of float32's epsilon, 2**-23, and of the largest magnitude in the tensor. Rounding alone costs honest peers
# up to 90 units where a gradient sums 50,000 steps, and 20 elsewhere; a wrong term costs thousands.
TOLERANCE = 128.0
EPSILON = float(np.finfo(np.float32).eps)

Arrays = Mapping[str, NDArray[np.floating[Any]]]


def errors(problem: Problem, found: Arrays, truth: Arrays) -> dict[str, float]:
    """Of each tensor the largest error in units of epsilon; infinite where one is missing, misshapen or not finite."""
    return {name: _error(problem, name, found.get(name), right) for name, right in truth.items()}


def _error(problem: Problem, name: str, found: Any, truth: NDArray[np.floating[Any]]) -> float:
    if found is None:
        return float("inf")
    if name in (OUTPUTS, INPUTS):
        if found.shape != truth.shape:
            return float("inf")
        found, truth = real_steps(problem, found), real_steps(problem, truth)
    if found.shape != truth.shape or not np.isfinite(found).all():
        return float("inf")
    scale = float(np.abs(truth).max())
    difference = float(np.abs(found.astype(np.float64) - truth).max())
    return 0.0 if difference == 0 else difference / (scale * EPSILON) if scale else float("inf")


def real_steps(problem: Problem, array: NDArray[np.floating[Any]]) -> NDArray[np.floating[Any]]:
    """The steps of `(time, batch, ...)` within each row's length: `(steps, ...)`."""
    return array[np.arange(problem.case.time)[:, None] < problem.case.lengths]


def worst(found: Mapping[str, float]) -> tuple[str, float]:
    """The tensor with the largest error, and that error."""
    name = max(found, key=lambda key: found[key])
    return name, found[name]


def passes(found: Mapping[str, float]) -> bool:
    """Whether every tensor is within the tolerance."""
    return bool(found) and all(error <= TOLERANCE for error in found.values())
