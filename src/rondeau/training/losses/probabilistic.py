"""Losses for probabilities: crossentropies, Kullback-Leibler divergence, Poisson likelihood; natural logarithms.

The functions return a value per sample or step; the classes reduce them. Names, arguments and numbers are Keras 3's:
probabilities are clipped to 1e-7 and 1 - 1e-7, and categorical ones are first divided by their sum. Where Keras clips
what is no probability at all without a word, there is a `DataError` here: logits passed by mistake would train badly.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from rondeau.errors import ArgumentError
from rondeau.training.losses.base import Loss
from rondeau.training.losses.checks import (
    EPSILON,
    aligned,
    class_labels,
    label_shape,
    last_axis,
    one_hot,
    predictions,
    probabilities,
    within,
)

_SOFTMAX = "Pass from_logits=True if these are logits, or end the model with activation='softmax'"
_SIGMOID = _SOFTMAX.replace("softmax", "sigmoid")


def binary_crossentropy(
    y_true: Any, y_pred: Any, from_logits: bool = False, label_smoothing: float = 0.0, axis: int = -1
) -> Tensor:
    """Mean over the last axis of `-y_true log(p) - (1 - y_true) log(1 - p)`.

    Args:
        y_true: probabilities of "yes", mostly 0 and 1, of the shape of `y_pred` or the same without a last axis of one.
        y_pred: `(..., outputs)`: probabilities, or logits of any size where `from_logits`.
        label_smoothing: share of every target that is drawn to one half, 0 to 1.

    Raises `DataError` for targets or probabilities outside 0 to 1, `ShapeError` for unequal shapes.
    """
    where = "binary_crossentropy"
    _check_options(label_smoothing, axis, where)
    fix = "For more than two classes use sparse_categorical_crossentropy (integer labels) or categorical_crossentropy"
    true, pred = aligned(y_true, y_pred, where, fix)
    within(true, 0, 1, f"{where}: a target is not a probability", "y_true", f"Label the two classes 0 and 1. {fix}")
    true = true * (1 - label_smoothing) + label_smoothing / 2
    if from_logits:
        return F.binary_cross_entropy_with_logits(pred, true, reduction="none").mean(-1)
    probabilities(pred, where, _SIGMOID)
    p = _clipped(pred)  # not F.binary_cross_entropy: it refuses NaN, on a GPU by killing the process
    return -(true * p.log() + (1 - true) * torch.log1p(-p)).mean(-1)


def categorical_crossentropy(
    y_true: Any, y_pred: Any, from_logits: bool = False, label_smoothing: float = 0.0, axis: int = -1
) -> Tensor:
    """`-sum(y_true log(p))` over the last axis.

    Args:
        y_true: one-hot, or a share for each class; the shape of `y_pred`.
        y_pred: `(..., classes)`: probabilities, or logits where `from_logits`.
        label_smoothing: share of every target that is spread evenly over the classes, 0 to 1.

    Raises `DataError` for probabilities outside 0 to 1, `ShapeError` for unequal shapes or a single class.
    """
    where = "categorical_crossentropy"
    _check_options(label_smoothing, axis, where)
    true, pred = one_hot(y_true, y_pred, where)
    true = true * (1 - label_smoothing) + label_smoothing / pred.shape[-1]
    if from_logits:
        return -(true * F.log_softmax(pred, -1)).sum(-1)
    probabilities(pred, where, _SOFTMAX)
    return -(true * _clipped(pred / pred.sum(-1, keepdim=True)).log()).sum(-1)


def sparse_categorical_crossentropy(
    y_true: Any,
    y_pred: Any,
    from_logits: bool = False,
    ignore_class: int | None = None,
    axis: int = -1,
    label_smoothing: float = 0.0,
) -> Tensor:
    """`-log(p[y_true])`: the crossentropy of integer labels.

    Args:
        y_true: labels from 0 to classes - 1: `(...)` or `(..., 1)`.
        y_pred: `(..., classes)`: probabilities, or logits where `from_logits`.
        ignore_class: a label, inside the classes or not, whose value is 0.
        label_smoothing: share of every target that is spread evenly over the classes, 0 to 1 (Szegedy et al. 2016,
            arXiv 1512.00567); not in Keras.

    Raises `DataError` for a label outside the classes or not an integer and for probabilities outside 0 to 1,
    `ShapeError` for labels that do not fit, one-hot ones among them.
    """
    where = "sparse_categorical_crossentropy"
    _check_options(label_smoothing, axis, where)
    pred = predictions(y_pred, where)
    labels = class_labels(y_true, pred, where, ignore_class)
    if from_logits:
        ignored = -100 if ignore_class is None else ignore_class  # -100 cannot occur: it is no class
        flat, right = pred.reshape(-1, pred.shape[-1]), labels.reshape(-1)
        values = F.cross_entropy(
            flat, right, ignore_index=ignored, reduction="none", label_smoothing=float(label_smoothing)
        )
        return values.reshape(labels.shape)
    probabilities(pred, where, _SOFTMAX)
    total = pred.sum(-1)
    if label_smoothing:
        known = labels if ignore_class is None else labels.masked_fill(labels == ignore_class, 0)
        spread = categorical_crossentropy(F.one_hot(known, pred.shape[-1]), pred, label_smoothing=label_smoothing)
        return spread if ignore_class is None else spread.masked_fill(labels == ignore_class, 0)
    if ignore_class is None:
        return -_clipped(_chosen(pred, labels) / total).log()
    ignored_rows = labels == ignore_class
    chosen = _chosen(pred, labels.masked_fill(ignored_rows, 0))
    # an ignored row may hold anything, zeros too: 0 / 0 would send NaN back even though its value is dropped
    return -_clipped(chosen / total.masked_fill(ignored_rows, 1)).log().masked_fill(ignored_rows, 0)


def kl_divergence(y_true: Any, y_pred: Any) -> Tensor:
    """`sum(y_true log(y_true / y_pred))` over the last axis, both clipped to 1e-7 and 1 (Kullback and Leibler, 1951).

    Raises `DataError` where either lies outside 0 to 1.
    """
    where = "kl_divergence"
    true, pred = aligned(y_true, y_pred, where)
    within(true, 0, 1, f"{where}: a target is not a probability", "y_true", "Give each class its share, 0 to 1")
    probabilities(pred, where, "End the model with activation='softmax'")
    true, pred = true.clamp(EPSILON, 1), pred.clamp(EPSILON, 1)
    return (true * (true / pred).log()).sum(-1)


def poisson(y_true: Any, y_pred: Any) -> Tensor:
    """`mean(y_pred - y_true log(y_pred + 1e-7))`: minus the log-likelihood of counts, without its constant.

    Raises `DataError` for a negative rate.
    """
    true, pred = aligned(y_true, y_pred, "poisson")
    fix = "End the model with activation='softplus' or 'exponential'"
    within(pred, 0, float("inf"), "poisson: a predicted rate is negative", "y_pred", fix, slack=0)
    return (pred - true * (pred + EPSILON).log()).mean(-1)


def _clipped(p: Tensor) -> Tensor:
    return p.clamp(EPSILON, 1 - EPSILON)


def _chosen(y_pred: Tensor, labels: Tensor) -> Tensor:
    return y_pred.gather(-1, labels.unsqueeze(-1)).squeeze(-1)


def _check_options(label_smoothing: float, axis: int, where: str) -> None:
    last_axis(axis, where)
    if not 0 <= label_smoothing <= 1:
        raise ArgumentError("label_smoothing is a share", expected="0 to 1", got=label_smoothing, where=where)


class BinaryCrossentropy(Loss):
    """Crossentropy of yes and no; see `binary_crossentropy`. `axis` must be -1."""

    def __init__(
        self,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
        axis: int = -1,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        dtype: None = None,
    ) -> None:
        super().__init__(reduction, name, dtype)
        _check_options(label_smoothing, axis, self.name)
        self.from_logits, self.label_smoothing = from_logits, label_smoothing

    def values(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        return binary_crossentropy(y_true, y_pred, self.from_logits, self.label_smoothing)


class CategoricalCrossentropy(Loss):
    """Crossentropy of one-hot targets; see `categorical_crossentropy`. `axis` must be -1."""

    def __init__(
        self,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
        axis: int = -1,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        dtype: None = None,
    ) -> None:
        super().__init__(reduction, name, dtype)
        _check_options(label_smoothing, axis, self.name)
        self.from_logits, self.label_smoothing = from_logits, label_smoothing

    def values(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        return categorical_crossentropy(y_true, y_pred, self.from_logits, self.label_smoothing)


class SparseCategoricalCrossentropy(Loss):
    """Crossentropy of integer labels; see `sparse_categorical_crossentropy`. `axis` must be -1.

    Values of `ignore_class` are left out of sum and count.
    """

    def __init__(
        self,
        from_logits: bool = False,
        ignore_class: int | None = None,
        reduction: str | None = "sum_over_batch_size",
        axis: int = -1,
        name: str | None = None,
        dtype: None = None,
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__(reduction, name, dtype)
        _check_options(label_smoothing, axis, self.name)
        self.from_logits, self.ignore_class, self.label_smoothing = from_logits, ignore_class, label_smoothing

    def values(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        return sparse_categorical_crossentropy(
            y_true, y_pred, self.from_logits, self.ignore_class, label_smoothing=self.label_smoothing
        )

    def counted(self, y_true: Tensor, y_pred: Tensor) -> Tensor | None:
        if self.ignore_class is None:
            return None
        return label_shape(y_true, torch.as_tensor(y_pred), self.name) != self.ignore_class


class KLDivergence(Loss):
    """Divergence of the predicted distribution from the true one; see `kl_divergence`."""

    def values(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        return kl_divergence(y_true, y_pred)


class Poisson(Loss):
    """Negative log-likelihood of counts; see `poisson`."""

    def values(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        return poisson(y_true, y_pred)
