"""Batches made ahead, while the model learns from those before."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from rondeau.data.buckets import Buckets
from rondeau.errors import ArgumentError, DataError
from rondeau.training.batch import Batch
from rondeau.training.data import DatasetSource
from rondeau.training.source import Source
from rondeau.training.windows import WindowSource

_LOOK = 0.1  # seconds after which whoever waits looks whether it is still wanted


class Prefetch(Source):
    """The batches of another source, in the same order, some of them made ahead in the background.

    Reading and NumPy's copying go on beside the model's products in a thread. Where Python itself is busy with making
    batches, as in parsing, only `workers`, processes of their own, are of help.

    Args:
        source: `Buckets`, or another source whose batches follow from epoch, number and seed alone.
        ahead: how many batches are made ahead at most.
        workers: processes that make them (default: none, a thread instead); for `Buckets` alone. The function that
            makes the batches must not need what is only in the process that began, such as a file it holds open.

    An error in the making is raised where its batch would have come. Whoever stops reading, for whatever reason, stops
    the making too.

    Raises `ArgumentError` for a source that goes on from where it stands, or draws from torch's global generator: it
    would be at another place, or disturb the model's own draws.

    >>> source = Buckets([2, 1, 2], lambda rows: torch.zeros(len(rows), 2), batch_size=2)
    >>> [len(batch.x) for batch in Prefetch(source).batches(0, 0, 0)]
    [2, 1]
    """

    def __init__(self, source: Source, ahead: int = 4, workers: int = 0) -> None:
        for name, value, least in (("ahead", ahead, 1), ("workers", workers, 0)):
            if not isinstance(value, int) or isinstance(value, bool) or value < least:
                raise ArgumentError(f"Prefetch: {name}", expected=f"a whole number, {least} or more", got=repr(value))
        kind = type(source).__name__
        if isinstance(source, (WindowSource, DatasetSource)) or (isinstance(source, Source) and source.state()):
            fix = "Give it to fit as it is; a DataLoader has workers of its own (num_workers)"
            raise ArgumentError("the batches of this source cannot be made ahead", got=kind, fix=fix)
        if not isinstance(source, Source) or (workers and not isinstance(source, Buckets)):
            expected = "rondeau.data.Buckets" if workers else "a source of batches"
            raise ArgumentError("Prefetch: source", expected=expected, got=kind)
        self.source, self.ahead, self.workers = source, ahead, workers
        self.carries_state = source.carries_state

    def __len__(self) -> int:
        return len(self.source)

    def peek(self) -> Batch | None:
        return self.source.peek()

    def batches(self, epoch: int, start: int, seed: int) -> Iterator[Batch]:
        if self.workers and isinstance(self.source, Buckets):
            return _by_processes(self.source, self.source.numbers(epoch, start, seed), self.workers, self.ahead)
        return _by_thread(self.source, epoch, start, seed, self.ahead)


class _Failed:
    """An error on its way to whoever reads."""

    def __init__(self, error: BaseException) -> None:
        self.error = error


def _by_thread(source: Source, epoch: int, start: int, seed: int, ahead: int) -> Iterator[Batch]:
    made: queue.Queue[Batch | _Failed | None] = queue.Queue(ahead)
    unwanted = threading.Event()

    def give(item: Batch | _Failed | None) -> bool:
        while not unwanted.is_set():
            try:
                made.put(item, timeout=_LOOK)
            except queue.Full:
                continue
            return True
        return False

    def work() -> None:
        try:
            for batch in source.batches(epoch, start, seed):
                if not give(batch):
                    return
            give(None)
        except BaseException as error:  # it is raised again by whoever reads
            give(_Failed(error))

    worker = threading.Thread(target=work, name="rondeau-prefetch", daemon=True)
    worker.start()
    try:
        while (item := made.get()) is not None:
            if isinstance(item, _Failed):
                raise item.error
            yield item
    finally:
        unwanted.set()
        worker.join()


class _Made(Dataset[Any]):
    """Batches by their rows, in a worker."""

    def __init__(self, source: Buckets) -> None:
        self.source = source

    def __getitem__(self, rows: Tensor) -> Any:
        try:
            return self.source.made(rows)
        except Exception as error:
            return _Failed(error)


def _as_it_is(item: Any) -> Any:
    return item


def _by_processes(source: Buckets, numbers: Iterator[Tensor], workers: int, ahead: int) -> Iterator[Batch]:
    loader = DataLoader(
        _Made(source),
        batch_size=None,
        sampler=numbers,
        num_workers=workers,
        prefetch_factor=max(-(-ahead // workers), 1),
        collate_fn=_as_it_is,
        generator=torch.Generator(),  # not the global one: the model's draws are the same with and without workers
    )
    running = iter(loader)
    while True:
        try:
            item = next(running, None)
        except RuntimeError as error:  # a worker was killed, as by the system for want of memory
            raise DataError("a process that makes batches has died", got=error, fix="Use fewer workers") from error
        if item is None:
            return
        if isinstance(item, _Failed):
            raise item.error
        yield item
