"""Files that are whole or not there: written aside, synced, renamed; and tensors with a digest of themselves."""

from __future__ import annotations

import glob
import hashlib
import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from rondeau.errors import CheckpointError, SaveError

FORMAT, VERSION = "rondeau", 1
_ASIDE = ".aside"


def write_atomically(path: Path, content: bytes) -> None:
    """Write `path` so that a crash or a full disk leaves the old file or the new one, never a part of either.

    Raises `OSError` where it cannot be written; nothing is left beside it then.
    """
    handle, aside = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=_ASIDE)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(aside, 0o666 & ~_umask())
        os.replace(aside, path)
    except BaseException:
        Path(aside).unlink(missing_ok=True)
        raise
    if os.name == "posix":  # the rename itself reaches the disk with its folder
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def remove_leftovers(path: Path) -> None:
    """Remove what killed processes left beside `path`; for when no other process is writing it."""
    for leftover in path.parent.glob(f".{glob.escape(path.name)}.*{_ASIDE}"):
        leftover.unlink(missing_ok=True)


def save_tensors(path: Path, kind: str, tensors: Mapping[str, Tensor], meta: Mapping[str, Any]) -> None:
    """Write named tensors and JSON data as one safetensors file of this `kind`, atomically."""
    for name, value in tensors.items():
        if not isinstance(value, Tensor):
            raise SaveError("only tensors can be saved", got=type(value).__name__, where=name)
    plain = {name: t.detach().cpu().contiguous().clone() for name, t in tensors.items()}
    text = json.dumps(meta)
    header = {"format": FORMAT, "version": VERSION, "kind": kind, "meta": text, "digest": _digest(plain, kind, text)}
    # one entry: safetensors writes several in any order, and the same content shall give the same bytes
    entry = {FORMAT: json.dumps(header)}
    write_atomically(path, safetensors.torch.save(plain, metadata=entry))


def load_tensors(path: Path, kind: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and JSON data that `save_tensors` wrote.

    Raises `CheckpointError` for a file that is missing, truncated, altered, foreign, of another kind or too new.
    """
    if not path.is_file():
        raise CheckpointError("there is no such file", got=path, fix="Check the path")
    try:
        with safe_open(path, framework="pt") as file:
            entry = (file.metadata() or {}).get(FORMAT, "{}")
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (not a dict)
    except (SafetensorError, OSError, ValueError) as error:
        fix = "Restore it from a copy, or train again"
        raise CheckpointError("the file is truncated or damaged", where=path, got=str(error), fix=fix) from error
    header = parse_header(entry)
    check_version(header, path)
    if header.get("kind") != kind:
        raise CheckpointError("the file holds something else", expected=kind, got=header.get("kind"), where=path)
    if header.get("digest") != _digest(tensors, kind, header.get("meta", "")):
        fix = "Restore it from a copy, or train again"
        raise CheckpointError("the file was altered after it was written", where=path, got="another digest", fix=fix)
    return tensors, json.loads(header["meta"])


def parse_header(text: str | bytes) -> dict[str, Any]:
    """A JSON object; an empty one for what is none."""
    try:
        header = json.loads(text)
    except ValueError:
        return {}
    return header if isinstance(header, dict) else {}


def check_version(header: Mapping[str, Any], path: Path) -> None:
    """Raise `CheckpointError` unless Rondeau has written this header, and none newer than this one."""
    version = str(header.get("version", ""))
    if header.get("format") != FORMAT or not version.isdecimal():
        raise CheckpointError("the file was not written by Rondeau", where=path, fix="Give a file Rondeau has saved")
    if int(version) > VERSION:
        raise CheckpointError(
            "the file was written by a newer Rondeau",
            expected=f"version {VERSION} or older",
            got=version,
            where=path,
            fix="Upgrade: pip install -U rondeau",
        )


def _digest(tensors: Mapping[str, Tensor], kind: str, meta: str) -> str:
    digest = hashlib.blake2b(f"{kind}\n{meta}".encode(), digest_size=16)
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"\n{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data if tensor.numel() else b"")
    return digest.hexdigest()
