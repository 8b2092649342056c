"""Pairs of sequences for teacher forcing: what a decoder reads, and what it is to answer."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from rondeau.errors import DataError, ShapeError
from rondeau.sequence import Ragged
from rondeau.training.batch import Batch, to_data
from rondeau.training.data import Source

Pairs = Callable[[Any, Any], tuple[list[Ragged], Ragged]]


def token_ids(data: Any, name: str) -> Ragged:
    """Sequences of ids as `Ragged`: lists of unequal length, an array `(rows, time)` padded with 0, or a `Ragged`.

    0 is padding wherever it comes from, in front or behind. Raises `DataError` where other ids stand on both sides of
    it or ids are no whole numbers, `ShapeError` for what is no batch of sequences.
    """
    given = to_data(data, name=name)
    values = given.values if isinstance(given, Ragged) else given
    if not isinstance(values, Tensor) or values.ndim != (1 if isinstance(given, Ragged) else 2):
        got = tuple(given.shape) if isinstance(given, (Tensor, Ragged)) else type(given).__name__
        fix = "For one sequence, give a list that holds it"
        raise ShapeError(f"{name}: ids", expected="sequences of ids, (rows, time)", got=got, fix=fix)
    whole = values.long()
    if not torch.equal(whole.to(values.dtype), values):
        raise DataError(f"{name}: ids must be whole numbers", got=values.dtype)
    if isinstance(given, Ragged) and bool(whole.all()):
        return Ragged(whole, given.lengths)
    padded = given.with_values(whole).pad() if isinstance(given, Ragged) else whole
    real = padded != 0
    begins = real.clone()
    begins[:, 1:] &= ~real[:, :-1]
    torn = (begins.sum(1) > 1).nonzero()
    if len(torn):
        fix = "Number the tokens from 1"
        raise DataError(f"{name}: id 0 is padding, but ids stand on both sides", where=f"row {int(torn[0])}", fix=fix)
    return Ragged(padded[real], real.sum(1).cpu())


def put_before(first: int, rows: Ragged) -> Ragged:
    """Each row with one more token in front.

    >>> put_before(9, Ragged.from_rows([[1, 2], []])).values.tolist()
    [9, 1, 2, 9]
    """
    longer = rows.lengths + 1
    return _insert(first, rows, longer, longer.cumsum(0) - longer)


def put_behind(last: int, rows: Ragged) -> Ragged:
    """Each row with one more token at its end.

    >>> put_behind(9, Ragged.from_rows([[1, 2], []])).values.tolist()
    [1, 2, 9, 9]
    """
    longer = rows.lengths + 1
    return _insert(last, rows, longer, longer.cumsum(0) - 1)


def _insert(token: int, rows: Ragged, lengths: Tensor, places: Tensor) -> Ragged:
    new = torch.zeros(int(lengths.sum()), dtype=torch.bool)
    new[places] = True
    values = rows.values.new_full((len(new),), token)
    values[~new.to(values.device)] = rows.values
    return Ragged(values, lengths)


class PairSource(Source):
    """Batches (source, target) as those that teacher forcing needs."""

    def __init__(self, source: Source, pairs: Pairs) -> None:
        self.source, self.pairs = source, pairs

    def __len__(self) -> int:
        return len(self.source)

    def batches(self, epoch: int, start: int, seed: int) -> Iterator[Batch]:
        return map(self._paired, self.source.batches(epoch, start, seed))

    def peek(self) -> Batch | None:
        first = self.source.peek()
        return None if first is None else self._paired(first)

    def state(self) -> dict[str, Tensor]:
        return self.source.state()

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        self.source.load_state(state)

    def _paired(self, batch: Batch) -> Batch:
        return batch if batch.y is None else Batch(*self.pairs(batch.x, batch.y), batch.weight)
