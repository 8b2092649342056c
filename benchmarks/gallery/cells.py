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

    u begins between `least` and 1, and counts as 1 where it is above, as -1 below. Inputs `(batch, features)`, state
    and output `(batch, units)`.
    """

    def __init__(self, units: int, least: float = 0.0) -> None:
        super().__init__()
        self.state_size, self.output_size, self.least = HiddenState(h=units), units, least

    def build(self, features: int) -> None:
        self.kernel = self.add_weight("kernel", (features, self.output_size))
        between = initializers.RandomUniform(self.least, 1.0)
        self.own_weight = self.add_weight("own_weight", (self.output_size,), between)
        self.bias = self.add_weight("bias", (self.output_size,), "zeros")

    def step(self, x: Tensor, state: HiddenState) -> tuple[Tensor, HiddenState]:
        own = self.own_weight.clamp(-1, 1)
        h = torch.relu(x @ self.kernel + own * state.h + self.bias)
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


def two_indrnns(units: int, steps: int) -> Cell:
    """What the first layer chooses the second remembers: at first each unit keeps half or more of it to the end."""
    return StackedRNNCells([IndRNNCell(units), IndRNNCell(units, least=0.5 ** (1 / steps))])


class Kind(NamedTuple):
    """A cell to be tried: made for so many units and steps of the problem; and Adam's learning rate for so many steps.

    Of 1e-3, 2e-3 and 5e-3 it is the one with which the cell learns best at a hundred steps.
    """

    make: Callable[[int, int], Cell]
    rate: Callable[[int], float]


TOO_FAST = "linear, too fast"  # what a learning rate of 1e-3 makes of it at any length

# A linear cell multiplies by A once a step: what changes A by a thousandth changes A to the thousandth many times over.
CELLS: dict[str, Kind] = {
    "SimpleRNN": Kind(lambda units, steps: SimpleRNNCell(units), lambda steps: 1e-3),
    "LSTM": Kind(lambda units, steps: LSTMCell(units), lambda steps: 5e-3),
    "LSTM, chrono": Kind(
        lambda units, steps: LSTMCell(units, bias_initializer=initializers.Chrono(max_steps=steps)), lambda steps: 5e-3
    ),
    "GRU": Kind(lambda units, steps: GRUCell(units), lambda steps: 5e-3),
    "IndRNN": Kind(two_indrnns, lambda steps: 2e-3),
    "linear": Kind(lambda units, steps: LinearCell(units), lambda steps: 0.1 / steps),
}


def kind_of(name: str) -> Kind:
    """The cell of this name."""
    return CELLS["linear"]._replace(rate=lambda steps: 1e-3) if name == TOO_FAST else CELLS[name]
