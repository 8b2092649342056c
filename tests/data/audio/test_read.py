from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from rondeau.data.audio.read import is_silent, read_audio, read_header, resample
from rondeau.errors import DataError

RATE = 16000


def _tone(rate: int, pitch: float = 300.0, seconds: float = 0.5) -> np.ndarray:
    return (0.5 * np.sin(2 * np.pi * pitch * np.arange(round(seconds * rate)) / rate)).astype(np.float32)


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg", "mp3"])
def test_each_format_holds_the_tone_that_was_written(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    soundfile.write(path, _tone(RATE), RATE)
    got = read_audio(path, RATE)
    assert got.dtype == np.float32
    assert got.ndim == 1
    assert read_header(path).rate == RATE
    spectrum = np.abs(np.fft.rfft(got[:8000]))
    assert abs(int(spectrum.argmax()) * RATE / min(len(got), 8000) - 300) <= 4


def test_channels_are_averaged(tmp_path: Path) -> None:
    left, right = _tone(RATE), _tone(RATE, 900.0)
    soundfile.write(tmp_path / "a.wav", np.stack([left, right], 1), RATE, subtype="FLOAT")
    assert np.array_equal(read_audio(tmp_path / "a.wav"), np.stack([left, right], 1).mean(1, dtype=np.float32))


@pytest.mark.parametrize("old", [8000, 11025, 22050, 44100, 48000])
def test_any_rate_gives_the_same_tone(tmp_path: Path, old: int) -> None:
    soundfile.write(tmp_path / "a.wav", _tone(old), old, subtype="FLOAT")
    got, expected = read_audio(tmp_path / "a.wav", RATE), _tone(RATE)
    assert abs(len(got) - len(expected)) <= 1
    inside = slice(800, 7200)  # a resampler's filter reaches over the ends
    assert np.abs(got[inside] - expected[inside]).max() < 1e-4


def test_a_part_is_read_alone(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", _tone(RATE), RATE, subtype="FLOAT")
    whole = read_audio(tmp_path / "a.wav")
    assert np.array_equal(read_audio(tmp_path / "a.wav", start=0.1, end=0.2), whole[1600:3200])


def test_bytes_are_read_as_a_file_is(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", _tone(RATE), RATE)
    assert np.array_equal(read_audio((tmp_path / "a.wav").read_bytes()), read_audio(tmp_path / "a.wav"))


def _damaged(path: Path, how: str) -> Path:
    soundfile.write(path, _tone(RATE), RATE)
    data = path.read_bytes()
    path.write_bytes({"empty": b"", "no sound": b"hello " * 100, "truncated": data[:-4000], "header": data[:44]}[how])
    if how == "header":
        soundfile.write(path, np.zeros(0), RATE)
    return path


@pytest.mark.parametrize(
    ("how", "what"),
    [("empty", "is empty"), ("no sound", "damaged"), ("truncated", "truncated"), ("header", "no samples")],
)
def test_a_bad_file_is_named(tmp_path: Path, how: str, what: str) -> None:
    path = _damaged(tmp_path / "a.wav", how)
    with pytest.raises(DataError, match=what) as caught:
        read_header(path)
    assert caught.value.where == path


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        read_audio(tmp_path / "no.wav")


def test_numbers_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.array([0.0, np.nan, 0.1]), RATE, subtype="FLOAT")
    with pytest.raises(DataError, match="not finite"):
        read_audio(tmp_path / "a.wav")


def test_silence_is_told_from_what_is_faint() -> None:
    assert is_silent(np.zeros(10, np.float32))
    assert is_silent(np.zeros(0, np.float32))
    assert is_silent(np.full(10, 5e-5, np.float32))
    assert not is_silent(np.full(10, 5e-4, np.float32))


def test_resampling_to_the_same_rate_changes_nothing() -> None:
    tone = _tone(RATE)
    assert resample(tone, RATE, RATE) is tone
