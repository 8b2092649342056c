"""One process at a time works on a run: two would write over each other's checkpoints and history."""

from __future__ import annotations

import errno
import logging
import os
import socket
import sys
from contextlib import suppress
from pathlib import Path

from rondeau.errors import CheckpointError

FILE = ".lock"
logger = logging.getLogger(__name__)
_held: dict[Path, int] = {}  # descriptors by folder; closing one lets go of its lock


def hold(folder: Path) -> None:
    """Take a run for this process, until `release` or its end, of whatever kind that is: the system takes it back.

    A process that has it already keeps it. Where the file system knows no locks, that is logged, and nothing is held.
    Raises `CheckpointError` where another process has it, naming that one.
    """
    key, path = folder.resolve(), folder / FILE
    if key in _held and _is_at(_held[key], path):
        return
    if key in _held:
        os.close(_held.pop(key))
    while True:
        file = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            taken = _take(file, path)
        except CheckpointError:
            os.close(file)
            raise
        if taken and _is_at(file, path):
            break
        os.close(file)  # whoever had it has just deleted it
        if not taken:
            return
    os.ftruncate(file, 0)
    os.write(file, f"process {os.getpid()} on {socket.gethostname()}\n".encode())
    _held[key] = file


def release(folder: Path) -> None:
    """Let go of a run; nothing where it is not held."""
    file = _held.pop(folder.resolve(), None)
    if file is not None:
        if _is_at(file, folder / FILE):
            with suppress(PermissionError):  # Windows deletes no open file; without its lock it means nothing
                (folder / FILE).unlink()
        os.close(file)


def _is_at(file: int, path: Path) -> bool:
    """Whether a path still leads to an open file."""
    try:
        return os.path.samestat(os.fstat(file), path.stat())
    except FileNotFoundError:
        return False


def _take(file: int, path: Path) -> bool:
    """Lock a file; false where the file system cannot. Raises `CheckpointError` where another process has done so."""
    try:
        _lock(file)
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EAGAIN, errno.EDEADLK):
            who = os.read(file, 200).decode("utf-8", "replace").strip() or "one that has not yet said which"
            fix = "Wait until it has come to its end, or end it, and then go on"
            raise CheckpointError("another process works on the run", got=who, where=path.parent, fix=fix) from error
        logger.warning("%s: no lock, see that no other process works on the run (%s)", path.parent, error.strerror)
        return False
    return True


if sys.platform == "win32":
    import msvcrt

    def _lock(file: int) -> None:
        os.lseek(file, 1 << 30, os.SEEK_SET)  # far behind what is written: a locked byte cannot be read by others
        try:
            msvcrt.locking(file, msvcrt.LK_NBLCK, 1)
        finally:
            os.lseek(file, 0, os.SEEK_SET)

else:
    import fcntl

    def _lock(file: int) -> None:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
