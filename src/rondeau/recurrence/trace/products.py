"""Rules for matrix products: rows by a weight, rows by rows of their own, and the backward pass's sums over rows."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from rondeau.recurrence.ir import Node
from rondeau.recurrence.trace.forms import Declined, Form
from rondeau.recurrence.trace.pointwise import RULES, Elementwise, rule
from rondeau.recurrence.trace.recorder import Recorder
from rondeau.recurrence.trace.reductions import reduce


@rule("mm")
def _mm(r: Recorder, out: Tensor, a: Any, b: Any) -> Form:
    return _product(r, r.form(a), r.form(b))


def _product(r: Recorder, a: Form, b: Form) -> Form:
    if a.axis == 0 and b.outside:
        node = _spread(r, a.node, b.node) if a.merged else _weighed(r, a.node, b.node)
        return Form(node, 0, a.merged)
    if a.outside and b.axis == 1 and not b.merged:  # W h^T: the transpose of h W^T
        return Form(_weighed(r, b.node, _transposed(r, a.node)), 1)
    if a.axis == 1 and b.axis == 0:  # both by rows: the rows are summed away
        if a.merged != b.merged:
            raise Declined("it multiplies rows with each other")
        return Form(_summed(r, _flip(r, a.node), b.node) if a.merged else _outer(r, a.node, b.node))
    raise Declined("it multiplies rows with each other")


def _weighed(r: Recorder, x: Node, weight: Node) -> Node:
    return r.graph.make("product", (x, weight), (*x.shape[:-1], weight.shape[-1]))


def _spread(r: Recorder, x: Node, weight: Node) -> Node:
    """(M, K) of every row by a weight (K, N), as a sum over K of elementwise products."""
    (m, k), n = x.shape, weight.shape[1]
    if n == 1:
        column = r.outside("aten.squeeze.dim", (weight, 1), {}, (k,))
        both = r.graph.pointwise("mul", x, r.graph.expand(column, (m, k)))
        return r.graph.view(r.graph.reduce("sum", both, (1,)), 0, (m, 1), (1, 0))
    shape = (m, k, n)
    left = r.graph.view(x, 0, shape, (k, 1, 0))
    return r.graph.reduce("sum", r.graph.pointwise("mul", left, r.graph.expand(weight, shape)), (1,))


def _outer(r: Recorder, a: Node, b: Node) -> Node:
    return r.graph.make("outer", (a, b), (a.shape[-1], b.shape[-1]), rows=False)


def _summed(r: Recorder, a: Node, b: Node) -> Node:
    """The sum over rows and M of the outer products of (M, K) and (M, N), added up inside the loop."""
    (m, k), n = a.shape, b.shape[1]
    shape = (m, k, n)
    both = r.graph.pointwise("mul", r.graph.view(a, 0, shape, (k, 1, 0)), r.graph.view(b, 0, shape, (n, 0, 1)))
    one = r.graph.reduce("sum", both, (0,))
    return r.graph.make("total", (one,), (k, n), rows=False)


def _transposed(r: Recorder, weight: Node) -> Node:
    return r.outside("aten.t.default", (weight,), {}, weight.shape[::-1])


def _flip(r: Recorder, node: Node) -> Node:
    """Axes 0 and 1 exchanged."""
    n, m = node.shape
    return r.graph.view(node, 0, (m, n), (1, m))


@rule("addmm")
def _addmm(r: Recorder, out: Tensor, bias: Any, a: Any, b: Any, *, beta: float = 1, alpha: float = 1) -> Form:
    return _added(r, out, bias, _product(r, r.form(a), r.form(b)), beta, alpha)


def _added(r: Recorder, out: Tensor, bias: Any, product: Form, beta: float, alpha: float) -> Form:
    like = out.detach().new_empty(out.shape)
    r.declare(like, product)
    e = Elementwise(r, out.shape, bias, like)
    return e.done(e("add", e("mul", e.nodes[1], alpha), e("mul", e.nodes[0], beta)))


@rule("mv")
def _mv(r: Recorder, out: Tensor, a: Any, v: Any) -> Form:
    return _by_vector(r, r.form(a), r.form(v))


@rule("addmv")
def _addmv(r: Recorder, out: Tensor, bias: Any, a: Any, v: Any, *, beta: float = 1, alpha: float = 1) -> Form:
    return _added(r, out, bias, _by_vector(r, r.form(a), r.form(v)), beta, alpha)


def _by_vector(r: Recorder, a: Form, v: Form) -> Form:
    if a.axis == 0 and v.outside:
        column = r.outside("aten.unsqueeze.default", (v.node, 1), {}, (*v.node.shape, 1))
        node = _spread(r, a.node, column) if a.merged else _weighed(r, a.node, column)
        return Form(r.graph.view(node, 0, node.shape[:-1], (1,) * (len(node.shape) - 1)), 0, a.merged)
    if a.axis == 1 and v.axis == 0 and a.merged == v.merged:
        right = r.graph.view(v.node, 0, (*v.node.shape, 1), (*([1] * len(v.node.shape)), 1))
        outer = _summed(r, _flip(r, a.node), right) if a.merged else _outer(r, a.node, right)
        return Form(r.outside("aten.squeeze.dim", (outer, 1), {}, (outer.shape[0],)))
    raise Declined("it multiplies rows with each other")


@rule("bmm")
def _bmm(r: Recorder, out: Tensor, a: Any, b: Any) -> Form:
    left, right = r.form(a), r.form(b)
    graph = r.graph
    if left.axis == 0 and right.axis == 0 and not left.merged and not right.merged:
        return Form(_per_row(r, left.node, right.node), 0)
    if left.axis == 0 and right.axis == 0 and left.merged and right.merged:
        heads = left.node.shape[0]
        parts = [_per_row(r, _pick(r, left.node, g), _pick(r, right.node, g)) for g in range(heads)]
        return Form(graph.cat([graph.view(p, 0, (1, *p.shape), (0, p.shape[1], 1)) for p in parts], 0), 0, True)
    if left.axis == 1 and right.outside and not left.merged:
        parts = [_weighed(r, _pick(r, left.node, g), _pick_weight(r, right.node, g)) for g in range(left.node.shape[0])]
        return Form(graph.cat([graph.view(p, 0, (1, *p.shape), (0, 1)) for p in parts], 0), 1)
    if left.outside and right.axis == 2:
        turned = r.outside("aten.transpose.int", (left.node, 1, 2), {}, _swap(left.node.shape))
        parts = [_weighed(r, _pick(r, right.node, g), _pick_weight(r, turned, g)) for g in range(right.node.shape[0])]
        return Form(graph.cat([graph.view(p, 0, (1, *p.shape), (0, 1)) for p in parts], 0), 2)
    if left.axis == 2 and right.axis == 1 and not left.merged and not right.merged:
        a, b = left.node, right.node
        outers = [
            graph.make("outer", (_pick(r, a, g), _pick(r, b, g)), (a.shape[1], b.shape[1]), rows=False)
            for g in range(a.shape[0])
        ]
        return Form(r.outside("aten.stack.default", (outers,), {}, (a.shape[0], a.shape[1], b.shape[1])))
    raise Declined("bmm multiplies rows with each other, or along axes the compiler does not know")


@rule("_trilinear")
def _trilinear(
    r: Recorder, out: Tensor, a: Any, b: Any, c: Any, to_a: Any, to_b: Any, to_c: Any, sums: Any, unroll_dim: int = 1
) -> Form:
    """The product of all three, with axes of size 1 put in, and summed over `sums`."""
    spread = []
    for tensor, dims in ((a, to_a), (b, to_b), (c, to_c)):
        for dim in sorted(dims):
            (form,) = r.views(torch.ops.aten.unsqueeze.default, (tensor, dim), {})
            tensor = tensor.detach().unsqueeze(dim)
            r.rebind(tensor, form)
        spread.append(tensor)
    shape = torch.broadcast_tensors(*(t.detach() for t in spread))[0].shape  # type: ignore[no-untyped-call]
    e = Elementwise(r, shape, *spread)
    return reduce(r, "sum", e.done(e("mul", e("mul", *e.nodes[:2]), e.nodes[2])), sums, False)


@rule("baddbmm")
def _baddbmm(r: Recorder, out: Tensor, bias: Any, a: Any, b: Any, *, beta: float = 1, alpha: float = 1) -> Form:
    return _added(r, out, bias, _bmm(r, out, a, b), beta, alpha)


def _swap(shape: tuple[int, ...]) -> tuple[int, ...]:
    return (*shape[:-2], shape[-1], shape[-2])


def _pick(r: Recorder, node: Node, g: int) -> Node:
    """node[g]"""
    rest = node.shape[1:]
    step = 1
    strides = []
    for n in reversed(rest):
        strides.append(step)
        step *= n
    return r.graph.view(node, g * step, rest, tuple(reversed(strides)))


def _pick_weight(r: Recorder, node: Node, g: int) -> Node:
    return r.outside("aten.select.int", (node, 0, g), {}, node.shape[1:])


def _per_row(r: Recorder, a: Node, b: Node) -> Node:
    """(I, K) by (K, J) within each row, as a sum over K of elementwise products."""
    graph = r.graph
    (i, k), j = a.shape, b.shape[1]
    if j == 1:
        shape = (i, k)
        both = graph.pointwise("mul", a, graph.view(b, 0, shape, (0, 1)))
        return graph.view(graph.reduce("sum", both, (1,)), 0, (i, 1), (1, 0))
    if i == 1:
        shape = (k, j)
        both = graph.pointwise("mul", graph.view(a, 0, shape, (1, 0)), b)
        return graph.view(graph.reduce("sum", both, (0,)), 0, (1, j), (0, 1))
    shape3 = (i, k, j)
    both = graph.pointwise("mul", graph.view(a, 0, shape3, (k, 1, 0)), graph.view(b, 0, shape3, (0, j, 1)))
    return graph.reduce("sum", both, (1,))


__all__ = ["RULES"]
