"""The one place where the benchmark calls Rondeau, and names its engine."""

from __future__ import annotations

import inspect
import os
from typing import Any

from torch import Tensor

from rondeau import Cell, Sequential, scan

NATIVE, REFERENCE = "native", "reference"
VARIABLE = "RONDEAU_BENCHMARK_ENGINE"  # how the command line tells the worker processes


def engine() -> str:
    """What runs the loop: the compiler, unless the reference loop was asked for or this version has nothing else."""
    return os.environ.get(VARIABLE, NATIVE) if "engine" in inspect.signature(scan).parameters else REFERENCE


def run(cell: Cell, inputs: Tensor, lengths: Any = None, **options: Any) -> Tensor:
    """Outputs `(batch, time, units)` of a cell over `(batch, time, features)`; an engine that declines it raises."""
    chosen: dict[str, Any] = {"engine": engine()} if "engine" in inspect.signature(scan).parameters else {}
    outputs, _ = scan(cell, inputs, lengths=lengths, **chosen, **options)
    return outputs  # type: ignore[no-any-return]


def stream(model: Sequential) -> Any:
    """The model as a function of one row, `(1, features)` -> `(1, units)`, that keeps its state; it has `reset()`.

    Raises `NotImplementedError` from a version without streaming.
    """
    if not hasattr(model, "stream"):
        raise NotImplementedError("this version of Rondeau has no model.stream")
    opened: Any = model.stream
    return opened(rows=1)
