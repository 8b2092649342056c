"""Accuracies: how many predictions are right. Each is a running mean of its own, in float64: nothing else is needed.

A label outside the classes counts as a wrong prediction, as in Keras; the loss is what refuses it.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from rondeau.errors import ArgumentError
from rondeau.training.losses.checks import aligned, label_shape, one_hot, predictions, same_shape
from rondeau.training.losses.choice import Kind, kind_by_shape
from rondeau.training.metrics.base import MeanMetric


def binary_accuracy(y_true: Any, y_pred: Any, threshold: float = 0.5) -> Tensor:
    """1 where a prediction above `threshold` meets a target 1, or another one a target 0; one value per element."""
    true, pred = aligned(y_true, y_pred, "binary_accuracy")
    return true == (pred > threshold)


def categorical_accuracy(y_true: Any, y_pred: Any) -> Tensor:
    """1 where target and prediction, both `(..., classes)`, are largest at the same class."""
    true, pred = one_hot(y_true, y_pred, "categorical_accuracy")
    return true.argmax(-1) == pred.argmax(-1)


def sparse_categorical_accuracy(y_true: Any, y_pred: Any) -> Tensor:
    """1 where the label, `(...)` or `(..., 1)`, is the largest class of the prediction `(..., classes)`."""
    pred = predictions(y_pred, "sparse_categorical_accuracy")
    return label_shape(y_true, pred, "sparse_categorical_accuracy") == pred.argmax(-1)


def top_k_categorical_accuracy(y_true: Any, y_pred: Any, k: int = 5) -> Tensor:
    """1 where the class at which the target `(..., classes)` is largest is among the prediction's `k` largest."""
    true, pred = one_hot(y_true, y_pred, "top_k_categorical_accuracy")
    return _in_top_k(true.argmax(-1), pred, k)


def sparse_top_k_categorical_accuracy(y_true: Any, y_pred: Any, k: int = 5) -> Tensor:
    """1 where the label is among the `k` largest classes of the prediction; equal scores share a place."""
    pred = predictions(y_pred, "sparse_top_k_categorical_accuracy")
    return _in_top_k(label_shape(y_true, pred, "sparse_top_k_categorical_accuracy"), pred, k)


def _in_top_k(labels: Tensor, pred: Tensor, k: int) -> Tensor:
    classes = pred.shape[-1]
    at = labels.long().clamp(0, classes - 1)
    score = pred.gather(-1, at.unsqueeze(-1)).squeeze(-1)
    return (score >= pred.topk(min(k, classes)).values[..., -1]) & (at == labels)


class Accuracy(MeanMetric):
    """How often targets equal predictions, element by element: of labels that are decoded already.

    The string `"accuracy"` means `AccuracyByShape` instead, as in Keras.
    """

    def values(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        true, pred = same_shape(y_true, torch.as_tensor(y_pred), self.name)
        return true == pred


class BinaryAccuracy(MeanMetric):
    """How often a prediction lies on the target's side of `threshold`; see `binary_accuracy`."""

    def __init__(self, name: str | None = None, dtype: None = None, threshold: float = 0.5) -> None:
        super().__init__(name, dtype)
        self.threshold = threshold

    def values(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        return binary_accuracy(y_true, y_pred, self.threshold)


class CategoricalAccuracy(MeanMetric):
    """How often the largest class is the one of a one-hot target; see `categorical_accuracy`."""

    def values(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        return categorical_accuracy(y_true, y_pred)


class SparseCategoricalAccuracy(MeanMetric):
    """How often the largest class is the label; see `sparse_categorical_accuracy`."""

    def values(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        return sparse_categorical_accuracy(y_true, y_pred)


class TopKCategoricalAccuracy(MeanMetric):
    """How often a one-hot target's class is among the `k` largest; see `top_k_categorical_accuracy`."""

    def __init__(self, k: int = 5, name: str | None = None, dtype: None = None) -> None:
        super().__init__(name, dtype)
        self.k = _positive(k, self.name)

    def values(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        return top_k_categorical_accuracy(y_true, y_pred, self.k)


class SparseTopKCategoricalAccuracy(MeanMetric):
    """How often the label is among the `k` largest classes; see `sparse_top_k_categorical_accuracy`.

    `from_sorted_ids` must be False: predictions are scores here, not class numbers.
    """

    def __init__(self, k: int = 5, name: str | None = None, dtype: None = None, from_sorted_ids: bool = False) -> None:
        super().__init__(name, dtype)
        self.k = _positive(k, self.name)
        if from_sorted_ids:
            fix = "Return the scores of all classes from the model"
            raise ArgumentError("predictions are scores, not class numbers", got="from_sorted_ids=True", fix=fix)

    def values(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        return sparse_top_k_categorical_accuracy(y_true, y_pred, self.k)


class AccuracyByShape(MeanMetric):
    """What `"accuracy"` and `"acc"` mean: binary, categorical or sparse, by the shapes of the first batch."""

    _kind: Kind | None = None

    def values(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        if self._kind is None:
            self._kind = kind_by_shape(y_true, y_pred, self.name)
        if self._kind == "binary":
            return binary_accuracy(y_true, y_pred)
        return (sparse_categorical_accuracy if self._kind == "sparse" else categorical_accuracy)(y_true, y_pred)


def _positive(k: int, where: str) -> int:
    if k < 1:
        raise ArgumentError("k is how many places count", expected="1 or more", got=k, where=where)
    return k
