"""What loops can do with whole numbers and truth values; the rest is declined."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch

from rondeau.recurrence.ir import POINTWISE, Node, value_of
from rondeau.recurrence.trace.forms import Declined

_ANY = {"where", "eq", "ne", "to_float", "to_int", "to_bool"}
_ROUNDED = {"floor", "ceil", "round", "trunc"}
_ORDER = {"lt", "le", "gt", "ge", "maximum", "minimum"}
_WHOLE = _ANY | _ROUNDED | _ORDER | {"add", "sub", "mul", "neg", "abs", "sign"}
_TRUTH = _ANY | {"and", "or", "xor", "not"}
OF_TRUTH = {"add": "or", "mul": "and", "maximum": "or", "minimum": "and"}  # what torch means by it
_CALLED = {"int": "whole numbers", "bool": "truth values", "float": "floating-point numbers"}


def kind_of(dtype: torch.dtype) -> str:
    """A type of torch's as the graph has it."""
    return "bool" if dtype == torch.bool else "float" if dtype.is_floating_point else "int"


def check_result(node: Node, dtype: torch.dtype) -> None:
    """Raises `Declined` where torch gives another kind of number than the node, or a narrower whole one."""
    kind = kind_of(dtype)
    if node.dtype != kind and not (
        kind == "int" and node.op not in POINTWISE
    ):  # counts are added up as other numbers are
        raise Declined(f"it makes {_CALLED[kind]} of what the compiler takes for {_CALLED[node.dtype]}")
    if kind == "int" and dtype != torch.int64 and node.op in POINTWISE:
        raise Declined(f"it computes in {str(dtype).removeprefix('torch.')}; loops compute whole numbers in int64")


def check(nodes: Iterable[Node], origin: Callable[[int], tuple[str, str | None]]) -> None:
    """Raises `Declined` for an operation that loops have for floating-point numbers only.

    `origin`: what a node, by its index, was made by, and on which line.
    """
    for node in nodes:
        wrong = _wrong(node)
        if wrong is not None:
            name, where = origin(node.index)
            raise Declined(f"{name} {wrong}", where)


def _wrong(node: Node) -> str | None:
    args = node.args[1:] if node.op == "where" else node.args
    kinds = {a.dtype for a in args}
    if node.op == "reduce" and kinds != {"float"}:
        return f"takes the {node.attrs[0]} of {_CALLED[args[0].dtype]}"
    if node.op not in POINTWISE or kinds == {"float"}:
        return None
    known = _WHOLE if kinds == {"int"} else _TRUTH if kinds == {"bool"} else set()
    if kinds == {"int"} and node.op in ("fmod", "remainder") and args[1].op == "const" and value_of(args[1]) != 0:
        return None
    return None if node.op in known else f"computes {node.op} of {' and '.join(_CALLED[k] for k in sorted(kinds))}"
