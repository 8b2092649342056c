"""torch.nn.RNN, GRU and LSTM, time first; rows of unequal length as a packed sequence, packed beforehand."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from benchmarks.cases import STREAMING, Problem
from benchmarks.peers.streams import Stream
from benchmarks.peers.torch_base import TorchRunner

MODULES = {"simple rnn": torch.nn.RNN, "lstm": torch.nn.LSTM, "gru": torch.nn.GRU}


class TorchNN(TorchRunner):
    """torch keeps weights transposed, has two biases (a cell with one uses the first) and a GRU's gates as r, z, n."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem)
        case = problem.case
        self.module = MODULES[problem.cell](case.features, case.units)
        self.module.train(self.training)
        self.named = dict(self.module.named_parameters())
        bias = self.weights["bias"]
        biases = list(bias) if bias.ndim == 2 else [bias, torch.zeros_like(bias)]
        with torch.no_grad():
            self.named["weight_ih_l0"].copy_(self.swapped(self.weights["kernel"]).T)
            self.named["weight_hh_l0"].copy_(self.swapped(self.weights["recurrent_kernel"]).T)
            for name, values in zip(("bias_ih_l0", "bias_hh_l0"), biases, strict=True):
                self.named[name].copy_(self.swapped(values))
        self.packed: PackedSequence | None = None
        if case.ragged:
            lengths = torch.from_numpy(case.lengths)
            self.packed = pack_padded_sequence(self.x, lengths, enforce_sorted=False)
            packed_cotangent = pack_padded_sequence(self.cotangent, lengths, enforce_sorted=False)
            self.x, self.cotangent = self.packed.data.clone(), packed_cotangent.data.clone()
        self.prepare()

    def swapped(self, array: Tensor) -> Tensor:
        """A GRU's first two gates the other way round."""
        if self.problem.cell != "gru":
            return array
        z, r, n = array.chunk(3, -1)
        return torch.cat([r, z, n], -1)

    def turned(self, gradient: Tensor | None) -> Tensor:
        """Matrices transposed."""
        assert gradient is not None
        return gradient.T if gradient.ndim == 2 else gradient

    def parameters(self) -> list[Tensor]:
        return list(self.named.values())

    def forward(self) -> Tensor:
        if self.packed is None:
            return self.module(self.x)[0]  # type: ignore[no-any-return]
        return self.module(self.packed._replace(data=self.x))[0].data  # type: ignore[no-any-return]

    def outputs(self, result: Tensor) -> Tensor:
        return result if self.packed is None else pad_packed_sequence(self.packed._replace(data=result))[0]

    def gradients(self) -> dict[str, Tensor]:
        kernel, recurrent, first, second = (self.swapped(self.turned(p.grad)) for p in self.parameters())
        bias = torch.stack([first, second]) if self.weights["bias"].ndim == 2 else first
        return {"kernel": kernel, "recurrent_kernel": recurrent, "bias": bias}


class TorchStream(Stream):
    """The module called with one step and the state it returned last."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem)
        self.module = TorchNN(problem).module
        self.reset()

    def reset(self) -> None:
        self.state: tuple[Tensor, Tensor] | None = None

    def step(self, row: NDArray[np.float32]) -> NDArray[np.float32]:
        with torch.no_grad():
            output, self.state = self.module(torch.from_numpy(row)[None], self.state)
        return output[0].numpy()  # type: ignore[no-any-return]


def make(problem: Problem) -> TorchNN | TorchStream:
    """See `Runner`."""
    return TorchStream(problem) if problem.mode == STREAMING else TorchNN(problem)
