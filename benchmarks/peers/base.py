"""What a worker process asks of whoever runs in it."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

OUTPUTS, INPUTS = "outputs", "d inputs"


class Runner(Protocol):
    """A problem, ready to run: data, weights and compiled code are there, and two threads at most.

    Attributes:
        note: what a reader should know of how it runs, or nothing.
    """

    note: str

    def change(self) -> None:
        """Change every parameter in place, by next to nothing and back again the next time; not timed."""
        ...

    def run(self) -> Any:
        """One repetition, finished when it returns; timed. Training: forward, backward, every gradient."""
        ...

    def results(self) -> dict[str, NDArray[np.floating[Any]]]:
        """Of a repetition with the weights as given: `outputs` `(time, batch, units)` and, in training, the gradients.

        `d inputs` `(time, batch, features)` and `d NAME` for every weight. Behind a row's end anything may stand.
        """
        ...


class Shaker:
    """Adds next to nothing and takes it away again in turn, so that a thousand repetitions stay where they began."""

    def __init__(self) -> None:
        self.amount = 1e-6

    def __call__(self) -> float:
        self.amount = -self.amount
        return self.amount
