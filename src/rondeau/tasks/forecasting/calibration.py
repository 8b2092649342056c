"""How far forecasts are spread: intervals widened until they hold what they should of steps never learnt from."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

SHARE = 0.8  # of the truth that the interval is to hold
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

    >>> draws = np.random.default_rng(0).standard_normal((400, 500, 1))
    >>> 1.9 < widening(draws, 2 * np.random.default_rng(1).standard_normal((400, 1))) < 2.2
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


def widened(paths: NDArray[np.float32], factor: float) -> NDArray[np.float32]:
    """Sample paths `(origins, draws, horizon)` spread so much more about the median of each step."""
    if factor == 1:
        return paths
    middle = np.median(paths, axis=1, keepdims=True)
    spread: NDArray[np.float32] = (middle + np.float32(factor) * (paths - middle)).astype(np.float32)
    return spread
