"""Prefetch: the same batches in the same order, made ahead; errors are handed on, and nothing is left running."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from rondeau.data import StepStream, TextWindows
from rondeau.data.buckets import Buckets
from rondeau.data.prefetch import Prefetch
from rondeau.errors import ArgumentError, DataError
from rondeau.layers import GRU, Dense, Dropout
from rondeau.models import Sequential
from rondeau.sequence import Ragged
from rondeau.training.data import Batch, Source, make_source

RNG = np.random.default_rng(0)
ROWS = [RNG.normal(size=(n, 2)).astype(np.float32) for n in RNG.integers(1, 9, 60)]
SUMS = torch.tensor([[row.sum()] for row in ROWS])


def _make(numbers: Tensor) -> tuple[Ragged, Tensor]:
    return Ragged.from_rows([ROWS[i] for i in numbers]), SUMS[numbers]


def _buckets() -> Buckets:
    return Buckets([len(row) for row in ROWS], _make, 7)


def _running() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name == "rondeau-prefetch"]


# Forking beside torch's own threads is what its DataLoader does too; Python 3.12 and later warn of it
forks = pytest.mark.filterwarnings("ignore:.*use of fork.*:DeprecationWarning")


@forks
@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("start", [0, 4, 9])
def test_the_same_batches_come_in_the_same_order(workers: int, start: int) -> None:
    plain = list(_buckets().batches(1, start, 3))
    ahead = list(Prefetch(_buckets(), workers=workers).batches(1, start, 3))
    assert len(plain) == len(ahead) == max(9 - start, 0)
    for one, other in zip(plain, ahead, strict=True):
        assert isinstance(other, Batch)
        assert torch.equal(one.x.values, other.x.values)
        assert torch.equal(one.x.lengths, other.x.lengths)
        assert torch.equal(one.y, other.y)
    assert len(Prefetch(_buckets())) == 9
    assert not _running()


@forks
@pytest.mark.parametrize("workers", [0, 1])
def test_training_is_the_same_bit_for_bit(workers: int) -> None:
    """Dropout draws from the global generator, which making batches ahead must not touch."""

    def trained(source: Source) -> list[Tensor]:
        torch.manual_seed(0)
        model = Sequential([GRU(4), Dropout(0.5), Dense(1)])
        model.compile("adam", "mse")
        model.fit(source, epochs=2, verbose=0)
        return [p.detach() for p in model.parameters()]

    for one, other in zip(trained(_buckets()), trained(Prefetch(_buckets(), workers=workers)), strict=True):
        assert torch.equal(one, other)


def test_no_more_is_made_than_is_asked_for() -> None:
    made: list[int] = []

    def make(rows: Tensor) -> Tensor:
        made.append(len(rows))
        return rows[:, None]

    batches = Prefetch(Buckets(np.ones(100, int), make, 1), ahead=3).batches(0, 0, 0)
    next(batches)
    deadline = time.monotonic() + 20
    while len(made) < 5 and time.monotonic() < deadline:  # one given, three in the queue, one in hand
        time.sleep(0.01)
    time.sleep(0.05)
    assert len(made) == 5
    batches.close()  # type: ignore[attr-defined]
    assert not _running()


@forks
@pytest.mark.parametrize("workers", [0, 2])
def test_an_error_is_raised_where_its_batch_would_have_come(workers: int) -> None:
    def make(rows: Tensor) -> Tensor:
        if 3 in rows:
            raise DataError("a bad row", where="row 3")
        return rows[:, None]

    source = Buckets(np.ones(5, int), make, 1, shuffle=False)
    batches = Prefetch(source, workers=workers).batches(0, 0, 0)
    assert [int(next(batches).x) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(DataError, match=r"a bad row \(at row 3\)"):
        next(batches)
    assert not _running()


@forks
def test_a_worker_that_is_killed_is_named() -> None:
    def make(rows: Tensor) -> Tensor:
        os._exit(1)

    with pytest.raises(DataError, match="a process that makes batches has died"):
        list(Prefetch(Buckets(np.ones(5, int), make, 1), workers=1).batches(0, 0, 0))


def test_whoever_stops_reading_stops_the_making() -> None:
    class Endless(Source):
        closed = False

        def __len__(self) -> int:
            raise TypeError

        def batches(self, epoch: int, start: int, seed: int) -> Iterator[Batch]:
            try:
                while True:
                    yield Batch(torch.zeros(1, 1))
            finally:
                self.closed = True

    source = Endless()
    assert Prefetch(source).count() is None
    for _ in Prefetch(source).batches(0, 0, 0):
        break
    deadline = time.monotonic() + 20
    while _running() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert source.closed


@pytest.mark.parametrize(
    "source",
    [
        make_source(TensorDataset(torch.zeros(3, 1))),
        make_source(DataLoader(TensorDataset(torch.zeros(3, 1)))),
        TextWindows(np.arange(9), 2),
        StepStream(lambda: []),
    ],
    ids=lambda source: type(source).__name__,
)
def test_sources_that_stand_somewhere_or_draw_are_refused(source: Any) -> None:
    with pytest.raises(ArgumentError, match="cannot be made ahead"):
        Prefetch(source)


def test_what_has_no_meaning_is_refused() -> None:
    for options in ({"ahead": 0}, {"workers": -1}, {"ahead": 1.5}):
        with pytest.raises(ArgumentError, match="a whole number"):
            Prefetch(_buckets(), **options)
    with pytest.raises(ArgumentError, match="a source of batches"):
        Prefetch([1, 2])  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match=r"rondeau\.data\.Buckets"):
        Prefetch(make_source(torch.zeros(4, 1)), workers=1)
