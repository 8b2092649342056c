"""Forecasting: no look ahead, figures as defined, and the whole way from a file to forecasts in a fresh place."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from rondeau.cli import options
from rondeau.data.faults import Faults
from rondeau.data.series.beat import Step
from rondeau.data.series.series import SeriesSet
from rondeau.data.series.shape import Shape
from rondeau.data.tables.table import Column
from rondeau.errors import ArgumentError, DataError, ShapeError
from rondeau.insight import saliency
from rondeau.tasks.api import Run
from rondeau.tasks.forecasting import baselines as forecast_baselines
from rondeau.tasks.forecasting.calibration import earlier, widened, widening
from rondeau.tasks.forecasting.data import (
    all_origins,
    default_lags,
    divide,
    ends_of,
    long_enough,
    naive_errors,
    seasons_of,
)
from rondeau.tasks.forecasting.direct import DirectQuantileLoss
from rondeau.tasks.forecasting.explaining import REST, next_step
from rondeau.tasks.forecasting.model import forecast, network
from rondeau.tasks.forecasting.scores import errors, statistic, truths
from rondeau.tasks.forecasting.settings import ForecastingSettings
from rondeau.tasks.forecasting.task import Forecasting
from rondeau.tasks.forecasting.windows import Origins, Scheme, WindowBatches, cut, inputs_of, targets
from rondeau.tasks.look import Look
from rondeau.tasks.registry import guess_task
from rondeau.tasks.run_folder import RunFolder
from rondeau.training.losses import NegativeLogLikelihood

pytest.importorskip("pandas")
pytest.importorskip("pyarrow")

DAY = Step("time", 86_400e6)


def series_of(*values: Any, step: Step = DAY) -> SeriesSet:
    parts = [np.asarray(one, np.float64) for one in values]
    offsets = np.concatenate([[0], np.cumsum([len(part) for part in parts])]).astype(np.int64)
    first = np.datetime64("2024-01-01", "us")
    stamps = np.concatenate([step.stamp(first, np.arange(len(part))) for part in parts])
    return SeriesSet([f"s{i}" for i in range(len(parts))], offsets, np.concatenate(parts), stamps, step)


def wave(length: int, season: int = 7, seed: int = 0, level: float = 10.0) -> Any:
    noise = np.random.default_rng(seed).standard_normal(length)
    return level + 3 * np.sin(2 * np.pi * np.arange(length) / season) + 0.3 * noise


def scheme_of(data: SeriesSet, **changes: Any) -> Scheme:
    scheme = Scheme(3, 8, (7,), (1, 2, 7), data.step, "gaussian", tuple(data.names))
    scheme = replace(scheme, **changes)
    every = np.zeros(1, np.int64)
    return replace(scheme, features=cut(scheme, data, every, every + 10).x.shape[-1])


def test_parts_follow_each_other_in_time_in_all_series_at_once() -> None:
    data = series_of(wave(100), wave(60))  # the second ends earlier
    train, validation, notes = ends_of(data, 5, 0.1, 0.2)
    assert not notes
    assert train[0] == train[1]
    assert validation[1] <= 60
    parts = divide(data, 5, 7, (train, validation))
    for origins, low, high in (
        (parts.train, np.zeros(2, np.int64), train),
        (parts.validation, train, validation),
        (parts.test, validation, data.lengths),
    ):
        assert (origins.steps >= low[origins.series]).all()
        assert (origins.steps + 5 <= high[origins.series]).all()
    assert parts.test.steps.max() == 95


def test_a_part_shorter_than_the_horizon_is_made_as_long() -> None:
    train, validation, notes = ends_of(series_of(wave(60)), 12, 0.1, 0.1)
    assert (train[0], validation[0]) == (36, 48)
    assert len(notes) == 2
    train, validation, notes = ends_of(series_of(wave(60)), 12, 0.1, 0.0)
    assert (train[0], validation[0]) == (48, 60)


def test_horizons_and_series_that_cannot_be() -> None:
    with pytest.raises(DataError, match="the horizon is longer than the series: expected below 20 steps, got 20"):
        long_enough(series_of(wave(20)), 20, Faults())
    with pytest.raises(ArgumentError, match="horizon: expected 1 or more"):
        long_enough(series_of(wave(20)), 0, Faults())
    with pytest.raises(DataError, match=r"too short to learn a forecast from.*series 's1'.*at least 9 steps"):
        long_enough(series_of(wave(20), wave(8)), 5, Faults())
    faults = Faults("skip")
    assert long_enough(series_of(wave(20), wave(8)), 5, faults).names == ["s0"]
    assert faults.total == 1
    with pytest.raises(DataError, match="too short to hold out"):
        ends_of(series_of(wave(20)), 6, 0.1, 0.1)
    with pytest.raises(ArgumentError, match="leave nothing to train on"):
        ends_of(series_of(wave(20)), 1, 0.5, 0.5)
    with pytest.raises(DataError, match="every series is too short to be forecast"):
        all_origins(series_of(wave(8)), 6, 1, 4)


def test_seasons_are_found_where_there_are_some() -> None:
    found, why = seasons_of(series_of(wave(80), wave(80, seed=1)), np.array([80, 80]))
    assert found == (7,)
    assert "7 steps" in why[0]
    free = series_of(wave(90, 9), step=Step("number", 1.0))
    assert seasons_of(replace(free, stamps=np.arange(90)), np.array([90]))[0] == (9,)
    assert seasons_of(series_of(np.random.default_rng(0).standard_normal(80).cumsum()), np.array([80]))[0] == ()
    assert default_lags((7,), 60) == (1, 2, 3, 6, 7, 8)
    assert default_lags((7,), 12) == (1, 2, 3, 6)


def test_windows_hold_the_past_at_its_lags_and_nothing_of_the_future() -> None:
    data = series_of(np.arange(30.0), 100 + np.arange(30.0))
    scheme = scheme_of(data)
    series, steps = np.array([0, 1]), np.array([20, 15])
    windows = cut(scheme, data, series, steps)
    assert windows.x.shape == (2, 11, scheme.features)
    values = windows.x[..., :3] * windows.scale[:, None, None] + windows.centre[:, None, None]
    now = np.array([20, 115])[:, None] + np.arange(-8, 3)
    np.testing.assert_allclose(values, now[..., None] - np.array([1, 2, 7]), rtol=1e-5)
    np.testing.assert_array_equal(windows.values, now)
    np.testing.assert_array_equal(windows.ids[0][:, 0], [1, 2])
    changed = data.values.copy()
    changed[20:30] += 1000
    other = cut(scheme, replace(data, values=changed), series[:1], steps[:1], blind=True)
    same = cut(scheme, data, series[:1], steps[:1], blind=True)
    np.testing.assert_array_equal(other.x, same.x)
    np.testing.assert_array_equal(other.history, same.history)
    assert np.isnan(same.values[0, 8:]).all()


def test_what_lies_before_a_series_or_is_missing_has_no_weight() -> None:
    values = np.arange(30.0)
    values[12] = np.nan
    scheme = scheme_of(series_of(values))
    batch = next(WindowBatches(scheme, origins_of(series_of(values), 5, 14), 2, False, 1.0).batches(0, 0, 0))
    assert batch.weight[0].tolist() == [0.0] * 3 + [1.0] * 8
    assert batch.weight[1].tolist() == [1.0] * 6 + [0.0] + [1.0] * 4
    assert torch.isfinite(batch.x[0]).all()


def test_covariates_are_scaled_and_new_words_have_an_id_of_their_own() -> None:
    data = series_of(wave(30))
    price = np.arange(30.0)
    price[19] = np.nan
    kind = Column("kind", "category", "", np.asarray([0, 1, 2, -1] * 8, np.int32)[:30], ("u", "v", "new"))
    data = replace(data, numbers={"price": price}, words={"kind": kind})
    scheme = scheme_of(data, numbers={"price": (10.0, 2.0)}, words={"kind": ("v", "u")}, names=())
    windows = cut(scheme, data, np.array([0]), np.array([20]))
    np.testing.assert_allclose(windows.x[0, [0, 7, 8], -1], [1.0, 0.0, 5.0])  # a missing one is the mean
    assert windows.ids[0][0, :4].tolist() == [2, 1, 0, 0]
    other = cut(replace(scheme, names=("a",)), data, np.array([0]), np.array([20]))
    assert other.ids[0].tolist() == [[0] * 11]  # a series the model does not know


def test_without_a_beat_the_time_between_is_read() -> None:
    stamps = np.datetime64("2024-01-01", "us") + (np.arange(30) ** 2 * 1_000_000).astype("timedelta64[us]")
    data = replace(series_of(wave(30)), stamps=stamps, step=Step("irregular", 10e6))
    windows = cut(scheme_of(data), data, np.array([0]), np.array([20]))
    gaps = 2 * np.arange(12, 23) - 1
    np.testing.assert_allclose(windows.x[0, :, -1], np.log(gaps / 10), rtol=1e-5)


def test_a_flat_past_or_none_gives_no_endless_values() -> None:
    values = np.concatenate([np.full(12, np.nan), np.zeros(12), wave(20)])
    scheme = scheme_of(series_of(values), least=0.1)
    batch = next(WindowBatches(scheme, origins_of(series_of(values), 12, 24), 2, False, 1.0).batches(0, 0, 0))
    assert batch.weight[0].sum() == 0  # nothing is known of its scale
    assert batch.y[1].abs().max() < 200
    assert torch.isfinite(batch.y).all()


def origins_of(data: SeriesSet, *steps: int, series: int = 0) -> Origins:
    which = np.full(len(steps), series)
    return Origins(data, which, np.asarray(steps), naive_errors(data, data.lengths, 1))


def test_an_epoch_of_a_short_series_is_several_passes_and_repeats_itself() -> None:
    data = series_of(wave(40))
    batches = WindowBatches(scheme_of(data), origins_of(data, *range(10, 30)), 8, True, 0.2)
    assert len(batches) == 20
    first, again = ([b.y for b in batches.batches(1, 0, 0)] for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert torch.equal(next(batches.batches(1, 7, 0)).y, first[7])
    assert not torch.equal(next(batches.batches(2, 0, 0)).y, first[0])


def test_figures_are_as_defined() -> None:
    rng = np.random.default_rng(0)
    paths, truth = rng.gamma(2, 3, (5, 40, 3)), rng.gamma(2, 3, (5, 3))
    truth[1, 2] = np.nan
    units = np.array([1.0, 2.0, 4.0, np.nan, 0.0])
    found = errors(paths, truth, units)
    median = np.median(paths, 1)
    scores = statistic(found)(np.arange(5))
    there = ~np.isnan(truth)
    distance = np.abs(median - truth)
    assert scores["rmse"] == pytest.approx(math.sqrt(np.mean(distance[there] ** 2)))
    assert scores["smape"] == pytest.approx(np.mean((2 * distance / (np.abs(median) + np.abs(truth)))[there]))
    assert scores["mase"] == pytest.approx(np.nanmean(distance[:3] / units[:3, None]))
    pairs = np.abs(paths[:, :, None] - paths[:, None]).sum((1, 2)) / (40 * 39)
    crps = np.abs(paths - truth[:, None]).mean(1) - pairs / 2
    assert scores["crps"] == pytest.approx(np.mean(crps[there]))
    low, high = np.quantile(paths, (0.1, 0.9), axis=1)
    assert scores["coverage_80"] == pytest.approx(((low <= truth) & (truth <= high))[there].mean())
    point = statistic(errors(paths[:, :1], truth, units), spread=False)(np.arange(5))
    assert "coverage_80" not in point
    assert point["crps"] == pytest.approx(np.abs(paths[:, 0] - truth)[there].mean())


def test_mase_divides_by_the_seasonal_naive_error_of_the_training_part() -> None:
    values = np.arange(40.0)
    assert naive_errors(series_of(values), np.array([20]), 7).tolist() == [7]
    assert naive_errors(series_of(values), np.array([10]), 7).tolist() == [1]  # too short for two seasons
    same = np.tile([0.1, 0.7, 0.3], 10) + np.repeat(np.arange(10) % 2, 3) * 1e-16
    assert np.isnan(naive_errors(series_of(same), np.array([30]), 3)).all()  # there is nothing to divide by


def test_baselines_are_what_their_names_say() -> None:
    data = series_of(wave(120))
    scheme = scheme_of(data, names=())
    parts = divide(data, 3, 7, ends_of(data, 3, 0.15, 0.15)[:2])
    persistence, seasonal, ridge = forecast_baselines.baselines(scheme, parts.train, parts.validation)
    steps, truth = parts.test.steps, truths(parts.test, 3)
    for baseline, expected in (
        (persistence, data.values[steps - 1][:, None].repeat(3, 1)),
        (seasonal, np.stack([data.values[steps - 7 + i] for i in range(3)], 1)),
    ):
        paths = forecast_baselines.paths(baseline, scheme, parts.test)
        np.testing.assert_allclose(np.median(paths, 1), expected, rtol=1e-5)
    scores = {
        one.name: statistic(errors(forecast_baselines.paths(one, scheme, parts.test), truth, parts.test.units[:1]))
        for one in (persistence, seasonal, ridge)
    }
    rmse = {name: of(np.arange(len(steps)))["rmse"] for name, of in scores.items()}
    assert rmse["linear on 8 lags (ridge)"] < rmse["persistence"] / 3
    assert rmse["seasonal naive, 7 steps"] < rmse["persistence"] / 3


@pytest.mark.parametrize("kind", ["gaussian", "negative_binomial", "quantile", "point"])
def test_a_roll_out_reads_what_it_has_drawn(kind: str) -> None:
    """With weights that answer the value before, every path stays where the series was."""
    data = series_of(np.round(wave(40)) + 5)
    scheme = scheme_of(data, likelihood=kind, names=())
    model = network(scheme, "gru", 4, 1, 0.0)
    for name, parameter in model.named_parameters():
        torch.nn.init.zeros_(parameter)
        if "linear" in name and "kernel" in name:
            with torch.no_grad():
                parameter[0, 0 if kind != "quantile" else slice(None)] = 1.0  # the first lag
        elif "linear" in name and kind == "gaussian":
            with torch.no_grad():
                parameter[1] = -30.0  # hardly any spread
    paths = forecast(model, scheme, origins_of(data, 20, 30), draws=5)
    assert paths.shape == (2, 1 if kind == "point" else 5, 3)
    if kind == "negative_binomial":
        assert (paths == np.rint(paths)).all()
    else:
        expected = np.broadcast_to(data.values[[19, 29]][:, None, None], paths.shape)
        np.testing.assert_allclose(paths, expected, atol=2e-2)
    again = forecast(model, scheme, origins_of(data, 20, 30), draws=5)
    np.testing.assert_array_equal(paths, again)


def test_a_roll_out_is_the_model_read_in_one_go() -> None:
    """The step-wise answers are those of the whole window, once the drawn values stand in it."""
    data = series_of(wave(40))
    scheme = scheme_of(data, likelihood="point", names=())
    torch.manual_seed(0)
    model = network(scheme, "lstm", 6, 2, 0.0)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    origins = origins_of(data, 25)
    path = forecast(model, scheme, origins)[0, 0]
    filled = data.values.copy()
    filled[25:28] = path
    windows = cut(scheme, replace(data, values=filled), origins.series, origins.steps)
    with torch.no_grad():
        whole = model(torch.from_numpy(windows.x), training=False)[0, -3:, 0].numpy()
    np.testing.assert_allclose(whole * windows.scale + windows.centre, path, rtol=1e-4)


def write(folder: Path, days: int = 120, shops: int = 3, name: str = "sales.csv", skip: int | None = None) -> Path:
    lines = ["day,shop,sold,promo"]
    for shop in range(shops):
        values = wave(days, seed=shop, level=20 + 10 * shop)
        for i, value in enumerate(values):
            if i == skip:
                continue
            promo = (i * i + shop) % 5 == 0
            day = np.datetime64("2023-01-01") + i
            lines.append(f"{day},shop {shop},{value + 2 * promo:.3f},{int(promo)}")
    file = folder / name
    file.write_text("\n".join(lines) + "\n")
    return file


def settings_for(path: Path, **changes: Any) -> ForecastingSettings:
    told: dict[str, Any] = {"horizon": 4, "target": "sold", "known": ("promo",), "epochs": 3, "units": 8}
    return ForecastingSettings(path=str(path), insight=False, device="cpu", **{**told, **changes})


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[RunFolder, Any]:
    folder = tmp_path_factory.mktemp("forecast")
    job = Forecasting()
    work = job.begin(settings_for(write(folder)), folder / "run")
    assert job.fit(work, lambda steps, speed: [])
    return work.run, job.conclude(work, lambda steps, speed: [])


def test_a_run_stands_beside_its_baselines(run: tuple[RunFolder, Any]) -> None:
    folder, results = run
    names = [row.name for row in results.rows]
    assert names == ["persistence", "seasonal naive, 7 steps", "linear on 8 lags (ridge)", "lstm, 1 x 8"]
    for row in results.rows:
        assert set(row.scores) == {"mase", "smape", "rmse", "crps", "coverage_80"}
        assert row.intervals["mase"][0] <= row.scores["mase"] <= row.intervals["mase"][1]
    persistence, _, ridge, own = (row.scores["mase"] for row in results.rows)
    assert ridge < persistence
    assert own < persistence
    shown = folder.read_json(folder.findings)["forecast"]
    assert [one["step"] for one in shown["steps"]] == [1, 2, 3, 4]
    assert all(len(one["median"]) == 4 == len(one["truth"]) for one in shown["examples"])
    records = [json.loads(line) for line in folder.predictions.read_text().splitlines()]
    assert set(records[0]) == {"series", "from", "truth", "median", "low_80", "high_80"}


def test_a_file_never_seen_is_forecast_and_judged(run: tuple[RunFolder, Any], tmp_path: Path) -> None:
    folder, _ = run
    job = Forecasting()
    other = write(tmp_path, days=60, shops=4)
    results = job.evaluate(folder, str(other), "cpu")
    assert results.own.scores["mase"] < 1.5
    assert any("1 series the model does not know by name: 'shop 3'" in note for note in results.notes)
    ahead = [f"{np.datetime64('2023-03-02') + i},shop {s},,{i % 2}" for s in range(4) for i in range(4)]
    other.write_text(other.read_text() + "\n".join(ahead) + "\n")
    records = list(job.predict(folder, str(other), "cpu", {}))
    assert len(records) == 16
    assert records[0]["series"] == "shop 0"
    assert [one["time"] for one in records[:4]] == ["2023-03-02", "2023-03-03", "2023-03-04", "2023-03-05"]
    for one in records:
        assert one["low_95"] <= one["low_80"] <= one["median"] <= one["high_80"] <= one["high_95"]
    assert records == list(job.predict(folder, str(other), "cpu", {}))


def test_predict_takes_another_horizon(run: tuple[RunFolder, Any], tmp_path: Path) -> None:
    folder, _ = run
    other = write(tmp_path, days=60, shops=3)
    ahead = [f"{np.datetime64('2023-03-02') + i},shop {s},,{i % 2}" for s in range(3) for i in range(9)]
    other.write_text(other.read_text() + "\n".join(ahead) + "\n")
    given = {steps: Run(folder.path).predict(other, "cpu", horizon=steps) for steps in (2, 4, 9)}
    assert given[4] == Run(folder.path).predict(other, "cpu")
    for steps, records in given.items():
        assert [one["step"] for one in records] == 3 * list(range(1, steps + 1))
    width = {step: np.mean([o["high_80"] - o["low_80"] for o in given[9] if o["step"] == step]) for step in (1, 9)}
    assert width[9] > width[1] / 2
    assert all(abs(one["median"] - 20 - 10 * int(one["series"][-1])) < 15 for one in given[9])  # no drift away
    assert options.read_predict([str(folder.path), str(other), "--horizon", "2"]).options == {"horizon": 2}
    with pytest.raises(ArgumentError, match="horizon: expected 1 or more"):
        Run(folder.path).predict(other, horizon=0)
    with pytest.raises(DataError, match=r"covariates of the steps to forecast are missing.*10 steps.*got 9"):
        Run(folder.path).predict(other, horizon=10)


@pytest.fixture(scope="module")
def direct_run(tmp_path_factory: pytest.TempPathFactory) -> tuple[RunFolder, Any]:
    folder = tmp_path_factory.mktemp("direct")
    file = write(folder)
    lines = file.read_text().splitlines()  # and a category that is known in advance
    words = [lines[0] + ",kind", *(f"{line},{'ab'[int(line[-1])]}" for line in lines[1:])]
    file.write_text("\n".join(words) + "\n")
    job = Forecasting()
    settings = settings_for(file, likelihood="direct_quantile", known=("promo", "kind"))
    work = job.begin(settings, folder / "run")
    assert job.fit(work, lambda steps, speed: [])
    return work.run, job.conclude(work, lambda steps, speed: [])


def test_all_steps_at_once(direct_run: tuple[RunFolder, Any], tmp_path: Path) -> None:
    folder, results = direct_run
    persistence, own = results.rows[0].scores, results.own.scores
    assert own["mase"] < persistence["mase"]
    assert own["crps"] < persistence["crps"]
    assert Forecasting().opened(folder)[1].direct
    ahead = [f"{np.datetime64('2023-03-02') + i},shop {s},,{i % 2},{'ab'[i % 2]}" for s in range(3) for i in range(4)]
    lines = write(tmp_path, days=60).read_text().splitlines()[1:]
    other = tmp_path / "other.csv"
    rows = [f"{line},{'ab'[int(line[-1])]}" for line in lines]
    other.write_text("\n".join(["day,shop,sold,promo,kind", *rows, *ahead]) + "\n")
    records = Run(folder.path).predict(other, "cpu")
    assert len(records) == 12
    for one in records:
        assert one["low_95"] <= one["low_80"] <= one["median"] <= one["high_80"] <= one["high_95"]
    fewer = Run(folder.path).predict(other, "cpu", horizon=2)
    assert fewer == [one for one in records if one["step"] <= 2]
    with pytest.raises(ArgumentError, match="horizon: expected at most the 4 that were learnt at once, got 5"):
        Run(folder.path).predict(other, horizon=5)


def test_what_is_read_ahead_is_known_ahead_and_what_is_asked_is_what_comes() -> None:
    data = series_of(wave(60), wave(60, seed=1))
    number = np.arange(120.0)
    kind = Column("kind", "category", "", np.arange(120) % 3, ("a", "b", "c"))
    data = replace(data, numbers={"known": number}, words={"kind": kind})
    scheme = scheme_of(
        data, direct=True, numbers={"known": (0.0, 1.0)}, words={"kind": ("a", "b", "c")}, likelihood="quantile"
    )
    origins = Origins(data, np.array([1]), np.array([30]), np.ones(2))
    windows = cut(scheme, data, origins.series, origins.steps)
    x, *ids = inputs_of(scheme, windows)
    assert x.shape[1] == scheme.context + 1 == ids[0].shape[1] == ids[1].shape[1]
    alone = windows.x.shape[-1]
    told = x.shape[-1] - alone
    width = told // 2  # of each of the two steps after the next
    last = x[0, -1]
    assert float(last[alone - 1]) == 60 + 30  # the covariate of the origin's own step
    for step in (1, 2):
        part = last[alone + (step - 1) * width :][:width]
        assert float(part[width - 5]) == 60 + 30 + step
        assert int(part[-4:].argmax()) == 1 + (60 + 30 + step) % 3  # one is for new words
    blind = cut(scheme, data, origins.series, origins.steps, blind=True)
    assert torch.equal(inputs_of(scheme, blind)[0], x)  # nothing of the target's future
    y, weights = targets(scheme, windows, 0.2)
    assert y.shape == weights.shape == (1, scheme.context + 1, 3)
    came = (data.part(1, 30, 33) - windows.centre[0]) / windows.scale[0]
    np.testing.assert_allclose(y[0, -1].numpy(), came, rtol=1e-5)
    assert weights[0, -1].tolist() == [1, 1, 1]
    assert weights[0, 0].tolist() == pytest.approx([0.2] * 3)


def test_the_loss_of_all_steps_is_the_pinball_loss_of_each() -> None:
    generator = torch.Generator().manual_seed(0)
    outputs = torch.randn(2, 5, 3 * 9, generator=generator)
    values = torch.randn(2, 5, 3, generator=generator)
    found = DirectQuantileLoss(None)(values, outputs)
    for step in range(3):
        one = NegativeLogLikelihood("quantile", reduction=None)(values[..., step], outputs[..., 9 * step :][..., :9])
        torch.testing.assert_close(found[..., step], one)
    with pytest.raises(ShapeError, match="targets and predictions"):
        DirectQuantileLoss()(values, outputs[..., :-1])


def test_intervals_are_widened_until_they_hold_what_they_should() -> None:
    draws = np.random.default_rng(0).standard_normal((300, 400, 2)) + 5
    truth = 5 + 3 * np.random.default_rng(1).standard_normal((300, 2))
    factor = widening(draws, truth)
    assert 2.7 < factor < 3.4
    spread = widened(draws.astype(np.float32), factor)
    np.testing.assert_allclose(np.median(spread, 1), np.median(draws, 1), rtol=1e-6)
    low, high = np.quantile(spread, (0.1, 0.9), axis=1)
    covered = np.mean((low <= truth) & (truth <= high))
    assert 0.8 <= covered < 0.82
    assert widening(draws, 5 + 0.1 * (truth - 5)) == 1.0  # never narrower
    assert widening(draws[:, :1], truth) == 1.0  # a point has no spread
    assert widening(draws, np.full_like(truth, np.nan)) == 1.0
    flat = np.zeros((4, 10, 1))
    assert widening(flat, np.ones((4, 1))) == 10.0
    few = np.sort(np.abs(truth[:4] - 5).ravel())
    assert widening(draws[:4], truth[:4]) > few[-1] / 2  # of eight steps the largest but none: ceil(9 * 0.8) = 8


def test_what_calibration_found_goes_with_the_run(run: tuple[RunFolder, Any], tmp_path: Path) -> None:
    folder, _ = run
    job = Forecasting()
    settings, scheme = job.opened(folder)
    data = job.read(settings)
    plain = forecast(folder.load_model(), replace(scheme, widening=1.0), data.validation, settings.seed)
    assert scheme.widening >= widening(plain, truths(data.validation, 4)) >= 1
    assert folder.read_json(folder.findings)["forecast"]["widening"] == scheme.widening
    assert job.settle(folder.load_model(), replace(settings, calibrate=False), scheme, data).widening == 1


def test_a_short_validation_part_is_not_believed_alone() -> None:
    series = series_of(wave(100))
    every = np.arange(4, 80)
    train = Origins(series, np.zeros(76, np.int64), every, np.ones(1))
    validation = Origins(series, np.zeros(8, np.int64), np.arange(82, 90), np.ones(1))
    found = earlier(train, validation, 3)
    assert found is not None
    learnt, chosen, judged = (part.steps for part in found)
    assert learnt.tolist() == list(range(4, 40))  # and what they forecast ends before 42
    assert chosen.tolist() == list(range(42, 48))
    assert judged.tolist() == [*range(50, 80), *range(82, 90)]
    assert earlier(train[:30], validation, 3) is None


def test_a_network_like_it_trained_on_less_may_widen_more(monkeypatch: pytest.MonkeyPatch) -> None:
    job = Forecasting()
    settings = ForecastingSettings(horizon=2, epochs=1, units=4, device="cpu")
    data = job.divided(settings, series_of(wave(120)), Shape(None, None, ("a",), (), True), "X", Faults())
    scheme = job.prepare(settings, data)
    model = network(scheme, "lstm", 4, 1, 0.0)
    asked: list[Any] = []

    def factor(self: Any, model: Any, settings: Any, scheme: Any, origins: Any) -> float:
        asked.append((model, origins))
        return float(len(asked))

    monkeypatch.setattr(Forecasting, "_factor", factor)
    assert job.settle(model, settings, scheme, data).widening == 2
    assert asked[0][0] is model is not asked[1][0]
    assert asked[0][1] is data.validation
    assert asked[1][1].steps.min() > len(data.train) / 2
    asked.clear()
    monkeypatch.setattr("rondeau.tasks.forecasting.task.FEW", 1)
    assert job.settle(model, settings, scheme, data).widening == 1


@pytest.mark.parametrize("name", ["run", "direct_run"])
def test_a_forecast_is_explained_by_the_past_values(name: str, request: pytest.FixtureRequest) -> None:
    folder, _ = request.getfixturevalue(name)
    found = Forecasting().inspect(folder, Look(position=0))
    (one,) = found["saliency"]
    assert one["unit"] == "sold"
    assert one["context"][-1] == REST
    assert sum(one["scores"]) == pytest.approx(
        one["bits"] - one["baseline_bits"], abs=0.05 * sum(map(abs, one["scores"]))
    )
    settings, scheme = Forecasting().opened(folder)
    origin = Forecasting().read(settings).test[0]
    assert one["token"].startswith(f"{origin.series}, 2023-")
    begin = origin.itself.data.offsets[origin.itself.series[0]]
    last = origin.itself.data.values[begin + origin.step - 1]
    assert float(one["context"][-2].split(": ")[1]) == pytest.approx(last, rel=1e-3)
    middle = np.median(forecast(folder.load_model(), replace(scheme, widening=1.0), origin.itself, draws=4000)[0, :, 0])
    assert one["bits"] == pytest.approx(middle, abs=0.2)
    assert found["hidden"]["states"]
    assert len(found["hidden"]["tokens"]) == scheme.context + 1


def test_of_a_linear_forecast_each_value_is_told_its_own_share() -> None:
    """Twice the last value and three times that of a week ago, in units of the window's scale."""
    data = series_of(wave(40))
    scheme = scheme_of(data, likelihood="point", names=())
    model = network(scheme, "gru", 3, 1, 0.0)
    for parameter in model.parameters():
        torch.nn.init.zeros_(parameter)
    with torch.no_grad():
        model.get_layer("linear").kernel[0, 0] = 2.0
        model.get_layer("linear").kernel[2, 0] = 3.0
    origin = Origins(data, np.array([0]), np.array([30]), np.ones(1))
    explained = next_step(model, scheme, origin)
    (found,) = saliency(explained.model, explained.x, "integrated_gradients", explained.target)
    scores = explained.regrouped(found.features)
    past = data.values[:30]
    centre, scale = (float(one[0]) for one in cut(scheme, data, origin.series, origin.steps)[-2:])
    assert scores[-2] == pytest.approx(2 * (past[-1] - centre), rel=1e-4)
    assert scores[-8] == pytest.approx(3 * (past[-7] - centre), rel=1e-4)
    others = [score for i, score in enumerate(scores) if i - len(scores) not in (-2, -8)]
    assert max(map(abs, others)) < 1e-4 * scale


def test_other_data_that_do_not_fit_the_run(run: tuple[RunFolder, Any], tmp_path: Path) -> None:
    folder, _ = run
    job = Forecasting()
    with pytest.raises(DataError, match="covariates of the steps to forecast are missing"):
        list(job.predict(folder, str(write(tmp_path)), "cpu", {}))
    weekly = tmp_path / "weekly.csv"
    rows = [f"{np.datetime64('2023-01-01') + 7 * i},a,{i},0" for i in range(30)]
    weekly.write_text("day,shop,sold,promo\n" + "\n".join(rows) + "\n")
    with pytest.raises(DataError, match=r"another beat.*every day, got every week"):
        job.evaluate(folder, str(weekly), "cpu")
    lacking = tmp_path / "lacking.csv"
    lacking.write_text("day,shop,sold\n2023-01-01,a,1\n")
    with pytest.raises(DataError, match=r"no such column.*'promo'"):
        job.evaluate(folder, str(lacking), "cpu")


def test_gaps_fail_or_are_counted(tmp_path: Path) -> None:
    file = write(tmp_path, skip=50)
    with pytest.raises(DataError, match=r"values are missing \(at sales.csv, line 51, behind it\).*2023-02-20"):
        Forecasting().read(settings_for(file))
    data = Forecasting().read(settings_for(file, on_error="skip"))
    assert data.skipped["values are missing"]["count"] == 3


def test_settings_that_cannot_be(tmp_path: Path) -> None:
    file = write(tmp_path)
    with pytest.raises(DataError, match=r"negative_binomial is for counts.*--likelihood student_t"):
        Forecasting().read(settings_for(file, likelihood="negative_binomial"))
    with pytest.raises(DataError, match="the horizon is longer than every series: expected below 120 steps, got 200"):
        Forecasting().read(settings_for(file, horizon=200))
    with pytest.raises(DataError, match="no such column"):
        Forecasting().read(settings_for(file, known=("discount",)))


@pytest.mark.parametrize("name", ["horizon", "season", "context", "every"])
def test_numbers_that_cannot_be(tmp_path: Path, name: str) -> None:
    with pytest.raises(ArgumentError, match=f"{name}: expected 1 or more, got 0"):
        Forecasting().begin(settings_for(write(tmp_path), **{name: 0}), tmp_path / "run")
    with pytest.raises(DataError, match="the season is longer than half of what there is to learn from"):
        Forecasting().read(settings_for(write(tmp_path), season=80))


def test_what_is_left_out_is_recognised_and_said(tmp_path: Path) -> None:
    data = Forecasting().read(ForecastingSettings(path=str(write(tmp_path)), target="sold"))
    said = " / ".join(data.notes)
    for words in ("'day' says when", "each 'shop' is a series", "every day", "a season of 7", "the horizon is 7 steps"):
        assert words in said
    assert data.sizes["series"] == {"train": 3, "validation": 3, "test": 3}


def test_tables_that_look_like_series(tmp_path: Path) -> None:
    job = Forecasting()
    why = job.guess(write(tmp_path))
    assert why is None or "table of numbers over time" in why
    plain = tmp_path / "plain.csv"
    plain.write_text("month,passengers\n" + "".join(f"1949-{m:02d},{100 + m}\n" for m in range(1, 13)))
    assert "'month' says when, 'passengers' is a number" in str(job.guess(plain))
    words = tmp_path / "words.csv"
    words.write_text("text,label\nso good,1\nso bad,0\n")
    assert job.guess(words) is None


@pytest.mark.parametrize("head", ["value\n", ""])
def test_a_single_column_of_numbers_looks_like_a_series(tmp_path: Path, head: str) -> None:
    numbers = tmp_path / "numbers.csv"
    numbers.write_text(head + "".join(f"{100 + 3 * (m % 7)}.5\n" for m in range(20)))
    assert guess_task(numbers)[0].name == "forecasting"
    assert "a single column of numbers" in str(Forecasting().guess(numbers))
    numbers.write_text(head + "1.5\n2.5\n")  # too few for anything
    assert Forecasting().guess(numbers) is None
    words = tmp_path / "words.csv"
    words.write_text("word\n" + "one\ntwo\n" * 10)
    assert Forecasting().guess(words) is None


def test_the_scheme_comes_back_from_its_file(run: tuple[RunFolder, Any]) -> None:
    folder, _ = run
    _, scheme = Forecasting().opened(folder)
    assert Scheme.from_json(json.loads(json.dumps(scheme.to_json()))) == scheme
    assert scheme.seasons == (7,)
    assert scheme.names == ("shop 0", "shop 1", "shop 2")
