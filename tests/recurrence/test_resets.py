"""Resets: a row with them is as many rows without, whatever runs the steps."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from torch import Tensor

from rondeau import Ragged, scan
from rondeau.cells import GRUCell, LSTMCell, LSTMState
from rondeau.errors import ArgumentError, DataError, ShapeError


@pytest.mark.parametrize("engine", ["native", "reference"])
@pytest.mark.parametrize("reverse", [False, True])
def test_a_reset_starts_anew(engine: str, reverse: bool) -> None:
    cell = LSTMCell(5).double()
    x = torch.randn(3, 7, 4, dtype=torch.float64, requires_grad=True)
    h, c = (torch.randn(3, 5, dtype=torch.float64, requires_grad=True) for _ in range(2))
    lengths = [7, 0, 5]
    resets = torch.zeros(3, 7, dtype=torch.bool)
    resets[0, [2, 5]] = resets[1, 3] = resets[2, 4] = resets[2, 6] = True  # the last is behind the row's end
    outputs, last = scan(cell, x, LSTMState(h, c), lengths, reverse, resets=resets, engine=engine)

    def part(row: int, start: int, end: int, state: Any) -> tuple[Tensor, Any]:
        out, after = scan(cell, x[row : row + 1, start:end], state, reverse=reverse, engine="reference")
        return out[0], after

    expected = torch.zeros_like(outputs)
    finals = []
    for row, cuts in ((0, [0, 2, 5, 7]), (1, [0]), (2, [0, 4, 5])):
        state: Any = LSTMState(h[row : row + 1], c[row : row + 1])
        pairs = list(itertools.pairwise(cuts))
        for k, (start, end) in enumerate(reversed(pairs) if reverse else pairs):
            values, state = part(row, start, end, state if k == 0 else None)
            expected[row, start:end] = values
        finals.append(state)
    torch.testing.assert_close(outputs, expected, rtol=0, atol=1e-14)
    for got, want in zip(last, zip(*finals, strict=True), strict=True):
        torch.testing.assert_close(got, torch.cat(want), rtol=0, atol=1e-14)
    weight = torch.randn_like(outputs)
    sources = [x, h, c, *cell.parameters()]
    mine = torch.autograd.grad((outputs * weight).sum() + last.c.sum(), sources)
    theirs = torch.autograd.grad((expected * weight).sum() + torch.cat([f.c for f in finals]).sum(), sources)
    for a, b in zip(mine, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-12)


def test_a_reset_on_a_masked_step_moves_to_the_next_real_one() -> None:
    cell, x = GRUCell(4), torch.randn(1, 6, 3)
    mask = torch.tensor([[True, True, False, True, False, True]])
    ragged = Ragged.compress(x, mask)
    masked = torch.tensor([[False, False, True, False, False, False]])
    real = torch.tensor([[False, False, False, True, False, False]])
    assert torch.equal(scan(cell, ragged, resets=masked)[0].values, scan(cell, ragged, resets=real)[0].values)
    flags = Ragged(torch.tensor([False, False, True, False]), torch.tensor([4]))
    assert torch.equal(scan(cell, ragged, resets=flags)[0].values, scan(cell, ragged, resets=real)[0].values)
    assert not torch.equal(scan(cell, ragged)[0].values, scan(cell, ragged, resets=real)[0].values)


def test_resets_that_do_not_fit() -> None:
    cell, x = GRUCell(4), torch.randn(2, 6, 3)
    with pytest.raises(ShapeError, match=r"resets.*expected \(2, 6\), got \(2, 5\)"):
        scan(cell, x, resets=torch.zeros(2, 5))
    with pytest.raises(DataError, match="no truth values"):
        scan(cell, x, resets=torch.full((2, 6), 0.5))
    with pytest.raises(ShapeError, match="other lengths"):
        scan(cell, x, resets=Ragged(torch.zeros(3), torch.tensor([1, 2])))


def test_a_reset_on_the_first_step_wins_over_the_state_that_is_given() -> None:
    cell, x = LSTMCell(4).double(), torch.randn(3, 6, 3, dtype=torch.float64)
    given = LSTMState(*(torch.randn(3, 4, dtype=torch.float64, requires_grad=True) for _ in range(2)))
    resets = torch.zeros(3, 6)
    resets[0, 0] = resets[2, 0] = resets[2, 3] = 1
    outputs, _ = scan(cell, x, given, lengths=[6, 6, 0], resets=resets)
    own = LSTMState(*(torch.cat([torch.zeros_like(s[:1]), s[1:2]]) for s in given))
    torch.testing.assert_close(outputs[:2], scan(cell, x[:2], own)[0], rtol=0, atol=1e-14)
    gradient = torch.autograd.grad(outputs.sum(), given.h)[0]
    assert not gradient[0].any()
    assert gradient[1].any()


def test_scans_of_parts_are_the_scan_of_the_whole() -> None:
    cell, x = GRUCell(4).double(), torch.randn(5, 12, 3, dtype=torch.float64)
    resets = torch.rand(5, 12) < 0.4
    whole, _ = scan(cell, x, resets=resets)
    state, parts = None, []
    for t in range(0, 12, 3):
        out, state = scan(cell, x[:, t : t + 3], state, resets=resets[:, t : t + 3])
        parts.append(out)
    torch.testing.assert_close(torch.cat(parts, 1), whole, rtol=0, atol=1e-14)


@pytest.mark.parametrize("wrong", [2, -1])
def test_whole_numbers_that_are_no_truth_values_are_refused(wrong: int) -> None:
    x = torch.randn(2, 3, 3)
    with pytest.raises(DataError, match="no truth values"):
        scan(GRUCell(4), x, resets=torch.full((2, 3), wrong))
    with pytest.raises(DataError, match="no truth values"):
        scan(GRUCell(4), Ragged.full(x), resets=Ragged.full(torch.full((2, 3), wrong)))
    with pytest.raises(DataError, match="no array"):
        scan(GRUCell(4), x, resets="x")


def test_resets_under_vmap_are_those_of_all_or_named() -> None:
    cell, x = GRUCell(4), torch.randn(3, 5, 2)
    cell.build_for(2)
    resets = torch.tensor([[0, 0, 1, 0, 0]])

    def last(one: Tensor, resets: Tensor) -> Tensor:
        outputs: Tensor = scan(cell, one[None], resets=resets)[0]
        return outputs[0]

    together = torch.func.vmap(last, (0, None))(x, resets)
    torch.testing.assert_close(together, scan(cell, x, resets=resets.expand(3, 5))[0])
    differ = torch.func.grad(lambda one, resets: last(one, resets).sum())
    with pytest.raises(ArgumentError, match="under vmap"):
        torch.func.vmap(differ)(x, resets.expand(3, 1, 5))
