"""`SequenceClassifier`: one class for each sequence."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import ClassifierMixin
from sklearn.utils import column_or_1d
from sklearn.utils.class_weight import compute_class_weight
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_consistent_length

from rondeau.errors import DataError
from rondeau.estimators.base import SequenceEstimator, softmax
from rondeau.training.losses import SparseCategoricalCrossentropy


class SequenceClassifier(ClassifierMixin, SequenceEstimator):  # type: ignore[misc]  # scikit-learn has no type hints
    """Recurrent layers over a sequence, their mean and maximum over time, a class.

    Args:
        class_weight: None (default), 'balanced', or by class how much a sequence of it counts.

    Others as `SequenceEstimator`. X may be a 3-D array, a list of sequences of any length, of numbers or of words, or a
    2-D array, whose rows are series of one feature; see `rondeau.estimators.inputs`. y: a label for each sequence.

    Attributes: `classes_`, sorted, and those of `SequenceEstimator`. Raises `DataError` for one class only.

    >>> X = [[0.0, 1.0, 2.0], [2.0, 1.0], [0.0, 0.5], [3.0, 2.0, 1.0]]
    >>> model = SequenceClassifier(units=4, epochs=30, random_state=0).fit(X, ["up", "down", "up", "down"])
    >>> model.predict_proba(X).shape, model.classes_.tolist()
    ((4, 2), ['down', 'up'])
    """

    def __init__(
        self,
        cell: str = "lstm",
        units: int = 64,
        layers: int = 1,
        bidirectional: bool = True,
        filters: int = 0,
        kernel: int = 9,
        embedding: int = 32,
        dropout: float = 0.3,
        epochs: int = 50,
        batch_size: int = 16,
        learning_rate: float = 3e-3,
        clipnorm: float = 1.0,
        validation_fraction: float = 0.0,
        patience: int | None = None,
        class_weight: Any = None,
        random_state: Any = None,
        device: str = "auto",
        verbose: int = 0,
    ) -> None:
        super().__init__(
            cell,
            units,
            layers,
            bidirectional,
            filters,
            kernel,
            embedding,
            dropout,
            epochs,
            batch_size,
            learning_rate,
            clipnorm,
            validation_fraction,
            patience,
            random_state,
            device,
            verbose,
        )
        self.class_weight = class_weight

    def fit(self, X: Any, y: Any) -> SequenceClassifier:
        """Learn from sequences X and a label for each."""
        if y is None:
            raise ValueError(f"{type(self).__name__} requires y to be passed, but the target y is None")
        inputs = self._prepare(X)
        y = column_or_1d(y, warn=True)
        check_consistent_length(inputs.sequences, y)
        check_classification_targets(y)
        self.classes_, numbers = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise DataError("there is only one class to learn", expected="two classes or more", got=self.classes_[0])
        weights = None
        if self.class_weight is not None:
            found = compute_class_weight(self.class_weight, classes=self.classes_, y=y)
            weights = dict(enumerate(found.tolist()))
        loss = SparseCategoricalCrossentropy(from_logits=True)
        x = self._values(inputs)
        self._train(x, numbers.astype(np.int64), len(self.classes_), loss, y.tolist(), weights)
        return self

    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """Of each sequence the probability of each of `classes_`, `(sequences, classes)`."""
        return softmax(self._outputs(X))

    def predict(self, X: Any) -> NDArray[Any]:
        """The most probable class of each sequence, `(sequences,)`."""
        chosen = self._outputs(X).argmax(1)
        labels: NDArray[Any] = self.classes_[chosen]
        return labels
