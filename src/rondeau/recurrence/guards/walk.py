"""From a cell to everything its step can read: objects, their classes, functions, and what those name in turn."""

from __future__ import annotations

import importlib.util
import sys
from types import CodeType, FunctionType, ModuleType
from typing import Any

from rondeau.recurrence.guards import instances, objects
from rondeau.recurrence.guards.library import (
    HIDDEN_PATHS,
    LEAVES,
    changes,
    changing_names,
    origin,
    origin_of,
    reads_all,
)
from rondeau.recurrence.guards.names import names_of
from rondeau.recurrence.guards.watched import MODULE_DATA, ByName, Opaque, Path, Watched, spell

_LIMIT = 20_000  # values; comparing more at every call costs as much as tracing again


class Walk:
    """One walk. It runs no code but Python's own: no property, no `__getattr__`, no iterator of a user's.

    Names that code reads are one set for all objects: an attribute counts where any reachable code has its name
    behind a dot. What is found through a new name may hold more code, so the walk goes on until nothing is new.

    Attributes:
        watched: what was gathered.
        read: the names.
        dynamic: whether some code reads attributes by names it computes; all attributes then count.
        making: whether some code may make objects of the classes of those it has.
        steps: the code of the cells' own `step`, whose third argument is the context.
    """

    def __init__(self) -> None:
        self.watched = Watched()
        self.read: set[str] = {"step"}
        self.dynamic = False
        self.making = False
        self.root: Any = None
        self.classes: dict[type, ByName] = {}
        self.steps: set[CodeType] = set()
        self.slots: list[instances.Slot] = []
        self._seen: dict[int, tuple[Any, str | None]] = {}
        self._todo: list[tuple[Any, Path, str | None]] = []
        self._globals: dict[int, tuple[dict[str, Any], set[str], set[str]]] = {}
        self._whole_libraries: set[str] = set()
        self._size = 0

    def of_cell(self, cell: Any) -> Watched:
        """Everything that `cell.step` can read. Raises `Opaque` for what cannot be watched."""
        self.root = cell
        self.visit(cell, "self")
        while self._todo or self._more_names():
            while self._todo:
                objects.walk(self, *self._todo.pop())
        for module in self._whole_libraries:
            for name in sorted((changing_names(module) or set()) & self.read):
                raise Opaque(f"{module}.{name}")
        return self._gathered()

    def visit(self, value: Any, path: Path, library: str | None = None) -> None:
        """Note down `value` to be walked.

        Args:
            path: what it is called, for messages.
            library: the module in whose closures it was found: what is not code is then that module's own business.
        """
        if type(value) in LEAVES:
            return
        seen = self._seen.get(id(value))
        if seen is None or (seen[1] is not None and library is None):
            self._seen[id(value)] = (value, library)
            self._todo.append((value, path, library))

    def count(self, size: int, path: Path) -> None:
        """Take `size` more values into account. Raises `Opaque` beyond the limit."""
        self._size += size
        if self._size > _LIMIT:
            raise Opaque(f"{spell(path)}, among more than {_LIMIT} values")

    def function(self, function: FunctionType, path: Path, library: str | None) -> None:
        """What a Python function can read. A library's is constant, but it may wrap a user's."""
        where = function.__globals__
        of = origin(where)
        own = vars(function)
        if of == "foundation":
            return
        if of == "library":
            self.library_value(where.get("__name__"), function.__code__.co_name)
            module = str(where.get("__name__"))
            for cell in function.__closure__ or ():
                objects.closure(self, cell, path, module)
            for value in (*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()):
                self.visit(value, path, module)
            return
        self.watched.functions.append(function)
        if "__beartype_wrapper" in own:  # made by a library in the user's module
            self.visit(own.get("__wrapped__"), path)
            self.visit((function.__kwdefaults__ or {}).get("__beartype_func"), path)
            return
        self._reads(function, where)
        for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
            objects.closure(self, cell, name, None)
        for value in function.__defaults__ or ():
            self.visit(value, (path, "'s default"))
        self.visit(function.__kwdefaults__, (path, "'s defaults"))
        if own:
            self.watched.named.append(ByName(own, path, self.read, {"__wrapped__"}))
        else:
            self.watched.empty.append(own)

    def _reads(self, function: FunctionType, where: dict[str, Any]) -> None:
        code = function.__code__
        takes_context = code in self.steps and code.co_argcount > 3
        names = names_of(code, code.co_varnames[3] if takes_context else None)
        for name in sorted(names.attributes & HIDDEN_PATHS):
            raise Opaque(name)
        self.read |= names.attributes
        self.dynamic = self.dynamic or names.dynamic
        self.making = self.making or "__class__" in names.attributes
        for chain in names.chains:
            self._global(chain, where)
        for name, level in names.imports:
            self._import(name, level, where)

    def _global(self, chain: tuple[str, ...], where: dict[str, Any]) -> None:
        name = chain[0]
        if self.named(where, name):
            self._follow(where[name], chain[1:], name)
            return
        self.making = self.making or name == "type"
        if changes("builtins", name):
            raise Opaque(name)

    def named(self, where: dict[str, Any], name: str) -> bool:
        """Watch one name of a module's dict; whether it is there."""
        _, present, absent = self._globals.setdefault(id(where), (where, set(), set()))
        (present if name in where else absent).add(name)
        return name in where

    def _follow(self, value: Any, attributes: tuple[str, ...], path: Path) -> None:
        """`path.attribute.attribute`, as far as modules go."""
        for attribute in attributes:
            if type(value) is not ModuleType:
                break
            path = (path, "." + attribute)
            names = vars(value)
            of = origin(names)
            if of == "library":
                self.library_value(value.__name__, attribute)
                inner = names.get(attribute)
                if type(inner) is not ModuleType:
                    if self.named(names, attribute) and objects.is_code(inner):
                        self.visit(inner, path)
                    return
            elif of == "foundation":
                return
            elif not self.named(names, attribute):
                self.visit(names.get("__getattr__"), path)
                return
            value = names[attribute]
        self.visit(value, path)

    def module(self, module: ModuleType, path: Path) -> None:
        """A module that was not asked for one attribute there and then: all names that are read count."""
        names = vars(module)
        of = origin(names)
        if of == "user":
            self.watched.named.append(ByName(names, path, self.read, {"__getattr__"}, hidden=MODULE_DATA))
        elif of == "library":
            if changing_names(module.__name__) is None:
                raise Opaque(f"the module {module.__name__}")
            self.dynamic = self.dynamic or reads_all(module.__name__)
            self._whole_libraries.add(module.__name__)

    def _import(self, name: str, level: int, where: dict[str, Any]) -> None:
        package = where.get("__package__") or ""
        full = importlib.util.resolve_name("." * level + name, package) if level else name
        for each in {full, full.partition(".")[0]}:
            found = sys.modules.get(each)
            if found is None:  # the trace imports it: it can be watched from the next call on
                raise Opaque(f"the import of {each}")
            self.visit(found, each)

    def library_value(self, module: str | None, name: str) -> None:
        """Note what a library's function or class does; raises `Opaque` if it gives something else at each call."""
        if changes(module, name):
            raise Opaque(f"{module}.{name}")
        if reads_all(module, name):
            self.dynamic = self.making = True

    def library_class(self, kind: type) -> None:
        """The same for a class that user code makes use of."""
        if origin_of(kind.__module__) == "library":
            self.library_value(kind.__module__, kind.__qualname__)

    def _more_names(self) -> bool:
        """Walk what the names read by now lead to; whether there was anything."""
        instances.imply(self)
        found = False
        for watched in self.watched.named:
            watched.whole = watched.whole or self.dynamic
            new = [name for name in watched.container if name not in watched.done and watched.matters(name)]
            watched.done.update(new)
            found = found or bool(new)
            for name in new:
                self.visit(watched.container[name], (watched.path, f".{name}"))
        for slot in self.slots:
            if not slot.done and (slot.whole or self.dynamic or slot.name in self.read):
                slot.done = found = True
                value = instances.read_slot(slot.member, slot.owner)
                self.watched.calls.append((instances.read_slot, (slot.member, slot.owner), value))
                self.visit(value, (slot.path, f".{slot.name}"))
        return found

    def _gathered(self) -> Watched:
        watched = self.watched
        for by_name in watched.named:
            watched.items += [(by_name.container, name, by_name.container[name]) for name in by_name.done]
        for where, present, absent in self._globals.values():
            watched.items += [(where, name, where[name]) for name in present]
            if absent:
                watched.absent.append((frozenset(absent), where.keys()))
        return watched
