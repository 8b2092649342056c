"""Jacobians, exponents and products against what is known in closed form."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor

import rondeau
from rondeau import Cell, HiddenState, layers
from rondeau.cells import GRUCell, LSTMCell, ProjectedLSTMCell, SimpleRNNCell, StackedRNNCells
from rondeau.cells.base import map_state, state_tensors
from rondeau.errors import ArgumentError, DataError, ShapeError
from rondeau.insight.dynamics import dynamics, dynamics_of, radius
from rondeau.insight.trajectory import row_of
from rondeau.recurrence.context import gather_context
from rondeau.recurrence.given import giving
from rondeau.sequence import Ragged

EPSILON = torch.finfo(torch.float64).eps


@pytest.fixture(autouse=True)
def _in_double() -> Any:
    torch.manual_seed(0)
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


class Linear(Cell):
    """h' = h A + x"""

    def __init__(self, matrix: Tensor) -> None:
        super().__init__()
        self.recurrent_kernel = matrix
        self.state_size, self.output_size = HiddenState(h=len(matrix)), len(matrix)

    def step(self, x: Tensor, state: HiddenState) -> tuple[Tensor, HiddenState]:
        h = state.h @ self.recurrent_kernel + x
        return h, HiddenState(h)


class Logistic(Cell):
    """h' = 4 h (1 - h), whose Lyapunov exponent is ln 2."""

    state_size, output_size = HiddenState(h=1), 1

    def step(self, x: Tensor, state: HiddenState) -> tuple[Tensor, HiddenState]:
        h = 4 * state.h * (1 - state.h)
        return h, HiddenState(h)


class Pair(NamedTuple):
    a: Any
    n: Any


class Counting(Cell):
    """A state of several axes beside one of whole numbers, and all kinds of context."""

    state_size, output_size = Pair(a=(2, 3), n=1), 6
    per_row, per_step = ("gain",), ("shift",)

    def initial_state(self, batch: int, *, dtype: Any = None, device: Any = None) -> Pair:
        return Pair(torch.zeros(batch, 2, 3, dtype=dtype), torch.zeros(batch, 1, dtype=torch.int64))

    def step(self, x: Tensor, state: Pair, context: Any) -> tuple[Tensor, Pair]:
        a = context.gain[:, :, None] * state.a * (1 + context.index) + context.shift[:, :, None]
        return a.flatten(1), Pair(a, state.n + 1)


def trajectory(cell: Cell, x: Tensor, most: int = 100, row: int = 0) -> Any:
    batch = Ragged.full(x)
    cell.build_for(x.shape[-1])
    state = cell.initial_state(len(x), dtype=x.dtype)
    return row_of(cell, batch, state, gather_context(cell, batch, {}, None), False, row, most)


def differences(path: Any, t: int) -> Tensor:
    """The Jacobian by central differences, from the cell's own call."""
    state, x = path.states[t], path.inputs[t : t + 1]
    flat = torch.cat([s.flatten() for s in state_tensors(state)])
    sizes = [s.numel() for s in state_tensors(state)]

    def after(values: Tensor) -> Tensor:
        parts = iter(values.split(sizes))
        _, found = path.cell(x, map_state(lambda s: next(parts).view_as(s), state))
        return torch.cat([s.flatten() for s in state_tensors(found)]).detach()

    h = EPSILON ** (1 / 3)
    columns = [(after(flat + h * e) - after(flat - h * e)) / (2 * h) for e in torch.eye(len(flat))]
    return torch.stack(columns, dim=1)


@pytest.mark.parametrize(
    "make",
    [
        lambda: LSTMCell(4),
        lambda: GRUCell(4),
        lambda: GRUCell(3, reset_after=False),
        lambda: ProjectedLSTMCell(5, 2),
        lambda: StackedRNNCells([LSTMCell(3), SimpleRNNCell(2)]),
    ],
)
def test_the_jacobian_is_that_of_differences(make: Any) -> None:
    path = trajectory(make(), torch.randn(2, 6, 3), row=1)
    for t in range(6):
        found = path.jacobian(t)
        assert found.shape == (path.size, path.size)
        torch.testing.assert_close(found, differences(path, t), rtol=0, atol=20 * EPSILON ** (2 / 3))


def test_vectors_go_through_the_same_jacobian_both_ways() -> None:
    path = trajectory(LSTMCell(4), torch.randn(1, 3, 2))
    jacobian, vectors = path.jacobian(2), torch.randn(3, path.size)
    torch.testing.assert_close(path.back(2, vectors), vectors @ jacobian, rtol=0, atol=100 * EPSILON)
    torch.testing.assert_close(path.ahead(2, vectors), vectors @ jacobian.T, rtol=0, atol=100 * EPSILON)


def test_more_numbers_in_a_state_than_rows_at_once() -> None:
    matrix = torch.randn(300, 300)
    path = trajectory(Linear(matrix), torch.zeros(1, 1, 300))
    torch.testing.assert_close(path.jacobian(0), matrix.T, rtol=0, atol=0)


def test_of_a_normal_matrix_exponents_are_logarithms_of_its_eigenvalues() -> None:
    basis = torch.linalg.qr(torch.randn(5, 5))[0]
    values = torch.tensor([1.2, 1.01, 0.9, 0.5, 0.3])
    found = dynamics(Linear(basis @ torch.diag(values) @ basis.T), torch.randn(40, 5), leading=None)
    assert found.exponents == pytest.approx(values.log().tolist(), rel=1e-6)
    assert found.largest == pytest.approx([1.2] * 40, rel=1e3 * EPSILON)
    assert found.smallest == pytest.approx([0.3] * 40, rel=1e3 * EPSILON)
    assert found.products == pytest.approx([1.2**span for span in found.spans], rel=1e4 * EPSILON)
    assert found.spans == [1, 2, 5, 10, 20]
    assert found.radius == pytest.approx(1.2, rel=1e3 * EPSILON)


def test_complex_eigenvalues_count_by_their_moduli() -> None:
    turn = torch.tensor([[0.6, -0.8], [0.8, 0.6]]) * 0.7
    found = dynamics(Linear(turn), torch.zeros(30, 2))
    assert found.exponents == pytest.approx([math.log(0.7)] * 2, rel=1e4 * EPSILON)
    assert found.radius == pytest.approx(0.7, rel=1e2 * EPSILON)


@pytest.mark.parametrize("size", [8, 300])  # whole Jacobians, and leading directions only
def test_orthogonal_matrices_have_exponents_of_zero(size: int) -> None:
    matrix = torch.linalg.qr(torch.randn(size, size))[0]
    found = dynamics(Linear(matrix), torch.zeros(100, size))
    assert found.exponents == pytest.approx([0.0] * min(size, 16), abs=1e3 * EPSILON)
    assert found.products == pytest.approx([1.0] * 7, rel=1e5 * EPSILON)
    assert len(found.largest) == (100 if size == 8 else 4)


def test_leading_directions_alone_find_what_whole_jacobians_find() -> None:
    cell = LSTMCell(40)
    x = torch.randn(1, 100, 5)
    whole = dynamics(cell, x)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("rondeau.insight.dynamics._EXACT", 10)
        leading = dynamics(cell, x)
    assert leading.products == pytest.approx(whole.products, rel=1e-3)
    assert leading.exponents == pytest.approx(whole.exponents, rel=1e-6)
    assert leading.largest == pytest.approx([whole.largest[t] for t in (0, 33, 66, 99)])


def test_the_logistic_map_has_the_exponent_ln_2() -> None:
    found = dynamics(Logistic(), torch.zeros(4000, 1), HiddenState(torch.full((1, 1), 0.1234)), steps=4000)
    assert found.exponents == pytest.approx([math.log(2)], abs=10 / 4000)  # a mean over steps deviates as 1 / steps
    assert found.radius is None


def test_products_beyond_what_a_float_holds_are_infinite_and_exponents_stay_exact() -> None:
    found = dynamics(Linear(1e30 * torch.eye(3)), torch.zeros(100, 3))
    assert found.exponents == pytest.approx([30 * math.log(10)] * 3, rel=1e3 * EPSILON)
    assert found.products[-1] == math.inf
    assert found.products[3] == pytest.approx(1e300, rel=1e-12)
    tiny = dynamics(Linear(1e-30 * torch.eye(3)), torch.zeros(100, 3))
    assert tiny.products[-1] == 0
    assert tiny.exponents == pytest.approx([-30 * math.log(10)] * 3, rel=1e3 * EPSILON)


def test_a_step_that_forgets_everything_and_one_that_breaks() -> None:
    assert dynamics(Linear(torch.zeros(2, 2)), torch.zeros(3, 2)).exponents == [-math.inf, -math.inf]
    broken = dynamics(Linear(torch.full((2, 2), math.nan)), torch.zeros(3, 2))
    assert all(math.isnan(v) for v in [*broken.exponents, *broken.products, *broken.largest, broken.radius or 0])


def test_context_index_and_states_of_whole_numbers() -> None:
    context = {"gain": torch.tensor([[9.0, 9.0], [2.0, 3.0]]), "shift": torch.randn(2, 4, 2)}
    found = dynamics(Counting(), torch.zeros(2, 4, 1), context=context, row=1)
    assert found.largest == pytest.approx([3.0 * (1 + t) for t in range(4)])
    assert found.smallest == pytest.approx([2.0 * (1 + t) for t in range(4)])
    assert found.exponents[0] == pytest.approx(math.log(3**4 * 24) / 4)


def test_dropout_drawn_in_training_is_part_of_the_step() -> None:
    cell = SimpleRNNCell(50, recurrent_dropout=0.5, activation="linear")
    dropped = dynamics(cell.train(), torch.zeros(1, 3, 2), leading=None)
    assert sum(value > -10 for value in dropped.exponents) < 40
    assert dropped.largest == pytest.approx([2.0] * 3)  # what is left is scaled up
    assert dynamics(cell.eval(), torch.zeros(1, 3, 2)).largest == pytest.approx([1.0] * 3)


def test_reverse_begins_at_the_last_step() -> None:
    class Scaled(Cell):
        state_size, output_size = HiddenState(h=1), 1

        def step(self, x: Tensor, state: HiddenState) -> tuple[Tensor, HiddenState]:
            h = state.h * x
            return h, HiddenState(h)

    x = Ragged.from_rows([torch.tensor([[5.0]]), torch.tensor([[1.0], [2.0], [3.0]])])
    assert dynamics(Scaled(), x, row=1).largest == [1, 2, 3]
    assert dynamics(Scaled(), x, row=1, reverse=True, steps=2).largest == [3, 2]


def test_weights_that_come_with_the_call_and_the_same_cell_of_ones_own() -> None:
    from rondeau.nn.cells import cell_for

    lstm = torch.nn.LSTM(3, 4)
    x = torch.randn(1, 10, 3)
    own = LSTMCell(4)
    own.build_for(3)
    with torch.no_grad():
        own.kernel.copy_(lstm.weight_ih_l0.t())
        own.recurrent_kernel.copy_(lstm.weight_hh_l0.t())
        assert own.bias is not None
        own.bias.copy_(lstm.bias_ih_l0 + lstm.bias_hh_l0)
    weights = {name: getattr(lstm, f"{name}_l0") for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")}
    with giving(weights):
        given = dynamics(cell_for("LSTM", 3, 4, True), x)
    expected = dynamics(own, x)
    assert given.largest == pytest.approx(expected.largest)
    assert given.exponents == pytest.approx(expected.exponents)
    assert given.radius == pytest.approx(expected.radius)
    (found,) = dynamics_of(lstm, x.transpose(0, 1))
    assert found.exponents == pytest.approx(expected.exponents)
    assert type(lstm) is torch.nn.LSTM  # as it was


def test_every_recurrent_layer_of_a_model() -> None:
    torch.set_default_dtype(torch.float32)
    model = rondeau.Sequential(
        [
            layers.Input((None, 3)),
            layers.Bidirectional(layers.GRU(4, return_sequences=True, dropout=0.5)),
            layers.LSTM(5),
            layers.Dense(1),
        ]
    )
    model.train()
    before = torch.random.get_rng_state()
    found = dynamics_of(model, torch.randn(2, 30, 3, generator=torch.Generator().manual_seed(0)), row=1)
    assert torch.equal(before, torch.random.get_rng_state())
    assert model.training
    assert len(found) == 3
    assert len({one.name for one in found}) == 3
    assert [len(one.exponents) for one in found] == [4, 4, 10]
    assert all(parameter.grad is None for parameter in model.parameters())


def test_a_stateful_layer_carries_what_it_carried() -> None:
    torch.set_default_dtype(torch.float32)
    model = rondeau.Sequential([layers.Input((None, 3), batch_size=2), layers.GRU(4, stateful=True)])
    x = torch.randn(2, 5, 3)
    model(x)
    before = state_tensors(model.layers[-1].state)[0].clone()
    dynamics_of(model, x)
    assert torch.equal(state_tensors(model.layers[-1].state)[0], before)


def test_the_radius_of_gates_stacks_and_projections() -> None:
    gru = GRUCell(3)
    gru.build_for(2)
    with torch.no_grad():
        gru.recurrent_kernel.copy_(torch.cat([torch.eye(3), -2 * torch.eye(3), 0.5 * torch.eye(3)], dim=1))
    assert radius(gru) == pytest.approx(2)
    simple = SimpleRNNCell(2)
    simple.build_for(3)
    assert radius(StackedRNNCells([gru, simple])) == pytest.approx(2)
    projected = ProjectedLSTMCell(6, 3)
    projected.build_for(2)
    assert radius(projected) is None  # its blocks are not square


def test_what_does_not_fit_is_said() -> None:
    cell = GRUCell(2)
    with pytest.raises(ShapeError):
        dynamics(cell, torch.zeros(3))
    with pytest.raises(DataError, match="no such row"):
        dynamics(cell, torch.zeros(2, 5, 3), row=2)
    with pytest.raises(DataError):
        dynamics(cell, Ragged.from_rows([torch.zeros(0, 3), torch.zeros(2, 3)]))
    with pytest.raises(ArgumentError):
        dynamics(cell, torch.zeros(2, 5, 3), steps=0)
    with pytest.raises(ArgumentError):
        dynamics(cell, [1, 2])  # type: ignore[arg-type]
