"""How well scores put the positive before the negative: ROC and precision-recall, and what follows from them.

A score's ties count as one threshold, so that no figure depends on the order of the rows. Definitions: T. Fawcett
(2006), An introduction to ROC analysis; average precision as the sum of precision times the gain in recall, without
interpolation.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rondeau.errors import DataError

Floats = NDArray[np.float64]


class Ranking:
    """Rows by falling score, once in order, so that figures of rows drawn anew take no sorting.

    Args:
        positive: of each row whether it is positive, `(rows,)`.
        scores: of each row, `(rows,)`, higher where it is more likely positive.

    Raises `DataError` for scores that are not finite, or another number of them than rows.

    >>> ranking = Ranking([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8])
    >>> figures = ranking.figures(rate=0.5)
    >>> round(figures["auroc"], 3), round(figures["average_precision"], 3), figures["recall"]
    (0.75, 0.833, 1.0)
    """

    def __init__(self, positive: ArrayLike, scores: ArrayLike) -> None:
        truth, given = np.asarray(positive).astype(bool), np.asarray(scores, np.float64)
        if truth.shape != given.shape or truth.ndim != 1:
            raise DataError("scores and labels do not fit", expected=truth.shape, got=given.shape)
        if not np.isfinite(given).all():
            raise DataError("a score is not finite", where=f"row {int(np.flatnonzero(~np.isfinite(given))[0])}")
        self._order = np.argsort(-given, kind="stable")
        ordered = given[self._order]
        self._truth = truth[self._order].astype(np.float64)
        last = np.append(np.diff(ordered) != 0, True) if len(ordered) else np.zeros(0, bool)
        self._ends = np.flatnonzero(last)  # the last row of each threshold
        self.thresholds: Floats = ordered[self._ends]
        self.rows = len(ordered)

    def counts(self, drawn: NDArray[np.int64] | None = None) -> tuple[Floats, Floats]:
        """Positives and negatives at or above each threshold, falling; of the rows drawn, each as often as it was."""
        weight = np.ones(self.rows)
        if drawn is not None:
            weight = np.bincount(drawn, minlength=self.rows)[self._order].astype(np.float64)
        hits = np.cumsum(weight * self._truth)
        return hits[self._ends], np.cumsum(weight)[self._ends] - hits[self._ends]

    def figures(self, rate: float = 0.01, drawn: NDArray[np.int64] | None = None) -> dict[str, float]:
        """`auroc`, `average_precision`, and `recall` where at most `rate` of the negatives are alarms.

        NaN where there is no positive, or no negative, among the rows.
        """
        hits, alarms = self.counts(drawn)
        positives, negatives = (float(hits[-1]), float(alarms[-1])) if len(hits) else (0.0, 0.0)
        if not positives or not negatives:
            return dict.fromkeys(("auroc", "average_precision", "recall"), float("nan"))
        area = _area(hits, alarms)
        gains = np.diff(hits, prepend=0.0)
        seen = hits + alarms
        precision = np.divide(hits, seen, out=np.zeros_like(hits), where=seen > 0)
        allowed = np.flatnonzero(alarms <= rate * negatives)
        return {
            "auroc": area / (positives * negatives),
            "average_precision": float((gains * precision).sum() / positives),
            "recall": float(hits[allowed[-1]] / positives) if len(allowed) else 0.0,
        }

    def threshold_at(self, rate: float) -> float:
        """The lowest threshold with alarms for at most `rate` of the negatives; infinite where there is none."""
        _, alarms = self.counts()
        allowed = np.flatnonzero(alarms <= rate * alarms[-1]) if len(alarms) else np.zeros(0, np.int64)
        return float(self.thresholds[allowed[-1]]) if len(allowed) else float(np.inf)

    def best_threshold(self) -> float:
        """The threshold of the best F1, midway to the next lower score. Raises `DataError` without a positive."""
        hits, alarms = self.counts()
        if not len(hits) or not hits[-1]:
            raise DataError("no threshold can be chosen", expected="positive rows", got=0)
        best = int(np.argmax(2 * hits / (hits + alarms + hits[-1])))
        beside = self.thresholds[min(best + 1, len(self.thresholds) - 1)]
        return float((self.thresholds[best] + beside) / 2)

    def curves(self, points: int = 200) -> dict[str, Any]:
        """`roc` (share of alarms, recall) and `precision_recall` (recall, precision), of `points` places at most."""
        hits, alarms = self.counts()
        recall = hits / max(hits[-1], 1.0)
        roc = np.stack([np.append(0, alarms / max(alarms[-1], 1.0)), np.append(0, recall)], 1)
        precision = np.stack([recall, hits / np.maximum(hits + alarms, 1)], 1)
        return {
            "roc": _thin(roc, points, np.log10(np.maximum(roc[:, 0], 0.5 / max(alarms[-1], 1.0))) / 3),
            "precision_recall": _thin(precision[hits > 0], points),
            "positives": int(hits[-1]),
            "negatives": int(alarms[-1]),
        }


def _area(hits: Floats, alarms: Floats) -> float:
    ys, xs = np.append(0, hits), np.append(0, alarms)
    return float((np.diff(xs) * (ys[1:] + ys[:-1])).sum() / 2)


def _thin(line: Floats, points: int, across: Floats | None = None) -> list[list[float]]:
    """Some of the points, evenly along the drawn line; `across`: where they are drawn, if not at their first number."""
    if len(line) > points:
        drawn = line if across is None else np.stack([across, line[:, 1]], 1)
        way = np.append(0, np.abs(np.diff(drawn, axis=0)).sum(1).cumsum())
        kept = np.searchsorted(way, np.linspace(0, way[-1], points))
        line = line[np.unique(np.clip(kept, 0, len(line) - 1))]
    return [[round(float(x), 6), round(float(y), 6)] for x, y in line]
