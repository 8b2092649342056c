"""The cell that reads a memory, against its formulas written out once more, row by row."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from rondeau import scan
from rondeau.cells import Cell, GRUCell, HiddenState, LSTMCell, StackedRNNCells
from rondeau.cells.attention import AttentionCell, AttentionState
from rondeau.errors import ArgumentError, ShapeError, StateError

ROWS, TIME, FEATURES, UNITS, MEMORY = 3, 4, 2, 5, 6
LENGTHS = [4, 0, 2]


@pytest.fixture(autouse=True)
def _double() -> Any:
    torch.set_default_dtype(torch.float64)
    torch.manual_seed(0)
    yield
    torch.set_default_dtype(torch.float32)


class Plain(Cell):
    """A cell without context: h' = tanh(x W + h)."""

    def __init__(self, units: int) -> None:
        super().__init__()
        self.output_size, self.state_size = units, HiddenState(units)

    def build(self, features: int) -> None:
        self.kernel = self.add_weight("kernel", (features, self.output_size))

    def step(self, x: Tensor, state: HiddenState) -> tuple[Tensor, HiddenState]:
        h = torch.tanh(x @ self.kernel + state.h)
        return h, HiddenState(h)


def data(memory_size: int = UNITS) -> tuple[Tensor, Tensor, Tensor]:
    """Inputs, memory, and a mask that leaves the last row nothing."""
    mask = torch.arange(MEMORY) < torch.tensor([6, 3, 0])[:, None]
    return torch.randn(ROWS, TIME, FEATURES), torch.randn(ROWS, MEMORY, memory_size), mask


def by_hand(cell: AttentionCell, x: Tensor, memory: Tensor) -> list[Tensor]:
    """One row: its outputs, step by step, by the formulas."""
    h, read = torch.zeros(UNITS), torch.zeros(cell.memory_size)
    outputs = []
    for x_t in x:
        h = torch.tanh(torch.cat([x_t, read]) @ cell.cell.kernel + h)
        scores = []
        for m in memory:
            if cell.kind == "dot":
                scores.append(h @ m)
            else:
                fit = torch.tanh(h @ cell.query_kernel + m @ cell.key_kernel + cell.key_bias)
                scores.append(fit @ cell.score_kernel[:, 0])
        weights = torch.stack(scores).exp() if scores else torch.zeros(0)
        read = sum((w / weights.sum() * m for w, m in zip(weights, memory, strict=True)), torch.zeros_like(read))
        outputs.append(torch.cat([h, read]))
    return outputs


@pytest.mark.parametrize(("score", "memory_size"), [("additive", UNITS), ("additive", 7), ("dot", UNITS)])
def test_the_step_is_the_formula(score: str, memory_size: int) -> None:
    x, memory, mask = data(memory_size)
    cell = AttentionCell(Plain(UNITS), score, memory_size)
    if score == "additive":
        cell.key_bias.data.normal_()
    outputs, state = scan(cell, x, lengths=LENGTHS, context=cell.remember(memory, mask))
    assert isinstance(state, AttentionState)
    for row, length in enumerate(LENGTHS):
        expected = by_hand(cell, x[row, :length], memory[row, mask[row]])
        for t, output in enumerate(expected):
            assert torch.allclose(outputs[row, t], output, rtol=0, atol=1e-14)
        if expected:
            assert torch.allclose(state.read[row], expected[-1][UNITS:], rtol=0, atol=1e-14)
            assert torch.allclose(state.cell.h[row], expected[-1][:UNITS], rtol=0, atol=1e-14)


@pytest.mark.parametrize("score", ["additive", "dot"])
def test_gradients_are_those_of_finite_differences(score: str) -> None:
    x, memory, mask = data()
    cell = AttentionCell(LSTMCell(UNITS), score)
    scan(cell, x, context=cell.remember(memory))
    weights = list(cell.parameters())

    def run(x: Tensor, memory: Tensor, *_: Tensor) -> Tensor:
        return scan(cell, x, lengths=LENGTHS, context=cell.remember(memory, mask))[0]

    assert torch.autograd.gradcheck(run, (x.requires_grad_(), memory.requires_grad_(), *weights))


def test_what_is_masked_has_no_say_and_order_none() -> None:
    x, memory, mask = data()
    cell = AttentionCell(Plain(UNITS))
    expected, _ = scan(cell, x, context=cell.remember(memory, mask))
    changed = torch.where(mask[..., None], memory, torch.randn(ROWS, MEMORY, UNITS))
    assert torch.equal(scan(cell, x, context=cell.remember(changed, mask))[0], expected)
    turned = scan(cell, x, context=cell.remember(memory.flip(1), mask.flip(1)))[0]
    assert torch.allclose(turned, expected, rtol=0, atol=1e-14)
    weights = cell.weights(x.new_ones(ROWS, UNITS), cell.remember(memory)["keys"], mask)
    assert torch.equal(weights > 0, mask)
    assert torch.allclose(weights.sum(1), torch.tensor([1.0, 1.0, 0.0]), rtol=0, atol=1e-14)


def test_a_memory_without_any_step_reads_zeros() -> None:
    x, memory, _ = data()
    cell = AttentionCell(GRUCell(UNITS))
    nothing = scan(cell, x, context=cell.remember(memory[:, :0]))[0]
    masked = scan(cell, x, context=cell.remember(memory, torch.zeros(ROWS, MEMORY, dtype=torch.bool)))[0]
    assert torch.equal(nothing, masked)
    assert not nothing[..., UNITS:].any()
    assert nothing[..., :UNITS].all()


def test_stacks_and_dropout_pass_through() -> None:
    x, memory, _ = data()
    inside = StackedRNNCells([LSTMCell(4, dropout=0.5), GRUCell(UNITS, recurrent_dropout=0.5)])
    cell = AttentionCell(inside)
    outputs, state = scan(cell.train(), x, context=cell.remember(memory), generator=torch.Generator().manual_seed(1))
    again, _ = scan(cell, x, context=cell.remember(memory), generator=torch.Generator().manual_seed(1))
    other, _ = scan(cell, x, context=cell.remember(memory), generator=torch.Generator().manual_seed(2))
    assert outputs.shape == (ROWS, TIME, 2 * UNITS)
    assert state.cell[0].c.shape == (ROWS, 4)
    assert torch.equal(outputs, again)
    assert not torch.equal(outputs, other)
    plain, _ = scan(cell.eval(), x, context=cell.remember(memory))
    assert torch.equal(plain, scan(cell, x, context=cell.remember(memory))[0])


def test_errors_say_what_is_wrong() -> None:
    x, memory, mask = data()
    with pytest.raises(ArgumentError, match="expected a Cell, got int"):
        AttentionCell(3)  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="'additive' or 'dot', got 'cosine'"):
        AttentionCell(Plain(UNITS), "cosine")
    with pytest.raises(ArgumentError, match=r"expected 5, got 7\. Use score='additive'"):
        AttentionCell(Plain(UNITS), "dot", 7)
    cell = AttentionCell(Plain(UNITS))
    with pytest.raises(ShapeError, match=r"\(batch, time, 5\), got \(3, 6, 4\)"):
        cell.remember(memory[..., :4])
    with pytest.raises(ShapeError, match=r"mask: expected \(3, 6\), got \(3, 5\)"):
        cell.remember(memory, mask[:, :5])
    with pytest.raises(StateError, match=r"reads context\.keys"):
        scan(cell, x)
