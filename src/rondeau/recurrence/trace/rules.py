"""Which rule an operation has: the tables, and the rules for joining, padding and copying."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from rondeau.recurrence.ir import Node
from rondeau.recurrence.trace import pointwise, products, reductions  # noqa: F401  (they fill RULES)
from rondeau.recurrence.trace.forms import Declined, Form
from rondeau.recurrence.trace.pointwise import RULES, Elementwise, rule
from rondeau.recurrence.trace.recorder import UNDEFINED, Recorder

SAME = {"detach", "alias", "clone", "contiguous", "lift_fresh", "lift_fresh_copy", "positive", "_conj", "conj_physical",
        "view_as", "detach_", "_fused_dropout_none"}  # fmt: skip
VIEWS = {"view", "_unsafe_view", "reshape", "_reshape_alias", "slice", "select", "split", "split_with_sizes", "unsafe_split",
         "unsafe_split_with_sizes", "chunk", "unsafe_chunk", "unbind", "expand", "permute", "t", "transpose", "unsqueeze",
         "squeeze", "flip", "narrow", "movedim", "diagonal", "swapaxes", "flatten", "unflatten", "numpy_T",
         "index_select", "roll", "expand_as", "repeat", "view_copy", "unfold", "as_strided"}  # fmt: skip
FACTORIES = {"zeros_like", "ones_like", "full_like", "new_zeros", "new_ones", "new_full", "zeros", "ones", "full", "arange",
             "scalar_tensor", "eye", "linspace"} | UNDEFINED  # fmt: skip


def decomposition(func: Any) -> Any:
    """torch's own decomposition into simpler operations, for what has no rule here; None where there is none."""
    from torch._decomp import decomposition_table

    return decomposition_table.get(func)


def _axis_of(form: Form, dim: int, rank: int) -> int:
    dim %= rank
    if dim == form.axis:
        raise Declined("it joins or pads along the row axis")
    return form.place(dim, rank)


def _spelled(r: Recorder, forms: list[Form]) -> tuple[Form, list[Node]]:
    """Forms that are to stand side by side: rows in the same axis. Returns the first that has rows, and all nodes."""
    lead = next((f for f in forms if f.axis is not None or f.node.rows), forms[0])
    for f in forms:
        if (f.axis, f.merged) != (lead.axis, lead.merged) and f.node.op != "const":
            raise Declined("it joins values with rows to values without")
    return lead, [f.node for f in forms]


@rule("cat", "concat", "concatenate")
def _cat(r: Recorder, out: Tensor, tensors: Any, dim: int = 0) -> Form:
    tensors = [t for t in tensors if t.ndim == out.ndim]  # torch lets an empty (0,) tensor join anything
    lead, nodes = _spelled(r, [r.form(t) for t in tensors])
    return Form(r.graph.cat(_one_type(nodes), _axis_of(lead, dim, out.ndim)), lead.axis, lead.merged)


def _one_type(nodes: list[Node]) -> list[Node]:
    if len({n.dtype for n in nodes}) > 1:
        raise Declined("it joins numbers of several types")
    return nodes


@rule("stack")
def _stack(r: Recorder, out: Tensor, tensors: Any, dim: int = 0) -> Form:
    forms = []
    for t in tensors:
        (form,) = r.views(torch.ops.aten.unsqueeze.default, (t, dim % out.ndim), {})
        forms.append(form)
    lead, nodes = _spelled(r, forms)
    return Form(r.graph.cat(nodes, _axis_of(lead, dim, out.ndim)), lead.axis, lead.merged)


def _padded(r: Recorder, form: Form, axis: int, before: int, after: int, value: float = 0.0) -> Node:
    def filler(size: int) -> Node:
        shape = (*form.node.shape[:axis], size, *form.node.shape[axis + 1 :])
        return r.graph.make("const", (), shape, "float", (repr(float(value)),), rows=False)

    return r.graph.cat([filler(before), form.node, filler(after)], axis)


@rule("constant_pad_nd")
def _pad(r: Recorder, out: Tensor, x: Any, pad: Any, value: float = 0) -> Form:
    form, rank = r.form(x), x.ndim
    for k in range(len(pad) // 2):
        before, after = pad[2 * k : 2 * k + 2]
        if before < 0 or after < 0:
            raise Declined("a negative padding")
        if before or after:
            axis = _axis_of(form, rank - 1 - k, rank)
            form = Form(_padded(r, form, axis, before, after, value), form.axis, form.merged)
    return form


@rule("slice_backward")
def _slice_backward(r: Recorder, out: Tensor, g: Any, sizes: Any, dim: int, start: int, end: int, step: int) -> Form:
    if step != 1:
        raise Declined("the gradient of a slice with a step")
    form = r.form(g)
    axis = _axis_of(form, dim, g.ndim)
    start, stop, _ = slice(start, end).indices(out.shape[dim])
    return Form(_padded(r, form, axis, start, out.shape[dim] - stop), form.axis, form.merged)


@rule("select_backward")
def _select_backward(r: Recorder, out: Tensor, g: Any, sizes: Any, dim: int, index: int) -> Form:
    (form,) = r.views(torch.ops.aten.unsqueeze.default, (g, dim % out.ndim), {})
    axis, size = _axis_of(form, dim, out.ndim), out.shape[dim]
    index %= size
    return Form(_padded(r, form, axis, index, size - 1 - index), form.axis, form.merged)


def copy_into(r: Recorder, target: Tensor, source: Any, non_blocking: bool = False) -> Form:
    """The form of `target` after `target.copy_(source)`."""
    e = Elementwise(r, target.shape, source, target.detach())
    return e.done(
        e.to(e.nodes[0], "bool" if target.dtype == torch.bool else "float" if target.is_floating_point() else "int")
    )


__all__ = ["FACTORIES", "RULES", "SAME", "VIEWS", "copy_into", "decomposition"]
