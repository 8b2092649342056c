"""Which classes show all their state to Python, and whose methods read only what their code says."""

from __future__ import annotations

import abc
import collections
import enum
import functools
import sys
import typing
from weakref import WeakKeyDictionary

import torch

from rondeau.recurrence.guards.library import LEAVES, origin_of

MODULES_OF_CELLS = {"rondeau.cells.base"}  # where `Cell` is

_CONTAINERS = {tuple, list, dict, set, frozenset, collections.OrderedDict, collections.defaultdict, collections.deque}
# Bases that add no method that reads an object's attributes unasked.
_NEUTRAL = {
    *(object, torch.nn.Module, torch.Tensor, torch._C.TensorBase, typing.Generic, typing.Protocol, abc.ABC, type),
    *(torch.nn.Parameter, torch.nn.Buffer, *_CONTAINERS, *LEAVES),
}
# Modules whose classes, written in Python, keep what they know in attributes.
_OPEN = (
    *("_collections_abc", "abc", "argparse", "collections", "contextlib", "enum", "functools", "jaxtyping", "numbers"),
    *("torch.autograd", "torch.nn", "torch.overrides", "torch.utils", "types", "typing", "typing_extensions"),
)
_HEAP = 1 << 9  # a flag of types made while Python runs, by a class statement for one


_users: WeakKeyDictionary[type, bool] = WeakKeyDictionary()
_hiding: WeakKeyDictionary[type, bool] = WeakKeyDictionary()


def is_user_class(kind: type) -> bool:
    """Whether code of the user's may be in the class or one of its bases."""
    known = _users.get(kind)
    if known is None:
        known = _users[kind] = any(origin_of(c.__module__) == "user" for c in kind.__mro__)
    return known


def is_neutral(kind: type) -> bool:
    """Whether a base's own methods need not be thought of."""
    return kind in _NEUTRAL or origin_of(kind.__module__) in ("user", "foundation")


def hides_state(kind: type) -> bool:
    """Whether objects of the class, or of a base, may keep what no attribute shows, as those written in C do."""
    known = _hiding.get(kind)
    if known is None:
        known = _hiding[kind] = any(map(_hides, kind.__mro__))
    return known


def _hides(kind: type) -> bool:
    if kind in _NEUTRAL or kind in (functools.partial, type, enum.EnumMeta, BaseException, Exception):
        return False
    of = origin_of(kind.__module__)
    if of == "foundation":
        return False
    if not kind.__flags__ & _HEAP:
        return kind not in (torch._C._FunctionBase,) and kind.__module__ not in ("types", "argparse")
    if of == "user":
        file = getattr(sys.modules.get(kind.__module__), "__file__", None)
        return isinstance(file, str) and not file.endswith((".py", ".pyc"))
    return not any(
        kind.__module__ == name or kind.__module__.startswith(name + ".") for name in _OPEN
    ) and not issubclass(kind, (torch.nn.Module, torch.Tensor, torch._C._FunctionBase))
