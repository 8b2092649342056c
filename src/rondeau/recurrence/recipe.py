"""What a graph means, in PyTorch: its nodes as a list of torch's operations, made once and run at each call."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from typing import Any

import torch
from torch import Tensor

from rondeau.recurrence.extent import Extent, known
from rondeau.recurrence.ir import Node, ancestors, strides_of, value_of

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
STEPS, BATCH, SIZES, LENGTHS = range(4)  # what every run is told, in front of its values


class Recipe:
    """Operations in order, each on values that are given or were computed before it.

    A node with rows has a value for each step, `(steps, *shape)`, or, computed once per row, for each row of the
    batch, `(batch, *shape)`; one without has a single value, `(*shape)`.

    Args:
        dtype: of floating-point numbers.
        per_row: nodes that are computed once per row; where steps read them, each row's is repeated.
    """

    def __init__(self, dtype: torch.dtype, per_row: Collection[Node] = ()) -> None:
        self.dtype, self.per_row = dtype, frozenset(per_row)
        self.lines: list[tuple[Callable[..., Any], tuple[int, ...], int]] = []
        self._at: dict[Any, int] = {}
        self._count = LENGTHS + 1

    def given(self, node: Node, once_per_row: bool = False) -> int:
        """Where the value of a node is to be put before a run."""
        place = self._at[node, once_per_row and node.rows] = self._new()
        return place

    def given_as(self, name: str) -> int:
        """Where something else that is given goes."""
        place = self._at[name] = self._new()
        return place

    def compute(self, node: Node, function: Callable[..., Any], *arguments: int) -> None:
        """The node's value is to be what `function` makes of the values at these places."""
        self._at[node, False] = self.add(function, *arguments)

    def value(self, node: Node, once_per_row: bool = False) -> int:
        """Where a node's value will be."""
        key = node, once_per_row and node.rows
        if key not in self._at:
            if node.rows and not once_per_row and (node in self.per_row or (node, True) in self._at):
                spread = self.add(torch.Tensor.index_select, self.value(node, True), self._zero(), self._owners())
                self._at[key] = spread
            else:
                self._at[key] = self._computed(node, once_per_row and node.rows)
        return self._at[key]

    def whole(self, node: Node) -> int:
        """Where the value of a node without rows will be, in the type of all numbers: torch's own may be shorter."""
        place, dtype = self.value(node), self.dtype
        if node.dtype == "float" and any(n.op in ("aten", "item") for n in ancestors([node])):
            return self.add(lambda value: value if value.dtype == dtype else value.to(dtype), place)
        return place

    def add(self, function: Callable[..., Any], *arguments: int) -> int:
        """One more operation, on what is at these places; where its result will be."""
        place = self._new()
        self.lines.append((function, arguments, place))
        return place

    def read(self) -> set[int]:
        """All places that operations read."""
        return {a for _, arguments, _ in self.lines for a in arguments}

    def begin(self, steps: int, lengths: Tensor | None, sizes: Mapping[str, int]) -> list[Any]:
        """The values of a run, to be filled with those that are given."""
        values: list[Any] = [None] * self._count
        values[STEPS], values[SIZES], values[LENGTHS] = steps, sizes, lengths
        values[BATCH] = 0 if lengths is None else lengths.shape[0]
        return values

    def run(self, values: list[Any], first: int = 0, last: int | None = None) -> None:
        for function, arguments, place in self.lines[first:last]:
            values[place] = function(*[values[a] for a in arguments])

    def _new(self) -> int:
        self._count += 1
        return self._count - 1

    def _zero(self) -> int:
        if "zero" not in self._at:
            self._at["zero"] = self.add(lambda: 0)
        return self._at["zero"]

    def _owners(self) -> int:
        """For each step the row it belongs to."""
        if "owners" not in self._at:
            self._at["owners"] = self.add(owners, LENGTHS)
        return self._at["owners"]

    def _computed(self, node: Node, once_per_row: bool) -> int:
        op, args = node.op, node.args

        def whole(argument: Node, rows: bool) -> int:
            """Its value with the row axis, also where it is the same in all rows."""
            place = self.value(argument, once_per_row)
            if rows and not argument.rows:
                count = BATCH if once_per_row else STEPS
                return self.add(_expanded(argument.shape), place, count, SIZES)
            return place

        if op == "cat":
            axis = node.attrs[0] + node.rows
            return self.add(lambda *parts: torch.cat(parts, axis), *(whole(a, node.rows) for a in args))
        if op == "outer":
            return self.add(_outer, *(whole(a, True) for a in args))
        if op == "gather":
            table, ids = self.value(args[0], once_per_row), whole(args[1], True)
            return self.add(_gather(bool(node.attrs[0])), table, ids)
        if op == "scatter":
            return self.add(_scatter(node, self.dtype), *(whole(a, True) for a in args), SIZES)
        places = [self.value(a, once_per_row) for a in args]
        if op == "const":
            return self.add(_constant(node, self._type(node)), SIZES)
        if op in ("view", "reshape"):
            return self.add(_view(node), *places, SIZES)
        return self.add(self._function(node), *places)

    def _function(self, node: Node) -> Callable[..., Any]:
        op, dtype = node.op, self.dtype
        if op in POINTWISE:
            return POINTWISE[op]
        if op == "to_single":
            return lambda a: a.float().to(dtype)
        if op.startswith("to_"):
            kind = self._type(node)
            return lambda a: a.to(kind)
        if op == "copy":
            return torch.Tensor.contiguous
        if op == "reduce":
            kind, axes = node.attrs
            reduce, dim = _REDUCE[kind], [a + node.rows for a in axes]
            return lambda a: reduce(a, dim=dim)
        if op == "product":
            operand = node.args[0]  # mm is the quicker one to call; a vector without rows is no matrix
            return torch.mm if operand.rows and len(operand.shape) == 1 else torch.matmul
        if op == "total":
            return lambda a: a.sum(0)
        if op == "item":
            which = node.attrs[0]
            return lambda found: found[which]
        if op == "aten":
            return _aten(node)
        raise ValueError(f"the value of {node} was not given")

    def _type(self, node: Node) -> torch.dtype:
        return {"bool": torch.bool, "int": torch.int64}.get(node.dtype, self.dtype)


def evaluate(
    wanted: Node, given: Mapping[Node, Tensor], rows: int, dtype: torch.dtype, sizes: Mapping[str, int] | None = None
) -> Tensor:
    """One value, of values given for `rows` rows (or steps), or without rows."""
    recipe = Recipe(dtype)
    places = {recipe.given(node): tensor for node, tensor in given.items()}
    place = recipe.value(wanted)
    values = recipe.begin(rows, None, sizes or {})
    for where, tensor in places.items():
        values[where] = tensor
    recipe.run(values)
    return values[place]  # type: ignore[no-any-return]


def owners(lengths: Tensor) -> Tensor:
    """For each step of rows of these lengths the row it belongs to."""
    return torch.repeat_interleave(torch.arange(len(lengths)), lengths)


def _expanded(shape: tuple[int, ...]) -> Callable[..., Tensor]:
    return lambda value, rows, sizes: value.expand(rows, *known(shape, sizes))


def _outer(a: Tensor, b: Tensor) -> Tensor:
    if a.ndim > 2 or b.ndim > 2:
        a, b = a.flatten(0, -2), b.flatten(0, -2)
    return torch.mm(a.t(), b)


def _constant(node: Node, dtype: torch.dtype) -> Callable[..., Tensor]:
    return lambda sizes: torch.full(known(node.shape, sizes), value_of(node, sizes), dtype=dtype)


def _ids(ids: Tensor, count: int, from_the_end: bool) -> Tensor:
    """The numbers a lookup asks for. Raises `IndexError` for one outside the table, as torch does."""
    low = -count if from_the_end else 0
    if ids.numel() and (int(ids.min()) < low or int(ids.max()) >= count):
        wrong = ids[(ids < low) | (ids >= count)][0]
        raise IndexError(f"index {int(wrong)} is out of bounds for a table of {count}")
    return torch.where(ids < 0, ids + count, ids)


def _gather(from_the_end: bool) -> Callable[..., Tensor]:
    return lambda table, ids: table[_ids(ids, len(table), from_the_end)]


def _scatter(node: Node, dtype: torch.dtype) -> Callable[..., Tensor]:
    def scatter(values: Tensor, ids: Tensor, sizes: Mapping[str, int]) -> Tensor:
        shape = known(node.shape, sizes)
        ids = _ids(ids, shape[0], bool(node.attrs[0]))
        return torch.zeros(shape, dtype=dtype).index_add_(0, ids.flatten(), values.reshape(-1, *shape[1:]))

    return scatter


def _view(node: Node) -> Callable[..., Tensor]:
    """Another view of a value that lies row by row; what does not is put so first."""
    if not _extents((node.shape, node.args[0].shape, node.attrs)):
        fixed = _strided(node, {})
        return lambda base, sizes: fixed(base)
    return lambda base, sizes: _strided(node, sizes)(base)


def _extents(number: Any) -> bool:
    return any(map(_extents, number)) if isinstance(number, tuple) else isinstance(number, Extent)


def _strided(node: Node, sizes: Mapping[str, int]) -> Callable[[Tensor], Tensor]:
    shape, below, attrs = (known(part, sizes) for part in (node.shape, node.args[0].shape, node.attrs))
    if node.op == "reshape":
        offset, strides = attrs
    else:
        own = strides_of(below)
        offset, strides = sum(start * s for (start, _), s in zip(attrs, own, strict=True)), [0] * len(shape)
        for (_, terms), s in zip(attrs, own, strict=True):
            for axis, factor in terms:
                strides[axis] += factor * s
    strides = tuple(strides)
    if any(s < 0 for s in strides):  # torch has none: by index
        where = torch.full(shape, offset)
        for axis, (size, stride) in enumerate(zip(shape, strides, strict=True)):
            along = [1] * len(shape)
            along[axis] = size
            where = where + (torch.arange(size) * stride).view(along)
        return lambda base: base.flatten(1)[:, where] if node.rows else base.flatten()[where]
    row = math.prod(below)

    def view(base: Tensor) -> Tensor:
        base = base.contiguous()
        begin = base.storage_offset() + offset
        if node.rows:
            return base.as_strided((base.shape[0], *shape), (row, *strides), begin)
        return base.as_strided(shape, strides, begin)

    return view


# torch's own functions of the same arguments: an overload takes microseconds to call
_SHORT: dict[str, Callable[..., Tensor]] = {
    "aten.t.default": torch.t, "aten.transpose.int": torch.transpose, "aten.view.default": torch.Tensor.view,
    "aten.select.int": torch.select, "aten.unsqueeze.default": torch.unsqueeze, "aten.permute.default": torch.permute,
}  # fmt: skip


def _aten(node: Node) -> Callable[..., Any]:
    name, (args, kwargs) = node.attrs
    function: Any = torch.ops
    for part in name.split("."):
        function = getattr(function, part)
    if kwargs == ("list",) and not any(t[0] == "list" and _has_node(t) for t in args[1:]):
        plan = [(t[0] == "node", t[1] if t[0] == "node" else _fill(t, ())) for t in args[1:]]
        short: Callable[..., Any] = _SHORT.get(name, function)
        if len(plan) == 1 and plan[0] == (True, 0):
            return short
        return lambda *values: short(*[values[what] if is_node else what for is_node, what in plan])
    return lambda *values: function(*_fill(args, values), **dict(_fill(kwargs, values)))


def _has_node(template: Any) -> bool:
    return template[0] == "node" or (template[0] == "list" and any(map(_has_node, template[1:])))


def _fill(template: Any, values: tuple[Any, ...]) -> Any:
    kind = template[0]
    if kind == "list":
        return [_fill(t, values) for t in template[1:]]
    if kind == "node":
        return values[template[1]]
    if kind == "value":
        return template[1]
    return torch.device(template[1]) if kind == "device" else getattr(torch, template[1])
