"""The measured cells as a user of Rondeau writes them; weights are named as in `benchmarks.formulas`."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.parameter import Parameter

from benchmarks.formulas import EPSILON, FORMULAS
from rondeau import Cell, HiddenState
from rondeau.cells import GRUCell, LSTMCell, SimpleRNNCell
from rondeau.cells.lstm import LSTMState


class LayerNormLSTMCell(Cell):
    """An LSTM whose products, and memory on its way out, are normalised (Ba, Kiros & Hinton 2016, arXiv 1607.06450)."""

    kernel: Parameter
    recurrent_kernel: Parameter
    bias: Parameter
    input_gain: Parameter
    recurrent_gain: Parameter
    cell_gain: Parameter
    cell_bias: Parameter

    def __init__(self, units: int) -> None:
        super().__init__()
        self.state_size, self.output_size = LSTMState(h=units, c=units), units

    def build(self, features: int) -> None:
        for name, shape in FORMULAS["layer-norm lstm"].shapes(features, self.output_size).items():
            setattr(self, name, self.add_weight(name, shape, "ones" if name.endswith("gain") else "glorot_uniform"))

    def normalised(self, x: Tensor) -> Tensor:
        """x less its mean over the units, over its standard deviation."""
        centred = x - x.mean(-1, keepdim=True)
        return centred * torch.rsqrt((centred * centred).mean(-1, keepdim=True) + EPSILON)

    def step(self, x: Tensor, state: LSTMState) -> tuple[Tensor, LSTMState]:
        z = self.normalised(x @ self.kernel) * self.input_gain + self.bias
        z = z + self.normalised(state.h @ self.recurrent_kernel) * self.recurrent_gain
        i, f, g, o = z.chunk(4, dim=-1)
        c = torch.sigmoid(f) * state.c + torch.sigmoid(i) * torch.tanh(g)
        h = torch.sigmoid(o) * torch.tanh(self.normalised(c) * self.cell_gain + self.cell_bias)
        return h, LSTMState(h, c)


class PeepholeLSTMCell(Cell):
    """An LSTM whose gates see the memory (Gers & Schmidhuber 2000): the old one, and the output gate the new one."""

    kernel: Parameter
    recurrent_kernel: Parameter
    bias: Parameter
    input_peephole: Parameter
    forget_peephole: Parameter
    output_peephole: Parameter

    def __init__(self, units: int) -> None:
        super().__init__()
        self.state_size, self.output_size = LSTMState(h=units, c=units), units

    def build(self, features: int) -> None:
        for name, shape in FORMULAS["peephole lstm"].shapes(features, self.output_size).items():
            setattr(self, name, self.add_weight(name, shape, "glorot_uniform"))

    def step(self, x: Tensor, state: LSTMState) -> tuple[Tensor, LSTMState]:
        i, f, g, o = (x @ self.kernel + state.h @ self.recurrent_kernel + self.bias).chunk(4, dim=-1)
        i = torch.sigmoid(i + self.input_peephole * state.c)
        f = torch.sigmoid(f + self.forget_peephole * state.c)
        c = f * state.c + i * torch.tanh(g)
        h = torch.sigmoid(o + self.output_peephole * c) * torch.tanh(c)
        return h, LSTMState(h, c)


class MinimalCell(Cell):
    """The README's own cell, as it stands there: a minimal gated unit (Zhou et al. 2016, arXiv 1603.09420)."""

    def __init__(self, units: int) -> None:
        super().__init__()
        self.state_size, self.output_size = HiddenState(h=units), units

    def build(self, features: int) -> None:
        self.gate = self.add_weight("gate", (features + self.output_size, self.output_size))
        self.new = self.add_weight("new", (features + self.output_size, self.output_size))

    def step(self, x: Tensor, state: HiddenState) -> tuple[Tensor, HiddenState]:
        f = torch.sigmoid(torch.cat([x, state.h], -1) @ self.gate)
        n = torch.tanh(torch.cat([x, f * state.h], -1) @ self.new)
        h = (1 - f) * state.h + f * n
        return h, HiddenState(h)


CELLS: dict[str, Callable[[int], Cell]] = {
    "simple rnn": SimpleRNNCell,
    "lstm": LSTMCell,
    "gru": GRUCell,
    "layer-norm lstm": LayerNormLSTMCell,
    "peephole lstm": PeepholeLSTMCell,
    "minimal": MinimalCell,
}
