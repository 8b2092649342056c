"""The cells of the gallery: those that come with Rondeau, and two of one's own."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from rondeau import Cell, HiddenState, initializers
from rondeau.cells import GRUCell, LSTMCell, SimpleRNNCell, StackedRNNCells


class IndRNNCell(Cell):
    """Units that know nothing of each other: `h' = relu(x W + u h + b)`, u a number each (Li et al. 2018, 1803.04831).

    u begins between 0.999 and 1, so that each unit can hold a sum for a thousand steps. Inputs `(batch, features)`,
    state and output `(batch, units)`.
    """

    def __init__(self, units: int) -> None:
        super().__init__()
        self.state_size, self.output_size = HiddenState(h=units), units

    def build(self, features: int) -> None:
        self.kernel = self.add_weight("kernel", (features, self.output_size))
        near_one = initializers.RandomUniform(0.999, 1.0)
        self.own_weight = self.add_weight("own_weight", (self.output_size,), near_one)
        self.bias = self.add_weight("bias", (self.output_size,), "zeros")

    def step(self, x: Tensor, state: HiddenState) -> tuple[Tensor, HiddenState]:
        h = torch.relu(x @ self.kernel + self.own_weight * state.h + self.bias)
        return h, HiddenState(h)


class LinearCell(Cell):
    """No nonlinearity at all, `h' = x W + h A + b`, A orthogonal at first: nothing fades, and nothing is chosen.

    Inputs `(batch, features)`, state and output `(batch, units)`.
    """

    def __init__(self, units: int) -> None:
        super().__init__()
        self.state_size, self.output_size = HiddenState(h=units), units

    def build(self, features: int) -> None:
        self.kernel = self.add_weight("kernel", (features, self.output_size))
        self.recurrent_kernel = self.add_weight("recurrent_kernel", (self.output_size,) * 2, "orthogonal")
        self.bias = self.add_weight("bias", (self.output_size,), "zeros")

    def step(self, x: Tensor, state: HiddenState) -> tuple[Tensor, HiddenState]:
        h = x @ self.kernel + state.h @ self.recurrent_kernel + self.bias
        return h, HiddenState(h)


def two_indrnns(units: int) -> Cell:
    """Units that know nothing of each other need a second layer to be told what the first has chosen."""
    return StackedRNNCells([IndRNNCell(units), IndRNNCell(units)])


class Kind(NamedTuple):
    """A cell to be tried: from units and steps of the problem, and Adam's learning rate, of 1e-3, 2e-3 and 5e-3 the one
    with which it learns best at a hundred steps."""

    make: Callable[[int, int], Cell]
    rate: float


CELLS: dict[str, Kind] = {
    "SimpleRNN": Kind(lambda units, steps: SimpleRNNCell(units), 1e-3),
    "LSTM": Kind(lambda units, steps: LSTMCell(units), 5e-3),
    "LSTM, chrono": Kind(
        lambda units, steps: LSTMCell(units, bias_initializer=initializers.Chrono(max_steps=steps)), 5e-3
    ),
    "GRU": Kind(lambda units, steps: GRUCell(units), 5e-3),
    "IndRNN": Kind(lambda units, steps: two_indrnns(units), 2e-3),
    "linear": Kind(lambda units, steps: LinearCell(units), 1e-3),
}
