"""How far forecasts are spread: intervals widened until they hold what they should of steps never learnt from.

A network that knows a short series by heart is surer than it should be, the surer the later its best epoch. A few steps
of validation, on which that epoch was chosen as well, hardly show it. There a second network is trained, as the first
was, on the first half of the training part, and judged on what follows to the end of the validation part: so it is as
far from what it has learnt as forecasts of the test part, or of the future, will be.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rondeau.tasks.forecasting.windows import Origins

SHARE = 0.8  # of the truth that the interval is to hold
FEW = 100  # origins of validation, below which they say too little
_LEAST = 16  # origins to learn from
_MOST = 10.0  # times as wide


def widening(paths: NDArray[Any], truth: NDArray[Any]) -> float:
    """By what the distance of sample paths from their median is to be multiplied, 1 or more.

    So that the 80 % interval holds as much of what came on a part that was not learnt from: split conformal prediction
    (Lei et al. 2018, arXiv 1604.04173, with the spread-scaled residuals of its section 5.2; of quantiles on either side
    of the median as in Romano, Patterson and Candès 2019, arXiv 1905.03222). The promise of that theory, of steps that
    could be exchanged for those to come, is kept nearly at best: what comes later is further from what was learnt, and
    the best epoch was chosen on the same part. Intervals are never made narrower, since too few steps may say so.

    Args:
        paths: `(origins, draws, horizon)`; truth: what came, `(origins, horizon)`, NaN where missing.

    >>> draws = np.random.default_rng(0).standard_normal((10_000, 200, 1))
    >>> 1.9 < widening(draws, 2 * np.random.default_rng(1).standard_normal((10_000, 1))) < 2.1
    True
    """
    known = ~np.isnan(truth)
    count = int(known.sum())
    if not count or paths.shape[1] < 2:
        return 1.0
    low, middle, high = np.quantile(paths.astype(np.float64), ((1 - SHARE) / 2, 0.5, (1 + SHARE) / 2), axis=1)
    half = np.where(truth >= middle, high - middle, middle - low)[known]
    far = np.abs(truth - middle)[known]
    distance = np.sort(far / np.maximum(half, 1e-12 * (1 + far)))
    rank = min(math.ceil((count + 1) * SHARE), count)  # one more step, the one to come, is counted in
    return float(min(max(distance[rank - 1], 1.0), _MOST))


def earlier(train: Origins, validation: Origins, horizon: int) -> tuple[Origins, Origins, Origins] | None:
    """Origins to learn from, to choose the epoch on, and to judge on: earlier than the run's own, no two parts overlap.

    The first is the first half of the training part, the second as long as the run's own, the third all that follows,
    the validation part included. None where that leaves too little.
    """
    data = train.data
    begins = data.stamps[data.offsets[train.series] + train.steps].astype(np.int64)
    ends = data.stamps[data.offsets[train.series] + train.steps + horizon - 1].astype(np.int64)
    ordered = np.sort(begins)
    count = len(ordered)
    first = ordered[count // 2]
    second = ordered[min(count // 2 + max(len(validation), horizon), count - 1)]
    learnt, chosen, judged = ends < first, (begins >= first) & (ends < second), begins >= second
    if learnt.sum() < _LEAST or not chosen.any() or not judged.any():
        return None
    series, steps = (
        np.concatenate(pair)
        for pair in ((train.series[judged], validation.series), (train.steps[judged], validation.steps))
    )
    return train[learnt], train[chosen], Origins(data, series, steps, train.units)


def widened(paths: NDArray[np.float32], factor: float) -> NDArray[np.float32]:
    """Sample paths `(origins, draws, horizon)` spread so much more about the median of each step."""
    if factor == 1:
        return paths
    middle = np.median(paths, axis=1, keepdims=True)
    spread: NDArray[np.float32] = (middle + np.float32(factor) * (paths - middle)).astype(np.float32)
    return spread
