"""What the peers on torch, and Rondeau, have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.cases import TRAINING, Problem
from benchmarks.formulas import data, weights
from benchmarks.peers.base import INPUTS, OUTPUTS, Shaker


class TorchRunner(ABC):
    """Forward, and backward from a dense cotangent, over leaf tensors.

    A subclass sets `x` and `cotangent` in the layout it likes best, names its parameters and says how to go forward.
    """

    note = ""
    x: Tensor
    cotangent: Tensor

    def __init__(self, problem: Problem, dtype: torch.dtype = torch.float32) -> None:
        self.problem, self.training, self.shake = problem, problem.mode == TRAINING, Shaker()
        self.weights = {name: torch.from_numpy(array).to(dtype) for name, array in weights(problem).items()}
        x, cotangent = data(problem)
        self.x, self.cotangent = torch.from_numpy(x).to(dtype), torch.from_numpy(cotangent).to(dtype)

    @abstractmethod
    def parameters(self) -> list[Tensor]:
        """The tensors that gradients are taken of, the inputs left out."""

    @abstractmethod
    def forward(self) -> Tensor:
        """Outputs, in the layout of `cotangent`."""

    @abstractmethod
    def outputs(self, result: Tensor) -> Tensor:
        """What `forward` returned, or the inputs' gradient, as `(time, batch, ...)`."""

    @abstractmethod
    def gradients(self) -> dict[str, Tensor]:
        """The weights' gradients by the names of `benchmarks.formulas`."""

    def prepare(self) -> None:
        """Say what gradients are wanted of; to be called when `x` and the parameters stand."""
        for tensor in (self.x, *self.parameters()):
            tensor.requires_grad_(self.training)

    def change(self) -> None:
        amount = self.shake()
        with torch.no_grad():
            for parameter in self.parameters() if self.training else ():
                parameter.add_(amount)
        for tensor in (self.x, *self.parameters()):
            tensor.grad = None

    def run(self) -> Tensor:
        if not self.training:
            with torch.no_grad():
                return self.forward()
        result = self.forward()
        torch.autograd.backward(result, self.cotangent)
        return result.detach()

    def results(self) -> dict[str, NDArray[np.floating[Any]]]:
        for tensor in (self.x, *self.parameters()):
            tensor.grad = None
        found = {OUTPUTS: self.outputs(self.run())}
        if self.training:
            assert self.x.grad is not None
            found[INPUTS] = self.outputs(self.x.grad)
            found.update({f"d {name}": gradient for name, gradient in self.gradients().items()})
        return {name: tensor.numpy() for name, tensor in found.items()}
