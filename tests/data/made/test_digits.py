from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from rondeau.data.audio.read import read_audio
from rondeau.data.made.digits import COMMANDS, DIGITS, RATE, made_digit_strings, made_digits, voices
from rondeau.data.made.formants import PRONUNCIATIONS, Speaker, speak
from rondeau.errors import ArgumentError

ENGINES = [
    pytest.param(
        "espeak-ng", marks=pytest.mark.skipif(shutil.which("espeak-ng") is None, reason="espeak-ng is not installed")
    ),
    "formants",
]


@pytest.mark.parametrize("engine", ENGINES)
def test_made_digits_are_the_same_for_the_same_seed(tmp_path: Path, engine: str) -> None:
    first = made_digits(12, 1, engine=engine, folder=tmp_path / "a", speakers=2)
    again = made_digits(12, 1, engine=engine, folder=tmp_path / "b", speakers=2)
    other = made_digits(12, 2, engine=engine, folder=tmp_path / "c", speakers=2)
    for number in range(12):
        samples = read_audio(first[number].path)
        assert np.array_equal(samples, read_audio(again[number].path))
        assert not np.array_equal(samples, read_audio(other[number].path))
        assert 0.1 < first[number].seconds < 2.0
        assert 0.15 < np.abs(samples).max() <= 1.0
    assert [one.label for one in first][:3] == ["zero", "one", "two"]
    assert set(first.speakers) == {"speaker00", "speaker01"}


def test_they_are_made_once(tmp_path: Path) -> None:
    index = made_digits(4, engine="formants", folder=tmp_path)
    written = index[0].path.stat().st_mtime_ns
    assert made_digits(4, engine="formants", folder=tmp_path)[0].path.stat().st_mtime_ns == written


def test_strings_have_transcripts(tmp_path: Path) -> None:
    index = made_digit_strings(6, engine="formants", folder=tmp_path, shortest=2, longest=3)
    for one in index:
        words = (one.text or "").split()
        assert 2 <= len(words) <= 3
        assert set(words) <= set(DIGITS)
        assert one.label is None


def test_every_word_can_be_spoken_by_rule() -> None:
    assert set(PRONUNCIATIONS) == {*DIGITS, *COMMANDS}
    for word in PRONUNCIATIONS:
        samples = speak([word], Speaker(), RATE, np.random.default_rng(0))
        assert np.isfinite(samples).all()
        assert 0.15 < len(samples) / RATE < 0.8
    with pytest.raises(ArgumentError, match="maybe"):
        speak(["maybe"], Speaker(), RATE, np.random.default_rng(0))


def test_a_higher_voice_has_a_higher_pitch() -> None:
    def period(pitch: float) -> int:
        samples = speak(["one"], Speaker(pitch), RATE, np.random.default_rng(0))[800:1600]
        alike = np.correlate(samples, samples, "full")[len(samples) - 1 :]
        return int(alike[25:120].argmax()) + 25

    assert period(200.0) * 1.5 < period(100.0)


def test_voices_differ() -> None:
    found = voices(12)
    assert len({voice.by_rule for voice in found}) == 12
    assert found == voices(12)


def test_an_engine_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match="engine"):
        made_digits(4, engine="festival", folder=tmp_path)
