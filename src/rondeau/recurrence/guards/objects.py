"""What can be read of a value, by its kind: functions of all sorts, containers, tensors, and the rest."""

from __future__ import annotations

import argparse
import collections
import enum
import functools
import types
import weakref
from types import CellType, ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from rondeau.recurrence.guards.bases import hides_state, is_user_class
from rondeau.recurrence.guards.instances import class_of, instance, named_class
from rondeau.recurrence.guards.library import origin_of
from rondeau.recurrence.guards.watched import MISSING, ByName, Opaque, Path, spell

if TYPE_CHECKING:
    from rondeau.recurrence.guards.walk import Walk

_CODE = (
    *(types.FunctionType, types.MethodType, types.BuiltinFunctionType, functools.partial, type),
    *(property, staticmethod, classmethod, types.DynamicClassAttribute, functools.partialmethod),
    *(functools.cached_property, functools.singledispatchmethod, type(functools.lru_cache(len))),
)
# (type, attributes that hold what it is made of): none of them can be set anew
_MADE_OF: tuple[tuple[type, tuple[str, ...]], ...] = (
    (types.MethodType, ("__self__", "__func__")),
    (functools.partial, ("func", "args", "keywords")),
    (functools.partialmethod, ("func", "args", "keywords")),
    (property, ("fget", "fset", "fdel")),
    (staticmethod, ("__func__",)),
    (classmethod, ("__func__",)),
    (types.DynamicClassAttribute, ("fget",)),
    (functools.cached_property, ("func",)),
    (functools.singledispatchmethod, ("func", "dispatcher")),
    (type(functools.lru_cache(len)), ("__wrapped__",)),
    (slice, ("start", "stop", "step")),
    (range, ()),
)
_SEQUENCES = (list, tuple, set, frozenset, collections.deque)


def is_code(value: Any) -> bool:
    """Whether `value` is a function or class of some kind."""
    return not {*_CODE}.isdisjoint(type(value).__mro__)


def closure(walk: Walk, cell: CellType, path: Path, library: str | None) -> None:
    """A variable of an enclosing function; it may be empty still."""
    value = read_cell(cell)
    if library is None:
        if value is MISSING:
            walk.watched.calls.append((read_cell, (cell,), MISSING))
        else:
            walk.watched.cells.append((cell, value))
    if path == "__class__" and type in type(value).__mro__:  # for super(): nothing is made of it
        class_of(walk, value, path)
    else:
        walk.visit(value, path, library)


def read_cell(cell: CellType) -> Any:
    """What a closure's cell holds; `MISSING` where it holds nothing."""
    try:
        return cell.cell_contents
    except ValueError:
        return MISSING


def walk(walk: Walk, value: Any, path: Path, library: str | None) -> None:
    """Watch what can change of `value`, and visit what it holds. Raises `Opaque` if it cannot be watched."""
    kind: Any = type(value)
    line = kind.__mro__
    if kind is types.FunctionType:
        walk.function(value, path, library)
    elif type in line:
        named_class(walk, value, path)
    elif ModuleType in line:
        if library is None:
            walk.module(value, path)
            if kind is not ModuleType:
                instance(walk, value, path)
    elif kind is types.BuiltinFunctionType:
        _builtin(walk, value, path, library)
    elif torch.Tensor in line:
        _tensor(walk, value, path)
    elif library is not None and not is_user_class(kind):
        _of_library(walk, value, path, library)
    elif not _parts(walk, value, path, line):
        _container(walk, value, path, line)


def _of_library(walk: Walk, value: Any, path: Path, library: str) -> None:
    """What a library keeps for a function it wraps: of this, only code can be the user's."""
    for kind, names in _MADE_OF:
        if kind in type(value).__mro__:
            for name in names:
                walk.visit(getattr(value, name), path, library)
            return
    if isinstance(value, weakref.ref):
        walk.visit(value(), path, library)
    elif type(value) in (list, tuple, dict):
        if library == "functools" and type(value) is dict:  # singledispatch's table
            walk.watched.sequences += [value.keys(), value.values()]
        for each in list(value.values() if isinstance(value, dict) else value):
            walk.visit(each, path, library)


def _parts(walk: Walk, value: Any, path: Path, line: tuple[type, ...]) -> bool:
    """Objects made of a few others once and for all; whether `value` is one."""
    for kind, names in _MADE_OF:
        if kind not in line:
            continue
        for name in names:
            walk.visit(getattr(value, name), (path, f".{name}"))
        if kind is classmethod:
            walk.making = True
        if hasattr(kind, "cache_info"):  # emptied, it would call the function again
            walk.watched.calls.append((_misses_are, (value, value.cache_info().misses), True))
        if type(value) is not kind or kind is functools.partial:
            instance(walk, value, path)
        return True
    if weakref.ref in line:
        walk.watched.calls.append((value, (), value()))
        walk.visit(value(), path)
        return True
    return False


def _misses_are(cached: Any, misses: int) -> bool:
    return bool(cached.cache_info().misses == misses)


def _builtin(walk: Walk, value: Any, path: Path, library: str | None) -> None:
    owner, module = value.__self__, value.__module__
    if isinstance(owner, type):
        module = owner.__module__
    elif owner is not None and type(owner) is not ModuleType:
        walk.visit(owner, (path, ".__self__"), library)
        return
    if module is not None and origin_of(module) == "user":
        raise Opaque(f"{spell(path)}, a function written in C")
    walk.library_value(module, value.__name__)


def _tensor(walk: Walk, value: Any, path: Path) -> None:
    """A tensor is an input of the kernel, known by its identity; only attributes somebody gave it are watched."""
    if is_user_class(type(value)):
        instance(walk, value, path)
        return
    own = object.__getattribute__(value, "__dict__")  # torch.compile leaves its marks there
    walk.watched.named.append(ByName(own, path, walk.read))


def _container(walk: Walk, value: Any, path: Path, line: tuple[type, ...]) -> None:
    kind = line[0]
    if dict in line:
        _dict(walk, value, path, collections.OrderedDict if collections.OrderedDict in line else dict)
    else:
        base = next((base for base in _SEQUENCES if base in line), None)
        if base is None:
            _plain(walk, value, path)
            return
        if any(getattr(kind, name) is not getattr(base, name) for name in ("__iter__", "__len__")):
            raise Opaque.object(value, path)
        _sequence(walk, value, path, base)
    if is_user_class(kind):
        instance(walk, value, path)


def _sequence(walk: Walk, value: Any, path: Path, base: type) -> None:
    walk.count(len(value), path)
    if base not in (tuple, frozenset):
        (walk.watched.sequences if len(value) else walk.watched.empty).append(value)
    for place, each in enumerate(value):
        walk.visit(each, (path, f"[{place}]" if base in (list, tuple) else " (an element)"))


def _dict(walk: Walk, value: Any, path: Path, base: Any) -> None:
    walk.count(dict.__len__(value), path)
    if not dict.__len__(value) and type(value) is base:
        walk.watched.empty.append(value)
    else:
        walk.watched.sequences += [base.keys(value), base.values(value)]
    for key, each in base.items(value):
        walk.visit(key, (path, " (a key)"))
        walk.visit(each, (path, f"[{key!r}]" if type(key) in (str, int) else "[...]"))
    if isinstance(value, collections.defaultdict):
        walk.watched.calls.append((getattr, (value, "default_factory"), value.default_factory))
        walk.visit(value.default_factory, path)


def _plain(walk: Walk, value: Any, path: Path) -> None:
    kind = type(value)
    if is_user_class(kind) or torch.nn.Module in kind.__mro__:
        instance(walk, value, path)
    elif kind in (types.SimpleNamespace, argparse.Namespace) or (_is_open(kind) and not hides_state(kind)):
        instance(walk, value, path, whole=True)
    elif kind is types.MappingProxyType and type(value.values()) is type({}.values()):
        walk.watched.sequences += [value.keys(), value.values()]
        for key, each in value.items():
            walk.visit(key, (path, " (a key)"))
            walk.visit(each, (path, "[...]"))
    elif not _is_constant(value):
        raise Opaque.object(value, path)


def _is_open(kind: type) -> bool:
    """Whether a class that is not the user's is written in Python, and keeps nothing but attributes."""
    module = kind.__module__
    return (
        origin_of(module) == "foundation" or module == "collections" or module.startswith(("torch.nn.", "torch.utils."))
    )


def _is_constant(value: Any) -> bool:
    line, module = type(value).__mro__, type(value).__module__
    if np.generic in line:
        return np.void not in line
    if np.dtype in line or enum.Enum in line or value is MISSING:
        return True
    return module in ("typing", "typing_extensions", "jaxtyping", "torch._ops", "dataclasses")
