"""What a report tells of predicted classes: confusion, curves, the worst errors, and where the model is good."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rondeau.data.texts.documents import Document
from rondeau.tasks.class_scores import ClassScores

_WORST = 12
_SHOWN = 400  # characters of a text
_BANDS = 5  # of lengths


def findings_of(
    scores: ClassScores, documents: Sequence[Document], lengths: NDArray[np.int64], threshold: float
) -> dict[str, Any]:
    """Entries for the report, in JSON's types."""
    found: dict[str, Any] = {
        "confusion": {"labels": scores.labels, "counts": scores.confusion()},
        "by_group": [_by_class(scores), _by_length(scores, lengths)],
        "worst": _worst(scores, documents),
    }
    curves = scores.curves()
    if curves:
        found["curves"] = {**curves, "positive": scores.labels[scores.positive or 0], "threshold": threshold}
    return found


def _by_class(scores: ClassScores) -> dict[str, Any]:
    return {
        "title": "By class",
        "heads": ["class", "documents", "precision", "recall", "F1"],
        "rows": [[name, count, *map(_rounded, rest)] for name, count, *rest in scores.by_class()],
    }


def _by_length(scores: ClassScores, lengths: NDArray[np.int64]) -> dict[str, Any]:
    """Accuracy in bands of length that hold about as many documents each."""
    right = scores.true == scores.predicted
    ends = np.unique(np.quantile(lengths, np.linspace(0, 1, _BANDS + 1)[1:], method="higher"))
    rows, low = [], 0
    for end in ends.tolist():
        inside = (lengths >= low) & (lengths <= end)
        name = f"{int(end)}" if low == end else f"{int(lengths[inside].min())} to {int(end)}"
        rows.append([name, int(inside.sum()), _rounded(float(right[inside].mean()))])
        low = int(end) + 1
    return {"title": "By length", "heads": ["tokens", "documents", "accuracy"], "rows": rows}


def _worst(scores: ClassScores, documents: Sequence[Document]) -> list[dict[str, Any]]:
    """The errors the model was surest of."""
    wrong = np.flatnonzero(scores.true != scores.predicted)
    sure = scores.chances[wrong, scores.predicted[wrong]]
    chosen = wrong[np.argsort(-sure, kind="stable")[:_WORST]]
    return [
        {
            "text": _short(documents[int(row)].text),
            "label": scores.labels[scores.true[row]],
            "predicted": scores.labels[scores.predicted[row]],
            "probability": _rounded(float(scores.chances[row, scores.predicted[row]])),
            "where": documents[int(row)].where,
        }
        for row in chosen
    ]


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 3]}..."
