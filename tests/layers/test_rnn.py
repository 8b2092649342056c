"""`RNN` beyond what Keras can judge: users' cells, errors, what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from rondeau import Cell, HiddenState, Ragged, layers
from rondeau.cells import GRUCell, LSTMCell, LSTMState
from rondeau.errors import ArgumentError, DataError, ShapeError, StateError

X = torch.zeros(4, 5, 3)


class Leaky(Cell):
    """A user's cell."""

    def __init__(self, units: int, leak: float = 0.1) -> None:
        super().__init__()
        self.state_size, self.output_size, self.leak = HiddenState(h=units), units, leak

    def build(self, features: int) -> None:
        self.kernel = self.add_weight("kernel", (features, self.output_size))

    def step(self, x: Tensor, state: HiddenState) -> tuple[Tensor, HiddenState]:
        h = (1 - self.leak) * state.h + self.leak * torch.tanh(x @ self.kernel)
        return h, HiddenState(h)


def test_a_users_cell_is_a_layer_like_any_other() -> None:
    layer = layers.RNN(Leaky(2), return_sequences=True, return_state=True)
    x, mask = torch.randn(4, 5, 3), torch.tensor([[1, 0, 1, 1, 0]] * 4).bool()
    y, h = layer(x, mask=mask)
    assert y.shape == (4, 5, 2)
    assert torch.equal(y[:, 1], y[:, 0])
    assert torch.equal(y[:, -1], h)
    both = layers.Bidirectional(layers.RNN(Leaky(2, leak=0.5)))
    assert both(x).shape == (4, 4)
    assert both.backward_layer.cell.leak == 0.5


def test_states_come_out_one_by_one() -> None:
    y, *states = layers.RNN([LSTMCell(2), GRUCell(6)], return_state=True)(X)
    assert [tuple(s.shape) for s in states] == [(4, 2), (4, 2), (4, 6)]
    assert torch.equal(y, states[2])

    class Bare(Cell):
        def __init__(self) -> None:
            super().__init__()
            self.state_size = self.output_size = 3

        def step(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
            return x, state + x

    outputs = layers.RNN(Bare(), return_state=True)(X)
    assert [tuple(part.shape) for part in outputs] == [(4, 3), (4, 3)]


def test_states_go_in_as_they_come_out_and_from_numpy() -> None:
    layer = layers.LSTM(3, return_state=True)
    x = torch.randn(4, 5, 3)
    _, h, c = layer(x)
    want = layer(x, initial_state=[h, c])[0]
    for given in ((h, c), LSTMState(h, c), [h.detach().numpy(), c.detach().double().numpy()]):
        assert torch.equal(layer(x, initial_state=given)[0], want)
    assert torch.equal(layer(x.numpy(), initial_state=[h, c], mask=np.ones((4, 5), bool))[0], want)
    assert torch.equal(layer(x, [h, c], np.ones((4, 5)))[0], want)


def test_dropout_draws_from_the_layers_seed() -> None:
    def made() -> Any:
        layer = layers.GRU(3, dropout=0.5, recurrent_dropout=0.5, seed=3, kernel_initializer="ones")
        layer.build_for((4, 5, 3))
        return layer

    x = torch.randn(4, 5, 3)
    one, other = made(), made()
    other.load_state_dict(one.state_dict())
    assert torch.equal(one(x), other(x))
    assert not torch.equal(one(x), one(x))
    assert torch.equal(one.eval()(x), other.eval()(x))


def test_a_row_without_steps_keeps_its_state_and_gives_zero() -> None:
    layer = layers.GRU(2, return_state=True)
    y, h = layer(Ragged.from_padded(torch.randn(2, 4, 3), [0, 4]), initial_state=[torch.ones(2, 2)])
    assert y[0].tolist() == [0, 0]
    assert h[0].tolist() == [1, 1]


@pytest.mark.parametrize(
    ("arguments", "kind", "said"),
    [
        ({"x": torch.zeros(4, 3)}, ShapeError, r"layer lstm: .*axes: expected \(batch, time, features\), got \(4, 3\)"),
        ({"x": torch.zeros(4, 5, 6, 3)}, ShapeError, r"got \(4, 5, 6, 3\)"),
        ({"x": torch.zeros(4, 5, 7)}, ShapeError, r"layer lstm: .*features.*expected 3, got 7"),
        (
            {"x": torch.zeros(4, 5, 3).double()},
            DataError,
            r"another type.*expected torch.float32, got torch.float64.*x.to\(",
        ),
        ({"x": torch.zeros(4, 5, 3).long()}, DataError, "got torch.int64.*ids with an Embedding"),
        (
            {"x": X, "mask": torch.ones(4, 6)},
            ShapeError,
            r"the mask does not fit the input: expected \(4, 5\), got \(4, 6\)",
        ),
        ({"x": X, "mask": torch.ones(4, 5, 1)}, ShapeError, r"got \(4, 5, 1\)"),
        ({"x": X, "mask": torch.ones(5)}, ShapeError, r"got \(5,\)"),
        (
            {"x": Ragged.from_padded(X, [1] * 4), "mask": torch.ones(4, 5)},
            ArgumentError,
            "a mask beside a Ragged input",
        ),
        ({"x": X, "initial_state": torch.zeros(4, 2)}, StateError, "expected h, c, got 1 tensors"),
        (
            {"x": X, "initial_state": [torch.zeros(2, 2)] * 2},
            StateError,
            r"layer lstm, initial_state\): expected \(4, 2\)",
        ),
        ({"x": X, "initial_state": HiddenState(torch.zeros(4, 2))}, StateError, "expected h, c, got h"),
        ({"x": X, "training": True}, ArgumentError, r"training is no argument.*layer.train\(\)"),
        ({"x": torch.zeros(4, 0, 3)}, ShapeError, r"no steps, so no last output: got \(4, 0, 2\)"),
    ],
)
def test_inputs_that_do_not_fit(arguments: dict[str, Any], kind: type[Exception], said: str) -> None:
    layer = layers.LSTM(2)
    layer(X)
    with pytest.raises(kind, match=said):
        layer(**arguments)


def test_another_batch_size_than_the_state_that_is_kept() -> None:
    layer = layers.LSTM(2, stateful=True)
    layer(X)
    with pytest.raises(StateError, match=r"keeps the state of another batch size: expected 4 rows, got 3 rows"):
        layer(X[:3])
    layer.reset_states()
    assert layer(X[:3]).shape == (3, 2)
    assert layer(X, initial_state=[torch.zeros(4, 2)] * 2).shape == (4, 2)


@pytest.mark.parametrize("cell", [3, "lstm", LSTMCell, torch.nn.LSTMCell(3, 3), [], [LSTMCell(2), 3]])
def test_what_is_no_cell(cell: Any) -> None:
    with pytest.raises(ArgumentError, match=r"expected a (Cell|list of at least one Cell)"):
        layers.RNN(cell)


REFUSED = {
    "use_cudnn": "no meaning here",
    "unroll": "never unrolled",
    "implementation": "one definition",
    "time_major": r"\(batch, time, features\)",
    "kernel_constraint": "weight_decay",
    "recurrent_constraint": "weight_decay",
    "activity_regularizer": "add the penalty",
    "input_shape": r"Input\(shape\)",
    "batch_input_shape": r"Input\(shape, batch_size\)",
    "dtype": r"model.to\(dtype\)",
    "autocast": "torch.autocast",
    "weights": "set_weights",
    "untis": r". See help\(rondeau.layers",
}


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.parametrize("kind", [layers.LSTM, layers.GRU, layers.SimpleRNN])
def test_arguments_that_have_no_meaning_here(kind: Any, name: str) -> None:
    with pytest.raises(ArgumentError, match=f"{kind.__name__}.*{name}.*{REFUSED[name]}"):
        kind(3, **{name: None})
