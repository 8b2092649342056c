"""The chrono initialiser: gates that begin by remembering for the times it drew."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

import rondeau
from rondeau import Keep, init, layers, scan
from rondeau.cells import GRUCell, LSTMCell, ProjectedLSTMCell, SimpleRNNCell
from rondeau.errors import ArgumentError

EPSILON = torch.finfo(torch.float32).eps


def bias(cell: Any) -> torch.Tensor:
    cell.build_for(3)
    return cell.bias.detach()


def drawn(seed: int, units: int, most: float) -> torch.Tensor:
    return init.RandomUniform(1.0, most - 1, seed)((units,))


@pytest.mark.parametrize("make", [LSTMCell, lambda units, **o: ProjectedLSTMCell(units, 2, **o)])
def test_an_lstm_s_forget_gate_keeps_what_its_input_gate_leaves_out(make: Any) -> None:
    found = bias(make(5, bias_initializer=init.Chrono(40, seed=3)))
    i, f, g, o = found.chunk(4)
    expected = drawn(3, 5, 40).log()
    assert torch.equal(f, expected)
    assert torch.equal(i, -expected)
    assert not g.any()
    assert not o.any()


def test_a_gru_s_update_gate_keeps() -> None:
    expected = drawn(3, 5, 40).log()
    after = bias(GRUCell(5, bias_initializer=init.Chrono(40, seed=3)))
    assert torch.equal(after[0], torch.cat([expected, torch.zeros(10)]))
    assert after.shape == (2, 15)
    assert not after[1].any()
    before = bias(GRUCell(5, bias_initializer=init.Chrono(40, seed=3), reset_after=False))
    assert torch.equal(before, after[0])


def test_times_are_spread_evenly_up_to_the_longest() -> None:
    torch.manual_seed(0)
    times = bias(LSTMCell(20_000, bias_initializer="chrono", recurrent_initializer="zeros")).chunk(4)[1].exp()
    assert 1 <= float(times.min()) < 1.1
    assert 98.9 < float(times.max()) <= 99 * (1 + 4 * EPSILON)
    shares = torch.histc(times, 10, 1, 99) / 20_000
    assert float((shares - 0.1).abs().max()) < 5 * (0.1 * 0.9 / 20_000) ** 0.5  # five deviations


@pytest.mark.parametrize(("make", "gate"), [(LSTMCell, "forget_gate"), (GRUCell, "update_gate")])
def test_training_begins_with_the_times_that_were_promised(make: Any, gate: str) -> None:
    cell = make(200, bias_initializer=init.Chrono(200, seed=1))
    keep = Keep(intermediates=[gate])
    torch.manual_seed(0)
    scan(cell, 0.1 * torch.randn(8, 100, 3), keep=keep)
    f = keep.intermediates[gate].values.double().mean(0)
    steps = -1 / f.log()
    times = drawn(1, 200, 200).double()
    # exactly 1 / ln(1 + 1/d) without input and state; with some, the gate's argument moves a little
    assert torch.quantile((steps * (1 + 1 / times).log() - 1).abs(), 0.9) < 0.25
    keep = Keep(intermediates=[gate])
    scan(cell, torch.zeros(1, 1, 3), keep=keep)
    exact = -1 / keep.intermediates[gate].values[0].double().log()
    torch.testing.assert_close(exact, 1 / (1 + 1 / times).log(), rtol=200 * 200 * EPSILON, atol=0)


def test_it_is_saved_with_the_model_and_by_its_name(tmp_path: Path) -> None:
    for initializer in ("chrono", init.Chrono(30)):
        model = rondeau.Sequential([layers.Input((None, 2)), layers.LSTM(3, bias_initializer=initializer)])
        model.save(tmp_path / "model")
        loaded = rondeau.load(tmp_path / "model")
        assert loaded.layers[-1].get_config() == model.layers[-1].get_config()
        assert torch.equal(loaded.layers[-1].cell.bias, model.layers[-1].cell.bias)


def test_a_forget_bias_of_one_goes_only_with_other_initialisers() -> None:
    assert bias(LSTMCell(2, unit_forget_bias=True)).chunk(4)[1].tolist() == [1, 1]
    assert bias(LSTMCell(2, unit_forget_bias=True, bias_initializer=init.Chrono(3, seed=0))).chunk(4)[1].max() < 0.7


def test_what_has_no_gate_that_keeps_says_so() -> None:
    with pytest.raises(ArgumentError, match="SimpleRNNCell has no gate that keeps its state"):
        SimpleRNNCell(2, bias_initializer="chrono").build_for(3)
    with pytest.raises(ArgumentError, match="there is none"):
        LSTMCell(2, bias_initializer="chrono", use_bias=False).build_for(3)
    with pytest.raises(ArgumentError, match="biases of gated cells"):
        LSTMCell(2, kernel_initializer="chrono").build_for(3)
    with pytest.raises(ArgumentError, match="max_steps"):
        init.Chrono(2)
