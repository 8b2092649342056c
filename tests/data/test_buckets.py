"""Buckets: every row once, like lengths together, the same again from any place, in memory that does not grow."""

from __future__ import annotations

from typing import Any
from unittest import mock

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from rondeau.data import buckets, shuffle
from rondeau.data.buckets import Buckets
from rondeau.data.shuffle import Permutation
from rondeau.errors import ArgumentError, DataError
from rondeau.layers import GRU, Dense
from rondeau.models import Sequential
from rondeau.sequence import Ragged
from rondeau.training.callbacks import Callback


def _lengths(rows: int, seed: int = 0) -> np.ndarray[Any, Any]:
    return np.random.default_rng(seed).lognormal(3, 0.7, rows).astype(np.int64)


def _of_rows(rows: Tensor) -> Tensor:
    return rows[:, None]


def _all(source: Buckets, epoch: int = 0, start: int = 0, seed: int = 0) -> list[list[int]]:
    return [rows.tolist() for rows in source.numbers(epoch, start, seed)]


@given(
    lengths=st.lists(st.integers(0, 40), min_size=1, max_size=50),
    size=st.integers(1, 9),
    tokens=st.one_of(st.none(), st.integers(1, 60)),
    shuffle=st.booleans(),
    seed=st.integers(0, 5),
)
def test_every_row_comes_once_in_as_many_batches_as_said(
    lengths: list[int], size: int, tokens: int | None, shuffle: bool, seed: int
) -> None:
    with mock.patch.multiple(buckets, FEWEST=2, CHUNK=4):  # so that there are several
        source = Buckets(lengths, _of_rows, None if tokens else size, tokens, shuffle=shuffle)
    for epoch in (0, 1):
        batches = _all(source, epoch, seed=seed)
        assert len(batches) == len(source)
        assert all(batches)
        assert sorted(row for batch in batches for row in batch) == list(range(len(lengths)))


@given(start=st.integers(0, 30), tokens=st.sampled_from([None, 100]), shuffle=st.booleans())
def test_from_any_batch_on_the_rest_comes_the_same(start: int, tokens: int | None, shuffle: bool) -> None:
    with mock.patch.multiple(buckets, FEWEST=3, CHUNK=7):
        source = Buckets(_lengths(230), _of_rows, None if tokens else 9, tokens, shuffle=shuffle)
    assert _all(source, 3, start, 5) == _all(source, 3, 0, 5)[start:]


def test_another_epoch_or_seed_is_another_order_and_other_batches() -> None:
    source = Buckets(_lengths(2000), _of_rows, 16)
    orders = [_all(source, epoch, 0, seed) for epoch, seed in ((0, 0), (1, 0), (0, 1))]
    assert orders[0] == _all(source, 0, 0, 0)
    sets = [{frozenset(batch) for batch in order} for order in orders]
    assert len(sets[0] & sets[1]) < len(source) / 10
    assert len(sets[0] & sets[2]) < len(source) / 10


def test_batches_do_not_come_by_length() -> None:
    lengths = _lengths(3000)
    means = np.array([lengths[batch].mean() for batch in _all(Buckets(lengths, _of_rows, 16))])
    assert abs(np.corrcoef(means[1:], means[:-1])[0, 1]) < 0.3


@pytest.mark.parametrize("options", [{"batch_size": 32}, {"tokens": 700}])
@pytest.mark.parametrize("rows", [2000, 60_000])
def test_the_padding_stays_below_a_tenth(options: dict[str, int], rows: int) -> None:
    lengths = _lengths(rows)
    source = Buckets(lengths, _of_rows, **options)
    assert source.waste < 0.1
    counted = [lengths[batch] for batch in _all(source)]
    assert source.waste == pytest.approx(1 - lengths.sum() / sum(own.max() * len(own) for own in counted))
    assert f"{source.waste:.1%} padding" in source.describe()


def test_a_batch_holds_its_steps_and_no_row_too_many() -> None:
    lengths = _lengths(5000)
    source = Buckets(lengths, _of_rows, tokens=1000)
    steps = [lengths[batch].sum() for batch in _all(source)]
    assert max(steps) <= 1000 + lengths.max()
    assert np.mean(steps) > 950
    few = Buckets(lengths, _of_rows, batch_size=20, tokens=1000)
    sizes = [len(batch) for batch in _all(few)]
    assert max(sizes) <= 21  # a row that begins in a batch stays in it
    assert len(few) > len(source)


def test_a_row_that_is_longer_than_a_batch_comes_alone() -> None:
    lengths = [3] * 20 + [500]
    source = Buckets(lengths, _of_rows, tokens=10)
    assert min(len(batch) for batch in _all(source) if 20 in batch) <= 2
    assert len(_all(source)) == len(source)


@pytest.mark.parametrize("alike", [True, False])
def test_pairs_are_sorted_by_both_sides(alike: bool) -> None:
    rng = np.random.default_rng(1)
    one = rng.integers(3, 40, 9000)
    two = (one * rng.uniform(0.8, 1.3, 9000)).astype(np.int64) if alike else rng.integers(3, 40, 9000)
    source = Buckets(np.stack([one, two], 1), _of_rows, 32)
    assert source.waste < 0.1
    by_the_first = np.argsort(one, kind="stable")
    batches = np.split(by_the_first, range(32, 9000, 32))
    naive = 1 - (one + two).sum() / sum((one[b].max() + two[b].max()) * len(b) for b in batches)
    assert source.waste < 0.75 * naive


def test_without_shuffling_rows_keep_near_their_place() -> None:
    source = Buckets(_lengths(40_000), _of_rows, 8, shuffle=False)
    batches = _all(source)
    assert batches == _all(source, 7, 0, 9)
    assert max(batches[0]) < source.chunk


def test_a_model_trains_on_buckets_and_goes_on_within_an_epoch() -> None:
    rng = np.random.default_rng(0)
    lengths = rng.integers(1, 9, 60)
    rows = [rng.normal(size=(n, 2)).astype(np.float32) for n in lengths]
    sums = torch.tensor([[row.sum()] for row in rows])
    seen: list[int] = []

    def make(numbers: Tensor) -> tuple[Ragged, Tensor]:
        return Ragged.from_rows([rows[i] for i in numbers]), sums[numbers]

    class Count(Callback):
        def on_train_batch_end(self, batch: int, logs: dict[str, Any]) -> None:
            seen.append(batch)

    model = Sequential([GRU(4), Dense(1)])
    model.compile("adam", "mse")
    model.fit(Buckets(lengths, make, 7), epochs=2, verbose=0, callbacks=[Count()])
    assert len(seen) == 2 * 9


def test_what_is_no_length_is_refused() -> None:
    with pytest.raises(DataError, match=r"a length is negative \(at row 1\)"):
        Buckets([1, -2], _of_rows)
    with pytest.raises(DataError, match="whole numbers"):
        Buckets([1.5], _of_rows)
    with pytest.raises(DataError, match="there is no data"):
        Buckets(np.zeros(0, np.int64), _of_rows)
    for wrong in ({"batch_size": 0}, {"tokens": -1}, {"batch_size": True}):
        with pytest.raises(ArgumentError, match="a positive whole number"):
            Buckets([1], _of_rows, **wrong)
    with pytest.raises(DataError, match="another number of rows"):
        next(Buckets([1, 2], lambda rows: torch.zeros(1, 1)).batches(0, 0, 0))


# Permutations in constant memory


@pytest.mark.parametrize("rows", [1, 2, 3, 100, 1000, 4097])
def test_a_computed_permutation_has_every_row_once(rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shuffle, "DRAWN", 0)
    whole = Permutation(rows, 3).part(0, rows)
    assert sorted(whole.tolist()) == list(range(rows))
    assert Permutation(rows, 3).part(rows // 2, rows).tolist() == whole[rows // 2 :].tolist()


def test_a_computed_permutation_looks_random(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shuffle, "DRAWN", 0)
    rows = 5000
    orders = [Permutation(rows, seed).part(0, rows) for seed in range(40)]
    assert len({tuple(order[:10]) for order in orders}) == 40
    places = np.arange(rows)
    correlations = [np.corrcoef(places, order)[0, 1] for order in orders]
    assert max(map(abs, correlations)) < 5 / rows**0.5  # five standard deviations
    fixed = sum(int((order == places).sum()) for order in orders)  # one on average in each
    assert 10 < fixed < 90
