"""Forecasts that know less: the last value, the last season, a linear function of the last values."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rondeau.tasks.forecasting.windows import Numbers, Origins, Scheme, Windows, cut

DRAWS = 199
_MOST = 20_000  # origins that a baseline learns from
_PENALTIES = (1e-3, 1e-2, 1e-1, 1.0, 10.0, 100.0)
Points = Callable[[Windows], Numbers]  # windows -> scaled forecasts (rows, horizon)


class Baseline(NamedTuple):
    """Name, numbers learnt, and forecasts: points, spread as the errors on the training part are."""

    name: str
    parameters: int | None
    points: Points
    spread: Numbers  # (draws, horizon), in units of a window's scale


def baselines(scheme: Scheme, train: Origins, validation: Origins) -> list[Baseline]:
    """Persistence, the seasonal naive forecast where there is a season, and ridge regression on lags."""
    learnt = cut(scheme, train.data, *_some(train))
    held = cut(scheme, validation.data, *_some(validation))
    ridge, numbers = _ridge(scheme, learnt, held)
    found: list[tuple[str, int | None, Points]] = [("persistence", None, lambda w: _repeat(scheme, w, 1))]
    if scheme.seasons:
        season = scheme.seasons[0]
        found.append((f"seasonal naive, {season} steps", None, lambda w: _repeat(scheme, w, season)))
    found.append((f"linear on {_reach(scheme)} lags (ridge)", numbers, ridge))
    return [Baseline(name, count, points, _spread(scheme, points, learnt)) for name, count, points in found]


def paths(baseline: Baseline, scheme: Scheme, origins: Origins, at_once: int = 4096) -> NDArray[np.float32]:
    """Its forecasts as `forecast` gives them, `(origins, draws, horizon)`."""
    made = np.empty((len(origins), len(baseline.spread), scheme.horizon), np.float32)
    for begin in range(0, len(origins), at_once):
        some = slice(begin, begin + at_once)
        windows = cut(scheme, origins.data, origins.series[some], origins.steps[some], blind=True)
        scaled = baseline.points(windows)[:, None] + baseline.spread
        made[some] = scaled * windows.scale[:, None, None] + windows.centre[:, None, None]
    return made


def _some(origins: Origins) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    rows = np.unique(np.linspace(0, len(origins) - 1, min(len(origins), _MOST)).round().astype(np.int64))
    return origins.series[rows], origins.steps[rows]


def _repeat(scheme: Scheme, windows: Windows, season: int) -> Numbers:
    """The last values of so many steps, over and over; the network's windows reach back to them."""
    past = windows.history[:, : scheme.before + scheme.context]
    ahead = np.arange(scheme.horizon) % season
    last: Numbers = past[:, past.shape[1] - season + ahead]
    return last


def _reach(scheme: Scheme) -> int:
    season = scheme.seasons[0] if scheme.seasons else 1
    return min(max(season + 1, 8), scheme.before + scheme.context)


def _features(scheme: Scheme, windows: Windows, step: int) -> Numbers:
    """The last values, what is known of the step ahead (calendar, covariates, a column for each category), and 1."""
    end = scheme.before + scheme.context
    lags = windows.history[:, end - _reach(scheme) : end]
    known = windows.x[:, scheme.context + step, len(scheme.lags) + 1 :]
    words = windows.ids[len(windows.ids) - len(scheme.words) :]
    pairs = zip(words, scheme.words.values(), strict=True)
    told = [np.eye(len(labels) + 1)[ids[:, scheme.context + step]] for ids, labels in pairs]
    return np.concatenate([lags, known, *told, np.ones((len(lags), 1))], 1).astype(np.float64)


def _ridge(scheme: Scheme, learnt: Windows, held: Windows) -> tuple[Points, int]:
    """A linear function for each step ahead, its penalty chosen on the validation part."""
    weights = []
    for step in range(scheme.horizon):
        x, y, sure = _pairs(scheme, learnt, step)
        held_x, held_y, held_sure = _pairs(scheme, held, step)
        square, product = x[sure].T @ x[sure], x[sure].T @ y[sure]
        best: tuple[float, Numbers] | None = None
        for penalty in _PENALTIES:
            solved = np.linalg.solve(square + penalty * np.eye(len(square)), product)
            error = float(np.mean((held_x[held_sure] @ solved - held_y[held_sure]) ** 2)) if held_sure.any() else 0.0
            if best is None or error < best[0]:
                best = error, solved
        weights.append(best[1] if best else np.zeros(x.shape[1]))

    def points(windows: Windows) -> Numbers:
        ahead = [_features(scheme, windows, step) @ weights[step] for step in range(scheme.horizon)]
        return np.stack(ahead, 1)

    return points, sum(len(one) for one in weights)


def _pairs(scheme: Scheme, windows: Windows, step: int) -> tuple[Numbers, Numbers, NDArray[np.bool_]]:
    values = (windows.values[:, scheme.context + step] - windows.centre) / windows.scale
    return _features(scheme, windows, step), values, ~np.isnan(values)


def _spread(scheme: Scheme, points: Points, learnt: Windows) -> Numbers:
    """Evenly spaced quantiles of the errors on the training part, a set for each step ahead."""
    values = (learnt.values[:, scheme.context :] - learnt.centre[:, None]) / learnt.scale[:, None]
    wrong = values - points(learnt)
    levels = (np.arange(DRAWS) + 0.5) / DRAWS
    quantiles: Numbers = np.nanquantile(wrong, levels, axis=0)
    return quantiles - np.nanmedian(wrong, 0)  # the middle stays the forecast that the name says
