"""What `explain` says is what the plan is, and asking changes nothing."""

from __future__ import annotations

import random
from typing import Any

import pytest
import torch
from torch import Tensor

from rondeau import explain
from rondeau.cells import AttentionCell, Cell, GRUCell, HiddenState, LSTMCell
from rondeau.errors import ArgumentError, ShapeError
from rondeau.layers import LSTM
from rondeau.recurrence.engine import traces_of
from rondeau.recurrence.runtime import cache
from rondeau.recurrence.runtime.jit import compilations


class Plain(Cell):
    """A state of three numbers and whatever `formula` makes of it."""

    def __init__(self, formula: Any) -> None:
        super().__init__()
        self.state_size, self.output_size = HiddenState(h=3), 3
        self.formula = formula

    def step(self, x: Tensor, state: HiddenState) -> tuple[Tensor, HiddenState]:
        h = self.formula(x, state.h)
        return h, HiddenState(h)


class Reader(Cell):
    """Adds what it finds in its context."""

    per_row, per_step = ("place",), ("clock",)

    def __init__(self) -> None:
        super().__init__()
        self.state_size, self.output_size = HiddenState(h=3), 3

    def step(self, x: Tensor, state: HiddenState, context: Any) -> tuple[Tensor, HiddenState]:
        h = torch.tanh(state.h + x + context.place + context.clock)
        return h, HiddenState(h)


def test_an_lstms_plan() -> None:
    plan = explain(LSTMCell(128), features=64)
    assert plan.native
    assert plan.reason is None
    often = "in the loop, 8 at a time, where rows keep all threads at work"
    assert plan.before == (f"x @ kernel (64 x 512): 32,768 multiply-adds; {often}",)
    assert plan.forward[0] == "h @ recurrent_kernel (128 x 512): 65,536 multiply-adds"
    assert plan.forward[1].startswith("384 sigmoid, 256 tanh, ")
    assert plan.backward[-1] == "values @ recurrent_kernel.T (512 x 128): 65,536 multiply-adds"
    assert set(plan.after) == {
        f"gradient of x: a product over all steps; {often}",
        "gradient of kernel: a product over all steps",
        "gradient of recurrent_kernel: a product over all steps",
        "gradient of bias: summed within the loop",
    }
    assert plan.kept_bytes == 4 * plan.kept > 0
    assert not plan.remarks
    text = str(plan)
    assert text.startswith("LSTMCell, 64 features, float32: native, compiled loops\n")
    assert f"{plan.kept:,} numbers, {plan.kept_bytes:,} bytes, per row and step" in text
    assert str(cache.folder()) in text
    assert "torch.get_num_threads() is 1" in text  # as the tests have set it
    for part in (plan.before, plan.forward, plan.backward, plan.after, plan.machine):
        assert all(f"\n  {line}" in text for line in part)


def test_what_is_kept_is_what_a_training_call_keeps() -> None:
    cell = LSTMCell(5).double()
    plan = explain(cell, features=3)
    cell.build_for(3)
    x = torch.randn(2, 4, 3, dtype=torch.float64, requires_grad=True)
    from rondeau import scan

    waiting = [scan(cell, x, engine="native")[0].grad_fn]
    while not hasattr(waiting[0], "kept"):
        waiting = [*waiting[1:], *(f for f, _ in waiting[0].next_functions if f is not None)]
    buffers = waiting[0].kept.buffers.values()
    assert sum(t.numel() * t.element_size() for t in buffers) == 8 * plan.kept_bytes  # 8 steps
    assert plan.dtype == torch.float64


def test_products_that_wait_for_one_another_are_named() -> None:
    plan = explain(GRUCell(6, reset_after=False), features=9)
    assert plan.native
    assert sum("@ part of recurrent_kernel (6 x 6)" in line for line in plan.forward) == 3
    assert "2 products at each step that wait for one another" in plan.remarks


def test_few_features_are_multiplied_inside_the_loop() -> None:
    plan = explain(GRUCell(6), features=2)
    assert not plan.before
    assert "x @ kernel (2 x 18): 36 multiply-adds" in plan.forward


def test_a_step_without_products_says_so() -> None:
    plan = explain(Plain(lambda x, h: torch.exp(-h) + x), features=3)
    assert plan.forward == ("3 exp, 6 simple operations",)
    assert plan.remarks == ("no matrix product at a step: elementwise work decides",)


def test_reductions_are_named() -> None:
    plan = explain(Plain(lambda x, h: x - h.sum(-1, keepdim=True)), features=3)
    assert plan.forward == ("3 simple operations, sum of 3",)


def test_what_is_declined_is_named_with_its_line() -> None:
    def formula(x: Tensor, h: Tensor) -> Tensor:
        return h if h.sum() > 0 else x  # the line

    plan = explain(Plain(formula), features=3)
    assert not plan.native
    assert plan.where is not None
    assert plan.where.endswith("return h if h.sum() > 0 else x  # the line")
    assert "test_explain.py" in plan.where
    assert str(plan).startswith("Plain, 3 features, float32: reference, a PyTorch loop\n  because ")
    assert str(plan.reason) in str(plan)
    assert not any((plan.before, plan.forward, plan.backward, plan.after, plan.kept))


def test_what_nobody_can_watch_is_a_remark() -> None:
    cell = Plain(lambda x, h: x + h * len(cell.rng.getstate()))
    cell.rng = random.Random(1)  # type: ignore[assignment]
    plan = explain(cell, features=3)
    assert plan.native
    assert any(line.startswith("traced again at every call") and "random.Random" in line for line in plan.remarks)


def test_parameters_elsewhere_than_on_the_cpu() -> None:
    cell = LSTMCell(4)
    cell.build_for(3)
    plan = explain(cell.to("meta"))
    assert not plan.native
    assert "meta" in str(plan.reason)
    assert plan.vendor is None
    assert plan.cuda == "cuDNN, through torch.lstm"  # there, not here


def test_elsewhere_nothing_is_drawn() -> None:
    """A generator for the CPU could not, on CUDA."""
    cell = LSTMCell(4, dropout=0.5, seed=1)
    cell.build_for(3)
    cell.draw = None  # type: ignore[assignment, method-assign]
    assert explain(cell.to("meta")).cuda == "the reference loop, because it drops out within the loop, in training"


def test_context_can_be_given() -> None:
    plan = explain(Reader(), features=3)
    assert not plan.native
    assert "context.place" in str(plan.reason)
    assert "'place', 'clock'" in plan.remarks[0]
    assert explain(Reader(), 3, {"place": torch.zeros(4, 3), "clock": torch.zeros(4, 6, 3)}).native


def test_an_attention_cell_is_explained() -> None:
    cell = AttentionCell(GRUCell(4), memory_size=5)
    plan = explain(cell, 3, cell.remember(torch.zeros(2, 6, 5)))
    assert plan.native, plan


def test_dropout_is_drawn_for_the_trace_alone() -> None:
    cell = LSTMCell(4, dropout=0.5, recurrent_dropout=0.5, seed=3)
    cell.build_for(9)
    before = torch.get_rng_state(), cell.generator(torch.device("cpu")).get_state()
    plan = explain(cell)
    assert plan.before == ("x * input_mask @ kernel (9 x 16): 144 multiply-adds",)
    assert plan.forward[-2].startswith("h * recurrent_mask @ recurrent_kernel")
    after = torch.get_rng_state(), cell.generator(torch.device("cpu")).get_state()
    assert all(map(torch.equal, before, after))


def test_asking_builds_compiles_and_keeps_nothing() -> None:
    cell = LSTMCell(4)
    state, made = torch.get_rng_state(), compilations()
    explain(cell, features=3)
    assert not cell.built
    assert cell.features is None
    assert torch.equal(torch.get_rng_state(), state)
    assert compilations() == made
    cell.build_for(3)
    explain(cell)
    assert traces_of(cell).made == 0


def test_wrong_questions() -> None:
    with pytest.raises(ArgumentError, match=r"explain\(layer.cell\)"):
        explain(LSTM(4))  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match=r"explain\(cell, features=...\)"):
        explain(LSTMCell(4))
    cell = LSTMCell(4)
    cell.build_for(3)
    with pytest.raises(ShapeError, match="another number of features"):
        explain(cell, features=5)
