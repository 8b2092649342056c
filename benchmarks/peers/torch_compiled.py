"""`torch.compile` of the whole PyTorch loop; it unrolls it, so that compiling takes long where there are many steps."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from benchmarks.cases import Problem
from benchmarks.formulas import FORMULAS
from benchmarks.peers.torch_loop import Loop, loop


class Compiled(Loop):
    """The loop with everything that is no tensor fixed, as one function for the compiler."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem)
        whole = partial(loop, FORMULAS[problem.cell], units=problem.case.units)
        self.compiled = torch.compile(lambda weights, x: whole(weights, x), dynamic=False, fullgraph=True)

    def forward(self) -> Tensor:
        return self.compiled(self.weights, self.x)


def make(problem: Problem) -> Compiled:
    """See `Runner`."""
    return Compiled(problem)
