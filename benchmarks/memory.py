"""The peak of a process's memory, from the kernel's own count, so that no allocator is taken at its word."""

from __future__ import annotations

import ctypes
import gc
import sys
from pathlib import Path

from benchmarks.peers.base import Runner

STATUS, REFERENCES = Path("/proc/self/status"), Path("/proc/self/clear_refs")
RESET_PEAK = "5"  # proc(5): the peak resident size starts anew from the present one


def peak_above(runner: Runner, repetitions: int = 3) -> int:
    """Bytes of resident memory that repetitions need at their peak, above what stood before them.

    Raises `OSError` where the system does not count (anything but Linux).
    """
    gc.collect()
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc keeps freed memory; musl has no such function
        if trim is not None:
            trim(0)
    REFERENCES.write_text(RESET_PEAK)
    before = resident("VmRSS")
    for _ in range(repetitions):
        runner.change()
        runner.run()
    return resident("VmHWM") - before


def resident(field: str) -> int:
    """A field of the process's status, in bytes."""
    (line,) = (line for line in STATUS.read_text().splitlines() if line.startswith(f"{field}:"))
    return int(line.split()[1]) * 1024
