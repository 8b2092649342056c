"""What can be said of a series without reading it in order: summary statistics, and its nearest neighbour."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rondeau.errors import MissingExtraError

Floats = NDArray[np.float64]
MOST_PAIRS = 5e10  # numbers to compare for all neighbours, above which there are too many


def summary(values: NDArray[Any]) -> Floats:
    """Of each channel of `(steps, channels)` its mean, deviation, extremes, quartiles, ends, trend and roughness; its
    missing share; and the number of steps. Missing values are left out; of a channel without any all are 0."""
    steps = np.arange(len(values))
    found: list[float] = [float(len(values))]
    for channel in values.T.astype(np.float64):
        known = ~np.isnan(channel)
        seen = channel[known] if known.any() else np.zeros(1)
        when = steps[known] if known.any() else np.zeros(1)
        spread = when - when.mean()
        slope = float((spread * seen).sum() / (spread**2).sum()) if len(seen) > 1 else 0.0
        rough = float(np.abs(np.diff(seen)).mean()) if len(seen) > 1 else 0.0
        found += [seen.mean(), seen.std(), seen.min(), seen.max(), *np.percentile(seen, [25, 50, 75])]
        found += [seen[0], seen[-1], slope, rough, 1 - float(known.mean())]
    return np.asarray(found)


def stretched(values: NDArray[Any], steps: int) -> Floats:
    """`(steps, channels)` joined by straight lines, also over missing values, and read at `steps` even places."""
    out = np.zeros((steps, values.shape[1]))
    places = np.linspace(0, max(len(values) - 1, 0), steps)
    for i, channel in enumerate(values.T.astype(np.float64)):
        known = np.flatnonzero(~np.isnan(channel))
        if len(known):
            out[:, i] = np.interp(places, known, channel[known])
    return out


def nearest(train: Sequence[NDArray[Any]], test: Sequence[NDArray[Any]]) -> NDArray[np.int64] | None:
    """Of each series in `test` the number of the nearest in `train`, by the sum of squared differences.

    Series of unlike length are stretched to the middle length of the training part. None where that takes too long.
    """
    lengths = [len(one) for one in train]
    steps = int(np.median(lengths))
    if float(len(train)) * len(test) * steps * train[0].shape[1] > MOST_PAIRS:
        return None
    known = np.stack([stretched(one, steps).ravel() for one in train])
    squares = (known**2).sum(1)
    found = []
    for begin in range(0, len(test), 256):
        asked = np.stack([stretched(one, steps).ravel() for one in test[begin : begin + 256]])
        found.append((squares - 2 * asked @ known.T).argmin(1))
    return np.concatenate(found)


def logistic_regression(x: Floats, y: NDArray[Any], seed: int) -> Any:
    """A fitted logistic regression on scaled features. Raises `MissingExtraError` without scikit-learn."""
    _check_library()
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(StandardScaler(), LogisticRegression(max_iter=3000, random_state=seed)).fit(x, y)


def gradient_boosting(x: Floats, y: NDArray[Any], seed: int) -> Any:
    """Fitted gradient boosting of trees; small leaves where there are few rows. Raises as `logistic_regression`."""
    _check_library()
    from sklearn.ensemble import HistGradientBoostingClassifier

    leaf = max(2, min(20, len(x) // 20))
    return HistGradientBoostingClassifier(random_state=seed, min_samples_leaf=leaf, early_stopping=False).fit(x, y)


def ridge_regression(x: Floats, y: Floats, seed: int) -> Any:
    """A fitted ridge regression on scaled features, its penalty chosen by cross-validation. Raises as above."""
    _check_library()
    from sklearn.linear_model import RidgeCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(StandardScaler(), RidgeCV(np.logspace(-3, 4, 15))).fit(x, y)


def gradient_boosting_regression(x: Floats, y: Floats, seed: int) -> Any:
    """`gradient_boosting` of a number."""
    _check_library()
    from sklearn.ensemble import HistGradientBoostingRegressor

    leaf = max(2, min(20, len(x) // 20))
    return HistGradientBoostingRegressor(random_state=seed, min_samples_leaf=leaf, early_stopping=False).fit(x, y)


def _check_library() -> None:
    try:
        import sklearn  # noqa: F401
    except ImportError as error:
        fix = "Install it: pip install 'rondeau[table]'"
        raise MissingExtraError("the baselines need scikit-learn", fix=fix) from error
