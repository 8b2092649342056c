"""Files and streams read a window at a time: the same as from memory, flat in memory, wrong ones named."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import rondeau
from rondeau import Ragged, callbacks, layers
from rondeau.data import StepFile, StepStream, TextWindows
from rondeau.errors import ArgumentError, DataError, ShapeError
from rondeau.training.batch import Batch
from rondeau.training.checkpoint import BackupAndRestore

rng = np.random.default_rng(3)
ROWS, TIME = 3, 40
X = rng.normal(size=(ROWS, TIME, 2)).astype("float32")
Y = rng.normal(size=(ROWS, TIME, 1)).astype("float32")


def make() -> Any:
    torch.manual_seed(2)
    model = rondeau.Sequential(
        [layers.Input((None, 2)), layers.GRU(3, return_sequences=True, dropout=0.1), layers.Dense(1)]
    )
    model.compile("adam", "mse")
    return model


def trained(x: Any, y: Any = None, **options: Any) -> Any:
    model = make()
    torch.manual_seed(7)
    model.fit(x, y, window=9, epochs=2, verbose=0, **options)
    return model


def same(one: Any, other: Any) -> bool:
    return all(map(np.array_equal, one.get_weights(), other.get_weights()))


@pytest.fixture(scope="module")
def from_memory() -> Any:
    return trained(X, Y, shuffle=False)


# From a file


def test_memory_maps_and_files_train_as_arrays_do(tmp_path: Path, from_memory: Any) -> None:
    np.save(tmp_path / "x.npy", X)
    np.save(tmp_path / "y.npy", Y)
    mapped = (np.load(tmp_path / f"{name}.npy", mmap_mode="r") for name in "xy")
    assert same(trained(*mapped, shuffle=False), from_memory)
    X.tofile(tmp_path / "x.f32")
    Y.astype(">f8").tofile(tmp_path / "y.f64")
    files = StepFile(tmp_path / "x.f32", "float32", 2, rows=ROWS), StepFile(tmp_path / "y.f64", ">f8", 1, rows=ROWS)
    assert same(trained(*files, shuffle=False), from_memory)
    assert same(trained(list(X), list(Y), shuffle=False), from_memory)


def test_a_memory_map_is_never_copied_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []
    whole = np.array

    def counted(part: Any, *more: Any, **options: Any) -> Any:
        read.append(np.size(part))
        return whole(part, *more, **options)

    np.save(tmp_path / "x.npy", X)
    x = np.load(tmp_path / "x.npy", mmap_mode="r")
    monkeypatch.setattr("rondeau.training.steps.np.array", counted)
    trained(x, Y)
    assert max(read) == ROWS * 9 * 2


def test_a_file_in_rows_of_unequal_length(tmp_path: Path) -> None:
    np.arange(11, dtype=np.uint16).tofile(tmp_path / "ids")
    x, y = (StepFile(tmp_path / "ids", "uint16", rows=3, first=f, steps=10) for f in (0, 1))
    assert x.lengths.tolist() == [4, 3, 3]
    seen = x.stretch(torch.tensor([0, 2]), 2, torch.tensor([2, 1]), True)
    assert isinstance(seen, Ragged)
    assert (seen.values.tolist(), seen.lengths.tolist(), seen.values.dtype) == ([2, 3, 9], [2, 1], torch.int64)
    assert y.read(torch.tensor([1]), 0, torch.tensor([3])).tolist() == [5, 6, 7]


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({"dtype": "float64"}, DataError, "no whole number of steps.*multiple of 8 bytes"),
        ({"dtype": "float32", "features": (3, 2)}, DataError, "multiple of 24 bytes, 6 of float32 a step"),
        ({"dtype": "float32", "rows": 12}, DataError, "too few steps.*one for each row"),
        ({"dtype": "float32", "first": 8, "steps": 4}, DataError, "too few steps.*expected 12, got 11"),
        ({"dtype": "object"}, ArgumentError, "StepFile: dtype"),
        ({"dtype": "nonsense"}, ArgumentError, "StepFile: dtype"),
        ({"dtype": "float32", "rows": 0}, ArgumentError, "StepFile: rows"),
        ({"dtype": "float32", "features": 0}, ArgumentError, "StepFile: features"),
    ],
)
def test_a_file_that_does_not_fit(options: dict[str, Any], kind: Any, message: str, tmp_path: Path) -> None:
    np.arange(11, dtype=np.float32).tofile(tmp_path / "f")
    with pytest.raises(kind, match=message):
        StepFile(tmp_path / "f", **options)
    with pytest.raises(DataError, match="no such file"):
        StepFile(tmp_path / "g", "float32")


def test_a_file_that_shrinks_is_noticed(tmp_path: Path) -> None:
    np.arange(11, dtype=np.float32).tofile(tmp_path / "f")
    x = StepFile(tmp_path / "f", "float32")
    np.arange(5, dtype=np.float32).tofile(tmp_path / "f")
    with pytest.raises(DataError, match="has become shorter"):
        x.read(torch.tensor([0]), 3, torch.tensor([4]))


# From a program


def in_chunks(size: int, x: Any = X, y: Any = Y) -> Any:
    def chunks() -> Iterator[Any]:
        for start in range(0, TIME, size):
            yield x[:, start : start + size], y[:, start : start + size]

    return chunks


@pytest.mark.parametrize("size", [1, 7, 9, 25, 40, 100])
def test_chunks_of_any_size_make_the_windows_of_an_array(size: int, from_memory: Any) -> None:
    assert same(trained(StepStream(in_chunks(size))), from_memory)


def test_a_list_of_chunks_and_a_buffer_that_is_used_again() -> None:
    buffer = np.empty((ROWS, 10, 2), "float32")

    def chunks() -> Iterator[Any]:
        for start in range(0, TIME, 10):
            buffer[:] = X[:, start : start + 10]
            yield buffer, Y[:, start : start + 10]

    assert same(trained(StepStream(chunks)), trained(StepStream(list(in_chunks(10)()))))


def test_rows_that_end() -> None:
    lengths = [40, 3, 12]
    rows = [x[:n] for x, n in zip(X, lengths, strict=True)], [y[:n] for y, n in zip(Y, lengths, strict=True)]

    def chunks() -> Iterator[Any]:
        for start in range(0, TIME, 8):
            yield tuple([row[start : start + 8] for row in part] for part in rows)

    assert same(trained(StepStream(chunks)), trained(*rows, shuffle=False))
    model = make()
    parts = model.predict(StepStream(lambda: (x for x, _ in chunks())), window=5)
    for part, whole in zip(parts, model.predict(rows[0]), strict=True):
        assert np.allclose(part, whole, atol=16 * np.finfo("float32").eps)


def test_what_goes_once_serves_one_epoch() -> None:
    model = make()
    stream = StepStream(in_chunks(7)())
    model.fit(stream, window=9, verbose=0)
    assert model.optimizer.iterations == 5  # the look at the first chunk has lost nothing
    with pytest.raises(DataError, match="without a batch"):
        model.fit(stream, window=9, verbose=0)


@pytest.mark.parametrize("after", [2, 5, 7])
def test_a_stream_is_taken_up_where_the_run_stood(after: int, tmp_path: Path) -> None:
    class Stop(callbacks.Callback):
        left = after

        def on_train_batch_end(self, batch: int, logs: Any) -> None:
            self.left -= 1
            self.loop.interrupted |= self.left == 0

    def noise() -> Iterator[Any]:
        for _ in range(4):
            x = torch.randn(ROWS, 10, 2)
            yield x, x.sum(-1, keepdim=True)

    def run(path: Path, *more: Any) -> Any:
        backup = BackupAndRestore(path, save_freq=1, delete_checkpoint=False)
        return trained(StepStream(noise), callbacks=[backup, *more])

    whole = run(tmp_path / "whole")
    run(tmp_path / "broken", Stop())
    torch.manual_seed(99)
    assert same(run(tmp_path / "broken"), whole)


@pytest.mark.parametrize(
    ("chunks", "kind", "message"),
    [
        ([(X[:, :5], Y[:, :5]), (X[:2, 5:], Y[:2, 5:])], DataError, "other rows.*expected 3, got 2"),
        ([(X[:, :5], Y[:, :4])], DataError, "unequal steps"),
        ([(X[:, :5], Y[:, 0, 0])], ShapeError, r"a chunk's y: expected \(rows, steps, ...\)"),
        ([([X[0, :5], X[1, :2]], [Y[0, :5], Y[1, :2]]), (X[:2, 5:], Y[:2, 5:])], DataError, "row 1, step 5"),
    ],
    ids=["rows", "steps", "targets", "ended"],
)
def test_chunks_that_do_not_continue_each_other(chunks: Any, kind: Any, message: str) -> None:
    with pytest.raises(kind, match=message):
        make().fit(StepStream(chunks), window=9, verbose=0)


def test_a_stream_needs_a_window(tmp_path: Path) -> None:
    for source in (StepStream(in_chunks(5)), TextWindows(np.arange(9), 2)):
        with pytest.raises(ArgumentError, match=r"is read in windows. Say how many.*window=100"):
            make().fit(source, verbose=0)
    file = tmp_path / "f"
    X.tofile(file)
    for pair in ((StepFile(file, "float32", 2), Y), (X, StepFile(file, "float32", 1))):
        with pytest.raises(ArgumentError, match="a StepFile is read in windows"):
            make().fit(*pair, verbose=0)
    with pytest.raises(ArgumentError, match="StepStream: expected a function that gives chunks"):
        StepStream(3)  # type: ignore[arg-type]
    with pytest.raises(DataError, match=r"chunks\(\): expected an iterable of chunks, got int"):
        make().fit(StepStream(lambda: 3), window=3, verbose=0)  # type: ignore[arg-type, return-value]


def test_a_text_s_windows_are_those_of_fit() -> None:
    text = TextWindows(np.arange(23), 2, 4)
    assert len(text) == 3
    assert len(text.in_windows(5)) == 3
    assert [batch.x.shape[1] for batch in text.in_windows(5).batches(0, 0, 0)] == [5, 5, 1]
    assert all(isinstance(batch, Batch) and batch.carried for batch in text.batches(0, 0, 0))


# Memory

MEASURE = """
import resource, sys
import numpy as np, torch
import rondeau
from rondeau import layers
from rondeau.data import StepFile, StepStream

kind, folder, rows, steps = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
torch.set_num_threads(1)
model = rondeau.Sequential([layers.Input((None, 16)), layers.LSTM(4, return_sequences=True), layers.Dense(1)])
model.compile("adam", "mse")
x, y = (f"{folder}/{name}.f32" for name in "xy")
if kind == "map":
    pair = (np.memmap(x, "float32", "r").reshape(-1, 16), np.memmap(y, "float32", "r").reshape(-1, 1))
    data = [part[:steps].reshape(rows, -1, part.shape[1]) for part in pair]
elif kind == "file":
    data = [StepFile(x, "float32", 16, rows, steps=steps), StepFile(y, "float32", 1, rows, steps=steps)]
else:
    def chunks():
        for start in range(0, steps // rows, 1000):
            part = np.random.default_rng(start).normal(size=(rows, 1000, 16)).astype("float32")
            yield part, part[..., :1]
    data = [StepStream(chunks)]
model.fit(*data, window=1000, verbose=0)
print(model.optimizer.iterations, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def peak(kind: str, folder: Path, rows: int, steps: int) -> float:
    """Megabytes of memory at the peak of a run of its own."""
    command = [sys.executable, "-c", MEASURE, kind, str(folder), str(rows), str(steps)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    updates, kilobytes = map(int, done.stdout.split())
    assert updates == steps // rows // 1000
    return kilobytes / 1024


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """680 MB of steps in files that take no room: they are holes."""
    path = tmp_path_factory.mktemp("steps")
    for name, features in (("x", 16), ("y", 1)):
        with (path / f"{name}.f32").open("wb") as file:
            file.truncate(10_000_000 * features * 4)
    return path


ROOM = 60  # MB: a map's pages are let go every 16 MB of each array, and allocators keep some


@pytest.mark.parametrize("kind", ["map", "file", "stream"])
def test_memory_stays_flat(kind: str, folder: Path) -> None:
    few, many = (peak(kind, folder, 25, steps) for steps in (1_000_000, 5_000_000))
    assert many - few < ROOM  # of 340 MB of data


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("rows", [1, 16])
@pytest.mark.parametrize("kind", ["map", "file", "stream"])
def test_memory_stays_flat_over_ten_million_steps(kind: str, rows: int, folder: Path) -> None:
    few, many = (peak(kind, folder, rows, steps) for steps in (1_600_000, 10_000_000))
    assert many - few < ROOM
