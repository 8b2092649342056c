"""`Keep(outputs="last")`: each row's last output alone, under every policy."""

from __future__ import annotations

import gc
import weakref
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor

from rondeau import Keep, Ragged, Recompute, Truncated, scan
from rondeau.cells import GRUCell, LSTMCell
from tests.recurrence.compare import assert_close

ENGINES = ["native", "reference"]
LENGTHS = [7, 0, 10, 3, 4, 1]
POLICIES = [None, Truncated(3), Recompute(3), Recompute(99)]


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("gradient", POLICIES, ids=repr)
@pytest.mark.parametrize("with_resets", [False, True])
def test_it_is_the_output_of_the_step_made_last(engine: str, reverse: bool, gradient: Any, with_resets: bool) -> None:
    cell, x = GRUCell(4).double(), torch.randn(6, 10, 3, dtype=torch.float64, requires_grad=True)
    resets = torch.rand(6, 10) < 0.3 if with_resets else None
    options: Any = {"lengths": LENGTHS, "reverse": reverse, "engine": engine, "resets": resets, "gradient": gradient}
    y, final = scan(cell, x, **options)
    last, state = scan(cell, x, keep=Keep(outputs="last"), **options)
    expected = torch.stack([y[i, 0 if reverse else n - 1] if n else y.new_zeros(4) for i, n in enumerate(LENGTHS)])
    assert_close("last", last, expected, 8)
    assert_close("final", state.h, final.h, 8)
    w = torch.randn_like(last)
    sources = [x, *cell.parameters()]
    mine = torch.autograd.grad((last * w).sum() + state.h.sin().sum(), sources)
    theirs = torch.autograd.grad((expected * w).sum() + final.h.sin().sum(), sources)
    for a, b in zip(mine, theirs, strict=True):
        assert_close("gradient", a, b, 64)


@pytest.mark.parametrize("gradient", POLICIES, ids=repr)
def test_of_every_form_of_inputs(gradient: Any) -> None:
    cell, x = GRUCell(4), torch.randn(3, 5, 2)
    keep = Keep(outputs="last")
    dense = scan(cell, x, keep=keep, gradient=gradient)[0]
    ragged = scan(cell, Ragged.full(x), keep=keep, gradient=gradient)[0]
    assert dense.shape == (3, 4)
    assert torch.equal(dense, ragged)
    for nothing in (x[:, :0], x[:0]):
        y, state = scan(cell, nothing, keep=keep, gradient=gradient)
        assert torch.equal(y, torch.zeros(len(nothing), 4))
        assert torch.equal(state.h, torch.zeros(len(nothing), 4))
    with torch.no_grad():
        assert_close("without gradients", scan(cell, x, keep=keep, gradient=gradient)[0], dense, 8)


@pytest.mark.parametrize("gradient", POLICIES, ids=repr)
def test_beside_other_things_to_keep(gradient: Any) -> None:
    cell, x, keep = LSTMCell(4), torch.randn(2, 7, 3), Keep(states=True, cotangents=True, outputs="last")
    y, _ = scan(cell, x, keep=keep, gradient=gradient)
    assert_close("h", keep.states.h.pad()[:, -1], y, 0)
    y.sum().backward()
    assert_close("h", keep.cotangents.h.pad()[:, -1], torch.ones(2, 4), 0)
    assert bool(keep.cotangents.c.pad()[:, 0].any()) == (not isinstance(gradient, Truncated))


class Through(torch.autograd.Function):
    """Does nothing, and is remembered as long as its graph lives."""

    alive: ClassVar[weakref.WeakSet[Any]] = weakref.WeakSet()

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        Through.alive.add(ctx)
        return x.clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        return gradient


@pytest.mark.parametrize("gradient", [Truncated(2), Recompute(2)], ids=repr)
def test_nothing_holds_on_to_windows_that_are_over(gradient: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    cell = GRUCell(4)
    step, made = cell.step, []

    def watched(x: Any, state: Any, context: Any) -> Any:
        made.append(len(Through.alive))
        return step(Through.apply(x), state, context)  # type: ignore[no-untyped-call]

    monkeypatch.setattr(cell, "step", watched)
    x = torch.randn(3, 12, 3, requires_grad=True)
    y, _ = scan(cell, x, keep=Keep(outputs="last"), gradient=gradient, engine="reference")
    gc.collect()
    assert len(made) == 12
    assert len(Through.alive) <= 2
    y.sum().backward()
    assert max(made) <= 4
