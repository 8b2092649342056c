"""What a report shows of forecasts: some of them beside what came, and how errors grow with the steps ahead."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from rondeau.data.series.beat import texts
from rondeau.tasks.forecasting.scores import Errors, by_step
from rondeau.tasks.forecasting.windows import Origins, Rows, Scheme

BANDS = {"low_80": 0.1, "high_80": 0.9, "low_50": 0.25, "high_50": 0.75}
_SHOWN = 4  # forecasts
_CHAIN = 60  # forecasts that follow each other, where the horizon is short
_SHORT = 4  # steps: a horizon below it is drawn as such a chain


def findings(scheme: Scheme, origins: Origins, paths: Any, found: Errors) -> dict[str, Any]:
    """Entry "forecast": `examples`, each with history, truth, median and bands; `steps` ahead; the target's name."""
    if scheme.horizon < _SHORT:
        examples = [_chain(scheme, origins, paths, int(series)) for series in _first_series(origins)]
    else:
        examples = [_one(scheme, origins, paths, int(row)) for row in _telling(origins, found)]
    target = scheme.columns.get("targets", ["value"])
    word = "value" if scheme.columns.get("wide") else target[0]
    told = {"steps": by_step(found), "horizon": scheme.horizon, "widening": scheme.widening}
    return {"forecast": {"target": word, "examples": examples, **told}}


def _first_series(origins: Origins) -> list[int]:
    return [int(one) for one in np.unique(origins.series)[:2]]


def _telling(origins: Origins, found: Errors) -> Rows:
    """The last origin of all, and those whose error is the middle one, large, and the largest; of series apart."""
    means = np.nanmean(np.where(np.isnan(found.absolute), np.nan, found.absolute), 1)
    units = np.where(found.units > 0, found.units, np.nan)
    scaled = np.nan_to_num(means / units, nan=-1.0)
    order = np.argsort(scaled, kind="stable")
    last = int(np.lexsort((origins.series, -origins.steps))[0])
    wanted = [last, *(int(order[int(share * (len(order) - 1))]) for share in (0.5, 0.9, 1.0))]
    return np.asarray(list(dict.fromkeys(wanted))[:_SHOWN])


def _one(scheme: Scheme, origins: Origins, paths: Any, row: int) -> dict[str, Any]:
    series, step = int(origins.series[row]), int(origins.steps[row])
    past = max(0, step - min(scheme.context, 4 * scheme.horizon))
    ordered = {name: np.quantile(paths[row], level, axis=0) for name, level in BANDS.items()}
    return _entry(origins, series, past, step, step + scheme.horizon, np.median(paths[row], 0), ordered)


def _chain(scheme: Scheme, origins: Origins, paths: Any, series: int) -> dict[str, Any]:
    """The first step of forecasts that follow each other in one series."""
    rows = np.flatnonzero(origins.series == series)
    rows = rows[np.argsort(origins.steps[rows], kind="stable")][-_CHAIN:]
    steps = origins.steps[rows]
    rows = rows[steps >= steps[-1] - len(steps) + 1]  # without gaps
    steps = origins.steps[rows]
    first = int(steps[0])
    ordered = {name: np.quantile(paths[rows, :, 0], level, axis=1) for name, level in BANDS.items()}
    past, end = max(0, first - scheme.context), int(steps[-1]) + 1
    made = _entry(origins, series, past, first, end, np.median(paths[rows, :, 0], 1), ordered)
    return {**made, "one_step": True}


def _entry(
    origins: Origins, series: int, past: int, first: int, end: int, median: Any, bands: dict[str, Any]
) -> dict[str, Any]:
    begin = int(origins.data.offsets[series])
    end = min(end, int(origins.data.offsets[series + 1]) - begin)
    count = end - first
    entry = {
        "series": origins.data.names[series],
        "stamps": texts(origins.data.stamps[begin + past : begin + end]),
        "history": numbers(origins.data.part(series, past, first)),
        "truth": numbers(origins.data.part(series, first, end)),
        "median": numbers(median[:count]),
    }
    return entry | {name: numbers(band[:count]) for name, band in bands.items()}


def records(scheme: Scheme, origins: Origins, paths: Any) -> list[dict[str, Any]]:
    """A record an origin: series, the stamp of its first step ahead, truth, median and the 80 % interval."""
    found = []
    levels = np.quantile(paths, (0.5, 0.1, 0.9), axis=1)
    for row in range(len(origins)):
        series, step = int(origins.series[row]), int(origins.steps[row])
        at = int(origins.data.offsets[series]) + step
        found.append(
            {
                "series": origins.data.names[series],
                "from": texts(origins.data.stamps[at : at + 1])[0],
                "truth": numbers(origins.data.part(series, step, step + scheme.horizon)),
                "median": numbers(levels[0, row]),
                "low_80": numbers(levels[1, row]),
                "high_80": numbers(levels[2, row]),
            }
        )
    return found


def ahead(scheme: Scheme, origins: Origins, paths: Any) -> Iterator[dict[str, Any]]:
    """A record for each series and step to come: its stamp, median, mean, and the 80 % and 95 % intervals."""
    levels = np.quantile(paths, (0.5, 0.1, 0.9, 0.025, 0.975), axis=1)
    for row in range(len(origins)):
        begin = int(origins.data.offsets[origins.series[row]] + origins.steps[row])
        for step in range(scheme.horizon):
            record: dict[str, Any] = {"series": origins.data.names[int(origins.series[row])], "step": step + 1}
            record["time"] = texts(origins.data.stamps[begin + step : begin + step + 1])[0]
            record["median"], record["mean"] = numbers([levels[0, row, step], paths[row, :, step].mean()])
            if paths.shape[1] > 1:
                names = ("low_80", "high_80", "low_95", "high_95")
                record |= dict(zip(names, numbers(levels[1:, row, step]), strict=True))
            yield record


def numbers(values: Any) -> list[float | None]:
    """Values for JSON, None where missing, rounded to seven figures."""
    return [None if value != value else float(f"{value:.7g}") for value in np.asarray(values, np.float64).tolist()]
