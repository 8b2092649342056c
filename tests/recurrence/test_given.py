"""Weights that come with a call."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import pytest
import torch
from torch import Tensor

from rondeau import Cell, HiddenState, scan
from rondeau.errors import StateError
from rondeau.recurrence.engine import traces_of, use_engine
from rondeau.recurrence.given import given, giving


class Leaky(Cell):
    """Its weights are somebody else's."""

    def __init__(self, units: int) -> None:
        super().__init__()
        self.state_size, self.output_size = HiddenState(h=units), units

    def step(self, x: Tensor, state: HiddenState) -> tuple[Tensor, HiddenState]:
        h = torch.tanh(x @ given("kernel") + state.h @ given("recurrent").T)
        return h, HiddenState(h)


def _weights(wanted: bool = True) -> dict[str, Tensor]:
    made = {"kernel": torch.randn(3, 4, dtype=torch.float64), "recurrent": torch.randn(4, 4, dtype=torch.float64)}
    return {name: t.requires_grad_(wanted) for name, t in made.items()}


def _run(cell: Cell, weights: dict[str, Tensor], x: Tensor, engine: str) -> list[Tensor]:
    with giving(weights), use_engine(engine):
        outputs, state = scan(cell, x)
    loss = outputs.square().sum() + state.h.sum()
    return [outputs, state.h, *torch.autograd.grad(loss, [x, *weights.values()])]


def test_other_weights_at_every_call_without_another_trace() -> None:
    cell, x = Leaky(4), torch.randn(2, 5, 3, dtype=torch.float64, requires_grad=True)
    for _ in range(3):
        weights = _weights()
        for a, b in zip(_run(cell, weights, x, "native"), _run(cell, weights, x, "reference"), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)
    assert traces_of(cell).made == 1


def test_weights_that_are_computed() -> None:
    cell, x, owned = Leaky(4), torch.randn(2, 5, 3, dtype=torch.float64), _weights()
    found: list[Any] = []
    for engine in ("native", "reference"):
        computed = {name: t / t.norm() for name, t in owned.items()}
        with giving(computed), use_engine(engine):
            outputs, _ = scan(cell, x)
        found.append(torch.autograd.grad(outputs.square().sum(), list(owned.values())))
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


def test_which_of_them_take_gradients_may_change() -> None:
    cell, x = Leaky(4), torch.randn(2, 5, 3, dtype=torch.float64)
    for wanted in (True, False, True):
        with giving(_weights(wanted)), use_engine("native"):
            assert scan(cell, x)[0].requires_grad is wanted
    with torch.no_grad(), giving(_weights()), use_engine("native"):
        assert not scan(cell, x)[0].requires_grad


def test_gradients_of_gradients_when_they_are_no_longer_given() -> None:
    cell, x, weights = Leaky(4), torch.randn(2, 5, 3, dtype=torch.float64, requires_grad=True), _weights()
    found = []
    for engine in ("native", "reference"):
        with giving(weights), use_engine(engine):
            outputs, _ = scan(cell, x)
        (first,) = torch.autograd.grad(outputs.square().sum(), x, create_graph=True)
        found.append(torch.autograd.grad(first.square().sum(), [x, *weights.values()]))
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


def test_a_weight_that_nobody_gave() -> None:
    x = torch.randn(2, 5, 3, dtype=torch.float64)
    with giving({"kernel": _weights()["kernel"]}):
        with pytest.raises(StateError, match=r"reads the weight 'recurrent', which was not given.*giving\("):
            scan(Leaky(4), x, engine="reference")
        with giving(_weights()):
            scan(Leaky(4), x)
    with pytest.raises(StateError, match="'kernel'"):
        given("kernel")


def test_nothing_is_kept_of_the_weights() -> None:
    cell, x = Leaky(4), torch.randn(2, 5, 3, dtype=torch.float64)
    weights = _weights()
    with giving(weights), use_engine("native"):
        scan(cell, x)[0].sum().backward()
    gone = [weakref.ref(t) for t in weights.values()]
    del weights
    gc.collect()
    assert [ref() for ref in gone] == [None, None]
    (entry,) = traces_of(cell).entries.values()
    assert entry.loops is not None
    assert [t.device.type for t in entry.loops.step.captured] == ["meta", "meta"]
