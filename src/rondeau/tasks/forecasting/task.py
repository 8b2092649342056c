"""Forecasting: what comes next in time series, and how sure that is.

Longer than most: the list of what a task says of itself; what is done stands in the modules `forecast_...` beside it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from rondeau.data.faults import Faults
from rondeau.data.made.shops import demo_table
from rondeau.data.series.beat import cycles_within
from rondeau.data.series.series import SeriesSet, extended, read_series
from rondeau.data.series.shape import Shape, shape_of
from rondeau.data.tables.files import SUFFIXES
from rondeau.data.tables.table import Table, glance, read_table
from rondeau.data.texts.text_lines import suffix_of
from rondeau.errors import ArgumentError, DataError, RondeauError
from rondeau.heads.likelihoods import likelihood
from rondeau.insight.results import Metric, Row
from rondeau.tasks.bootstrap import intervals
from rondeau.tasks.forecasting import baselines as forecast_baselines
from rondeau.tasks.forecasting.calibration import FEW, earlier, widening
from rondeau.tasks.forecasting.data import (
    all_origins,
    columns_of,
    default_lags,
    digest,
    divide,
    ends_of,
    long_enough,
    seasons_of,
    shape_from,
)
from rondeau.tasks.forecasting.direct import DirectQuantileLoss
from rondeau.tasks.forecasting.explaining import next_step
from rondeau.tasks.forecasting.findings import ahead, findings, records
from rondeau.tasks.forecasting.model import forecast, network
from rondeau.tasks.forecasting.scores import errors, groups, statistic, truths
from rondeau.tasks.forecasting.settings import DIRECT, ForecastingAsking, ForecastingSettings
from rondeau.tasks.forecasting.windows import Origin, Origins, Scheme, WindowBatches, Windows, cut, inputs_of
from rondeau.tasks.job import Data, Job, Judged
from rondeau.tasks.look import Explained
from rondeau.tasks.task import Work
from rondeau.training.callbacks import EarlyStopping
from rondeau.training.losses import NegativeLogLikelihood

PAST = 0.2  # the weight of steps before the origin in the training loss: they know the window's scale already
_LEAST = 4  # steps before an origin
_NAMED = 5000  # series that the model knows by name at most
_LEAST_SCALE = 0.02  # of the usual one: after a flat stretch any change would be endless
_SHORTEST = 8  # rows of what is taken for a series without being asked to
_LONGEST = 256  # steps of context, unless told otherwise


@dataclass
class SeriesData(Data):
    """Series and what was found about them, divided by time."""

    series: SeriesSet | None = None
    shape: Shape | None = None
    horizon: int = 1
    seasons: tuple[int, ...] = ()
    longest: int = 0


class Forecasting(Job[ForecastingSettings]):
    """What comes next in one series or many, by a recurrent network that is rolled out by sampling (DeepAR)."""

    name, title, settings, extra = "forecasting", "forecasting of time series", ForecastingSettings, "table"
    asking = ForecastingAsking
    demo = "the sales of made shops, two weeks ahead"
    metrics = (
        Metric("mase", higher=False),
        Metric("smape", higher=False, percent=True),
        Metric("rmse", higher=False),
        Metric("crps", higher=False),
        Metric("coverage_80", higher=True, percent=True),
    )

    def guess(self, path: Path) -> str | None:
        if path.is_file() and suffix_of(path) not in SUFFIXES:
            return None
        try:
            table = glance(path)
            shape = shape_of(table)
        except RondeauError:  # whatever it is, it is not series
            return None
        if len(table.columns) == 1 and len(table) >= _SHORTEST:
            return f"it is a single column of numbers, {shape.targets[0]!r}, taken in its order"
        if shape.time is None or not _follows(table, shape):
            return None
        return f"it is a table of numbers over time: {shape.time!r} says when, {shape.targets[0]!r} is a number"

    def demo_settings(self) -> ForecastingSettings:
        told = {"horizon": 14, "likelihood": "negative_binomial"}
        return ForecastingSettings(**told, epochs=6, dropout=0.3, learning_rate=2e-3)  # type: ignore[arg-type]

    def read(self, settings: ForecastingSettings) -> SeriesData:
        faults = Faults(settings.on_error)
        if settings.path is None:
            table, name = demo_table(settings.seed), "embedded sales"
            known = settings.known or ("discount", "holiday")
            shape = shape_of(table, "sales", "day", "shop", known)
        else:
            table, name = self._table(settings, settings.path, faults), settings.path
            shape = shape_of(table, settings.target, settings.time, settings.entity, settings.known)
        series = read_series(table, shape, faults)
        refuse_no_counts(series, settings.kind)
        return self.divided(settings, series, shape, name, faults)

    def _table(self, settings: ForecastingSettings, path: str, faults: Faults) -> Table:
        kinds = {} if settings.entity is None else {settings.entity: "category"}
        if settings.target is not None:
            kinds[settings.target] = "number"
        return read_table(path, faults, kinds=kinds, delimiter=settings.delimiter, encoding=settings.encoding)

    def divided(
        self, settings: ForecastingSettings, series: SeriesSet, shape: Shape, name: str, faults: Faults
    ) -> SeriesData:
        """Series in parts by time, their season found in the training part."""
        notes = list(series.notes)
        horizon = settings.horizon or 12
        rough = long_enough(series, 1 if settings.horizon is None else horizon, Faults("skip"))
        ends = ends_of(rough, 1 if settings.horizon is None else horizon, settings.validation, settings.test)
        seasons, why = seasons_of(rough, ends[0])
        if settings.season is not None:
            seasons, why = ((settings.season,) if settings.season > 1 else ()), []
        notes += why
        if settings.horizon is None:
            horizon = min(min(seasons, default=12), max(int(rough.lengths.max()) // 8, 1))
            notes.append(f"the horizon is {horizon} steps (--horizon says otherwise)")
        series = long_enough(series, horizon, faults)
        train_end, validation_end, said = ends_of(series, horizon, settings.validation, settings.test)
        longest = int(train_end.max())
        if settings.season is not None and 2 * settings.season > longest:
            what = "the season is longer than half of what there is to learn from"
            raise DataError(what, expected=f"{longest // 2} steps at most", got=settings.season)
        seasons = tuple(season for season in seasons if 2 * season <= longest)
        season = seasons[0] if seasons else 1
        parts = divide(series, horizon, season, (train_end, validation_end), settings.every, _LEAST)
        sizes = {
            "series": {p: len(np.unique(o.series)) for p, o in _named(parts)},
            "steps": {
                "train": int(train_end.sum()),
                "validation": int((validation_end - train_end).sum()),
                "test": int((series.lengths - validation_end).sum()),
            },
            "origins": {p: len(o) for p, o in _named(parts)},
        }
        data = SeriesData(
            name, parts.train, parts.validation, parts.test, sizes, digest(series), notes=notes + said + parts.notes
        )
        data.skipped = faults.to_json()
        data.series, data.shape, data.horizon, data.seasons = series, shape, horizon, seasons
        data.longest = parts.longest
        return data

    def prepare(self, settings: ForecastingSettings, data: Any) -> Scheme:
        series: SeriesSet = data.series
        train: Origins = data.train
        context = settings.context or min(max(2 * max(data.seasons, default=1), 2 * data.horizon, 16), _LONGEST)
        context = max(_LEAST, min(context, data.longest - data.horizon))
        lags = default_lags(data.seasons, data.longest)
        past = _is_past(series, train)
        numbers = {}
        for name, column in series.numbers.items():
            here = column[past & ~np.isnan(column)]
            deviation = float(here.std()) if len(here) else 0.0
            numbers[name] = (float(here.mean()) if len(here) else 0.0, deviation or 1.0)
        words = {
            name: tuple(column.labels[i] for i in np.unique(column.values[past]) if i >= 0)
            for name, column in series.words.items()
        }
        several = 1 < len(series) <= _NAMED
        scheme = Scheme(
            data.horizon,
            context,
            data.seasons,
            lags,
            series.step,
            settings.kind,
            tuple(series.names) if several else (),
            words,
            numbers,
            cycles=cycles_within(series.stamps[past], series.step),
            columns=columns_of(data.shape),
            direct=settings.likelihood == DIRECT,
        )
        some = np.linspace(0, len(train) - 1, min(len(train), 2000)).round().astype(np.int64)
        scales = cut(scheme, series, train.series[some], train.steps[some]).scale
        scales = scales[scales > 1e-6]
        scheme = replace(scheme, least=_LEAST_SCALE * float(np.median(scales)) if len(scales) else 1.0)
        windows = cut(scheme, series, train.series[some], train.steps[some])
        scales = np.log(windows.scale)
        level = float(scales.mean()), max(float(scales.std()), 0.1)
        return replace(scheme, level=level, features=_width(scheme, windows))

    def load_prepared(self, data: dict[str, Any]) -> Scheme:
        return Scheme.from_json(data)

    def build(self, settings: ForecastingSettings, prepared: Scheme, data: Data | None) -> Any:
        return network(prepared, settings.cell, settings.units, settings.layers, settings.dropout)

    def loss(self, settings: ForecastingSettings, prepared: Scheme, data: Data) -> Any:
        if prepared.direct:
            return DirectQuantileLoss("mean_with_sample_weight")
        return NegativeLogLikelihood(prepared.likelihood, reduction="mean_with_sample_weight")

    def batches(self, settings: ForecastingSettings, prepared: Scheme, examples: Any, training: bool) -> Any:
        return WindowBatches(prepared, examples, settings.batch_size, training, PAST if training else 0.0)

    def count_steps(self, settings: ForecastingSettings, prepared: Scheme, examples: Any) -> int:
        windows = WindowBatches(prepared, examples, settings.batch_size, True, PAST).rows
        return windows * (prepared.context + prepared.horizon)

    def settle(self, model: Any, settings: ForecastingSettings, prepared: Scheme, data: Any) -> Scheme:
        """The scheme with what its intervals are widened by, see `calibration`; counts are left as they are drawn."""
        if not settings.calibrate or likelihood(prepared.likelihood).counts:
            return replace(prepared, widening=1.0)
        plain = replace(prepared, widening=1.0)
        factor = self._factor(model, settings, plain, data.validation)
        parts = earlier(data.train, data.validation, plain.horizon) if len(data.validation) < FEW else None
        if parts is not None:
            before = replace(data, train=parts[0], validation=parts[1])
            work: Work[ForecastingSettings] = Work(None, settings, before, plain)  # type: ignore[arg-type]
            other, train, validation = self.untrained(work)
            best = EarlyStopping(patience=settings.epochs, restore_best_weights=True)
            other.fit(train, epochs=settings.epochs, validation_data=validation, callbacks=[best], verbose=0)
            factor = max(factor, self._factor(other, settings, plain, parts[2]))
        return replace(prepared, widening=factor)

    def _factor(self, model: Any, settings: ForecastingSettings, scheme: Scheme, origins: Origins) -> float:
        return widening(forecast(model, scheme, origins, settings.seed), truths(origins, scheme.horizon))

    def judge(self, model: Any, settings: ForecastingSettings, prepared: Scheme, examples: Any) -> Judged:
        paths = forecast(model, prepared, examples, settings.seed)
        return self.judged(prepared, examples, paths, likelihood(prepared.likelihood).name != "point")

    def judged(self, scheme: Scheme, origins: Origins, paths: Any, spread: bool, told: bool = True) -> Judged:
        """The figures of sample paths, with intervals over series or stretches of time."""
        found = errors(paths, truths(origins, scheme.horizon), origins.units[origins.series])
        of = statistic(found, spread)
        scores = {name: value for name, value in of(np.arange(len(origins))).items() if value == value}
        if not scores:
            raise DataError("there is no value to judge the forecasts by", where="the part held out")
        ends = intervals(of, len(origins), groups(origins, scheme.horizon))
        judged = Judged(scores, {name: pair for name, pair in ends.items() if name in scores})
        if told:
            judged.findings = findings(scheme, origins, paths, found)
            judged.rows = records(scheme, origins, paths)
        return judged

    def baselines(self, settings: ForecastingSettings, prepared: Scheme, data: Any) -> list[Row]:
        rows = []
        for baseline in forecast_baselines.baselines(prepared, data.train, data.validation):
            paths = forecast_baselines.paths(baseline, prepared, data.test)
            judged = self.judged(prepared, data.test, paths, True, told=False)
            rows.append(Row(baseline.name, baseline.parameters, judged.scores, judged.intervals))
        return rows

    def read_examples(self, settings: ForecastingSettings, prepared: Scheme, path: str) -> tuple[Origins, list[str]]:
        faults = Faults(settings.on_error)
        series = self._again(settings, prepared, path, faults)
        season = prepared.seasons[0] if prepared.seasons else 1
        origins = all_origins(series, prepared.horizon, season, min(prepared.context, _LEAST), settings.every)
        notes = [f"{len(origins):,} origins in {len(series):,} series", *_new(prepared, series)]
        if faults.total:
            notes.append(f"left out: {faults.describe()}")
        return origins, notes

    def _again(self, settings: ForecastingSettings, scheme: Scheme, path: str, faults: Faults) -> SeriesSet:
        """The series of another table, by the columns that the run was trained on."""
        shape = shape_from(scheme.columns)
        kinds = dict.fromkeys((*shape.targets, *scheme.numbers), "number")
        kinds |= {name: "category" for name in (shape.entity, *scheme.words) if name is not None}
        columns = [name for name in (shape.time, shape.entity, *shape.targets, *shape.known) if name is not None]
        told = {"delimiter": settings.delimiter, "encoding": settings.encoding}
        table = read_table(path, faults, columns=columns, kinds=kinds, **told)  # type: ignore[arg-type]
        series = read_series(table, shape, faults)
        same = (series.step.unit, series.step.size) == (scheme.step.unit, scheme.step.size)
        if int(series.lengths.max()) > 1 and not same and "irregular" not in (series.step.unit, scheme.step.unit):
            what = "the series have another beat than those the model was trained on"
            expected, got = f"a value {scheme.step.describe()}", series.step.describe()
            raise DataError(what, expected=expected, got=got, where=path)
        return replace(series, step=scheme.step)

    def explain(self, model: Any, settings: ForecastingSettings, prepared: Scheme, example: Any) -> Explained | None:
        """What the forecast of the next step is made of."""
        if isinstance(example, Origin):
            return next_step(model, prepared, example.itself)
        series, i = example
        return next_step(
            model, prepared, Origins(series, np.array([i]), series.lengths[[i]], np.full(len(series), np.nan))
        )

    def answering(
        self, settings: ForecastingSettings, prepared: Scheme, options: dict[str, Any]
    ) -> tuple[ForecastingSettings, Scheme]:
        horizon = options.get("horizon", prepared.horizon)
        if not prepared.direct:
            return settings, replace(prepared, horizon=horizon)
        if horizon > prepared.horizon:
            expected, fix = f"at most the {prepared.horizon} that were learnt at once", "Train with a longer --horizon"
            raise ArgumentError("horizon", expected=expected, got=horizon, fix=fix)
        return settings, prepared  # `answers` leaves the others out

    def read_inputs(self, settings: ForecastingSettings, prepared: Scheme, path: str) -> Iterator[Any]:
        series = extended(self._again(settings, prepared, path, Faults(settings.on_error)), prepared.horizon)
        for i in range(len(series)):
            yield series, i

    def answers(
        self, model: Any, settings: ForecastingSettings, prepared: Scheme, inputs: list[Any], options: dict[str, Any]
    ) -> Iterable[dict[str, Any]]:
        series = inputs[0][0]
        which = np.asarray([i for _, i in inputs])
        origins = Origins(series, which, series.lengths[which], np.full(len(series), np.nan))
        horizon = options.get("horizon", prepared.horizon)
        every = ahead(prepared, origins, forecast(model, prepared, origins, settings.seed))
        return (record for record in every if record["step"] <= horizon)


def _width(scheme: Scheme, windows: Windows) -> int:
    """Numbers that are read at a step."""
    given = inputs_of(scheme, windows)
    return int((given[0] if isinstance(given, tuple) else given).shape[-1])


def _named(parts: Any) -> list[tuple[str, Origins]]:
    return [("train", parts.train), ("validation", parts.validation), ("test", parts.test)]


def _is_past(series: SeriesSet, train: Any) -> Any:
    """Which steps lie before the end of the training part, `(steps,)`."""
    ends = np.zeros(len(series), np.int64)
    np.maximum.at(ends, train.series, train.steps)
    local = np.arange(len(series.values)) - np.repeat(series.offsets[:-1], np.diff(series.offsets))
    return local < np.repeat(ends, np.diff(series.offsets))


def refuse_no_counts(series: SeriesSet, kind: str) -> None:
    """Raise `DataError` for values that are no counts, where counts are asked for."""
    if not likelihood(kind).counts:
        return
    values = series.values[~np.isnan(series.values)]
    wrong = values[(values < 0) | (values != np.rint(values))]
    if len(wrong):
        fix = "Choose another: --likelihood student_t"
        raise DataError(f"{kind} is for counts", expected="whole numbers from 0 on", got=float(wrong[0]), fix=fix)


def _follows(table: Table, shape: Shape) -> bool:
    """Whether rows are values of series: each moment once in each series, on a beat."""
    if shape.entity is None and table.of_kind("category"):
        column = table[shape.time or ""].values
        return len(np.unique(column)) == len(column)
    try:
        series = read_series(table, shape, Faults("skip"))
    except DataError:
        return False
    return bool(series.step.unit != "irregular" and series.lengths.max() >= _SHORTEST)


def _new(scheme: Scheme, series: SeriesSet) -> list[str]:
    new = [name for name in series.names if name not in set(scheme.names)] if scheme.names else []
    some = ", ".join(map(repr, new[:3])) + (", ..." if len(new) > 3 else "")
    return [f"{len(new):,} series the model does not know by name: {some}"] if new else []
