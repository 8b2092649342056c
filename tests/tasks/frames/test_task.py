from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from rondeau.errors import DataError
from rondeau.tasks.api import Run, train
from rondeau.tasks.frames.task import FrameTagging
from rondeau.tasks.look import Look
from rondeau.tasks.registry import guess_task

RATE = 8000
SMALL = {"units": 8, "filters": 8, "epochs": 8, "bands": 16, "insight": False, "learning_rate": 1e-2, "verbose": False}


@pytest.fixture(scope="module")
def tones(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A high tone is to be found among low ones as loud: energy does not tell them apart."""
    root, generator = tmp_path_factory.mktemp("tones"), np.random.default_rng(0)
    with (root / "list.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["path", "start", "end", "label", "speaker"])
        for number in range(60):
            samples = 0.01 * generator.standard_normal(RATE)
            for label, pitch in (("high", 1800.0), ("low", 500.0)):
                begin = generator.uniform(0, 0.3) + (0.5 if (label == "high") == (number % 2 == 0) else 0.0)
                at = np.arange(round(begin * RATE), round((begin + 0.2) * RATE))
                samples[at] += 0.3 * np.sin(2 * np.pi * pitch * at / RATE)
                if label == "high":
                    rows.writerow([f"{number}.wav", round(begin, 3), round(begin + 0.2, 3), label, f"s{number % 8}"])
            soundfile.write(root / f"{number}.wav", samples, RATE)
    return root


@pytest.fixture(scope="module")
def run(tones: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return train(tones, out=tmp_path_factory.mktemp("runs") / "run", test=0.2, **SMALL)


def test_a_manifest_of_intervals_is_guessed(tones: Path) -> None:
    task, why = guess_task(tones)
    assert task.name == "frame_tagging"
    assert "intervals" in why


def test_it_hears_what_energy_does_not_tell(run: Run) -> None:
    rows = {row.name: row.scores for row in run.results.rows}
    own = run.results.own
    assert own.scores["frame_f1"] > 0.9
    assert own.scores["auroc"] > 0.98
    low, high = own.intervals["auroc"]
    assert low <= own.scores["auroc"] + 1e-3
    assert high >= own.scores["auroc"] - 1e-3
    assert rows["energy threshold"]["frame_f1"] < 0.75
    assert set(rows) >= {"most frequent label", "energy threshold above the background"}


def test_predictions_are_intervals(run: Run, tones: Path) -> None:
    with (tones / "list.csv").open() as file:
        wanted = {row["path"]: row for row in csv.DictReader(file)}
    for number in (0, 1):
        (answer,) = run.predict(tones / f"{number}.wav")
        (found,) = answer["intervals"]
        assert found["label"] == "high"
        assert found["start"] == pytest.approx(float(wanted[f"{number}.wav"]["start"]), abs=0.03)
        assert found["end"] == pytest.approx(float(wanted[f"{number}.wav"]["end"]), abs=0.03)


def test_it_evaluates_and_inspects(run: Run, tones: Path) -> None:
    assert run.evaluate(tones)["frame_f1"] > 0.9
    found = FrameTagging().inspect(run.folder, Look())
    assert found["saliency"][0]["position"] is not None
    assert len(found["saliency"][0]["scores"]) == len(found["saliency"][0]["context"])


def test_the_run_tells_worst_recordings_and_labels(run: Run) -> None:
    findings = json.loads((run.path / "findings.json").read_text())
    assert findings["by_group"][0]["rows"][1][0] == "high"
    assert len(findings["worst"]) > 1
    assert findings["curves"]["positive"] == "high"


@pytest.mark.parametrize(
    ("rows", "what"),
    [
        ([("0.1", "0.3", "x"), ("0.2", "0.4", "x")], "overlap"),
        ([("0.1", "0.3", "")], "no label"),
        ([("0.1", "9.0", "x")], "beyond its recording"),
        ([("0.3", "0.1", "x")], "ends before it starts"),
    ],
)
def test_bad_intervals_are_named(tmp_path: Path, rows: Any, what: str) -> None:
    soundfile.write(tmp_path / "a.wav", 0.1 * np.ones(RATE), RATE)
    lines = ["path,start,end,label", *(f"a.wav,{start},{end},{label}" for start, end, label in rows)]
    (tmp_path / "list.csv").write_text("\n".join(lines) + "\n")
    with pytest.raises(DataError, match=what):
        train(tmp_path, task="frame_tagging", out=tmp_path / "run", **SMALL)
