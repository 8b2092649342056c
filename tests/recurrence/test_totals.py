"""What a loop sums over all its steps, the gradient of a bias for one, is as exact as a single rounding allows."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from rondeau import Cell, HiddenState, scan

EPSILON = torch.finfo(torch.float32).eps


class Shifted(Cell):
    """The output is the input plus a bias, whose gradient is then the sum of all cotangents."""

    def __init__(self, units: int, parts: int) -> None:
        super().__init__()
        self.state_size, self.output_size = HiddenState(h=units), units
        self.biases = torch.nn.ParameterList([torch.zeros(units // parts) for _ in range(parts)])

    def step(self, x: Tensor, state: HiddenState) -> tuple[Tensor, HiddenState]:
        y = x + torch.cat(list(self.biases)) + 0 * state.h
        return y, HiddenState(y)


@pytest.mark.native
@pytest.mark.parametrize("parts", [1, 3])
@pytest.mark.parametrize("units", [3, 33])
def test_sums_over_many_steps(units: int, parts: int) -> None:
    cell, x = Shifted(units, parts), torch.zeros(5, 4000, units)
    weights = torch.rand(5, 4000, units)
    outputs, _ = scan(cell, x, engine="native")
    (outputs * weights).sum().backward()
    found = torch.cat([b.grad for b in cell.biases])
    exact = weights.double().sum((0, 1))
    assert ((found - exact).abs() <= 2 * EPSILON * exact).all()
