"""`SequenceRegressor`: a number, or several, for each sequence."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import RegressorMixin
from sklearn.utils.validation import check_array, check_consistent_length, column_or_1d

from rondeau.estimators.base import SequenceEstimator
from rondeau.training.losses import MeanSquaredError


class SequenceRegressor(RegressorMixin, SequenceEstimator):  # type: ignore[misc]  # scikit-learn has no type hints
    """Recurrent layers over a sequence, their mean and maximum over time, a number.

    Arguments and X as in `SequenceEstimator`; y: `(sequences,)`, or `(sequences, targets)` for several at once, scaled
    by its mean and deviation while it is learnt. `score` is R².

    >>> X = [[0.0, 1.0], [2.0, 1.0, 3.0], [0.0, 0.5], [3.0, 2.0]]
    >>> SequenceRegressor(units=4, epochs=10, random_state=0).fit(X, [1.0, 6.0, 0.5, 5.0]).predict(X).shape
    (4,)
    """

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    def fit(self, X: Any, y: Any) -> SequenceRegressor:
        """Learn from sequences X and a number, or a row of numbers, for each."""
        if y is None:
            raise ValueError(f"{type(self).__name__} requires y to be passed, but the target y is None")
        inputs = self._prepare(X)
        given = check_array(y, ensure_2d=False, dtype=np.float64, input_name="y")
        targets = given if given.ndim == 2 and given.shape[1] > 1 else column_or_1d(given, warn=True)
        check_consistent_length(inputs.sequences, targets)
        self.single_ = targets.ndim == 1
        targets = targets[:, None] if self.single_ else targets
        self.mean_, deviation = targets.mean(0), targets.std(0)
        self.deviation_ = np.where(deviation > 0, deviation, 1.0)
        y = ((targets - self.mean_) / self.deviation_).astype(np.float32)
        self._train(self._values(inputs), y, targets.shape[1], MeanSquaredError())
        return self

    def predict(self, X: Any) -> NDArray[np.float64]:
        """A number for each sequence, `(sequences,)` or `(sequences, targets)` as y was."""
        said = self._outputs(X) * self.deviation_ + self.mean_
        return np.asarray(said[:, 0] if self.single_ else said)
