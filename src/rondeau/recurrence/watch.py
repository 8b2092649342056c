"""What scans are called with, told to whoever watches: what is measured is measured beside a computation, not in it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from rondeau.cells.base import Cell
from rondeau.recurrence.policy import Policy
from rondeau.sequence import Ragged


@dataclass(frozen=True)
class Call:
    """One scan: what it took, and what came of it.

    Attributes:
        cell, inputs, state, reverse, policy: as `scan` has them: all rows, and the state before their first step. What
            lies between two resets of a row is a row of its own here.
        context: the tensors it declares: name -> whether there is one for each step, and the values.
        weights: those that came with the call, by `giving`.
        outputs: `(steps, units)`, row after row; of each row's last step only, `(batch, units)`, if `last`.
        final: the state after each row's last step.
    """

    cell: Cell
    inputs: Ragged
    state: Any
    context: Mapping[str, tuple[bool, Tensor]]
    weights: Mapping[str, Tensor]
    reverse: bool
    policy: Policy
    outputs: Tensor
    final: Any
    last: bool


Note = Callable[[Call], None]
_current: ContextVar[Note | None] = ContextVar("rondeau_watching", default=None)


@contextmanager
def watching(note: Note | None) -> Iterator[None]:
    """Within this, `note` is called after each scan, with what it was called with and what came of it.

    Scans under `torch.compile` are not told of. None: nobody watches, whoever did outside.
    """
    before = _current.set(note)
    try:
        yield
    finally:
        _current.reset(before)


def watcher() -> Note | None:
    """Who is to be told of scans; None: nobody."""
    return _current.get()
