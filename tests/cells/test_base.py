"""The contract between a cell and whoever runs it."""

from __future__ import annotations

import copy
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor

from rondeau import scan
from rondeau.cells import Cell, Context, GRUCell, HiddenState, LSTMCell, LSTMState, SimpleRNNCell, StackedRNNCells
from rondeau.cells.base import check_state, map_state, state_leaves
from rondeau.errors import ArgumentError, ShapeError, StateError


class Memory(NamedTuple):
    h: Any
    matrix: Any


class Outer(Cell):
    """A state of two parts, one of them a matrix per row; no weights of its own making."""

    def __init__(self, units: int = 3) -> None:
        super().__init__()
        self.state_size, self.output_size = Memory(h=units, matrix=(units, units)), units

    def step(self, x: Tensor, state: Memory) -> tuple[Tensor, Memory]:
        matrix = 0.5 * state.matrix + x[:, :, None] * state.h[:, None, :]
        h = torch.tanh(x + (matrix @ state.h[:, :, None])[:, :, 0])
        return h, Memory(h, matrix)


class Bare(Cell):
    """A state that is one tensor without a name."""

    def __init__(self) -> None:
        super().__init__()
        self.state_size = self.output_size = 2

    def step(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        return state + x, state + x


def test_states_of_any_form_are_walked_alike() -> None:
    size = (LSTMState(h=3, c=3), HiddenState(h=(2, 4)), 5)
    assert list(state_leaves(size)) == [("0.h", 3), ("0.c", 3), ("1.h", (2, 4)), ("2", 5)]
    zeros = map_state(lambda s: s, size)
    assert zeros == size
    assert type(zeros[0]) is LSTMState
    assert list(state_leaves(4)) == [("", 4)]
    assert map_state(lambda a, b: a + b, HiddenState(1), HiddenState(2)) == HiddenState(3)


def test_a_cell_with_a_matrix_for_a_state() -> None:
    cell, x = Outer(), torch.randn(4, 6, 3, dtype=torch.float64)  # its states grow fast, and rounding errors with them
    state = Memory(torch.ones(4, 3, dtype=torch.float64), torch.zeros(4, 3, 3, dtype=torch.float64))
    outputs, last = scan(cell, x, state, lengths=[6, 0, 2, 6])
    assert last.matrix.shape == (4, 3, 3)
    for t in range(6):
        output, state = cell.step(x[:, t], state)
        assert torch.allclose(outputs[0, t], output[0])
    assert torch.allclose(last.matrix[3], state.matrix[3])
    assert not last.matrix[1].any()


def test_a_cell_whose_state_is_a_bare_tensor() -> None:
    outputs, last = scan(Bare(), torch.ones(2, 3, 2))
    assert outputs[:, :, 0].tolist() == [[1, 2, 3]] * 2
    assert last.tolist() == [[3, 3]] * 2


def test_states_in_other_forms_are_taken_by_order() -> None:
    cell = LSTMCell(3)
    h, c = torch.randn(2, 3), torch.randn(2, 3)
    for given in ((h, c), [h, c], LSTMState(h, c), [[h], [c]]):
        state = check_state(cell, given, 2)
        assert type(state) is LSTMState
        assert state.h is h
        assert state.c is c
    stacked = StackedRNNCells([LSTMCell(3), SimpleRNNCell(4)])
    parts = (LSTMState(h, c), HiddenState(torch.zeros(2, 4)))
    for given in (parts, [h, c, parts[1].h], [[h, c], [parts[1].h]]):
        state = check_state(stacked, given, 2)
        assert type(state) is tuple
        assert type(state[0]) is LSTMState
        assert state[1].h is parts[1].h


H = torch.zeros(2, 3)


@pytest.mark.parametrize(
    ("cell", "state", "said"),
    [
        (LSTMCell(3), HiddenState(H), "LSTMCell: the state is not this cell's (at here): expected h, c, got h"),
        (LSTMCell(3), [H], "expected h, c, got 1 tensors"),
        (GRUCell(3), LSTMState(H, H), "GRUCell: the state is not this cell's (at here): expected h, got h, c"),
        (GRUCell(3), (), "expected h, got 0 tensors"),
        (GRUCell(3), torch.zeros(2, 4), "the state's h does not fit (at here): expected (2, 3), got (2, 4)"),
        (GRUCell(3), torch.zeros(3), "expected (2, 3), got (3,)"),
        (GRUCell(3), [None], "expected (2, 3), got NoneType"),
        (Bare(), torch.zeros(3, 2), "the state's tensor does not fit (at here): expected (2, 2), got (3, 2)"),
        (Bare(), [H, H], "expected one tensor, got 2 tensors"),
        (Outer(), Memory(H, H), "the state's matrix does not fit (at here): expected (2, 3, 3), got (2, 3)"),
        (StackedRNNCells([GRUCell(3)]), HiddenState(H), "expected 0.h, got h"),
        (
            StackedRNNCells([GRUCell(3), LSTMCell(3)]),
            (LSTMState(H, H), HiddenState(H)),
            "expected 0.h, 1.h, 1.c, got 0.h, 0.c, 1.h",
        ),
        (StackedRNNCells([GRUCell(3), LSTMCell(3)]), [H, H], "expected 0.h, 1.h, 1.c, got 2 tensors"),
    ],
)
def test_states_that_do_not_fit(cell: Cell, state: Any, said: str) -> None:
    with pytest.raises(StateError) as caught:
        check_state(cell, state, 2, "here")
    assert said in str(caught.value)


def test_a_state_of_another_type_than_the_inputs() -> None:
    with pytest.raises(StateError, match=r"state's h has another type.*expected torch.float32, got torch.float64"):
        scan(SimpleRNNCell(3), torch.zeros(2, 4, 5), torch.zeros(2, 3, dtype=torch.float64))


class Ids(Cell):
    """Takes whole numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.state_size, self.output_size = HiddenState(h=2), 2
        self.table = self.add_weight("table", (7, 2))

    def step(self, x: Tensor, state: HiddenState) -> tuple[Tensor, HiddenState]:
        h = state.h + self.table[x[:, 0]]
        return h, HiddenState(h)


def test_inputs_may_be_whole_numbers() -> None:
    cell = Ids().double()
    outputs, last = scan(cell, torch.tensor([[[1], [2]], [[6], [0]]]), lengths=[2, 1])
    assert outputs.dtype == last.h.dtype == torch.float64
    assert torch.equal(last.h, torch.stack([cell.table[1] + cell.table[2], cell.table[6]]))
    assert scan(cell, torch.zeros(2, 0, 1, dtype=torch.int64))[0].dtype.is_floating_point


class Broken(Cell):
    """Returns what the test asks for."""

    def __init__(self, returned: Any) -> None:
        super().__init__()
        self.state_size, self.output_size, self.returned = LSTMState(h=3, c=3), 3, returned

    def step(self, x: Tensor, state: LSTMState) -> Any:
        return self.returned(x, state)


@pytest.mark.parametrize(
    ("returned", "kind", "said"),
    [
        (lambda x, s: (x, (s.h, s.c)), StateError, "returns another state than it took: expected LSTMState, got tuple"),
        (lambda x, s: (x, [s.h, s.c]), StateError, "expected LSTMState, got list"),
        (lambda x, s: (x, HiddenState(s.h)), StateError, "expected LSTMState, got HiddenState"),
        (lambda x, s: (x, None), StateError, "expected LSTMState, got NoneType"),
        (
            lambda x, s: (x, LSTMState(s.h, None)),
            StateError,
            "the state's c does not fit (at what Broken.step returned)",
        ),
        (lambda x, s: (x, LSTMState(s.h[:1], s.c)), StateError, "state's h does not fit"),
        (lambda x, s: (x, LSTMState(s.h, s.c[:, :2])), StateError, "expected (2, 3), got (2, 2)"),
        (
            lambda x, s: (x, s._replace(c=s.c.double())),
            StateError,
            "its state c in another type: expected torch.float32",
        ),
        (lambda x, s: (x[:1], s), ShapeError, "another output than it said: expected (2, 3), got (1, 3)"),
        (lambda x, s: (x[:, :1], s), ShapeError, "expected (2, 3), got (2, 1)"),
        (lambda x, s: (s, s), ShapeError, "got LSTMState"),
    ],
)
def test_a_step_that_returns_what_it_should_not(returned: Any, kind: type[Exception], said: str) -> None:
    with pytest.raises(kind) as caught:
        scan(Broken(returned), torch.zeros(2, 4, 3))
    assert said in str(caught.value)
    assert "Broken" in str(caught.value)


def incomplete(**parts: Any) -> Cell:
    """A cell with some of what a cell has."""
    given = {"state_size": HiddenState(h=2), "output_size": 2, "step": lambda self, x, state: (x, state), **parts}
    return type("Mine", (Cell,), {name: value for name, value in given.items() if value is not None})()


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ({"step": None}, "Mine has no step"),
        ({"state_size": None}, "Mine has no state_size"),
        ({"output_size": None}, "Mine has no output_size"),
        ({"state_size": [2, 2]}, "state_size is a list: expected a named tuple"),
        ({"step": lambda self, x: x}, "Mine.step takes the wrong arguments: .*, got 1 besides self"),
        ({"step": lambda self, x, h, c, context: x}, "got 4 besides self"),
    ],
)
def test_a_cell_that_is_not_complete(parts: dict[str, Any], said: str) -> None:
    with pytest.raises(ArgumentError, match=said):
        scan(incomplete(**parts), torch.zeros(2, 4, 2))
    assert scan(incomplete(), torch.ones(2, 4, 2))[0].shape == (2, 4, 2)


def test_a_cell_is_built_once_and_for_one_number_of_features() -> None:
    cell = LSTMCell(3)
    assert not cell.built
    scan(cell, torch.zeros(1, 2, 5))
    before = cell.kernel
    scan(cell, torch.zeros(1, 2, 5))
    assert cell.kernel is before
    with pytest.raises(ShapeError, match=r"LSTMCell: the input has another number of features.*expected 5, got 4"):
        scan(cell, torch.zeros(1, 2, 4))


def test_context_is_asked_for_by_name() -> None:
    context = Context(GRUCell(2), {"speed": torch.ones(3)})
    assert context.speed.tolist() == [1, 1, 1]
    assert int(context.index) == 0
    with pytest.raises(StateError, match=r"GRUCell.step reads context.weight, which was not given. Name it in per_row"):
        _ = context.weight
    assert torch.equal(copy.copy(context).speed, context.speed)  # Python's own questions get Python's answers


def test_autocast_may_change_types_on_the_way() -> None:
    x = torch.randn(2, 4, 3)
    for kind in (SimpleRNNCell, LSTMCell, GRUCell):
        cell = kind(5, use_bias=False)  # a bias would take products back to float32
        exact, _ = scan(cell, x)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            rough, state = scan(cell, x)
            scan(cell, x, state)
        assert torch.allclose(rough[0].float(), exact[0], atol=0.05)
