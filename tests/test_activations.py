from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from rondeau import activations
from rondeau.errors import ArgumentError


@pytest.mark.parametrize("name", activations.FUNCTIONS)
def test_values_and_gradients_are_keras(name: str) -> None:
    keras = pytest.importorskip("keras")
    points = torch.cat([torch.linspace(-30, 30, 121), torch.tensor([-3.0, -1e-4, 0.0, 1e-4, 3.0])]).reshape(-1, 3)
    ours, theirs = points.clone().requires_grad_(), points.clone().requires_grad_()
    y, want = activations.get(name)(ours), keras.activations.get(name)(theirs)
    np.testing.assert_allclose(y.detach(), want.detach(), rtol=4 * np.finfo(np.float32).eps, atol=1e-7)
    weights = torch.arange(1.0, points.numel() + 1).reshape(points.shape) / points.numel()
    (y * weights).sum().backward()
    (want * weights).sum().backward()
    np.testing.assert_allclose(ours.grad, theirs.grad, rtol=8 * np.finfo(np.float32).eps, atol=1e-7)


def test_softplus_is_exact_far_out() -> None:
    """torch's own turns linear at 20, where the difference from log(1 + exp(x)) is a billionth still."""
    x = torch.tensor([20.5, 25.0, 33.0, 41.0, 700.0], dtype=torch.float64)
    want = torch.tensor([v + math.log1p(math.exp(-v)) for v in x.tolist()], dtype=torch.float64)
    assert torch.equal(activations.softplus(x), want)
    assert torch.equal(activations.softplus(torch.tensor([1e4])), torch.tensor([1e4]))


def test_names_functions_and_none() -> None:
    assert activations.get(None) is activations.linear
    assert activations.get("Tanh") is activations.tanh
    assert activations.get("swish") is activations.silu
    assert activations.get("hardsigmoid") is activations.hard_sigmoid
    assert activations.get(torch.sin) is torch.sin
    x = torch.randn(3)
    assert activations.linear(x) is x


def test_what_is_no_activation() -> None:
    with pytest.raises(ArgumentError, match=r"there is no activation 'rleu'.*Did you mean 'relu'\?"):
        activations.get("rleu")
    with pytest.raises(ArgumentError, match="expected a name, a function or None, got 3"):
        activations.get(3)
    with pytest.raises(ArgumentError, match="not an activation"):
        activations.get(torch.nn.ReLU)  # the class, not a layer of it
