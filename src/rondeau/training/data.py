"""Whatever the user gives as data, as batches: arrays, tensors, lists of sequences, `Ragged`, datasets, loaders, generators."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from rondeau.errors import ArgumentError, DataError
from rondeau.sequence import Ragged


class Batch(NamedTuple):
    """Inputs, targets and sample weights: each a tensor, a `Ragged`, a list or dict of them, or None."""

    x: Any
    y: Any = None
    weight: Any = None


class Source(ABC):
    """Batches that can be gone through again from any place: `batches(epoch, start, seed)` repeats itself exactly.

    Attributes:
        carries_state: each batch continues the rows of the one before, so stateful layers begin anew with each epoch.
    """

    carries_state = False

    @abstractmethod
    def __len__(self) -> int:
        """Batches in an epoch; raises `TypeError` where that is unknown until the end."""

    @abstractmethod
    def batches(self, epoch: int, start: int, seed: int) -> Iterator[Batch]:
        """The batches of an epoch from number `start` on, in the order that `seed` and `epoch` give."""

    def peek(self) -> Batch | None:
        """A batch like those to come, None if there is none; it still comes in its turn."""
        return next(self.batches(0, 0, 0), None)

    def count(self) -> int | None:
        """Batches in an epoch, or None where unknown."""
        try:
            return len(self)
        except TypeError:
            return None


class ArraySource(Source):
    """Data in memory, cut into batches; shuffled anew each epoch if asked."""

    def __init__(self, data: Batch, batch_size: int, shuffle: bool) -> None:
        if not isinstance(batch_size, int) or batch_size < 1:
            raise ArgumentError("batch_size", expected="a positive integer", got=repr(batch_size))
        self.data, self.batch_size, self.shuffle = data, batch_size, shuffle
        self.rows = row_count(data)

    def __len__(self) -> int:
        return -(-self.rows // self.batch_size)

    def batches(self, epoch: int, start: int, seed: int) -> Iterator[Batch]:
        order = shuffled(self.rows, epoch, seed) if self.shuffle else torch.arange(self.rows)
        for rows in order.split(self.batch_size)[start:]:
            yield self.select(rows)

    def select(self, rows: Tensor) -> Batch:
        """The given rows of everything."""
        return Batch(*(map_data(lambda t: take(t, rows), part) for part in self.data))

    def split(self, fraction: float) -> tuple[ArraySource, ArraySource]:
        """The first rows, and the last `fraction` of them (in the order given, before any shuffling)."""
        if not 0 < fraction < 1:
            raise ArgumentError("validation_split", expected="a fraction between 0 and 1", got=fraction)
        at = int(self.rows * (1 - fraction))
        if at == 0 or at == self.rows:
            raise DataError(f"validation_split={fraction} leaves one part of {self.rows} rows empty")
        first, last = (self.select(torch.arange(*ends)) for ends in ((0, at), (at, self.rows)))
        return ArraySource(first, self.batch_size, self.shuffle), ArraySource(last, self.batch_size, False)


class DatasetSource(Source):
    """A map-style torch `Dataset` of x, (x, y) or (x, y, weight), read as it goes; rows of unequal length become `Ragged`."""

    def __init__(self, dataset: Any, batch_size: int, shuffle: bool) -> None:
        self.dataset, self.batch_size, self.shuffle = dataset, batch_size, shuffle

    def __len__(self) -> int:
        return -(-len(self.dataset) // self.batch_size)

    def batches(self, epoch: int, start: int, seed: int) -> Iterator[Batch]:
        rows = len(self.dataset)
        order = shuffled(rows, epoch, seed) if self.shuffle else torch.arange(rows)
        for part in order.split(self.batch_size)[start:]:
            samples = [self.dataset[i] for i in part.tolist()]
            if isinstance(samples[0], (tuple, list)):
                yield as_batch(tuple(to_data(list(field)) for field in zip(*samples, strict=True)))
            else:
                yield Batch(to_data(samples))


class IterableSource(Source):
    """A `DataLoader` or other iterable of batches x, (x, y) or (x, y, weight). A generator can be gone through once only."""

    def __init__(self, batches: Iterable[Any], steps: int | None = None) -> None:
        self.iterable, self.steps = batches, steps
        self._running = iter(batches) if isinstance(batches, Iterator) else None

    def __len__(self) -> int:
        if self.steps is not None:
            return self.steps
        return len(self.iterable)  # type: ignore[arg-type]  # TypeError where it has none, as the base class says

    def peek(self) -> Batch | None:
        if self._running is None:
            return super().peek()
        first = next(self._running, None)
        if first is None:
            return None
        self._running = chain([first], self._running)
        return as_batch(first)

    def batches(self, epoch: int, start: int, seed: int) -> Iterator[Batch]:
        running = iter(self.iterable) if self._running is None else self._running
        for number, batch in enumerate(running):
            if number >= start:  # a resumed run passes over the batches it has seen
                yield as_batch(batch)
            if self.steps is not None and number + 1 == self.steps:
                return
        if self._running is not None and self.steps is not None:
            raise DataError(
                "the generator ended before steps_per_epoch batches came", expected=self.steps, fix="Give a longer one"
            )


def make_source(
    x: Any,
    y: Any = None,
    weight: Any = None,
    *,
    batch_size: int | None = None,
    shuffle: bool = False,
    inputs: int = 1,
    outputs: int = 1,
    steps: int | None = None,
) -> Source:
    """The source for whatever `fit`, `evaluate` and `predict` were given.

    Args:
        batch_size: rows a batch (default 32); data that comes in batches refuses it.
        inputs, outputs: how many the model has; with several, x (or y) is a list or dict of that many.
        steps: batches an epoch takes from an iterable (`steps_per_epoch`).
    """
    own_batches = isinstance(x, (Source, DataLoader)) or (
        isinstance(x, Iterable) and not isinstance(x, (Dataset, np.ndarray, Tensor, Ragged, list, tuple, dict))
    )
    if own_batches or isinstance(x, Dataset):
        if y is not None or weight is not None:
            raise ArgumentError(f"y and sample_weight come with the batches of a {type(x).__name__}; leave them out")
    if isinstance(x, Source):
        return x
    if own_batches:
        if batch_size is not None:
            raise ArgumentError("batch_size has no meaning for data that comes in batches", fix="Leave it out")
        return IterableSource(x, steps)
    if isinstance(x, Dataset):
        return DatasetSource(x, batch_size or 32, shuffle)
    data = Batch(to_data(x, inputs), to_data(y, outputs), to_data(weight, outputs))
    return ArraySource(data, 32 if batch_size is None else batch_size, shuffle)


def to_data(value: Any, parts: int = 1) -> Any:
    """Arrays as tensors (floats in torch's default type), sequences of unequal length as `Ragged`; several parts apart."""
    if value is None or isinstance(value, (Tensor, Ragged)):
        return value
    if isinstance(value, Mapping):
        return {key: to_data(part) for key, part in value.items()}
    if parts > 1:
        if not isinstance(value, (list, tuple)) or len(value) != parts:
            got = f"{len(value)}" if isinstance(value, (list, tuple)) else type(value).__name__
            raise DataError("the data does not fit the model", expected=f"a list of {parts} arrays", got=got)
        return [to_data(part) for part in value]
    if isinstance(value, (list, tuple)) and value and all(hasattr(row, "__len__") for row in value):
        lengths = {len(row) for row in value}
        if len(lengths) > 1:
            return Ragged.from_rows([_tensor(row) for row in value])
        if isinstance(value[0], Tensor):
            return torch.stack([_tensor(row) for row in value])
    return _tensor(value)


def _tensor(value: Any) -> Tensor:
    try:
        tensor = torch.as_tensor(np.asarray(value) if not isinstance(value, Tensor) else value)
    except (TypeError, ValueError) as error:
        fix = "Give numbers: arrays, tensors, or a list of sequences"
        raise DataError("the data cannot be made a tensor", got=f"{type(value).__name__}: {error}", fix=fix) from error
    return tensor.to(torch.get_default_dtype()) if tensor.is_floating_point() else tensor


def as_batch(value: Any) -> Batch:
    """x, (x, y) or (x, y, weight) as a `Batch` of tensors."""
    if isinstance(value, Batch):
        return value
    parts = value if isinstance(value, tuple) or (isinstance(value, list) and len(value) in (2, 3)) else (value,)
    if not 1 <= len(parts) <= 3:
        raise DataError("a batch", expected="x, (x, y) or (x, y, sample_weight)", got=f"{len(parts)} parts")
    return Batch(*(map_data(_as_tensor_leaf, part) for part in parts))


def _as_tensor_leaf(part: Any) -> Any:
    return part if part is None or isinstance(part, (Tensor, Ragged)) else to_data(part)


def map_data(function: Any, data: Any) -> Any:
    """`function` of each tensor or `Ragged` in a list or dict of them; None stays None."""
    if data is None:
        return None
    if isinstance(data, dict):
        return {key: map_data(function, part) for key, part in data.items()}
    if isinstance(data, (list, tuple)) and any(isinstance(part, (Tensor, Ragged, np.ndarray)) for part in data):
        return [map_data(function, part) for part in data]
    return function(data)


def data_leaves(data: Any) -> list[Any]:
    """All tensors and `Ragged` in `data`."""
    found: list[Any] = []
    map_data(found.append, data)
    return found


def take(data: Tensor | Ragged, rows: Tensor) -> Tensor | Ragged:
    """Some rows of a tensor or `Ragged`."""
    return data.select(rows) if isinstance(data, Ragged) else data[rows.to(data.device)]


def row_count(data: Batch) -> int:
    """Rows in every part. Raises `DataError` where parts differ or are empty."""
    counts = {name: [len(leaf) for leaf in data_leaves(part)] for name, part in zip(data._fields, data, strict=True)}
    rows = counts["x"][0] if counts["x"] else 0
    for name, sizes in counts.items():
        for size in sizes:
            if size != rows:
                raise DataError(f"{name} has another number of rows than x", expected=rows, got=size)
    if rows == 0:
        raise DataError("there is no data", expected="at least one row", got=0)
    return rows


def shuffled(rows: int, epoch: int, seed: int) -> Tensor:
    """A permutation of the rows that depends on nothing but these numbers."""
    return torch.randperm(rows, generator=torch.Generator().manual_seed((seed * 1_000_003 + epoch) % 2**63))
