"""The way every job goes, with a task as small as can be: which of two words a row holds more of."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from rondeau import Sequential, layers
from rondeau.data.faults import Faults
from rondeau.data.splits import split_rows
from rondeau.errors import ArgumentError, CheckpointError, DataError
from rondeau.insight.results import Metric, Row
from rondeau.tasks import registry
from rondeau.tasks.api import Run, train
from rondeau.tasks.job import Data, Job, Judged
from rondeau.tasks.look import Explained
from rondeau.tasks.run_folder import RunFolder
from rondeau.tasks.settings import Settings, option
from rondeau.tasks.task import Work
from rondeau.training.callbacks import Callback
from rondeau.training.losses import SparseCategoricalCrossentropy


@dataclass(frozen=True)
class CountSettings(Settings):
    validation: float = option(0.2, "Share.")
    test: float = option(0.2, "Share.")
    units: int = option(6, "Units.")
    epochs: int = option(4, "Epochs.")
    learning_rate: float = option(2e-2, "Rate.")
    weight: float = option(1.0, "A setting of its own.")


class Prepared(dict[str, Any]):
    def to_json(self) -> dict[str, Any]:
        return dict(self)


class Count(Job[CountSettings]):
    name, title, settings, steps = "count", "counting", CountSettings, "letters"
    metrics: ClassVar[tuple[Metric, ...]] = (Metric("accuracy"),)

    def guess(self, path: Path) -> str | None:
        return "it ends in .count" if path.suffix == ".count" else None

    def read(self, settings: CountSettings) -> Data:
        faults = Faults(settings.on_error)
        rows = []
        text = made() if settings.path is None else Path(settings.path).read_text()
        for number, line in enumerate(text.splitlines(), 1):
            if set(line) <= {"a", "b"} and line:
                rows.append(line)
            else:
                faults.add("a line has other letters", where=f"line {number}", got=line)
        parts = split_rows(rows, settings.validation, settings.test, settings.seed)
        train, validation, test = ([rows[i] for i in part] for part in parts)
        sizes = {"lines": {"train": len(train), "validation": len(validation), "test": len(test)}}
        return Data("counts", train, validation, test, sizes, str(hash(text)), faults.to_json(), ["two letters"])

    def prepare(self, settings: CountSettings, data: Data) -> Prepared:
        return Prepared(letters="ab")

    def load_prepared(self, data: dict[str, Any]) -> Prepared:
        return Prepared(data)

    def build(self, settings: CountSettings, prepared: Prepared, data: Data | None) -> Any:
        embedding = [layers.Input((None,), dtype="int64"), layers.Embedding(3, 4, name="letters")]
        return Sequential(
            [*embedding, layers.GRU(settings.units, name="gru"), layers.Dense(2, name="two")], name="count"
        )

    def loss(self, settings: CountSettings, prepared: Prepared, data: Data) -> Any:
        return SparseCategoricalCrossentropy(from_logits=True)

    def fit_metrics(self, settings: CountSettings, prepared: Prepared) -> list[Any]:
        return ["accuracy"]

    def batches(self, settings: CountSettings, prepared: Prepared, examples: Any, training: bool) -> Any:
        return encoded(examples), answers(examples)

    def count_steps(self, settings: CountSettings, prepared: Prepared, examples: Any) -> int:
        return sum(map(len, examples))

    def judge(self, model: Any, settings: CountSettings, prepared: Prepared, examples: Any) -> Judged:
        found = np.asarray(model.predict(encoded(examples))).argmax(1)
        right = found == answers(examples)
        rows = [{"line": line, "answer": int(one)} for line, one in zip(examples, found, strict=True)]
        findings = {"confusion": {"labels": ["a", "b"], "counts": [[3, 1], [0, 4]]}, "examples": rows[:2]}
        return Judged({"accuracy": float(right.mean())}, {"accuracy": (0.5, 1.0)}, findings, rows)

    def baselines(self, settings: CountSettings, prepared: Prepared, data: Data) -> list[Row]:
        return [Row("always b", None, {"accuracy": float(answers(data.test).mean())})]

    def read_examples(self, settings: CountSettings, prepared: Prepared, path: str) -> tuple[Any, list[str]]:
        return Path(path).read_text().split(), ["read"]

    def read_inputs(self, settings: CountSettings, prepared: Prepared, path: str) -> Iterator[Any]:
        for line in Path(path).read_text().splitlines():
            yield json.loads(line)["text"] if line.startswith("{") else line

    def answers(
        self, model: Any, settings: CountSettings, prepared: Prepared, inputs: list[Any], options: dict[str, Any]
    ) -> Iterator[dict[str, Any]]:
        for line, logits in zip(inputs, np.asarray(model.predict(encoded(inputs))), strict=True):
            yield {"line": line, "answer": "ab"[int(logits.argmax())]}

    def explain(self, model: Any, settings: CountSettings, prepared: Prepared, example: str) -> Explained | None:
        def target(logits: torch.Tensor) -> torch.Tensor:
            return torch.log_softmax(logits, -1)[:, 1]

        return Explained(torch.tensor(encoded([example])[0])[None], list(example), "b", None, target)


def made() -> str:
    generator = np.random.default_rng(0)
    lines = ["".join(generator.choice(["a", "b"], length)) for length in generator.integers(3, 12, 150)]
    return "\n".join(dict.fromkeys(lines))


def encoded(lines: Any) -> list[list[int]]:
    return [[1 + "ab".index(letter) for letter in line] for line in lines]


def answers(lines: Any) -> Any:
    return np.array([int(line.count("b") > line.count("a")) for line in lines])


def no_view(steps: int, speed: Any) -> list[Callback]:
    return []


@pytest.fixture(autouse=True)
def _registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry.TASKS, "count", f"{__name__}:Count")
    real = registry.get_task.__wrapped__
    monkeypatch.setattr(registry, "get_task", lambda name: Count() if name == "count" else real(name))
    monkeypatch.setattr("rondeau.tasks.api.get_task", registry.get_task)


def begin(out: Path, **settings: Any) -> Work[CountSettings]:
    return Count().begin(CountSettings(**{"insight": False, **settings}), out)


def test_a_run_from_beginning_to_end(tmp_path: Path) -> None:
    work = begin(tmp_path / "run", insight=True, epochs=10)
    assert Count().fit(work, no_view)
    results = Count().conclude(work, no_view)
    assert [row.name for row in results.rows] == ["always b", "lstm, 1 x 6"]
    gain = results.gain()
    assert gain is not None
    assert gain > 0.1
    run = RunFolder.open(tmp_path / "run")
    assert run.task == "count"
    assert run.read_json(run.config)["data"]["sizes"]["lines"]["train"] == len(work.data.train)
    assert run.read_json(run.findings)["confusion"]["labels"] == ["a", "b"]
    assert len(run.read_lines(run.predictions)) == len(work.data.test)
    assert [one["token"] for one in run.read_json(run.inspected)["saliency"]] == ["b"] * 3
    line = Count().describe(work)[0]
    assert line.startswith("counts: counting; lines: ")
    assert "two letters" in Count().describe(work)


class Stop(Callback):
    """An interrupt after some batches."""

    def __init__(self, batches: int) -> None:
        self.batches = batches

    def on_train_batch_end(self, batch: int, logs: Any) -> None:
        self.batches -= 1
        if self.batches == 0:
            self.loop.interrupted = True


@pytest.mark.parametrize("batches", [2, 5])
def test_an_interrupted_run_goes_on_to_the_same_weights(tmp_path: Path, batches: int) -> None:
    whole = begin(tmp_path / "whole")
    assert Count().fit(whole, no_view)
    begun = begin(tmp_path / "parts")
    assert not Count().fit(begun, lambda steps, speed: [Stop(batches)])
    again = Count().reopen(RunFolder.open(tmp_path / "parts"))
    assert Count().fit(again, no_view)
    one, other = (load_file(tmp_path / name / "model" / "weights.safetensors") for name in ("whole", "parts"))
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_the_best_epoch_is_kept_by_what_is_monitored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Count, "monitor", "val_accuracy")
    monkeypatch.setattr(Count, "monitor_higher", True)
    work = begin(tmp_path / "run", epochs=6, patience=2)
    Count().fit(work, no_view)
    history = work.run.read_lines(work.run.history)
    best = max(record["val_accuracy"] for record in history)
    model = work.run.load_model()
    judged = Count().judge(model, work.settings, work.prepared, work.data.validation)
    assert judged.scores["accuracy"] == pytest.approx(best)
    first = next(i for i, record in enumerate(history) if record["val_accuracy"] == best)
    assert len(history) <= first + 3


def test_bad_records_are_skipped_counted_and_told(tmp_path: Path) -> None:
    file = tmp_path / "text.count"
    file.write_text(made() + "\nabc\n\n")
    with pytest.raises(DataError, match=r"other letters.*--on-error skip"):
        begin(tmp_path / "run", path=str(file))
    assert not (tmp_path / "run").exists()
    work = begin(tmp_path / "run", path=str(file), on_error="skip")
    assert work.data.skipped["a line has other letters"]["count"] == 2
    assert "left out: 2 a line has other letters" in Count().describe(work)[-1]


def test_data_that_have_changed_are_not_gone_on_with(tmp_path: Path) -> None:
    file = tmp_path / "text.count"
    file.write_text(made())
    begin(tmp_path / "run", path=str(file))
    file.write_text(made() + "\nababab")
    with pytest.raises(CheckpointError, match="not those the run began with"):
        Count().reopen(RunFolder.open(tmp_path / "run"))


def test_in_a_few_lines_of_python(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "text.count"
    file.write_text(made())
    run = train(file, out=tmp_path / "run", epochs=10, dropout=0.0, insight=False)
    said = capsys.readouterr().out
    assert "task: count, since it ends in .count" in said
    assert "epoch 10/10" in said
    assert run.results.own.scores.keys() == {"accuracy"}
    (tmp_path / "more.txt").write_text("aab abb bbb")
    again = Run(tmp_path / "run")
    assert repr(again) == repr(run)
    assert 0 <= again.evaluate(tmp_path / "more.txt")["accuracy"] <= 1
    (tmp_path / "inputs.txt").write_text("aaaaab\nabbbbb\n")
    expected = [{"line": "aaaaab", "answer": "a"}, {"line": "abbbbb", "answer": "b"}]
    assert again.predict(tmp_path / "inputs.txt") == expected
    assert again.predict(["aaaaab", "abbbbb"]) == expected
    assert again.predict([]) == []
    assert not list(run.path.glob(".*"))  # nothing holds it any longer
    with pytest.raises(ArgumentError, match="a list of texts"):
        again.predict([1, 2])
    with pytest.raises(ArgumentError, match=r"no setting of count called 'epoch'.*'epochs'"):
        train(file, epoch=3)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [({"units": 0}, "units"), ({"patience": 0}, "patience"), ({"cell": "lsmt"}, "Did you mean 'lstm'"),
     ({"clipnorm": 0.0}, "clipnorm"), ({"validation": 0.9}, "nothing to train on"), ({"device": "tpu"}, "device")],
)  # fmt: skip
def test_settings_that_cannot_be_are_refused_before_anything_is_written(
    tmp_path: Path, wrong: dict[str, Any], message: str
) -> None:
    with pytest.raises(ArgumentError, match=message):
        Count().begin(replace(CountSettings(), **wrong), tmp_path / "run")
    assert not (tmp_path / "run").exists()
