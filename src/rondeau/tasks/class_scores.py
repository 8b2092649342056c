"""How good predicted classes and their probabilities are: figures, intervals, tables and curves for the report."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rondeau.tasks.bootstrap import intervals
from rondeau.tasks.ranking import Ranking

Ids = NDArray[np.int64]
Chances = NDArray[np.float64]


class ClassScores:
    """Predictions beside the truth.

    Args:
        true: the right class of each row, `(rows,)`; one that the model does not know has a number of its own, from
            the known classes' count on, and is never predicted.
        chances: probabilities of the known classes, `(rows, known)`.
        labels: names of all classes that occur, known ones first.
        positive: of two classes the one to be found; its probability is what curves are drawn from. None for more.
        threshold: from which probability on the positive class is predicted (default 0.5).
    """

    def __init__(
        self,
        true: Ids,
        chances: Chances,
        labels: Sequence[str],
        positive: int | None = None,
        threshold: float = 0.5,
    ) -> None:
        self.true, self.chances, self.labels, self.positive = true, chances, list(labels), positive
        self.predicted = decide(chances, positive, threshold)
        self.threshold = threshold
        self._ranking = None if positive is None else Ranking(true == positive, chances[:, positive])

    def figures(self, rows: Ids | None = None) -> dict[str, float]:
        """`accuracy`, `macro_f1`, and for two classes `auroc` and `average_precision`; of all rows, or of some."""
        true, predicted = (self.true, self.predicted) if rows is None else (self.true[rows], self.predicted[rows])
        found = {"accuracy": float((true == predicted).mean()), "macro_f1": macro_f1(true, predicted, len(self.labels))}
        if self._ranking is not None:
            ranked = self._ranking.figures(drawn=rows)
            # of one class alone neither is defined
            found |= {name: ranked[name] for name in ("auroc", "average_precision") if ranked[name] == ranked[name]}
        return found

    def intervals(self, groups: Sequence[Any] | None = None, seed: int = 0) -> dict[str, tuple[float, float]]:
        """The 95 % bootstrap interval of each figure; see `rondeau.tasks.bootstrap.intervals`."""
        return intervals(self.figures, len(self.true), groups, seed=seed)

    def confusion(self) -> list[list[int]]:
        """How often which class, by row, was taken for which, by column."""
        size = len(self.labels)
        counts = np.bincount(self.true * size + self.predicted, minlength=size * size)
        rows: list[list[int]] = counts.reshape(size, size).tolist()
        return rows

    def by_class(self) -> list[list[Any]]:
        """Of each class its name, rows, precision, recall and F1; None where nothing was predicted or is there."""
        counts = np.asarray(self.confusion())
        table = []
        for i, label in enumerate(self.labels):
            right, there, said = int(counts[i, i]), int(counts[i].sum()), int(counts[:, i].sum())
            f1 = 2 * right / (there + said) if there + said else None
            table.append([label, there, right / said if said else None, right / there if there else None, f1])
        return table

    def curves(self) -> dict[str, Any]:
        """`roc`, `precision_recall` and their counts, see `Ranking.curves`; `at`: where the threshold lies on them."""
        truth = self.true == self.positive
        if self._ranking is None or not 0 < truth.sum() < len(truth):
            return {}
        alarms = self.predicted == self.positive
        right = int((alarms & truth).sum())
        at = {
            "recall": right / int(truth.sum()),
            "precision": right / max(int(alarms.sum()), 1),
            "false_positive_rate": int((alarms & ~truth).sum()) / int((~truth).sum()),
        }
        return {**self._ranking.curves(), "at": at}


def decide(chances: Chances, positive: int | None = None, threshold: float = 0.5) -> Ids:
    """The class of each row: the likeliest; of two the positive one from its threshold on."""
    chosen: Ids
    if positive is None:
        chosen = chances.argmax(1).astype(np.int64)
        return chosen
    chosen = np.where(chances[:, positive] >= threshold, positive, 1 - positive).astype(np.int64)
    return chosen


def macro_f1(true: Ids, predicted: Ids, classes: int) -> float:
    """The mean F1 of the classes that are there or were predicted."""
    there, said = (np.bincount(ids, minlength=classes) for ids in (true, predicted))
    right = np.bincount(true[true == predicted], minlength=classes)
    known = there + said > 0
    return float((2 * right[known] / (there + said)[known]).mean())


def choose_threshold(true: Ids, chances: Chances, positive: int) -> float:
    """From which probability on to predict the positive class, for the best macro-F1 on these rows.

    Thresholds are tried half-way between neighbouring probabilities; of equally good ones the nearest to 0.5 is taken,
    and 0.5 itself where no other is better. Both classes must be there, else it is 0.5.
    """
    yes = chances[:, positive]
    truth = true == positive
    values, step = np.unique(yes, return_inverse=True)
    if not 0 < truth.sum() < len(truth) or len(values) < 2:
        return 0.5
    step = step.reshape(-1)
    hits = np.bincount(step[truth], minlength=len(values))[::-1].cumsum()[::-1]  # from this probability on
    alarms = np.bincount(step[~truth], minlength=len(values))[::-1].cumsum()[::-1]
    f1_yes = 2 * hits / (truth.sum() + hits + alarms)
    no_right, no_said = (~truth).sum() - alarms, len(truth) - hits - alarms
    f1_no = 2 * no_right / ((~truth).sum() + no_said)
    scores = ((f1_yes + f1_no) / 2)[1:]
    tried = (values[1:] + values[:-1]) / 2
    plain = macro_f1(truth.astype(np.int64), (yes >= 0.5).astype(np.int64), 2)
    if scores.max() <= plain + 1e-12:
        return 0.5
    best = np.flatnonzero(scores >= scores.max() - 1e-12)
    return float(tried[best[np.abs(tried[best] - 0.5).argmin()]])
