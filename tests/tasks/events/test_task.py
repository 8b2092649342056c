"""The job of events: from a table to alarms."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("pandas")
pytest.importorskip("sklearn")

from rondeau.data.faults import Faults
from rondeau.data.made.cards import made_transactions
from rondeau.data.tables.event_sorter import sorted_events
from rondeau.data.tables.events import Coded, Events
from rondeau.errors import ArgumentError, DataError
from rondeau.report.html import write_report
from rondeau.tasks.events.reading import divide_events, read_like
from rondeau.tasks.events.task import EventClassification, EventSettings, time_word
from rondeau.tasks.look import Look
from rondeau.tasks.registry import guess_task

TINY = {"units": 8, "epochs": 2, "insight": False, "device": "cpu"}


def write_table(file: Path, events: Events, label: str | None = "fraud") -> Path:
    order = np.random.default_rng(0).permutation(len(events))
    lines = ["card,time,shop,country,amount" + (f",{label}" if label else "")]
    for row in order.tolist():
        words = [str(c.words[c.codes[row]]) for name, c in events.categories.items() if name != "channel"]
        cells = [events.entities[events.owners[row]], time_word(events, row), *words, events.numbers["amount"][row]]
        assert events.labels is not None
        lines.append(",".join(map(str, [*cells, *([events.labels[row]] if label else [])])))
    file.write_text("\n".join(lines) + "\n")
    return file


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("events")
    file = write_table(folder / "cards.csv", made_transactions(60, seed=3))
    job = EventClassification()
    settings = EventSettings(path=str(file), test=0.2, validation=0.2, **TINY)
    work = job.begin(settings, folder / "run")
    assert job.fit(work, lambda steps, speed: [])
    return job, work, job.conclude(work, lambda steps, speed: []), folder


def test_all_models_are_judged_alike(run: Any) -> None:
    results = run[2]
    assert [row.name.split(",")[0] for row in results.rows] == [
        "logistic regression on aggregates",
        "gradient boosting on aggregates",
        "lstm",
    ]
    for row in results.rows:
        assert set(row.scores) == {metric.name for metric in results.metrics}
        for name, (low, high) in row.intervals.items():
            assert low <= row.scores[name] + 1e-9, name
            assert high >= row.scores[name] - 1e-9, name


def test_the_threshold_is_chosen_and_kept(run: Any) -> None:
    _, work, *_ = run
    kept = json.loads(work.run.prepared.read_text())
    assert 0 < kept["threshold"] < 1
    assert work.prepared.threshold == kept["threshold"]


def test_a_fresh_table_is_judged_and_scored(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    job, work, _, folder = run
    fresh = write_table(folder / "fresh.csv", made_transactions(12, seed=9))
    results = job.evaluate(work.run, str(fresh), "cpu")
    assert set(results.own.scores) >= {"auroc", "f1"}
    bare = write_table(folder / "bare.csv", made_transactions(12, seed=9), label=None)
    records = list(job.predict(work.run, str(bare), "cpu", {}))
    assert len(records) == len(made_transactions(12, seed=9))
    assert set(records[0]) == {"card", "time", "line", "score", "alarm"}
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(bare.read_bytes())))
    assert list(job.predict(work.run, "-", "cpu", {})) == records
    heads, *rows = (line.split(",") for line in bare.read_text().splitlines())
    text = "".join(json.dumps(dict(zip(heads, row, strict=True))) + "\n" for row in rows)
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
    assert [r["score"] for r in job.predict(work.run, "-", "cpu", {})] == [r["score"] for r in records]
    with pytest.raises(DataError, match="fraud"):
        job.evaluate(work.run, str(bare), "cpu")
    broken = folder / "broken.csv"
    broken.write_text(bare.read_text().replace("amount", "sum"))
    with pytest.raises(DataError, match="amount"):
        list(job.predict(work.run, str(broken), "cpu", {}))


def test_unseen_words_are_told(run: Any) -> None:
    job, work, _, folder = run
    file = write_table(folder / "abroad.csv", made_transactions(12, seed=9))
    file.write_text(file.read_text().replace("FR", "ZZ"))
    assert any("did not have" in note for note in job.evaluate(work.run, str(file), "cpu").notes)


def test_numbers_missing_for_the_first_time_are_told(run: Any) -> None:
    job, work, _, folder = run
    text = write_table(folder / "gaps.csv", made_transactions(12, seed=9)).read_text().splitlines()
    cells = text[5].split(",")
    text[5] = ",".join([*cells[:4], "", cells[5]])
    (folder / "gaps.csv").write_text("\n".join(text) + "\n")
    notes = job.evaluate(work.run, str(folder / "gaps.csv"), "cpu").notes
    assert any("missing, as none was in training" in note and "1 of 'amount'" in note for note in notes)


def test_the_report_draws_the_curves(run: Any) -> None:
    page = write_report(run[1].run.path).read_text()
    assert "What is found, and at which price" in page
    assert "figure-curves" in page


def test_the_task_is_guessed(run: Any) -> None:
    task, why = guess_task(run[3] / "cards.csv")
    assert task.name == "events"
    assert "'fraud'" in why


def few() -> Events:
    return made_transactions(40, seed=5)


def divided(settings: EventSettings, events: Events, faults: Faults | None = None) -> list[Any]:
    return divide_events(events, settings, faults or Faults()).tables


def test_by_entity_nothing_of_one_held_out_is_learnt() -> None:
    train, validation, test = (set(t[:, 0].tolist()) for t in divided(EventSettings(test=0.2, validation=0.2), few()))
    assert not train & (validation | test)
    assert not validation & test
    assert len(train | validation | test) == 40


def test_in_time_nothing_later_is_learnt() -> None:
    events = few()
    tables = divided(EventSettings(split="time", test=0.2), events)
    spans = [events.times[np.concatenate([np.arange(c, e) for _, _, c, e in table.tolist()])] for table in tables]
    assert spans[0].max() < spans[1].min()
    assert spans[1].max() < spans[2].min()
    both = divided(EventSettings(split="both", test=0.2, validation=0.2), events)
    assert not set(both[0][:, 0].tolist()) & set(both[2][:, 0].tolist())
    assert max(events.times[end - 1] for *_, end in both[0].tolist()) < spans[2].min()


def test_the_same_history_in_two_parts_has_leaked() -> None:
    events = few()
    half = len(events.entities)
    twice = sorted_events(
        Coded(np.concatenate([events.owners, events.owners + half]).astype(np.int32), tuple(map(str, range(2 * half)))),
        np.concatenate([events.times, events.times]),
        {n: Coded(np.concatenate([c.codes, c.codes]), c.words) for n, c in events.categories.items()},
        {n: np.concatenate([v, v]) for n, v in events.numbers.items()},
        np.concatenate([events.labels, events.labels]),  # type: ignore[list-item]
    )
    with pytest.raises(DataError, match="same events as one that is held out"):
        divided(EventSettings(test=0.2), twice)
    faults = Faults("skip")
    train, validation, test = divided(EventSettings(test=0.2), twice, faults)
    digests = twice.digests()
    held = {digests[i] for table in (validation, test) for i in table[:, 0].tolist()}
    assert faults.total > 0
    assert not held & {digests[i] for i in train[:, 0].tolist()}


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"split": "time", "group": "card"}, "group"),
        ({"false_positive_rate": 0.0}, "false_positive_rate"),
        ({"positive_weight": -1.0}, "positive_weight"),
        ({"longest": 1}, "longest"),
        ({"split": "never"}, "split"),
    ],
)
def test_settings_out_of_range_are_refused(change: dict[str, Any], what: str) -> None:
    with pytest.raises(ArgumentError, match=what):
        replace(EventSettings(), **change).check()


def test_a_part_of_one_class_is_refused(tmp_path: Path) -> None:
    events = few()
    assert events.labels is not None
    rare = replace(events, labels=(np.arange(len(events)) < 3).astype(np.int8))
    file = write_table(tmp_path / "rare.csv", rare)
    with pytest.raises(DataError, match="one class only"):
        EventClassification().read(EventSettings(path=str(file)))


def test_a_run_is_opened_again_and_knows_its_data(run: Any) -> None:
    job, work, *_ = run
    again = job.reopen(work.run)
    assert again.data.digest == work.data.digest
    assert again.prepared.to_json() == work.prepared.to_json()
    np.testing.assert_array_equal(again.data.test.table, work.data.test.table)


def test_an_alarm_is_explained_by_the_events_before_it(run: Any) -> None:
    job, work, _, folder = run
    found = job.inspect(work.run, Look(position=0))
    (why,) = found["saliency"]
    assert why["position"] == len(why["scores"]) - 1 == len(why["context"]) - 1
    assert why["relative_gap"] < 0.05
    assert job.inspect(work.run, Look(file=str(folder / "fresh.csv"), position=1))["saliency"]


def test_a_column_that_is_left_out_is_not_read(tmp_path: Path) -> None:
    lines = write_table(tmp_path / "cards.csv", few()).read_text().splitlines()
    lines = [f"{line},{'number' if not i else i if i != 700 else 'none at all'}" for i, line in enumerate(lines)]
    file = tmp_path / "more.csv"
    file.write_text("\n".join(lines) + "\n")
    job, settings = EventClassification(), EventSettings(path=str(file))
    with pytest.raises(DataError, match=r"a number is corrupt.*line 701"):
        job.read(settings)
    data = job.read(replace(settings, leave_out=("number",)))
    plain = job.read(replace(settings, path=str(tmp_path / "cards.csv")))
    assert (data.digest, data.notes) == (plain.digest, plain.notes)
    with pytest.raises(DataError, match="no such column"):
        job.read(replace(settings, leave_out=("amuont",)))


def test_a_table_in_another_encoding_is_read_where_it_is_named(tmp_path: Path) -> None:
    task, file = EventClassification(), write_table(tmp_path / "events.csv", made_transactions(60, seed=1))
    file.write_bytes(file.read_text(encoding="utf-8").replace("country", "straße", 1).encode("cp1252"))
    with pytest.raises(DataError, match="Say its encoding, such as latin-1 or cp1252"):
        task.read(EventSettings(path=str(file)))
    for left_out in (("straße",), ()):
        settings = EventSettings(path=str(file), encoding="cp1252", leave_out=left_out)
        data = task.read(settings)
        prepared = task.prepare(settings, data)
        assert ("straße" in prepared.columns.categories) == (not left_out)
    assert read_like(prepared.columns, prepared.features, str(file), settings, labelled=True).owners.size
    with pytest.raises(DataError, match="Say its encoding"):
        read_like(prepared.columns, prepared.features, str(file), replace(settings, encoding="utf-8"), labelled=True)
