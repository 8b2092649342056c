"""SimpleRNN, LSTM and GRU cells: formulas, arguments, dropout. Whole sequences are held to torch's in recurrence/."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from rondeau import scan
from rondeau.cells import Cell, GRUCell, HiddenState, LSTMCell, LSTMState, SimpleRNNCell
from rondeau.errors import ArgumentError, ShapeError, StateError

CELLS: list[Any] = [SimpleRNNCell, LSTMCell, GRUCell]


def by_hand(cell: Any, x: Tensor, state: Any, h: Tensor) -> Tensor:
    """The new h as the papers write it, gate by gate; h: the old one as products see it, dropped or not."""
    n = cell.units
    W, U, b = cell.kernel, cell.recurrent_kernel, cell.bias
    if isinstance(cell, SimpleRNNCell):
        return torch.tanh(x @ W + h @ U + b)
    if isinstance(cell, LSTMCell):
        i, f, g, o = (
            x @ W[:, k * n : (k + 1) * n] + h @ U[:, k * n : (k + 1) * n] + b[k * n : (k + 1) * n] for k in range(4)
        )
        c = torch.sigmoid(f) * state.c + torch.sigmoid(i) * torch.tanh(g)
        return torch.sigmoid(o) * torch.tanh(c)
    Wz, Wr, Wn, Uz, Ur, Un = (M[:, k * n : (k + 1) * n] for M in (W, U) for k in range(3))
    if cell.reset_after:
        (bz, br, bn), (cz, cr, cn) = b[0].split(n), b[1].split(n)
        z, r = torch.sigmoid(x @ Wz + bz + h @ Uz + cz), torch.sigmoid(x @ Wr + br + h @ Ur + cr)
        return z * state.h + (1 - z) * torch.tanh(x @ Wn + bn + r * (h @ Un + cn))
    bz, br, bn = b.split(n)
    z, r = torch.sigmoid(x @ Wz + bz + h @ Uz), torch.sigmoid(x @ Wr + br + h @ Ur)
    return z * state.h + (1 - z) * torch.tanh(x @ Wn + bn + (r * h) @ Un)


@pytest.mark.parametrize(
    "cell",
    [
        SimpleRNNCell(4, bias_initializer="normal"),
        LSTMCell(4, bias_initializer="normal"),
        GRUCell(4, bias_initializer="normal"),
        GRUCell(4, bias_initializer="normal", reset_after=False),
    ],
)
def test_a_step_is_the_papers_formula(cell: Cell) -> None:
    cell.double()
    x = torch.randn(3, 2, dtype=torch.float64)
    state = type(cell.state_size)(*(torch.randn(3, 4, dtype=torch.float64) for _ in cell.state_size))
    output, after = cell(x, state)
    assert torch.allclose(output, by_hand(cell, x, state, state.h), atol=1e-14)
    assert torch.equal(output, after.h)


def test_shapes_names_and_starting_values_of_the_weights() -> None:
    for kind, gates, bias in ((SimpleRNNCell, 1, (5,)), (LSTMCell, 4, (20,)), (GRUCell, 3, (2, 15))):
        cell = kind(5)
        cell.build_for(3)
        assert {name: tuple(p.shape) for name, p in cell.named_parameters()} == {
            "kernel": (3, gates * 5),
            "recurrent_kernel": (5, gates * 5),
            "bias": bias,
        }
        U = cell.recurrent_kernel
        assert torch.allclose(U @ U.T, torch.eye(5), atol=1e-5)
        assert cell.kernel.abs().max() <= math.sqrt(6 / (3 + gates * 5))
        assert cell.features == 3
    lstm = LSTMCell(2)
    lstm.build_for(3)
    assert lstm.bias is not None
    assert lstm.bias.tolist() == [0, 0, 1, 1, 0, 0, 0, 0]
    plain = LSTMCell(2, unit_forget_bias=False)
    plain.build_for(3)
    assert plain.bias is not None
    assert not plain.bias.any()
    older = GRUCell(2, reset_after=False)
    older.build_for(3)
    assert older.bias is not None
    assert older.bias.shape == (6,)


@pytest.mark.parametrize("kind", CELLS)
def test_without_a_bias(kind: Any) -> None:
    cell = kind(4, use_bias=False)
    output, _ = cell(torch.zeros(2, 3))
    assert not output.any()
    assert cell.bias is None
    assert len(list(cell.parameters())) == 2


@pytest.mark.parametrize("kind", CELLS)
def test_other_activations_and_initialisers(kind: Any) -> None:
    gates = {} if kind is SimpleRNNCell else {"recurrent_activation": "hard_sigmoid"}
    cell = kind(4, activation="linear", kernel_initializer="ones", recurrent_initializer="zeros", **gates)
    output, _ = cell(torch.ones(2, 3))
    want = {SimpleRNNCell: 3.0, LSTMCell: 1.0 * 3.0 * 1.0, GRUCell: 0.0}[kind]  # every gate is saturated at 1
    assert torch.allclose(output, torch.full((2, 4), want))


@pytest.mark.parametrize("kind", CELLS)
def test_a_cell_in_training_is_itself_without_dropout(kind: Any) -> None:
    cell = kind(4)
    x = torch.randn(2, 5, 3)
    assert torch.equal(scan(cell.train(), x)[0], scan(cell.eval(), x)[0])


class Spy(LSTMCell):
    """Remembers what its step read."""

    def step(self, x: Tensor, state: LSTMState, context: Any) -> tuple[Tensor, LSTMState]:
        self.seen.append(
            {name: getattr(context, name) for name in ("input_mask", "recurrent_mask") if name in vars(context)}
        )
        return super().step(x, state, context)


def test_dropout_masks_stay_the_same_over_time_and_are_scaled() -> None:
    cell = Spy(400, dropout=0.25, recurrent_dropout=0.5).train()
    cell.seen = []
    scan(cell, torch.randn(6, 4, 300), lengths=[4, 4, 3, 4, 4, 1], engine="reference")  # only there each step is seen
    assert len(cell.seen) == 4
    first = cell.seen[0]
    assert first["input_mask"].shape == (6, 300)
    assert first["recurrent_mask"].shape == (6, 400)
    for later in cell.seen[1:]:  # rows are sorted by length, so the shorter ones leave at the end
        for name, mask in later.items():
            assert torch.equal(mask, first[name][: len(mask)])
    for name, rate in (("input_mask", 0.25), ("recurrent_mask", 0.5)):
        mask = first[name]
        assert set(mask.unique().tolist()) == {0.0, float(torch.tensor(1 / (1 - rate)))}
        kept = mask.count_nonzero() / mask.numel()
        assert float(kept) == pytest.approx(1 - rate, abs=5 * math.sqrt(rate * (1 - rate) / mask.numel()))
        assert not torch.equal(mask[0], mask[1])  # each row has its own


@pytest.mark.parametrize("options", [{}, {"reset_after": False}])
@pytest.mark.parametrize("kind", CELLS)
def test_dropped_are_the_inputs_and_the_products_not_what_is_carried_over(kind: Any, options: dict[str, Any]) -> None:
    if options and kind is not GRUCell:
        pytest.skip("only a GRU has two modes")
    cell = kind(4, dropout=0.5, recurrent_dropout=0.5, bias_initializer="normal", **options).double().train()
    x = torch.randn(2, 3, dtype=torch.float64)
    state = type(cell.state_size)(*(torch.randn(2, 4, dtype=torch.float64) for _ in cell.state_size))
    masks = {"input_mask": torch.tensor([[2.0, 0, 2], [0, 0, 2]]), "recurrent_mask": torch.tensor([[0, 2.0, 2, 0]] * 2)}
    masks = {name: mask.double() for name, mask in masks.items()}
    output, _ = scan(cell, x[:, None], state, context=masks)
    want = by_hand(cell, x * masks["input_mask"], state, state.h * masks["recurrent_mask"])
    assert torch.allclose(output[:, 0], want, atol=1e-14)


@pytest.mark.parametrize("kind", CELLS)
def test_dropout_is_drawn_in_training_only_and_from_its_seed(kind: Any) -> None:
    cell = kind(4, dropout=0.5, recurrent_dropout=0.5, seed=7)
    x = torch.randn(3, 5, 8)
    cell.eval()
    assert torch.equal(scan(cell, x)[0], scan(cell, x)[0])
    cell.train()
    first, second = scan(cell, x)[0], scan(cell, x)[0]
    assert not torch.equal(first, second)  # a new draw for every scan
    twin = kind(4, dropout=0.5, recurrent_dropout=0.5, seed=7).train()
    twin.build_for(8)
    twin.load_state_dict(cell.state_dict())
    torch.manual_seed(99)  # the global generator has no say
    assert torch.equal(scan(twin, x)[0], first)
    assert torch.equal(scan(twin, x)[0], second)
    own = torch.Generator().manual_seed(1)
    given = scan(twin, x, generator=own)[0]  # a generator given goes before the seed
    assert torch.equal(scan(cell, x, generator=torch.Generator().manual_seed(1))[0], given)
    free = kind(4, dropout=0.5).train()
    free.build_for(8)
    torch.manual_seed(5)
    one = scan(free, x)[0]
    torch.manual_seed(5)
    assert torch.equal(scan(free, x)[0], one)


def test_dropout_has_keras_statistics() -> None:
    """The deviation that dropout brings to a linear network's outputs, over many draws."""
    keras = pytest.importorskip("keras")
    options: Any = {
        "activation": None,
        "kernel_initializer": "ones",
        "recurrent_initializer": "identity",
        "dropout": 0.5,
    }
    x = torch.ones(4000, 3, 5)
    ours, _ = scan(SimpleRNNCell(1, **options).train(), x)
    theirs = keras.layers.SimpleRNN(1, **options, return_sequences=True)(x, training=True).detach()
    for t in range(3):  # one mask for all steps: the deviation grows with t, not with its root
        for sample in (ours[:, t].detach(), theirs[:, t]):
            assert float(sample.mean()) == pytest.approx(5 * (t + 1), rel=0.05)
            assert float(sample.std()) == pytest.approx(math.sqrt(5) * (t + 1), rel=0.1)


def test_a_step_outside_a_loop() -> None:
    cell = GRUCell(3, dropout=0.5, seed=1).eval()
    output, state = cell(torch.ones(2, 5))
    assert isinstance(state, HiddenState)
    assert torch.equal(cell(torch.ones(2, 5), [state.h])[0], cell(torch.ones(2, 5), state.h)[0])
    assert not torch.equal(cell.train()(torch.ones(2, 5))[0], output)
    with pytest.raises(ShapeError, match=r"expected \(batch, features\), got \(2, 4, 5\).*scan\(cell, inputs\)"):
        cell(torch.ones(2, 4, 5))
    with pytest.raises(ShapeError, match="expected 5, got 6"):
        cell(torch.ones(2, 6))
    with pytest.raises(StateError, match=r"state's h does not fit \(at the state\): expected \(2, 3\), got \(4, 3\)"):
        cell(torch.ones(2, 5), torch.zeros(4, 3))


@pytest.mark.parametrize("kind", CELLS)
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"units": 0}, "units: expected a positive integer, got 0"),
        ({"units": 2.5}, "units: expected a positive integer, got 2.5"),
        ({"units": 3, "dropout": 1.0}, "dropout: expected 0 <= rate < 1, got 1.0"),
        ({"units": 3, "recurrent_dropout": -0.1}, "recurrent_dropout: expected 0 <= rate < 1, got -0.1"),
        ({"units": 3, "activation": "tanhh"}, "there is no activation 'tanhh'"),
    ],
)
def test_wrong_arguments_name_the_cell(kind: Any, arguments: dict[str, Any], said: str) -> None:
    with pytest.raises(ArgumentError, match=said) as caught:
        kind(**arguments)
    assert "activation" in arguments or str(caught.value).startswith(kind.__name__)


@pytest.mark.parametrize("kind", CELLS)
def test_configurations_make_the_like(kind: Any) -> None:
    cell = kind(4, activation="relu", dropout=0.25, kernel_regularizer="l2", seed=3)
    again = kind.from_config(cell.get_config())
    assert again.get_config() == cell.get_config()
    assert again.units == 4
    assert again.dropout == 0.25


@pytest.mark.parametrize("kind", [SimpleRNNCell, LSTMCell, GRUCell])
def test_units_may_be_a_numpy_integer(kind: type[Cell]) -> None:
    output, _ = kind(np.int64(3))(torch.zeros(2, 4))
    assert output.shape == (2, 3)
