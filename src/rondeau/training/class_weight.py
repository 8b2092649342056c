"""Class weights as sample weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from rondeau.errors import ArgumentError
from rondeau.sequence import Ragged
from rondeau.training.data import Batch, Source


class ClassWeighted(Source):
    """Another source's batches, each sample (or step) weighted by its class, for imbalanced data."""

    def __init__(self, source: Source, weights: Mapping[int, float]) -> None:
        self.source, self.weights = source, dict(weights)
        self.carries_state = source.carries_state

    def __len__(self) -> int:
        return len(self.source)

    def peek(self) -> Batch | None:
        first = self.source.peek()
        return None if first is None else weigh_classes(first, self.weights)

    def batches(self, epoch: int, start: int, seed: int) -> Iterator[Batch]:
        for batch in self.source.batches(epoch, start, seed):
            yield weigh_classes(batch, self.weights)


def weigh_classes(batch: Batch, weights: Mapping[int, float]) -> Batch:
    """The batch with its weights multiplied by those of its targets' classes; classes not named weigh 1.

    Targets are integers `(rows,)`, `(rows, 1)`, `(rows, time)`, or one-hot along the last of several axes of floats.
    """
    target = batch.y.values if isinstance(batch.y, Ragged) else batch.y
    if not isinstance(target, Tensor):
        raise ArgumentError("class_weight works with one output", fix="Give sample_weight for several")
    if target.is_floating_point() and target.ndim > 1 and target.shape[-1] > 1:
        classes = target.argmax(-1)
    else:
        classes = target.long()
        classes = classes[..., 0] if classes.ndim > 1 and classes.shape[-1] == 1 else classes
    highest = int(classes.max()) if classes.numel() else 0
    table = torch.ones(max(highest, *weights, 0) + 1, dtype=torch.get_default_dtype())
    for label, weight in weights.items():
        if label < 0 or weight < 0:
            raise ArgumentError("class_weight", expected="{class: weight}, neither negative", got={label: weight})
        table[label] = weight
    by_class = table[classes]
    own = batch.y.with_values(by_class) if isinstance(batch.y, Ragged) else by_class
    return batch._replace(weight=own if batch.weight is None else _times(own, batch.weight))


def _times(by_class: Tensor | Ragged, given: Tensor | Ragged) -> Tensor | Ragged:
    if isinstance(by_class, Ragged):
        if isinstance(given, Ragged):
            return by_class.with_values(by_class.values * given.values)
        per_row = given[by_class.row_index] if given.ndim == 1 else Ragged.from_padded(given, by_class.lengths).values
        return by_class.with_values(by_class.values * per_row)
    if isinstance(given, Ragged):
        raise ArgumentError("sample_weight is ragged, the targets are not", fix="Give both in one form")
    return by_class * (given if given.ndim == by_class.ndim else given.reshape(-1, *(1,) * (by_class.ndim - 1)))
