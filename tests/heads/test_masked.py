"""Masked autoregression: what each answer sees, and that the whole is a distribution."""

from __future__ import annotations

import itertools

import pytest
import torch
import torch.nn.functional as F

from rondeau.errors import ShapeError
from rondeau.heads.masked import MaskedAutoregression, nll_of_groups
from rondeau.sequence import Ragged


def made(size: int, hidden: int = 32, group: int = 1) -> MaskedAutoregression:
    torch.manual_seed(0)
    layer = MaskedAutoregression(hidden, group)
    layer([torch.zeros(1, 3), torch.zeros(1, size)])
    for weight in layer.parameters():
        weight.data.normal_()
    return layer.double()


def test_an_answer_depends_on_the_values_before_it_and_on_no_other() -> None:
    layer = made(6)
    features = torch.randn(3, dtype=torch.float64)
    values = torch.rand(6, dtype=torch.float64)
    jacobian = torch.autograd.functional.jacobian(lambda v: layer.logits(features, v), values)
    before = torch.ones(6, 6).tril(-1).bool()
    assert (jacobian[~before] == 0).all()
    assert jacobian[before].abs().min() > 0


def test_the_chances_of_all_values_sum_to_one() -> None:
    layer = made(5)
    features = torch.randn(1, 3, dtype=torch.float64).expand(32, 3)
    values = torch.tensor(list(itertools.product((0.0, 1.0), repeat=5)), dtype=torch.float64)
    nll = F.binary_cross_entropy_with_logits(layer.logits(features, values), values, reduction="none").sum(1)
    assert float((-nll.detach()).exp().sum()) == pytest.approx(1, rel=1e-12)


def test_draws_follow_the_chances() -> None:
    layer = made(3)
    features = torch.randn(1, 3, dtype=torch.float64)
    values = torch.tensor(list(itertools.product((0.0, 1.0), repeat=3)), dtype=torch.float64)
    expected = (
        (
            -F.binary_cross_entropy_with_logits(
                layer.logits(features.expand(8, 3), values), values, reduction="none"
            ).sum(1)
        )
        .exp()
        .detach()
    )
    drawn = layer.sample(features.expand(20_000, 3), generator=torch.Generator().manual_seed(1))
    found = torch.bincount((drawn @ torch.tensor([4.0, 2.0, 1.0], dtype=torch.float64)).long(), minlength=8) / 20_000
    assert (found - expected).abs().max() < 5 * (0.25 / 20_000) ** 0.5


def test_a_group_is_one_choice_that_sees_the_groups_before_it() -> None:
    layer = made(6, group=3)
    features = torch.randn(1, 3, dtype=torch.float64).expand(9, 3)
    eye = torch.eye(3, dtype=torch.float64)
    values = torch.stack([torch.cat([eye[a], eye[b]]) for a in range(3) for b in range(3)])
    logits = layer.logits(features, values)
    chances = torch.exp(-nll_of_groups(values, logits, 3)).detach()
    assert float(chances.sum()) == pytest.approx(1, rel=1e-12)
    jacobian = torch.autograd.functional.jacobian(lambda v: layer.logits(features[0], v), values[0])
    assert (jacobian[:3] == 0).all()
    assert (jacobian[3:, 3:] == 0).all()
    assert (jacobian[3:, :3] != 0).all()
    drawn = layer.sample(features[:1].expand(20_000, 3), generator=torch.Generator().manual_seed(1))
    assert (drawn.reshape(-1, 2, 3).sum(-1) == 1).all()
    found = (drawn @ values.T == 2).double().mean(0)
    assert (found - chances).abs().max() < 5 * (0.25 / 20_000) ** 0.5


def test_ragged_rows_are_the_same_steps() -> None:
    layer = made(4).float()
    features = Ragged.from_rows([torch.randn(3, 3), torch.randn(2, 3)])
    values = Ragged.from_rows([torch.ones(3, 4), torch.zeros(2, 4)])
    whole = layer([features, values])
    assert torch.equal(whole.values, layer.logits(features.values, values.values))


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ShapeError, match="features and values of the same kind"):
        made(4).float()([Ragged.from_rows([torch.zeros(3, 3)]), torch.zeros(1, 3, 4)])
    with pytest.raises(ShapeError, match="whole groups"):
        MaskedAutoregression(8, group=3)([torch.zeros(1, 3), torch.zeros(1, 4)])
