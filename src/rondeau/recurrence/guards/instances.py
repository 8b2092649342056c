"""What can be read of an object with attributes, and of its class."""

from __future__ import annotations

import types
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from rondeau.recurrence.guards.bases import MODULES_OF_CELLS, hides_state, is_neutral, is_user_class
from rondeau.recurrence.guards.watched import MISSING, ByName, Opaque, Path, spell

if TYPE_CHECKING:
    from rondeau.recurrence.guards.walk import Walk

_MADE = {"__init__", "__new__", "__post_init__"}
_CALLED = {"forward", "_compiled_call_impl"}  # what torch calls of a module
_OF_CELLS = {"step", "draw", "state_size", "output_size", "per_row", "per_step"}  # what a cell called as a module reads
_CELL_METHODS = {"initial_state", "takes_context", "generator", "forward", "losses", "trainable"}
_CELL_ATTRIBUTES = {"state_size", "output_size", "seed", "training", "features", "built", "draw", "regularized"}
_HIDDEN = frozenset({"build", "build_for", "draw", "remember", "get_config", "from_config", "_generators"})


@dataclass(eq=False)
class Slot:
    """An attribute of `owner` that is kept in a slot."""

    name: str
    member: Any
    owner: Any
    path: Path
    whole: bool
    done: bool = False


def read_slot(member: Any, owner: Any) -> Any:
    """What a slot holds; `MISSING` where it holds nothing."""
    try:
        return member.__get__(owner)
    except AttributeError:
        return MISSING


def instance(walk: Walk, value: Any, path: Path, whole: bool = False) -> None:
    """An object's own attributes, and its class."""
    kind = type(value)
    if hides_state(kind):
        raise Opaque.object(value, path)
    walk.watched.objects.append(value)
    whole = whole or not all(map(is_neutral, kind.__mro__))
    extra = _module(walk, value, path) if torch.nn.Module in kind.__mro__ else set()
    member = next((c.__dict__["__dict__"] for c in kind.__mro__ if "__dict__" in c.__dict__), None)
    if member is not None:
        if type(member) not in (types.GetSetDescriptorType, types.MemberDescriptorType):
            raise Opaque.object(value, path)
        own = member.__get__(value)
        if any("__getattribute__" in c.__dict__ for c in kind.__mro__ if is_user_class(c)):
            walk.watched.calls.append((member.__get__, (value,), own))
        else:
            walk.watched.holders.append((value, own))
        walk.watched.named.append(ByName(own, path, walk.read, extra, whole, hidden=_hidden(kind)))
    for owner in kind.__mro__:
        for name, slot in owner.__dict__.items():
            if type(slot) is types.MemberDescriptorType and not name.startswith("__"):  # __dict__, and offsets of C
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


def named_class(walk: Walk, kind: type, path: Path) -> None:
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
