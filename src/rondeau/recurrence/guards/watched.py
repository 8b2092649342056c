"""What a walk gathers for a guard to compare."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import CellType, FunctionType
from typing import Any

Path = Any  # what an object is called: a name, or (path of what holds it, ".attribute" or "[key]")
MISSING = object()  # stands for what a slot or a closure does not hold
TRACES = "_rondeau_traces"  # where a cell keeps its traces, and with them its guards


class Opaque(Exception):
    """Something a step can read that nobody can watch; the message names it."""

    @classmethod
    def object(cls, value: Any, path: Path) -> Opaque:
        """An object whose state cannot be seen."""
        kind = type(value)
        name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
        return cls(f"{spell(path)}, {'an' if name[0] in 'aeiou' else 'a'} {name}")


def spell(path: Path) -> str:
    """A path as Python writes it: `self.cells[0].rate`."""
    parts: list[str] = []
    while isinstance(path, tuple):
        path, last = path
        parts.append(last)
    return str(path) + "".join(reversed(parts))


# What a class's dict holds that no step reads unless it says the name.
CLASS_DATA = {
    *("__abstractmethods__", "__annotate__", "__annotate_func__", "__annotations__", "__annotations_cache__"),
    *("__dataclass_fields__", "__dataclass_params__", "__dict__", "__doc__", "__firstlineno__", "__match_args__"),
    *("__module__", "__orig_bases__", "__parameters__", "__qualname__", "__signature__", "__slots__"),
    *("__static_attributes__", "__type_params__", "__weakref__", "_abc_impl"),
}
# The same of a module's.
MODULE_DATA = frozenset(
    {
        "__builtins__",
        "__cached__",
        "__doc__",
        "__file__",
        "__loader__",
        "__name__",
        "__package__",
        "__path__",
        "__spec__",
    }
)
# What runs when an object is made or copied, unless the step itself makes one.
LIFECYCLE = {
    *("__class_getitem__", "__copy__", "__deepcopy__", "__del__", "__getnewargs__", "__getnewargs_ex__"),
    *("__getstate__", "__init__", "__init_subclass__", "__new__", "__post_init__", "__reduce__", "__reduce_ex__"),
    *("__set_name__", "__setstate__", "__sizeof__", "__subclasshook__"),
}


@dataclass(eq=False)
class ByName:
    """A dict (of an object, class or module) of which the names matter that code reads.

    Attributes:
        container: the dict, or a class's view of it.
        path: what the owner is called, for messages.
        read: names read by any code, shared by all; `extra` are read by the language or by torch.
        whole: whether every name matters.
        hidden: names that never matter.
        done: names whose values were walked.
    """

    container: Mapping[str, Any]
    path: Any
    read: set[str]
    extra: set[str] = field(default_factory=set)
    whole: bool = False
    is_class: bool = False
    hidden: frozenset[str] = frozenset()
    done: set[str] = field(default_factory=set)

    def matters(self, name: str) -> bool:
        """Whether the value under `name`, or its coming or going, can reach the step."""
        if name == TRACES:
            return False
        if name in self.read or name in self.extra:
            return True
        if name in self.hidden or not isinstance(name, str):
            return False
        if not self.is_class:
            return self.whole
        dunder = name.startswith("__") and name.endswith("__")
        return (self.whole or dunder) and name not in CLASS_DATA and name not in LIFECYCLE


@dataclass
class Watched:
    """Everything a guard compares; see `Guard` for what each kind is.

    Attributes:
        named: dicts watched by name; items: (container, key, value) of what matters in them, and of globals.
        absent: (names, keys of a dict) that must not meet: globals that would hide a builtin.
        functions: their code and defaults; cells: (closure cell, its contents).
        objects: their classes; holders: (object, its `__dict__`); classes: their bases.
        sequences: containers with their length and elements; empty: containers that must stay so.
        calls: (function, arguments, result) for the rest.
    """

    named: list[ByName] = field(default_factory=list)
    items: list[tuple[Any, Any, Any]] = field(default_factory=list)
    absent: list[tuple[frozenset[str], Any]] = field(default_factory=list)
    functions: list[FunctionType] = field(default_factory=list)
    cells: list[tuple[CellType, Any]] = field(default_factory=list)
    objects: list[Any] = field(default_factory=list)
    holders: list[tuple[Any, Any]] = field(default_factory=list)
    classes: list[type] = field(default_factory=list)
    sequences: list[Any] = field(default_factory=list)
    empty: list[Any] = field(default_factory=list)
    calls: list[tuple[Callable[..., Any], tuple[Any, ...], Any]] = field(default_factory=list)
