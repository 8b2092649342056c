"""What a graph means, in PyTorch: nodes evaluated for many rows or steps at once."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from rondeau.recurrence.extent import known
from rondeau.recurrence.ir import Node, strides_of, value_of

F = torch.nn.functional
POINTWISE: dict[str, Callable[..., Any]] = {
    "add": torch.add, "sub": torch.sub, "mul": torch.mul, "div": torch.div, "neg": torch.neg, "abs": torch.abs,
    "sign": torch.sign, "reciprocal": torch.reciprocal, "maximum": torch.maximum, "minimum": torch.minimum,
    "floor": torch.floor, "ceil": torch.ceil, "round": torch.round, "trunc": torch.trunc, "fmod": torch.fmod,
    "remainder": torch.remainder, "exp": torch.exp, "expm1": torch.expm1, "log": torch.log, "log1p": torch.log1p,
    "sqrt": torch.sqrt, "rsqrt": torch.rsqrt, "tanh": torch.tanh, "sigmoid": torch.sigmoid, "softplus": F.softplus,
    "log_sigmoid": F.logsigmoid, "erf": torch.erf, "sin": torch.sin, "cos": torch.cos, "tan": torch.tan,
    "asin": torch.asin, "acos": torch.acos, "atan": torch.atan, "sinh": torch.sinh, "cosh": torch.cosh,
    "exp2": torch.exp2, "log2": torch.log2, "log10": torch.log10, "pow": torch.pow,
    "lt": torch.lt, "le": torch.le, "gt": torch.gt, "ge": torch.ge, "eq": torch.eq, "ne": torch.ne,
    "and": torch.logical_and, "or": torch.logical_or, "not": torch.logical_not, "xor": torch.logical_xor,
    "where": torch.where,
}  # fmt: skip
_REDUCE: dict[str, Callable[..., Tensor]] = {"sum": torch.sum, "max": torch.amax, "min": torch.amin}


class Replay:
    """Values of nodes, each computed once when first asked for.

    `known`: tensors of inputs and of what was computed elsewhere: `(rows, *shape)`, or `(*shape)` for what has no rows.
    `rows`: how many rows (or steps) there are.
    """

    def __init__(
        self, known: Mapping[Node, Tensor], rows: int, dtype: torch.dtype, sizes: Mapping[str, int] | None = None
    ) -> None:
        self.sizes = sizes or {}
        self.known, self.rows, self.dtype = dict(known), rows, dtype

    def __call__(self, node: Node) -> Tensor:
        if node not in self.known:
            self.known[node] = self._compute(node)
        return self.known[node]

    def _compute(self, node: Node) -> Any:
        op, args = node.op, node.args
        if op == "const":
            return torch.full(known(node.shape, self.sizes), value_of(node, self.sizes), dtype=self._type(node))
        if op in POINTWISE:
            return POINTWISE[op](*(self(a) for a in args))
        if op == "to_single":
            return self(args[0]).float().to(self.dtype)
        if op.startswith("to_"):
            return self(args[0]).to(self._type(node))
        if op in ("view", "reshape"):
            return self._view(node)
        if op == "copy":
            return self(args[0]).contiguous()
        if op == "cat":
            return torch.cat([self._whole(a, node.rows) for a in args], node.attrs[0] + node.rows)
        if op == "reduce":
            kind, axes = node.attrs
            return _REDUCE[kind](self(args[0]), dim=[a + node.rows for a in axes])
        if op == "product":
            return torch.matmul(self(args[0]), self(args[1]))
        if op == "total":
            return self(args[0]).sum(0)
        if op == "outer":
            a, b = (self._whole(x, True).flatten(0, -2) for x in args)
            return a.t() @ b
        if op == "gather":
            return self(args[0])[self._ids(node, len(self(args[0])))]
        if op == "scatter":
            values, ids = self._whole(args[0], True), self._ids(node, node.shape[0])
            zero = torch.zeros(node.shape, dtype=self.dtype)
            return zero.index_add_(0, ids.flatten(), values.reshape(-1, *node.shape[1:]))
        if op == "item":
            return self(args[0])[node.attrs[0]]
        if op == "aten":
            return self._aten(node)
        raise ValueError(f"the value of {node} was not given")

    def _type(self, node: Node) -> torch.dtype:
        return {"bool": torch.bool, "int": torch.int64}.get(node.dtype, self.dtype)

    def _ids(self, node: Node, count: int) -> Tensor:
        """The numbers a lookup asks for. Raises `IndexError` for one outside the table, as torch does."""
        ids = self._whole(node.args[1], True)
        low = -count if node.attrs[0] else 0
        if ids.numel() and (int(ids.min()) < low or int(ids.max()) >= count):
            wrong = ids[(ids < low) | (ids >= count)][0]
            raise IndexError(f"index {int(wrong)} is out of bounds for a table of {count}")
        return torch.where(ids < 0, ids + count, ids)

    def _whole(self, node: Node, rows: bool) -> Tensor:
        """The value with its row axis, also where it is the same in all rows."""
        value = self(node)
        return value.expand(self.rows, *known(node.shape, self.sizes)) if rows and not node.rows else value

    def _view(self, node: Node) -> Tensor:
        base = self(node.args[0]).contiguous()
        shape, below = known(node.shape, self.sizes), known(node.args[0].shape, self.sizes)
        attrs = known(node.attrs, self.sizes)
        own = strides_of(below)
        if node.op == "reshape":
            offset, strides = attrs
        else:
            offset = sum(start * s for (start, _), s in zip(attrs, own, strict=True))
            strides = [0] * len(shape)
            for (_, terms), s in zip(attrs, own, strict=True):
                for axis, factor in terms:
                    strides[axis] += factor * s
        if any(s < 0 for s in strides):
            return self._turned(base, node.rows, shape, offset, strides)
        if node.rows:
            size = math.prod(below)
            return base.as_strided((len(base), *shape), (size, *strides), base.storage_offset() + offset)
        return base.as_strided(shape, tuple(strides), base.storage_offset() + offset)

    def _turned(self, base: Tensor, rows: bool, shape: tuple[int, ...], offset: int, strides: list[int]) -> Tensor:
        """torch has no negative strides: by index."""
        where = torch.full(shape, offset)
        for axis, (size, stride) in enumerate(zip(shape, strides, strict=True)):
            along = [1] * len(shape)
            along[axis] = size
            where = where + (torch.arange(size) * stride).view(along)
        return base.flatten(1)[:, where] if rows else base.flatten()[where]

    def _aten(self, node: Node) -> Any:
        name, (args, kwargs) = node.attrs
        function: Any = torch.ops
        for part in name.split("."):
            function = getattr(function, part)
        values = [self(a) for a in node.args]
        return function(*_fill(args, values), **dict(_fill(kwargs, values)))


def _fill(template: Any, values: list[Tensor]) -> Any:
    kind = template[0]
    if kind == "list":
        return [_fill(t, values) for t in template[1:]]
    if kind == "node":
        return values[template[1]]
    if kind == "value":
        return template[1]
    return torch.device(template[1]) if kind == "device" else getattr(torch, template[1])
