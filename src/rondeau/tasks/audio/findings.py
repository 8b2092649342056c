"""What a report tells of recordings and their classes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from rondeau.data.audio.index import AudioIndex
from rondeau.tasks.class_scores import ClassScores

_WORST = 12
_SPEAKERS = 40
_BANDS = 5  # of lengths


def findings_of(scores: ClassScores, index: AudioIndex) -> dict[str, Any]:
    """Entries for the report, in JSON's types."""
    right = scores.true == scores.predicted
    tables = [_by_class(scores), *_by_speaker(right, index.speakers), *_by_length(right, index.seconds)]
    found: dict[str, Any] = {
        "confusion": {"labels": scores.labels, "counts": scores.confusion()},
        "by_group": tables,
        "worst": _worst(scores, index),
    }
    curves = scores.curves()
    if curves:
        found["curves"] = {**curves, "positive": scores.labels[scores.positive or 0], "threshold": scores.threshold}
    return found


def _by_class(scores: ClassScores) -> dict[str, Any]:
    return {
        "title": "by class",
        "heads": ["class", "recordings", "precision", "recall", "F1"],
        "rows": [[name, count, *map(_rounded, rest)] for name, count, *rest in scores.by_class()],
    }


def _by_speaker(right: Any, speakers: Iterable[str | None]) -> list[dict[str, Any]]:
    names = np.array([name or "?" for name in speakers])
    told = sorted(set(names.tolist()))
    if len(told) < 2:
        return []
    rows = [[name, int((names == name).sum()), _rounded(float(right[names == name].mean()))] for name in told]
    rows.sort(key=lambda row: row[2] or 0)
    return [{"title": "by speaker", "heads": ["speaker", "recordings", "accuracy"], "rows": rows[:_SPEAKERS]}]


def _by_length(right: Any, seconds: Any) -> list[dict[str, Any]]:
    """Accuracy in bands of length that hold about as many recordings each."""
    ends = np.unique(np.quantile(seconds, np.linspace(0, 1, _BANDS + 1)[1:], method="higher"))
    rows: list[list[Any]] = []
    low = 0.0
    for end in ends.tolist():
        inside = (seconds > low) & (seconds <= end)
        if inside.any():
            rows.append([f"{low:.2f} to {end:.2f}", int(inside.sum()), _rounded(float(right[inside].mean()))])
        low = end
    return [{"title": "by length", "heads": ["seconds", "recordings", "accuracy"], "rows": rows}]


def _worst(scores: ClassScores, index: AudioIndex) -> list[dict[str, Any]]:
    """The errors the model was surest of."""
    wrong = np.flatnonzero(scores.true != scores.predicted)
    sure = scores.chances[wrong, scores.predicted[wrong]]
    chosen = wrong[np.argsort(-sure, kind="stable")[:_WORST]].tolist()
    return [
        {
            "path": index.where(row),
            "label": scores.labels[scores.true[row]],
            "predicted": scores.labels[scores.predicted[row]],
            "probability": _rounded(float(scores.chances[row, scores.predicted[row]])),
            "seconds": round(index[row].seconds, 2),
        }
        for row in chosen
    ]


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
