"""What can be said of a recording without a network: its features' mean, and the nearest recording by time warping."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rondeau.data.audio.batches import Frames
from rondeau.data.audio.features import Features
from rondeau.data.audio.index import Recording
from rondeau.data.progress import progress
from rondeau.errors import MissingExtraError

Floats = NDArray[np.float64]
MOST_CELLS = 4e9  # of all tables of distances, about a minute; with more, templates are drawn
_AT_ONCE = 128  # templates, whose distances stay in the processor's cache


def moments(frames: NDArray[Any]) -> Floats:
    """The mean and the deviation of each number over the frames, and the logarithm of how many there are."""
    given = frames.astype(np.float64)
    return np.concatenate([given.mean(0), given.std(0), [np.log(len(given))]])


def logistic_regression(x: Floats, y: NDArray[Any], seed: int) -> Any:
    """Fitted on scaled columns. Raises `MissingExtraError` without scikit-learn."""
    try:
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler
    except ImportError as error:
        fix = "Install it: pip install 'rondeau[audio]'"
        raise MissingExtraError("the baseline needs scikit-learn", fix=fix) from error
    return make_pipeline(StandardScaler(), LogisticRegression(max_iter=3000, random_state=seed)).fit(x, y)


def warping_distances(query: NDArray[Any], templates: Sequence[NDArray[Any]]) -> Floats:
    """Of a recording `(frames, width)` to each template, `(templates,)`; see `Templates.distances`.

    >>> line = np.array([[0.0], [1.0], [2.0]])
    >>> warping_distances(line, [line, line + 3, line[[0, 0, 1, 2]]]).round(3).tolist()
    [0.0, 1.5, 0.0]
    """
    return Templates(templates).distances(query)


class Templates:
    """Recordings `(frames, width)` that others are compared with, padded to one length."""

    def __init__(self, templates: Sequence[NDArray[Any]]) -> None:
        self.lengths = np.array([len(one) for one in templates])
        self.padded = np.zeros((len(templates), int(self.lengths.max()), templates[0].shape[1]))
        for row, one in zip(self.padded, templates, strict=True):
            row[: len(one)] = one
        self.squares = (self.padded**2).sum(2)

    def distances(self, query: NDArray[Any]) -> Floats:
        """The least sum of Euclidean distances between frames along a way from both beginnings to both ends, divided by
        the sum of both lengths (Sakoe & Chiba 1978, symmetric steps without weights), `(templates,)`.

        Along a row D[j] = c[j] + min(D[j - 1], m[j]), where m is the least of what the row before offers; with the sums
        C of c that is C[j] + min over k <= j of m[k] - C[k - 1], so that a row is taken as a whole.
        """
        asked = query.astype(np.float64)
        products = np.tensordot(asked, self.padded, (1, 2))  # (query frames, templates, template frames)
        cost = np.sqrt(np.maximum((asked**2).sum(1)[:, None, None] + self.squares - 2 * products, 0.0))
        sums: Floats = cost[0].cumsum(1)
        for row in cost[1:]:
            offered = sums.copy()
            np.minimum(offered[:, 1:], sums[:, :-1], out=offered[:, 1:])
            along = row.cumsum(1)
            sums = along + np.minimum.accumulate(offered - (along - row), axis=1)
        return np.asarray(sums[np.arange(len(sums)), self.lengths - 1] / (len(query) + self.lengths))


def nearest_recordings(
    train: Sequence[Recording], labels: NDArray[np.int64], test: Sequence[Recording], features: Features, seed: int
) -> tuple[NDArray[np.int64], int]:
    """`nearest_by_warping` of thirteen cepstral coefficients, a frame every fiftieth of a second, less their mean."""
    coarse = Features("mfcc", features.rate, bands=features.bands, window=0.03, hop=0.02)
    parts = [[one - one.mean(0) for one in Frames(part, coarse)] for part in (train, test)]
    return nearest_by_warping(parts[0], labels, parts[1], seed)


def nearest_by_warping(
    train: Sequence[NDArray[Any]], labels: NDArray[np.int64], test: Sequence[NDArray[Any]], seed: int
) -> tuple[NDArray[np.int64], int]:
    """Of each recording in `test` the class of the nearest in `train`, and how many of these were asked.

    Where there are too many for some minutes, templates are drawn by `seed`, evenly over the classes.
    """
    frames = float(np.mean([len(one) for one in train]))
    asked = sum(len(one) for one in test)
    most = max(int(MOST_CELLS / (asked * frames)), len(np.unique(labels)))
    rows = np.arange(len(train)) if len(train) <= most else _drawn_evenly(labels, most, seed)
    rows = rows[np.argsort([len(train[i]) for i in rows], kind="stable")]  # templates of like length together
    chosen = [train[i] for i in rows]
    templates = [Templates(chosen[i : i + _AT_ONCE]) for i in range(0, len(chosen), _AT_ONCE)]
    found = []
    for one in progress(test, "nearest recordings by time warping", unit="recordings"):
        distances = np.concatenate([part.distances(one) for part in templates])
        found.append(labels[rows[int(distances.argmin())]])
    return np.array(found, np.int64), len(chosen)


def _drawn_evenly(labels: NDArray[np.int64], most: int, seed: int) -> NDArray[np.int64]:
    generator = np.random.default_rng(seed)
    classes = np.unique(labels)
    each = max(most // len(classes), 1)
    drawn = [generator.permutation(np.flatnonzero(labels == one))[:each] for one in classes]
    return np.sort(np.concatenate(drawn))
