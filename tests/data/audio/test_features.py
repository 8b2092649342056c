from __future__ import annotations

import json

import librosa
import numpy as np
import pytest

from rondeau.data.audio.features import Features
from rondeau.errors import ArgumentError, CheckpointError, ShapeError

EPS = float(np.finfo(np.float32).eps)


def _noise(samples: int, seed: int = 0) -> np.ndarray:
    return (0.1 * np.random.default_rng(seed).standard_normal(samples)).astype(np.float32)


@pytest.mark.parametrize("features", [Features(), Features(rate=8000), Features(rate=22050, bands=64, lowest=50.0)])
def test_energies_are_those_of_librosa(features: Features) -> None:
    samples, size = _noise(20000), 1 << (features.length - 1).bit_length()
    ends = size - features.length  # librosa puts a window in the middle of its transform
    padded = np.pad(samples, (ends // 2, ends - ends // 2))
    mel = librosa.feature.melspectrogram(
        y=padded.astype(np.float64),
        sr=features.rate,
        n_fft=size,
        win_length=features.length,
        hop_length=features.step,
        center=False,
        n_mels=features.bands,
        fmin=features.lowest,
    )
    expected = np.log(np.maximum(mel, 1e-10)).T
    got = features(samples)
    assert got.shape == expected.shape
    assert got.dtype == np.float32
    assert np.abs(got - expected).max() < 40 * EPS  # of a logarithm near 4, from single-precision samples


def test_coefficients_are_those_of_librosa() -> None:
    samples = _noise(16000)
    decibels = Features()(samples).T.astype(np.float64) * 10 / np.log(10)
    expected = librosa.feature.mfcc(S=decibels, n_mfcc=13).T
    assert np.abs(Features(kind="mfcc")(samples) - expected).max() < 4 * EPS * np.abs(expected).max()


@pytest.mark.parametrize("kind", ["log_mel", "mfcc"])
@pytest.mark.parametrize("samples", [399, 400, 401, 12345])
def test_a_stream_gives_the_numbers_of_the_whole(kind: str, samples: int) -> None:
    features, given = Features(kind=kind), _noise(samples)
    generator, stream, parts, at = np.random.default_rng(1), features.stream(), [], 0
    while at < samples:
        size = int(generator.integers(1, 700))
        parts.append(stream.push(given[at : at + size]))
        at += size
    parts.append(stream.finish())
    assert np.array_equal(np.concatenate(parts), features(given))
    assert stream.frames == features.frames_of(samples)


@pytest.mark.parametrize("samples", [0, 1, 399, 400, 559, 560, 16000])
def test_frames_are_counted_before_they_are_made(samples: int) -> None:
    assert len(Features()(_noise(samples))) == Features().frames_of(samples)


def test_a_long_recording_is_that_of_its_frames() -> None:
    features = Features(rate=8000)
    samples = _noise(8000 * 50)  # beyond the frames transformed at once
    assert np.array_equal(features(samples)[4090:4100], features(samples[4090 * 80 : 4099 * 80 + 200]))


def test_a_tone_is_in_the_band_of_its_pitch_at_its_time() -> None:
    features = Features(rate=8000)
    samples = np.zeros(8000, np.float32)
    samples[4000:4800] = np.sin(2 * np.pi * 1000 * np.arange(800) / 8000)
    frames = features(samples)
    frame, band = np.unravel_index(int(frames.argmax()), frames.shape)
    assert 0.5 <= features.seconds_of(float(frame)) <= 0.6
    assert 15 <= band <= 18  # 1000 Hz is the 15th of 35 mels


def test_silence_is_finite() -> None:
    assert np.isfinite(Features()(np.zeros(1000, np.float32))).all()


def test_features_come_back_from_json() -> None:
    features = Features("mfcc", 8000, 30, coefficients=20)
    assert Features.from_json(json.loads(json.dumps(features.to_json()))) == features
    with pytest.raises(CheckpointError):
        Features.from_json({"kind": "mfcc"})


@pytest.mark.parametrize(
    "wrong",
    [
        {"kind": "mel"},
        {"bands": 0},
        {"rate": 0},
        {"window": 0.0},
        {"hop": -1.0},
        {"highest": 9000.0},
        {"lowest": 8000.0},
        {"kind": "mfcc", "coefficients": 50},
    ],
)
def test_features_that_cannot_be_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ArgumentError):
        Features(**wrong)  # type: ignore[arg-type]


def test_several_channels_are_refused() -> None:
    with pytest.raises(ShapeError):
        Features()(np.zeros((2, 16000)))
