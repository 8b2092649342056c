"""Rondeau: the cell as a user writes it, through `scan`, over `(batch, time, features)`."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmarks import engine
from benchmarks.cases import STREAMING, Problem
from benchmarks.cells import CELLS
from benchmarks.peers.streams import Stream
from benchmarks.peers.torch_base import TorchRunner
from rondeau import Sequential
from rondeau.layers import LSTM


class Ours(TorchRunner):
    """Rows first, as Rondeau's inputs are; a ragged batch comes padded with its lengths, as a user has it."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem)
        case = problem.case
        self.cell = CELLS[problem.cell](case.units)
        self.cell.build_for(case.features)
        self.named = dict(self.cell.named_parameters())
        with torch.no_grad():
            for name, parameter in self.named.items():
                parameter.copy_(self.weights[name])
        self.x = self.x.transpose(0, 1).contiguous()
        self.cotangent = self.cotangent.transpose(0, 1).contiguous()
        self.lengths = torch.from_numpy(case.lengths) if case.ragged else None
        self.prepare()
        self.cell.train(self.training)

    def parameters(self) -> list[Tensor]:
        return list(self.named.values())

    def forward(self) -> Tensor:
        return engine.run(self.cell, self.x, self.lengths)

    def outputs(self, result: Tensor) -> Tensor:
        return result.transpose(0, 1)

    def gradients(self) -> dict[str, Tensor]:
        return {name: parameter.grad for name, parameter in self.named.items() if parameter.grad is not None}


class OurStream(Stream):
    """`model.stream` of a model that is one layer."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem)
        case = problem.case
        layer = LSTM(case.units, return_sequences=True)
        model = Sequential([layer])
        model(torch.zeros(1, 1, case.features))
        with torch.no_grad():
            for name, parameter in layer.cell.named_parameters():
                parameter.copy_(torch.from_numpy(self.weights[name]))
        self.stream = engine.stream(model)

    def reset(self) -> None:
        self.stream.reset()

    def step(self, row: NDArray[np.float32]) -> NDArray[np.float32]:
        return self.stream(row)  # type: ignore[no-any-return]


def make(problem: Problem) -> Ours | OurStream:
    """See `Runner`."""
    return OurStream(problem) if problem.mode == STREAMING else Ours(problem)
