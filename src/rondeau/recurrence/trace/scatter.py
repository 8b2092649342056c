"""Rules that put elements where others were taken from: gradients of views and look-ups, assignments by index."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from rondeau.recurrence.ir import Node, strides_of
from rondeau.recurrence.trace.arrange import axis_of, gather, padded, put, zeros
from rondeau.recurrence.trace.forms import Declined, Form, numbering, rows_of
from rondeau.recurrence.trace.pointwise import Elementwise, counting, rule
from rondeau.recurrence.trace.recorder import Recorder

STREWN = 16  # entries apart from each other: up to here each is a piece of its own


@rule("slice_backward")
def _slice_backward(r: Recorder, out: Tensor, g: Any, sizes: Any, dim: int, start: int, end: int, step: int) -> Form:
    form = r.form(g)
    axis = axis_of(form, dim, g.ndim)
    size = out.shape[dim]
    start, _, _ = slice(start, end).indices(size)
    if step == 1 or g.shape[dim] < 2:
        node = padded(r.graph, form.node, axis, start, size - start - g.shape[dim])
        return Form(node, form.axis, form.merged)
    return Form(_strewn(r, form.node, axis, start, step, size), form.axis, form.merged)


def _strewn(r: Recorder, node: Node, axis: int, start: int, step: int, size: int) -> Node:
    """The entries along `axis` at every `step`th place from `start` of `size`, and zeros between."""
    graph, shape, count = r.graph, node.shape, node.shape[axis]
    before, after = shape[:axis], shape[axis + 1 :]
    if count <= STREWN:
        ids = torch.full((*before, size, *after), -1)
        numbers = torch.arange(node.size).view(shape)
        ids.narrow(axis, start, step * (count - 1) + 1).unfold(axis, 1, step).copy_(numbers.unsqueeze(-1))
        return put(graph, zeros(graph, tuple(ids.shape)), ids, node)
    # each entry followed by step - 1 zeros, then both axes read as one
    pair = gather(graph, node, torch.arange(node.size).view(*before, count, 1, *after))
    wide = graph.cat([pair, zeros(graph, (*before, count, step - 1, *after))], axis + 1)
    flat = (*before, count * step, *after)
    joined = graph.view(graph.copy(wide), 0, flat, strides_of(flat))
    cut = min(count * step, size - start)
    kept = gather(graph, joined, torch.arange(joined.size).view(flat).narrow(axis, 0, cut))
    return padded(graph, kept, axis, start, size - start - cut)


@rule("select_backward")
def _select_backward(r: Recorder, out: Tensor, g: Any, sizes: Any, dim: int, index: int) -> Form:
    (form,) = r.views(torch.ops.aten.unsqueeze.default, (g, dim % out.ndim), {})
    axis, size = axis_of(form, dim, out.ndim), out.shape[dim]
    index %= size
    return Form(padded(r.graph, form.node, axis, index, size - 1 - index), form.axis, form.merged)


def _scattered(r: Recorder, out: Tensor, g: Any, taken: Any) -> Form:
    """The gradient of what `taken` does to a tensor like `out`: each element of `g` goes where it came from."""
    form = r.form(g)
    like = _like(r, out)
    return _added_up(r, like, form, taken(numbering(like, r.batch)))


def _like(r: Recorder, out: Tensor) -> Form:
    return r.filled(out, 0.0)


def _added_up(r: Recorder, base: Form, form: Form, ids: Tensor) -> Form:
    """`base` plus the elements of `form` at the elements of `base` that `ids`, shaped like `form`, names."""
    graph, node = r.graph, base.node
    if base.axis is None:
        one = ids
    else:
        found = rows_of(ids, max(node.size, 1), r.batch)
        if found is None or found[:2] != (form.axis, form.merged):
            raise Declined("it writes into other rows")
        one = found[2]
    targets, sources = one.flatten(), torch.arange(one.numel())
    while len(targets):
        # those with the same target, one after the other
        places = torch.full((node.size,), -1)
        places[targets.flip(0)] = sources.flip(0)
        layer = put(graph, zeros(graph, node.shape), places.view(node.shape), form.node)
        node = layer if node.op == "const" and float(node.attrs[0]) == 0 else graph.pointwise("add", node, layer)
        left = places[targets] != sources
        targets, sources = targets[left], sources[left]
    return Form(node, base.axis, base.merged)


@rule("diagonal_backward")
def _diagonal_backward(r: Recorder, out: Tensor, g: Any, sizes: Any, offset: int, dim1: int, dim2: int) -> Form:
    return _scattered(r, out, g, lambda ids: ids.diagonal(offset, dim1, dim2))


@rule("unfold_backward")
def _unfold_backward(r: Recorder, out: Tensor, g: Any, sizes: Any, dim: int, size: int, step: int) -> Form:
    return _scattered(r, out, g, lambda ids: ids.unfold(dim, size, step))


@rule("index_select_backward")
def _index_select_backward(r: Recorder, out: Tensor, g: Any, sizes: Any, dim: int, index: Any) -> Form:
    _check_fixed(r, index)
    return _scattered(r, out, g, lambda ids: ids.index_select(dim, index))


@rule("index_add")
def _index_add(r: Recorder, out: Tensor, x: Any, dim: int, index: Any, source: Any, *, alpha: float = 1) -> Form:
    _check_fixed(r, index)
    if alpha != 1:
        raise Declined("index_add with alpha")
    base = r.form(x)
    return _added_up(r, base, r.form(source), numbering(base, r.batch).index_select(dim, index))


def _check_fixed(r: Recorder, *indices: Any) -> None:
    for index in indices:
        if index is not None and not r.fixed(index):
            raise Declined("it picks elements by a tensor's values")


@rule("index_put", "_index_put_impl")
def _index_put(r: Recorder, out: Tensor, x: Any, indices: Any, values: Any, accumulate: bool = False, *_: Any) -> Form:
    mask = indices[0]
    if (
        len(indices) == 1
        and mask is not None
        and mask.dtype == torch.bool
        and mask.shape == x.shape
        and not values.ndim
    ):
        e = Elementwise(r, x.shape, mask, values, x)
        return e.done(e.graph.pointwise("where", *e.nodes))
    _check_fixed(r, *indices)
    base, form = r.form(x), r.form(values)
    ids = numbering(base, r.batch)[tuple(slice(None) if i is None else i for i in indices)]
    if not values.ndim or tuple(values.shape) != tuple(ids.shape):
        e = Elementwise(r, ids.shape, values, _named(r, ids))
        form = e.done(e.nodes[0])
    if not accumulate:
        chosen = torch.zeros(base.node.size, dtype=torch.bool)
        chosen[(ids % max(base.node.size, 1)).flatten()] = True
        kept = torch.where(chosen, -1, torch.arange(base.node.size)).view(base.node.shape)
        base = Form(put(r.graph, zeros(r.graph, base.node.shape), kept, base.node), base.axis, base.merged)
    return _added_up(r, base, form, ids)


def _named(r: Recorder, ids: Tensor) -> Tensor:
    """A tensor of zeros shaped like `ids`."""
    like = torch.empty(ids.shape, dtype=r.dtype)
    r.declare(like, _like(r, like))
    return like


@rule("scatter")
def _scatter(r: Recorder, out: Tensor, x: Any, dim: int, index: Any, source: Any, **_: Any) -> Form:
    """One element along `dim` takes the place that `index` says."""
    if index.shape[dim] != 1 or index.ndim != x.ndim:
        raise Declined("it picks elements by a tensor's values")
    e = Elementwise(r, x.shape, x, index, source, counting(r, x, dim))
    before, where, value, count = e.nodes
    return e.done(e("where", e("eq", e.float(where), count), *e.unify([value, before])))
