"""Speech for tests: each character is a tone, each space quiet; several voices, a little apart in pitch."""

from __future__ import annotations

import csv
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from rondeau.tasks.api import Run, train

RATE = 8000
TONES = {"a": 400.0, "b": 900.0, "c": 2000.0}
TINY = {"units": 24, "layers": 1, "bands": 12, "hop": 0.01, "batch_size": 8, "stack": 4, "stride": 2, "dropout": 0.0}
TINY |= {"learning_rate": 0.02, "insight": False, "verbose": False, "joint": 16, "augment": "none"}


def spoken(text: str, voice: float = 1.0, seed: int = 0) -> np.ndarray:
    """Samples `(samples,)`."""
    generator = np.random.default_rng([seed, len(text)])
    parts = [np.zeros(400)]
    for character in text:
        t = np.arange(round(generator.uniform(0.07, 0.11) * RATE)) / RATE
        tone = np.sin(2 * np.pi * TONES[character] * voice * t) if character in TONES else np.zeros(len(t))
        parts += [0.5 * tone * np.hanning(len(t)) ** 0.2, np.zeros(240)]
    samples = np.concatenate([*parts, np.zeros(400)])
    return (samples + 1e-3 * generator.standard_normal(len(samples))).astype(np.float32)


def write_speech(folder: Path, speakers: int = 6, each: int = 12, texts: bool = False) -> Path:
    """Wav files, and a manifest or, with `texts`, a text file beside each; returns what a user would give."""
    import soundfile

    generator = np.random.default_rng(5)
    rows = []
    for speaker in range(speakers):
        for number in range(each):
            words = ["".join(generator.choice(list("abc"), generator.integers(1, 4))) for _ in range(2)]
            text = " ".join(words[: 1 + number % 2])
            name = f"{'ann' if speaker % 2 else 'bob'}{speaker}/{number}.wav"
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            voice = 1 + 0.02 * (speaker - 2)
            soundfile.write(folder / name, spoken(text, voice, number), RATE, "PCM_16")
            if texts:
                (folder / name).with_suffix(".txt").write_text(text + "\n", encoding="utf-8")
            rows.append([name, text, name.split("/")[0]])
    if texts:
        return folder
    with open(folder / "manifest.csv", "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([["path", "text", "speaker"], *rows])
    return folder / "manifest.csv"


@pytest.fixture(scope="session")
def tones() -> SimpleNamespace:
    """What makes such speech, and the settings of a model that learns it in seconds."""
    return SimpleNamespace(RATE=RATE, TINY=TINY, spoken=spoken, write_speech=write_speech)


@pytest.fixture(scope="session")
def speech(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A manifest of tones."""
    return write_speech(tmp_path_factory.mktemp("speech"))


@pytest.fixture(scope="session", params=["ctc", "transducer"])
def streaming_run(request: pytest.FixtureRequest, speech: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A model of it that hears sound as it comes, of either head."""
    out = tmp_path_factory.mktemp("runs") / request.param
    options = {**TINY, "head": request.param, "streaming": True, "epochs": 30, "beam": 3}
    return train(speech, task="speech_recognition", out=out, **options)
