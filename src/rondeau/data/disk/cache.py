"""Where what was made of a user's large files lies, so that it is made once; and what tells such files apart."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import tempfile
import weakref
from collections.abc import Iterator
from pathlib import Path

from rondeau.errors import DataError
from rondeau.recurrence.runtime import cache as kernels

_ENDS = 1 << 16  # bytes at a file's beginning and end that are looked at


def folder() -> Path:
    """`data` below `RONDEAU_CACHE`, where that is set; else `rondeau/data` in the user's cache folder."""
    return (kernels.folder() if os.environ.get("RONDEAU_CACHE") else kernels.folder().parent) / "data"


def fingerprint(path: str | os.PathLike[str]) -> str:
    """What tells a file from another, or from what it was before: its size, the time it was written, and its two ends.

    Raises `DataError` for a file that cannot be read.
    """
    try:
        with open(path, "rb") as file:
            facts = os.fstat(file.fileno())
            found = hashlib.blake2b(f"{facts.st_size} {facts.st_mtime_ns}".encode(), digest_size=16)
            found.update(file.read(_ENDS))
            file.seek(max(0, facts.st_size - _ENDS))
            found.update(file.read(_ENDS))
    except OSError as error:
        raise DataError("unreadable file", got=error.strerror, where=path) from error
    return found.hexdigest()


def key_of(*parts: object) -> str:
    """One name for several facts."""
    return hashlib.blake2b(repr(parts).encode(), digest_size=16).hexdigest()


def place(name: str, where: str | os.PathLike[str] | None = None) -> Path:
    """The path of something in the cache folder (or in `where`), which is made if need be.

    Raises `DataError` where it cannot be.
    """
    root = folder() if where is None else Path(where)
    try:
        root.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        fix = "Name a folder that can be written: the environment variable RONDEAU_CACHE"
        raise DataError("the cache folder cannot be made", got=error.strerror, where=root, fix=fix) from error
    return root / name


@contextlib.contextmanager
def written_aside(path: Path) -> Iterator[Path]:
    """A path beside `path` to write a file or a folder to, which is renamed to `path` at the end.

    What stood at `path` is replaced: others see the old one or the new one, whole. After an error nothing is left.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    room = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}.", suffix=".aside"))
    try:
        inside = room / "new"
        yield inside
        if path.is_dir():  # a folder cannot be renamed onto another
            with contextlib.suppress(FileNotFoundError):  # another process has just done so
                os.rename(path, room / "old")
        os.replace(inside, path)
    finally:
        shutil.rmtree(room, ignore_errors=True)


class Scratch:
    """A folder for temporary files, `path`, that is gone with the object, and whatever lies in it.

    >>> scratch = Scratch()
    >>> path = scratch.path
    >>> del scratch
    >>> path.exists()
    False
    """

    def __init__(self) -> None:
        self.path = Path(tempfile.mkdtemp(prefix="rondeau-"))
        weakref.finalize(self, shutil.rmtree, self.path, ignore_errors=True)
