"""What scans are called with, told to whoever watches: what is measured is measured beside a computation, not in it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial
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
        engine: the one that was asked for.
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
    engine: str | None = None


Note = Callable[[Call], None]
_current: ContextVar[tuple[Note, ...]] = ContextVar("rondeau_watching", default=())


@contextmanager
def watching(note: Note | None, beside: bool = False) -> Iterator[None]:
    """Within this, `note` is called after each scan, with what it was called with and what came of it.

    Scans under `torch.compile` are not told of. None: nobody watches, whoever did outside.

    Args:
        beside: whoever watches already is told as well, else only `note` is. Such may end in any order.
    """
    own = () if note is None else (note,)
    before = _current.get()
    _current.set((*before, *own) if beside else own)
    try:
        yield
    finally:
        _current.set(_without(_current.get(), own) if beside else before)


def _without(notes: tuple[Note, ...], own: tuple[Note, ...]) -> tuple[Note, ...]:
    """The notes less the last of them that is one's own."""
    for place in reversed(range(len(notes))):
        if (notes[place],) == own:
            return notes[:place] + notes[place + 1 :]
    return notes


def watcher() -> Note | None:
    """Who is to be told of scans; None: nobody."""
    notes = _current.get()
    return partial(_tell, notes) if notes else None


def _tell(notes: tuple[Note, ...], call: Call) -> None:
    for note in notes:
        note(call)
