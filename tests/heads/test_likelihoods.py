"""Likelihoods beside torch.distributions and scipy."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, distributions

from rondeau.errors import ArgumentError, ShapeError
from rondeau.heads.likelihoods import KINDS, Likelihood, Quantiles, likelihood, pinball
from rondeau.training import losses

EPSILON = float(torch.finfo(torch.float64).eps)
LEVELS = [0.01, 0.1, 0.5, 0.8, 0.99]
SCALE = torch.tensor([0.5, 1.0, 20.0, 300.0], dtype=torch.float64)[:, None].expand(4, 5)


def outputs_of(kind: Likelihood) -> Tensor:
    return torch.randn(4, 5, kind.size, dtype=torch.float64) * 2


def judge(kind: str, outputs: Tensor) -> Any:
    """The same distribution by torch."""
    positive = [F.softplus(outputs[..., i]) + 1e-4 for i in range(outputs.shape[-1])]
    if kind == "gaussian":
        return distributions.Normal(outputs[..., 0], positive[1])
    if kind == "student_t":
        return distributions.StudentT(positive[2] - 1e-4 + 2, outputs[..., 0], positive[1])
    mean, dispersion = positive[0] * SCALE, positive[1] / SCALE.sqrt()
    return distributions.NegativeBinomial(1 / dispersion, logits=(dispersion * mean).log())


@pytest.mark.parametrize("name", ["gaussian", "student_t", "negative_binomial"])
def test_the_loss_is_minus_the_log_likelihood(name: str) -> None:
    kind = likelihood(name)
    outputs = outputs_of(kind)
    theirs = judge(name, outputs)
    values = theirs.sample()
    torch.testing.assert_close(
        kind.loss(outputs, values, SCALE), -theirs.log_prob(values), rtol=1e5 * EPSILON, atol=1e5 * EPSILON
    )
    torch.testing.assert_close(kind.mean(outputs, SCALE), theirs.mean, rtol=100 * EPSILON, atol=0)


@pytest.mark.parametrize("name", ["gaussian", "student_t", "negative_binomial"])
def test_quantiles_are_scipys(name: str) -> None:
    stats = pytest.importorskip("scipy.stats")
    kind = likelihood(name)
    outputs = outputs_of(kind)
    theirs = judge(name, outputs)
    if name == "gaussian":
        judged = stats.norm(theirs.loc[..., None], theirs.scale[..., None])
    elif name == "student_t":
        judged = stats.t(theirs.df[..., None], theirs.loc[..., None], theirs.scale[..., None])
    else:
        judged = stats.nbinom(theirs.total_count[..., None], 1 - theirs.probs[..., None])
    expected = torch.as_tensor(judged.ppf(np.asarray(LEVELS)))
    exact = {"rtol": 0.0, "atol": 0.0} if name == "negative_binomial" else {"rtol": 1e-9, "atol": 1e-9}
    torch.testing.assert_close(kind.quantiles(outputs, LEVELS, SCALE), expected, **exact)


@pytest.mark.parametrize("name", list(KINDS))
def test_draws_have_the_quantiles_that_are_said(name: str) -> None:
    kind = likelihood(name)
    outputs = outputs_of(kind)[:1, :1].sort(-1).values
    draws = 40_000
    drawn = kind.sample(outputs.expand(draws, 1, -1), np.random.default_rng(0), 30.0)
    assert drawn.shape == (draws, 1)
    for level in (0.1, 0.5, 0.9):
        at = kind.quantiles(outputs, [level], 30.0).item()
        noise = 4 * math.sqrt(level * (1 - level) / draws)
        below, up_to = (drawn < at - 1e-9).double().mean().item(), (drawn <= at + 1e-9).double().mean().item()
        assert below - noise <= level <= up_to + noise
    again = kind.sample(outputs.expand(draws, 1, -1), np.random.default_rng(0), 30.0)
    assert torch.equal(drawn, again)


def test_quantiles_are_put_in_order_and_go_on_beyond_the_last() -> None:
    kind = Quantiles([0.25, 0.5, 0.75])
    outputs = torch.tensor([[3.0, 1.0, 2.0]])
    assert kind.quantiles(outputs, [0.25, 0.375, 0.75, 0.85]).tolist() == [pytest.approx([1, 1.5, 3, 3.4], abs=1e-6)]
    assert kind.mean(outputs).tolist() == [2.0]
    assert Quantiles([0.5]).quantiles(torch.tensor([[7.0]]), [0.1, 0.9]).tolist() == [[7.0, 7.0]]
    for levels in ([], [0.5, 0.1], [0.0, 0.5], [0.5, 1.0]):
        with pytest.raises(ArgumentError, match="rising numbers between 0 and 1"):
            Quantiles(levels)


def test_the_pinball_loss_is_least_at_the_quantile() -> None:
    values = torch.arange(101.0)
    candidates = torch.arange(0.0, 101.0)
    total = pinball(candidates[:, None], values, 0.9).sum(1)
    assert abs(int(total.argmin()) - 90) <= 1
    point = likelihood("point")
    assert point.loss(torch.tensor([[3.0]]), torch.tensor([1.0])).tolist() == [2.0]
    median = Quantiles([0.5])
    assert median.loss(torch.tensor([[3.0]]), torch.tensor([1.0])).tolist() == [2.0]


@pytest.mark.parametrize("name", list(KINDS))
def test_gradients_are_finite_far_out(name: str) -> None:
    kind = likelihood(name)
    for far in (-40.0, 0.0, 40.0):
        outputs = torch.full((2, kind.size), far, requires_grad=True)
        kind.loss(outputs, torch.tensor([0.0, 5.0]), 3.0).sum().backward()
        assert outputs.grad is not None
        assert torch.isfinite(outputs.grad).all()


def test_as_a_loss_of_fit() -> None:
    loss = losses.get(losses.NegativeLogLikelihood("negative_binomial"))
    outputs = torch.randn(3, 4, 2)
    values, scale = torch.randint(0, 9, (3, 4)).float(), torch.full((3, 4), 5.0)
    expected = likelihood("negative_binomial").loss(outputs, values, scale)
    torch.testing.assert_close(loss(torch.stack([values, scale], -1), outputs), expected.mean())
    plain = losses.NegativeLogLikelihood("gaussian", reduction=None)
    assert plain(values, outputs).shape == (3, 4) == plain(values[..., None], outputs).shape
    with pytest.raises(ShapeError, match=r"the predictions .*\(..., 2\) for gaussian"):
        plain(values, torch.zeros(3, 4, 3))
    with pytest.raises(ShapeError, match="the targets"):
        plain(values[:2], outputs)
    with pytest.raises(ArgumentError, match="likelihood: expected 'gaussian' or 'student_t'"):
        losses.NegativeLogLikelihood("normal")


def test_a_saved_model_keeps_it(tmp_path: Any) -> None:
    from rondeau import Sequential, layers, load

    model = Sequential([layers.Input((3, 2)), layers.GRU(4, return_sequences=True), layers.Dense(3)])
    model.compile("adam", losses.NegativeLogLikelihood("quantile", levels=[0.1, 0.5, 0.9]))
    model.fit(np.zeros((4, 3, 2), np.float32), np.ones((4, 3), np.float32), verbose=0)
    model.save(tmp_path / "m")
    again = load(tmp_path / "m")
    expected = model.evaluate(np.zeros((4, 3, 2), np.float32), np.ones((4, 3), np.float32))
    assert again.evaluate(np.zeros((4, 3, 2), np.float32), np.ones((4, 3), np.float32)) == expected
