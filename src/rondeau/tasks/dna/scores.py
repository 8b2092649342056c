"""How good answers about sequences are: accuracy, Matthews' correlation, area under ROC; tables for the report."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rondeau.insight.results import Metric
from rondeau.tasks.bootstrap import intervals
from rondeau.tasks.class_scores import Chances, ClassScores, Ids
from rondeau.tasks.dna.examples import Sequences
from rondeau.tasks.ranking import Ranking

METRICS = (Metric("accuracy", percent=True, digits=4), Metric("mcc"), Metric("auroc"), Metric("macro_f1"))
_WORST, _SHOWN = 12, 80


def matthews(counts: NDArray[Any]) -> float:
    """Matthews' correlation of a confusion matrix `(true, said)`; 0 where one side is always the same class.

    Of two classes Matthews (1975); of more Gorodkin (2004), Comparing two K-category assignments by a K-category
    correlation coefficient.

    >>> round(matthews(np.array([[5, 0], [0, 5]])), 6), matthews(np.array([[5, 5], [5, 5]]))
    (1.0, 0.0)
    """
    true, said, total = counts.sum(1).astype(float), counts.sum(0).astype(float), float(counts.sum())
    both = np.sqrt(total**2 - (true**2).sum()) * np.sqrt(total**2 - (said**2).sum())
    return float((np.trace(counts) * total - true @ said) / both) if both else 0.0


class SequenceScores:
    """Predictions beside the truth; arguments as of `ClassScores`, the last of two classes is the one to be found."""

    def __init__(self, true: Ids, chances: Chances, labels: Sequence[str]) -> None:
        positive = 1 if chances.shape[1] == 2 and len(labels) == 2 else None
        self.plain = ClassScores(true, chances, labels, positive)
        # of each class against all others; a class of no chance is not ranked
        self._rankings = [Ranking(true == i, chances[:, i]) for i in range(chances.shape[1])]
        self._pairs = true * len(labels) + self.plain.predicted

    def figures(self, rows: Ids | None = None) -> dict[str, float]:
        """Those of `METRICS`; `auroc` of more than two classes is the mean of each against all others."""
        plain = self.plain.figures(rows)
        size = len(self.plain.labels)
        pairs = self._pairs if rows is None else self._pairs[rows]
        counts = np.bincount(pairs, minlength=size * size).reshape(size, size)
        found = {"accuracy": plain["accuracy"], "mcc": matthews(counts), "macro_f1": plain["macro_f1"]}
        areas = [one.figures(drawn=rows)["auroc"] for one in self._rankings]
        known = [area for area in areas if area == area]
        return found | ({"auroc": float(np.mean(known))} if known else {})

    def intervals(self, groups: Sequence[Any] | None = None, seed: int = 0) -> dict[str, tuple[float, float]]:
        """The 95 % bootstrap interval of each figure."""
        return intervals(self.figures, len(self.plain.true), groups, seed=seed)

    def findings(self, sequences: Sequences) -> dict[str, Any]:
        """Entries for the report."""
        plain = self.plain
        by_class = [[name, count, *map(_rounded, rest)] for name, count, *rest in plain.by_class()]
        heads = ["class", "sequences", "precision", "recall", "F1"]
        found: dict[str, Any] = {
            "confusion": {"labels": plain.labels, "counts": plain.confusion()},
            "by_group": [{"title": "by class", "heads": heads, "rows": by_class}],
            "worst": self._worst(sequences),
        }
        curves = plain.curves()
        if curves:
            found["curves"] = {**curves, "positive": plain.labels[plain.positive or 0], "threshold": 0.5}
        return found

    def _worst(self, sequences: Sequences) -> list[dict[str, Any]]:
        """The errors the model was surest of."""
        plain = self.plain
        wrong = np.flatnonzero(plain.true != plain.predicted)
        sure = plain.chances[wrong, plain.predicted[wrong]]
        rows = []
        for row in wrong[np.argsort(-sure, kind="stable")[:_WORST]].tolist():
            own = int(sequences.rows[row])
            text = sequences.store.text(own, 0, _SHOWN + 1)
            rows.append(
                {
                    "id": sequences.store.id(own),
                    "sequence": text if len(text) <= _SHOWN else f"{text[:_SHOWN]}...",
                    "label": plain.labels[plain.true[row]],
                    "predicted": plain.labels[plain.predicted[row]],
                    "probability": _rounded(float(plain.chances[row, plain.predicted[row]])),
                }
            )
        return rows


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
