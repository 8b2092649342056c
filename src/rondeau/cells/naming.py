"""Names for what a step computes on its way, so that `scan(..., keep=Keep(intermediates=True))` can keep it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor

from rondeau.errors import ArgumentError, ShapeError


class Collector:
    """Gathers what one step after the other names; `put` says what becomes of it."""

    def __init__(self, owner: str) -> None:
        self.owner = f"{owner}.step"
        self.rows, self.seen = 0, dict[str, None]()

    def begin(self, rows: int) -> None:
        """A step of so many rows begins."""
        self.rows, self.seen = rows, {}

    def take(self, name: str, tensor: Any) -> None:
        """Raises `ArgumentError` for a name given twice in one step, `ShapeError` for a tensor without rows."""
        if not isinstance(tensor, Tensor) or not tensor.ndim or tensor.shape[0] != self.rows:
            got = tuple(tensor.shape) if isinstance(tensor, Tensor) else type(tensor).__name__
            fix = "Only what has a value for each row can be named"
            raise ShapeError(
                f"named({name!r}, ...)", expected=f"a tensor ({self.rows}, ...)", got=got, where=self.owner, fix=fix
            )
        if name in self.seen:
            fix = "Give each its own name; around a cell inside the cell, write: with within('its place'): ..."
            raise ArgumentError(f"two intermediates of a step are named {name!r}", where=self.owner, fix=fix)
        self.seen[name] = None
        self.put(name, tensor)

    def put(self, name: str, tensor: Tensor) -> None:
        raise NotImplementedError


_current: ContextVar[tuple[Collector, str] | None] = ContextVar("rondeau_collector", default=None)


def _active() -> tuple[Collector, str] | None:
    # torch.compile cannot look into a context variable, and nothing is kept where it traces
    return None if torch.compiler.is_compiling() else _current.get()


def named(name: str, tensor: Tensor) -> Tensor:
    """The tensor itself; in a step, it can then be kept under this name. Costs nothing where it is not.

    Args:
        name: in the field's words, "forget_gate"; once in a step.
        tensor: rows first, `(batch, ...)`.

    Raises `ArgumentError` and `ShapeError` for a name or tensor that does not fit, where intermediates are kept.

    >>> from rondeau.cells import Cell, HiddenState
    >>> from rondeau.recurrence import Keep, scan
    >>> class Gated(Cell):
    ...     state_size, output_size = HiddenState(h=3), 3
    ...     def step(self, x, state):
    ...         gate = named("gate", torch.sigmoid(x))
    ...         h = gate * state.h + (1 - gate) * x
    ...         return h, HiddenState(h)
    >>> keep = Keep(intermediates=True)
    >>> _ = scan(Gated(), torch.zeros(2, 5, 3), lengths=[5, 2], keep=keep)
    >>> keep.intermediates["gate"].values.shape
    torch.Size([7, 3])
    """
    current = _active()
    if current is not None:
        collector, prefix = current
        collector.take(f"{prefix}{name}", tensor)
    return tensor


@contextmanager
def within(place: str | int) -> Iterator[None]:
    """Around a cell inside the cell: what its step names is `place.name`, "0.forget_gate", as with its state."""
    current = _active()
    if current is None:
        yield
        return
    collector, prefix = current
    before = _current.set((collector, f"{prefix}{place}."))
    try:
        yield
    finally:
        _current.reset(before)


@contextmanager
def collecting(collector: Collector | None) -> Iterator[None]:
    """What steps name goes to `collector`; with None, nowhere: a scan inside a step has names of its own."""
    before = _current.set(None if collector is None else (collector, ""))
    try:
        yield
    finally:
        _current.reset(before)
