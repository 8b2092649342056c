"""One step at a time from Python, a NumPy row in and a NumPy row out, the state kept in between."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.cases import Problem
from benchmarks.formulas import data, weights
from benchmarks.peers.base import OUTPUTS


class Stream(ABC):
    """A runner of single steps; for the gate it makes all steps of the case from a fresh state."""

    note = ""

    def __init__(self, problem: Problem) -> None:
        self.weights = weights(problem)
        self.rows = data(problem)[0]
        self.row = self.rows[0]

    @abstractmethod
    def reset(self) -> None:
        """Forget the state."""

    @abstractmethod
    def step(self, row: NDArray[np.float32]) -> NDArray[np.float32]:
        """`(1, features)` -> `(1, units)`."""

    def change(self) -> None:  # noqa: B027  a stream never has anything to change
        """Nothing: weights stay as they are."""

    def run(self) -> Any:
        return self.step(self.row)

    def results(self) -> dict[str, NDArray[np.floating[Any]]]:
        self.reset()
        return {OUTPUTS: np.stack([self.step(row).copy() for row in self.rows])}
