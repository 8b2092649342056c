"""A loop over time in PyTorch, the inputs' products hoisted: what a user without a kernel writes."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from benchmarks.cases import Problem
from benchmarks.formulas import FORMULAS, Formula
from benchmarks.peers.torch_base import TorchRunner


class TorchOps:
    """See `benchmarks.formulas.Ops`."""

    sigmoid, tanh, rsqrt = staticmethod(torch.sigmoid), staticmethod(torch.tanh), staticmethod(torch.rsqrt)

    def split(self, x: Tensor, parts: int) -> tuple[Tensor, ...]:
        return x.chunk(parts, -1)

    def mean(self, x: Tensor) -> Tensor:
        return x.mean(-1, keepdim=True)


OPS = TorchOps()


def loop(formula: Formula, weights: dict[str, Tensor], x: Tensor, units: int) -> Tensor:
    """Outputs `(time, batch, units)`: `project` for all steps at once, then one `step` after the other."""
    projected: Any = formula.project(OPS, weights, x)
    parts = [p.unbind(0) for p in (projected if isinstance(projected, tuple) else (projected,))]
    state = (x.new_zeros(x.shape[1], units),) * formula.states
    outputs = []
    for at in zip(*parts, strict=True):
        state = formula.step(OPS, weights, at if isinstance(projected, tuple) else at[0], state)
        outputs.append(state[0])
    return torch.stack(outputs)


class Loop(TorchRunner):
    """Time first. Rows of unequal length are padded: with a cotangent that is zero there, the gradients are right."""

    def __init__(self, problem: Problem, dtype: torch.dtype = torch.float32) -> None:
        super().__init__(problem, dtype)
        self.note = "padded to the longest row" if problem.case.ragged else ""
        self.prepare()

    def parameters(self) -> list[Tensor]:
        return list(self.weights.values())

    def forward(self) -> Tensor:
        return loop(FORMULAS[self.problem.cell], self.weights, self.x, self.problem.case.units)

    def outputs(self, result: Tensor) -> Tensor:
        return result

    def gradients(self) -> dict[str, Tensor]:
        return {name: weight.grad for name, weight in self.weights.items() if weight.grad is not None}


def make(problem: Problem) -> Loop:
    """See `Runner`."""
    return Loop(problem)
