"""Graphs of views, parts and reductions mean what torch's do, whatever they are simplified to."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from rondeau.recurrence.ir import Graph, Node, ancestors, decompose, strides_of, value_of
from rondeau.recurrence.legal import check
from rondeau.recurrence.recipe import evaluate

ROWS = 2
Draw = Callable[..., Any]
Pair = tuple[Node, Tensor]  # a node and what it stands for, rows first

shapes = st.lists(st.integers(1, 4), min_size=1, max_size=3).map(tuple)


# -- affine indices


def reads(offset: int, shape: tuple[int, ...], strides: tuple[int, ...]) -> list[int]:
    """The flat places that a view reads."""
    return [
        offset + sum(i * s for i, s in zip(index, strides, strict=True))
        for index in itertools.product(*map(range, shape))
    ]


@st.composite
def windows(draw: st.DrawFn) -> tuple[int, tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
    """Offset, shape and strides of a view, and the shape of a base that it does not leave."""
    base = draw(shapes)
    size = len(reads(0, base, strides_of(base)))
    shape = draw(st.lists(st.integers(1, 3), max_size=3).map(tuple))
    strides = tuple(draw(st.integers(-size, size)) for _ in shape)
    flat = reads(0, shape, strides)
    low, high = -min(flat), size - 1 - max(flat)
    if low > high:
        return 0, (), (), base
    return draw(st.integers(low, high)), shape, strides, base


@given(windows())
def test_an_index_by_axes_is_the_flat_index(
    window: tuple[int, tuple[int, ...], tuple[int, ...], tuple[int, ...]],
) -> None:
    offset, shape, strides, base = window
    maps = decompose(offset, shape, strides, base)
    if maps is None:
        return
    found = []
    for index in itertools.product(*map(range, shape)):
        along = [start + sum(index[a] * f for a, f in terms) for start, terms in maps]
        assert all(0 <= i < n for i, n in zip(along, base, strict=True))
        found.append(sum(i * s for i, s in zip(along, strides_of(base), strict=True)))
    assert found == reads(offset, shape, strides)


@given(shapes, st.data())
def test_slices_and_turned_axes_have_an_index_by_axes(base: tuple[int, ...], data: st.DataObject) -> None:
    """So that only what really merges axes, or splits one, has to lie in memory."""
    order = data.draw(st.permutations(range(len(base))))
    starts = [data.draw(st.integers(0, n - 1)) for n in base]
    shape = tuple(data.draw(st.integers(1, base[a] - starts[a])) for a in order)
    own = strides_of(base)
    offset = sum(s * t for s, t in zip(starts, own, strict=True))
    assert decompose(offset, shape, [own[a] for a in order], base) is not None


# -- graphs beside tensors


def permuted(draw: Draw, g: Graph, node: Node, tensor: Tensor) -> Pair:
    order = draw(st.permutations(range(len(node.shape))))
    own = strides_of(node.shape)
    shape = [node.shape[a] for a in order]
    return g.view(node, 0, shape, [own[a] for a in order]), tensor.permute(0, *(a + 1 for a in order))


def sliced(draw: Draw, g: Graph, node: Node, tensor: Tensor) -> Pair:
    axis = draw(st.integers(0, len(node.shape) - 1))
    start = draw(st.integers(0, node.shape[axis] - 1))
    step = draw(st.integers(1, 2))
    end = draw(st.integers(start + 1, node.shape[axis]))
    expected = tensor[(slice(None),) * (axis + 1) + (slice(start, end, step),)]
    own = strides_of(node.shape)
    strides = [s * (step if a == axis else 1) for a, s in enumerate(own)]
    return g.view(node, start * own[axis], tuple(expected.shape[1:]), strides), expected


def flipped(draw: Draw, g: Graph, node: Node, tensor: Tensor) -> Pair:
    axis = draw(st.integers(0, len(node.shape) - 1))
    own = strides_of(node.shape)
    strides = [-s if a == axis else s for a, s in enumerate(own)]
    return g.view(node, own[axis] * (node.shape[axis] - 1), node.shape, strides), tensor.flip(axis + 1)


def expanded(draw: Draw, g: Graph, node: Node, tensor: Tensor) -> Pair:
    shape = tuple(draw(st.integers(1, 3)) if n == 1 else n for n in node.shape)
    return g.expand(node, shape), tensor.expand(ROWS, *shape)


def in_front(draw: Draw, g: Graph, node: Node, tensor: Tensor) -> Pair:
    count = draw(st.integers(1, 3))
    return g.expand(node, (count, *node.shape)), tensor[:, None].expand(ROWS, count, *node.shape)


def flattened(draw: Draw, g: Graph, node: Node, tensor: Tensor) -> Pair:
    return g.view(node, 0, (node.size,), (1,)), tensor.flatten(1)


def split(draw: Draw, g: Graph, node: Node, tensor: Tensor) -> Pair:
    factor = draw(st.sampled_from([n for n in range(1, node.size + 1) if node.size % n == 0]))
    shape = (factor, node.size // factor)
    return g.view(node, 0, shape, strides_of(shape)), tensor.reshape(ROWS, *shape)


def joined(draw: Draw, g: Graph, node: Node, tensor: Tensor) -> Pair:
    axis = draw(st.integers(0, len(node.shape) - 1))
    other, expected = draw(st.sampled_from([sliced, flipped, itself]))(draw, g, node, tensor)
    if any(n != m for a, (n, m) in enumerate(zip(node.shape, other.shape, strict=True)) if a != axis):
        return node, tensor
    return g.cat([node, other, node], axis), torch.cat([tensor, expected, tensor], axis + 1)


def itself(draw: Draw, g: Graph, node: Node, tensor: Tensor) -> Pair:
    return node, tensor


def reduced(draw: Draw, g: Graph, node: Node, tensor: Tensor) -> Pair:
    axes = draw(st.sets(st.integers(0, len(node.shape) - 1), max_size=len(node.shape) - 1))
    kind, function = draw(st.sampled_from([("sum", torch.sum), ("max", torch.amax), ("min", torch.amin)]))
    if not axes:
        return node, tensor
    return g.reduce(kind, node, list(axes)), function(tensor, dim=[a + 1 for a in axes])


def squeezed(draw: Draw, g: Graph, node: Node, tensor: Tensor) -> Pair:
    """A reduction over axes of size 1."""
    own, place = strides_of(node.shape), draw(st.integers(0, len(node.shape)))
    shape = (*node.shape[:place], 1, *node.shape[place:])
    longer = g.view(node, 0, shape, (*own[:place], 0, *own[place:]))
    return g.reduce(draw(st.sampled_from(["sum", "max", "min"])), longer, [place]), tensor


def windowed(draw: Draw, g: Graph, node: Node, tensor: Tensor) -> Pair:
    """Windows that overlap, along the last axis: elements at the sum of two indices."""
    size = draw(st.integers(1, node.shape[-1]))
    expected = tensor.unfold(-1, size, 1)
    return g.view(node, 0, tuple(expected.shape[1:]), (*strides_of(node.shape), 1)), expected


def diagonal(draw: Draw, g: Graph, node: Node, tensor: Tensor) -> Pair:
    if len(node.shape) < 2:
        return node, tensor
    expected = tensor.diagonal(dim1=-2, dim2=-1)
    *rest, a, b = strides_of(node.shape)
    return g.view(node, 0, tuple(expected.shape[1:]), (*rest, a + b)), expected


def shifted(draw: Draw, g: Graph, node: Node, tensor: Tensor) -> Pair:
    value = draw(st.sampled_from([0.0, 1.0, 2.0]))
    op, function = draw(st.sampled_from([("add", torch.add), ("mul", torch.mul), ("sub", torch.sub)]))
    return g.pointwise(op, node, g.const(value)), function(tensor, value)


MOVES: list[Callable[..., Pair]] = [
    permuted, sliced, sliced, flipped, expanded, in_front, flattened, split, joined, reduced, squeezed, shifted,
    windowed, diagonal,
]  # fmt: skip


@given(shapes, st.data())
def test_a_chain_of_rearrangements_is_torchs(shape: tuple[int, ...], data: st.DataObject) -> None:
    g = Graph()
    first = node = g.input("step", "x", shape)
    start = tensor = torch.arange(ROWS * node.size, dtype=torch.float64).view(ROWS, *shape)
    for move in data.draw(st.lists(st.sampled_from(MOVES), max_size=6)):
        if node.size > 200 or len(node.shape) > 4:
            break
        node, tensor = move(data.draw, g, node, tensor)
        assert node.shape == tuple(tensor.shape[1:])
    check(g.nodes)
    assert node.rows
    found = evaluate(node, {first: start}, ROWS, torch.float64)
    assert torch.equal(found, tensor)


@given(shapes, st.data())
def test_views_of_views_are_one_view(shape: tuple[int, ...], data: st.DataObject) -> None:
    g = Graph()
    first = node = g.input("step", "x", shape)
    tensor = torch.zeros(ROWS, *shape)
    for move in data.draw(
        st.lists(st.sampled_from([permuted, sliced, flipped, expanded, in_front, windowed, diagonal]), max_size=5)
    ):
        node, tensor = move(data.draw, g, node, tensor)
    assert node is first or (node.op == "view" and node.args == (first,))


@given(st.lists(st.integers(1, 4), min_size=2, max_size=4), st.data())
def test_what_lies_in_one_part_is_read_from_that_part(sizes: list[int], data: st.DataObject) -> None:
    g = Graph()
    parts = [g.input("step", f"x{i}", (n, 3)) for i, n in enumerate(sizes)]
    which = data.draw(st.integers(0, len(sizes) - 1))
    start = data.draw(st.integers(0, sizes[which] - 1))
    end = data.draw(st.integers(start + 1, sizes[which]))
    found = g.view(g.cat(parts, 0), 3 * (sum(sizes[:which]) + start), (end - start, 3), (3, 1))
    assert ancestors([found]) <= {parts[which], found}
    whole = g.view(g.cat(parts, 0), 0, (sum(sizes), 3), (3, 1))
    assert whole is g.cat(parts, 0)


def test_parts_of_no_size_are_left_out() -> None:
    g = Graph()
    x, none = g.input("step", "x", (3,)), g.input("step", "none", (0,))
    assert g.cat([none, x, none], 0) is x
    assert g.cat([none, x, x], 0).args == (x, x)


def test_merged_axes_of_what_is_not_in_memory_are_put_there() -> None:
    g = Graph()
    x = g.input("step", "x", (2, 3))
    turned = g.view(x, 0, (3, 2), (1, 3))
    flat = g.view(turned, 0, (6,), (1,))
    assert (flat.op, flat.args[0].op, flat.args[0].args) == ("reshape", "copy", (turned,))
    assert g.view(x, 0, (6,), (1,)).args == (x,)  # an input lies in memory


# -- each node once


def test_the_same_operation_on_the_same_arguments_is_the_same_node() -> None:
    g = Graph()
    x, y = g.input("step", "x", (3,)), g.input("step", "y", (3,))
    assert g.pointwise("add", x, y) is g.pointwise("add", x, y)
    assert g.pointwise("add", x, y) is not g.pointwise("add", y, x)
    assert g.input("step", "x", (3,)) is x
    assert g.input("row", "x", (3,)) is not x
    assert [n.index for n in g.nodes] == list(range(len(g.nodes)))


@pytest.mark.parametrize(
    ("a", "b"), [(0.0, -0.0), (1.0, 1.0), (float("nan"), 0.0), (0.1, 0.1 + 1e-17), (0.1, 0.1 + 2e-17)]
)
def test_constants_that_differ_in_any_bit_are_apart(a: float, b: float) -> None:
    g = Graph()
    assert (g.const(a) is g.const(b)) == (a.hex() == b.hex())
    assert value_of(g.const(a)).hex() == a.hex()


def test_a_truth_value_is_no_number() -> None:
    g = Graph()
    assert g.const(True, "bool") is not g.const(1.0)
    assert [value_of(g.const(b, "bool")) for b in (False, True)] == [0.0, 1.0]


@pytest.mark.parametrize(
    ("op", "value", "first", "simpler"),
    [
        ("mul", 1.0, False, True), ("mul", 1.0, True, True), ("mul", 0.0, False, False), ("mul", -1.0, False, False),
        ("add", 0.0, False, True), ("add", 0.0, True, True), ("sub", 0.0, False, True), ("sub", 0.0, True, False),
        ("div", 1.0, False, True), ("div", 1.0, True, False), ("div", 0.0, False, False),
    ],
)  # fmt: skip
def test_only_what_changes_nothing_is_left_out(op: str, value: float, first: bool, simpler: bool) -> None:
    g = Graph()
    x, c = g.input("step", "x", (3,)), g.const(value)
    found = g.pointwise(op, *((c, x) if first else (x, c)))
    assert (found is x) == simpler


def test_numbers_of_another_type_stay_converted() -> None:
    g = Graph()
    x = g.input("step", "x", (3,), "int")
    assert g.pointwise("mul", x, g.const(1.0)).dtype == "float"
    assert g.pointwise("mul", x, g.const(1, "int")) is x
    assert g.pointwise("lt", x, x).dtype == "bool"
    assert g.pointwise("where", g.pointwise("lt", x, x), x, x).dtype == "int"


def test_whether_a_value_has_rows_follows_from_its_arguments() -> None:
    g = Graph()
    x, w = g.input("step", "x", (3,)), g.input("param", "0", (3,))
    assert g.pointwise("add", w, w).rows is False
    assert g.pointwise("add", w, x).rows is True
    assert g.view(w, 1, (2,), (1,)).rows is False
