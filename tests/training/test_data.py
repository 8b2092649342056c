from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset, RandomSampler, TensorDataset

from rondeau import Ragged
from rondeau.errors import ArgumentError, DataError
from rondeau.training.data import ArraySource, Batch, DatasetSource, IterableSource, Source, make_source, shuffled
from rondeau.training.stream import RandomStream, mixed, own_generators

X = np.arange(10.0, dtype="float32")[:, None]
Y = np.arange(10)


def labels(source: Source, epoch: int = 0, start: int = 0, seed: int = 5) -> list[list[int]]:
    return [batch.y.tolist() for batch in source.batches(epoch, start, seed)]


class Rows(Dataset[Any]):
    """Row i is i steps long, and noisy."""

    def __len__(self) -> int:
        return 6

    def __getitem__(self, i: int) -> Any:
        return torch.rand(i, 2), i


class Stream(IterableDataset[Any]):
    def __iter__(self) -> Iterator[Any]:
        return ((torch.full((i % 3 + 1,), i), i) for i in range(7))


# In memory


def test_batches_in_order_and_a_smaller_last_one() -> None:
    source = make_source(X, Y, batch_size=4)
    assert len(source) == 3
    assert labels(source) == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    assert labels(source, start=2) == [[8, 9]]
    assert labels(source, start=3) == []


def test_shuffling_depends_on_seed_and_epoch_and_can_begin_anywhere() -> None:
    source = make_source(X, Y, batch_size=3, shuffle=True)
    first = labels(source)
    torch.rand(5)
    assert labels(source) == first
    assert labels(source, start=2) == first[2:]
    assert sorted(chain(*first)) == list(range(10))
    assert len({str(labels(source, epoch, seed=seed)) for epoch in range(3) for seed in range(3)}) == 9


def test_x_y_and_weights_keep_together_in_every_form() -> None:
    rows = [[i] * (i % 3 + 1) for i in range(10)]
    source = make_source(
        {"a": X, "b": rows}, [Y, rows], [Y.astype(float), None], batch_size=4, shuffle=True, inputs=2, outputs=2
    )
    for batch in source.batches(0, 0, 1):
        expected = batch.y[0].tolist()
        assert batch.x["a"][:, 0].tolist() == expected
        assert [int(row[0]) for row in batch.x["b"].rows()] == expected
        assert [int(row[0]) for row in batch.y[1].rows()] == expected
        assert batch.weight[0].tolist() == expected
        assert batch.weight[1] is None


def test_splitting_holds_out_the_last_rows() -> None:
    source = make_source(X, Y, Y.astype(float), batch_size=4, shuffle=True)
    assert isinstance(source, ArraySource)
    first, last = source.split(0.3)
    assert sorted(chain(*labels(first))) == list(range(7))
    assert labels(last) == [[7, 8, 9]]  # not shuffled
    for fraction in (0, 1, -0.5, 2):
        with pytest.raises(ArgumentError, match="validation_split"):
            source.split(fraction)
    with pytest.raises(DataError, match="leaves one part of 10 rows empty"):
        source.split(0.95)


@pytest.mark.parametrize("batch_size", [0, -1, 2.5, "4", True])
@pytest.mark.parametrize("x", [X, TensorDataset(torch.zeros(3))], ids=["array", "dataset"])
def test_a_batch_size_must_be_a_positive_integer(x: Any, batch_size: Any) -> None:
    with pytest.raises(ArgumentError, match="batch_size: expected a positive integer"):
        make_source(x, batch_size=batch_size)


@pytest.mark.parametrize("x", [None, 3, "text", b"bytes", object()])
def test_what_is_no_data(x: Any) -> None:
    with pytest.raises(DataError, match="this is no data"):
        make_source(x)


# Datasets


def test_a_dataset_of_unequal_rows() -> None:
    source = make_source(Rows(), batch_size=4)
    first = next(source.batches(0, 0, 0))
    assert isinstance(first.x, Ragged)
    assert first.x.lengths.tolist() == [0, 1, 2, 3]
    assert labels(source) == [[0, 1, 2, 3], [4, 5]]
    assert len(source) == 2


def test_what_a_dataset_draws_is_the_same_wherever_one_begins() -> None:
    source = make_source(Rows(), batch_size=2, shuffle=True)
    state = torch.get_rng_state()
    whole = [batch.x.values for batch in source.batches(1, 0, 3)]
    assert torch.equal(torch.get_rng_state(), state)  # the model's own draws are left alone
    later = [batch.x.values for batch in source.batches(1, 1, 3)]
    assert all(map(torch.equal, whole[1:], later))
    other = [batch.x.values for batch in source.batches(2, 0, 3)]
    assert not torch.equal(torch.cat(whole).sort().values, torch.cat(other).sort().values)


def test_an_empty_dataset() -> None:
    with pytest.raises(DataError, match="there is no data"):
        make_source(TensorDataset(torch.zeros(0, 2)))


def test_an_iterable_dataset_gives_rows() -> None:
    source = make_source(Stream(), batch_size=3)
    assert source.count() is None
    assert labels(source) == [[0, 1, 2], [3, 4, 5], [6]]
    assert isinstance(next(source.batches(1, 0, 0)).x, Ragged)


# Batches from elsewhere


def loader(**options: Any) -> DataLoader[Any]:
    return DataLoader(TensorDataset(torch.as_tensor(X), torch.as_tensor(Y)), **{"batch_size": 4, **options})


def test_a_loader_keeps_its_own_batches() -> None:
    source = make_source(loader())
    assert len(source) == 3
    assert labels(source) == labels(source) == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    assert source.peek() is not None
    assert labels(source) == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]


def test_a_loader_of_x_alone_and_one_of_dicts() -> None:
    (batch,) = make_source(DataLoader(TensorDataset(torch.zeros(3, 2)), batch_size=3)).batches(0, 0, 0)
    assert batch.x.shape == (3, 2)
    assert batch.y is None
    named = [({"a": 1.0}, {"o": 2})] * 2
    (batch,) = make_source(DataLoader(named, batch_size=2)).batches(0, 0, 0)  # type: ignore[arg-type]
    assert batch.x["a"].tolist() == [1, 1]
    assert batch.y["o"].tolist() == [2, 2]


@pytest.mark.parametrize("own", [False, True, "sampler"])
@pytest.mark.parametrize("workers", [0, pytest.param(2, marks=pytest.mark.slow)])
def test_a_shuffling_loader_goes_on_as_if_never_interrupted(own: Any, workers: int) -> None:
    def make() -> Source:
        generator = torch.Generator().manual_seed(9) if own else None
        if own == "sampler":
            return make_source(loader(sampler=RandomSampler(range(10), generator=generator), num_workers=workers))
        return make_source(loader(shuffle=True, generator=generator, num_workers=workers))

    whole = make()
    expected = [labels(whole, epoch) for epoch in range(3)]
    assert len({str(order) for order in expected}) == 3
    for epoch, batch in [(0, 2), (1, 0), (2, 1)]:
        broken = make()
        for done in range(epoch):
            labels(broken, done)
        running = broken.batches(epoch, 0, 5)
        for _ in range(batch):
            next(running)
        resumed = make()
        resumed.peek()
        torch.rand(3)
        resumed.load_state(broken.state())
        assert labels(resumed, epoch, batch) == expected[epoch][batch:]
        assert [labels(resumed, later) for later in range(epoch + 1, 3)] == expected[epoch + 1 :]


def test_a_loader_leaves_the_global_generator_alone() -> None:
    state = torch.get_rng_state()
    source = make_source(loader(shuffle=True))
    source.peek()
    labels(source)
    assert torch.equal(torch.get_rng_state(), state)


def generator(length: int = 100) -> Iterator[Any]:
    for i in range(length):
        yield np.zeros((2, 1)), np.array([i, i])


def test_a_generator_goes_on_from_epoch_to_epoch() -> None:
    source = make_source(generator(), steps=3)
    assert len(source) == 3
    assert source.peek() is not None
    assert labels(source) == [[0, 0], [1, 1], [2, 2]]
    assert labels(source, 1) == [[3, 3], [4, 4], [5, 5]]


def test_a_generator_that_ends_too_early() -> None:
    source = make_source(generator(4), steps=3)
    labels(source)
    with pytest.raises(DataError, match="ended before steps_per_epoch batches came: expected 3, got 1"):
        labels(source, 1)
    without = make_source(generator(4))
    assert without.count() is None
    assert len(labels(without)) == 4
    assert labels(without, 1) == []
    assert make_source(generator(0)).peek() is None


def test_a_fresh_generator_passes_over_what_the_resumed_run_has_seen() -> None:
    broken = make_source(generator(), steps=3)
    broken.peek()
    labels(broken)
    next(broken.batches(1, 0, 5))
    resumed = make_source(generator(), steps=3)
    resumed.peek()
    resumed.load_state(broken.state())
    assert labels(resumed, 1, 1) == [[4, 4], [5, 5]]


def test_an_iterable_with_steps_is_begun_again_when_it_ends() -> None:
    source = make_source(loader(), steps=2)
    assert [labels(source, epoch) for epoch in range(3)] == [
        [[0, 1, 2, 3], [4, 5, 6, 7]],
        [[8, 9], [0, 1, 2, 3]],
        [[4, 5, 6, 7], [8, 9]],
    ]
    empty = make_source(DataLoader(TensorDataset(torch.zeros(0, 1))), steps=2)
    with pytest.raises(DataError, match="ended before"):
        labels(empty)


def test_data_of_known_size_refuses_steps_and_batches_refuse_a_batch_size() -> None:
    for known in (X, [[1]], {"a": X}, TensorDataset(torch.zeros(3))):
        with pytest.raises(ArgumentError, match="steps is for data that comes batch by batch"):
            make_source(known, steps=3)
    for batches in (loader(), generator(), make_source(X)):
        with pytest.raises(ArgumentError, match="batch_size has no meaning"):
            make_source(batches, batch_size=3)
        with pytest.raises(ArgumentError, match="y and sample_weight come with the batches"):
            make_source(batches, Y)
    with pytest.raises(ArgumentError, match="steps: expected a positive integer"):
        make_source(generator(), steps=0)


def test_a_source_of_ones_own() -> None:
    class Own(Source):
        def __len__(self) -> int:
            return 2

        def batches(self, epoch: int, start: int, seed: int) -> Iterator[Batch]:
            return (Batch(torch.zeros(1), torch.tensor([i])) for i in range(start, 2))

    own = Own()
    assert make_source(own) is own
    assert own.state() == {}
    assert own.count() == 2
    peeked = own.peek()
    assert peeked is not None
    assert peeked.y.tolist() == [0]


def test_the_kinds() -> None:
    kinds = {type(make_source(x)) for x in (X, TensorDataset(torch.zeros(3)), loader())}
    assert kinds == {ArraySource, DatasetSource, IterableSource}


# Random numbers


def test_a_stream_stands_apart_and_goes_on() -> None:
    stream, whole = RandomStream(3), torch.Generator().manual_seed(3)
    expected = torch.rand(4, generator=whole)
    torch.manual_seed(0)
    before = torch.rand(())
    torch.manual_seed(0)
    with stream:
        first = torch.rand(2)
    assert torch.equal(torch.rand(()), before)
    with stream:
        second = torch.rand(2)
    assert torch.equal(torch.cat([first, second]), expected)
    with pytest.raises(KeyError), stream:
        raise KeyError
    torch.manual_seed(0)
    assert torch.equal(torch.rand(()), before)


def test_mixed_seeds_differ_and_are_in_range() -> None:
    seeds = {mixed(seed, epoch, batch) for seed in range(10) for epoch in range(10) for batch in range(10)}
    assert len(seeds) == 1000
    assert 0 <= mixed(2**62, 2**62) < 2**63


def test_shuffled_is_a_permutation() -> None:
    assert sorted(shuffled(50, 3, 2**40).tolist()) == list(range(50))


def test_own_generators_are_found_once() -> None:
    own = torch.Generator()
    assert own_generators(loader(shuffle=True, generator=own)) == [own]
    assert own_generators(loader(shuffle=True)) == []
    assert own_generators(iter([])) == []
