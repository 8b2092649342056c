from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import rondeau
from rondeau import layers, scan
from rondeau.cells import Cell, Context, GRUCell, HiddenState, LSTMCell, LSTMState, SimpleRNNCell, StackedRNNCells
from rondeau.errors import ArgumentError, StateError


class Scaled(Cell):
    """Adds what it sees, times a number per row and one per step; notes the index."""

    per_row = ("gain",)
    per_step = ("speed",)

    def __init__(self) -> None:
        super().__init__()
        self.state_size, self.output_size = HiddenState(h=4), 4
        self.indices: list[int] = []

    def step(self, x: Tensor, state: HiddenState, context: Context) -> tuple[Tensor, HiddenState]:
        self.indices.append(int(context.index))
        h = state.h + x * context.gain * context.speed
        return h, HiddenState(h)


def test_a_stack_is_one_cell_after_the_other() -> None:
    cells = [LSTMCell(5), GRUCell(4, reset_after=False), SimpleRNNCell(3)]
    stack = StackedRNNCells(cells).double()
    x, lengths = torch.randn(4, 6, 2, dtype=torch.float64), [6, 0, 3, 5]
    outputs, state = scan(stack, x, lengths=lengths)
    y: Any = x
    for cell, part in zip(cells, state, strict=True):
        y, own = scan(cell, y, lengths=lengths)
        for a, b in zip(part, own, strict=True):
            assert torch.allclose(a, b, atol=1e-14)
    assert torch.allclose(outputs, y, atol=1e-14)
    assert stack.output_size == 3
    assert stack.state_size == (LSTMState(5, 5), HiddenState(4), HiddenState(3))
    assert [cell.features for cell in cells] == [2, 5, 4]


def test_weights_stand_in_the_cells_order() -> None:
    stack = StackedRNNCells([LSTMCell(5), SimpleRNNCell(3)])
    stack.build_for(2)
    assert [tuple(p.shape) for p in stack.parameters()] == [(2, 20), (5, 20), (20,), (5, 3), (3, 3), (3,)]


def test_context_reaches_the_cell_that_declared_it() -> None:
    first, second = Scaled(), Scaled()
    stack = StackedRNNCells([GRUCell(4), first, second])
    assert stack.per_row == ("0_input_mask", "0_recurrent_mask", "1_gain", "2_gain")
    assert stack.per_step == ("1_speed", "2_speed")
    x = torch.randn(2, 3, 5)
    context = {
        "1_gain": torch.randn(2, 1),
        "2_gain": torch.randn(2, 1),
        "1_speed": torch.randn(2, 3, 1),
        "2_speed": torch.randn(2, 3, 1),
    }
    outputs, _ = scan(stack, x, context=context, engine="reference")  # the step notes the index's value
    y, _ = scan(stack.cells[0], x)  # type: ignore[arg-type]
    y, _ = scan(first, y, context={"gain": context["1_gain"], "speed": context["1_speed"]}, engine="reference")
    y, _ = scan(second, y, context={"gain": context["2_gain"], "speed": context["2_speed"]}, engine="reference")
    assert torch.allclose(outputs, y, atol=1e-6)
    assert first.indices[:3] == [0, 1, 2]
    with pytest.raises(StateError, match=r"Scaled.step reads context.speed"):
        scan(
            stack, x, context={name: value for name, value in context.items() if name != "2_speed"}, engine="reference"
        )


def test_each_cell_drops_out_by_itself() -> None:
    def made() -> StackedRNNCells:
        return StackedRNNCells([LSTMCell(5, dropout=0.5, seed=1), GRUCell(4, recurrent_dropout=0.5, seed=2)]).train()

    stack, twin, x = made(), made(), torch.randn(3, 4, 6)
    stack.build_for(6)
    twin.build_for(6)
    twin.load_state_dict(stack.state_dict())
    drawn = stack.draw(torch.tensor([4, 4, 4]), torch.Generator().manual_seed(0))
    assert {name: tuple(mask.shape) for name, mask in drawn.items()} == {
        "0_input_mask": (3, 6),
        "1_recurrent_mask": (3, 4),
    }
    first = scan(stack, x)[0]
    assert not torch.equal(scan(stack, x)[0], first)
    torch.manual_seed(77)
    assert torch.equal(scan(twin, x)[0], first)  # from the cells' own seeds
    one = scan(stack, x, generator=torch.Generator().manual_seed(3))[0]
    assert torch.equal(scan(twin, x, generator=torch.Generator().manual_seed(3))[0], one)
    assert torch.equal(scan(stack.eval(), x)[0], scan(stack, x)[0])


def test_a_stack_in_a_stack() -> None:
    inner = StackedRNNCells([GRUCell(3, dropout=0.5, seed=4), LSTMCell(3)])
    stack = StackedRNNCells([inner, SimpleRNNCell(2)]).train()
    outputs, state = scan(stack, torch.randn(2, 4, 3))
    assert outputs.shape == (2, 4, 2)
    assert type(state[0][1]) is LSTMState
    assert "0_0_input_mask" in stack.per_row


@pytest.mark.parametrize("cells", [[], [3], [LSTMCell], LSTMCell(3), None, [LSTMCell(3), torch.nn.Linear(3, 3)]])
def test_what_is_no_list_of_cells(cells: Any) -> None:
    with pytest.raises(ArgumentError, match="expected a list of at least one Cell"):
        StackedRNNCells(cells)


def test_a_cell_cannot_stand_twice() -> None:
    cell = LSTMCell(3)
    with pytest.raises(ArgumentError, match="stands there twice"):
        StackedRNNCells([cell, cell])


def test_residual_cells_add_what_they_read() -> None:
    cells = [SimpleRNNCell(4), SimpleRNNCell(4), SimpleRNNCell(4)]
    stack = StackedRNNCells(cells, residual=True)
    x = torch.randn(2, 5, 4)
    y, _ = scan(stack, x)
    first, _ = scan(cells[0], x)  # the first cell's input is not added, of whatever size
    second = scan(cells[1], first)[0] + first
    torch.testing.assert_close(y, scan(cells[2], second)[0] + second)


@pytest.mark.parametrize("variational", [False, True])
@pytest.mark.parametrize("engine", ["native", "reference"])
def test_dropout_between_cells(variational: bool, engine: str) -> None:
    class Same(Cell):
        """Gives what it reads."""

        state_size, output_size = HiddenState(h=1), 200

        def step(self, x: Tensor, state: HiddenState) -> tuple[Tensor, HiddenState]:
            return x, state

    stack = StackedRNNCells([Same(), Same()], dropout=0.25, variational=variational, seed=1)
    x = torch.ones(3, 40, 200)
    y, _ = scan(stack, x, lengths=[40, 20, 0], engine=engine)
    assert y[0].unique().tolist() == pytest.approx([0.0, 1 / 0.75])
    assert (y[0] == 0).float().mean().item() == pytest.approx(0.25, abs=0.08 if variational else 0.02)
    assert bool((y[0] == y[0, :1]).all()) is variational  # the same features at every step, or others
    assert not torch.equal(y[0, :20], y[1, :20])  # each row for itself
    again = StackedRNNCells([Same(), Same()], dropout=0.25, variational=variational, seed=1)
    assert torch.equal(scan(again, x, lengths=[40, 20, 0], engine=engine)[0], y)
    assert torch.equal(scan(stack.eval(), x, engine=engine)[0], x)


def test_what_residual_and_dropout_refuse() -> None:
    with pytest.raises(ArgumentError, match=r"residual cells differ in size: expected one output_size, got \[3, 4\]"):
        StackedRNNCells([GRUCell(3), GRUCell(4)], residual=True)
    with pytest.raises(ArgumentError, match="StackedRNNCells: dropout"):
        StackedRNNCells([GRUCell(3)], dropout=1.0)


def test_a_model_of_them_is_saved_and_streamed(tmp_path: Path) -> None:
    cell = StackedRNNCells([LSTMCell(4), GRUCell(4)], residual=True, dropout=0.5, variational=True, seed=2)
    model = rondeau.Sequential([layers.Input((None, 3)), layers.RNN(cell, return_sequences=True)])
    model.save(tmp_path / "model")
    loaded = rondeau.load(tmp_path / "model")
    config = loaded.layers[0].cell.get_config()
    assert (config["residual"], config["dropout"], config["variational"], config["seed"]) == (True, 0.5, True, 2)
    x = torch.randn(1, 6, 3)
    whole = model.predict(x)
    assert (loaded.predict(x) == whole).all()
    stream = model.stream()
    steps = [stream(x[0, t].numpy()) for t in range(6)]
    np.testing.assert_allclose(np.stack(steps), whole[0], atol=1e-6)
