"""What is measured: shapes, lengths, and how many operations of a step are useful."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

# Words in a sentence, at these shares of all sentences: median 14, longest 159, as in English web text.
SHARES = (0, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 1)
WORDS = (1, 2, 3, 6, 9, 11, 14, 17, 20, 25, 32, 39, 49, 57, 66, 159)


@dataclass(frozen=True)
class Case:
    """A shape: `time` steps of `batch` rows, `features` in, `units` out; `ragged` rows end where sentences do.

    A ragged case's `time` is its longest row.
    """

    time: int
    batch: int
    features: int
    units: int
    ragged: bool = False

    @property
    def name(self) -> str:
        """As it is asked for and reported: `T100-B32-F64-U128`, `ragged-B64-F64-U128`."""
        first = "ragged" if self.ragged else f"T{self.time}"
        return f"{first}-B{self.batch}-F{self.features}-U{self.units}"

    @cached_property
    def lengths(self) -> NDArray[np.int64]:
        """Steps of each row, `(batch,)`: for ragged rows the distribution's own quantiles, in a fixed random order."""
        if not self.ragged:
            return np.full(self.batch, self.time, dtype=np.int64)
        words = np.interp(np.linspace(0, 1, self.batch), SHARES, WORDS).round().astype(np.int64)
        return np.random.default_rng(self.batch).permutation(np.minimum(words, self.time))

    @property
    def steps(self) -> int:
        """Real steps of all rows; padding does not count."""
        return int(self.lengths.sum())

    @property
    def dense_twin(self) -> Case:
        """The same rows with the same work, all equally long: what raggedness is compared with."""
        return Case(max(1, round(self.steps / self.batch)), self.batch, self.features, self.units)


DENSE = (
    Case(100, 32, 64, 128),
    Case(64, 64, 128, 256),
    Case(100, 32, 256, 512),
    Case(1000, 16, 64, 128),
    Case(784, 64, 1, 128),
    Case(35, 20, 650, 650),
)
SINGLE = (Case(100, 1, 16, 32), Case(1000, 1, 32, 64))
RAGGED = (Case(159, 64, 64, 128, ragged=True), Case(159, 256, 64, 128, ragged=True))
QUICK = (Case(12, 4, 8, 16), Case(20, 1, 4, 8), Case(16, 6, 8, 16, ragged=True))
CASES = (*DENSE, *SINGLE, *RAGGED)

TRAINING, INFERENCE, STREAMING = "training", "inference", "streaming"
STREAM = Case(20, 1, 32, 64)  # twenty steps for the gate; what is timed is one


@dataclass(frozen=True)
class Problem:
    """One thing to compute: a cell at a case, forward only, with every gradient, or step by step from Python."""

    cell: str
    case: Case
    mode: str = TRAINING
    seed: int = 0

    @property
    def name(self) -> str:
        """For messages: `lstm training T100-B32-F64-U128`."""
        return f"{self.cell} {self.mode} {self.case.name}"
