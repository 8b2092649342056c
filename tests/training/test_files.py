from __future__ import annotations

import errno
import json
import os
import random
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch

from rondeau.errors import CheckpointError, SaveError
from rondeau.training import files
from rondeau.training.files import load_tensors, remove_leftovers, save_tensors, write_atomically

TENSORS = {
    "a": torch.arange(6.0).reshape(2, 3),
    "b": torch.tensor(7),
    "half": torch.tensor([1.5], dtype=torch.bfloat16),
    "none": torch.zeros(0, 4),
    "flags": torch.tensor([True, False]),
    "turned": torch.arange(6.0).reshape(2, 3).T,
}


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    path = tmp_path / "file.safetensors"
    save_tensors(path, "weights", TENSORS, {"epoch": 3, "names": ["ä"]})
    return path


def test_tensors_and_data_come_back(saved: Path) -> None:
    tensors, meta = load_tensors(saved, "weights")
    assert meta == {"epoch": 3, "names": ["ä"]}
    assert tensors.keys() == TENSORS.keys()
    for name, tensor in TENSORS.items():
        assert tensors[name].dtype == tensor.dtype
        assert torch.equal(tensors[name], tensor)


def test_the_same_content_gives_the_same_bytes(saved: Path) -> None:
    before = saved.read_bytes()
    save_tensors(saved, "weights", dict(reversed(TENSORS.items())), {"epoch": 3, "names": ["ä"]})
    assert saved.read_bytes() == before
    assert os.listdir(saved.parent) == [saved.name]


def test_tensors_that_share_memory(tmp_path: Path) -> None:
    base = torch.arange(4.0)
    save_tensors(tmp_path / "f", "k", {"a": base, "b": base[1:]}, {})
    assert load_tensors(tmp_path / "f", "k")[0]["b"].tolist() == [1, 2, 3]


def test_what_is_no_tensor(tmp_path: Path) -> None:
    with pytest.raises(SaveError, match=r"only tensors can be saved .at b.: got dict"):
        save_tensors(tmp_path / "f", "k", {"b": {}}, {})  # type: ignore[dict-item]
    assert os.listdir(tmp_path) == []


def test_the_file_has_the_rights_of_an_ordinary_one(tmp_path: Path) -> None:
    write_atomically(tmp_path / "ours", b"x")
    (tmp_path / "theirs").write_bytes(b"x")
    ours, theirs = (stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("ours", "theirs"))
    assert ours == theirs


# Damaged, foreign, too new


def test_every_truncation_is_noticed(saved: Path) -> None:
    whole = saved.read_bytes()
    for length in [*range(0, 20), *range(20, len(whole), 31), len(whole) - 1]:
        saved.write_bytes(whole[:length])
        with pytest.raises(CheckpointError, match="truncated or damaged"):
            load_tensors(saved, "weights")
    saved.write_bytes(whole + b"\0")
    with pytest.raises(CheckpointError, match="truncated or damaged"):
        load_tensors(saved, "weights")


def test_every_flipped_bit_is_noticed_where_it_matters(saved: Path) -> None:
    whole = saved.read_bytes()
    expected = load_tensors(saved, "weights")
    chosen = random.Random(0)
    for place in [*range(16), *chosen.sample(range(16, len(whole)), 150)]:
        altered = bytearray(whole)
        altered[place] ^= 1 << chosen.randrange(8)
        saved.write_bytes(altered)
        try:
            tensors, meta = load_tensors(saved, "weights")
        except CheckpointError:
            continue
        # padding of the header, or the order of its keys
        assert meta == expected[1]
        assert all(torch.equal(tensors[name], tensor) for name, tensor in expected[0].items())


def test_weights_altered_with_their_own_tools(saved: Path) -> None:
    tensors = safetensors.torch.load_file(saved)
    with safetensors.safe_open(saved, "pt") as file:
        header = file.metadata()
    tensors["a"][0, 0] += 1
    safetensors.torch.save_file(tensors, saved, header)
    with pytest.raises(CheckpointError, match="altered after it was written"):
        load_tensors(saved, "weights")


def test_data_altered_in_the_header(saved: Path) -> None:
    whole = saved.read_bytes()
    saved.write_bytes(whole.replace(b'epoch\\\\\\": 3', b'epoch\\\\\\": 9'))
    assert saved.read_bytes() != whole
    with pytest.raises(CheckpointError, match="altered after it was written"):
        load_tensors(saved, "weights")


FOREIGN = ['{"format": "pt"}', '{"format": "rondeau"}', '{"format": "rondeau", "version": "x"}', "[1]", "{", ""]


@pytest.mark.parametrize("header", [None, {"format": "pt"}, *({"rondeau": entry} for entry in FOREIGN)])
def test_a_foreign_file(tmp_path: Path, header: Any) -> None:
    safetensors.torch.save_file({"a": torch.zeros(1)}, tmp_path / "f", header)
    with pytest.raises(CheckpointError, match="not written by Rondeau"):
        load_tensors(tmp_path / "f", "weights")


@pytest.mark.parametrize("content", [b"", b"hello", b"\x80\x04pickle", np.random.default_rng(0).bytes(500)])
def test_a_file_of_anything(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "f").write_bytes(content)
    with pytest.raises(CheckpointError, match="truncated or damaged"):
        load_tensors(tmp_path / "f", "weights")


def test_a_newer_version(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "VERSION", 2)
    save_tensors(saved, "weights", TENSORS, {})
    monkeypatch.undo()
    with pytest.raises(CheckpointError, match=r"newer Rondeau .*expected version 1 or older, got 2. Upgrade: pip"):
        load_tensors(saved, "weights")


def test_another_kind_and_no_file(saved: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"something else .*expected checkpoint, got weights"):
        load_tensors(saved, "checkpoint")
    for missing in (tmp_path / "missing", tmp_path):
        with pytest.raises(CheckpointError, match="there is no such file"):
            load_tensors(missing, "weights")


# Full disks and sudden deaths


class Full:
    """Stands for a function of `os` that finds no space left."""

    def __init__(self, real: Any, after: int = 0) -> None:
        self.real, self.left = real, after

    def __call__(self, *args: Any) -> Any:
        self.left -= 1
        if self.left < 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        return self.real(*args)


@pytest.mark.parametrize("function", ["fsync", "replace", "chmod"])
def test_a_full_disk_leaves_the_old_file(saved: Path, monkeypatch: pytest.MonkeyPatch, function: str) -> None:
    before = saved.read_bytes()
    monkeypatch.setattr(os, function, Full(getattr(os, function)))
    with pytest.raises(OSError, match="No space left"):
        save_tensors(saved, "weights", {"a": torch.ones(1000)}, {})
    monkeypatch.undo()
    assert saved.read_bytes() == before
    assert os.listdir(saved.parent) == [saved.name]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a device that is always full")
def test_a_disk_that_fills_while_the_content_is_written(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = saved.read_bytes()
    fdopen = os.fdopen

    def full(handle: int, mode: str) -> Any:
        os.close(handle)
        return fdopen(os.open("/dev/full", os.O_WRONLY), mode)

    monkeypatch.setattr(os, "fdopen", full)
    with pytest.raises(OSError, match="No space left"):
        save_tensors(saved, "weights", {"a": torch.ones(100_000)}, {})
    monkeypatch.undo()
    assert saved.read_bytes() == before
    assert os.listdir(saved.parent) == [saved.name]


@pytest.mark.parametrize("function", ["fsync", "replace"])
def test_a_process_that_dies_leaves_the_old_file(saved: Path, function: str) -> None:
    before = saved.read_bytes()
    program = f"""
import os, signal, sys, pathlib
from rondeau.training.files import write_atomically
os.{function} = lambda *args: os.kill(os.getpid(), signal.SIGKILL)
write_atomically(pathlib.Path(sys.argv[1]), b"new" * 1000)
"""
    assert subprocess.run([sys.executable, "-c", program, saved], check=False).returncode == -9
    assert saved.read_bytes() == before
    assert len(os.listdir(saved.parent)) == 2
    (saved.parent / ".file.safetensors.note").touch()
    remove_leftovers(saved)
    assert sorted(os.listdir(saved.parent)) == [".file.safetensors.note", saved.name]


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        write_atomically(tmp_path / "missing" / "f", b"x")


def test_the_header_is_plain_json(saved: Path) -> None:
    with safetensors.safe_open(saved, "pt") as file:
        header = json.loads(file.metadata()["rondeau"])
    assert json.loads(header["meta"])["epoch"] == 3
    assert (header["format"], header["version"], header["kind"]) == ("rondeau", 1, "weights")
