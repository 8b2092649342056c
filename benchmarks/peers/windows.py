"""Rondeau over long sequences, of which the last output counts: all steps kept, or windows of them computed again."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from benchmarks import engine
from benchmarks.cases import Problem
from benchmarks.peers.ours import Ours
from rondeau import Full, Keep, Recompute

VARIABLE = "RONDEAU_BENCHMARK_WINDOW"  # steps of a window; none: all steps are kept


class Last(Ours):
    """The inputs take no gradient, as data do."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem)
        steps, time = int(os.environ.get(VARIABLE, "0")), problem.case.time
        # of a short problem too there are several windows
        self.policy = Recompute(max(1, min(steps, time // 3))) if steps else Full()
        self.x.requires_grad_(False)
        self.cotangent = self.cotangent[:, -1].contiguous()

    def forward(self) -> Tensor:
        return engine.run(self.cell, self.x, keep=Keep(outputs="last"), gradient=self.policy)

    def results(self) -> dict[str, NDArray[np.floating[Any]]]:
        for parameter in self.parameters():
            parameter.grad = None
        found = {"last output": self.run(), **{f"d {name}": g for name, g in self.gradients().items()}}
        return {name: tensor.numpy() for name, tensor in found.items()}


def make(problem: Problem) -> Last:
    """See `Runner`."""
    return Last(problem)
