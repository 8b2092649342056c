"""The job of labelled series: from a folder or a table to classes."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("pandas")
pytest.importorskip("sklearn")

from rondeau.data.faults import Faults
from rondeau.data.made.series import made_gestures
from rondeau.data.series.ts import Series
from rondeau.errors import ArgumentError, DataError
from rondeau.tasks.look import Look
from rondeau.tasks.registry import guess_task
from rondeau.tasks.series.baselines import nearest, stretched, summary
from rondeau.tasks.series.preparation import SeriesPreparation
from rondeau.tasks.series.reading import Found, divide
from rondeau.tasks.series.task import SeriesClassification, SeriesSettings, macro_f1

TINY = {"units": 4, "filters": 4, "epochs": 2, "patience": None, "insight": False, "device": "cpu"}


def lines(series: list[Series], labelled: bool = True) -> str:
    head = "@problemName Toy\n@timeStamps false\n@univariate false\n@classLabel true up down\n@data\n"
    made = [":".join(",".join(f"{v:g}" for v in channel) for channel in one.values.T) for one in series]
    ends = [f":{one.label}" if labelled else "" for one in series]
    return head + "".join(f"{line}{end}\n" for line, end in zip(made, ends, strict=True))


def ramps(count: int, seed: int = 0) -> list[Series]:
    rng = np.random.default_rng(seed)
    made = []
    for i in range(count):
        steps = int(rng.integers(6, 12))
        ramp = np.linspace(0, 1, steps) * (1 if i % 2 else -1)
        values = np.stack([ramp + rng.normal(0, 0.1, steps), rng.normal(0, 1, steps)], 1)
        made.append(Series(values.astype(np.float32), "up" if i % 2 else "down", where=f"ramp {i}"))
    return made


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("toy")
    (folder / "Toy_TRAIN.ts").write_text(lines(ramps(30)))
    (folder / "Toy_TEST.ts").write_text(lines(ramps(10, seed=1)))
    job = SeriesClassification()
    work = job.begin(SeriesSettings(path=str(folder), **TINY), folder / "run")
    assert job.fit(work, lambda steps, speed: [])
    return job, work, job.conclude(work, lambda steps, speed: []), folder


def test_the_own_test_part_is_judged_beside_baselines(run: Any) -> None:
    _, work, results, _ = run
    assert work.data.sizes["series"] == {"train": 24, "validation": 6, "test": 10}
    assert [row.name for row in results.rows][:4] == [
        "majority class",
        "logistic regression on summary statistics",
        "gradient boosting on summary statistics",
        "nearest neighbour, Euclidean, stretched to one length",
    ]
    assert results.rows[0].scores["accuracy"] == 0.5
    assert results.rows[1].scores["accuracy"] == 1.0  # ramps differ in their trend


def test_predictions_from_lines_without_labels(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    job, work, _, folder = run
    file = folder / "unknown.ts"
    file.write_text(lines(ramps(6, seed=2), labelled=False))
    records = list(job.predict(work.run, str(file), "cpu", {}))
    assert len(records) == 6
    assert records[0]["predicted"] in ("up", "down")
    assert records[0]["probability of up"] + records[0]["probability of down"] == pytest.approx(1, abs=2e-6)
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(file.read_bytes())))
    again = list(job.predict(work.run, "-", "cpu", {}))
    assert [r | {"place": ""} for r in again] == [r | {"place": ""} for r in records]
    assert again[0]["place"] == "standard input.ts, line 6"
    assert job.evaluate(work.run, str(folder / "Toy_TEST.ts"), "cpu").own.scores.keys() == {"accuracy", "macro_f1"}


def test_a_class_never_seen_and_other_channels_are_named(run: Any) -> None:
    job, work, _, folder = run
    odd = ramps(4)
    odd[2] = replace(odd[2], label="sideways")
    file = folder / "odd.ts"
    file.write_text(lines(odd).replace("true up down", "true up down sideways"))
    with pytest.raises(DataError, match=r"did not have.*line 8.*sideways"):
        job.evaluate(work.run, str(file), "cpu")
    narrow = folder / "narrow.ts"
    narrow.write_text(lines([replace(one, values=one.values[:, :1]) for one in ramps(4)]))
    with pytest.raises(DataError, match="another number of channels"):
        list(job.predict(work.run, str(narrow), "cpu", {}))


def test_a_long_table_is_read_too(tmp_path: Path) -> None:
    rows = ["recording,step,x,y,label"]
    for i, one in enumerate(ramps(20)):
        rows += [f"r{i:02d},{t},{v[0]:g},{v[1]:g},{one.label}" for t, v in enumerate(one.values)]
    file = tmp_path / "ramps.csv"
    file.write_text("\n".join(rows) + "\n")
    task, why = guess_task(file)
    assert (task.name, "'recording'" in why) == ("series_classification", True)
    data = SeriesClassification().read(SeriesSettings(path=str(file), validation=0.2, test=0.2))
    assert data.sizes["series"] == {"train": 12, "validation": 4, "test": 4}
    prepared = SeriesClassification().prepare(SeriesSettings(), data)
    assert prepared.channels == ("x", "y")


def test_a_table_is_read_as_the_training_table_was(tmp_path: Path) -> None:
    rows = ["messung,schritt,kraft,weg,zustand"]  # names that say nothing: values decide
    for i, one in enumerate(ramps(24)):
        rows += [f"m{i:02d},{t},{v[0]:g},{v[1]:g},{one.label}" for t, v in enumerate(one.values)]
    file = tmp_path / "ramps.csv"
    file.write_text("\n".join(rows) + "\n")
    assert guess_task(file)[0].name == "series_classification"
    job = SeriesClassification()
    work = job.begin(SeriesSettings(path=str(file), **TINY), tmp_path / "run")
    assert job.fit(work, lambda steps, speed: [])
    one = tmp_path / "one.csv"  # a single series, backwards, without its label
    one.write_text("\n".join([rows[0], *reversed(rows[1:5])]).replace(",zustand", "").replace(",down", "") + "\n")
    (record,) = job.predict(work.run, str(one), "cpu", {})
    (first,) = (r for r in job.predict(work.run, str(file), "cpu", {}) if r["place"].endswith("'m00'"))
    assert record["predicted"] in ("up", "down")
    assert job.opened(work.run)[1].roles == ("messung", "schritt", "zustand")
    whole = [r for r in rows[1:] if r.startswith("m00")]
    one.write_text("\n".join([rows[0], *reversed(whole)]) + "\n")  # sorted by the column that rose in training
    (again,) = job.predict(work.run, str(one), "cpu", {})
    assert again["probability of up"] == pytest.approx(first["probability of up"], abs=1e-6)


def test_rare_classes_can_count_as_much_as_common_ones() -> None:
    series = [one for i, one in enumerate(ramps(40)) if one.label == "up" or i % 8 == 0]
    prepared = SeriesPreparation.fit(series)
    job = SeriesClassification()
    _, y, weights = job.batches(SeriesSettings(class_weights="balanced"), prepared, series, True)
    assert weights[y == 0].sum() == pytest.approx(weights[y == 1].sum(), rel=1e-6)
    assert weights.mean() == pytest.approx(1, rel=1e-6)
    assert len(job.batches(SeriesSettings(), prepared, series, True)) == 2


def test_missing_values_that_training_had_none_of_are_told(run: Any) -> None:
    job, work, _, folder = run
    file = folder / "gaps.ts"
    file.write_text(lines(ramps(6, seed=4)).replace("nan", "?"))
    text = file.read_text().splitlines()
    text[-1] = text[-1].replace(text[-1].split(",")[1], "?", 1)
    file.write_text("\n".join(text) + "\n")
    assert any("missing, as none was" in note for note in job.evaluate(work.run, str(file), "cpu").notes)


def test_the_scale_is_of_the_training_part_alone() -> None:
    series = ramps(20)
    other = [replace(one, values=one.values * 100) for one in series[10:]]
    assert SeriesPreparation.fit(series[:10]) == SeriesPreparation.fit(series[:10])
    assert SeriesPreparation.fit(series[:10]) != SeriesPreparation.fit([*series[:10], *other])
    prepared = SeriesPreparation.fit(series)
    assert SeriesPreparation.from_json(prepared.to_json()) == prepared


def test_a_series_of_the_test_part_in_training_has_leaked() -> None:
    found = Found("toy", ramps(20), [*ramps(4, seed=1), ramps(20)[7]])
    with pytest.raises(DataError, match=r"in the training part as well.*ramp 7"):
        divide(found, 0.2, 0.1, 0, Faults())
    faults = Faults("skip")
    train, validation, test = divide(found, 0.2, 0.1, 0, faults)
    assert len(train) + len(validation) == 19
    assert faults.total == 1
    assert not {one.digest() for one in test} & {one.digest() for one in [*train, *validation]}


def test_identical_series_and_groups_stay_together() -> None:
    series = ramps(20)
    found = Found("toy", [*series, *series], groups=[f"g{i}" for i in range(40)])
    parts = divide(found, 0.2, 0.2, 0, Faults())
    digests = [{one.digest() for one in part} for part in parts]
    assert not digests[0] & digests[1]
    assert not digests[0] & digests[2]
    assert sum(map(len, parts)) == 40


def test_one_class_regression_and_columns_of_ts_files_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "toy.ts"
    file.write_text(lines([one for one in ramps(20) if one.label == "up"]))
    job = SeriesClassification()
    with pytest.raises(DataError, match="only one class"):
        job.begin(SeriesSettings(path=str(file), **TINY), tmp_path / "run")
    with pytest.raises(ArgumentError, match="no columns"):
        job.read(SeriesSettings(path=str(file), label="class"))
    file.write_text(lines(ramps(4)).replace("@classLabel true up down", "@targetLabel true").replace(":up", ":1"))
    with pytest.raises(DataError, match=r"is no number"):
        job.read(SeriesSettings(path=str(file)))
    file.write_text(file.read_text().replace(":down", ":0"))
    with pytest.raises(DataError, match="SequenceRegressor"):
        job.read(SeriesSettings(path=str(file)))


def test_summaries_and_neighbours() -> None:
    told = summary(np.array([[1.0], [np.nan], [3.0]]))
    assert told[:5].tolist() == [3, 2, 1, 1, 3]
    assert np.isfinite(summary(np.full((4, 2), np.nan))).all()
    assert stretched(np.array([[0.0], [np.nan], [2.0]]), 5)[:, 0].tolist() == [0, 0.5, 1, 1.5, 2]
    near = nearest([np.zeros((5, 1)), np.ones((3, 1))], [np.full((4, 1), 0.9), np.full((9, 1), 0.2)])
    assert near is not None
    assert near.tolist() == [1, 0]


def test_macro_f1_is_that_of_scikit_learn() -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(0)
    truth, said = rng.integers(0, 4, 50), rng.integers(0, 5, 50)
    assert macro_f1(truth, said) == pytest.approx(metrics.f1_score(truth, said, average="macro"), rel=1e-12)


def test_made_gestures_repeat_and_no_summary_tells_them_apart() -> None:
    series = made_gestures(200)
    assert [one.digest() for one in made_gestures(200)] == [one.digest() for one in series]
    kinds = {}
    for one in series:
        kinds.setdefault(one.label, []).append(summary(one.values)[1:13])
    means = np.stack([np.mean(rows, axis=0) for rows in kinds.values()])
    spread = np.std(np.concatenate([np.stack(rows) for rows in kinds.values()]), axis=0)
    assert (np.ptp(means, axis=0) < 0.8 * spread)[[0, 1, 2, 3]].all()


@pytest.mark.slow
@pytest.mark.parametrize(("name", "least"), [("JapaneseVowels", 0.93), ("BasicMotions", 0.85)])
def test_real_sets(name: str, least: float, tmp_path: Path, shared: Callable[[str], Path]) -> None:
    """Floors well below the figures in docs/results.md: a broken model falls below, another seed does not."""
    folder = shared("uea") / name
    job = SeriesClassification()
    settings = SeriesSettings(path=str(folder), epochs=60, insight=False, device="cpu")
    work = job.begin(settings, tmp_path / "run")
    job.fit(work, lambda steps, speed: [])
    judged = job.judge(work.run.load_model(), settings, work.prepared, work.data.test)
    assert judged.scores["accuracy"] >= least


def test_a_class_is_explained_by_the_steps(run: Any) -> None:
    job, work, *_ = run
    (why,) = job.inspect(work.run, Look(position=3))["saliency"]
    assert len(why["scores"]) == len(work.data.test[3].values)
    assert why["token"] in ("up", "down")
    with pytest.raises(ArgumentError, match="position"):
        job.inspect(work.run, Look(position=99))


def test_a_table_in_another_encoding_is_read_where_it_is_named(tmp_path: Path) -> None:
    rows = [
        f"{series},{step},{series * step},{('süß', 'groß')[series % 2]}" for series in range(12) for step in range(5)
    ]
    table = tmp_path / "long.csv"
    table.write_bytes(("\n".join(["series,time,x,label", *rows]) + "\n").encode("cp1252"))
    with pytest.raises(DataError, match="Say its encoding, such as latin-1 or cp1252"):
        SeriesClassification().read(SeriesSettings(path=str(table)))
    assert SeriesClassification().read(SeriesSettings(path=str(table), encoding="cp1252")).sizes["series"]["train"] > 0
