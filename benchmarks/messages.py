"""What worker processes answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass
class Prepared:
    """A problem that is ready, and what it computes.

    Attributes:
        results: see `Runner.results`.
        note: see `Runner.note`.
        seconds: preparing took, compiling and warming up included.
        repeats: repetitions in a turn.
    """

    results: dict[str, Any]
    note: str
    seconds: float
    repeats: int


@dataclass
class Turn:
    """One turn: the median repetition, and how busy the process was since its last one, when nobody had asked."""

    seconds: float
    idle_cpu: float
    idle: float


@dataclass
class Failure:
    """What went wrong in the worker."""

    message: str
    traceback: str
