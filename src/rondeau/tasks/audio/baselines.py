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
MOST_CELLS = 6e8  # of all tables of distances, about a minute; with more, templates are drawn
_AT_ONCE = 512  # templates


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
    """Of a recording `(frames, width)` to each template, `(templates,)`.

    The least sum of Euclidean distances between frames along a way from both beginnings to both ends, divided by the
    sum of both lengths (Sakoe & Chiba 1978, symmetric steps without weights).

    >>> line = np.array([[0.0], [1.0], [2.0]])
    >>> warping_distances(line, [line, line + 3, line[[0, 0, 1, 2]]]).round(3).tolist()
    [0.0, 1.167, 0.0]
    """
    lengths = np.array([len(one) for one in templates])
    width = query.shape[1]
    padded = np.zeros((len(templates), int(lengths.max()), width))
    for row, one in zip(padded, templates, strict=True):
        row[: len(one)] = one
    asked = query.astype(np.float64)
    squares = (asked**2).sum(1)[:, None, None] + (padded**2).sum(2).T[None]
    products = np.einsum("qw,tjw->qjt", asked, padded, optimize=True)
    cost = np.sqrt(np.maximum(squares - 2 * products, 0.0))  # (query frames, template frames, templates)
    ends = _sums(cost)
    return np.asarray(ends[lengths - 1, np.arange(len(templates))] / (len(query) + lengths))


def _sums(cost: Floats) -> Floats:
    """The least sums up to the query's last frame and each frame of the templates, `(template frames, templates)`.

    Cells of one diagonal know only those before them: they are taken together.
    """
    rows, columns, templates = cost.shape
    before = np.full((rows, templates), np.inf)  # of the last diagonal, by the query's frame
    older = before.copy()
    last = np.full((columns, templates), np.inf)
    for diagonal in range(rows + columns - 1):
        low, high = max(0, diagonal - columns + 1), min(rows, diagonal + 1)
        here = np.arange(low, high)
        best = before[low:high].copy()  # from the template's frame before
        if low:
            np.minimum(best, before[low - 1 : high - 1], out=best)
            np.minimum(best, older[low - 1 : high - 1], out=best)
        else:
            np.minimum(best[1:], before[: high - 1], out=best[1:])
            np.minimum(best[1:], older[: high - 1], out=best[1:])
        if diagonal == 0:
            best[:] = 0.0
        older = before
        before = np.full((rows, templates), np.inf)
        before[low:high] = best + cost[here, diagonal - here]
        if high == rows:
            last[diagonal - rows + 1] = before[rows - 1]
    return last


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
    templates, found = [train[i] for i in rows], []
    for one in progress(test, "nearest recordings by time warping", unit="recordings"):
        parts = [warping_distances(one, templates[i : i + _AT_ONCE]) for i in range(0, len(templates), _AT_ONCE)]
        found.append(labels[rows[int(np.concatenate(parts).argmin())]])
    return np.array(found, np.int64), len(templates)


def _drawn_evenly(labels: NDArray[np.int64], most: int, seed: int) -> NDArray[np.int64]:
    generator = np.random.default_rng(seed)
    classes = np.unique(labels)
    each = max(most // len(classes), 1)
    drawn = [generator.permutation(np.flatnonzero(labels == one))[:each] for one in classes]
    return np.sort(np.concatenate(drawn))
