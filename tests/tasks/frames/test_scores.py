from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import f1_score, roc_auc_score

from rondeau.tasks.frames.energy import best_threshold, energy
from rondeau.tasks.frames.scores import FrameScores, area_of


def _made(labels: int) -> tuple[list[np.ndarray], list[np.ndarray], list[np.ndarray]]:
    rng = np.random.default_rng(0)
    true = [rng.integers(0, labels, int(size)) for size in rng.integers(20, 80, 30)]
    said = [np.where(rng.random(len(one)) < 0.7, one, rng.integers(0, labels, len(one))) for one in true]
    return true, said, [one + rng.standard_normal(len(one)) for one in true]


def test_figures_are_those_of_sklearn() -> None:
    true, said, scores = _made(2)
    found = FrameScores(true, said, ["rest", "speech"], scores)
    t, s = np.concatenate(true), np.concatenate(said)
    assert found.figures() == pytest.approx(
        {
            "frame_f1": f1_score(t, s),
            "accuracy": (t == s).mean(),
            "auroc": roc_auc_score(t, np.concatenate(scores)),
        }
    )
    for name, (low, high) in found.intervals().items():
        assert low < found.figures()[name] < high


def test_the_area_of_counts_is_that_of_the_scores_ties_and_all() -> None:
    rng = np.random.default_rng(1)
    truth = rng.integers(0, 2, 400)
    given = rng.integers(0, 5, 400) + truth
    bins = np.bincount(2 * given + truth, minlength=2 * 6).reshape(-1, 2)
    assert area_of(bins) == pytest.approx(roc_auc_score(truth, given))
    assert np.isnan(area_of(bins[:, [0, 0]] * [1, 0]))


def test_of_several_labels_f1_is_the_mean_without_the_rest() -> None:
    true, said, _ = _made(4)
    found = FrameScores(true, said, ["rest", "a", "b", "c"])
    expected = f1_score(np.concatenate(true), np.concatenate(said), labels=[1, 2, 3], average="macro")
    assert found.figures()["frame_f1"] == pytest.approx(expected)
    assert np.sum(found.confusion()) == sum(map(len, true))


def test_labels_never_learnt_count_as_errors() -> None:
    found = FrameScores([np.array([0, 1, 2])], [np.array([0, 1, 1])], ["rest", "speech"])
    assert found.figures()["accuracy"] == pytest.approx(2 / 3)
    assert found.by_recording().tolist() == pytest.approx([2 / 3])


def test_energy_is_loudness_and_its_threshold_divides() -> None:
    quiet, loud = np.full((20, 8), -5.0, np.float32), np.full((20, 8), 2.0, np.float32)
    found = energy(np.concatenate([quiet, loud]), above_floor=False)
    assert found[0] == pytest.approx(-5.0, abs=1e-5)
    assert energy(np.concatenate([quiet, loud]), above_floor=True)[0] == pytest.approx(0.0, abs=1e-5)
    least = best_threshold([found], [np.repeat([0, 1], 20)])
    assert found[0] < least < found[-1]
