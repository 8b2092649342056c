"""Kernels run in torch's own pool of threads, or in the caller's alone.

A second pool beside torch's would fight its waiting workers for the processors. `torch_parallel_for`, a C function of
torch, enters the pool that torch itself uses: it respects `torch.set_num_threads`, runs serially inside another
parallel region, and deals with whatever team the system grants.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Callable
from pathlib import Path

import torch

from rondeau.errors import RondeauError

# void kernel(int64 begin, int64 end, void *arguments): parts begin .. end - 1, each independent of the others
_KERNEL = ctypes.CFUNCTYPE(None, ctypes.c_int64, ctypes.c_int64, ctypes.c_void_p)

_forked = False
_settled = True
_functions: dict[int, Callable[[int, int, int], None]] = {}
_MOST_FUNCTIONS = 4096


def _find() -> Callable[[int, int, int, int, int], int] | None:
    """`torch_parallel_for`, or None where torch does not have it. As every ctypes function it runs without the GIL."""
    windows = Path(torch.__file__).parent / "lib" / "torch_cpu.dll"
    # Elsewhere a library's handle finds what the libraries below it define, wherever they lie.
    library = ctypes.CDLL(str(windows) if sys.platform == "win32" else torch._C.__file__)
    try:
        found = library.torch_parallel_for
    except AttributeError:
        return None
    # begin, end, grain, function, context; returns 0, or another number where the function threw
    found.argtypes = [ctypes.c_int64, ctypes.c_int64, ctypes.c_int64, ctypes.c_void_p, ctypes.c_void_p]
    found.restype = ctypes.c_int32
    return found


_parallel_for = _find()


def _after_fork() -> None:
    # The pool's threads are not in the child, yet OpenMP would wait for them forever.
    global _forked, _parallel_for, _settled
    _forked, _parallel_for, _settled = True, None, False


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def settle() -> None:
    """In a forked process, once: torch itself takes one thread, for it would wait forever for those of its pool."""
    global _settled
    if not _settled:
        _settled = True
        torch.set_num_threads(1)


def run(address: int, arguments: int, parts: int) -> None:
    """Call the kernel at `address` for parts 0 .. parts - 1 with the pointer `arguments`; returns when all are done.

    Callers in several Python threads need no lock between them: each has a team of its own, and as no part waits for
    another, teams that share the processors lose nothing by it.
    """
    if parts > 1 and _parallel_for is not None:
        if _parallel_for(0, parts, 1, address, arguments):
            raise RondeauError("torch could not run a kernel in its threads", where="torch_parallel_for")
    else:
        _function(address)(0, parts, arguments)


def how() -> str:
    """How kernels of several parts would run in this process now."""
    if _forked:
        return "one thread: this process was forked, and torch's pool did not come along"
    if _parallel_for is None:
        return f"one thread: torch {torch.__version__} has no torch_parallel_for"
    threads = torch.get_num_threads()
    return f"torch's pool, {threads} threads" if threads > 1 else "one thread: torch.get_num_threads() is 1"


def _function(address: int) -> Callable[[int, int, int], None]:
    found = _functions.get(address)
    if found is None:
        if len(_functions) >= _MOST_FUNCTIONS:
            _functions.clear()  # cheap to make again; an address holds no code of its own
        found = _functions[address] = _KERNEL(address)
    return found
