from __future__ import annotations

import librosa
import numpy as np
import pytest

from rondeau.tasks.audio import baselines
from rondeau.tasks.audio.baselines import moments, nearest_by_warping, warping_distances


@pytest.mark.parametrize("frames", [1, 2, 17, 40])
def test_distances_are_those_of_librosa(frames: int) -> None:
    rng = np.random.default_rng(frames)
    query = rng.standard_normal((frames, 5))
    templates = [rng.standard_normal((size, 5)) for size in (1, 2, 9, 30, 30)]
    expected = [
        librosa.sequence.dtw(query.T, one.T, backtrack=False)[-1, -1] / (frames + len(one)) for one in templates
    ]
    assert warping_distances(query, templates) == pytest.approx(expected, rel=1e-9)


def test_the_nearest_is_the_same_movement_at_another_pace() -> None:
    time = np.linspace(0, 1, 30)
    kinds = [np.stack([np.sin(6 * time), time], 1), np.stack([np.cos(6 * time), time], 1)]
    slow = [np.repeat(one, 2, axis=0) for one in kinds]
    found, asked = nearest_by_warping(kinds, np.array([7, 3]), slow, 0)
    assert found.tolist() == [7, 3]
    assert asked == 2


def test_templates_are_drawn_evenly_where_there_are_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    train = [rng.standard_normal((10, 3)) for _ in range(40)]
    monkeypatch.setattr(baselines, "MOST_CELLS", 10 * 10 * 10)
    found, asked = nearest_by_warping(train, np.arange(40) % 2, train[:1], 0)
    assert asked == 10
    assert found[0] in (0, 1)


def test_moments_are_mean_deviation_and_length() -> None:
    frames = np.array([[1.0, 2.0], [3.0, 2.0]])
    assert moments(frames).tolist() == pytest.approx([2, 2, 1, 0, np.log(2)])
