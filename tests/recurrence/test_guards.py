"""Guards: whatever a step can read, a change of it is seen; what cannot be watched is named."""

from __future__ import annotations

import collections
import contextlib
import copy
import dataclasses
import enum
import functools
import gc
import itertools
import math
import operator
import os
import random
import sys
import tempfile
import time
import types
import weakref
from collections.abc import Callable, Iterator
from types import ModuleType, SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from beartype import beartype
from jaxtyping import Float, jaxtyped
from torch import Tensor

from rondeau import activations
from rondeau.cells import AttentionCell, Cell, GRUCell, HiddenState, LSTMCell, SimpleRNNCell, StackedRNNCells
from rondeau.recurrence.guards import Guard

X = torch.ones(2, 1)
NAME = "gain"  # a name that the code which uses it does not spell out
Factor = Callable[[Any], Any]


class Scaled(Cell):
    """h' = h + factor(self) x: whatever `factor` reads, the step reads."""

    def __init__(self, factor: Factor = lambda cell: 1.0, **attributes: Any) -> None:
        super().__init__()
        self.state_size, self.output_size = HiddenState(h=1), 1
        self.factor = factor
        for name, value in attributes.items():
            setattr(self, name, value)

    def step(self, x: Tensor, state: HiddenState) -> tuple[Tensor, HiddenState]:
        h = state.h + self.factor(self) * x
        return h, HiddenState(h)


def output(cell: Cell) -> Tensor:
    return cell.step(X, HiddenState(torch.zeros(2, 1)))[0].detach()


def check(cell: Cell, change: Callable[[], Any]) -> None:
    """`change` alters what the step computes, and the guard sees it; without it, the guard holds."""
    output(cell)  # what fills itself at first use
    guard = Guard.of(cell)
    assert guard.opaque is None
    before = output(cell)
    assert guard.holds()
    again = Guard.of(cell)
    assert again.holds()
    change()
    assert not torch.equal(output(cell), before), "this change is no change"
    assert not guard.holds()
    assert not again.holds()
    assert Guard.of(cell).opaque is None


# --- attributes -------------------------------------------------------------------------------------------------------


class Settings:
    """Attributes, one of them in a slot."""

    __slots__ = ("__dict__", "__weakref__", "gain")

    def __init__(self, gain: Any) -> None:
        self.gain, self.bias = gain, 0.0

    @property
    def total(self) -> Any:
        return self.gain + self.bias


@dataclasses.dataclass(frozen=True)
class Frozen:
    gain: float
    parts: list[float]

    def total(self) -> float:
        return self.gain + self.parts[0]


class Pair(NamedTuple):
    first: Any
    second: Any


class Listed(list[float]):
    extra = 0.0

    def total(self) -> float:
        return sum(self) + self.extra


class Parts(enum.Enum):
    ONE = [1.0]  # noqa: RUF012


class Mode(enum.Enum):
    ONE = 1.0
    TWO = 2.0


_get = getattr


def change_attribute(name: str, value: Any) -> Callable[[Cell], None]:
    return lambda cell: setattr(cell, name, value)


def _replace_weight(cell: Any) -> None:
    cell.inner.weight = torch.nn.Parameter(torch.full((1, 1), 3.0))


def _hooked(cell: Any) -> None:
    cell.inner.register_forward_hook(lambda module, given, result: 2 * result)


def _swap_keys(cell: Any) -> None:
    cell.a["y"] = cell.a.pop("x")


ATTRIBUTES: dict[str, tuple[Factor, dict[str, Any], Callable[[Any], Any]]] = {
    "attribute": (lambda cell: cell.a, {"a": 1.0}, change_attribute("a", 2.0)),
    "attribute of equal value and another type": (
        lambda cell: 3.0 if type(cell.a) is bool else 1.0,
        {"a": True},
        change_attribute("a", 1),
    ),
    "attribute by name": (lambda cell: getattr(cell, "a", 1.0), {}, change_attribute("a", 2.0)),
    "attribute by computed name": (lambda cell: getattr(cell, NAME), {"gain": 1.0}, change_attribute("gain", 2.0)),
    "attribute by added name": (
        lambda cell: getattr(cell, "a" + cell.b),
        {"ab": 1.0, "b": "b"},
        change_attribute("ab", 2.0),
    ),
    "attribute by default": (lambda cell: getattr(cell, "b", cell.a), {"a": 1.0}, change_attribute("b", 2.0)),
    "attribute by getattr elsewhere": (lambda cell: _get(cell, NAME), {"gain": 1.0}, change_attribute("gain", 2.0)),
    "attribute by mapped getattr": (
        lambda cell: functools.reduce(getattr, ["real"], cell.a.x),
        {"a": SimpleNamespace(x=1.0)},
        lambda cell: setattr(cell.a, "x", 2.0),
    ),
    "attribute by attrgetter": (
        lambda cell: operator.attrgetter("a.x")(cell),
        {"a": SimpleNamespace(x=1.0)},
        lambda cell: setattr(cell.a, "x", 2.0),
    ),
    "attribute by a module handed on": (
        lambda cell: (lambda module: module.attrgetter(NAME)(cell))(operator),
        {"gain": 1.0},
        change_attribute("gain", 2.0),
    ),
    "attribute in a format": (
        lambda cell: float("{0.gain}".format(cell.a)),  # noqa: UP030, UP032
        {"a": Settings(1.0)},
        lambda cell: setattr(cell.a, "gain", 2.0),
    ),
    "attribute in vars": (lambda cell: vars(cell)[NAME], {"gain": 1.0}, change_attribute("gain", 2.0)),
    "attribute in __dict__": (lambda cell: cell.__dict__[NAME], {"gain": 1.0}, change_attribute("gain", 2.0)),
    "attribute read further in": (
        lambda cell: (lambda: getattr(cell, NAME))(),
        {"gain": 1.0},
        change_attribute("gain", 2.0),
    ),
    "order of attributes": (
        lambda cell: next(iter(vars(cell.a).values())),
        {"a": SimpleNamespace(x=1.0, y=2.0)},
        lambda cell: setattr(cell.a, "x", vars(cell.a).pop("x")),
    ),
    "removed attribute": (lambda cell: 2.0 if hasattr(cell, "a") else 1.0, {"a": 1}, lambda cell: delattr(cell, "a")),
    "attribute over a class's": (lambda cell: cell.output_size, {}, change_attribute("output_size", 2)),
    "training": (lambda cell: 2.0 if cell.training else 1.0, {}, lambda cell: cell.eval()),
    "list element": (lambda cell: cell.a[1][0], {"a": [0, [1.0]]}, lambda cell: operator.setitem(cell.a[1], 0, 2.0)),
    "list length": (lambda cell: len(cell.a), {"a": []}, lambda cell: cell.a.append(0)),
    "list order": (lambda cell: cell.a[0], {"a": [1.0, 2.0]}, lambda cell: cell.a.reverse()),
    "dict value": (lambda cell: cell.a["x"], {"a": {"x": 1.0}}, lambda cell: cell.a.update(x=2.0)),
    "dict key added": (lambda cell: len(cell.a), {"a": {}}, lambda cell: cell.a.update(x=2.0)),
    "dict key renamed": (lambda cell: cell.a.get("x", 2.0), {"a": {"x": 1.0}}, _swap_keys),
    "dict order": (
        lambda cell: next(iter(cell.a.values())),
        {"a": collections.OrderedDict(x=1.0, y=2.0)},
        lambda cell: cell.a.move_to_end("x"),
    ),
    "default dict": (
        lambda cell: copy.copy(cell.a)["x"],
        {"a": collections.defaultdict(lambda: 1.0)},
        lambda cell: setattr(cell.a, "default_factory", lambda: 2.0),
    ),
    "default dict's function": (
        lambda cell: copy.copy(cell.a)["x"],
        {"a": collections.defaultdict(lambda: sum(_ADDED)), "b": (_ADDED := [1.0])},
        lambda cell: _ADDED.append(1.0),
    ),
    "dict's key": (
        lambda cell: next(iter(cell.a)).gain,
        {"a": {Settings(1.0): 0}},
        lambda cell: setattr(next(iter(cell.a)), "gain", 2.0),
    ),
    "set": (lambda cell: 1.0 if "x" in cell.a else 2.0, {"a": {"x"}}, lambda cell: cell.a.discard("x")),
    "deque": (lambda cell: cell.a[0], {"a": collections.deque([1.0, 2.0])}, lambda cell: cell.a.rotate()),
    "inside a tuple": (lambda cell: cell.a[0][0], {"a": ([1.0],)}, lambda cell: operator.setitem(cell.a[0], 0, 2.0)),
    "inside a named tuple": (
        lambda cell: cell.a.second.gain,
        {"a": Pair(0, Settings(1.0))},
        lambda cell: setattr(cell.a.second, "gain", 2.0),
    ),
    "object": (lambda cell: cell.a.total, {"a": Settings(1.0)}, lambda cell: setattr(cell.a, "bias", 2.0)),
    "slot": (lambda cell: cell.a.total, {"a": Settings(1.0)}, lambda cell: setattr(cell.a, "gain", 2.0)),
    "namespace": (lambda cell: cell.a.x, {"a": SimpleNamespace(x=1.0)}, lambda cell: setattr(cell.a, "x", 2.0)),
    "dataclass": (lambda cell: cell.a.total(), {"a": Frozen(1.0, [0.0])}, lambda cell: cell.a.parts.insert(0, 2.0)),
    "dataclass replaced": (
        lambda cell: cell.a.total(),
        {"a": Frozen(1.0, [0.0])},
        lambda cell: setattr(cell, "a", dataclasses.replace(cell.a, gain=2.0)),
    ),
    "dataclass's fields": (
        lambda cell: dataclasses.astuple(cell.a)[0],
        {"a": Frozen(1.0, [0.0])},
        lambda cell: object.__setattr__(cell.a, "gain", 2.0),
    ),
    "slot's list": (lambda cell: cell.a.gain[0], {"a": Settings([1.0])}, lambda cell: cell.a.gain.insert(0, 2.0)),
    "class made by the step": (
        lambda cell: Settings(cell.a).total,
        {"a": 1.0},
        change_attribute("a", 2.0),
    ),
    "list subclass": (lambda cell: cell.a.total(), {"a": Listed([1.0])}, lambda cell: cell.a.append(1.0)),
    "list subclass's attribute": (
        lambda cell: cell.a.total(),
        {"a": Listed([1.0])},
        lambda cell: setattr(cell.a, "extra", 1.0),
    ),
    "enum": (lambda cell: cell.a.value, {"a": Mode.ONE}, change_attribute("a", Mode.TWO)),
    "enum's value": (
        lambda cell: cell.a * Parts.ONE.value[0],
        {"a": 1.0},
        lambda cell: operator.setitem(Parts.ONE.value, 0, Parts.ONE.value[0] + 1),
    ),
    "enum named": (lambda cell: 1.0 if cell.a is Mode.ONE else 2.0, {"a": Mode.ONE}, change_attribute("a", Mode.TWO)),
    "partial": (
        lambda cell: cell.a(),
        {"a": functools.partial(operator.add, 1.0, 0.0)},
        change_attribute("a", functools.partial(operator.add, 1.0, 1.0)),
    ),
    "partial's argument": (
        lambda cell: cell.a(),
        {"a": functools.partial(max, [1.0, 0.0])},
        lambda cell: cell.a.args[0].append(2.0),
    ),
    "partial's keyword": (
        lambda cell: cell.a(1.5),
        {"a": functools.partial(round, ndigits=0)},
        lambda cell: cell.a.keywords.update(ndigits=1),
    ),
    "bound method": (
        lambda cell: cell.a(),
        {"a": Frozen(1.0, [0.0]).total},
        lambda cell: cell.a.__self__.parts.insert(0, 2.0),
    ),
    "bound method of a list": (
        lambda cell: cell.a(1.0) + 1,
        {"a": [1.0].count},
        lambda cell: cell.a.__self__.append(1.0),
    ),
    "buffer replaced": (
        lambda cell: cell.a,
        {"a": torch.nn.Buffer(torch.ones(1))},
        lambda cell: setattr(cell, "a", torch.zeros(1)),
    ),
    "parameter replaced": (
        lambda cell: cell.a,
        {"a": torch.nn.Parameter(torch.ones(1))},
        lambda cell: setattr(cell, "a", torch.nn.Parameter(torch.zeros(1))),
    ),
    "tensor replaced": (lambda cell: cell.a[0], {"a": [torch.ones(1)]}, lambda cell: cell.a.insert(0, torch.zeros(1))),
    "a tensor's attribute": (
        lambda cell: getattr(cell.a, "gain", 1.0),
        {"a": torch.ones(1)},
        lambda cell: setattr(cell.a, "gain", 2.0),
    ),
    "a tensor's attribute changed": (
        lambda cell: cell.a.gain,
        {"a": (lambda tensor: (setattr(tensor, "gain", 1.0), tensor)[1])(torch.ones(1))},
        lambda cell: setattr(cell.a, "gain", 2.0),
    ),
    "weak reference": (
        lambda cell: cell.a().gain,
        {"a": weakref.ref(_KEPT := Settings(1.0))},
        lambda cell: setattr(cell.a(), "gain", 2.0),
    ),
    "submodule's attribute": (
        lambda cell: cell.inner(X),
        {"inner": torch.nn.LayerNorm(1, eps=1.0)},
        lambda cell: setattr(cell.inner, "bias", torch.nn.Parameter(torch.ones(1))),
    ),
    "submodule's flag": (
        lambda cell: 1.0 if cell.inner.training else 2.0,
        {"inner": torch.nn.Identity()},
        lambda cell: cell.inner.eval(),
    ),
    "submodule replaced": (
        lambda cell: cell.inner(X) / 2,
        {"inner": torch.nn.Identity()},
        lambda cell: setattr(cell, "inner", torch.nn.Softplus()),
    ),
    "submodule's weight": (lambda cell: cell.inner(X), {"inner": torch.nn.Linear(1, 1)}, _replace_weight),
    "submodule's hook": (lambda cell: cell.inner(X), {"inner": torch.nn.Linear(1, 1)}, _hooked),
    "module list": (
        lambda cell: cell.inner[0](X),
        {"inner": torch.nn.ModuleList([torch.nn.Identity()])},
        lambda cell: operator.setitem(cell.inner, 0, torch.nn.Softplus()),
    ),
    "what a cell's own method reads": (
        lambda cell: float(cell.initial_state(2).h.shape[1]),
        {},
        change_attribute("state_size", HiddenState(h=2)),
    ),
    "function in an attribute": (
        lambda cell: cell.factor_of(1.0),
        {"factor_of": abs},
        change_attribute("factor_of", math.exp),
    ),
}


@pytest.mark.parametrize("kind", ATTRIBUTES)
def test_attributes(kind: str) -> None:
    factor, attributes, change = ATTRIBUTES[kind]
    # tables and tensors are changed: each run has its own, whatever order the tests have
    cell = Scaled(factor)
    for name, value in attributes.items():
        shared = isinstance(value, (weakref.ref, types.BuiltinMethodType))  # a copy would refer to nothing
        setattr(cell, name, value if shared else copy.deepcopy(value))
    check(cell, lambda: change(cell))


def test_the_class_of_an_object() -> None:
    class One:
        gain = 1.0

    class Two:
        gain = 2.0

    cell = Scaled(lambda cell: cell.a.gain, a=One())
    check(cell, lambda: setattr(cell.a, "__class__", Two))


def test_a_tensor_of_a_class_of_ones_own() -> None:
    class Own(Tensor):
        gain = 1.0

    cell = Scaled(lambda cell: cell.a.gain, a=torch.ones(1).as_subclass(Own))
    check(cell, lambda: setattr(Own, "gain", 2.0))
    check(cell, lambda: setattr(cell.a, "gain", 3.0))


def test_an_objects_dict_replaced() -> None:
    cell = Scaled(lambda cell: cell.a.x, a=SimpleNamespace(x=1.0))

    class Plain:
        pass

    cell.a = Plain()
    cell.a.x = 1.0
    check(cell, lambda: setattr(cell.a, "__dict__", {"x": 2.0}))


def test_values_of_tensors_are_free() -> None:
    cell = Scaled(lambda cell: cell.a * cell.b, a=torch.nn.Parameter(torch.ones(1)), b=torch.nn.Buffer(torch.ones(1)))
    guard = Guard.of(cell)
    with torch.no_grad():
        cell.a.fill_(3.0)
        cell.b.fill_(2.0)
    assert guard.holds()
    assert guard.opaque is None


def test_what_nobody_reads_is_free() -> None:
    cell = Scaled(lambda cell: cell.a, a=1.0, epoch=0)
    guard = Guard.of(cell)
    cell.epoch = 1
    cell.another = object()
    cell._rondeau_traces = {"a": guard}
    assert guard.holds()
    assert guard.holds()  # the names that came are known now
    cell._rondeau_traces["b"] = Guard.of(cell)
    del cell.another
    assert guard.holds()
    del cell._rondeau_traces
    assert guard.holds()
    cell.a = 2.0
    assert not guard.holds()


def test_traces_are_free_where_all_else_counts() -> None:
    cell = Scaled(lambda cell: vars(cell)["a"], a=1.0)
    guard = Guard.of(cell)
    cell._rondeau_traces = [guard]
    assert guard.holds()
    cell._rondeau_traces.append(guard)
    assert guard.holds()
    assert Guard.of(cell).holds()
    cell.b = 1
    assert not guard.holds()


def test_what_the_step_sets_never_holds() -> None:
    class Counting(Scaled):
        count = 0

        def step(self, x: Tensor, state: HiddenState) -> tuple[Tensor, HiddenState]:
            self.count += 1
            return super().step(self.count * x, state)

    cell = Counting()
    for _ in range(3):
        guard = Guard.of(cell)
        assert guard.holds()
        output(cell)
        assert not guard.holds()


# --- functions, globals, modules, classes -----------------------------------------------------------------------------

GAIN = 1.0
TABLE = {"gain": 1.0}
helpers = ModuleType("helpers_of_the_guards_tests")
SOURCE = """
GAIN = 1.0
def gain():
    return outer()
def outer():
    return inner() * GAIN
def inner():
    return 1.0
def __getattr__(name):
    return GAIN
"""
exec(SOURCE, vars(helpers))


@pytest.mark.parametrize(
    ("factor", "name", "value"),
    [
        (lambda cell: GAIN, "GAIN", 2.0),
        (lambda cell: sum([GAIN for _ in range(2)]), "GAIN", 2.0),
        (lambda cell: (lambda: GAIN)(), "GAIN", 2.0),
        (lambda cell: len([1]), "len", lambda x: 2.0),  # a global that hides a builtin
        (lambda cell: _reads_gain(), "GAIN", 2.0),
        (lambda cell: _reads_gain(), "_reads_gain", lambda: 3.0),
        (lambda cell: _calls_reads_gain(), "_reads_gain", lambda: 3.0),
        (lambda cell: TABLE["gain"], "TABLE", {"gain": 2.0}),
    ],
)
def test_globals(factor: Factor, name: str, value: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    check(Scaled(factor), lambda: monkeypatch.setitem(globals(), name, value))


def _reads_gain() -> float:
    return GAIN


def _calls_reads_gain() -> float:
    return _reads_gain()


def test_a_table_in_a_global(monkeypatch: pytest.MonkeyPatch) -> None:
    check(Scaled(lambda cell: TABLE["gain"]), lambda: monkeypatch.setitem(TABLE, "gain", 2.0))


@pytest.mark.parametrize("name", ["GAIN", "gain", "outer", "inner"])
@pytest.mark.parametrize(
    "factor",
    [
        lambda cell: helpers.gain(),
        lambda cell: (lambda module: module.gain())(helpers),  # the module itself is handed on
        lambda cell: getattr(helpers, NAME)(),
    ],
)
def test_other_modules(factor: Factor, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    check(Scaled(factor), lambda: monkeypatch.setattr(helpers, name, 2.0 if name == "GAIN" else lambda: 2.0))


def test_a_modules_getattr(monkeypatch: pytest.MonkeyPatch) -> None:
    check(Scaled(lambda cell: helpers.absent), lambda: monkeypatch.setattr(helpers, "GAIN", 2.0))


def test_imports_in_the_step(monkeypatch: pytest.MonkeyPatch) -> None:
    def factor(cell: Any) -> Any:
        import helpers_of_the_guards_tests as found  # type: ignore[import-not-found]

        return found.gain()

    assert Guard.of(Scaled(factor)).opaque == "the import of helpers_of_the_guards_tests"
    monkeypatch.setitem(sys.modules, helpers.__name__, helpers)
    check(Scaled(factor), lambda: monkeypatch.setattr(helpers, "GAIN", 2.0))


def test_a_library_patched(monkeypatch: pytest.MonkeyPatch) -> None:
    check(Scaled(lambda cell: torch.exp(X)), lambda: monkeypatch.setattr(torch, "exp", torch.sin))


def _keyword(*, gain: float = 1.0) -> float:
    return gain


def _default(gain: float = 1.0) -> float:
    return gain


def _table(gains: list[float] = [1.0]) -> float:  # noqa: B006
    return gains[0]


@pytest.mark.parametrize(
    ("function", "change"),
    [
        (_default, lambda f: setattr(f, "__defaults__", (2.0,))),
        (_default, lambda f: setattr(f, "__code__", (lambda gain: 3.0).__code__)),
        (_keyword, lambda f: setattr(f, "__kwdefaults__", {"gain": 2.0})),
        (_keyword, lambda f: f.__kwdefaults__.update(gain=2.0)),
        (_table, lambda f: operator.setitem(f.__defaults__[0], 0, 2.0)),
    ],
)
def test_functions(function: Any, change: Callable[[Any], None]) -> None:
    own = types.FunctionType(function.__code__, globals(), "own", copy.deepcopy(function.__defaults__))
    own.__kwdefaults__ = copy.deepcopy(function.__kwdefaults__)
    check(Scaled(lambda cell: own()), lambda: change(own))


def test_equal_defaults_of_another_type() -> None:
    def function(flag: Any = True) -> float:
        return 1.0 if flag is True else 2.0

    check(Scaled(lambda cell: function()), lambda: setattr(function, "__defaults__", (1,)))


def test_an_attribute_of_a_function() -> None:
    def bare(cell: Any) -> Any:
        return getattr(bare, "gain", 1.0)

    check(Scaled(bare), lambda: setattr(bare, "gain", 2.0))
    check(Scaled(bare), lambda: setattr(bare, "gain", 3.0))
    check(Scaled(bare), lambda: setattr(bare, "__dict__", {"gain": 4.0}))
    bare.__dict__.clear()
    check(Scaled(bare), lambda: setattr(bare, "__dict__", {"gain": 4.0}))


def test_closures() -> None:
    gain, table = 1.0, [1.0]

    def change() -> None:
        nonlocal gain
        gain = 2.0

    def nested() -> float:
        return gain

    check(Scaled(lambda cell: gain), change)
    gain = 1.0
    check(Scaled(lambda cell: nested()), change)
    check(Scaled(lambda cell: table[0]), lambda: table.insert(0, 2.0))


def test_a_closure_that_is_empty_at_first() -> None:
    def factor(cell: Any) -> float:
        try:
            return late
        except NameError:
            return 1.0

    cell = Scaled(factor)
    guard = Guard.of(cell)
    assert guard.holds()
    late = 2.0
    assert not guard.holds()
    assert Guard.of(cell).holds()
    guard = Guard.of(cell)
    del late
    assert not guard.holds()


def test_a_method_of_the_instance() -> None:
    cell = Scaled()
    check(cell, lambda: setattr(cell, "step", types.MethodType(lambda self, x, state: (3 * x, state), cell)))


def classes() -> Any:
    """A new class, so that it can be changed; with a base, a property, a class attribute, and methods of all kinds."""

    class Base(Scaled):
        gain = 1.0

        def lowest(self) -> float:
            return self.gain

    class Derived(Base):
        def step(self, x: Tensor, state: HiddenState) -> tuple[Tensor, HiddenState]:
            return super().step(self.middle * self.static() * self.of_class() * x, state)

        @property
        def middle(self) -> float:
            return self.lowest()

        @staticmethod
        def static() -> float:
            return 1.0

        @classmethod
        def of_class(cls) -> float:
            return cls.gain

    return Derived


@pytest.mark.parametrize(
    ("place", "name", "value"),
    [
        (0, "gain", 2.0),
        (1, "gain", 2.0),
        (0, "middle", 2.0),
        (0, "middle", property(lambda self: 2.0)),
        (0, "lowest", lambda self: 2.0),
        (1, "lowest", lambda self: 2.0),
        (0, "static", staticmethod(lambda: 2.0)),
        (0, "of_class", classmethod(lambda cls: 2.0)),
        (0, "step", lambda self, x, state: (3 * x, state)),
        (2, "step", lambda self, x, state: (3 * x, state)),
        (1, "__getattribute__", lambda self, name: 2.0 if name == "middle" else object.__getattribute__(self, name)),
    ],
)
def test_classes(place: int, name: str, value: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    kind = classes()
    check(kind(), lambda: monkeypatch.setattr(kind.__mro__[place], name, value, raising=False))


def test_a_name_removed_from_a_class() -> None:
    kind = classes()
    kind.gain = 3.0
    check(kind(), lambda: delattr(kind, "gain"))


def test_bases_replaced() -> None:
    kind = classes()

    class Other(Scaled):
        gain = 2.0

        def lowest(self) -> float:
            return 2.0

    check(kind(), lambda: setattr(kind, "__bases__", (Other,)))


def test_user_attribute_lookup() -> None:
    class Table:
        def __init__(self) -> None:
            self.kept = {"gain": 1.0}

        def __getattr__(self, name: str) -> Any:
            if name == "kept":
                raise AttributeError(name)
            return self.kept[name]

    cell = Scaled(lambda cell: cell.a.gain, a=Table())
    check(cell, lambda: cell.a.kept.update(gain=2.0))


def test_operators_and_calls_of_objects() -> None:
    class Times:
        def __init__(self, gain: float) -> None:
            self.gain = gain

        def __mul__(self, other: Tensor) -> Tensor:
            return self.gain * other

        def __call__(self) -> float:
            return self.gain

    cell = Scaled(lambda cell: cell.a, a=Times(1.0))
    check(cell, lambda: setattr(cell.a, "gain", 2.0))
    check(cell, lambda: setattr(Times, "__mul__", lambda self, other: 5 * other))
    cell = Scaled(lambda cell: cell.a(), a=Times(1.0))
    check(cell, lambda: setattr(Times, "__call__", lambda self: 5.0))


def test_class_patterns() -> None:
    class Point:
        __match_args__ = (NAME,)

    def factor(cell: Any) -> Any:
        match cell.a:
            case Point(value):
                return value

    cell = Scaled(factor, a=Point())
    vars(cell.a)[NAME] = 1.0
    check(cell, lambda: vars(cell.a).update({NAME: 2.0}))


@pytest.mark.parametrize(
    "factor",
    [
        lambda cell: type(cell.a)().gain,
        lambda cell: cell.a.__class__().gain,
        lambda cell: cell.a.make().gain,
        lambda cell: cell.kind().gain,
    ],
)
def test_objects_made_anew(factor: Factor, monkeypatch: pytest.MonkeyPatch) -> None:
    class Made:
        def __init__(self) -> None:
            self.gain = GAIN

        @classmethod
        def make(cls) -> Any:
            return cls()

    check(Scaled(factor, a=Made(), kind=Made), lambda: monkeypatch.setitem(globals(), "GAIN", 2.0))


def test_a_module_of_the_users_inside() -> None:
    class Gain(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.gain = 1.0

        def forward(self, x: Tensor) -> Tensor:
            return self.gain * x

    cell = Scaled(lambda cell: cell.inner(X), inner=Gain())
    check(cell, lambda: setattr(cell.inner, "gain", 2.0))
    check(cell, lambda: cell.inner.register_forward_hook(lambda module, given, result: 2 * result))
    check(cell, lambda: setattr(cell.inner, "forward", lambda x: 5 * x))
    del cell.inner.forward
    check(cell, lambda: setattr(Gain, "forward", lambda self, x: 6 * x))


def test_a_librarys_module_extended() -> None:
    class Own(torch.nn.LayerNorm):
        pass

    cell = Scaled(lambda cell: cell.inner(torch.tensor([1.0, 3.0]))[:1], inner=Own(2))
    check(cell, lambda: setattr(cell.inner, "eps", 2.0))


def test_a_method_that_a_librarys_module_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    class Own(torch.nn.Conv1d):
        def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
            return GAIN * input

    cell = Scaled(lambda cell: cell.inner(X), inner=Own(1, 1, 1))
    check(cell, lambda: monkeypatch.setitem(globals(), "GAIN", 2.0))


def test_a_cell_called_as_a_module(monkeypatch: pytest.MonkeyPatch) -> None:
    class Drawing(Cell):
        state_size, output_size, per_row = HiddenState(h=1), 1, ("drawn",)

        def draw(self, lengths: Tensor, generator: torch.Generator | None) -> dict[str, Any]:
            return {"drawn": torch.full((len(lengths), 1), GAIN)}

        def step(self, x: Tensor, state: HiddenState, context: Any) -> tuple[Tensor, HiddenState]:
            return context.drawn * x, state

    cell = Scaled(lambda cell: cell.inner(X, torch.zeros(2, 1))[0], inner=Drawing())
    check(cell, lambda: monkeypatch.setitem(globals(), "GAIN", 2.0))


def test_a_metaclass(monkeypatch: pytest.MonkeyPatch) -> None:
    class Meta(type):
        @property
        def gain(cls) -> float:
            return GAIN

    class Kind(metaclass=Meta):
        pass

    check(Scaled(lambda cell: Kind.gain), lambda: monkeypatch.setitem(globals(), "GAIN", 2.0))


def test_a_users_module_with_a_librarys_name(monkeypatch: pytest.MonkeyPatch) -> None:
    own = ModuleType("statistics")
    own.__file__ = "/somewhere/else/statistics.py"
    exec(SOURCE, vars(own))
    check(Scaled(lambda cell: own.gain()), lambda: monkeypatch.setattr(own, "GAIN", 2.0))


def test_a_class_that_is_only_asked_about() -> None:
    class Own(Scaled):
        def __init__(self) -> None:
            super().__init__(gain=random.random())

        def step(self, x: Tensor, state: HiddenState) -> tuple[Tensor, HiddenState]:
            return super().step(x if isinstance(self, Own) else 2 * x, state)

    assert Guard.of(Own()).opaque is None


def test_a_weak_reference_to_what_dies() -> None:
    kept = [Settings(1.0)]
    cell = Scaled(lambda cell: 1.0 if cell.a() is None else 2.0, a=weakref.ref(kept[0]))
    guard = Guard.of(cell)
    assert guard.holds()
    kept.clear()
    gc.collect()
    assert not guard.holds() or cell.a() is not None
    tensors = [torch.zeros(1)]
    cell.a = weakref.ref(tensors[0])
    guard = Guard.of(cell)
    tensors.clear()
    assert not guard.holds() or cell.a() is not None


def test_an_autograd_function() -> None:
    gains = [1.0]

    class Times(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            return gains[0] * x

        @staticmethod
        def backward(ctx: Any, grad: Tensor) -> Tensor:
            return gains[0] * grad

    check(Scaled(lambda cell: Times.apply(X)), lambda: gains.insert(0, 2.0))


def test_a_parametrised_weight() -> None:
    class Times(torch.nn.Module):
        gain = 1.0

        def forward(self, weight: Tensor) -> Tensor:
            return self.gain * weight

    cell = Scaled(lambda cell: cell.inner(X), inner=torch.nn.Linear(1, 1, bias=False))
    torch.nn.utils.parametrize.register_parametrization(cell.inner, "weight", Times())
    check(cell, lambda: setattr(Times, "gain", 2.0))
    cell = Scaled(lambda cell: cell.inner(X), inner=torch.nn.Linear(1, 1, bias=False))
    check(cell, lambda: torch.nn.utils.parametrize.register_parametrization(cell.inner, "weight", Times()))


def test_hooks_on_all_modules() -> None:
    cell = Scaled(lambda cell: cell.inner(X), inner=torch.nn.Identity())
    handles: list[Any] = []

    def change() -> None:
        hook = torch.nn.modules.module.register_module_forward_hook(lambda module, given, result: 2 * result)
        handles.append(hook)

    try:
        check(cell, change)
    finally:
        handles[0].remove()


# --- functions that libraries wrap ------------------------------------------------------------------------------------


@contextlib.contextmanager
def _entered(gains: list[float]) -> Iterator[float]:
    yield gains[0] * GAIN


def _within(gains: list[float]) -> float:
    with _entered(gains) as gain:
        return gain


def _typed(gains: list[float]) -> float:
    return gains[0] * GAIN


def _of_tensor(x: Float[Tensor, "batch one"]) -> Float[Tensor, "batch one"]:
    return GAIN * x


@pytest.mark.parametrize(
    "wrapped",
    [
        _within,
        beartype(_typed),
        jaxtyped(typechecker=beartype)(_typed),
        jaxtyped(typechecker=None)(_typed),
        torch.no_grad()(_typed),
        functools.wraps(_typed)(lambda gains: _typed(gains)),
        functools.singledispatch(_typed),
        functools.partial(_typed),
    ],
)
def test_wrapped_functions(wrapped: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    gains = [1.0]
    check(Scaled(lambda cell: wrapped(gains)), lambda: monkeypatch.setitem(globals(), "GAIN", 2.0))
    check(Scaled(lambda cell: wrapped(gains)), lambda: gains.insert(0, 2.0))


library = ModuleType("einops.of_the_guards_tests")
exec(
    "def wrap(held):\n    def inner():\n        return held[0]() if callable(held[0]) else held[0]\n    return inner",
    vars(library),
)


@pytest.mark.parametrize("first", [0, 1])
def test_what_a_library_holds_for_the_user(first: int, monkeypatch: pytest.MonkeyPatch) -> None:
    wrapped = library.wrap([_reads_gain])
    check(Scaled(lambda cell: wrapped()), lambda: monkeypatch.setitem(globals(), "GAIN", 2.0))
    gains = [1.0]
    both = [[[gains]], library.wrap(gains)] if first else [library.wrap(gains), [[gains]]]
    check(Scaled(lambda cell: both[1 - first][0][0][0] * (both[first]() > 0)), lambda: gains.insert(0, 2.0))


def test_shapes_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    checked = jaxtyped(typechecker=beartype)(_of_tensor)
    check(Scaled(lambda cell: checked(X)), lambda: monkeypatch.setitem(globals(), "GAIN", 2.0))


def test_a_dispatched_function() -> None:
    @functools.singledispatch
    def gain(value: object) -> float:
        return 1.0

    check(Scaled(lambda cell: gain(3)), lambda: gain.register(int, lambda value: 2.0))


def test_a_cached_function(monkeypatch: pytest.MonkeyPatch) -> None:
    gains = [1.0]

    @functools.lru_cache
    def cached() -> float:
        return gains[0]

    cell = Scaled(lambda cell: cached())
    output(cell)
    guard = Guard.of(cell)
    assert guard.holds()
    gains[0] = 2.0
    assert not guard.holds()
    guard = Guard.of(cell)
    assert output(cell).tolist() == [[1.0], [1.0]]  # kept still
    assert guard.holds()
    cached.cache_clear()
    output(cell)
    cached.cache_clear()
    assert not guard.holds()


def test_a_cached_property() -> None:
    class Lazy:
        gain = 1.0

        @functools.cached_property
        def total(self) -> float:
            return self.gain

    cell = Scaled(lambda cell: cell.a.total, a=Lazy())
    check(cell, lambda: setattr(cell.a, "total", 2.0))


# --- what cannot be watched -------------------------------------------------------------------------------------------

_now = time.time
_alias = random
_folder = tempfile.gettempdir


@pytest.mark.parametrize(
    ("factor", "attributes", "expected"),
    [
        (lambda cell: cell.rng.random(), {"rng": random.Random(0)}, "self.rng, a random.Random"),
        (
            lambda cell: cell.rng.random(),
            {"rng": np.random.default_rng(0)},
            "self.rng, a numpy.random._generator.Generator",
        ),
        (lambda cell: cell.a[0], {"a": np.ones(1)}, "self.a, a numpy.ndarray"),
        (lambda cell: next(cell.a), {"a": itertools.count(1)}, "self.a, an itertools.count"),
        (lambda cell: next(cell.a["x"][0]), {"a": {"x": [iter([1.0] * 9)]}}, "self.a['x'][0], a list_iterator"),
        (lambda cell: next(cell.a), {"a": (i for i in range(9))}, "self.a, a generator"),
        (lambda cell: cell.a[0], {"a": bytearray(b"a")}, "self.a, a bytearray"),
        (lambda cell: cell.a(), {"a": random.Random(0).random}, "self.a.__self__, a random.Random"),
        (lambda cell: cell.a.initial_seed(), {"a": torch.Generator()}, "self.a, a torch._C.Generator"),
        (lambda cell: cell.a, {"a": dict.fromkeys(range(30_000), 1.0)}, "self.a, among more than 20000 values"),
        (lambda cell: time.time(), {}, "time.time"),
        (lambda cell: _now(), {}, "time.time"),
        (lambda cell: len(_folder()), {}, "tempfile.gettempdir"),
        (lambda cell: random.random(), {}, "random.random"),
        (lambda cell: _alias.random(), {}, "random.random"),
        (lambda cell: (lambda module: module.random())(random), {}, "the module random"),
        (lambda cell: np.random.rand(), {}, "numpy.random"),
        (lambda cell: (lambda module: module.random.rand())(np), {}, "numpy.random"),
        (lambda cell: float(os.environ.get("GAIN", 1.0)), {}, "os.environ"),
        (lambda cell: len(sys.argv), {}, "sys.argv"),
        (lambda cell: torch.initial_seed() % 5, {}, "torch.initial_seed"),
        (lambda cell: id(cell) % 5, {}, "id"),
        (lambda cell: eval("1.0"), {}, "eval"),
        (lambda cell: globals()["GAIN"], {}, "globals"),
        (lambda cell: _reads_gain.__globals__["GAIN"], {}, "__globals__"),
        (lambda cell: cell.factor_of(), {"factor_of": input}, "builtins.input"),
    ],
)
def test_opaque(factor: Factor, attributes: dict[str, Any], expected: str) -> None:
    guard = Guard.of(Scaled(factor, **attributes))
    assert guard.opaque == expected
    assert not guard.holds()


def test_a_class_that_hides_its_state() -> None:
    class Own(random.Random):
        pass

    guard = Guard.of(Scaled(lambda cell: cell.a.random(), a=Own(0)))
    assert guard.opaque is not None
    assert guard.opaque.startswith("self.a, a ")


def test_what_the_step_does_not_read_may_be_opaque() -> None:
    class Drawing(Scaled):
        def draw(self, lengths: Tensor, generator: torch.Generator | None) -> dict[str, Any]:
            return {"noise": torch.full((len(lengths),), self.rng.random() + time.time())}

    cell = Drawing(rng=random.Random(0), log=open(os.devnull))  # noqa: SIM115
    guard = Guard.of(cell)
    assert guard.opaque is None
    assert guard.holds()
    cell.log.close()


def test_pure_functions_of_the_standard_library() -> None:
    cell = Scaled(lambda cell: math.pi * operator.add(1.0, functools.reduce(max, [1.0])) * sys.float_info.max)
    assert Guard.of(cell).opaque is None


# --- the rest ---------------------------------------------------------------------------------------------------------


def built(cell: Cell, features: int = 3) -> Cell:
    cell.build_for(features)
    return cell


@pytest.mark.parametrize(
    "make",
    [
        lambda: LSTMCell(4),
        lambda: LSTMCell(4, dropout=0.5, recurrent_dropout=0.5, seed=1, kernel_regularizer="l2"),
        lambda: GRUCell(4),
        lambda: GRUCell(4, reset_after=False),
        lambda: SimpleRNNCell(4, activation=torch.relu),
        lambda: StackedRNNCells([LSTMCell(4, seed=1, dropout=0.5), GRUCell(3)]),
        lambda: AttentionCell(GRUCell(4)),
        lambda: AttentionCell(LSTMCell(4), score="dot"),
    ],
)
def test_built_in_cells(make: Callable[[], Any], monkeypatch: pytest.MonkeyPatch) -> None:
    cell = built(make())
    cell.generator()  # a seed's generator is of no concern to the step
    guard = Guard.of(cell)
    assert guard.opaque is None
    assert guard.holds()
    cell.epoch = 1
    assert guard.holds()
    cell.eval()
    assert not guard.holds()
    guard = Guard.of(cell)
    with torch.no_grad():
        for parameter in cell.parameters():
            parameter.add_(1.0)
    assert guard.holds()
    inner = cell.cells[0] if isinstance(cell, StackedRNNCells) else getattr(cell, "cell", cell)
    inner.bias = None
    assert not guard.holds()
    guard = Guard.of(cell)
    inner.activation = activations.relu
    assert not guard.holds()
    guard = Guard.of(cell)
    monkeypatch.setattr(type(inner), "step", lambda self, x, state, context: (x, state))
    assert not guard.holds()


def test_computed_names_in_a_cell_with_weights() -> None:
    class Named(LSTMCell):
        def step(self, x: Any, state: Any, context: Any) -> Any:
            for name in ("kernel", "bias"):
                x = x @ getattr(self, name)[: x.shape[-1]]
            return super().step(x, state, context)

    cell = built(Named(4, kernel_regularizer="l2", kernel_initializer="he_normal", seed=1, dropout=0.5))
    cell.generator()
    guard = Guard.of(cell)
    assert guard.opaque is None
    assert guard.holds()
    cell.units = 5
    assert not guard.holds()


def test_only_the_context_is_let_off() -> None:
    """Names computed for the context need no watching, but for an argument of that name elsewhere they do."""

    class Options:
        gain = 1.0

    class Other:
        def step(self, x: Any, state: Any, context: Any) -> Any:
            return getattr(context, NAME)

    cell = Scaled(lambda cell: Other().step(None, None, cell.options), options=Options())
    check(cell, lambda: setattr(cell.options, "gain", 2.0))


@pytest.mark.parametrize("reading", ["stored", "either", "argument", "attribute"])
def test_a_context_that_is_something_else(reading: str) -> None:
    def stored(self: Any, x: Any, state: Any, context: Any) -> Any:
        context = self
        return getattr(context, NAME) * x, state

    def either(self: Any, x: Any, state: Any, context: Any) -> Any:
        return getattr(context or self, NAME) * x, state

    def argument(self: Any, x: Any, state: Any, context: Any) -> Any:
        return (lambda context: getattr(context, NAME))(self) * x, state

    def attribute(self: Any, x: Any, state: Any, context: Any) -> Any:
        return getattr(context.cell, NAME) * x, state

    class Own(Scaled):
        step = {"stored": stored, "either": either, "argument": argument, "attribute": attribute}[reading]

    for function in (stored, either, argument, attribute):
        function.__code__ = function.__code__.replace(co_name="step")
    cell = Own(gain=1.0)
    guard = Guard.of(cell)
    cell.gain = 2.0
    assert not guard.holds()


def test_cycles_and_collection() -> None:
    cell = Scaled(lambda cell: cell.a["self"][0].gain, gain=1.0)
    object.__setattr__(cell, "a", {})
    cell.a["self"] = [cell, cell.a]
    check(cell, lambda: setattr(cell, "gain", 2.0))
    cell._rondeau_traces = [Guard.of(cell)]
    dead = weakref.ref(cell)
    del cell
    gc.collect()
    assert dead() is None


def test_no_code_of_the_users_runs() -> None:
    ran = []

    class Telling:
        gain = 1.0

        def __getattribute__(self, name: str) -> Any:
            ran.append(name)
            return object.__getattribute__(self, name)

        def __eq__(self, other: object) -> bool:
            ran.append("__eq__")
            return True

        def __hash__(self) -> int:
            ran.append("__hash__")
            return 1

        def __len__(self) -> int:
            ran.append("__len__")
            return 0

        def __repr__(self) -> str:
            ran.append("__repr__")
            return ""

        @property
        def value(self) -> float:
            ran.append("value")
            return 1.0

    cell = Scaled(lambda cell: cell.a.value * cell.b[0].value, a=Telling(), b=[Telling(), {Telling(): Telling()}])
    ran.clear()
    guard = Guard.of(cell)
    assert guard.holds()
    assert guard.opaque is None
    cell.b[0] = Telling()
    assert not guard.holds()
    assert ran == []


def test_a_list_with_an_iterator_of_its_own_is_opaque() -> None:
    class Own(list[float]):
        def __iter__(self) -> Iterator[float]:
            return iter([1.0])

    guard = Guard.of(Scaled(lambda cell: sum(cell.a), a=Own()))
    assert guard.opaque is not None
