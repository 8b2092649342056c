"""pad_sequences and to_categorical give what Keras's do; windows over a series are those of a plain definition."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
import torch

import rondeau
from rondeau import layers, utils
from rondeau.errors import ArgumentError, DataError

# pad_sequences

ROWS: list[list[Any]] = [
    [[1], [2, 3], [4, 5, 6]],
    [[], [1, 2], []],
    [(1, 2, 3), np.arange(5), [7]],
    [[[1, 2]], [[3, 4], [5, 6]], []],
    [[1.0, 2.0], [3]],
]
OPTIONS: list[dict[str, Any]] = [
    {},
    {"padding": "post"},
    {"maxlen": 2},
    {"maxlen": 2, "truncating": "post"},
    {"maxlen": 7, "padding": "post", "truncating": "post", "value": -1},
    {"dtype": "float32", "value": 0.5},
    {"dtype": "int64", "maxlen": 1},
    {"dtype": object, "value": "end"},
]


@pytest.mark.parametrize("rows", ROWS, ids=str)
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_padding_is_keras_s(rows: list[Any], options: dict[str, Any]) -> None:
    keras = pytest.importorskip("keras")
    ours, theirs = utils.pad_sequences(rows, **options), keras.utils.pad_sequences(rows, **options)
    assert ours.dtype == theirs.dtype
    assert ours.shape == theirs.shape
    assert np.array_equal(ours, theirs)


def test_tensors_and_words_can_be_padded() -> None:
    tensors = utils.pad_sequences([torch.tensor([1, 2]), torch.tensor([3])])
    assert tensors.tolist() == [[1, 2], [0, 3]]
    words = utils.pad_sequences([["a", "whole"], ["word"]], dtype=object, value="")
    assert words.tolist() == [["a", "whole"], ["", "word"]]


def test_no_sequences_have_the_length_that_is_asked_for() -> None:
    assert utils.pad_sequences([], maxlen=3).shape == (0, 3)
    with pytest.raises(DataError, match="there are no sequences"):
        utils.pad_sequences([])


@pytest.mark.parametrize(
    ("rows", "options", "message"),
    [
        ([[1], [0.5, 1.5]], {}, r"does not fit int32.*sequence 1.*got 0.5.*dtype='float32'"),
        ([[1], [2, 300]], {"dtype": "int8"}, r"does not fit int8.*sequence 1.*got 300"),
        ([[1, float("nan")]], {}, r"does not fit int32.*sequence 0.*got nan"),
        ([["a"]], {}, r"cannot be int32.*sequence 0"),
        ([[1]], {"value": 0.5}, r"does not fit int32.*value.*got 0.5"),
        ([[1]], {"value": "end"}, r"cannot be int32.*value.*dtype=object"),
        ([[1], 2], {}, r"not a sequence.*sequence 1.*got 2"),
        (["abc"], {}, r"not a sequence.*got 'abc'"),
        ([[[1, 2]], [3]], {}, r"steps of another shape.*sequence 1.*expected \(2,\), got \(\)"),
        ([[[1, 2], [3]]], {}, r"cannot be int32.*sequence 0"),
    ],
)
def test_rows_that_would_not_survive_are_refused_by_number(rows: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        utils.pad_sequences(rows, **options)


@pytest.mark.parametrize("options", [{"padding": "left"}, {"truncating": None}, {"maxlen": 0}, {"maxlen": 2.5}])
def test_arguments_of_padding_are_checked(options: dict[str, Any]) -> None:
    with pytest.raises(ArgumentError, match=f"pad_sequences: {next(iter(options))}"):
        utils.pad_sequences([[1]], **options)


# to_categorical


@pytest.mark.parametrize("x", [[0, 2, 1], [[0], [2]], [[0, 1], [2, 2]], [[[3]], [[1]]], 2, [1.0, 0.0], [True, False]],
                         ids=str)  # fmt: skip
@pytest.mark.parametrize("classes", [None, 5])
def test_one_hot_vectors_are_keras_s(x: Any, classes: int | None) -> None:
    keras = pytest.importorskip("keras")
    ours, theirs = utils.to_categorical(x, classes), keras.utils.to_categorical(x, classes)
    assert ours.dtype == theirs.dtype
    assert np.array_equal(ours, theirs)
    assert ours.shape == theirs.shape


def test_one_hot_vectors_of_a_tensor_are_a_tensor() -> None:
    keras = pytest.importorskip("keras")
    x = torch.tensor([[0], [2]])
    ours = utils.to_categorical(x, 3)
    assert ours.dtype == torch.float32
    assert torch.equal(ours, keras.utils.to_categorical(x, 3).cpu())


@pytest.mark.parametrize(
    ("x", "classes", "message"),
    [
        ([0, -1], None, r"not a class.*position \[1\].*0 to 0, got -1"),
        ([[0, 1], [4, 3]], 3, r"not a class.*position \[1, 0\].*0 to 2, got 4"),
        ([0.5], 2, r"does not fit int64.*to_categorical.*got 0.5"),
        (["a"], 2, r"cannot be int64"),
        ([], None, r"there are no numbers"),
    ],
)
def test_numbers_that_are_no_class_are_refused_by_position(x: Any, classes: int | None, message: str) -> None:
    with pytest.raises(DataError, match=message):
        utils.to_categorical(x, classes)
    with pytest.raises(ArgumentError, match="num_classes"):
        utils.to_categorical([0], 0)


# timeseries_dataset_from_array


def _windows(data: Any, targets: Any, length: int, stride: int, rate: int, start: int, end: int) -> Any:
    """The definition: every window that lies inside data[start:end], and has a target if there are any."""
    x, y = [], []
    for first in range(start, end, stride):
        steps = [first + rate * i for i in range(length)]
        if steps[-1] < end and (targets is None or first < len(targets)):
            x.append(np.stack([data[step] for step in steps]))
            y.append(None if targets is None else targets[first])
    return np.stack(x), None if targets is None else np.stack(y)


@pytest.mark.parametrize("shape", [(40,), (40, 3)])
@pytest.mark.parametrize("length", [1, 4])
@pytest.mark.parametrize("stride", [1, 3])
@pytest.mark.parametrize("rate", [1, 2])
@pytest.mark.parametrize(("start", "end"), [(None, None), (5, 33), (0, 40)])
@pytest.mark.parametrize("ahead", [None, 0, 4])
def test_windows_are_those_of_the_definition(
    shape: Any, length: int, stride: int, rate: int, start: int | None, end: int | None, ahead: int | None
) -> None:
    data = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    targets = None if ahead is None else data[ahead:]
    expected = _windows(data, targets, length, stride, rate, start or 0, end or 40)
    dataset = utils.timeseries_dataset_from_array(
        data, targets, length, stride, rate, batch_size=7, start_index=start, end_index=end
    )
    for _ in range(2):  # it can be gone through again
        batches = list(dataset)
        assert len(batches) == len(dataset)
        assert all(len(batch[0] if ahead is not None else batch) == 7 for batch in batches[:-1])
        if ahead is None:
            assert np.array_equal(torch.cat(batches), expected[0])
        else:
            assert np.array_equal(torch.cat([x for x, _ in batches]), expected[0])
            assert np.array_equal(torch.cat([y for _, y in batches]), expected[1])


def test_without_a_batch_size_windows_come_one_by_one() -> None:
    dataset = utils.timeseries_dataset_from_array(np.arange(6), None, 2, batch_size=None)
    assert [window.tolist() for window in dataset] == [[0, 1], [1, 2], [2, 3], [3, 4], [4, 5]]
    assert len(dataset) == 5


def _firsts(dataset: Any) -> list[int]:
    return [int(row[0]) for batch in dataset for row in batch]


def test_shuffling_follows_the_seed_and_changes_each_time() -> None:
    def dataset(seed: int | None) -> Any:
        return utils.timeseries_dataset_from_array(np.arange(30), None, 2, batch_size=4, shuffle=True, seed=seed)

    one, two = dataset(7), dataset(7)
    orders = [_firsts(one), _firsts(one)]
    assert [_firsts(two), _firsts(two)] == orders
    assert orders[0] != orders[1]
    assert orders[0] != _firsts(dataset(8))
    assert sorted(orders[0]) == sorted(orders[1]) == list(range(29))
    utils.set_random_seed(3)
    drawn = _firsts(dataset(None))
    utils.set_random_seed(3)
    assert _firsts(dataset(None)) == drawn != orders[0]


def test_fit_takes_windows_in_an_order_that_only_the_seed_and_the_epoch_decide() -> None:
    data = np.sin(np.arange(60, dtype=np.float32) / 3)[:, None]

    def weights(**options: Any) -> Any:
        torch.manual_seed(0)
        model = rondeau.Sequential([layers.Input((5, 1)), layers.LSTM(3), layers.Dense(1)])
        model.compile("adam", "mse", device="cpu")
        dataset = utils.timeseries_dataset_from_array(data, data[5:], 5, batch_size=8, **options)
        assert len(list(dataset)) == len(dataset)  # going through it by hand changes nothing
        model.fit(dataset, epochs=3, validation_data=dataset, verbose=0)
        assert model.predict(dataset).shape == (len(data) - 5, 1)
        return np.concatenate([weight.ravel() for weight in model.get_weights()])

    assert np.array_equal(weights(shuffle=True, seed=1), weights(shuffle=True, seed=1))
    assert not np.array_equal(weights(shuffle=True, seed=1), weights(shuffle=True, seed=2))
    assert not np.array_equal(weights(shuffle=True, seed=1), weights())


def test_single_windows_are_no_batches_for_fit() -> None:
    model = rondeau.Sequential([layers.Input((2, 1)), layers.LSTM(1)])
    model.compile("sgd", "mse", device="cpu")
    data = np.ones((5, 1), np.float32)
    with pytest.raises(ArgumentError, match=r"single windows are no batches.*batch_size"):
        model.fit(utils.timeseries_dataset_from_array(data, data, 2, batch_size=None), verbose=0)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"sequence_length": 0}, ArgumentError, "sequence_length.*a positive integer, got 0"),
        ({"sequence_stride": 0}, ArgumentError, "sequence_stride"),
        ({"sampling_rate": 1.5}, ArgumentError, "sampling_rate"),
        ({"batch_size": 0}, ArgumentError, "batch_size"),
        ({"start_index": -1}, ArgumentError, r"start_index and end_index.*0 to 10, rising, got \(-1, 10\)"),
        ({"start_index": 5, "end_index": 5}, ArgumentError, r"got \(5, 5\)"),
        ({"end_index": 11}, ArgumentError, r"got \(0, 11\)"),
        ({"sequence_length": 11}, DataError, "not one window fits.*11 steps or more.*10 steps"),
        ({"sequence_length": 4, "sampling_rate": 4}, DataError, "13 steps or more"),
        ({"targets": [1], "start_index": 2}, DataError, "a target for the first.*8 steps and 1 targets"),
        ({"format": "grain"}, ArgumentError, "format has no meaning here.*Leave it out"),
        ({"data": [[1], [2, 3]]}, DataError, "data is no series"),
        ({"targets": [[1], [2, 3]]}, DataError, "targets is no series"),
        ({"shuffle": True, "seed": "x"}, ArgumentError, "seed"),
    ],
)
def test_windows_that_cannot_be_are_refused(options: dict[str, Any], error: type, message: str) -> None:
    given = {"data": np.arange(10), "targets": None, "sequence_length": 2} | options
    with pytest.raises(error, match=message):
        utils.timeseries_dataset_from_array(**given)


# set_random_seed


def test_one_seed_seeds_all_three() -> None:
    def drawn() -> list[float]:
        utils.set_random_seed(5)
        return [random.random(), float(np.random.rand()), float(torch.rand(()))]

    assert drawn() == drawn()
    assert drawn()[0] == random.Random(5).random()


@pytest.mark.parametrize("seed", [None, 1.5, True, -1, 2**32])
def test_what_is_no_seed_is_refused(seed: Any) -> None:
    with pytest.raises(ArgumentError, match=r"an integer from 0 to 2\^32 - 1"):
        utils.set_random_seed(seed)
