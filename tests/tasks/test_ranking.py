"""ROC and precision-recall against scikit-learn and by hand."""

from __future__ import annotations

import numpy as np
import pytest

from rondeau.errors import DataError
from rondeau.tasks.ranking import Ranking


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_areas_are_those_of_scikit_learn(seed: int, ties: bool) -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(seed)
    truth = rng.random(300) < 0.2
    scores = rng.normal(size=300) + truth
    scores = scores.round(0) if ties else scores
    found = Ranking(truth, scores).figures()
    assert found["auroc"] == pytest.approx(metrics.roc_auc_score(truth, scores), rel=1e-12)
    assert found["average_precision"] == pytest.approx(metrics.average_precision_score(truth, scores), rel=1e-12)


def test_rows_drawn_anew_are_as_rows_by_themselves() -> None:
    rng = np.random.default_rng(0)
    truth, scores = rng.random(80) < 0.3, rng.normal(size=80).round(1)
    drawn = rng.integers(0, 80, 80)
    assert Ranking(truth, scores).figures(0.1, drawn) == pytest.approx(
        Ranking(truth[drawn], scores[drawn]).figures(0.1), rel=1e-12
    )


def test_recall_at_a_rate_counts_no_alarm_too_many() -> None:
    truth, scores = [1, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0], np.arange(12)[::-1]
    ranking = Ranking(truth, scores)
    assert ranking.figures(0.05)["recall"] == 0.5
    assert ranking.figures(0.1)["recall"] == 1.0
    assert ranking.threshold_at(0.1) == 9  # the next lower score would be a second false alarm
    assert ranking.threshold_at(0.05) == 11
    assert Ranking([0, 1], [2, 1]).threshold_at(0.5) == np.inf


def test_the_best_threshold_lies_between_two_scores() -> None:
    ranking = Ranking([1, 1, 0, 1, 0, 0], [0.9, 0.8, 0.7, 0.6, 0.2, 0.1])
    assert ranking.best_threshold() == pytest.approx(0.4)
    with pytest.raises(DataError, match="no threshold"):
        Ranking([0, 0], [1, 2]).best_threshold()


def test_curves_begin_and_end_where_they_must() -> None:
    rng = np.random.default_rng(0)
    truth = rng.random(5000) < 0.1
    curves = Ranking(truth, rng.normal(size=5000) + truth).curves(50)
    assert curves["roc"][0] == [0, 0]
    assert curves["roc"][-1] == [1, 1]
    assert curves["precision_recall"][-1] == pytest.approx([1, truth.mean()], abs=1e-6)
    assert len(curves["roc"]) <= 50
    assert (curves["positives"], curves["negatives"]) == (truth.sum(), (~truth).sum())


def test_one_class_gives_no_area_and_bad_scores_are_refused() -> None:
    assert all(np.isnan(value) for value in Ranking([0, 0], [1, 2]).figures().values())
    with pytest.raises(DataError, match=r"not finite.*row 1"):
        Ranking([0, 1], [0.0, np.nan])
    with pytest.raises(DataError, match="do not fit"):
        Ranking([0, 1], [0.0])
