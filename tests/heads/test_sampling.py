"""Drawing tokens: what each option keeps, and that draws follow the distribution."""

from __future__ import annotations

import pytest
import torch

from rondeau.errors import ArgumentError
from rondeau.heads.sampling import sample

LOGITS = torch.log(torch.tensor([[0.5, 0.3, 0.15, 0.05]]))


def _shares(**options: float) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    drawn = sample(LOGITS.expand(20_000, 4), generator=generator, **options)
    return torch.bincount(drawn, minlength=4) / 20_000


def test_draws_follow_the_distribution() -> None:
    # four standard deviations of a share of 20,000 draws are at most 0.0142
    assert torch.allclose(_shares(), LOGITS.exp()[0], atol=0.0142)


def test_temperature_sharpens() -> None:
    squared = LOGITS.exp()[0].square()
    assert torch.allclose(_shares(temperature=0.5), squared / squared.sum(), atol=0.0142)


def test_temperature_zero_takes_the_likeliest() -> None:
    assert sample(LOGITS, temperature=0).tolist() == [0]


def test_top_k_keeps_the_k_likeliest() -> None:
    shares = _shares(top_k=2)
    assert torch.allclose(shares, torch.tensor([0.625, 0.375, 0, 0]), atol=0.0142)


@pytest.mark.parametrize(("top_p", "kept"), [(0.5, 1), (0.51, 2), (0.8, 2), (0.81, 3), (1.0, 4)])
def test_top_p_keeps_the_fewest_that_reach_it(top_p: float, kept: int) -> None:
    assert (_shares(top_p=top_p) > 0).tolist() == [i < kept for i in range(4)]


def test_forbidden_tokens_are_never_drawn() -> None:
    logits = LOGITS.clone()
    logits[:, 0] = -torch.inf
    generator = torch.Generator().manual_seed(0)
    assert (sample(logits.expand(5_000, 4), generator=generator) != 0).all()


def test_same_generator_same_draw() -> None:
    draws = [sample(LOGITS.expand(50, 4), generator=torch.Generator().manual_seed(7)).tolist() for _ in range(2)]
    assert draws[0] == draws[1]


@pytest.mark.parametrize("options", [{"temperature": -1.0}, {"top_k": 0}, {"top_p": 0.0}, {"top_p": 1.1}])
def test_options_out_of_range_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(ArgumentError, match="expected"):
        sample(LOGITS, **options)
