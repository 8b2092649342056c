"""Rules for rows of a table that each row of the batch asks for by number, and for their gradient."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from rondeau.recurrence.ir import ancestors
from rondeau.recurrence.trace.forms import Declined, Form
from rondeau.recurrence.trace.recorder import Recorder


def rule_for(r: Recorder, name: str, args: Any) -> Callable[..., Form] | None:
    """The rule for an operation on a table without rows and numbers with rows; None where it is another kind."""
    if name not in _RULES:
        return None
    place, rule = _RULES[name]
    ids = args[place]
    if isinstance(ids, (list, tuple)):
        ids = ids[0] if len(ids) == 1 else None
    if not isinstance(ids, Tensor) or (name in ("index_select", "index_add") and args[1] % args[0].ndim):
        return None
    form = r.form(ids)
    with_rows = form.axis == 0 and not form.merged and form.node.dtype == "int" and form.node.op != "const"
    if name != "embedding_dense_backward" and not r.form(args[0]).outside and r.form(args[0]).node.op != "const":
        return None
    return rule if with_rows else None


def _gather(r: Recorder, table: Tensor, ids: Tensor, wraps: bool) -> Form:
    form, source = r.form(ids), r.form(table)
    if source.node.dtype != "float":
        raise Declined("it looks up a table of whole numbers or truth values")
    if any(n.op == "input" and n.attrs[0] in ("state", "index") for n in ancestors([form.node])):
        raise Declined("it looks up a table by what depends on the state, which nobody could check before the loop")
    shape = (*form.node.shape, *source.node.shape[1:])
    return Form(r.graph.make("gather", (source.node, form.node), shape, "float", (wraps,)), 0)


def _embedding(r: Recorder, out: Tensor, table: Any, ids: Any, *options: Any) -> Form:
    return _gather(r, table, ids, False)


def _index(r: Recorder, out: Tensor, table: Any, ids: Any) -> Form:
    return _gather(r, table, ids[0], True)


def _index_select(r: Recorder, out: Tensor, table: Any, dim: int, ids: Any) -> Form:
    return _gather(r, table, ids, False)


def _scatter(r: Recorder, out: Tensor, values: Any, ids: Any, wraps: bool) -> Form:
    form, where = r.form(values), r.form(ids)
    if form.axis != 0 or form.merged:
        raise Declined("it adds to a table in a way the compiler does not know")
    return Form(r.graph.make("scatter", (form.node, where.node), out.shape, "float", (wraps,), rows=False))


def _embedding_backward(r: Recorder, out: Tensor, g: Any, ids: Any, count: int, padding: int, by_count: bool) -> Form:
    if padding >= 0 or by_count:
        raise Declined("the gradient of an embedding with padding_idx or scale_grad_by_freq")
    return _scatter(r, out, g, ids, False)


def _zero(r: Recorder, table: Any) -> None:
    form = r.form(table)
    if form.axis is not None or form.node.op != "const" or float(form.node.attrs[0]) != 0:
        raise Declined("it changes a table")


def _index_put(r: Recorder, out: Tensor, table: Any, ids: Any, values: Any, accumulate: bool = False, *_: Any) -> Form:
    _zero(r, table)
    if not accumulate:
        raise Declined("it changes a table")
    return _scatter(r, out, values, ids[0], True)


def _index_add(r: Recorder, out: Tensor, table: Any, dim: int, ids: Any, values: Any, *, alpha: float = 1) -> Form:
    _zero(r, table)
    if dim != 0 or alpha != 1:
        raise Declined("it adds to a table in a way the compiler does not know")
    return _scatter(r, out, values, ids, False)


# for each operation: where the numbers stand among its arguments, and its rule
_RULES: dict[str, tuple[int, Callable[..., Form]]] = {
    "embedding": (1, _embedding),
    "index": (1, _index),
    "index_select": (2, _index_select),
    "embedding_dense_backward": (1, _embedding_backward),
    "index_put": (1, _index_put),
    "_index_put_impl": (1, _index_put),
    "index_add": (2, _index_add),
}
