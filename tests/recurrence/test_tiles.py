"""Products that the loop makes itself, a few steps at a time, or leaves to torch: the same numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from rondeau import explain, scan
from rondeau.cells import Cell, GRUCell, HiddenState, LSTMCell, SimpleRNNCell
from rondeau.recurrence import native
from rondeau.recurrence.engine import traces_of
from rondeau.recurrence.plan import tiles


class Clocked(Cell):
    """Two per-step inputs, each with a product; one reads its product in both directions of time."""

    per_step = ("clock",)

    def __init__(self, units: int) -> None:
        super().__init__()
        self.state_size, self.output_size = HiddenState(h=units), units

    def build(self, features: int) -> None:
        units = self.output_size
        self.w = self.add_weight("w", (features, units))
        self.v = self.add_weight("v", (64, units))
        self.u = self.add_weight("u", (units, units))

    def step(self, x: Tensor, state: HiddenState, context: Any) -> tuple[Tensor, HiddenState]:
        h = torch.tanh(x @ self.w + state.h @ self.u) * torch.sigmoid(context.clock @ self.v)
        return h, HiddenState(h)


class Chained(Cell):
    """A product of a product of the input, narrow in between."""

    def __init__(self, units: int) -> None:
        super().__init__()
        self.state_size, self.output_size = HiddenState(h=units), units

    def build(self, features: int) -> None:
        self.w = self.add_weight("w", (features, 3))
        self.v = self.add_weight("v", (3, self.output_size))

    def step(self, x: Tensor, state: HiddenState) -> tuple[Tensor, HiddenState]:
        h = torch.tanh(x @ self.w @ self.v + state.h)
        return h, HiddenState(h)


class Gated(Chained):
    """The gradient by the input is a product, and then what a truth value of the loop lets through."""

    def step(self, x: Tensor, state: HiddenState) -> tuple[Tensor, HiddenState]:
        seen = torch.where(state.h[:, :1] > 0, x, 0.5)
        h = torch.tanh(seen @ self.w @ self.v + state.h - 0.1)
        return h, HiddenState(h)


CELLS: dict[str, Callable[[int], Cell]] = {
    "lstm": LSTMCell,
    "gru": GRUCell,
    "gru, reset before": lambda units: GRUCell(units, reset_after=False),
    "simple rnn": SimpleRNNCell,
    "clocked": Clocked,
    "chained": Chained,
    "gated": Gated,
}
LENGTHS = [17, 0, 8, 1, 9, 16, 7, 24]


def run(cell: Cell, reverse: bool, features: int, engine: str, train: bool = True) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(8, 24, features, generator=generator, dtype=torch.float64, requires_grad=True)
    clock = torch.randn(8, 24, 64, generator=generator, dtype=torch.float64, requires_grad=True)
    context = {"clock": clock} if cell.per_step else {}
    with torch.set_grad_enabled(train):
        outputs, state = scan(cell, x, lengths=LENGTHS, reverse=reverse, context=context, engine=engine)
    if not train:
        return [outputs, state.h]
    sources = [x, *context.values(), *cell.parameters()]
    return [outputs, state.h, *torch.autograd.grad((outputs**2).sum() + state.h.sum(), sources)]


@pytest.mark.parametrize("tiled", [False, True])
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("features", [10, 16, 64])
@pytest.mark.parametrize("name", CELLS)
def test_the_same_numbers(
    name: str, features: int, reverse: bool, tiled: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(native, "_tiled", lambda dealt: tiled)
    torch.manual_seed(0)
    cell = CELLS[name](19).double()
    cell.build_for(features)
    expected = run(cell, reverse, features, "reference")
    for a, b in zip(run(cell, reverse, features, "native"), expected, strict=True):
        assert float((a - b).detach().abs().max()) <= 64 * torch.finfo(a.dtype).eps * max(
            1, float(b.detach().abs().max())
        )
    for a, b in zip(run(cell, reverse, features, "native", train=False), expected, strict=False):
        assert float((a - b).detach().abs().max()) <= 64 * torch.finfo(a.dtype).eps


def test_cells_that_differ_in_their_features_only() -> None:
    for features in (16, 64, 32):
        cell = SimpleRNNCell(16).double()
        cell.build_for(features)
        found, expected = (run(cell, False, features, engine, train=False)[0] for engine in ("native", "reference"))
        assert float((found - expected).abs().max()) <= 64 * torch.finfo(found.dtype).eps


def test_both_ways_in_turn_compile_nothing_more(monkeypatch: pytest.MonkeyPatch) -> None:
    cell = LSTMCell(8).double()
    cell.build_for(64)
    run(cell, False, 64, "native")
    made = traces_of(cell).made
    results = []
    for tiled in (False, True):
        monkeypatch.setattr(native, "_tiled", lambda dealt, tiled=tiled: tiled)
        results.append(run(cell, False, 64, "native"))
    assert traces_of(cell).made == made
    (entry,) = traces_of(cell).entries.values()
    assert entry.loops is not None
    assert len(entry.loops.tiles) == len(entry.loops.late_tiles) == 1


def test_explain_says_which(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "8 at a time" in explain(LSTMCell(8), features=64).before[0]
    monkeypatch.setattr(tiles, "LIMIT", 100)
    assert "8 at a time" not in str(explain(LSTMCell(8), features=64))


class Added(Chained):
    """What the backward loop leaves for the input's gradient is the state's gradient as well."""

    def step(self, x: Tensor, state: HiddenState) -> tuple[Tensor, HiddenState]:
        h = state.h + x @ self.w @ self.v
        return torch.tanh(h), HiddenState(h)


class Direct(Chained):
    def build(self, features: int) -> None:
        self.w = self.add_weight("w", (features, self.output_size))

    def step(self, x: Tensor, state: HiddenState) -> tuple[Tensor, HiddenState]:
        h = state.h + x @ self.w
        return torch.tanh(h), HiddenState(h)


@pytest.mark.parametrize("make", [Added, Direct])
def test_a_gradient_that_is_the_states_too(make: Callable[[int], Cell]) -> None:
    cell = make(19).double()
    cell.build_for(64)
    for a, b in zip(run(cell, False, 64, "native"), run(cell, False, 64, "reference"), strict=True):
        size = max(1.0, float(b.detach().abs().max()))
        assert float((a - b).detach().abs().max()) <= 64 * torch.finfo(a.dtype).eps * size
