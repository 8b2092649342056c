"""Compiled kernels, kept in memory and on disk.

What a file holds is executed, so a folder or file that somebody else could have written is not used. A file is a magic
line, the digest it answers to, the digest of its contents, and an object file; unless the first three are right it is
ignored and written anew. Files appear whole or not at all, so many processes may share a folder.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import os
import stat
import sys
import tempfile
import threading
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

from rondeau.recurrence.runtime.jit import Code, compile_object
from rondeau.recurrence.runtime.target import host

MAGIC = b"rondeau kernel 1\n"
LIMIT = 512  # kernels kept in memory, and files kept on disk
SUFFIX = ".kernel"

_memory: dict[str, Code] = {}
_lock = threading.RLock()  # LLVM's own lock would let only one thread compile anyway
_warned: set[str] = set()


def _after_fork() -> None:
    global _lock
    _lock = threading.RLock()  # the parent's may be held by a thread that is not in the child


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def kernel(key: str, text: Callable[[], str], names: Sequence[str]) -> Code:
    """The code for `key`: from memory, from disk, or compiled from the LLVM module that `text()` writes.

    `key` says everything that `text` depends on, apart from the package's own source and the machine. `names` are the
    functions to be asked for. Threads asking at once for the same key compile it once.
    """
    found = _memory.get(key)
    if found is not None:
        return found
    with _lock:
        if key not in _memory:
            while len(_memory) >= LIMIT:
                del _memory[next(iter(_memory))]  # whoever runs it holds it
            _memory[key] = Code.load(_object(key, text, names), names)
        return _memory[key]


def forget() -> None:
    """Drop the kernels in memory; the disk's stay."""
    with _lock:
        _memory.clear()


def folder() -> Path:
    """Where the disk's kernels lie: `RONDEAU_CACHE`, else `rondeau/kernels` in the user's cache folder."""
    if named := os.environ.get("RONDEAU_CACHE"):
        return Path(named).expanduser()
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or "~/AppData/Local"
    elif sys.platform == "darwin":
        base = "~/Library/Caches"
    else:
        base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "rondeau" / "kernels"


def _object(key: str, text: Callable[[], str], names: Sequence[str]) -> bytes:
    where = _usable_folder()
    if where is None:
        return compile_object(text(), host())
    digest = _digest(key, names)
    path = where / (digest.hex() + SUFFIX)
    result = _read(path, digest)
    if result is None:
        result = compile_object(text(), host())
        _write(path, digest, result)
    return result


def _digest(key: str, names: Sequence[str]) -> bytes:
    return hashlib.sha256(repr((key, tuple(names), *_surroundings())).encode()).digest()


@functools.cache
def _surroundings() -> tuple[object, ...]:
    """What decides about the code besides its key: who writes the text, who compiles it, and the machine."""
    import llvmlite

    return importlib.metadata.version("rondeau"), _sources(Path(__file__).parents[1]), llvmlite.__version__, host()


def _sources(package: Path) -> str:
    """A digest of every source file in `package`, so that a kernel of an older emitter is never found."""
    result = hashlib.sha256()
    for path in sorted(package.rglob("*.py")):
        contents = path.read_bytes()
        result.update(f"{path.relative_to(package).as_posix()} {len(contents)}\n".encode() + contents)
    return result.hexdigest()


def _read(path: Path, digest: bytes) -> bytes | None:
    """The object file in `path`; None where there is none to be trusted."""
    try:
        with path.open("rb") as file:
            problem = _not_ours(os.fstat(file.fileno()))
            contents = b"" if problem else file.read()
    except FileNotFoundError:
        return None
    except OSError as error:
        _warn("unreadable", f"{path} cannot be read ({error}): its kernel is compiled again")
        return None
    if problem:
        _warn("foreign file", f"{path} {problem}: what it holds would be executed, so it is not used but replaced")
    start = len(MAGIC) + 2 * 32
    head, payload = contents[:start], contents[start:]
    return payload if head == MAGIC + digest + hashlib.sha256(payload).digest() else None


def _write(path: Path, digest: bytes, payload: bytes) -> None:
    try:
        handle, temporary = tempfile.mkstemp(dir=path.parent, suffix=".tmp")  # mode 0600
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(MAGIC + digest + hashlib.sha256(payload).digest() + payload)
            os.replace(temporary, path)
        except OSError:
            os.unlink(temporary)
            raise
        _prune(path.parent)
    except OSError as error:
        _warn("unwritable", _unwritable(path.parent, error))


def _prune(where: Path) -> None:
    """Remove the oldest files beyond the limit, and what killed processes left behind with them."""
    ages = []
    for entry in os.scandir(where):
        if entry.name.endswith((SUFFIX, ".tmp")):
            try:
                ages.append((entry.stat().st_mtime, entry.path))
            except FileNotFoundError:  # another process was faster
                continue
    for _, path in sorted(ages)[: max(0, len(ages) - LIMIT)]:
        Path(path).unlink(missing_ok=True)


def _usable_folder() -> Path | None:
    """The folder, made if need be; None, after a warning, where it cannot be had or must not be trusted."""
    where = folder()
    try:
        _make(where)
        problem = _not_ours(where.stat())
    except OSError as error:
        _warn("unwritable", _unwritable(where, error))
        return None
    if problem:
        _warn(
            "foreign folder",
            f"the kernel cache {where} {problem}: what it holds would be executed, so it is not used. "
            f"Run `chmod 700` on it if it is yours, or set RONDEAU_CACHE to a folder that only you can write",
        )
        return None
    return where


def _make(where: Path) -> None:
    missing = [p for p in (where, *where.parents) if not p.exists()]
    for path in reversed(missing):
        path.mkdir(mode=0o700, exist_ok=True)


def _not_ours(status: os.stat_result) -> str:
    """Why what `status` describes could have been written by somebody else; empty where it could not."""
    if not hasattr(os, "geteuid"):
        return ""  # Windows: the user's folders are guarded by access lists, not by these bits
    if status.st_uid != os.geteuid():
        return f"belongs to another user (number {status.st_uid}, not {os.geteuid()})"
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        return f"can be written by others (mode {stat.S_IMODE(status.st_mode):04o})"
    return ""


def _unwritable(where: Path, error: OSError) -> str:
    return (
        f"kernels cannot be kept in {where} ({error}): every process compiles its own. "
        f"Set RONDEAU_CACHE to a folder that only you can write"
    )


def _warn(reason: str, message: str) -> None:
    """Once per process and reason."""
    if reason not in _warned:
        _warned.add(reason)
        warnings.warn(message, RuntimeWarning, stacklevel=2)
