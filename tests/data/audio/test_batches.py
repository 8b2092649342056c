from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from rondeau.data.audio.augment import Augment
from rondeau.data.audio.batches import AudioBatches, Frames
from rondeau.data.audio.cache import FeatureCache
from rondeau.data.audio.features import Features
from rondeau.data.audio.find import find_audio
from rondeau.data.prefetch import Prefetch

FEATURES = Features(rate=8000)


class _Numbers:
    """What stands beside x: the rows' own numbers."""

    def __call__(self, rows: Any) -> Any:
        return rows


def _index(write, count: int = 12) -> Any:
    for number in range(count):
        path = write(f"{'ab'[number % 2]}/{number:02d}.wav", 0.1 + 0.02 * number, pitch=300.0 + 50 * number)
    return find_audio(path.parents[1])


def _same(a: Any, b: Any) -> bool:
    return all(
        torch.equal(p.x.values, q.x.values) and torch.equal(p.y, q.y) for p, q in zip(list(a), list(b), strict=True)
    )


def _each(batches: Any) -> Any:
    return (pair for batch in batches for pair in zip(batch.y.tolist(), batch.x.rows(), strict=True))


def test_batches_hold_the_features_of_their_rows(write) -> None:
    frames = Frames(_index(write), FEATURES, finish=lambda f: f + 1)
    assert [len(frames[i]) for i in range(12)] == frames.lengths().tolist()
    for batch in AudioBatches(frames, _Numbers(), 5, training=False).batches(0, 0, 0):
        for row, got in zip(batch.y.tolist(), batch.x.rows(), strict=True):
            assert np.array_equal(got.numpy(), frames[row])
            assert np.array_equal(got.numpy(), frames.raw(row) + 1)


def test_each_epoch_alters_anew_and_a_resumed_one_alike(write) -> None:
    frames = Frames(_index(write), FEATURES, augment=Augment(speed=0.1, stretch=0.1, band_masks=1))
    source = AudioBatches(frames, _Numbers(), 5)
    first = list(source.batches(3, 0, 7))
    assert _same(first, AudioBatches(frames, _Numbers(), 5).batches(3, 0, 7))
    assert _same(first[2:], source.batches(3, 2, 7))  # a run taken up again in the middle of an epoch
    assert sorted(row for batch in first for row in batch.y.tolist()) == list(range(12))
    by_row = [dict(_each(source.batches(epoch, 0, 7))) for epoch in (3, 4)]
    assert not any(torch.equal(by_row[0][row], by_row[1][row]) for row in range(12))


def test_processes_make_the_same_batches(write) -> None:
    frames = Frames(_index(write), FEATURES, augment=Augment(stretch=0.2))
    source = AudioBatches(frames, _Numbers(), 5)
    expected = list(source.batches(2, 0, 1))
    assert _same(expected, Prefetch(AudioBatches(frames, _Numbers(), 5), workers=1).batches(2, 0, 1))
    assert _same(expected, Prefetch(AudioBatches(frames, _Numbers(), 5)).batches(2, 0, 1))


def test_features_are_made_once_and_found_by_content(write, tmp_path: Path) -> None:
    index, folder = _index(write, 4), tmp_path / "cache"
    plain = Frames(index, FEATURES)
    cache = FeatureCache(index, FEATURES, folder)
    assert all(np.array_equal(cache[i], plain[i]) for i in range(4))
    assert cache.made == 4
    again = FeatureCache(index.take([3, 0]), FEATURES, folder)
    assert np.array_equal(again[0], plain[3])
    assert again.made == 0
    other = FeatureCache(index, Features(rate=8000, bands=20), folder)
    assert other[0].shape[1] == 20
    assert other.made == 1


def test_a_changed_recording_is_made_anew(write, tmp_path: Path) -> None:
    index, folder = _index(write, 2), tmp_path / "cache"
    before = FeatureCache(index, FEATURES, folder)[0]
    write(index.where(0), 0.1, pitch=1500.0)
    cache = FeatureCache(index, FEATURES, folder)
    assert not np.array_equal(cache[0], before)
    assert np.array_equal(cache[0], Frames(index, FEATURES)[0])
    assert cache.made == 1


def test_frames_from_the_cache_are_altered_and_samples_not(write, tmp_path: Path) -> None:
    index = _index(write, 2)
    generator = np.random.default_rng
    cached = Frames(index, FEATURES, augment=Augment(speed=0.3), cache=str(tmp_path / "cache"))
    assert np.array_equal(cached.get(0, generator(1)), cached[0])
    cached = Frames(index, FEATURES, augment=Augment(warp=0.3), cache=str(tmp_path / "cache"))
    assert not np.array_equal(cached.get(0, generator(1)), cached[0])
