"""Figures of classes beside scikit-learn's, on draws with ties, rare and unknown classes."""

from __future__ import annotations

import numpy as np
import pytest

from rondeau.tasks.class_scores import ClassScores, choose_threshold, decide, macro_f1

metrics = pytest.importorskip("sklearn.metrics")
CLOSE = 1e-12


def drawn(rows: int, classes: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:  # type: ignore[type-arg]
    rng = np.random.default_rng(seed)
    chances = rng.dirichlet(np.ones(classes), rows).round(2)  # rounded, so that there are ties
    true = np.array([rng.choice(classes, p=(row + 0.2) / (row + 0.2).sum()) for row in chances])
    return true.astype(np.int64), chances


def test_two_classes_beside_scikit_learn() -> None:
    true, chances = drawn(400, 2)
    scores = ClassScores(true, chances, ["a", "b"], positive=1)
    rows = np.random.default_rng(1).integers(0, 400, 400)
    for some in (np.arange(400), rows):
        found = scores.figures(some)
        yes = chances[some, 1]
        assert found["auroc"] == pytest.approx(metrics.roc_auc_score(true[some], yes), abs=CLOSE)
        assert found["average_precision"] == pytest.approx(metrics.average_precision_score(true[some], yes), abs=CLOSE)
        assert found["accuracy"] == pytest.approx(metrics.accuracy_score(true[some], yes >= 0.5), abs=CLOSE)
        assert found["macro_f1"] == pytest.approx(metrics.f1_score(true[some], yes >= 0.5, average="macro"), abs=CLOSE)
    roc = np.array(scores.curves()["roc"])
    assert roc[0].tolist() == [0, 0]
    assert roc[-1].tolist() == [1, 1]
    assert (np.diff(roc, axis=0) >= 0).all()
    right = (true == 1) & (chances[:, 1] >= 0.5)
    at = scores.curves()["at"]
    assert at["recall"] == pytest.approx(right.sum() / (true == 1).sum())
    assert at["precision"] == pytest.approx(right.sum() / (chances[:, 1] >= 0.5).sum())
    low, high = scores.intervals()["auroc"]
    assert low < scores.figures()["auroc"] < high


def test_several_classes_and_one_never_seen() -> None:
    true, chances = drawn(300, 4)
    true[:7] = 4  # a class the model does not know
    scores = ClassScores(true, chances, list("abcde"))
    assert set(scores.figures()) == {"accuracy", "macro_f1"}
    expected = metrics.f1_score(true, chances.argmax(1), average="macro", zero_division=0)
    assert scores.figures()["macro_f1"] == pytest.approx(expected, abs=CLOSE)
    assert scores.confusion() == metrics.confusion_matrix(true, chances.argmax(1), labels=range(5)).tolist()
    names, there, precision, recall, f1 = zip(*scores.by_class(), strict=True)
    judged = metrics.precision_recall_fscore_support(true, scores.predicted, labels=range(4), zero_division=0)
    for own, theirs in zip((precision, recall, f1, there), judged, strict=True):
        assert list(own[:4]) == pytest.approx(list(theirs), abs=CLOSE)
    assert (names[4], there[4], precision[4], recall[4], f1[4]) == ("e", 7, None, 0.0, 0.0)
    assert scores.curves() == {}


def test_one_class_alone_has_no_curve() -> None:
    scores = ClassScores(np.ones(3, np.int64), np.full((3, 2), 0.5), ["a", "b"], positive=1)
    assert set(scores.figures()) == {"accuracy", "macro_f1"}
    assert scores.curves() == {}


def test_threshold_is_the_best_of_all() -> None:
    true, chances = drawn(200, 2, seed=3)
    true = (true & (np.arange(200) % 4 == 0)).astype(np.int64)  # rare, so that 0.5 is not the best
    best = choose_threshold(true, chances, 1)
    tried = [macro_f1(true, decide(chances, 1, t), 2) for t in np.linspace(-0.005, 1.005, 203)]
    assert macro_f1(true, decide(chances, 1, best), 2) == max(tried) > macro_f1(true, decide(chances, 1), 2)
    assert choose_threshold(np.zeros(5, np.int64), np.full((5, 2), 0.5), 1) == 0.5


def test_threshold_stays_where_nothing_is_better() -> None:
    chances = np.array([[0.9, 0.1], [0.8, 0.2], [0.3, 0.7], [0.1, 0.9]])
    assert choose_threshold(np.array([0, 0, 1, 1]), chances, 1) == 0.5
    assert decide(chances, 0, 0.85).tolist() == [0, 1, 1, 1]


def test_a_class_that_is_only_predicted_counts() -> None:
    assert macro_f1(np.array([0, 0]), np.array([0, 1]), 3) == pytest.approx(1 / 3, abs=CLOSE)
