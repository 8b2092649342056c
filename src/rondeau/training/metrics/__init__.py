"""Metrics with Keras's names, arguments, defaults and numbers.

Those that are a mean of values keep float64 sums of their own; torchmetrics counts for `Precision`, `Recall`, `F1Score`
and `AUC`, and a metric of torchmetrics or a plain function can be used like them. `get` finds one by name.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from rondeau.config import deserialize
from rondeau.errors import ArgumentError
from rondeau.training import losses
from rondeau.training.lookup import snake_case, unknown
from rondeau.training.metrics.accuracy import (
    Accuracy,
    AccuracyByShape,
    BinaryAccuracy,
    CategoricalAccuracy,
    SparseCategoricalAccuracy,
    SparseTopKCategoricalAccuracy,
    TopKCategoricalAccuracy,
    binary_accuracy,
    categorical_accuracy,
    sparse_categorical_accuracy,
    sparse_top_k_categorical_accuracy,
    top_k_categorical_accuracy,
)
from rondeau.training.metrics.area import AUC
from rondeau.training.metrics.base import Accumulator, FunctionMetric, LossMetric, Mean, MeanMetric, Metric
from rondeau.training.metrics.chain import CRFAccuracy, crf_accuracy
from rondeau.training.metrics.counts import F1Score, Precision, Recall
from rondeau.training.metrics.regression import (
    MeanAbsoluteError,
    MeanSquaredError,
    Perplexity,
    R2Score,
    RootMeanSquaredError,
)
from rondeau.training.metrics.wrapped import TorchMetric

__all__ = [
    "AUC",
    "NAMES",
    "OBJECTS",
    "Accuracy",
    "AccuracyByShape",
    "BinaryAccuracy",
    "CRFAccuracy",
    "CategoricalAccuracy",
    "F1Score",
    "FunctionMetric",
    "LossMetric",
    "Mean",
    "MeanAbsoluteError",
    "MeanMetric",
    "MeanSquaredError",
    "Metric",
    "Perplexity",
    "Precision",
    "R2Score",
    "Recall",
    "RootMeanSquaredError",
    "SparseCategoricalAccuracy",
    "SparseTopKCategoricalAccuracy",
    "TopKCategoricalAccuracy",
    "TorchMetric",
    "binary_accuracy",
    "categorical_accuracy",
    "crf_accuracy",
    "get",
    "sparse_categorical_accuracy",
    "sparse_top_k_categorical_accuracy",
    "top_k_categorical_accuracy",
]

_CLASSES: tuple[type[Metric], ...] = (
    AUC,
    BinaryAccuracy,
    CRFAccuracy,
    CategoricalAccuracy,
    F1Score,
    MeanAbsoluteError,
    MeanSquaredError,
    Perplexity,
    Precision,
    R2Score,
    Recall,
    RootMeanSquaredError,
    SparseCategoricalAccuracy,
    SparseTopKCategoricalAccuracy,
    TopKCategoricalAccuracy,
)
_BY_NAME: dict[str, type[Metric]] = {
    **{kind.__name__: kind for kind in _CLASSES},
    **{snake_case(kind.__name__): kind for kind in _CLASSES},
    **dict.fromkeys(("mse", "MSE"), MeanSquaredError),
    **dict.fromkeys(("mae", "MAE"), MeanAbsoluteError),
    "rmse": RootMeanSquaredError,
    "accuracy": AccuracyByShape,
    "acc": AccuracyByShape,
}

NAMES: frozenset[str] = frozenset({*_BY_NAME, *losses.NAMES})
"""Every name that `get` knows: those of the metrics, and of the losses, whose mean is a metric too."""

_UNNAMED: tuple[type[Accumulator], ...] = (Accuracy, AccuracyByShape, FunctionMetric, LossMetric, Mean)
OBJECTS: dict[str, Any] = losses.OBJECTS | {kind.__name__: kind for kind in (*_CLASSES, *_UNNAMED)}
"""What a saved metric may be made of, by name: for `rondeau.config.deserialize`."""


def get(identifier: Any) -> Metric:
    """The metric that `identifier` means.

    Args:
        identifier: a name (`"acc"`, `"auc"`, `"sparse_categorical_accuracy"`, or that of a loss), which also becomes
            the metric's own, as in Keras; a `Metric` or a class of them; a `torchmetrics.Metric`; a loss or a function
            `(y_true, y_pred) -> values`, whose mean it is; what `rondeau.config.serialize` made of a metric.
            `"accuracy"` and `"acc"` settle on the binary, categorical or sparse one by the shapes they first see.

    Raises `ArgumentError` for anything else, with the nearest name there is.

    >>> get("acc").name
    'acc'
    """
    if isinstance(identifier, str):
        return _by_name(identifier)
    if isinstance(identifier, Mapping):
        identifier = deserialize(dict(identifier), OBJECTS, where="metric")
    if isinstance(identifier, type) and issubclass(identifier, Metric):
        identifier = identifier()
    if isinstance(identifier, Metric):
        return identifier
    if _is_torch_metric(identifier):
        return TorchMetric(identifier)
    if isinstance(identifier, losses.Loss):
        return LossMetric(identifier)
    if isinstance(identifier, type) or not callable(identifier):
        expected = "a name, a Metric, a torchmetrics.Metric or a function (y_true, y_pred)"
        raise ArgumentError("this is no metric", expected=expected, got=repr(identifier))
    losses.refuse_torch(identifier, "metric")
    return FunctionMetric(identifier)


def _by_name(name: str) -> Metric:
    kind = _BY_NAME.get("accuracy" if name.lower() in ("accuracy", "acc") else name)
    if kind is not None:
        return kind(name=name)
    if name in losses.NAMES:
        return LossMetric(losses.get(name), name=name)
    raise unknown("metric", name, NAMES)


def _is_torch_metric(value: object) -> bool:
    """Whether it derives from torchmetrics' base class; who has such a metric has imported torchmetrics already."""
    return "torchmetrics" in sys.modules and isinstance(value, sys.modules["torchmetrics"].Metric)
