"""`Truncated`: outputs of the whole, derivatives back to the start of the window and no further."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from rondeau import Full, Keep, Ragged, Truncated, scan
from rondeau.cells import Cell, Context, GRUCell, HiddenState, LSTMCell, LSTMState
from tests.recurrence.compare import Case, assert_close, results

ENGINES = ["native", "reference"]
LENGTHS = [7, 0, 10, 3, 4, 1]


def by_hand(
    cell: Any, x: list[Tensor], state: LSTMState, steps: int, reverse: bool, resets: list[set[int]] | None = None
) -> tuple[list[Tensor], list[LSTMState]]:
    """Row by row, step by step: the state is detached each time the row has made `steps` steps since it began."""
    outputs, finals = [], []
    for i, row in enumerate(x):
        own = LSTMState(*(s[i : i + 1] for s in state))
        order = list(range(len(row)))[::-1] if reverse else list(range(len(row)))
        found, made = {}, 0
        for place, t in enumerate(order):
            # a reset lies between a step and the one in front of it
            begins = place and resets is not None and (order[place - 1] if reverse else t) in resets[i]
            if begins:
                own, made = cell.initial_state(1, dtype=row.dtype), 0
            if made and made % steps == 0:
                own = LSTMState(*(s.detach() for s in own))
            found[t], own = cell(row[t : t + 1], own)
            made += 1
        outputs.append(torch.cat([found[t] for t in sorted(found)]) if found else row.new_zeros(0, cell.output_size))
        finals.append(own)
    return outputs, finals


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("steps", [1, 3, 4])
@pytest.mark.parametrize("with_resets", [False, True])
def test_as_detached_by_hand(engine: str, reverse: bool, steps: int, with_resets: bool) -> None:
    cell = LSTMCell(5).double()
    cell.build_for(3)
    cell.double()
    x = torch.randn(len(LENGTHS), 10, 3, dtype=torch.float64, requires_grad=True)
    state = LSTMState(*(torch.randn(len(LENGTHS), 5, dtype=torch.float64, requires_grad=True) for _ in range(2)))
    resets = torch.zeros(len(LENGTHS), 10, dtype=torch.bool)
    places: list[set[int]] = [{2, 5, 6}, set(), {9, 1}, set(), {2}, set()]
    for i, row in enumerate(places):
        resets[i, list(row)] = True
    given = resets if with_resets else None
    y, final = scan(cell, x, state, LENGTHS, reverse, resets=given, engine=engine, gradient=Truncated(steps))
    rows = [x[i, :n] for i, n in enumerate(LENGTHS)]
    outputs, finals = by_hand(cell, rows, state, steps, reverse, places if with_resets else None)
    sources = [x, *state, *cell.parameters()]
    weight = torch.randn_like(y)
    mine = torch.autograd.grad((y * weight).sum() + final.c.sin().sum(), sources)
    losses = [
        (out * weight[i, : len(out)]).sum() + f.c.sin().sum()
        for i, (out, f) in enumerate(zip(outputs, finals, strict=True))
    ]
    theirs = torch.autograd.grad(torch.stack(losses).sum(), sources)
    assert_close("output", Ragged.from_padded(y, LENGTHS).values, torch.cat(outputs), 8)
    assert_close("final", final.c, torch.cat([f.c for f in finals]), 8)
    for name, a, b in zip(["x", "h", "c", "kernel", "recurrent", "bias"], mine, theirs, strict=True):
        assert_close(name, a, b, 64)


@pytest.mark.parametrize("engine", ENGINES)
def test_no_window_is_longer_than_the_rows(engine: str) -> None:
    cell = GRUCell(4).double()
    case = Case.random(cell, 3, LENGTHS)
    whole = results(cell, case, engine)
    for steps in (10, 11, 10**12):
        for name, found in results(cell, case, engine, gradient=Truncated(steps)).items():
            assert torch.equal(found, whole[name]), name


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("reverse", [False, True])
def test_nothing_flows_over_the_boundary(engine: str, reverse: bool) -> None:
    cell, x = GRUCell(4), torch.randn(1, 10, 3, requires_grad=True)
    y, _ = scan(cell, x, reverse=reverse, engine=engine, gradient=Truncated(4))
    order = list(range(10))[::-1] if reverse else list(range(10))
    for place, t in enumerate(order):
        (found,) = torch.autograd.grad(y[0, t].sum(), x, retain_graph=True)
        reached = {p for p, s in enumerate(order) if bool(found[0, s].any())}
        assert reached == set(range(place // 4 * 4, place + 1))


def test_the_default_is_full() -> None:
    cell, x = GRUCell(4), torch.randn(2, 6, 3)
    assert torch.equal(scan(cell, x)[0], scan(cell, x, gradient=Full())[0])


@pytest.mark.parametrize("engine", ENGINES)
def test_what_is_kept_comes_from_all_windows(engine: str) -> None:
    cell, x = LSTMCell(4).double(), torch.randn(6, 10, 3, dtype=torch.float64)
    found, whole = (Keep(states=True, intermediates=["forget_gate"], cotangents=True) for _ in range(2))
    y, _ = scan(cell, x, lengths=LENGTHS, engine=engine, keep=found, gradient=Truncated(4))
    scan(cell, x, lengths=LENGTHS, engine=engine, keep=whole)
    assert_close("c", found.states.c.values, whole.states.c.values, 8)
    assert_close("gate", found.intermediates["forget_gate"].values, whole.intermediates["forget_gate"].values, 8)
    y[2, 5].sum().backward(retain_graph=True)  # in the third row's second window
    cotangents = found.cotangents.c.pad()
    assert {(i, t) for i, t, _ in cotangents.nonzero().tolist()} == {(2, 4), (2, 5)}
    y[0, 0].sum().backward()
    assert {(i, t) for i, t, _ in found.cotangents.c.pad().nonzero().tolist()} == {(0, 0)}


@pytest.mark.parametrize("engine", ENGINES)
def test_cotangents_are_those_of_the_last_backward_pass(engine: str) -> None:
    cell, keep = GRUCell(4), Keep(cotangents=True)
    y, state = scan(cell, torch.randn(2, 10, 3), engine=engine, keep=keep, gradient=Truncated(4))
    y.sum().backward(retain_graph=True)
    assert bool(keep.cotangents.h.pad().any(-1).all())
    state.h.sum().backward()  # which reaches the last window alone
    assert {t for _, t, _ in keep.cotangents.h.pad().nonzero().tolist()} == {8, 9}


class Indexed(Cell):
    """Counts its steps."""

    def __init__(self) -> None:
        super().__init__()
        self.state_size, self.output_size = HiddenState(h=2), 2

    def step(self, x: Tensor, state: HiddenState, context: Context) -> tuple[Tensor, HiddenState]:
        h = torch.tanh(x + state.h) * (1 + 0.5 * context.index)
        return h, HiddenState(h)


@pytest.mark.parametrize("engine", ENGINES)
def test_derivatives_of_derivatives(engine: str) -> None:
    cell = Indexed()
    x = torch.randn(2, 5, 2, dtype=torch.float64, requires_grad=True)

    def first(given: Tensor) -> Tensor:
        y, _ = scan(cell, given, engine=engine, gradient=Truncated(2), lengths=[5, 3])
        return torch.pow(y, 3).sum()

    (gradient,) = torch.autograd.grad(first(x), x, create_graph=True)
    (mine,) = torch.autograd.grad(gradient.square().sum(), x)
    h, outputs = torch.zeros(2, 2, dtype=torch.float64), []
    for t in range(5):
        h = torch.tanh(x[:, t] + (h.detach() if t % 2 == 0 else h)) * (1 + 0.5 * t)
        outputs.append(h * torch.tensor([[1.0], [float(t < 3)]]))
    (gradient,) = torch.autograd.grad(torch.stack(outputs).pow(3).sum(), x, create_graph=True)
    (theirs,) = torch.autograd.grad(gradient.square().sum(), x)
    assert_close("second", mine, theirs, 64)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("reverse", [False, True])
def test_where_only_the_initial_state_takes_a_gradient(engine: str, reverse: bool) -> None:
    cell, x = GRUCell(4), torch.randn(6, 10, 3)
    cell.build_for(3)
    cell.requires_grad_(False)
    h = torch.randn(6, 4, requires_grad=True)
    whole, _ = scan(cell, x, h, LENGTHS, reverse, engine=engine)
    y, _ = scan(cell, x, h, LENGTHS, reverse, engine=engine, gradient=Truncated(3))
    assert_close("outputs", y, whole, 8)
    (found,) = torch.autograd.grad(y.sum(), h)
    first = [range(n)[-3:] if reverse else range(n)[:3] for n in LENGTHS]
    ends = torch.stack([whole[i, list(steps)].sum() for i, steps in enumerate(first)])
    (expected,) = torch.autograd.grad(ends.sum(), h)
    assert_close("state", found, expected, 64)
