"""Which rule an operation has: the tables, and the rules for joining, padding and copying."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from rondeau.recurrence.ir import Node
from rondeau.recurrence.trace import activations, pointwise, products, reductions, scatter  # noqa: F401  (they fill RULES)
from rondeau.recurrence.trace.arrange import axis_of, gather, padded
from rondeau.recurrence.trace.forms import Declined, Form
from rondeau.recurrence.trace.pointwise import RULES, Elementwise, rule
from rondeau.recurrence.trace.recorder import UNDEFINED, Recorder

SAME = {"detach", "alias", "clone", "contiguous", "lift_fresh", "lift_fresh_copy", "positive", "_conj", "conj_physical",
        "view_as", "detach_", "_fused_dropout_none"}  # fmt: skip
VIEWS = {"view", "_unsafe_view", "reshape", "_reshape_alias", "slice", "select", "split", "split_with_sizes",
         "unsafe_split", "unsafe_split_with_sizes", "chunk", "unsafe_chunk", "unbind", "expand", "permute", "t",
         "transpose", "unsqueeze", "squeeze", "flip", "narrow", "movedim", "diagonal", "swapaxes", "flatten",
         "unflatten", "numpy_T", "roll", "expand_as", "repeat", "view_copy", "unfold", "as_strided", "tensor_split",
         "hsplit", "tile", "rot90", "pixel_shuffle", "channel_shuffle", "ravel"}  # fmt: skip
# as VIEWS, where the indices are fixed
LOOKUPS = {"index", "index_select", "take_along_dim", "gather", "take"}
# put constants side by side: even where all of them are, the result is no constant
JOINS = {"cat", "concat", "concatenate", "stack", "constant_pad_nd", "where"}
FACTORIES = {"zeros_like", "ones_like", "full_like", "new_zeros", "new_ones", "new_full", "zeros", "ones", "full",
             "arange", "scalar_tensor", "eye", "linspace"} | UNDEFINED  # fmt: skip


def decomposition(func: Any) -> Any:
    """torch's own decomposition into simpler operations, for what has no rule here; None where there is none."""
    from torch._decomp import decomposition_table

    return decomposition_table.get(func)


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
    return Form(r.graph.cat(_one_type(nodes), axis_of(lead, dim, out.ndim)), lead.axis, lead.merged)


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
    return Form(r.graph.cat(nodes, axis_of(lead, dim, out.ndim)), lead.axis, lead.merged)


@rule("constant_pad_nd")
def _pad(r: Recorder, out: Tensor, x: Any, pad: Any, value: float = 0) -> Form:
    form, rank = r.form(x), x.ndim
    for k in range(len(pad) // 2):
        before, after = pad[2 * k : 2 * k + 2]
        if before or after:
            axis = axis_of(form, rank - 1 - k, rank)
            ids = torch.arange(form.node.size).view(form.node.shape)
            kept = ids.narrow(axis, max(0, -before), form.node.shape[axis] - max(0, -before) - max(0, -after))
            node = padded(r.graph, gather(r.graph, form.node, kept), axis, max(0, before), max(0, after), value)
            form = Form(node, form.axis, form.merged)
    return form


def copy_into(r: Recorder, target: Tensor, source: Any, non_blocking: bool = False) -> Form:
    """The form of `target` after `target.copy_(source)`."""
    e = Elementwise(r, target.shape, source, target)
    return e.done(
        e.to(e.nodes[0], "bool" if target.dtype == torch.bool else "float" if target.is_floating_point() else "int")
    )


__all__ = ["FACTORIES", "RULES", "SAME", "VIEWS", "copy_into", "decomposition"]
