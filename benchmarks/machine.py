"""The machine a figure comes from."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from benchmarks import engine
from benchmarks.peers import OURS, PEERS
from benchmarks.pool import THREADS


def describe() -> dict[str, Any]:
    """Processor, cores, system, engine, how busy it was just before, and the versions of everything that takes part."""
    return {
        "cpu": cpu(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "threads": THREADS,
        "system": f"{platform.system()} {platform.release()} {platform.machine()}, Python {platform.python_version()}",
        "engine": engine.engine(),
        "load": os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0,
        "versions": versions(),
    }


def cpu() -> str:
    """The processor's name and its vector instructions, as far as the system tells."""
    info = Path("/proc/cpuinfo")
    if not info.exists():
        return platform.processor() or platform.machine()
    lines = dict(line.split(":", 1) for line in info.read_text().splitlines() if ":" in line)
    fields = {name.strip(): value.strip() for name, value in lines.items()}
    known = [
        title for title, flag in (("AVX-512", "avx512f"), ("AVX2", "avx2")) if flag in fields.get("flags", "").split()
    ]
    return " ".join([fields.get("model name", platform.machine()), *(f"({title})" for title in known[:1])])


def versions() -> dict[str, str]:
    """Of the installed distributions of all peers."""
    found = {}
    for name in dict.fromkeys(name for peer in (OURS, *PEERS) for name in (*peer.versions, "numpy")):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
