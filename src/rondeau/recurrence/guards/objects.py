"""What can be read of one object, by its kind."""

from __future__ import annotations

import argparse
import collections
import enum
import functools
import types
import weakref
from dataclasses import dataclass
from types import CellType, ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from rondeau.recurrence.guards.bases import MODULES_OF_CELLS, hides_state, is_neutral, is_user_class
from rondeau.recurrence.guards.library import origin_of
from rondeau.recurrence.guards.watched import MISSING, ByName, Opaque, Path

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
_MADE = {"__init__", "__new__", "__post_init__"}
_CALLED = {"forward", "_compiled_call_impl"}  # what torch calls of a module
_OF_CELLS = {"step", "draw", "state_size", "output_size", "per_row", "per_step"}  # what a cell called as a module reads
_CELL_METHODS = {"initial_state", "takes_context", "generator", "forward", "losses", "trainable"}
_CELL_ATTRIBUTES = {"state_size", "output_size", "seed", "training", "features", "built", "draw", "regularized"}
_HIDDEN = frozenset({"build", "build_for", "draw", "remember", "get_config", "from_config", "_generators"})
_FUNCTION = {"forward", "backward", "setup_context", "jvp", "vmap"}  # of a torch.autograd.Function


@dataclass(eq=False)
class Slot:
    """An attribute of `owner` that is kept in a slot."""

    name: str
    member: Any
    owner: Any
    path: Path
    whole: bool
    done: bool = False


def spell(path: Path) -> str:
    """A path as Python writes it: `self.cells[0].rate`."""
    parts = []
    while isinstance(path, tuple):
        path, last = path
        parts.append(last)
    return path + "".join(reversed(parts))


def refuse(value: Any, path: Path) -> Opaque:
    """The error for an object whose state cannot be seen."""
    kind = type(value)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    return Opaque(f"{spell(path)}, {'an' if name[0] in 'aeiou' else 'a'} {name}")


def is_code(value: Any) -> bool:
    """Whether `value` is a function or class of some kind."""
    return not {*_CODE}.isdisjoint(type(value).__mro__)


def read_slot(member: Any, owner: Any) -> Any:
    """What a slot holds; `MISSING` where it holds nothing."""
    try:
        return member.__get__(owner)
    except AttributeError:
        return MISSING


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
    kind = type(value)
    line = kind.__mro__
    if kind is types.FunctionType:
        walk.function(value, path, library)
    elif type in line:
        _class(walk, value, path)
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
    own = object.__getattribute__(value, "__dict__")
    if own:
        walk.watched.named.append(ByName(own, path, walk.read))
    else:
        walk.watched.empty.append(own)


def _container(walk: Walk, value: Any, path: Path, line: tuple[type, ...]) -> None:
    kind = line[0]
    if dict in line:
        _dict(walk, value, path, collections.OrderedDict if collections.OrderedDict in line else dict)
    else:
        base = next((base for base in _SEQUENCES if base in line), None)
        if base is None:
            _plain(walk, value, path)
            return
        if (kind.__iter__, kind.__len__) != (base.__iter__, base.__len__):
            raise refuse(value, path)
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
        raise refuse(value, path)


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


def instance(walk: Walk, value: Any, path: Path, whole: bool = False) -> None:
    """An object's own attributes, and its class."""
    kind = type(value)
    if hides_state(kind):
        raise refuse(value, path)
    walk.watched.objects.append(value)
    whole = whole or not all(map(is_neutral, kind.__mro__))
    extra = _module(walk, value, path) if torch.nn.Module in kind.__mro__ else set()
    member = next((c.__dict__["__dict__"] for c in kind.__mro__ if "__dict__" in c.__dict__), None)
    if member is not None:
        if type(member) is not types.GetSetDescriptorType:
            raise refuse(value, path)
        own = member.__get__(value)
        if any("__getattribute__" in c.__dict__ for c in kind.__mro__ if is_user_class(c)):
            walk.watched.calls.append((member.__get__, (value,), own))
        else:
            walk.watched.holders.append((value, own))
        walk.watched.named.append(ByName(own, path, walk.read, extra, whole, hidden=_hidden(kind)))
    for owner in kind.__mro__:
        for name, slot in owner.__dict__.items():
            if type(slot) is types.MemberDescriptorType:
                walk.slots.append(Slot(name, slot, value, path, whole))
    class_of(walk, kind, kind.__qualname__, extra & (_CALLED | _OF_CELLS))


def _module(walk: Walk, value: Any, path: Path) -> set[str]:
    """Names of a torch module that count whoever reads them; of one inside the cell also what its call reads."""
    names = {"_parameters", "_buffers", "_modules"}
    if value is walk.root:
        return names
    for name, hooks in vars(torch.nn.modules.module).items():
        if name.startswith("_global_") and isinstance(hooks, dict):
            walk.visit(hooks, f"torch.nn.modules.module.{name}")
    names |= _CALLED | {
        name for name in object.__getattribute__(value, "__dict__") if name.startswith(("_forward_", "_backward_"))
    }
    return names | (_OF_CELLS if MODULES_OF_CELLS & {c.__module__ for c in type(value).__mro__} else set())


def _hidden(kind: type) -> frozenset[str]:
    return _HIDDEN if torch.nn.Module in kind.__mro__ else frozenset()


def _class(walk: Walk, kind: type, path: Path) -> None:
    """A class that code names, and may make objects of."""
    if is_user_class(kind):
        class_of(walk, kind, path, set() if torch.nn.Module in kind.__mro__ else _MADE)
    else:
        walk.library_class(kind)


def class_of(walk: Walk, kind: type, path: Path, extra: set[str] = frozenset()) -> None:  # type: ignore[assignment]
    """A class and its bases, as far as they are not a library's: the methods that are called, and class attributes."""
    if not is_user_class(kind):
        return
    if hides_state(kind):
        raise Opaque(f"{spell(path)}, a class whose state is not seen by Python")
    whole = not all(map(is_neutral, kind.__mro__))
    extra = extra | (_FUNCTION if torch.autograd.Function in kind.__mro__ else set())
    if kind not in walk.classes:
        if MODULES_OF_CELLS & {c.__module__ for c in kind.__mro__}:
            walk.steps.update(code_of(c.__dict__["step"]) for c in kind.__mro__ if "step" in c.__dict__)
        walk.watched.classes.append(kind)
        class_of(walk, type(kind), path, {"__call__"})
    for owner in kind.__mro__:
        if owner not in walk.classes and is_user_class(owner):
            names = ByName(owner.__dict__, owner.__qualname__, walk.read, is_class=True, hidden=_hidden(owner))
            walk.classes[owner] = names
            walk.watched.named.append(names)
            if enum.Enum in owner.__mro__:
                names.extra.add("_member_map_")
        if owner in walk.classes:
            walk.classes[owner].extra |= extra
            walk.classes[owner].whole |= whole


def code_of(function: Any) -> Any:
    """A function's code, or that of what it wraps."""
    while type(function) is types.FunctionType and "__wrapped__" in vars(function):
        function = vars(function)["__wrapped__"]
    return getattr(function, "__code__", None) if type(function) is types.FunctionType else None


def imply(walk: Walk) -> None:
    """Names that stand for others: a method of `Cell` reads attributes, and making an object calls `__init__`."""
    if _CELL_METHODS & walk.read:
        walk.read |= _CELL_ATTRIBUTES
    if walk.making:
        for kind, names in walk.classes.items():
            if torch.nn.Module not in kind.__mro__:
                names.extra |= _MADE
