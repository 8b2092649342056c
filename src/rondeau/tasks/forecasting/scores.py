"""How good forecasts are: of their middle, of their spread, and beside the seasonal naive error."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rondeau.tasks.forecasting.windows import Numbers, Origins, Rows

INTERVAL = (0.1, 0.9)  # its coverage should be 80 %


class Errors(NamedTuple):
    """Of each origin and step `(origins, horizon)`, NaN where the truth is missing.

    absolute: error of the median; square: its square; relative: the symmetric percentage error's terms; crps: the
    continuous ranked probability score (Gneiting and Raftery 2007), in the target's unit; covered: 1 where the truth
    lies between the tenth and the ninetieth percentile; units: `(origins,)`, what MASE divides by.
    """

    absolute: Numbers
    square: Numbers
    relative: Numbers
    crps: Numbers
    covered: Numbers
    units: Numbers


def truths(origins: Origins, horizon: int) -> Numbers:
    """The values that came, `(origins, horizon)`; NaN where missing or beyond the end."""
    at = origins.data.offsets[origins.series][:, None] + origins.steps[:, None] + np.arange(horizon)
    ends = origins.data.offsets[origins.series + 1][:, None]
    values: Numbers = np.where(at < ends, origins.data.values[np.minimum(at, ends - 1)], np.nan)
    return values


def errors(paths: NDArray[Any], truth: Numbers, units: Numbers) -> Errors:
    """Of sample paths `(origins, draws, horizon)` and what came `(origins, horizon)`."""
    ordered = np.sort(paths.astype(np.float64), 1)
    draws = ordered.shape[1]
    median = np.median(ordered, 1)
    difference = np.abs(median - truth)
    size = np.abs(median) + np.abs(truth)
    relative = np.where(size > 0, 2 * difference / np.where(size > 0, size, 1), 0.0)
    distance = np.abs(ordered - truth[:, None]).mean(1)
    weights = 2 * np.arange(draws) - draws + 1
    spread = (ordered * weights[None, :, None]).sum(1) / max(draws * (draws - 1), 1)  # half of E|X - X'|, unbiased
    low, high = np.quantile(ordered, INTERVAL, axis=1)
    covered = ((low <= truth) & (truth <= high)).astype(np.float64)
    missing = np.isnan(truth)
    covered[missing] = np.nan
    relative[missing] = np.nan
    return Errors(difference, difference**2, relative, distance - spread, covered, units)


def statistic(found: Errors, spread: bool = True) -> Callable[[Rows], dict[str, float]]:
    """The figures of some origins; `spread`: whether the forecasts have any, without which none is told of it."""

    scaled = found.absolute / np.where(found.units > 0, found.units, np.nan)[:, None]
    sums = {"mase": scaled, "smape": found.relative, "square": found.square, "crps": found.crps}
    if spread:
        sums["coverage_80"] = found.covered
    totals = {name: (np.nansum(one, 1), (~np.isnan(one)).sum(1)) for name, one in sums.items()}

    def of(rows: Rows) -> dict[str, float]:
        means = {}
        for name, (total, count) in totals.items():
            held = count[rows].sum()
            means[name] = float(total[rows].sum() / held) if held else float("nan")
        means["rmse"] = float(np.sqrt(means.pop("square")))
        return means

    return of


def by_step(found: Errors) -> list[dict[str, float]]:
    """Mean absolute error and coverage of each step ahead."""
    return [
        {
            "step": i + 1,
            "error": float(np.nanmean(found.absolute[:, i])),
            "covered": float(np.nanmean(found.covered[:, i])),
        }
        for i in range(found.absolute.shape[1])
        if not np.isnan(found.absolute[:, i]).all()
    ]


def groups(origins: Origins, horizon: int) -> list[Any]:
    """What is drawn together for intervals: series where there are ten or more, else blocks of overlapping forecasts.

    Of one series, forecasts that overlap have errors in common: a block is as long as the horizon.
    """
    if len(np.unique(origins.series)) >= 10:
        return [int(one) for one in origins.series]
    block = max(horizon, 1)
    return [(int(series), int(step) // block) for series, step in zip(origins.series, origins.steps, strict=True)]
