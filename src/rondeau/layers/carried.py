"""States that go into a model's recurrent layers, and come out of them, with one call of the model."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor

from rondeau.cells.base import Cell, check_state, state_leaves
from rondeau.errors import StateError

_current: ContextVar[Carried | None] = ContextVar("carried", default=None)


class Carried:
    """The states of one call.

    Args:
        names: each recurrent layer's name, by the layer's `id`; a layer that is called again is `name_2`, `name_3`.
        given: the states to begin with, `lstm.h`; a layer of which none is given begins as it always does.
        outer: those of the call that this one is part of.

    Attributes:
        final: the states after the call, named in the same way, in the order in which the layers ran.
    """

    def __init__(self, names: Mapping[int, str], given: Mapping[str, Tensor], outer: Carried | None = None) -> None:
        self.names, self.given, self.outer = names, given, outer
        self.final: dict[str, Tensor] = {}
        self._taken: set[str] = set()
        self._calls: dict[int, int] = {}

    def carriers(self, layer: Any) -> Iterator[tuple[Carried, str]]:
        """Whose states the layer that runs now begins and ends with, and its name there: this, and those around it.

        A model that asks another, inside it, for its state has part in it all the same.
        """
        name = self.name(layer)
        if name is not None:
            yield self, name
        if self.outer is not None:
            yield from self.outer.carriers(layer)

    def name(self, layer: Any) -> str | None:
        """What the layer that runs now is called, None for one that has no part in this."""
        base = self.names.get(id(layer))
        if base is None:
            return None
        count = self._calls[id(layer)] = self._calls.get(id(layer), 0) + 1
        return base if count == 1 else f"{base}_{count}"

    def begin(self, name: str, cell: Cell, rows: int, fixed: bool) -> Any:
        """The state that a layer is given to begin with; None for none.

        Raises `StateError` for a part of a state, a misfit, or one given where the model has `fixed` another.
        """
        parts = [_joined(name, part) for part, _ in state_leaves(cell.state_size)]
        found = [part for part in parts if part in self.given]
        if not found:
            return None
        if fixed:
            what = f"the model gives layer {name} its initial_state itself, and here comes another"
            raise StateError(what, got=", ".join(found), fix="Leave it out of the state")
        if len(found) < len(parts):
            what = f"layer {name}: a part of the state is missing"
            raise StateError(what, expected=", ".join(parts), got=", ".join(found))
        self._taken.update(parts)
        return check_state(cell, [self.given[part] for part in parts], rows, f"layer {name}, initial_state")

    def end(self, name: str, state: Any) -> None:
        self.final |= {_joined(name, part): leaf for part, leaf in state_leaves(state)}

    def all_taken(self) -> None:
        """Raise `StateError` for a state that no layer took."""
        left = sorted(set(self.given) - self._taken)
        if left:
            known = ", ".join(self.final) or "none"
            raise StateError("states of layers that the model does not run", expected=known, got=", ".join(left))


def _joined(name: str, part: str) -> str:
    return f"{name}.{part}" if part else name


@contextmanager
def carrying(carried: Carried) -> Iterator[None]:
    """Within this, recurrent layers begin with what is carried, and leave their final states there."""
    token = _current.set(carried)
    try:
        yield
        carried.all_taken()
    finally:
        _current.reset(token)


@contextmanager
def nothing_carried() -> Iterator[None]:
    """Within this, layers begin as they always do: for trials."""
    token = _current.set(None)
    try:
        yield
    finally:
        _current.reset(token)


def current() -> Carried | None:
    """What is carried now; nothing while torch.compile traces, which knows no context: see `uncompiled`."""
    return None if torch.compiler.is_dynamo_compiling() else _current.get()


def uncompiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, into which torch.compile does not look: what is carried would be lost there, without a word."""
    if "torch._dynamo" not in sys.modules:  # then nothing is compiled
        return function
    found = _uncompiled.get(function)
    if found is None:
        found = _uncompiled[function] = torch.compiler.disable(  # type: ignore[no-untyped-call]
            function, reason="it carries the states of a model"
        )
    return found


_uncompiled: dict[Callable[..., Any], Callable[..., Any]] = {}
