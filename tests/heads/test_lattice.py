"""The transducer's lattice: against all paths, and its derivative."""

from __future__ import annotations

from itertools import combinations

import pytest
import torch

from rondeau.errors import DataError, ShapeError
from rondeau.heads.lattice import log_likelihood

EPSILON = torch.finfo(torch.float64).eps
FRAMES, SYMBOLS = torch.tensor([4, 1, 3, 4]), torch.tensor([2, 3, 0, 3])


def drawn(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    blank, emit = (torch.randn(4, 4, n, generator=generator, dtype=torch.float64) for n in (4, 3))
    return blank, emit


def by_enumeration(blank: torch.Tensor, emit: torch.Tensor, frames: int, symbols: int) -> torch.Tensor:
    """The sum over all orders of so many blanks, the last of them at the end, and symbols."""
    paths = []
    steps = frames + symbols
    for writes in combinations(range(steps - 1), symbols):
        t = u = 0
        total = blank.new_zeros(())
        for step in range(steps):
            if step in writes:
                total, u = total + emit[t, u], u + 1
            else:
                total, t = total + blank[t, u], t + 1
        paths.append(total)
    return torch.logsumexp(torch.stack(paths), 0)


def test_likelihood_and_gradient_are_those_of_all_paths():
    blank, emit = (one.requires_grad_() for one in drawn())
    weights = torch.tensor([1.0, -2.0, 3.0, 0.5], dtype=torch.float64)
    found = log_likelihood(blank, emit, FRAMES, SYMBOLS)
    got = torch.autograd.grad(found @ weights, [blank, emit])
    sizes = zip(blank, emit, FRAMES.tolist(), SYMBOLS.tolist(), strict=True)
    expected = torch.stack([by_enumeration(*row) for row in sizes])
    torch.testing.assert_close(found.detach(), expected.detach(), rtol=64 * EPSILON, atol=64 * EPSILON)
    exact = torch.autograd.grad(expected @ weights, [blank, emit])
    for one, other in zip(got, exact, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=256 * EPSILON)


def test_the_derivative_is_that_of_the_difference_quotient():
    blank, emit = (one.requires_grad_() for one in drawn(1))
    assert torch.autograd.gradcheck(lambda b, e: log_likelihood(b, e, FRAMES, SYMBOLS), (blank, emit))


def test_what_is_impossible_has_no_derivative():
    blank, emit = drawn(2)
    blank[0, :, 3], emit[0, :, 2:] = -torch.inf, -torch.inf
    blank[1, 1:], emit[1, 1:] = -torch.inf, -torch.inf
    blank.requires_grad_()
    found = log_likelihood(blank, emit, FRAMES, SYMBOLS)
    found.sum().backward()
    assert bool(found.isfinite().all())
    assert bool(blank.grad.isfinite().all())
    assert bool((blank.grad[1, 1:] == 0).all())


def test_nothing_is_lost_where_probabilities_are_tiny():
    blank, emit = drawn(3)
    shifted = log_likelihood(blank - 500, emit - 500, FRAMES, SYMBOLS)
    expected = log_likelihood(blank, emit, FRAMES, SYMBOLS) - 500.0 * (FRAMES + SYMBOLS)
    torch.testing.assert_close(shifted, expected, rtol=64 * EPSILON, atol=0)


def test_lattices_without_symbols():
    blank, _ = drawn()
    found = log_likelihood(blank[..., :1], blank[..., :0], FRAMES, torch.zeros(4, dtype=torch.long))
    expected = torch.stack([row[:n, 0].sum() for row, n in zip(blank, FRAMES.tolist(), strict=True)])
    torch.testing.assert_close(found, expected, rtol=16 * EPSILON, atol=16 * EPSILON)


def test_what_does_not_fit_is_refused():
    blank, emit = drawn()
    with pytest.raises(ShapeError, match="symbols \\+ 1"):
        log_likelihood(blank, blank, FRAMES, SYMBOLS)
    with pytest.raises(DataError, match=r"frames \(at row 1\): expected 1 to 4, got 0"):
        log_likelihood(blank, emit, torch.tensor([4, 0, 3, 4]), SYMBOLS)
    with pytest.raises(DataError, match="symbols"):
        log_likelihood(blank, emit, FRAMES, SYMBOLS + 1)
