"""`SequenceTagger`: a class for each step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rondeau.errors import DataError
from rondeau.estimators.base import SequenceEstimator, softmax
from rondeau.training.losses import SparseCategoricalCrossentropy


class SequenceTagger(SequenceEstimator):
    """Recurrent layers over a sequence, a class at each of its steps.

    Arguments and X as in `SequenceEstimator`; y: for each sequence as many labels as it has steps. `predict` gives a
    list with an array of labels for each sequence, `predict_proba` one of `(steps, classes)`; `score` is the share of
    all steps that are right. With X and y as lists it works in `GridSearchCV`; to scikit-learn it is no classifier,
    since its y is no row of labels. A table as X takes a table as y.

    >>> X = [["the", "dog", "barks"], ["dogs", "bark"]]
    >>> model = SequenceTagger(units=4, epochs=10, random_state=0).fit(X, [["D", "N", "V"], ["N", "V"]])
    >>> [len(tags) for tags in model.predict(X)]
    [3, 2]
    """

    each_step = True

    def fit(self, X: Any, y: Any) -> SequenceTagger:
        """Learn from sequences X and the labels of their steps."""
        inputs = self._prepare(X)
        labels = _checked(y, [len(one) for one in inputs.sequences])
        self.classes_ = np.unique(np.concatenate(labels))
        if len(self.classes_) < 2:
            raise DataError("there is only one class to learn", expected="two classes or more", got=self.classes_[0])
        numbers = [np.searchsorted(self.classes_, row).astype(np.int64) for row in labels]
        self._train(self._values(inputs), numbers, len(self.classes_), SparseCategoricalCrossentropy(from_logits=True))
        return self

    def predict_proba(self, X: Any) -> list[NDArray[np.float64]]:
        """Of each sequence the probability of each of `classes_` at each step, `(steps, classes)`."""
        return [softmax(one) for one in self._outputs(X)]

    def predict(self, X: Any) -> list[NDArray[Any]]:
        """Of each sequence the most probable class at each step, `(steps,)`."""
        return [self.classes_[one.argmax(1)] for one in self._outputs(X)]

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """The share of all steps that are right; `sample_weight`: how much the steps of each sequence count."""
        said = self.predict(X)
        truth = _checked(y, [len(one) for one in said])
        right = np.array([float((a == b).sum()) for a, b in zip(said, truth, strict=True)])
        steps = np.array([len(one) for one in said], np.float64)
        weights = np.ones(len(said)) if sample_weight is None else np.asarray(sample_weight, np.float64)
        return float((weights * right).sum() / (weights * steps).sum())


def _checked(y: Any, lengths: Sequence[int]) -> list[NDArray[Any]]:
    """The labels of each sequence. Raises `DataError` where there are not as many as steps."""
    rows = [np.asarray(row) for row in y]
    if len(rows) != len(lengths):
        raise DataError("y has another number of sequences than X", expected=len(lengths), got=len(rows))
    for number, (row, length) in enumerate(zip(rows, lengths, strict=True)):
        if row.ndim != 1 or len(row) != length:
            where = f"sequence {number}"
            raise DataError("a sequence has not a label for each step", expected=length, got=row.shape, where=where)
    return rows
