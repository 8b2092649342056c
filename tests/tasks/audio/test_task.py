from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from rondeau.errors import DataError
from rondeau.tasks.api import Run, train
from rondeau.tasks.audio.task import AudioClassification
from rondeau.tasks.look import Look
from rondeau.tasks.registry import guess_task

RATE = 8000
SMALL = {"units": 8, "filters": 8, "epochs": 6, "bands": 16, "insight": False, "learning_rate": 1e-2, "verbose": False}


def _chirp(rising: bool, generator: Any) -> Any:
    """A tone that rises or falls: the mean over time says nothing of which."""
    time = np.linspace(0, 1, round(RATE * generator.uniform(0.2, 0.3)))
    pitch = 500 + 1500 * (time if rising else 1 - time)
    tone = np.sin(2 * np.pi * np.cumsum(pitch) / RATE) * generator.uniform(0.2, 0.8)
    return (tone + 0.01 * generator.standard_normal(len(tone))).astype(np.float32)


@pytest.fixture(scope="module")
def chirps(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root, generator = tmp_path_factory.mktemp("chirps"), np.random.default_rng(0)
    for number in range(120):
        label, speaker = ("up", "down")[number % 2], f"s{number // 2 % 10}"
        path = root / label / f"{speaker}_{number:03d}.wav"
        path.parent.mkdir(exist_ok=True)
        soundfile.write(path, _chirp(label == "up", generator), RATE)
    return root


@pytest.fixture(scope="module")
def run(chirps: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    out = tmp_path_factory.mktemp("runs") / "run"
    return train(chirps, out=out, pattern="{label}/{speaker}_{take}", test=0.2, **SMALL)


def test_folders_of_sounds_are_guessed(chirps: Path) -> None:
    task, why = guess_task(chirps)
    assert task.name == "audio_classification"
    assert "folders of sound files" in why


def test_a_manifest_with_classes_is_guessed_and_one_with_transcripts_not(chirps: Path, tmp_path: Path) -> None:
    file = next(chirps.rglob("*.wav"))
    (tmp_path / "a.csv").write_text(f"path,label\n{file},up\n")
    assert guess_task(tmp_path / "a.csv")[0].name == "audio_classification"
    (tmp_path / "b.csv").write_text(f"path,text,label\n{file},hello,up\n")
    assert AudioClassification().guess(tmp_path / "b.csv") is None
    (tmp_path / "c.csv").write_text("text,label\nhello,up\n")
    assert AudioClassification().guess(tmp_path / "c.csv") is None


def test_it_learns_what_the_mean_does_not_tell(run: Run) -> None:
    rows = {row.name: row.scores["accuracy"] for row in run.results.rows}
    assert run.results.own.scores["accuracy"] > 0.9
    assert len(rows) == 4
    assert rows["majority class"] <= 0.6
    assert "auroc" in run.results.own.scores
    config = json.loads((run.path / "config.json").read_text())
    assert "divided by speaker: 10" in " ".join(config["data"]["notes"])
    findings = json.loads((run.path / "findings.json").read_text())
    assert [table["title"] for table in findings["by_group"]] == ["by class", "by speaker", "by length"]


def test_a_fresh_process_evaluates_and_predicts(run: Run, chirps: Path, tmp_path: Path) -> None:
    stereo = np.stack([_chirp(True, np.random.default_rng(5))] * 2, 1)
    soundfile.write(tmp_path / "new.flac", stereo, 16000)
    soundfile.write(tmp_path / "low.wav", _chirp(False, np.random.default_rng(6)), RATE)
    code = (
        "import json, sys; from rondeau.tasks.api import Run; run = Run(sys.argv[1]);"
        "print(json.dumps([run.evaluate(sys.argv[2]), run.predict(sys.argv[3])]))"
    )
    words = [sys.executable, "-c", code, str(run.path), str(chirps), str(tmp_path)]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    scores, answers = json.loads(done.stdout)
    assert scores["accuracy"] > 0.9
    assert [one["path"] for one in answers] == ["low.wav", "new.flac"]
    assert answers[0]["predicted"] == "down"
    assert sum(answers[0]["probabilities"].values()) == pytest.approx(1, abs=1e-4)


def test_a_file_a_list_of_paths_and_a_files_bytes_give_the_same(run: Run, chirps: Path, monkeypatch: Any) -> None:
    file = next(chirps.rglob("*.wav"))
    (expected,) = run.predict(file)
    for given in (f"{file}\n\n".encode(), file.read_bytes()):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(given)))
        (got,) = run.predict("-")
        assert got["probabilities"] == expected["probabilities"]
        assert got["seconds"] == expected["seconds"]


def test_inspect_says_which_frames_an_answer_rests_on(run: Run) -> None:
    found = AudioClassification().inspect(run.folder, Look())
    assert len(found["saliency"]) == 3
    assert found["saliency"][0]["token"] in ("up", "down")
    assert len(found["saliency"][0]["scores"]) == len(found["saliency"][0]["context"])


def test_a_cache_and_workers_change_no_result(chirps: Path, tmp_path: Path) -> None:
    settings = {**SMALL, "epochs": 1, "augment": "light"}
    plain = train(chirps, out=tmp_path / "a", **settings)
    cached = train(chirps, out=tmp_path / "b", cache=str(tmp_path / "cache"), workers=1, **settings)
    assert cached.results.own.scores.keys() == plain.results.own.scores.keys()
    again = train(chirps, out=tmp_path / "c", cache=str(tmp_path / "cache"), **settings)
    assert again.results.own.scores == cached.results.own.scores


def _refused(path: Path, **settings: Any) -> DataError:
    with pytest.raises(DataError) as caught:
        train(path, task="audio_classification", out=path.parent / "run", **{**SMALL, **settings})
    return caught.value


def test_one_class_is_refused(tmp_path: Path, chirps: Path) -> None:
    (tmp_path / "data" / "up").mkdir(parents=True)
    for file in (chirps / "up").iterdir():
        (tmp_path / "data" / "up" / file.name).write_bytes(file.read_bytes())
    assert "one class only" in _refused(tmp_path / "data").what


def test_recordings_without_a_class_are_refused(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    soundfile.write(tmp_path / "data" / "a b.wav", _chirp(True, np.random.default_rng(0)), RATE)
    assert "no recording has a class" in _refused(tmp_path / "data").what


def test_bad_files_are_left_out_and_counted_in_the_run(chirps: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    for file in chirps.rglob("*.wav"):
        (data / file.parent.name).mkdir(parents=True, exist_ok=True)
        (data / file.parent.name / file.name).write_bytes(file.read_bytes())
    (data / "up" / "bad.wav").write_bytes(b"nothing")
    soundfile.write(data / "down" / "silent.wav", np.zeros(RATE // 4), RATE)
    assert "bad.wav" in str(_refused(data).where) or "silent.wav" in str(_refused(data).where)
    run = train(data, out=tmp_path / "run", on_error="skip", **{**SMALL, "epochs": 1})
    skipped = json.loads((run.path / "config.json").read_text())["data"]["skipped"]
    assert {what: kind["count"] for what, kind in skipped.items()} == {
        "a file is damaged, or is no sound": 1,
        "a recording is silent": 1,
    }


def test_classes_never_learnt_count_as_errors(run: Run, chirps: Path, tmp_path: Path) -> None:
    for label, source in (("up", "up"), ("sideways", "down")):
        (tmp_path / label).mkdir()
        for file in sorted((chirps / source).iterdir())[:5]:
            (tmp_path / label / f"{label}{file.name}").write_bytes(file.read_bytes())
    scores = run.evaluate(tmp_path)
    assert scores["accuracy"] <= 0.5
    with pytest.raises(DataError, match="knows none of these classes"):
        Run(run.path).evaluate(_only(tmp_path, "sideways"))


def _only(root: Path, label: str) -> Path:
    for file in (root / "up").iterdir():
        file.rename(root / label / file.name)
    return root
