"""What to forecast, from a table: its series, their season, and origins in the past, around it, and held out."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from rondeau.data.faults import Faults
from rondeau.data.series.series import SeriesSet, taken
from rondeau.data.series.shape import Shape
from rondeau.errors import ArgumentError, DataError
from rondeau.tasks.forecasting.windows import Numbers, Origins, Rows

JUDGED = 2000  # origins of the validation or test part at most
_SEASONAL = 0.2  # autocorrelation from which on a season is believed
_LOOKED_AT = 100  # series


class Division(NamedTuple):
    """Origins of each part, and the longest training part of a series in steps."""

    train: Origins
    validation: Origins
    test: Origins
    longest: int
    notes: list[str]


def seasons_of(data: SeriesSet, ends: Rows) -> tuple[tuple[int, ...], list[str]]:
    """The seasons that steps up to `ends` `(series,)` show, the surest first, and why: at most two.

    Those that the calendar offers (a day, a week, a year) are believed where the differenced series agrees with itself
    so much earlier; without a calendar the lag is looked for at which it agrees most.
    """
    lengths = [int(end) for end in ends]
    order = sorted(range(len(lengths)), key=lambda i: -lengths[i])[:_LOOKED_AT]
    parts = [np.diff(data.part(i, 0, lengths[i])) for i in order]
    longest = max((len(part) for part in parts), default=0)
    offered = [m for m in data.step.seasons() if 2 * m <= longest]
    free = not data.step.seasons()
    agreed = {lag: _autocorrelation(parts, lag) for lag in (range(2, min(longest // 3, 400) + 1) if free else offered)}
    if not free and data.step.unit == "time" and not offered:
        return (), ["no season: the series are shorter than two"]
    # the more steps there are, the less agrees by chance
    sure = max(_SEASONAL / 2, min(_SEASONAL, 3 / max(sum(map(len, parts)), 1) ** 0.5))
    if free:  # and the more lags are tried, the more does
        sure = 1.5 * _SEASONAL
    good = {lag: value for lag, value in agreed.items() if value > sure}
    if free and good:
        best = max(good, key=lambda lag: good[lag])
        # of a season its multiples agree as well: the shortest that agrees nearly as much
        best = next(lag for lag in sorted(good) if good[lag] > 0.9 * good[best] or lag == best)
        good = {best: good[best]}
    chosen = sorted(good, key=lambda lag: -good[lag])[:2]
    notes = [
        f"a season of {lag} steps: changes agree with those {lag} steps before ({good[lag]:.2f})" for lag in chosen
    ]
    return tuple(chosen), notes or ["no season was found"]


def _autocorrelation(parts: Sequence[Numbers], lag: int) -> float:
    """Of series, `lag` steps apart: the mean, each having its own level and scale; missing values are left out."""
    found = []
    for part in parts:
        if len(part) < 1.5 * lag or len(part) - lag < 4:
            continue
        a, b = part[lag:], part[:-lag]
        there = ~(np.isnan(a) | np.isnan(b))
        if there.sum() < 4:
            continue
        a, b = a[there] - a[there].mean(), b[there] - b[there].mean()
        size = np.sqrt((a * a).sum() * (b * b).sum())
        if size > 0:
            found.append(float((a * b).sum() / size))
    return float(np.mean(found)) if found else 0.0


def long_enough(data: SeriesSet, horizon: int, faults: Faults) -> SeriesSet:
    """The series from which something can be learnt; a horizon beyond the longest is an error, and so is none left.

    Raises `DataError`, through `faults` for a series that alone is too short.
    """
    if horizon < 1:
        raise ArgumentError("horizon", expected="1 or more", got=horizon)
    lengths = data.lengths
    if horizon >= int(lengths.max()):
        what = "the horizon is longer than the series" if len(data) == 1 else "the horizon is longer than every series"
        fix = "Forecast fewer steps, or give longer series"
        raise DataError(what, expected=f"below {int(lengths.max())} steps", got=horizon, fix=fix)
    least = horizon + 4
    short = np.flatnonzero(lengths < least)
    for i in short:
        what = "a series is too short to learn a forecast from"
        expected = f"at least {least} steps, 4 to read and {horizon} to forecast"
        faults.add(what, where=f"series {data.names[i]!r}", expected=expected, got=int(lengths[i]))
    if len(short) == len(data):
        raise DataError("all series are too short", expected=f"at least {least} steps", got=int(lengths.max()))
    return taken(data, np.flatnonzero(lengths >= least)) if len(short) else data


def ends_of(data: SeriesSet, horizon: int, validation: float, test: float) -> tuple[Rows, Rows, list[str]]:
    """Where each series' training part and validation part end, in steps: at the same two moments in all series.

    A share that is shorter than the horizon is made as long, but for a test part of 0, which is none.

    Raises `DataError` where too little would be left.
    """
    if min(validation, test) < 0 or validation + test >= 1:
        got = f"{validation} and {test}"
        raise ArgumentError("the held-out shares leave nothing to train on", expected="below 1 together", got=got)
    lengths = data.lengths
    real = np.arange(len(data.values)) - np.repeat(data.offsets[:-1], np.diff(data.offsets))
    moments = np.sort(data.stamps[real < np.repeat(lengths, np.diff(data.offsets))])
    distinct = np.unique(moments)
    notes = []
    wanted = [round(len(moments) * (1 - validation - test)), round(len(moments) * (1 - test))]
    places = [int(np.searchsorted(distinct, moments[min(place, len(moments) - 1)])) for place in wanted]
    if not test:
        places[1] = len(distinct)
    elif places[1] > (latest := len(distinct) - horizon):
        places[1] = latest
        notes.append(f"the test part is made as long as the horizon, {horizon} steps")
    if places[0] > places[1] - horizon:
        places[0] = places[1] - horizon
        notes.append(f"the validation part is made as long as the horizon, {horizon} steps")
    if places[0] < horizon + 4:
        what = "the series are too short to hold out a validation and a test part"
        least = (3 if test else 2) * horizon + 4
        expected = f"at least {least} moments: {horizon} each to hold out and to learn, and 4 to read"
        raise DataError(what, expected=expected, got=len(distinct), fix="Forecast fewer steps, or give longer series")
    at = [distinct[place] if place < len(distinct) else None for place in places]
    found = np.empty((2, len(data)), np.int64)
    for i in range(len(data)):
        begin = int(data.offsets[i])
        own = data.stamps[begin : begin + int(lengths[i])]
        for k, moment in enumerate(at):
            found[k, i] = len(own) if moment is None else np.searchsorted(own, moment)
    return found[0], found[1], notes


def divide(
    data: SeriesSet, horizon: int, season: int, ends: tuple[Rows, Rows], every: int = 1, least: int = 4
) -> Division:
    """Origins whose steps ahead lie wholly within their part, `every` so many steps; of many a part evenly chosen."""
    train_end, validation_end = ends
    zero = np.full(len(data), least)
    units = naive_errors(data, train_end, season)
    parts, notes = [], []
    for name, begin, end, stride in (
        ("training", zero, train_end, 1),
        ("validation", np.maximum(train_end, least), validation_end, every),
        ("test", np.maximum(validation_end, least), data.lengths, every),
    ):
        series, steps = _places(begin, end - horizon + 1, stride)
        wanted = name != "test" or bool((validation_end < data.lengths).any())
        if not len(series) and wanted:
            what = f"no series is long enough for a forecast within the {name} part"
            raise DataError(what, expected=f"{horizon} steps after {least}", fix="Forecast fewer steps")
        if name != "training" and len(series) > JUDGED:
            notes.append(f"of {len(series):,} origins of the {name} part {JUDGED:,} are used, evenly chosen")
            chosen = np.linspace(0, len(series) - 1, JUDGED).round().astype(np.int64)
            series, steps = series[chosen], steps[chosen]
        parts.append(Origins(data, series, steps, units))
    return Division(parts[0], parts[1], parts[2], int(train_end.max()), notes)


def _places(begin: Rows, end: Rows, every: int) -> tuple[Rows, Rows]:
    """Every so many steps from `begin` to before `end` of each series, counted from the end: the last is among them."""
    counts = np.maximum(-(-(end - begin) // every), 0)
    series = np.repeat(np.arange(len(begin)), counts)
    nth = np.arange(counts.sum()) - np.repeat(np.concatenate([[0], counts.cumsum()[:-1]]), counts)
    return series, (end - 1)[series] - (counts[series] - 1 - nth) * every


def all_origins(data: SeriesSet, horizon: int, season: int, least: int, every: int = 1) -> Origins:
    """Every place in series that all are to be judged on. Raises `DataError` where there is none."""
    lengths = data.lengths
    series, steps = _places(np.full(len(data), least), lengths - horizon + 1, every)
    if not len(series):
        expected = f"at least {least + horizon} steps, {least} to read and {horizon} to forecast"
        raise DataError("every series is too short to be forecast", expected=expected, got=int(lengths.max()))
    if len(series) > JUDGED:
        chosen = np.linspace(0, len(series) - 1, JUDGED).round().astype(np.int64)
        series, steps = series[chosen], steps[chosen]
    return Origins(data, series, steps, naive_errors(data, lengths, season))


def naive_errors(data: SeriesSet, ends: Rows, season: int) -> Numbers:
    """Of each series the mean error of the seasonal naive forecast up to `ends` (Hyndman and Koehler 2006); else NaN.

    Of a series shorter than two seasons that of persistence.
    """
    found = np.full(len(data), np.nan)
    for i in range(len(data)):
        own = data.part(i, 0, int(ends[i]) if ends[i] > 1 else int(data.lengths[i]))
        lag = season if len(own) > 2 * season else 1
        steps = np.abs(own[lag:] - own[:-lag])
        if (~np.isnan(steps)).any():
            mean = np.nanmean(steps)
            found[i] = mean if mean > 1e-9 * np.nanmean(np.abs(own)) else np.nan  # it repeats itself but for rounding
    return found


def digest(data: SeriesSet) -> str:
    """Tells these series from others."""
    made = hashlib.blake2b(digest_size=16)
    for part in (data.values, data.offsets, data.stamps, *data.numbers.values()):
        made.update(np.ascontiguousarray(part).view(np.uint8).data)
    made.update("\0".join(data.names).encode())
    return made.hexdigest()


def columns_of(shape: Shape) -> dict[str, Any]:
    """Which columns mean what, in JSON's types."""
    return {
        "time": shape.time,
        "entity": shape.entity,
        "targets": list(shape.targets),
        "known": list(shape.known),
        "wide": shape.wide,
    }


def shape_from(columns: dict[str, Any]) -> Shape:
    """What `columns_of` gave."""
    told = {name: tuple(columns[name]) for name in ("targets", "known")}
    return Shape(columns["time"], columns["entity"], told["targets"], told["known"], columns["wide"])


def default_lags(seasons: Sequence[int], longest: int) -> tuple[int, ...]:
    """The last three values, and those around each season ago, as far as half the training part reaches."""
    lags = {1, 2, 3}
    for season in seasons:
        lags |= {season - 1, season, season + 1}
    return tuple(sorted(lag for lag in lags if 1 <= lag <= max(longest // 2, 1)))
