"""`Guard`: flat lists of what was read, compared by identity, so that asking costs microseconds."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import chain
from operator import attrgetter, getitem, is_
from typing import Any

from rondeau.recurrence.guards.walk import Walk
from rondeau.recurrence.guards.watched import TRACES, Opaque, Watched

_type_of: Callable[[Any], type] = type
_attributes = attrgetter("__dict__")
_order = attrgetter("__mro__")
_contents = attrgetter("cell_contents")
_parts = attrgetter("__code__", "__defaults__", "__kwdefaults__", "__dict__")


class Guard:
    """All Python state that a cell's `step` can read, as it was when the guard was taken.

    Watched are attributes of the cell, of modules and objects inside it, and of their classes; containers, globals,
    closures and defaults of every function the step may call, and the functions themselves. Tensors are watched by
    identity: their values may change. Attributes are watched by name: those that some reachable code reads, or all
    where code reads names it computes (`getattr(self, name)`). Libraries (torch, numpy, the standard library) count
    as constant. A change that cannot matter may be taken for one that does, never the other way round.

    Attributes:
        opaque: None, or what cannot be watched, such as "self.rng, a random.Random"; `holds` is then never true.

    >>> from rondeau.cells import GRUCell
    >>> cell = GRUCell(3)
    >>> guard = Guard.of(cell)
    >>> guard.holds(), guard.opaque
    (True, None)
    >>> cell.reset_after = False
    >>> guard.holds()
    False
    """

    def __init__(self, watched: Watched, opaque: str | None = None) -> None:
        self.opaque = opaque
        self._named = watched.named  # dicts watched by name, and what tells whether other names matter
        self._dicts = tuple(w.container for w in watched.named)
        self._keys = [list(d) for d in self._dicts]
        self._absent = tuple(watched.absent)
        self._owners, self._names, self._values = _columns(watched.items, 3)
        bare = [_parts(f)[1:] == (None, None, {}) for f in watched.functions]  # of these, equal is good enough
        self._plain = tuple(f for f, is_bare in zip(watched.functions, bare, strict=True) if is_bare)
        self._plain_parts = [_parts(f) for f in self._plain]
        self._functions = tuple(f for f, is_bare in zip(watched.functions, bare, strict=True) if not is_bare)
        self._function_parts = tuple(chain.from_iterable(map(_parts, self._functions)))
        self._cells, self._cell_values = _columns(watched.cells, 2)
        self._objects = tuple(watched.objects)
        self._types = tuple(map(type, self._objects))
        self._holders, self._holder_dicts = _columns(watched.holders, 2)
        self._classes = tuple(watched.classes)
        self._orders = tuple(map(_order, self._classes))
        self._sequences = tuple(watched.sequences)
        self._lengths = list(map(len, self._sequences))
        self._elements = tuple(chain.from_iterable(self._sequences))
        self._empty = tuple(watched.empty)
        self._calls = tuple(watched.calls)

    @classmethod
    def of(cls, cell: Any) -> Guard:
        """The guard of a cell as it is now; to be taken just before its step is traced."""
        try:
            return cls(Walk().of_cell(cell))
        except Opaque as reason:
            return cls(Watched(), str(reason))

    def holds(self) -> bool:
        """Whether nothing that was watched has changed. Runs none of the user's code."""
        if self.opaque is not None:
            return False
        try:
            return (
                (list(map(list, self._dicts)) == self._keys or self._only_other_names())
                and _same(map(getitem, self._owners, self._names), self._values)
                and list(map(_parts, self._plain)) == self._plain_parts
                and (not self._cells or _same(map(_contents, self._cells), self._cell_values))
                and _same(map(_type_of, self._objects), self._types)
                and _same(map(_attributes, self._holders), self._holder_dicts)
                and _same(map(_order, self._classes), self._orders)
                and not any(self._empty)
                and (not self._absent or all(names.isdisjoint(keys) for names, keys in self._absent))
                and (
                    not self._functions
                    or _same(chain.from_iterable(map(_parts, self._functions)), self._function_parts)
                )
                and (not self._sequences or self._same_elements())
                and (not self._calls or all(call(*given) is value for call, given, value in self._calls))
            )
        except (KeyError, ValueError, AttributeError, RuntimeError):
            return False  # a name is gone, a closure emptied, or a container changes as it is read

    def _same_elements(self) -> bool:
        if list(map(len, self._sequences)) != self._lengths:
            return False
        return _same(chain.from_iterable(self._sequences), self._elements)

    def _only_other_names(self) -> bool:
        """Whether names came or went that nobody reads; they are then known for the next time."""
        for place, (watched, known) in enumerate(zip(self._named, self._keys, strict=True)):
            keys = list(watched.container)
            if keys == known:
                continue
            if watched.whole and _without_traces(keys) != _without_traces(known):
                return False
            if any(map(watched.matters, set(keys).symmetric_difference(known))):
                return False
            self._keys[place] = keys
        return True


def _same(values: Iterable[Any], known: tuple[Any, ...]) -> bool:
    return all(map(is_, values, known))


def _columns(rows: list[Any], count: int) -> Any:
    return tuple(zip(*rows, strict=True)) if rows else ((),) * count


def _without_traces(keys: list[str]) -> list[str]:
    return [key for key in keys if key != TRACES]
