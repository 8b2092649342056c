"""Estimators for scikit-learn over the same layers: fit, predict, score, parameters, pipelines, grid search.

Importing this imports scikit-learn, which is why `rondeau` itself does not. Raises `MissingExtraError` without it.
"""

from __future__ import annotations

from rondeau.errors import MissingExtraError

try:
    import sklearn  # noqa: F401
except ImportError as error:
    raise MissingExtraError(
        "rondeau.estimators needs scikit-learn", fix="Install it: pip install 'rondeau[table]'"
    ) from error

from rondeau.estimators.classifier import SequenceClassifier
from rondeau.estimators.forecaster import Forecaster
from rondeau.estimators.regressor import SequenceRegressor
from rondeau.estimators.tagger import SequenceTagger

__all__ = ["Forecaster", "SequenceClassifier", "SequenceRegressor", "SequenceTagger"]
