from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from rondeau import Ragged
from rondeau.errors import DataError, ShapeError
from rondeau.training.batch import (
    Batch,
    as_batch,
    collate,
    data_leaves,
    is_array,
    map_data,
    place,
    row_count,
    take,
    to_data,
    to_weights,
)


@pytest.mark.parametrize("dtype", ["uint8", "int32", "int64", "float16", "float32", "float64", "bool"])
def test_numpy_types_are_kept(dtype: str) -> None:
    array = np.array([[0, 1], [2, 3]]).astype(dtype)
    assert to_data(array).numpy().dtype == array.dtype
    assert to_data(array).numpy().tolist() == array.tolist()


@pytest.mark.parametrize("dtype", ["uint16", "uint32"])
def test_wide_unsigned_integers_become_int64(dtype: str) -> None:
    assert to_data(np.array([1, 2], dtype)).dtype == torch.int64


def test_an_array_is_shared_unless_torch_cannot() -> None:
    array = np.zeros((3, 2), "float32")
    assert to_data(array).data_ptr() == array.ctypes.data
    array.flags.writeable = False
    assert to_data(array).tolist() == array.tolist()
    backwards = np.arange(6.0).reshape(3, 2)[::-1]
    assert to_data(backwards).tolist() == backwards.tolist()


def test_lists_of_equal_and_of_unequal_sequences() -> None:
    assert to_data([[1, 2], [3, 4]]).tolist() == [[1, 2], [3, 4]]
    ragged = to_data([[1.0, 2.0], [], [3.0]])
    assert isinstance(ragged, Ragged)
    assert ragged.lengths.tolist() == [2, 0, 1]
    assert to_data([1, 2, 3]).tolist() == [1, 2, 3]
    assert to_data([]).shape == (0,)


@pytest.mark.parametrize("make", [np.array, torch.tensor])
def test_lists_of_arrays_and_numbers_of_a_library(make: Any) -> None:
    assert to_data([make([1, 2]), make([3, 4])]).tolist() == [[1, 2], [3, 4]]
    assert to_data([make([1, 2]), make([3])]).lengths.tolist() == [2, 1]
    assert to_data([make(1), make(2)]).tolist() == [1, 2]


def test_integers_beside_floats_make_floats() -> None:
    assert to_data([[1, 2], [0.5, 3.0]]).tolist() == [[1, 2], [0.5, 3]]
    assert to_data([torch.tensor([1, 2]), torch.tensor([0.5])]).values.tolist() == [1, 2, 0.5]


def test_an_array_of_objects_holds_rows() -> None:
    array = np.empty(2, object)
    array[:] = [[1, 2], [3]]
    assert to_data(array).lengths.tolist() == [2, 1]


def test_a_table_is_an_array() -> None:
    class Table:
        ndim = 2

        def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
            return np.ones((2, 3))

    assert is_array(Table())
    assert to_data(Table()).shape == (2, 3)


def test_several_parts() -> None:
    a, b = np.zeros((2, 3)), np.zeros((2, 1))
    assert [part.shape for part in to_data([a, b], 2)] == [(2, 3), (2, 1)]
    assert [part.shape for part in to_data((a, b))] == [(2, 3), (2, 1)]
    assert [part.shape for part in to_data([[[1], [2]], [[3], [4, 5]]], 2)[:1]] == [(2, 1)]
    assert to_data({"a": a, "b": [[1], [2, 3]]})["b"].lengths.tolist() == [1, 2]
    assert to_data((1, 2, 3)).tolist() == [1, 2, 3]


@pytest.mark.parametrize("value", [np.zeros((2, 3)), [np.zeros(2)] * 3, 5])
def test_another_number_of_parts_is_refused(value: Any) -> None:
    with pytest.raises(DataError, match="x does not fit the model: expected 2 arrays"):
        to_data(value, 2, "x")


@pytest.mark.parametrize("value", [["a", "b"], [[1], ["b"]], [object()], np.array(["a"]), [[1, [2]]]])
def test_what_is_no_number_is_refused_by_name(value: Any) -> None:
    with pytest.raises(DataError, match="y"):
        to_data(value, name="y")


def test_rows_of_other_features_are_refused() -> None:
    with pytest.raises(ShapeError, match="row 1"):
        to_data([np.zeros((2, 3)), np.zeros((2, 4))])


def test_batches() -> None:
    x, y, w = np.zeros((2, 3)), np.ones(2), np.ones(2)
    assert as_batch(x).y is None
    assert as_batch((x,)).x.shape == (2, 3)
    assert as_batch((x, y)).y.shape == (2,)
    assert as_batch((x, y, w)).weight.shape == (2,)
    assert as_batch((x, None, w)).y is None
    batch = Batch(torch.zeros(1))
    assert as_batch(batch) is batch
    assert len(as_batch(([x, x], y), inputs=2).x) == 2
    with pytest.raises(DataError, match="4 parts"):
        as_batch((x, y, w, w))
    with pytest.raises(DataError, match="tuple"):
        as_batch([x, y])


def test_one_array_of_weights_serves_all_outputs() -> None:
    w = np.ones(4)
    assert to_weights(w, 2).shape == (4,)
    assert to_weights([1.0, 2.0], 2).tolist() == [1, 2]
    assert [part.shape for part in to_weights([w, w], 2)] == [(4,), (4,)]
    assert list(to_weights({"a": w}, 2)) == ["a"]
    assert to_weights(None, 2) is None


def test_collating_samples() -> None:
    x, y = collate([(torch.zeros(2, 3), 0), (torch.ones(1, 3), 1)])
    assert x.lengths.tolist() == [2, 1]
    assert y.tolist() == [0, 1]
    named = collate([{"a": 1.0, "b": (1, [2])}, {"a": 2.0, "b": (3, [4])}])
    assert named["a"].tolist() == [1, 2]
    assert named["b"][1].tolist() == [[2], [4]]


def test_placing_casts_floats_alone() -> None:
    data = {"a": torch.zeros(2, dtype=torch.float64), "b": [torch.zeros(2, dtype=torch.uint8), None]}
    placed = place(data, torch.device("cpu"), torch.float32)
    assert placed["a"].dtype == torch.float32
    assert placed["b"][0].dtype == torch.uint8
    assert placed["b"][1] is None
    ragged = place(Ragged.from_rows([[1.0], [2.0, 3.0]]), torch.device("cpu"), torch.float64)
    assert ragged.dtype == torch.float64


def test_going_through_parts() -> None:
    data = {"a": torch.tensor([1, 2]), "b": [torch.tensor([3, 4]), None]}
    assert [leaf.tolist() for leaf in data_leaves(data)] == [[1, 2], [3, 4]]
    assert map_data(lambda t: take(t, torch.tensor([1])), data)["b"][0].tolist() == [4]
    assert take(Ragged.from_rows([[1], [2, 3]]), torch.tensor([1])).values.tolist() == [2, 3]


def test_counting_rows() -> None:
    assert row_count(Batch([torch.zeros(3, 2), Ragged.from_rows([[1]] * 3)], torch.zeros(3))) == 3
    with pytest.raises(DataError, match=r"y has another number of rows than x: expected 3, got 2"):
        row_count(Batch(torch.zeros(3), torch.zeros(2)))
    with pytest.raises(DataError, match="sample_weight has another number of rows"):
        row_count(Batch(torch.zeros(3), torch.zeros(3), torch.zeros(2)))
    with pytest.raises(DataError, match="inputs differ in rows"):
        row_count(Batch([torch.zeros(3), torch.zeros(2)]))
    for empty in (torch.zeros(0, 4), []):
        with pytest.raises(DataError, match="there is no data"):
            row_count(Batch(empty))
    with pytest.raises(DataError, match="single number"):
        row_count(Batch(torch.tensor(3)))
