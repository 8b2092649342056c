"""From a class of torch.nn's recurrent modules to the one on loops, and back: also of subclasses and parametrised ones.

A module is swapped by giving it another class. It stays the object it was, so its weights, hooks, optimisers, names
and whatever else refers to it do not notice.
"""

from __future__ import annotations

from typing import Any
from weakref import WeakKeyDictionary

import torch

from rondeau.nn.modules import GRU, LSTM, RNN, OnLoops

OURS: dict[type, type] = {torch.nn.LSTM: LSTM, torch.nn.GRU: GRU, torch.nn.RNN: RNN}
_THEIRS = {ours: theirs for theirs, ours in OURS.items()}
_mixed: WeakKeyDictionary[type, type] = WeakKeyDictionary()  # a user's class -> the same on loops
_plain: WeakKeyDictionary[type, type] = WeakKeyDictionary()  # and back


def on_loops(kind: type) -> type:
    """The class on loops that is like `kind`: one of torch's three, or derived from them without its own forward."""
    if kind in OURS:
        return OURS[kind]
    if is_parametrised(kind):
        return _rebased(kind, on_loops(kind.__bases__[0]))
    if kind not in _mixed:
        ours = next(OURS[base] for base in kind.__mro__ if base in OURS)
        members = {"__module__": kind.__module__, "__doc__": kind.__doc__, "__reduce_ex__": _reduce}
        _mixed[kind] = type(kind.__name__, (ours, kind), members)
        _plain[_mixed[kind]] = kind
    return _mixed[kind]


def off_loops(kind: type) -> type:
    """The class that `on_loops` was given."""
    if kind in _THEIRS:
        return _THEIRS[kind]
    if is_parametrised(kind):
        return _rebased(kind, off_loops(kind.__bases__[0]))
    return _plain.get(kind, kind)


def is_parametrised(kind: type) -> bool:
    """Whether torch made the class for one parametrised module: its properties are that module's tensors."""
    return kind.__name__.startswith("Parametrized") and any(
        isinstance(value, property) and value.fget is not None and value.fget.__module__.endswith("utils.parametrize")
        for value in vars(kind).values()
    )


def _rebased(kind: type, base: type) -> type:
    members = {name: value for name, value in vars(kind).items() if name not in ("__dict__", "__weakref__")}
    return type(kind.__name__, (base,), members)


def _reduce(module: torch.nn.Module, protocol: Any) -> Any:
    """A class made here has no name that pickle could find."""
    return _remake, (off_loops(type(module)),), module.__getstate__()  # type: ignore[no-untyped-call]


def _remake(kind: type) -> Any:
    return object.__new__(on_loops(kind))


def forward_is_torchs(module: torch.nn.Module) -> bool:
    """Whether what the module computes is what torch's class does, as far as classes and attributes show."""
    before = type(module).__mro__[: next(i for i, c in enumerate(type(module).__mro__) if c in OURS)]
    return "forward" not in vars(module) and not any(
        name in vars(c) for c in before if not issubclass(c, OnLoops) for name in ("forward", "__call__")
    )
