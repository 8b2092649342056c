"""How good labels of frames are: figures, and their intervals over recordings drawn anew."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rondeau.tasks.bootstrap import intervals
from rondeau.tasks.ranking import Ranking

Ids = NDArray[np.int64]
Floats = NDArray[np.float64]
_BINS = 256  # of scores, for the intervals of the area under the curve


class FrameScores:
    """Predicted labels of frames beside the true ones.

    Args:
        true, predicted: of each recording, `(frames,)`; a label that is not known has a number of its own, from the
            known ones' count on.
        labels: the known ones; the first is what is there where nothing is heard.
        scores: with two labels of each recording how likely the second is, `(frames,)`; higher where it is.

    F1 is of the second of two labels; of more it is the mean over all but the first.
    """

    def __init__(
        self,
        true: Sequence[Ids],
        predicted: Sequence[Ids],
        labels: Sequence[str],
        scores: Sequence[Floats] | None = None,
    ) -> None:
        self.labels = list(labels)
        size = max(len(labels), max((int(one.max()) for one in true if len(one)), default=0) + 1)
        self.counts = np.stack(
            [
                np.bincount(t * size + p, minlength=size * size).reshape(size, size)
                for t, p in zip(true, predicted, strict=True)
            ]
        )
        self.ranking: Ranking | None = None
        self._above: NDArray[np.int64] | None = None
        if scores is not None and len(labels) == 2:
            truth, given = np.concatenate(list(true)) == 1, np.concatenate(list(scores))
            self.ranking = Ranking(truth, given)
            edges = np.unique(np.quantile(given, np.linspace(0, 1, _BINS + 1)[1:-1]))
            bins = [np.searchsorted(edges, one) * 2 + (t == 1) for one, t in zip(scores, true, strict=True)]
            width = 2 * (len(edges) + 1)
            self._above = np.stack([np.bincount(one, minlength=width).reshape(-1, 2) for one in bins])

    def figures(self) -> dict[str, float]:
        """`frame_f1`, `accuracy`, and of two labels `auroc`, over all frames."""
        found = _of_counts(self.counts.sum(0), len(self.labels))
        if self.ranking is not None:
            area = self.ranking.figures()["auroc"]
            if area == area:
                found["auroc"] = area
        return found

    def intervals(self, groups: Sequence[Any] | None = None, seed: int = 0) -> dict[str, tuple[float, float]]:
        """The 95 % bootstrap interval of each figure; whole recordings, or groups of them, are drawn."""

        def of(rows: Ids) -> dict[str, float]:
            found = _of_counts(self.counts[rows].sum(0), len(self.labels))
            if self._above is not None:
                found["auroc"] = area_of(self._above[rows].sum(0))
            return found

        return intervals(of, len(self.counts), groups, seed=seed)

    def confusion(self) -> list[list[int]]:
        """How often each label, by row, was taken for which, by column."""
        size = len(self.labels)
        told: list[list[int]] = self.counts.sum(0)[:size, :size].tolist()
        return told

    def by_label(self) -> list[list[Any]]:
        """Of each label its frames, precision, recall and F1."""
        counts, rows = self.counts.sum(0), []
        for i, label in enumerate(self.labels):
            right, there, said = int(counts[i, i]), int(counts[i].sum()), int(counts[:, i].sum())
            parts = [right / said if said else None, right / there if there else None]
            rows.append([label, there, *parts, 2 * right / (there + said) if there + said else None])
        return rows

    def by_recording(self) -> Floats:
        """The share of each recording's frames that are right, `(recordings,)`."""
        right = np.trace(self.counts, axis1=1, axis2=2)
        return np.asarray(right / np.maximum(self.counts.sum((1, 2)), 1))


def _of_counts(counts: NDArray[Any], labels: int) -> dict[str, float]:
    right, both = np.diag(counts), counts.sum(0) + counts.sum(1)
    heard = np.arange(1, labels)
    known = heard[both[heard] > 0]
    f1 = float((2 * right[known] / both[known]).mean()) if len(known) else 0.0
    return {"frame_f1": f1, "accuracy": float(right.sum() / max(counts.sum(), 1))}


def area_of(bins: NDArray[Any]) -> float:
    """The area under the ROC curve of counts `(bins, 2)`, negatives and positives by rising score; ties count half."""
    negatives, positives = bins[:, 0], bins[:, 1]
    below = negatives.cumsum() - negatives
    total = float(negatives.sum()) * float(positives.sum())
    return float((positives * (below + 0.5 * negatives)).sum() / total) if total else float("nan")
