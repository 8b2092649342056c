"""What `scan` promises, whatever the cell."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from torch import Tensor

from rondeau import Ragged, scan
from rondeau.cells import Cell, GRUCell, HiddenState, LSTMCell, SimpleRNNCell, StackedRNNCells
from rondeau.cells.base import map_state
from rondeau.errors import ArgumentError, DataError, ShapeError, StateError
from rondeau.layers import LSTM
from rondeau.recurrence.reference import schedule

TOLERANCE = 1e-13  # float64: products of other row counts may add up in another order, nothing else


class Counting(Cell):
    """Reads how many steps the row has made, and a clock for each step."""

    per_step = ("clock",)

    def __init__(self) -> None:
        super().__init__()
        self.state_size, self.output_size = HiddenState(h=3), 3
        self.weight = self.add_weight("weight", (3, 3))

    def step(self, x: Tensor, state: HiddenState, context: Any) -> tuple[Tensor, HiddenState]:
        h = torch.tanh(state.h @ self.weight + x + context.index * context.clock)
        return h, HiddenState(h)


def make(kind: str) -> tuple[Cell, int]:
    """A cell in float64, and its number of features."""
    torch.manual_seed(1)
    made: dict[str, tuple[Cell, int]] = {
        "rnn": (SimpleRNNCell(4, bias_initializer="normal"), 2),
        "lstm": (LSTMCell(3, bias_initializer="normal"), 2),
        "gru": (GRUCell(3, bias_initializer="normal"), 2),
        "older gru": (GRUCell(3, bias_initializer="normal", reset_after=False), 2),
        "stack": (StackedRNNCells([LSTMCell(2), GRUCell(3)]), 2),
        "counting": (Counting(), 3),
    }
    cell, features = made[kind]
    return cell.double(), features


KINDS = ["rnn", "lstm", "gru", "older gru", "stack", "counting"]
lengths_of_rows = st.lists(st.integers(0, 5), min_size=1, max_size=6)
cells = st.sampled_from(KINDS)


def data(cell: Cell, features: int, lengths: list[int], time: int = 5) -> tuple[Tensor, Any, dict[str, Tensor]]:
    """Inputs, an initial state and the context, all in float64."""
    batch = len(lengths)
    x = torch.randn(batch, time, features, dtype=torch.float64)
    state = map_state(lambda size: torch.randn(batch, size, dtype=torch.float64), cell.state_size)
    context = {"clock": torch.randn(batch, time, 1, dtype=torch.float64)} if cell.per_step == ("clock",) else {}
    return x, state, context


def leaves(state: Any) -> list[Tensor]:
    found: list[Tensor] = []
    map_state(found.append, state)
    return found


def same(a: Tensor, b: Tensor) -> bool:
    return a.shape == b.shape and torch.allclose(a, b, rtol=0, atol=TOLERANCE)


@given(cells, lengths_of_rows, st.booleans(), st.data())
def test_a_row_alone_is_the_row_in_any_batch(kind: str, lengths: list[int], reverse: bool, draw: st.DataObject) -> None:
    cell, features = make(kind)
    x, state, context = data(cell, features, lengths)
    y, last = scan(cell, x, state, lengths, reverse, context=context)
    i = draw.draw(st.integers(0, len(lengths) - 1))
    n = lengths[i]
    alone, own = scan(
        cell,
        x[i : i + 1, :n],
        map_state(lambda s: s[i : i + 1], state),
        reverse=reverse,
        context={name: value[i : i + 1, :n] for name, value in context.items()},
    )
    assert same(y[i, :n], alone[0])
    assert not y[i, n:].any()
    for a, b in zip(leaves(last), leaves(own), strict=True):
        assert same(a[i : i + 1], b)


@given(cells, lengths_of_rows, st.booleans())
def test_padding_changes_neither_outputs_nor_gradients(kind: str, lengths: list[int], reverse: bool) -> None:
    assume(any(lengths))
    cell, features = make(kind)
    x, state, context = data(cell, features, lengths)
    padding = torch.arange(5) >= torch.tensor(lengths)[:, None]
    poisoned = x.masked_fill(padding[:, :, None], torch.nan)

    def run(inputs: Tensor) -> list[Tensor]:
        inputs = inputs.clone().requires_grad_()
        cell.zero_grad()
        y, last = scan(cell, inputs, state, lengths, reverse, context=context)
        torch.autograd.backward(y.square().sum() + sum(s.square().sum() for s in leaves(last)))
        assert inputs.grad is not None
        return [y, *leaves(last), inputs.grad, *(p.grad for p in cell.parameters() if p.grad is not None)]

    clean, dirty = run(x), run(poisoned)
    for a, b in zip(clean, dirty, strict=True):
        assert torch.equal(a, b)
    grads = dirty[1 + len(leaves(state))]
    assert not grads[padding].any()


@given(cells, lengths_of_rows, st.randoms(use_true_random=False), st.booleans())
def test_permuting_rows_permutes_results(kind: str, lengths: list[int], random: Any, reverse: bool) -> None:
    cell, features = make(kind)
    x, state, context = data(cell, features, lengths)
    order = list(range(len(lengths)))
    random.shuffle(order)
    y, last = scan(cell, x, state, lengths, reverse, context=context)
    moved, after = scan(
        cell,
        x[order],
        map_state(lambda s: s[order], state),
        [lengths[i] for i in order],
        reverse,
        context={name: value[order] for name, value in context.items()},
    )
    assert same(y[order], moved)
    for a, b in zip(leaves(last), leaves(after), strict=True):
        assert same(a[order], b)


@given(cells.filter(lambda kind: kind != "counting"), lengths_of_rows, st.integers(0, 5))
def test_chunks_that_hand_on_their_state_are_the_whole(kind: str, lengths: list[int], cut: int) -> None:
    assume(any(lengths))
    cell, features = make(kind)
    x, state, _ = data(cell, features, lengths)
    early, late = [min(n, cut) for n in lengths], [max(n - cut, 0) for n in lengths]

    def gradients(inputs: Tensor, y: Tensor, last: Any) -> list[Tensor]:
        loss = y.square().sum() + sum(s.square().sum() for s in leaves(last))
        return list(torch.autograd.grad(loss, [inputs, *cell.parameters()]))

    whole = x.clone().requires_grad_()
    y, last = scan(cell, whole, state, lengths)
    parts = x.clone().requires_grad_()
    first, middle = scan(cell, parts[:, :cut], state, early)
    second, end = scan(cell, parts[:, cut:], middle, late)
    joined = torch.cat([first, second], 1)
    assert same(y, joined)
    for a, b in zip(leaves(last), leaves(end), strict=True):
        assert same(a, b)
    for a, b in zip(gradients(whole, y, last), gradients(parts, joined, end), strict=True):
        assert torch.allclose(a, b, rtol=0, atol=1e-12)


@given(cells.filter(lambda kind: kind != "counting"), lengths_of_rows)
def test_reverse_is_forward_over_rows_turned_round(kind: str, lengths: list[int]) -> None:
    cell, features = make(kind)
    x, state, _ = data(cell, features, lengths)
    ragged = Ragged.from_padded(x, lengths)
    back, last = scan(cell, ragged, state, reverse=True)
    turned, after = scan(cell, ragged.reverse(), state)
    assert same(back.values, turned.reverse().values)
    for a, b in zip(leaves(last), leaves(after), strict=True):
        assert same(a, b)


@given(lengths_of_rows)
def test_the_schedule_visits_every_step_once_and_in_order(lengths: list[int]) -> None:
    order, alive, index = schedule(torch.tensor(lengths))
    assert sorted(order.tolist()) == list(range(len(lengths)))
    assert alive == [sum(n > t for n in lengths) for t in range(max(lengths))]
    starts = [sum(lengths[:i]) for i in range(len(lengths))]
    want = [starts[i] + t for t in range(max(lengths)) for i in order.tolist() if t < lengths[i]]
    assert index.tolist() == want
    assert sorted(want) == list(range(sum(lengths)))


def test_the_executable_definition_in_the_docstring() -> None:
    cell, features = make("lstm")
    x, state, _ = data(cell, features, [5])
    for reverse in (False, True):
        y, last = scan(cell, x, state, reverse=reverse)
        now, outputs = state, []
        for t in range(5) if not reverse else range(4, -1, -1):
            output, now = cell(x[:, t], now)
            outputs.append(output)
        assert same(y, torch.stack(outputs[::-1] if reverse else outputs, 1))
        assert same(last.c, now.c)


def test_a_ragged_gives_a_ragged_with_the_same_rows() -> None:
    cell, features = make("gru")
    x = torch.randn(3, 6, features, dtype=torch.float64)
    mask = torch.tensor([[0, 1, 1, 0, 1, 0], [0] * 6, [1] * 6], dtype=torch.bool)
    r = Ragged.compress(x, mask)
    y, last = scan(cell, r)
    assert isinstance(y, Ragged)
    assert y.mask is r.mask
    want, _ = scan(cell, torch.cat([x[0, 1:3], x[0, 4:5]])[None])
    assert same(y.rows()[0][None], want)
    assert not last.h[1].any()
    padded, _ = scan(cell, r.pad(8), lengths=r.lengths)
    assert same(padded, y.pad(8))


def test_no_rows_and_no_steps() -> None:
    cell, features = make("lstm")
    y, last = scan(cell, torch.zeros(0, 4, features, dtype=torch.float64))
    assert y.shape == (0, 4, 3)
    assert last.c.shape == (0, 3)
    state = map_state(lambda size: torch.randn(2, size, dtype=torch.float64), cell.state_size)
    y, last = scan(cell, torch.zeros(2, 0, features, dtype=torch.float64), state)
    assert y.shape == (2, 0, 3)
    assert torch.equal(last.h, state.h)
    y, last = scan(cell, torch.zeros(2, 4, features, dtype=torch.float64), state, [0, 0])
    assert y.shape == (2, 4, 3)
    assert not y.any()
    assert torch.equal(last.c, state.c)


def test_a_row_without_steps_hands_its_gradient_to_the_initial_state() -> None:
    cell, features = make("gru")
    x, state, _ = data(cell, features, [0, 3])
    h = state.h.requires_grad_()
    _, last = scan(cell, x, HiddenState(h), [0, 3])
    last.h[0].sum().backward()
    assert h.grad is not None
    assert h.grad.tolist() == [[1, 1, 1], [0, 0, 0]]


@pytest.mark.parametrize("kind", KINDS[:-1])
def test_strides_do_not_matter(kind: str) -> None:
    cell, features = make(kind)
    x, state, _ = data(cell, features, [5, 3, 4])
    want, last = scan(cell, x, state, [5, 3, 4])
    time_major = x.transpose(0, 1).contiguous().transpose(0, 1)
    spread = torch.randn(3, 10, 2 * features, dtype=torch.float64)
    spread[:, ::2, ::2] = x
    expanded = map_state(lambda s: s.T.contiguous().T, state)
    for strided in (time_major, spread[:, ::2, ::2]):
        assert not strided.is_contiguous()
        y, after = scan(cell, strided, expanded, [5, 3, 4])
        assert same(y, want)
        assert all(same(a, b) for a, b in zip(leaves(last), leaves(after), strict=True))


def test_gradients_are_those_of_finite_differences() -> None:
    cell = StackedRNNCells([LSTMCell(1), GRUCell(2)]).double()
    x, state, _ = data(cell, 1, [2, 0, 1], time=2)
    inputs = [x.requires_grad_(), *(s.requires_grad_() for s in leaves(state))]

    def run(x: Tensor, *given: Tensor) -> tuple[Tensor, ...]:
        y, last = scan(cell, x, list(given), [2, 0, 1], reverse=True)
        return (y, *leaves(last))

    assert torch.autograd.gradcheck(run, inputs)
    assert torch.autograd.gradgradcheck(run, inputs)


def test_a_run_is_the_same_bit_for_bit() -> None:
    cell = LSTMCell(8, dropout=0.3, recurrent_dropout=0.3)
    x = torch.randn(7, 9, 5)
    cell.build_for(5)

    def run() -> list[Tensor]:
        torch.manual_seed(4)
        cell.zero_grad()
        y, _ = scan(cell.train(), x, lengths=[9, 3, 3, 0, 7, 9, 1])
        y.square().sum().backward()
        return [y, *(p.grad.clone() for p in cell.parameters() if p.grad is not None)]

    for a, b in zip(run(), run(), strict=True):
        assert torch.equal(a, b)


X = torch.zeros(3, 4, 2)


@pytest.mark.parametrize(
    ("arguments", "kind", "said"),
    [
        ({"inputs": torch.zeros(4, 2)}, ShapeError, r"scan: inputs: expected \(batch, time, features\), got \(4, 2\)"),
        ({"inputs": Ragged.from_rows([[1.0, 2.0]])}, ShapeError, r"expected values \(steps, features\), got \(2,\)"),
        ({"inputs": Ragged.from_padded(X, [1, 2, 3]), "lengths": [1, 2, 3]}, ArgumentError, "lengths were given twice"),
        ({"inputs": X, "lengths": [4, 4]}, DataError, r"expected \(3,\) integers"),
        ({"inputs": X, "lengths": [4, 5, 4]}, DataError, r"at row 1\): expected 0 to 4, got 5"),
        ({"inputs": X, "lengths": [4, 4, -1]}, DataError, r"at row 2\): expected 0 to 4, got -1"),
        ({"inputs": X, "lengths": [0.5, 1, 1]}, DataError, "float32"),
        (
            {"inputs": X, "state": torch.zeros(2, 5)},
            StateError,
            r"at the initial state\): expected \(3, 5\), got \(2, 5\)",
        ),
    ],
)
def test_inputs_that_do_not_fit(arguments: dict[str, Any], kind: type[Exception], said: str) -> None:
    with pytest.raises(kind, match=said):
        scan(GRUCell(5), **arguments)


@pytest.mark.parametrize(
    ("cell", "inputs", "message"),
    [
        (LSTMCell(3), [[[1.0, 2.0]]], r"scan: inputs: expected a tensor or a Ragged, got list\. Make a tensor"),
        (LSTM(3), torch.zeros(1, 2, 3), r"scan: cell: expected a Cell, got LSTM\. Of a layer, pass its cell"),
    ],
)
def test_what_is_no_cell_and_what_is_no_tensor(cell: Any, inputs: Any, message: str, unchecked: None) -> None:
    with pytest.raises(ArgumentError, match=message):
        scan(cell, inputs)
