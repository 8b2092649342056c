"""Activation functions by Keras's names: each takes and gives a tensor of one shape."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from rondeau.errors import ArgumentError
from rondeau.init import by_name


def linear(x: Tensor) -> Tensor:
    """x itself."""
    return x


def tanh(x: Tensor) -> Tensor:
    """The hyperbolic tangent, in (-1, 1)."""
    return torch.tanh(x)


def sigmoid(x: Tensor) -> Tensor:
    """1 / (1 + exp(-x)), in (0, 1)."""
    return torch.sigmoid(x)


def hard_sigmoid(x: Tensor) -> Tensor:
    """clip(x / 6 + 1/2, 0, 1)."""
    return F.hardsigmoid(x)


def relu(x: Tensor) -> Tensor:
    """max(x, 0)."""
    return torch.relu(x)


def leaky_relu(x: Tensor) -> Tensor:
    """x above zero, 0.2 x below."""
    return F.leaky_relu(x, 0.2)


def elu(x: Tensor) -> Tensor:
    """x above zero, exp(x) - 1 below (Clevert et al. 2015, arXiv 1511.07289)."""
    return F.elu(x)


def selu(x: Tensor) -> Tensor:
    """Scaled so that unit variance is kept (Klambauer et al. 2017, arXiv 1706.02515)."""
    return F.selu(x)


def gelu(x: Tensor) -> Tensor:
    """x times the normal distribution's cumulative function (Hendrycks & Gimpel 2016, arXiv 1606.08415)."""
    return F.gelu(x)


def silu(x: Tensor) -> Tensor:
    """x sigmoid(x), by the name of 'swish' too (Ramachandran et al. 2017, arXiv 1710.05941)."""
    return F.silu(x)


def softplus(x: Tensor) -> Tensor:
    """log(1 + exp(x))."""
    return F.softplus(x, threshold=40.0)  # beyond it, x itself: below 40 log(1 + exp(x)) is more, in float64


def softsign(x: Tensor) -> Tensor:
    """x / (1 + |x|)."""
    return F.softsign(x)


def exponential(x: Tensor) -> Tensor:
    """exp(x)."""
    return torch.exp(x)


def softmax(x: Tensor) -> Tensor:
    """exp(x) over its sum along the last axis."""
    return torch.softmax(x, -1)


def log_softmax(x: Tensor) -> Tensor:
    """The logarithm of softmax along the last axis."""
    return torch.log_softmax(x, -1)


FUNCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "linear": linear,
    "tanh": tanh,
    "sigmoid": sigmoid,
    "hard_sigmoid": hard_sigmoid,
    "relu": relu,
    "leaky_relu": leaky_relu,
    "elu": elu,
    "selu": selu,
    "gelu": gelu,
    "silu": silu,
    "swish": silu,
    "softplus": softplus,
    "softsign": softsign,
    "exponential": exponential,
    "softmax": softmax,
    "log_softmax": log_softmax,
}


def get(identifier: Any) -> Callable[[Tensor], Tensor]:
    """An activation by name, the callable given, or `linear` for None. Raises `ArgumentError` for anything else.

    >>> get("relu")(torch.tensor([-1.0, 2.0])).tolist()
    [0.0, 2.0]
    """
    if identifier is None:
        return linear
    found: Callable[[Tensor], Tensor]
    if isinstance(identifier, str):
        found = by_name(identifier, FUNCTIONS, "activation")
        return found
    if callable(identifier) and not isinstance(identifier, type):
        found = identifier
        return found
    raise ArgumentError("not an activation", expected="a name, a function or None", got=repr(identifier))
