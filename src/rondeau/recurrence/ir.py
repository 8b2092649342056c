"""The intermediate form of a step: few kinds of nodes, each a value per row, or one for all rows.

Shapes leave out the row axis: `h` of shape `(batch, units)` is a node of shape `(units,)` with `rows=True`; a weight has
`rows=False`. A node is one of

    input       attrs (kind, name); kind: param, row, step, state, index, output_cotangent, state_cotangent
    const       attrs (value,); shape ()
    pointwise   op is one of POINTWISE; arguments have the node's shape, or are constants
    view        another arrangement of the argument's elements; attrs: for each of its axes (offset, ((axis, factor), ...))
    reshape     as view, by flat index: attrs (offset, strides); the argument must lie in memory
    copy        the argument, put into memory
    cat         the arguments one after the other; attrs (axis,)
    reduce      attrs (kind, axes); kind: sum, max, min; the axes go
    product     (x, weight): x @ weight over x's last axis
    total       the sum over all rows (and all steps)
    gather      (table, ids): rows of a table without rows, of shape (*ids, *row); attrs (wraps,): whether a negative id
                counts from the end. An id outside the table gives NaN
    scatter     (values, ids): the sum over all rows (and steps) of values, each at its id in a table; attrs (wraps,)
    outer       (a, b): the sum over all rows (and steps) of a's outer product with b; over leading axes as well
    aten        attrs (name, template): an operation of torch on values without rows
    item        attrs (position,): one result of an `aten` that has several
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

POINTWISE = {
    # arithmetic
    "add": 2, "sub": 2, "mul": 2, "div": 2, "neg": 1, "abs": 1, "sign": 1, "reciprocal": 1, "maximum": 2, "minimum": 2,
    "floor": 1, "ceil": 1, "round": 1, "trunc": 1, "fmod": 2, "remainder": 2,
    # functions
    "exp": 1, "expm1": 1, "log": 1, "log1p": 1, "sqrt": 1, "rsqrt": 1, "tanh": 1, "sigmoid": 1, "softplus": 1,
    "log_sigmoid": 1, "erf": 1, "sin": 1, "cos": 1, "tan": 1, "asin": 1, "acos": 1, "atan": 1, "sinh": 1, "cosh": 1,
    "exp2": 1, "log2": 1, "log10": 1, "pow": 2,
    # truth
    "lt": 2, "le": 2, "gt": 2, "ge": 2, "eq": 2, "ne": 2, "and": 2, "or": 2, "not": 1, "xor": 2, "where": 3,
    # types
    "to_float": 1, "to_int": 1, "to_bool": 1,
}  # fmt: skip
TRUTH = {"lt", "le", "gt", "ge", "eq", "ne", "and", "or", "not", "xor", "to_bool"}
# what costs more than a few instructions, so that computing it twice has to be weighed
COSTLY = {"exp", "expm1", "log", "log1p", "tanh", "sigmoid", "softplus", "log_sigmoid", "erf", "sin", "cos", "tan", "asin",
          "acos", "atan", "sinh", "cosh", "exp2", "log2", "log10", "pow", "div",
          "sqrt", "rsqrt", "reciprocal", "fmod", "remainder"}  # fmt: skip


class Node:
    """A value of the graph; compared by identity, since a graph makes each only once."""

    __slots__ = ("args", "attrs", "dtype", "index", "op", "rows", "shape")

    def __init__(
        self, index: int, op: str, args: tuple[Node, ...], shape: tuple[int, ...], dtype: str, rows: bool, attrs: Any
    ) -> None:
        self.index, self.op, self.args, self.shape = index, op, args, shape
        self.dtype, self.rows, self.attrs = dtype, rows, attrs

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    def __repr__(self) -> str:
        where = "" if self.rows else "P"
        args = ", ".join(f"%{a.index}" for a in self.args)
        return f"%{self.index} = {self.op}({args}) {list(self.shape)}{where} {self.dtype} {self.attrs or ''}".rstrip()


def strides_of(shape: Sequence[int]) -> tuple[int, ...]:
    """Steps of a contiguous array: (2, 3, 4) -> (12, 4, 1)."""
    strides: list[int] = []
    step = 1
    for size in reversed(shape):
        strides.append(step)
        step = step * size
    return tuple(reversed(strides))


class Graph:
    """Nodes, each made once: the same operation on the same arguments is the same node."""

    def __init__(self) -> None:
        self.nodes: list[Node] = []
        self._known: dict[Any, Node] = {}

    def make(
        self,
        op: str,
        args: Iterable[Node],
        shape: Sequence[int],
        dtype: str = "float",
        attrs: Any = (),
        rows: bool | None = None,
    ) -> Node:
        args = tuple(args)
        rows = any(a.rows for a in args) if rows is None else rows
        key = (op, tuple(a.index for a in args), tuple(shape), dtype, attrs, rows)
        node = self._known.get(key)
        if node is None:
            node = Node(len(self.nodes), op, args, tuple(shape), dtype, rows, attrs)
            self.nodes.append(node)
            self._known[key] = node
        return node

    def input(self, kind: str, name: str, shape: Sequence[int], dtype: str = "float") -> Node:
        return self.make("input", (), shape, dtype, (kind, name), rows=kind != "param")

    def const(self, value: float | bool, dtype: str = "float") -> Node:
        # the text of the value keeps 0.0 and -0.0, and NaNs, apart and comparable
        return self.make("const", (), (), dtype, (repr(value),), rows=False)

    def pointwise(self, op: str, *args: Node, dtype: str | None = None) -> Node:
        """Arguments are of one shape, or constants. Simplified where that changes no bit of a finite or infinite result."""
        shape = next((a.shape for a in args if a.op != "const"), ())
        if dtype is None:
            numbers = args[1:] if op == "where" else args
            dtype = "bool" if op in TRUTH else "int" if all(a.dtype == "int" for a in numbers) else "float"
        if op == "mul":
            for a, b in (args, args[::-1]):
                if a.op == "const" and value_of(a) == 1 and b.dtype == dtype:
                    return b
        if op in ("sub", "div") and args[1].op == "const" and value_of(args[1]) == (op == "div"):
            return args[0]
        if op == "add":
            for a, b in (args, args[::-1]):
                if a.op == "const" and value_of(a) == 0 and b.op != "const" and b.dtype == dtype:
                    return b
        return self.make(op, args, shape, dtype)

    def view(self, base: Node, offset: int, shape: Sequence[int], strides: Sequence[int]) -> Node:
        """`base` read at the flat index `offset + sum(strides * index)`, for indices within `shape`."""
        shape = tuple(shape)
        if base.op == "const":
            return base
        if (
            shape == base.shape
            and offset == 0
            and all(n == 1 or s == t for n, s, t in zip(shape, strides, strides_of(base.shape), strict=True))
        ):
            return base
        maps = decompose(offset, shape, strides, base.shape)
        if maps is None:
            return self._reshape(base, offset, shape, strides)
        return self.mapped(base, shape, maps)

    def mapped(self, base: Node, shape: tuple[int, ...], maps: Any) -> Node:
        """A view by `maps`, gathered with the view below it, or taken from the one part of a `cat` that it lies in."""
        if base.op == "view":
            return self.mapped(base.args[0], shape, compose(maps, base.attrs))
        if shape == base.shape and all(
            o == 0 and t == (((a, 1),) if n != 1 else ()) for a, (n, (o, t)) in enumerate(zip(shape, maps, strict=True))
        ):
            return base
        if base.op == "cat":
            axis, start = base.attrs[0], 0
            low, high = _range(maps[axis], shape)
            for part in base.args:
                end = start + part.shape[axis]
                if start <= low and high < end:
                    moved = (maps[axis][0] - start, maps[axis][1])
                    return self.mapped(part, shape, (*maps[:axis], moved, *maps[axis + 1 :]))
                start = end
        return self.make("view", (base,), shape, base.dtype, maps)

    def _reshape(self, base: Node, offset: int, shape: tuple[int, ...], strides: Sequence[int]) -> Node:
        if base.op in ("view", "cat") or base.op in POINTWISE:
            base = self.copy(base)
        return self.make("reshape", (base,), shape, base.dtype, (offset, tuple(strides)))

    def copy(self, node: Node) -> Node:
        return node if node.op == "copy" else self.make("copy", (node,), node.shape, node.dtype)

    def expand(self, node: Node, shape: Sequence[int]) -> Node:
        """As torch broadcasts: axes of size 1, and missing ones in front, are repeated."""
        shape = tuple(shape)
        if node.op == "const" or node.shape == shape:
            return node
        lead = len(shape) - len(node.shape)
        own = strides_of(node.shape)
        strides = (0,) * lead + tuple(0 if n == 1 else s for n, s in zip(node.shape, own, strict=True))
        return self.view(node, 0, shape, strides)

    def cat(self, parts: Sequence[Node], axis: int) -> Node:
        """Parts of size 0 are left out."""
        parts = [p for p in parts if p.shape[axis]]
        if len(parts) == 1:
            return parts[0]
        shape = list(parts[0].shape)
        shape[axis] = sum(p.shape[axis] for p in parts)
        return self.make("cat", parts, shape, parts[0].dtype, (axis,))

    def reduce(self, kind: str, node: Node, axes: Sequence[int]) -> Node:
        axes = tuple(sorted(a % len(node.shape) for a in axes))
        if not axes:
            return node
        if all(node.shape[a] == 1 for a in axes):
            kept = [a for a in range(len(node.shape)) if a not in axes]
            shape = [node.shape[a] for a in kept]
            return self.view(node, 0, shape, [strides_of(node.shape)[a] for a in kept])
        shape = [n for a, n in enumerate(node.shape) if a not in axes]
        return self.make("reduce", (node,), shape, node.dtype, (kind, axes))


def value_of(const: Node, sizes: Mapping[str, int] | None = None) -> float:
    """The number a constant stands for; `sizes` where it is a share of one."""
    text = const.attrs[0]
    if const.dtype == "bool":
        return float(text == "True")
    if "/" in text:
        share, name = text.split("/")
        return float(share) / (sizes or {})[name]
    return float(text)


def decompose(offset: int, shape: Sequence[int], strides: Sequence[int], base: Sequence[int]) -> Any:
    """The flat affine index as one affine index for each axis of `base`, or None where no such thing exists."""
    if not base:
        return () if offset == 0 else None
    maps = []
    remaining = [
        (axis, stride) for axis, (n, stride) in enumerate(zip(shape, strides, strict=True)) if n != 1 and stride
    ]
    for step, size in zip(strides_of(base), base, strict=True):
        start, offset = divmod(offset, step) if step else (0, offset)
        terms, rest = [], []
        for axis, stride in remaining:
            factor = (abs(stride) // step) * (1 if stride > 0 else -1) if size != 1 else 0
            if factor:
                terms.append((axis, factor))
            if stride - factor * step:
                rest.append((axis, stride - factor * step))
        remaining = rest
        entry = (start, tuple(terms))
        low, high = _range(entry, shape)
        if low < 0 or high >= size:
            return None
        maps.append(entry)
    return tuple(maps) if not remaining and offset == 0 else None


def _range(entry: Any, shape: Sequence[int]) -> tuple[int, int]:
    offset, terms = entry
    low = offset + sum(min(0, f * (shape[a] - 1)) for a, f in terms)
    return low, offset + sum(max(0, f * (shape[a] - 1)) for a, f in terms)


def compose(outer: Any, inner: Any) -> Any:
    """Two views in one: first `outer` (new axes to the inner view's), then `inner` (those to the base's)."""
    maps = []
    for offset, terms in inner:
        total: dict[int, int] = {}
        for axis, factor in terms:
            start, parts = outer[axis]
            offset += factor * start
            for a, f in parts:
                total[a] = total.get(a, 0) + f * factor
        maps.append((offset, tuple((a, f) for a, f in sorted(total.items()) if f)))
    return tuple(maps)


def ancestors(roots: Iterable[Node]) -> set[Node]:
    """The roots and everything they are made of."""
    seen: set[Node] = set()
    waiting = list(roots)
    while waiting:
        node = waiting.pop()
        if node not in seen:
            seen.add(node)
            waiting.extend(node.args)
    return seen
