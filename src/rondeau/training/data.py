"""Where batches come from: data in memory, torch datasets, and whatever gives batch after batch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset

from rondeau.errors import ArgumentError, DataError
from rondeau.training.batch import Batch, as_batch, collate, is_array, map_data, row_count, take, to_data, to_weights
from rondeau.training.source import Source, parts_of, shuffled, split_at
from rondeau.training.steps import Steps
from rondeau.training.stream import RandomStream, mixed, own_generators
from rondeau.training.windows import RowWindows, WindowSource, as_window

__all__ = ["ArraySource", "Batch", "DatasetSource", "IterableSource", "Source", "make_source", "shuffled"]


class ArraySource(Source):
    """Data in memory, cut into batches; shuffled anew each epoch if asked."""

    def __init__(self, data: Batch, batch_size: int, shuffle: bool) -> None:
        self.data, self.batch_size, self.shuffle = data, batch_size, shuffle
        self.rows = row_count(data)

    def __len__(self) -> int:
        return -(-self.rows // self.batch_size)

    def batches(self, epoch: int, start: int, seed: int) -> Iterator[Batch]:
        for rows in parts_of(self.rows, self.batch_size, self.shuffle, epoch, seed)[start:]:
            yield self.select(rows)

    def select(self, rows: Tensor) -> Batch:
        """The given rows of everything."""
        return self.data.map(lambda part: map_data(lambda t: take(t, rows), part))

    def split(self, fraction: float) -> tuple[ArraySource, ArraySource]:
        """The first rows, and the last `fraction` of them (in the order given, before any shuffling)."""
        at = split_at(self.rows, fraction)
        first, last = (self.select(torch.arange(*ends)) for ends in ((0, at), (at, self.rows)))
        return ArraySource(first, self.batch_size, self.shuffle), ArraySource(last, self.batch_size, False)


class DatasetSource(Source):
    """A map-style torch `Dataset` of x, (x, y) or (x, y, weight), read row by row as it goes.

    Rows of unequal length become `Ragged`. What the dataset draws from torch's generator follows from epoch, row and
    seed, so that a resumed run sees the same.
    """

    def __init__(self, dataset: Any, batch_size: int, shuffle: bool) -> None:
        self.dataset, self.batch_size, self.shuffle = dataset, batch_size, shuffle
        if len(dataset) == 0:
            raise DataError("there is no data", expected="at least one row", got=0)

    def __len__(self) -> int:
        return -(-len(self.dataset) // self.batch_size)

    def batches(self, epoch: int, start: int, seed: int) -> Iterator[Batch]:
        parts = parts_of(len(self.dataset), self.batch_size, self.shuffle, epoch, seed)
        for number, part in list(enumerate(parts))[start:]:
            with RandomStream(mixed(seed, epoch, number)):
                samples = [self.dataset[i] for i in part.tolist()]
            yield as_batch(collate(samples))


class IterableSource(Source):
    """A `DataLoader` or other iterable of batches x, (x, y) or (x, y, weight).

    With `steps` an epoch is the next so many batches, and the iterable is begun again when it ends; without, an epoch
    is once through. A generator can be gone through once only: where it ends too early, `DataError` says so.

    What is drawn from torch's generator while batches are made, such as a loader's order, follows from the seed and
    the number of the pass, so that a resumed run passes over the same batches and goes on with the same ones.
    """

    def __init__(self, batches: Iterable[Any], steps: int | None = None, inputs: int = 1, outputs: int = 1) -> None:
        self.iterable, self.steps, self.parts = batches, steps, (inputs, outputs)
        self.once = isinstance(batches, Iterator)
        self._generators = own_generators(batches)
        self._pass, self._taken = 0, 0  # passes ended; batches of the present one that were taken
        self._begun = [g.get_state() for g in self._generators]  # at the start of the present pass
        self._running: Iterator[Any] | None = None

    def __len__(self) -> int:
        if self.steps is not None:
            return self.steps
        return len(self.iterable)  # type: ignore[arg-type]  # TypeError where it has none, as the base class says

    def peek(self) -> Batch | None:
        with RandomStream(0):
            first = next(iter(self.iterable), None)
        if first is None:
            return None
        if isinstance(self.iterable, Iterator):
            self.iterable = chain([first], self.iterable)
        for generator, state in zip(self._generators, self._begun, strict=True):
            generator.set_state(state)
        first = self._parted(first)
        return as_batch(first[:1] if isinstance(first, tuple) else first, *self.parts)

    def batches(self, epoch: int, start: int, seed: int) -> Iterator[Batch]:
        given = start
        while self.steps is None or given < self.steps:
            batch = self._next(seed)
            if batch is None:
                empty = self._taken == 0
                self._end_pass()
                if self.steps is None or self.once or empty:
                    break
                continue
            self._taken += 1
            given += 1
            yield as_batch(self._parted(batch), *self.parts)
        if self.steps is not None and given < self.steps:
            what = "the data ended before steps_per_epoch batches came"
            raise DataError(what, expected=self.steps, got=given, fix="Give more of it, or ask for fewer steps")

    def _parted(self, value: Any) -> Any:
        """A batch as it came; torch's loaders make lists of their datasets' tuples."""
        return tuple(value) if isinstance(self.iterable, DataLoader) and isinstance(value, list) else value

    def _next(self, seed: int) -> Any:
        if self._running is None:
            self._begun = [generator.get_state() for generator in self._generators]
            self._stream = RandomStream(mixed(seed, self._pass))
            with self._stream:
                self._running = iter(self.iterable)
                for _ in range(self._taken):  # a resumed run passes over the batches it has seen
                    next(self._running, None)
        with self._stream:
            return next(self._running, None)

    def _end_pass(self) -> None:
        if not self.once:  # what has been taken from a generator is gone for good
            self._running, self._taken = None, 0
        self._pass += 1

    def state(self) -> dict[str, Tensor]:
        own = self._begun if self._running is not None else [generator.get_state() for generator in self._generators]
        place = {"pass": torch.tensor(self._pass), "taken": torch.tensor(self._taken)}
        return place | {f"generator {i}": state for i, state in enumerate(own)}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        self._pass, self._taken = int(state["pass"]), int(state["taken"])
        self._running = None
        for i, generator in enumerate(self._generators):
            generator.set_state(state[f"generator {i}"])


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
    window: Any = None,
) -> Source:
    """The source for whatever `fit`, `evaluate` and `predict` were given.

    Args:
        batch_size: rows a batch (default 32); data that comes in batches refuses it.
        inputs, outputs: how many the model has; with several, x (or y) is a list or dict of that many.
        steps: batches an epoch takes from an iterable (`steps_per_epoch`); data of known size refuses it.
        window: steps of a window, or a `RandomWindow`: batches of rows are walked through window by window.
    """
    for name, value in (("batch_size", batch_size), ("steps", steps)):
        if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
            raise ArgumentError(name, expected="a positive integer", got=repr(value))
    in_memory = is_array(x) or isinstance(x, (list, tuple, Mapping, Steps))
    if not in_memory and (y is not None or weight is not None):
        raise ArgumentError(f"y and sample_weight come with the batches of a {type(x).__name__}; leave them out")
    rows = in_memory or (isinstance(x, Dataset) and not isinstance(x, IterableDataset))
    if steps is not None and (rows or isinstance(x, Source)):
        fix = "Leave it out, or give fewer rows"
        raise ArgumentError("steps is for data that comes batch by batch; this has a size of its own", fix=fix)
    if isinstance(x, WindowSource):
        _refuse_batch_size(batch_size)
        return x.in_windows(window, (inputs, outputs))
    if window is None and any(isinstance(leaf, Steps) for leaf in (x, y, weight)):
        fix = "Say how many steps one update sees: fit(..., window=100)"
        raise ArgumentError("a StepFile is read in windows", fix=fix)
    if window is not None:
        if not in_memory:
            fix = "Give arrays, memory maps, a Ragged, lists of sequences, or a rondeau.data.StepStream"
            raise ArgumentError(f"the batches of a {type(x).__name__} cannot be walked through in windows", fix=fix)
        return RowWindows.of(x, y, weight, as_window(window), batch_size or 32, shuffle, inputs, outputs)
    if isinstance(x, IterableDataset):  # of rows, not of batches
        return IterableSource(DataLoader(x, batch_size or 32, collate_fn=collate), steps, inputs, outputs)
    if in_memory:
        data = Batch(to_data(x, inputs, "x"), to_data(y, outputs, "y"), to_weights(weight, outputs))
        return ArraySource(data, batch_size or 32, shuffle)
    if rows:
        return DatasetSource(x, batch_size or 32, shuffle)
    if not isinstance(x, (Source, Iterable)) or isinstance(x, (str, bytes)):
        expected = "arrays, tensors, lists of sequences, a Dataset, or an iterable of batches"
        raise DataError("this is no data", expected=expected, got=type(x).__name__)
    _refuse_batch_size(batch_size)
    return x if isinstance(x, Source) else IterableSource(x, steps, inputs, outputs)


def _refuse_batch_size(batch_size: int | None) -> None:
    if batch_size is not None:
        raise ArgumentError("batch_size has no meaning for data that comes in batches", fix="Leave it out")
