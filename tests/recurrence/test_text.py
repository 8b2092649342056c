"""Steps as text: the same graph and the same kernels come back, and what is no step is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rondeau.cells import Cell, GRUCell, HiddenState, LSTMCell, SimpleRNNCell
from rondeau.cells.base import sizes, state_leaves
from rondeau.errors import CheckpointError, RondeauError, SaveError
from rondeau.recurrence.extent import known
from rondeau.recurrence.ir import Graph
from rondeau.recurrence.legal import Illegal, check
from rondeau.recurrence.loops import Loops
from rondeau.recurrence.text import read, write
from rondeau.recurrence.trace.step import Inputs, Step, trace

F32 = torch.float32


class Odd(Cell):
    """Much of what a graph can hold: several axes, a buffer of whole numbers, an operation outside, reductions."""

    per_row = ("memory",)

    def __init__(self, units: int) -> None:
        super().__init__()
        self.state_size, self.output_size = HiddenState(h=units), 3
        self.kernel = torch.nn.Parameter(torch.randn(5, 3 * units))
        self.raw = torch.nn.Parameter(torch.randn(units, units))
        self.register_buffer("order", torch.arange(units).flip(0))

    def step(self, x: Any, state: Any, context: Any) -> Any:
        weight = self.raw / self.raw.abs().max(0).values
        a, b, c = (x @ self.kernel).chunk(3, -1)
        h = torch.where(a > 0.5, b, torch.tanh(c + state.h @ weight))[:, self.order.numel() - 3 :]
        scores = torch.softmax((context.memory @ weight[:, :3].t() * state.h[:, None, :]).sum(-1), -1)
        h = torch.cat([h, h.flip(-1)], -1)[:, : self.state_size.h] + scores.amax(-1, keepdim=True)
        return torch.nn.functional.layer_norm(h, h.shape[1:])[:, :3] * float("0.1"), HiddenState(h)


def step_of(cell: Cell, features: int = 5, train: bool = True, context: Any = ()) -> Step:
    cell.build_for(features)
    states = tuple((sizes(size), F32) for _, size in state_leaves(cell.state_size))
    return trace(cell, Inputs(((features,), F32), states, context, F32, frozenset({"x"}) if train else None))


STEPS: dict[str, Callable[[], Step]] = {
    "lstm": lambda: step_of(LSTMCell(4)),
    "lstm, inference": lambda: step_of(LSTMCell(4), train=False),
    "gru": lambda: step_of(GRUCell(4)),
    "gru, reset before": lambda: step_of(GRUCell(4, reset_after=False)),
    "simple": lambda: step_of(SimpleRNNCell(1, use_bias=False)),
    "odd": lambda: step_of(Odd(6), context=(("memory", False, ("m0", 3), F32),)),
    "odd, inference": lambda: step_of(Odd(6), train=False, context=(("memory", False, (7, 3), F32),)),
}
TEXTS = {name: write(make()) for name, make in STEPS.items()}


@pytest.mark.parametrize("name", STEPS)
def test_the_same_kernels_come_back(name: str) -> None:
    step = STEPS[name]()
    again = read(write(step))
    loops, others = Loops(step, F32), Loops(again, F32)
    assert others.inference.text == loops.inference.text
    if step.gradients:
        assert others.training.text == loops.training.text
        assert others.backward.text == loops.backward.text
        assert [n.index for n in others.split.after.values()] == [n.index for n in loops.split.after.values()]
    assert list(again.gradients) == list(step.gradients)
    assert [(t.shape, t.dtype) for t in again.captured] == [(t.shape, t.dtype) for t in step.captured]
    assert all(t.is_meta for t in again.captured)
    assert write(again) == write(step)


def test_nodes_come_back_with_their_types() -> None:
    step = STEPS["odd"]()
    for node, other in zip(step.graph.nodes, read(write(step)).graph.nodes, strict=True):
        assert repr(node) == repr(other)
        assert (node.shape, node.attrs, node.rows) == (other.shape, other.attrs, other.rows)
        for size in (1, 9):  # sizes of memories are still open
            assert known(node.shape, {"m0": size}) == known(other.shape, {"m0": size})


@pytest.mark.parametrize("value", [0.1, 1e-300, float("inf"), float("-inf"), float("nan"), -0.0, True, 7])
def test_numbers_are_exact(value: Any) -> None:
    step = step_of(SimpleRNNCell(2), train=False)
    step.graph.make("aten", (), (), "float", ("aten.scalar_tensor.default", (("list", ("value", value)), ("list",))))
    got = read(write(step)).graph.nodes[-1].attrs[1][0][1][1]
    assert type(got) is type(value)
    assert repr(got) == repr(value)


def test_what_is_no_number_is_not_written() -> None:
    step = step_of(SimpleRNNCell(2), train=False)
    step.graph.make("aten", (), (), "float", ("aten.zeros.default", (("list", ("value", object())), ("list",))))
    with pytest.raises(SaveError, match="cannot be written"):
        write(step)


@given(st.sampled_from(sorted(TEXTS)), st.data())
def test_damaged_text_is_refused_or_means_the_same(name: str, data: st.DataObject) -> None:
    """Whatever becomes of the characters: an error of ours, or a legal graph."""
    text = TEXTS[name]
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, min(len(text), start + 6)))
    damaged = text[:start] + data.draw(st.text('0123456789-",[]{}:eainput.\u0000', max_size=4)) + text[end:]
    try:
        step = read(damaged)
    except CheckpointError:
        return
    check(step.graph.nodes)


def _leaves(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(p for k, v in inner for p in _leaves(v, (*path, k)))]


@given(st.sampled_from(sorted(TEXTS)), st.data())
def test_another_value_at_any_place_is_refused_or_legal(name: str, data: st.DataObject) -> None:
    content = json.loads(TEXTS[name])
    *path, last = data.draw(st.sampled_from(_leaves(content)[1:]))
    inner = content
    for key in path:
        inner = inner[key]
    other = st.one_of(st.integers(-3, 200), st.none(), st.text(max_size=3), st.floats(), st.just([]), st.just({}),
                      st.just([[1]]), st.booleans(), st.just(1 << 70), st.just("shape"))  # fmt: skip
    inner[last] = data.draw(other)
    try:
        step = read(json.dumps(content))
    except CheckpointError:
        return
    check(step.graph.nodes)


@pytest.mark.parametrize("text", ["", "{}", "[]", "null", "[" * 100_000, '{"rondeau step": 1}', '{"rondeau step": []}'])
def test_foreign_text_is_refused(text: str) -> None:
    with pytest.raises(CheckpointError):
        read(text)


def test_newer_text_is_refused_by_its_version() -> None:
    with pytest.raises(CheckpointError, match="expected version 1, got 2"):
        read(TEXTS["gru"].replace('"rondeau step":1', '"rondeau step":2'))


@pytest.mark.parametrize(
    ("op", "shape", "attrs", "what"),
    [
        ("view", (4,), ((1, ((0, 1),)),), "reads outside"),
        ("view", (4,), ((0, ((0, -1),)),), "reads outside"),
        ("reshape", (2, 3), (0, (2, 1)), "reads outside"),
        ("reshape", (2, 2), (-1, (2, 1)), "reads outside"),
        ("copy", (5,), (), "shapes differ"),
        ("cat", (5,), (0,), "do not fill"),
        ("reduce", (4,), ("sum", (0,)), "shapes differ"),
        ("reduce", (), ("mean", (0,)), "no such reduction"),
        ("tanh", (5,), (), "shapes differ"),
        ("add", (4,), (), "2 arguments"),
        ("item", (4,), (0,), "no such item"),
        ("unheard", (4,), (), "no such operation"),
        ("copy", (1 << 41,), (), "no possible shape"),
    ],
)
def test_what_reads_outside_its_argument_is_illegal(op: str, shape: Any, attrs: Any, what: str) -> None:
    graph = Graph()
    x = graph.input("step", "x", (4,))
    check(graph.nodes)
    graph.make(op, (x,), shape, "float", attrs)
    with pytest.raises(Illegal, match=what):
        check(graph.nodes)


@pytest.mark.parametrize("name", ["aten.add_.Tensor", "aten.nothing.default", "os.system", "load_library", "__class__"])
def test_only_pure_operations_of_torch_run_outside(name: str) -> None:
    graph = Graph()
    p = graph.input("param", "0", (4,))
    template = (("list", ("node", 0), ("node", 0)), ("list",))
    graph.make("aten", (p,), (4,), "float", ("aten.add.Tensor", template), rows=False)
    check(graph.nodes)
    graph.make("aten", (p,), (4,), "float", (name, template), rows=False)
    with pytest.raises(Illegal):
        check(graph.nodes)


def test_a_slice_longer_than_the_memory_is_illegal_where_the_memory_is_short() -> None:
    step = STEPS["odd"]()
    check(step.graph.nodes, {"m0": 1})
    memory = next(n for n in step.graph.nodes if n.attrs == ("row", "memory"))
    step.graph.make("view", (memory,), (3, 3), "float", ((0, ((0, 1),)), (0, ((1, 1),))))
    check(step.graph.nodes, {"m0": 3})
    with pytest.raises(Illegal, match="reads outside"):
        check(step.graph.nodes, {"m0": 2})


def test_errors_are_of_the_one_family() -> None:
    assert issubclass(CheckpointError, RondeauError)
    with pytest.raises(CheckpointError, match="Export the program again"):
        read(TEXTS["lstm"][:-1])
