"""Packed rows: what was written is read, any of it, in constant memory; a half-written folder is never seen."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rondeau.data.disk import packed as module
from rondeau.data.disk.packed import Packed, PackedWriter, pack, smallest_type
from rondeau.errors import ArgumentError, CheckpointError, DataError, ShapeError


@given(
    lengths=st.lists(st.integers(0, 5), max_size=30),
    dtype=st.sampled_from(["uint8", "int32", "float32", ">i2"]),
    features=st.sampled_from([(), (3,), (2, 2)]),
    buffer=st.sampled_from([100, 1 << 20]),
    data=st.data(),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_was_written_is_read(
    tmp_path: Path, lengths: list[int], dtype: str, features: tuple[int, ...], buffer: int, data: st.DataObject
) -> None:
    rng = np.random.default_rng(len(lengths))
    rows = [rng.integers(0, 100, (n, *features)) for n in lengths]
    with mock.patch.object(module, "_BUFFER", buffer):
        found = pack(iter(rows), tmp_path / "rows", dtype, features, {"of": "a test"})
    assert len(found) == len(rows)
    assert found.about == {"of": "a test"}
    assert found.dtype == np.dtype(dtype)
    assert found.lengths.tolist() == lengths
    for row, expected in zip(found, rows, strict=True):
        np.testing.assert_array_equal(row, expected)
    if rows:
        chosen = data.draw(st.lists(st.integers(0, len(rows) - 1), min_size=1, max_size=9))
        for longest in (None, 2):
            batch = found.batch(chosen, longest)
            assert batch.lengths.tolist() == [min(lengths[i], 2 if longest else 9) for i in chosen]
            assert batch.dtype == (torch.float32 if dtype == "float32" else torch.int64)
            expected = np.concatenate([rows[i][:longest] for i in chosen])
            np.testing.assert_array_equal(batch.values.numpy(), expected)


def test_long_rows_are_copied_one_by_one(tmp_path: Path) -> None:
    rows = [np.arange(n) % 7 for n in (2000, 0, 900)]
    found = pack(rows, tmp_path / "rows", "uint8")
    assert found.batch([2, 1, 0]).values.tolist() == [*rows[2], *rows[0]]
    with pytest.raises(IndexError):
        found[3]
    assert found[-1].tolist() == rows[2].tolist()


def test_nothing_is_seen_of_rows_that_were_not_finished(tmp_path: Path) -> None:
    folder = tmp_path / "rows"
    pack([[1, 2]], folder, "uint8")

    def interrupted() -> None:
        with PackedWriter(folder, "uint8") as writer:
            writer.append([3])
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert Packed(folder)[0].tolist() == [1, 2]
    writer = PackedWriter(folder, "uint8")
    writer.append([4])
    with (
        mock.patch.object(module.os, "fsync", side_effect=OSError("no space left")),
        pytest.raises(OSError, match="no space"),
    ):
        writer.close()
    assert Packed(folder)[0].tolist() == [1, 2]
    assert [path.name for path in tmp_path.iterdir()] == ["rows"]


def test_an_open_reader_keeps_its_rows_when_others_take_their_place(tmp_path: Path) -> None:
    before = pack([[1, 2]], tmp_path / "rows", "uint8")
    after = pack([[3], [4]], tmp_path / "rows", "uint8")
    assert before[0].tolist() == [1, 2]
    assert after.batch([1]).values.tolist() == [4]
    assert [path.name for path in tmp_path.iterdir()] == ["rows"]


def test_rows_go_to_another_process_as_a_path(tmp_path: Path) -> None:
    found = pack([np.zeros(10_000, int)], tmp_path / "rows", "uint8")
    assert len(pickle.dumps(found)) < 1000
    assert pickle.loads(pickle.dumps(found))[0].tolist() == [0] * 10_000


@pytest.mark.parametrize(
    ("rows", "dtype", "features", "error", "message"),
    [
        ([[256]], "uint8", (), DataError, r"numbers that uint8 does not hold.*0 to 255, got 256 to 256"),
        ([[-1]], "uint16", (), DataError, "uint16 does not hold"),
        ([[0.5]], "int32", (), DataError, "numbers of another kind"),
        ([["a"]], "int32", (), DataError, "numbers of another kind"),
        ([[[1, 2]]], "int32", 3, ShapeError, "a row's steps"),
        ([[1]], "complex64", (), ArgumentError, "integers or floats"),
        ([[1]], "words", (), ArgumentError, "a type of numbers"),
    ],
)
def test_what_does_not_fit_is_refused(
    tmp_path: Path, rows: Any, dtype: str, features: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        pack(rows, tmp_path / "rows", dtype, features)
    assert list(tmp_path.iterdir()) == []


def test_lengths_must_fit_the_values(tmp_path: Path) -> None:
    with PackedWriter(tmp_path / "rows", "uint8") as writer, pytest.raises(DataError, match="do not fit"):
        writer.extend([1, 2], [3])


def test_rows_that_are_not_there_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such row: expected 0 to 1, got 0 to 2"):
        pack([[1], [2]], tmp_path / "rows", "uint8").batch([0, 2])


def test_damaged_folders_are_named(tmp_path: Path) -> None:
    folder = tmp_path / "rows"
    with pytest.raises(CheckpointError, match="there are no packed rows"):
        Packed(folder)
    pack([[1, 2]], folder, "uint8")
    about = folder / "packed.json"
    whole = about.read_text()
    for damaged, message in (
        ("{", "there are no packed rows"),
        ("{}", "there are no packed rows"),
        (whole.replace('"version": 1', '"version": 99'), "newer Rondeau"),
        (whole.replace('"steps": 2', '"steps": 3'), "damaged.*expected 3 bytes, got 2"),
    ):
        about.write_text(damaged)
        with pytest.raises(CheckpointError, match=message):
            Packed(folder)


def test_the_smallest_type_for_ids() -> None:
    kinds = [smallest_type(size) for size in (1, 256, 257, 65536, 65537, 2**32, 2**32 + 1)]
    assert [kind.itemsize for kind in kinds] == [1, 1, 2, 2, 4, 4, 8]
