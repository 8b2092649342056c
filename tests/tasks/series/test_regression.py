"""The job of series with a number each: from a folder or a table to numbers and how sure they are."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("pandas")
metrics = pytest.importorskip("sklearn.metrics")

from rondeau.data.faults import Faults
from rondeau.data.made.series import made_pulses
from rondeau.data.series.ts import Series
from rondeau.errors import CheckpointError, DataError
from rondeau.tasks.registry import guess_task
from rondeau.tasks.series.baselines import ridge_regression, summary
from rondeau.tasks.series.regression import SeriesRegression, SeriesRegressionSettings
from rondeau.tasks.series.targets import TargetPreparation, by_size, figures, margin, targets, with_targets

TINY = {"units": 8, "filters": 4, "patience": None, "insight": False, "device": "cpu", "learning_rate": 1e-2}


def ramps(count: int, seed: int = 0) -> list[Series]:
    """Series that rise by their target, in hundreds."""
    rng = np.random.default_rng(seed)
    made = []
    for i in range(count):
        steps, rise = int(rng.integers(6, 12)), rng.normal()
        values = np.stack([np.linspace(0, rise, steps), rng.normal(0, 1, steps)], 1)
        made.append(Series(values.astype(np.float32), target=round(500 + 100 * float(rise), 3), where=f"ramp {i}"))
    return made


def lines(series: list[Series], head: str = "@targetLabel true", answers: bool = True) -> str:
    made = [":".join(",".join(f"{v:g}" for v in channel) for channel in one.values.T) for one in series]
    ends = [f":{one.target}" if answers else "" for one in series]
    top = f"@problemName Ramps\n@timeStamps false\n@univariate false\n@dimensions 2\n{head}\n@data\n"
    return top + "".join(f"{line}{end}\n" for line, end in zip(made, ends, strict=True))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("ramps")
    (folder / "Ramps_TRAIN.ts").write_text(lines(ramps(80)))
    (folder / "Ramps_TEST.ts").write_text(lines(ramps(30, seed=1)))
    job = SeriesRegression()
    work = job.begin(SeriesRegressionSettings(path=str(folder), epochs=15, **TINY), folder / "run")
    assert job.fit(work, lambda steps, speed: [])
    return job, work, job.conclude(work, lambda steps, speed: []), folder


def test_a_number_is_learnt_and_stands_beside_baselines(run: Any) -> None:
    _, work, results, folder = run
    assert work.data.sizes["series"] == {"train": 64, "validation": 16, "test": 30}
    assert [row.name for row in results.rows][:4] == [
        "mean",
        "ridge regression on summary statistics",
        "gradient boosting on summary statistics",
        "nearest neighbour, Euclidean",
    ]
    mean, ridge, own = results.rows[0].scores, results.rows[1].scores, results.own.scores
    assert mean["r2"] <= 0
    assert ridge["r2"] > 0.99  # the last value less the first is the target
    assert own["r2"] > 0.7
    assert 0.4 <= own["coverage_80"] <= 1
    assert set(results.own.intervals) == {"rmse", "mae", "r2", "coverage_80"}
    assert results.own.intervals["rmse"][0] < own["rmse"] < results.own.intervals["rmse"][1]
    found = work.run.read_json(work.run.findings)
    assert sum(row[1] for row in found["by_group"]["rows"]) == 30
    worst = [abs(row["too large by"]) for row in found["worst"]]
    assert worst == sorted(worst, reverse=True)
    assert guess_task(folder)[0].name == "series_regression"


def test_predictions_say_how_sure_they_are(run: Any) -> None:
    job, work, results, folder = run
    file = folder / "unknown.ts"
    file.write_text(lines(ramps(6, seed=2), answers=False))
    records = list(job.predict(work.run, str(file), "cpu", {}))
    truth = [one.target for one in ramps(6, seed=2)]
    assert np.corrcoef([one["predicted"] for one in records], truth)[0, 1] > 0.7
    width = {round(one["high_80"] - one["low_80"], 3) for one in records}
    assert len(width) == 1
    assert width.pop() == pytest.approx(2 * job.opened(work.run)[1].margin, abs=1e-3)
    told = job.evaluate(work.run, str(folder / "Ramps_TEST.ts"), "cpu").own.scores
    assert told == pytest.approx(dict(results.own.scores))


def test_tables_and_classes_that_are_numbers(tmp_path: Path) -> None:
    rows = ["series,step,target,a,b"]
    for i, one in enumerate(ramps(40)):
        rows += [f"s{i},{t},{one.target},{a:.4f},{b:.4f}" for t, (a, b) in enumerate(one.values)]
    table = tmp_path / "ramps.csv"
    table.write_text("\n".join(rows) + "\n")
    job = SeriesRegression()
    data = job.read(SeriesRegressionSettings(path=str(table), label="target", test=0.2))
    assert data.sizes["series"]["train"] + data.sizes["series"]["validation"] + data.sizes["series"]["test"] == 40
    assert {one.label for one in data.train} == {None}
    assert sorted(targets([*data.train, *data.validation, *data.test])) == sorted(targets(ramps(40)))
    file = tmp_path / "classes.ts"
    file.write_text(lines(ramps(3), "@classLabel true " + " ".join(str(one.target) for one in ramps(3))))
    read, _ = with_targets(job.read(SeriesRegressionSettings(path=str(file), validation=0.4, test=0.3)).train, Faults())
    assert read[0].target in [one.target for one in ramps(3)]


def test_what_is_no_number_is_named(tmp_path: Path) -> None:
    job = SeriesRegression()
    file = tmp_path / "words.ts"
    words = [Series(one.values, "up", where=f"line {i}") for i, one in enumerate(ramps(3))]
    with pytest.raises(DataError, match=r"a target is no number.*line 0.*'up'.*series_classification"):
        with_targets(words, Faults())
    faults = Faults("skip")
    kept, groups = with_targets([*words, *ramps(2)], faults, ["a", "b", "c", "d", "e"])
    assert (len(kept), groups, faults.total) == (2, ["d", "e"], 3)
    with pytest.raises(DataError, match="no series with a target is left"):
        with_targets(words, Faults("skip"))
    same = [Series(one.values, target=3.0) for one in ramps(4)]
    with pytest.raises(DataError, match="only one target to learn"):
        TargetPreparation.fit(same)
    file.write_text(lines(ramps(2)) + "1,2:3,4:nan\n")
    with pytest.raises(DataError, match=r"a target is no number.*line 9"):
        job.read(SeriesRegressionSettings(path=str(file)))
    with pytest.raises(CheckpointError, match="damaged"):
        TargetPreparation.from_json({})


def test_figures_are_those_of_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    truth, answers = rng.normal(size=50), rng.normal(size=50)
    found = figures(truth, answers, 1.0)
    assert found["r2"] == pytest.approx(metrics.r2_score(truth, answers))
    assert found["mae"] == pytest.approx(metrics.mean_absolute_error(truth, answers))
    assert found["rmse"] == pytest.approx(math.sqrt(metrics.mean_squared_error(truth, answers)))
    assert found["coverage_80"] == pytest.approx(np.mean(np.abs(truth - answers) <= 1))
    assert "r2" not in figures(np.ones(3), np.arange(3.0))
    assert sum(row[1] for row in by_size(truth, answers)["rows"]) == 50


def test_the_margin_holds_four_in_five_of_what_comes() -> None:
    rng = np.random.default_rng(0)
    held = []
    for _ in range(300):
        wrong = rng.normal(size=30)
        held.append(np.mean(np.abs(rng.normal(size=200)) <= margin(wrong, np.zeros(30))))
    assert 0.79 < np.mean(held) < 0.84  # 25 of 31: 0.806
    assert margin(np.array([5.0]), np.zeros(1)) == 5


def test_the_scale_and_the_preparation_are_of_the_training_part(run: Any) -> None:
    _, work, _, _ = run
    prepared = TargetPreparation.fit(work.data.train)
    assert prepared.mean == targets(work.data.train).mean()
    again = TargetPreparation.from_json(work.prepared.to_json())
    assert again == work.prepared
    assert math.isnan(TargetPreparation.from_json(prepared.to_json()).margin)


def test_made_pulses_repeat_and_no_summary_tells_how_far_apart_they_are() -> None:
    first, again = made_pulses(300, seed=3), made_pulses(300, seed=3)
    assert all((a.values == b.values).all() and a.target == b.target for a, b in zip(first, again, strict=True))
    told, truth = np.stack([summary(one.values) for one in first]), targets(first)
    said = ridge_regression(told[:200], truth[:200], 0).predict(told[200:])
    assert metrics.r2_score(truth[200:], said) < 0.2
