"""Losses for numbers: distances between targets and predictions of one shape, each a mean over the last axis.

The functions return a value per sample or step; the classes reduce them. Names, arguments and numbers are Keras 3's.
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from rondeau.errors import ArgumentError
from rondeau.training.losses.base import Loss
from rondeau.training.losses.checks import EPSILON, aligned, last_axis, within


def mean_squared_error(y_true: Any, y_pred: Any) -> Tensor:
    """`mean((y_true - y_pred)²)`: targets and predictions `(..., outputs)` to values `(...)`.

    >>> mean_squared_error([[0.0, 1.0], [2.0, 0.0]], [[1.0, 1.0], [0.0, 0.0]])
    tensor([0.5000, 2.0000])
    """
    true, pred = aligned(y_true, y_pred, "mean_squared_error")
    return (pred - true).square().mean(-1)


def mean_absolute_error(y_true: Any, y_pred: Any) -> Tensor:
    """`mean(|y_true - y_pred|)`."""
    true, pred = aligned(y_true, y_pred, "mean_absolute_error")
    return (pred - true).abs().mean(-1)


def mean_absolute_percentage_error(y_true: Any, y_pred: Any) -> Tensor:
    """`100 mean(|y_true - y_pred| / |y_true|)`, in percent; a target nearer to 0 than 1e-7 counts as 1e-7."""
    true, pred = aligned(y_true, y_pred, "mean_absolute_percentage_error")
    return 100 * ((true - pred) / true.abs().clamp(min=EPSILON)).abs().mean(-1)


def mean_squared_logarithmic_error(y_true: Any, y_pred: Any) -> Tensor:
    """`mean((log(1 + y_true) - log(1 + y_pred))²)`; values below 1e-7, negative ones too, count as 1e-7."""
    true, pred = aligned(y_true, y_pred, "mean_squared_logarithmic_error")
    return (torch.log(pred.clamp(min=EPSILON) + 1) - torch.log(true.clamp(min=EPSILON) + 1)).square().mean(-1)


def huber(y_true: Any, y_pred: Any, delta: float = 1.0) -> Tensor:
    """Half the squared error up to `delta`, linear beyond (Huber, 1964): the mean over the last axis."""
    if not delta > 0:
        raise ArgumentError("delta is not positive", expected="a number above 0", got=delta, where="huber")
    true, pred = aligned(y_true, y_pred, "huber")
    return F.huber_loss(pred, true, reduction="none", delta=delta).mean(-1)


def log_cosh(y_true: Any, y_pred: Any) -> Tensor:
    """`mean(log(cosh(y_pred - y_true)))`, in the form that does not overflow."""
    true, pred = aligned(y_true, y_pred, "log_cosh")
    error = pred - true
    return (error + F.softplus(-2 * error) - math.log(2)).mean(-1)


def cosine_similarity(y_true: Any, y_pred: Any, axis: int = -1) -> Tensor:
    """Minus the cosine between target and prediction: -1 is agreement, 1 the opposite, 0 where one is a zero vector."""
    last_axis(axis, "cosine_similarity")
    true, pred = aligned(y_true, y_pred, "cosine_similarity")
    return -(_unit(true) * _unit(pred)).sum(-1)


def _unit(x: Tensor) -> Tensor:
    # clamped before the root: the root's slope at 0 is infinite, and infinity times no gradient is NaN
    return x * x.square().sum(-1, keepdim=True).clamp(min=EPSILON**2).rsqrt()


def hinge(y_true: Any, y_pred: Any) -> Tensor:
    """`mean(max(1 - y_true y_pred, 0))` for labels -1 and 1; a batch of labels 0 and 1 is read as -1 and 1.

    Raises `DataError` for labels outside -1 to 1.
    """
    true, pred = aligned(y_true, y_pred, "hinge")
    within(true, -1, 1, "hinge: a label that is no sign", "y_true", "Label the two classes -1 and 1, or 0 and 1")
    binary = ((true == 0) | (true == 1)).all()
    return torch.relu(1 - torch.where(binary, 2 * true - 1, true) * pred).mean(-1)


class MeanSquaredError(Loss):
    """Mean of the squared errors; see `mean_squared_error`."""

    def values(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        return mean_squared_error(y_true, y_pred)


class MeanAbsoluteError(Loss):
    """Mean of the absolute errors; see `mean_absolute_error`."""

    def values(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        return mean_absolute_error(y_true, y_pred)


class MeanAbsolutePercentageError(Loss):
    """Mean of the absolute errors in percent of the target; see `mean_absolute_percentage_error`."""

    def values(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        return mean_absolute_percentage_error(y_true, y_pred)


class MeanSquaredLogarithmicError(Loss):
    """Mean of the squared differences of logarithms; see `mean_squared_logarithmic_error`."""

    def values(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        return mean_squared_logarithmic_error(y_true, y_pred)


class LogCosh(Loss):
    """Mean logarithm of the error's hyperbolic cosine; see `log_cosh`."""

    def values(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        return log_cosh(y_true, y_pred)


class Hinge(Loss):
    """Mean distance inside the margin; see `hinge`."""

    def values(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        return hinge(y_true, y_pred)


class Huber(Loss):
    """Squared error near 0, absolute error beyond `delta`; see `huber`."""

    def __init__(
        self,
        delta: float = 1.0,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "huber_loss",
        dtype: None = None,
    ) -> None:
        super().__init__(reduction, name, dtype)
        self.delta = delta

    def values(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        return huber(y_true, y_pred, self.delta)


class CosineSimilarity(Loss):
    """Minus the cosine between target and prediction; see `cosine_similarity`. `axis` must be -1."""

    def __init__(
        self, axis: int = -1, reduction: str | None = "sum_over_batch_size", name: str | None = None, dtype: None = None
    ) -> None:
        super().__init__(reduction, name, dtype)
        last_axis(axis, self.name)

    def values(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        return cosine_similarity(y_true, y_pred)
