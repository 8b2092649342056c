"""Gates and states: what is saturated, dead, stuck, and how long units remember."""

from __future__ import annotations

import math

import pytest
import torch

from rondeau.insight.values import measure_values, time_constants


def test_a_gate_that_is_open_or_shut() -> None:
    values = torch.tensor([[0.0, 0.5, 1.0, 0.99]]).expand(10, 4)
    found = measure_values(values, gate=True)
    assert (found.low, found.high) == (0.0, 1.0)
    assert (found.at_low, found.at_high) == (0.25, 0.5)
    assert found.mean == pytest.approx(2.49 / 4)
    assert sum(found.histogram) == pytest.approx(1.0)
    assert found.histogram[0] == 0.25
    assert found.histogram[10] == 0.25
    assert found.histogram[-1] == 0.5


def test_a_tanh_runs_from_minus_one_to_one() -> None:
    found = measure_values(torch.tensor([[-0.99], [0.0], [0.97], [0.5]]), gate=False)
    assert (found.low, found.high, found.at_low, found.at_high) == (-1.0, 1.0, 0.25, 0.25)


def test_a_range_without_bounds_has_no_saturated_ends() -> None:
    found = measure_values(torch.tensor([[0.0, 5.0]] * 4), gate=False)
    assert (found.low, found.high, found.at_low, found.at_high) == (0.0, 5.0, 0.0, 0.0)


def test_dead_and_stuck_units() -> None:
    values = torch.rand(50, 4)
    values[:, 0] = 0.0
    values[:, 1] = 0.7
    found = measure_values(values, gate=False)
    assert (found.dead, found.stuck) == (0.25, 0.25)


def test_values_that_are_not_finite_are_measured_all_the_same() -> None:
    found = measure_values(torch.tensor([[float("nan"), 1.0], [float("inf"), 2.0]]), gate=True)
    assert sum(found.histogram) == pytest.approx(1.0)
    assert math.isnan(found.mean)


def test_values_that_are_all_the_same() -> None:
    found = measure_values(torch.full((5, 2), 3.0), gate=False)
    assert found.low < 3.0 < found.high
    assert found.stuck == 1.0


@pytest.mark.parametrize("name", ["forget_gate", "update_gate", "1.forget_gate"])
def test_time_constants_follow_from_the_mean_forget_gate(name: str) -> None:
    steps = torch.tensor([2.0, 10.0, 100.0])
    gates = {"output_gate": torch.rand(4, 3), name: torch.exp(-1 / steps).expand(4, 3)}
    found = time_constants(gates)
    assert found is not None
    assert [found[0], found[3], found[6]] == pytest.approx([2.0, 10.0, 100.0], rel=1e-5)


def test_without_a_forget_gate_there_are_none() -> None:
    assert time_constants({"gate": torch.rand(4, 3)}) is None
