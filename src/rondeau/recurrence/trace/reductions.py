"""Rules for sums, means, maxima and what is made of them: variance, norm, softmax, layer normalisation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from rondeau.recurrence.ir import Node, strides_of
from rondeau.recurrence.trace.arrange import gather
from rondeau.recurrence.trace.forms import Declined, Form
from rondeau.recurrence.trace.pointwise import RULES, Elementwise, counting, rule
from rondeau.recurrence.trace.recorder import Recorder


def reduce(r: Recorder, kind: str, form: Form, dims: Sequence[int] | None, keepdim: bool) -> Form:
    """`dims` of the tensor reduced; None or none at all: every one."""
    rank = len(form.dims(r.batch))
    listed = sorted({d % rank for d in dims} if dims else range(rank))
    if rank == 0 or not listed:
        return form
    over_rows = form.axis in listed
    if over_rows and kind != "sum":
        raise Declined(f"it takes the {kind} over rows")
    axes = [form.place(d, rank) for d in listed if d != form.axis or form.merged]
    node = _spelled(r, form)
    node = r.graph.reduce(kind, node, axes)
    if over_rows:
        node = r.graph.make("total", (node,), node.shape, rows=False)
    axis = None if over_rows or form.axis is None else form.axis - sum(d < form.axis for d in listed)
    merged = form.merged and not over_rows
    if not keepdim:
        return Form(node, axis, merged)
    dims_kept = [1 if d in listed else n for d, n in enumerate(form.dims(r.batch))]
    axis = None if over_rows else form.axis
    if axis is not None and not merged:
        del dims_kept[axis]
    elif axis is not None:
        dims_kept[axis] = form.node.shape[axis]
    if over_rows:
        return Form(r.outside("aten.view.default", (node, dims_kept), {}, tuple(dims_kept)))
    return Form(r.graph.view(node, 0, dims_kept, strides_of(dims_kept)), axis, merged)


def _spelled(r: Recorder, form: Form) -> Node:
    if form.node.op == "const":
        raise Declined("it sums a constant")
    return form.node


def _count(form: Form, dims: Sequence[int] | None, batch: int) -> int:
    shape = form.dims(batch)
    return math.prod(shape[d] for d in dims) if dims else math.prod(shape)


@rule("sum")
def _sum(r: Recorder, out: Tensor, x: Any, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Form:
    return reduce(r, "sum", _float(r, x), _dims(dim), keepdim)


def _dims(dim: Any) -> list[int] | None:
    return [dim] if isinstance(dim, int) else list(dim) if dim else None


def _float(r: Recorder, x: Tensor) -> Form:
    e = Elementwise(r, x.shape, x)
    return e.done(e.float(e.nodes[0]))


@rule("mean")
def _mean(r: Recorder, out: Tensor, x: Any, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Form:
    form = r.form(x)
    return _scaled(r, reduce(r, "sum", form, _dims(dim), keepdim), 1 / _count(form, _dims(dim), r.batch))


def _scaled(r: Recorder, form: Form, factor: float) -> Form:
    if form.outside:
        raise Declined("it takes the mean over rows")
    return Form(r.graph.pointwise("mul", form.node, r.graph.const(factor)), form.axis, form.merged)


def _amax(r: Recorder, out: Tensor, x: Any, dim: Any = None, keepdim: bool = False) -> Form:
    return reduce(r, "max", r.form(x), _dims(dim), keepdim)


def _amin(r: Recorder, out: Tensor, x: Any, dim: Any = None, keepdim: bool = False) -> Form:
    return reduce(r, "min", r.form(x), _dims(dim), keepdim)


def _extreme(kind: str, forward: Any) -> Any:
    def apply(r: Recorder, out: Any, x: Any, *args: Any, **kwargs: Any) -> Any:
        if args and isinstance(args[0], Tensor):
            return RULES[f"{kind}imum"](r, out, x, args[0])
        dim, keepdim = _dim_of(*args, **kwargs)
        if isinstance(out, Tensor):  # of everything
            return forward(r, out, x)
        return forward(r, out[0], x, dim, keepdim), _place(r, out[1], x, dim, keepdim, kind)

    return apply


def _dim_of(dim: Any = None, keepdim: bool = False) -> tuple[Any, bool]:
    return dim, keepdim


def _place(r: Recorder, out: Tensor, x: Tensor, dim: int | None, keepdim: bool, kind: str) -> Form:
    """Where along `dim` the first of the largest (or smallest) is."""
    if dim is None:
        raise Declined("it looks for an extreme over rows")
    top = reduce(r, kind, r.form(x), [dim], True)
    e = Elementwise(r, x.shape, x, counting(r, x, dim))
    value, count = e.nodes
    found = e("eq", value, r.graph.expand(top.node, value.shape))
    first = reduce(r, "min", e.done(e("where", found, count, float(x.shape[dim]))), [dim], keepdim)
    return Form(r.graph.pointwise("to_int", first.node, dtype="int"), first.axis, first.merged)


def _placed(kind: str) -> Any:
    def apply(r: Recorder, out: Tensor, x: Any, dim: Any = None, keepdim: bool = False) -> Form:
        return _place(r, out, x, dim, keepdim, kind)

    return apply


rule("max")(_extreme("max", _amax))
rule("min")(_extreme("min", _amin))
rule("argmax")(_placed("max"))
rule("argmin")(_placed("min"))


@rule("prod")
def _prod(r: Recorder, out: Tensor, x: Any, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Form:
    form, graph = r.form(x), r.graph
    rank = x.ndim
    dims = list(range(rank)) if dim is None else [dim] if isinstance(dim, int) else list(dim)
    if form.axis in [d % rank for d in dims]:
        raise Declined("it multiplies rows with each other")
    node = form.node
    for axis in (form.place(d, rank) for d in dims):
        ids = torch.arange(node.size).view(node.shape)
        whole, node = node, gather(graph, node, ids.narrow(axis, 0, 1))
        for i in range(1, whole.shape[axis]):
            node = graph.pointwise("mul", node, gather(graph, whole, ids.narrow(axis, i, 1)))
    kept = Form(node, form.axis, form.merged)
    return kept if keepdim else _squeezed(r, kept, out)


rule("amax")(_amax)
rule("amin")(_amin)


def _moments(r: Recorder, form: Form, dims: Sequence[int] | None, correction: float) -> tuple[Form, Form, Node]:
    """Mean and variance with their axes kept, and x minus its mean."""
    graph = r.graph
    count = _count(form, dims, r.batch)
    mean = _scaled(r, reduce(r, "sum", form, dims, True), 1 / count)
    centred = graph.pointwise("sub", form.node, graph.expand(mean.node, form.node.shape))
    square = Form(graph.pointwise("mul", centred, centred), form.axis, form.merged)
    return mean, _scaled(r, reduce(r, "sum", square, dims, True), 1 / (count - correction)), centred


def _squeezed(r: Recorder, form: Form, like: Tensor) -> Form:
    """Without the axes of size 1 that `like` does not have."""
    if form.axis is None or form.merged:
        axis, shape = form.axis, tuple(like.shape)
    else:
        axis = next(a for a, n in enumerate(like.shape) if n == r.batch)
        shape = tuple(n for a, n in enumerate(like.shape) if a != axis)
    return Form(r.graph.view(form.node, 0, shape, strides_of(shape)), axis, form.merged)


def _variance(name: str) -> Any:
    def apply(r: Recorder, out: Any, x: Any, dim: Any = None, *args: Any, **kwargs: Any) -> Any:
        correction, keepdim = kwargs.get("correction"), kwargs.get("keepdim", False)
        if isinstance(dim, bool):  # var(x, unbiased)
            dim, correction = None, int(dim)
        elif args:  # var(x, dim, unbiased, keepdim)
            correction, keepdim = int(args[0]), args[1] if len(args) > 1 else keepdim
        first = out[0] if isinstance(out, tuple) else out
        mean, var, _ = _moments(r, r.form(x), _dims(dim), 1 if correction is None else correction)
        if name == "std":
            var = Form(r.graph.pointwise("sqrt", var.node), var.axis, var.merged)
        if not keepdim:
            mean, var = _squeezed(r, mean, first), _squeezed(r, var, first)
        return (var, mean) if name == "var_mean" else var

    return apply


for _name in ("var", "var_mean", "std"):
    rule(_name)(_variance(_name))


@rule("linalg_vector_norm", "norm")
def _norm(
    r: Recorder, out: Tensor, x: Any, ord: Any = 2, dim: Any = None, keepdim: bool = False, **kwargs: Any
) -> Form:
    form, dims, graph = r.form(x), _dims(dim), r.graph
    ord = 2 if ord is None else ord
    if ord == 2:
        inner = graph.pointwise("mul", form.node, form.node)
    elif ord in (1, math.inf, -math.inf):
        inner = graph.pointwise("abs", form.node)
    else:
        inner = graph.pointwise("pow", graph.pointwise("abs", form.node), graph.const(float(ord)))
    kind = {math.inf: "max", -math.inf: "min"}.get(ord, "sum")
    total = reduce(r, kind, Form(inner, form.axis, form.merged), dims, keepdim)
    if total.outside:
        raise Declined("it takes the norm over rows")
    if ord == 2:
        return Form(graph.pointwise("sqrt", total.node), total.axis, total.merged)
    if kind != "sum" or ord == 1:
        return total
    return Form(graph.pointwise("pow", total.node, graph.const(1 / ord)), total.axis, total.merged)


def _softmax_of(log: bool) -> Any:
    def apply(r: Recorder, out: Tensor, x: Any, dim: int, half_to_float: bool = False) -> Form:
        form, graph = r.form(x), r.graph
        shape = form.node.shape
        top = reduce(r, "max", form, [dim], True)
        moved = graph.pointwise("sub", form.node, graph.expand(top.node, shape))
        e = graph.pointwise("exp", moved)
        total = reduce(r, "sum", Form(e, form.axis, form.merged), [dim], True)
        if log:
            node = graph.pointwise("sub", moved, graph.expand(graph.pointwise("log", total.node), shape))
        else:
            scale = graph.pointwise("div", graph.const(1.0), total.node)
            node = graph.pointwise("mul", e, graph.expand(scale, shape))
        return Form(node, form.axis, form.merged)

    return apply


rule("_softmax")(_softmax_of(False))
rule("_log_softmax")(_softmax_of(True))


@rule("_softmax_backward_data")
def _softmax_backward(r: Recorder, out: Tensor, g: Any, y: Any, dim: int, dtype: Any) -> Form:
    e = Elementwise(r, out.shape, g, y)
    grad, y = e.nodes
    both = e("mul", grad, y)
    total = reduce(r, "sum", e.done(both), [dim], True)
    return e.done(e("sub", both, e("mul", y, r.graph.expand(total.node, both.shape))))


@rule("_log_softmax_backward_data")
def _log_softmax_backward(r: Recorder, out: Tensor, g: Any, y: Any, dim: int, dtype: Any) -> Form:
    e = Elementwise(r, out.shape, g, y)
    grad, y = e.nodes
    total = reduce(r, "sum", e.done(grad), [dim], True)
    return e.done(e("sub", grad, e("mul", e("exp", y), r.graph.expand(total.node, grad.shape))))


@rule("logsumexp")
def _logsumexp(r: Recorder, out: Tensor, x: Any, dim: Any, keepdim: bool = False) -> Form:
    form, graph = r.form(x), r.graph
    top = reduce(r, "max", form, _dims(dim), True)
    # where the maximum is infinite, subtracting it would give NaN
    finite = graph.pointwise("lt", graph.pointwise("abs", top.node), graph.const(math.inf))
    top = Form(graph.pointwise("where", finite, top.node, graph.const(0.0)), top.axis, top.merged)
    e = graph.pointwise("exp", graph.pointwise("sub", form.node, graph.expand(top.node, form.node.shape)))
    total = reduce(r, "sum", Form(e, form.axis, form.merged), _dims(dim), True)
    done = Form(graph.pointwise("add", graph.pointwise("log", total.node), top.node), top.axis, top.merged)
    return done if keepdim else _squeezed(r, done, out)


@rule("native_layer_norm")
def _layer_norm(r: Recorder, out: Any, x: Any, shape: Any, weight: Any, bias: Any, eps: float) -> tuple[Form, ...]:
    form, graph = r.form(x), r.graph
    dims = [-1 - k for k in range(len(shape))]
    mean, var, centred = _moments(r, form, dims, 0)
    rstd = Form(graph.pointwise("rsqrt", graph.pointwise("add", var.node, graph.const(eps))), var.axis, var.merged)
    y = Form(graph.pointwise("mul", centred, graph.expand(rstd.node, centred.shape)), form.axis, form.merged)
    for op, parameter in (("mul", weight), ("add", bias)):
        if parameter is not None:
            like = x.detach().new_empty(x.shape)
            r.declare(like, y)
            e = Elementwise(r, x.shape, like, parameter)
            y = e.done(e(op, *e.nodes))
    return y, mean, rstd


@rule("native_layer_norm_backward")
def _layer_norm_backward(
    r: Recorder, out: Any, g: Any, x: Any, shape: Any, mean: Any, rstd: Any, weight: Any, bias: Any, mask: Any
) -> tuple[Form | None, ...]:
    form, graph = r.form(x), r.graph
    dims = [-1 - k for k in range(len(shape))]
    e = Elementwise(r, x.shape, g, x, mean, rstd)
    grad, x_node, mean_node, rstd_node = e.nodes
    normal = e("mul", e("sub", x_node, mean_node), rstd_node)
    inner = grad
    if weight is not None:
        w = Elementwise(r, x.shape, x, weight)
        inner = e("mul", grad, w.nodes[1])
    count = _count(form, dims, r.batch)

    def average(node: Node) -> Node:
        return graph.expand(_scaled(r, reduce(r, "sum", e.done(node), dims, True), 1 / count).node, node.shape)

    dx = e(
        "mul", rstd_node, e("sub", e("sub", inner, average(inner)), e("mul", normal, average(e("mul", inner, normal))))
    )
    leading = list(range(x.ndim - len(shape)))
    results: list[Form | None] = [e.done(dx) if mask[0] else None]
    results.append(reduce(r, "sum", e.done(e("mul", grad, normal)), leading, False) if mask[1] else None)
    results.append(reduce(r, "sum", e.done(grad), leading, False) if mask[2] else None)
    return tuple(f for f, t in zip(results, out, strict=True) if isinstance(t, Tensor))
