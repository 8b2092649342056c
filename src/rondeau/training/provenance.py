"""Where a run comes from: what is written down so that it can be told apart, and made again."""

from __future__ import annotations

import platform
import shlex
import sys
from importlib.metadata import version
from pathlib import Path

import numpy
import torch

FORMAT, VERSION = "rondeau-run", 1  # of a run folder's `config.json`


def versions() -> dict[str, str]:
    """Of Rondeau, of what computes, and of the machine's kind."""
    return {
        "rondeau": version("rondeau"),
        "torch": torch.__version__,
        "numpy": numpy.__version__,
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
    }


def program() -> str:
    """The command by which this process was begun, as Python tells it."""
    return shlex.join([Path(sys.executable or "python").name, *sys.argv])
