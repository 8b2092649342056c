"""Baselines of music: what they say is a probability."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from rondeau.tasks.music.baselines import by_frequency, by_ngram, by_repeating


def keys(count: int, seed: int = 0) -> list[np.ndarray]:
    generator = np.random.default_rng(seed)
    return [(generator.random((30, 3)) < 0.4).astype(np.float32) for _ in range(count)]


def every(first: np.ndarray, choices: list[tuple[float, ...]]) -> list[np.ndarray]:
    return [np.stack([first, np.array(one, np.float32)]) for one in choices]


@pytest.mark.parametrize("name", ["frequency", "repeating", "ngram"])
def test_chances_of_all_chords_sum_to_one(name: str) -> None:
    train, validation = keys(4), keys(2, 1)
    judges = {"frequency": by_frequency(train, 1), "repeating": by_repeating(train, 1)}
    judges["ngram"] = by_ngram(train, validation, 1, judges["repeating"])
    chords = list(itertools.product((0.0, 1.0), repeat=3))
    total = sum(np.exp(-judges[name](piece)).item() for piece in every(train[0][4], chords))
    # a 3-gram keeps something for steps never heard, of which there are none here
    assert total == pytest.approx(1, rel=1e-6) if name != "ngram" else 0.9 < total <= 1


def test_chances_of_all_pitches_of_voices_sum_to_one() -> None:
    eye = np.eye(3, dtype=np.float32)
    generator = np.random.default_rng(0)
    train = [np.concatenate([eye[generator.integers(0, 3, 40)], eye[generator.integers(0, 3, 40)]], 1)]
    steps = [tuple(np.concatenate([eye[a], eye[b]])) for a in range(3) for b in range(3)]
    for judge in (by_frequency(train, 3), by_repeating(train, 3)):
        total = sum(np.exp(-judge(piece)).item() for piece in every(train[0][7], steps))
        assert total == pytest.approx(1, rel=1e-6)


def test_what_repeats_is_expected_to() -> None:
    held = [np.repeat((np.random.default_rng(i).random((6, 3)) < 0.5).astype(np.float32), 8, 0) for i in range(6)]
    nats = {
        name: judge(held[5]).mean()
        for name, judge in (("a", by_frequency(held[:5], 1)), ("b", by_repeating(held[:5], 1)))
    }
    assert nats["b"] < 0.5 * nats["a"]
