"""Any rearrangement of a node's elements, given by their numbers: a view where those are affine, else pieces of it."""

from __future__ import annotations

import torch
from torch import Tensor

from rondeau.recurrence.ir import Graph, Node
from rondeau.recurrence.trace.forms import Declined, Form, affine

MOST = 256  # pieces, each code of its own


def gather(graph: Graph, node: Node, ids: Tensor) -> Node:
    """The elements of `node` at the flat indices `ids`, in the shape of `ids`."""
    shape = tuple(ids.shape)
    if node.op == "const":
        return graph.make("const", (), shape, node.dtype, node.attrs, rows=False)
    where = affine(ids)
    if where is not None:
        return graph.view(node, where[0], shape, where[1])
    cuts = {axis: _runs(ids, axis) for axis in reversed(range(ids.ndim))}
    axis = min((a for a, runs in cuts.items() if len(runs) > 1), key=lambda a: len(cuts[a]))
    return _joined(graph, [gather(graph, node, ids.narrow(axis, s, n)) for s, n in cuts[axis]], axis)


def put(graph: Graph, base: Node, ids: Tensor, node: Node) -> Node:
    """`base` with the elements of `node` at the flat indices `ids` where those are not negative; `ids` is as `base`."""
    inside = ids >= 0
    if inside.all():
        return gather(graph, node, ids)
    if not inside.any():
        return base
    for axis in range(ids.ndim):
        kinds = inside.movedim(axis, 0).reshape(ids.shape[axis], -1).any(1)
        if not kinds.all():
            break
    else:  # no axis leaves out anything as a whole
        axis = 0
        kinds = torch.arange(len(ids)) % 2 == 0
    parts = []
    numbers = torch.arange(base.size).view(base.shape)
    for start, count in _equal(kinds):
        own = gather(graph, base, numbers.narrow(axis, start, count))
        parts.append(put(graph, own, ids.narrow(axis, start, count), node))
    return _joined(graph, parts, axis)


def _joined(graph: Graph, parts: list[Node], axis: int) -> Node:
    if len(parts) > MOST:
        raise Declined(f"it arranges elements in more than {MOST} pieces")
    return graph.cat(parts, axis)


def _runs(ids: Tensor, axis: int) -> list[tuple[int, int]]:
    """Start and size of parts along `axis` in which each slab is the one before plus the same number."""
    slabs = ids.movedim(axis, 0).reshape(ids.shape[axis], -1)
    steps = slabs.diff(dim=0)
    even = (steps == steps[:, :1]).all(1).tolist()
    runs, start = [], 0
    for i in range(1, len(slabs)):
        goes_on = even[i - 1] and (i - 1 == start or bool(steps[i - 1, 0] == steps[i - 2, 0]))
        if not goes_on:
            runs.append((start, i - start))
            start = i
    return [*runs, (start, len(slabs) - start)]


def _equal(kinds: Tensor) -> list[tuple[int, int]]:
    """Start and size of the runs of equal values."""
    _, counts = torch.unique_consecutive(kinds, return_counts=True)
    starts = counts.cumsum(0) - counts
    return list(zip(starts.tolist(), counts.tolist(), strict=True))


def zeros(graph: Graph, shape: tuple[int, ...]) -> Node:
    """Zero everywhere."""
    return graph.make("const", (), shape, "float", ("0.0",), rows=False)


def padded(graph: Graph, node: Node, axis: int, before: int, after: int, value: float = 0.0) -> Node:
    """With so many entries of `value` before and after along `axis`."""

    def filler(size: int) -> Node:
        shape = (*node.shape[:axis], size, *node.shape[axis + 1 :])
        return graph.make("const", (), shape, "float", (repr(float(value)),), rows=False)

    return graph.cat([filler(before), node, filler(after)], axis)


def axis_of(form: Form, dim: int, rank: int) -> int:
    """The node's axis that is the tensor's `dim`, which may not be the row axis."""
    dim %= rank
    if dim == form.axis:
        raise Declined("it joins or pads along the row axis")
    return form.place(dim, rank)
