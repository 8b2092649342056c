"""What a model needs to know beside its weights: how texts are read, and the classes; and what it answers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from rondeau.data.buckets import Buckets
from rondeau.data.texts.vectors import Vectors
from rondeau.errors import CheckpointError
from rondeau.tasks.class_scores import Chances, Ids
from rondeau.tasks.texts.examples import Documents, Reading

_TOKENS_AT_ONCE = 1 << 15  # read by the model at a time when it answers
_LISTED = 20  # classes whose probabilities are all told


@dataclass(frozen=True)
class Prepared:
    """What is learnt from the training part: how texts are read, the classes, and later the threshold.

    Attributes: `weights`, of each class in the loss, None for equal ones; `vectors`, given ones, until the model is
    built; `columns`, of the texts and classes in a table; `whole`, without a table whether a document was a whole file;
    `learnt` and `seen`, how many documents the training part has, and numbers of some, by which they are recognised.
    """

    reading: Reading
    labels: list[str]
    positive: int | None = None
    threshold: float = 0.5
    weights: list[float] | None = None
    columns: tuple[str, str] | None = None
    learnt: int = 0
    seen: list[int] = field(default_factory=list)
    whole: bool | None = None
    vectors: Vectors | None = field(default=None, compare=False)

    def to_json(self) -> dict[str, Any]:
        """As `from_json` takes it, without the vectors: the model has them."""
        return {
            "reading": self.reading.to_json(),
            "labels": self.labels,
            "positive": self.positive,
            "threshold": self.threshold,
            "weights": self.weights,
            "columns": None if self.columns is None else list(self.columns),
            "learnt": self.learnt,
            "seen": self.seen,
            "whole": self.whole,
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Prepared:
        """What `to_json` gave. Raises `CheckpointError` for anything else."""
        try:
            labels, positive, threshold = data["labels"], data["positive"], float(data["threshold"])
            weights, columns, reading = data["weights"], data["columns"], data["reading"]
            learnt, seen, whole = int(data["learnt"]), list(data["seen"]), data.get("whole")
        except (KeyError, TypeError, ValueError) as error:
            raise CheckpointError("what was prepared for the texts is damaged", got=error) from error
        pair = None if columns is None else (str(columns[0]), str(columns[1]))
        own = Reading.from_json(reading)
        return cls(own, list(labels), positive, threshold, weights, pair, learnt, seen, whole)

    def classes(self, documents: Documents) -> tuple[Ids, list[str]]:
        """The number of each document's class, and all names: those never learnt come behind those that were."""
        names = list(self.labels)
        known = {name: number for number, name in enumerate(names)}
        numbers = np.empty(len(documents), np.int64)
        for i, row in enumerate(documents.rows.tolist()):
            label = str(documents.store.labels[row])
            if label not in known:
                known[label] = len(names)
                names.append(label)
            numbers[i] = known[label]
        return numbers, names


def chances(model: Any, prepared: Prepared, documents: Documents) -> Chances:
    """The probability of each class for each document, `(documents, classes)`."""
    encoded = documents.encoded(prepared.reading)
    source = Buckets(encoded.lengths, encoded.rows, tokens=_TOKENS_AT_ONCE, batch_size=1024, shuffle=False)
    order = torch.cat(list(source.numbers()))
    logits = torch.from_numpy(np.asarray(model.predict(source))).double()
    found = torch.empty_like(logits)
    found[order] = torch.softmax(logits, -1)
    return found.numpy()


def sort_labels(labels: Iterable[str]) -> list[str]:
    """Numbers by their size, words by their letters."""
    listed = sorted(labels)
    try:
        return sorted(listed, key=float)
    except ValueError:
        return listed


def records_of(prepared: Prepared, found: Chances, predicted: Ids) -> Iterator[dict[str, Any]]:
    """What is answered to each document."""
    for row, own in zip(found, predicted.tolist(), strict=True):
        record = {"predicted": prepared.labels[own], "probability": round(float(row[own]), 6)}
        if len(prepared.labels) <= _LISTED:
            record |= {f"p({label})": round(float(p), 6) for label, p in zip(prepared.labels, row, strict=True)}
        yield record
