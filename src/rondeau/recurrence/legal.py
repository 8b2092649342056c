"""What a graph may say: nodes that read only what is there, so that a kernel made of foreign text cannot stray."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch

from rondeau.recurrence.extent import Extent, known
from rondeau.recurrence.ir import POINTWISE, Node, value_of

INPUTS = ("param", "row", "step", "state", "index", "output_cotangent", "state_cotangent")
_MOST = 1 << 40  # elements of one value


class Illegal(ValueError):
    """A node that means nothing, or reads outside its arguments."""


def check(nodes: Iterable[Node], sizes: Mapping[str, int] | None = None) -> None:
    """Raise `Illegal` for the first node that is none; arguments must stand before the nodes that use them.

    Args:
        sizes: of memories, by name; None: those the graph was traced with.
    """

    def at(number: Any) -> Any:
        return _traced(number) if sizes is None else known(number, sizes)

    for node in nodes:
        try:
            shape = at(node.shape)
            if not all(type(n) is int and n >= 0 for n in shape) or math.prod(shape) > _MOST:
                raise Illegal("it has no possible shape")
            rule = _RULES.get(node.op, _pointwise if node.op in POINTWISE else None)
            if rule is None:
                raise Illegal("no such operation")
            rule(node, shape, [at(a.shape) for a in node.args], at(node.attrs))
        except Illegal as error:
            raise Illegal(f"{node}: {error}") from error
        except (TypeError, ValueError, KeyError, IndexError, AttributeError) as error:
            raise Illegal(f"{node}: {type(error).__name__}: {error}") from error


def _traced(number: Any) -> Any:
    if isinstance(number, tuple):
        return tuple(_traced(n) for n in number)
    return int(number) if isinstance(number, Extent) else number


def _require(holds: bool, what: str) -> None:
    if not holds:
        raise Illegal(what)


def _numbers(value: Any) -> None:
    """Only whole numbers, at any depth."""
    if isinstance(value, tuple):
        for part in value:
            _numbers(part)
    else:
        _require(type(value) is int, f"{value!r} is no whole number")


def _arguments(node: Node, count: int) -> None:
    _require(len(node.args) == count, f"it needs {count} arguments")


def _rows_follow(node: Node) -> None:
    _require(node.rows == any(a.rows for a in node.args), "whether it has rows does not follow from its arguments")


def _input(node: Node, shape: Any, given: Any, attrs: Any) -> None:
    _arguments(node, 0)
    kind, name = attrs
    _require(kind in INPUTS and isinstance(name, str), "no such input")
    _require(node.rows == (kind != "param"), "whether it has rows does not follow from its kind")
    if kind == "index":
        _require(shape == () and node.dtype == "int", "the index is a whole number")
    if kind in ("param", "state", "state_cotangent"):
        _require(name.isdecimal() and name == str(int(name)), "its name is no number")
    if "cotangent" in kind or kind == "state":
        _require(node.dtype == "float", "it must be of floats")


def _const(node: Node, shape: Any, given: Any, attrs: Any) -> None:
    _arguments(node, 0)
    (text,) = attrs
    _require(isinstance(text, str) and not node.rows and node.dtype != "several", "no constant")
    if "/" in text:
        float(text.split("/")[0])
    else:
        value_of(node)


def _pointwise(node: Node, shape: Any, given: Any, attrs: Any) -> None:
    _arguments(node, POINTWISE[node.op])
    _rows_follow(node)
    _require(attrs == (), "attributes that nobody reads")
    _require(all(s == shape or a.op == "const" for s, a in zip(given, node.args, strict=True)), "shapes differ")
    _require(all(a.dtype != "several" for a in (*node.args, node)), "an argument is several values")


def _view(node: Node, shape: Any, given: Any, attrs: Any) -> None:
    _arguments(node, 1)
    _rows_follow(node)
    _numbers(attrs)
    _require(len(attrs) == len(given[0]), "it needs an index for each axis of its argument")
    for (offset, terms), size in zip(attrs, given[0], strict=True):
        low = high = offset
        for axis, factor in terms:
            _require(0 <= axis < len(shape), "no such axis")
            end = factor * (shape[axis] - 1)
            low, high = low + min(0, end), high + max(0, end)
        _require(math.prod(shape) == 0 or (low >= 0 and high < size), "it reads outside its argument")


def _reshape(node: Node, shape: Any, given: Any, attrs: Any) -> None:
    _arguments(node, 1)
    _rows_follow(node)
    _numbers(attrs)
    offset, strides = attrs
    ends = [s * (n - 1) for s, n in zip(strides, shape, strict=True)]
    low, high = offset + sum(min(0, e) for e in ends), offset + sum(max(0, e) for e in ends)
    _require(math.prod(shape) == 0 or (low >= 0 and high < math.prod(given[0])), "it reads outside its argument")


def _copy(node: Node, shape: Any, given: Any, attrs: Any) -> None:
    _arguments(node, 1)
    _rows_follow(node)
    _require(shape == given[0], "shapes differ")


def _cat(node: Node, shape: Any, given: Any, attrs: Any) -> None:
    (axis,) = attrs
    _rows_follow(node)
    _numbers(attrs)
    _require(len(node.args) > 0 and 0 <= axis < len(shape), "no such axis")
    for part in given:
        _require(len(part) == len(shape), "its parts have other axes")
        _require(all(a == axis or n == m for a, (n, m) in enumerate(zip(part, shape, strict=True))), "shapes differ")
    _require(sum(p[axis] for p in given) == shape[axis], "its parts do not fill it")


def _reduce(node: Node, shape: Any, given: Any, attrs: Any) -> None:
    _arguments(node, 1)
    _rows_follow(node)
    kind, axes = attrs
    _numbers(axes)
    _require(kind in ("sum", "max", "min"), "no such reduction")
    _require(len(axes) > 0 and list(axes) == sorted(set(axes)) and axes[0] >= 0, "no such axes")
    _require(axes[-1] < len(given[0]), "no such axes")
    _require(shape == tuple(n for a, n in enumerate(given[0]) if a not in axes), "shapes differ")


def _product(node: Node, shape: Any, given: Any, attrs: Any) -> None:
    _arguments(node, 2)
    x, weight = given
    _require(node.args[0].rows and node.rows and not node.args[1].rows, "rows times a weight")
    _require(len(weight) == 2 and len(x) > 0 and x[-1] == weight[0], "sizes do not fit")
    _require(shape == (*x[:-1], weight[1]), "shapes differ")


def _total(node: Node, shape: Any, given: Any, attrs: Any) -> None:
    _arguments(node, 1)
    _require(not node.rows and shape == given[0], "shapes differ")


def _outer(node: Node, shape: Any, given: Any, attrs: Any) -> None:
    _arguments(node, 2)
    a, b = given
    _require(not node.rows and len(a) > 0 and a[:-1] == b[:-1] and shape == (a[-1], b[-1]), "shapes differ")


def _gather(node: Node, shape: Any, given: Any, attrs: Any) -> None:
    _arguments(node, 2)
    table, ids = node.args
    _require(len(attrs) == 1 and type(attrs[0]) is bool, "whether ids count from the end is not said")
    _require(not table.rows and table.dtype == "float" and len(given[0]) > 0, "no table")
    _require(ids.rows and node.rows and ids.dtype == "int", "no numbers with rows to look up")
    _require(shape == (*given[1], *given[0][1:]), "shapes differ")


def _scatter(node: Node, shape: Any, given: Any, attrs: Any) -> None:
    _arguments(node, 2)
    _require(len(attrs) == 1 and type(attrs[0]) is bool, "whether ids count from the end is not said")
    _require(not node.rows and len(shape) > 0 and node.args[1].dtype == "int", "no table to add to")
    _require(given[0] == (*given[1], *shape[1:]), "shapes differ")


def _aten(node: Node, shape: Any, given: Any, attrs: Any) -> None:
    name, template = attrs
    _require(not node.rows and not any(a.rows for a in node.args), "torch computes only what has no rows")
    function: Any = torch.ops
    for part in name.split("."):
        _require(part.isidentifier() and not part.startswith("__"), "no such operation")
        function = getattr(function, part)
    _require(isinstance(function, torch._ops.OpOverload), "no such operation")
    _require(not function._schema.is_mutable, "it changes its arguments")
    for part in template:
        _template(part, len(node.args))


def _template(value: Any, count: int) -> None:
    kind = value[0]
    if kind == "list":
        for part in value[1:]:
            _template(part, count)
    elif kind == "node":
        _require(0 <= value[1] < count, "no such argument")
    else:
        _require(kind in ("value", "dtype", "device", "layout", "memory_format"), "no such argument")
        _require(kind in ("value", "device") or isinstance(getattr(torch, value[1]), getattr(torch, kind)), "no type")


def _item(node: Node, shape: Any, given: Any, attrs: Any) -> None:
    _arguments(node, 1)
    (position,) = attrs
    _require(node.args[0].dtype == "several" and type(position) is int and position >= 0, "no such item")


_RULES: dict[str, Callable[[Node, Any, Any, Any], None]] = {
    "input": _input, "const": _const, "view": _view, "reshape": _reshape, "copy": _copy, "cat": _cat,
    "reduce": _reduce, "product": _product, "total": _total, "outer": _outer, "gather": _gather,
    "scatter": _scatter, "aten": _aten, "item": _item,
}  # fmt: skip
