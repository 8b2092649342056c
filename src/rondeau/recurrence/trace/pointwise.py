"""Rules for elementwise operations: broadcasting, types, and those made of several simpler ones."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import Tensor

from rondeau.recurrence.ir import TRUTH, Node, strides_of
from rondeau.recurrence.recipe import POINTWISE
from rondeau.recurrence.trace.forms import Declined, Form
from rondeau.recurrence.trace.recorder import Recorder

TYPES = {"float": torch.float64, "int": torch.int64, "bool": torch.bool}
RULES: dict[str, Callable[..., Any]] = {}


Rule = TypeVar("Rule", bound=Callable[..., Any])


def rule(*names: str) -> Callable[[Rule], Rule]:
    """The decorated function says what becomes of torch's operations of these names."""

    def keep(function: Rule) -> Rule:
        RULES.update(dict.fromkeys(names, function))
        return function

    return keep


class Elementwise:
    """Operands brought to one shape; then arithmetic on them by method, ending in a `Form`.

    Every operand is a tensor, a number, or a node already of the common shape.
    """

    def __init__(self, recorder: Recorder, shape: torch.Size, *operands: Any) -> None:
        self.recorder, self.graph = recorder, recorder.graph
        forms = [recorder.form(x) for x in operands]
        rank = len(shape)
        placed = [(f.axis + rank - len(f.dims(recorder.batch)), f.merged) for f in forms if f.axis is not None]
        if len(set(placed)) > 1:
            raise Declined("it combines rows with each other")
        self.axis: int | None
        self.axis, self.merged = placed[0] if placed else (None, False)
        self.shape = tuple(shape)
        if self.axis is not None:
            k = shape[self.axis] // recorder.batch
            middle = (k,) if self.merged else ()
            self.shape = (*shape[: self.axis], *middle, *shape[self.axis + 1 :])
        self.nodes = [self._fit(f, rank) for f in forms]

    def _fit(self, form: Form, rank: int) -> Node:
        node = form.node
        if node.op == "const":
            return self.graph.const(*_const(node))
        if form.axis is None and self.axis is not None and not self.merged:
            place = self.axis - (rank - len(node.shape))
            if place >= 0:  # an axis of size 1 where the others have their rows
                shape = (*node.shape[:place], *node.shape[place + 1 :])
                strides = [s for a, s in enumerate(strides_of(node.shape)) if a != place]
                node = self.graph.view(node, 0, shape, strides)
        return self.graph.expand(node, self.shape)

    def done(self, node: Node) -> Form:
        if node.op == "const":
            node = self.graph.make("const", (), self.shape, node.dtype, node.attrs, rows=False)
        return Form(node, self.axis, self.merged)

    def number(self, value: float) -> Node:
        return self.graph.const(float(value))

    def __call__(self, op: str, *args: Node | float) -> Node:
        nodes = [a if isinstance(a, Node) else self.number(a) for a in args]
        if op not in ("where", "and", "or", "not", "xor", "to_float", "to_bool", "to_int"):
            nodes = self.unify(nodes)
        if all(n.op == "const" for n in nodes):
            return self._folded(op, nodes)
        return self.graph.pointwise(op, *nodes)

    def _folded(self, op: str, nodes: list[Node]) -> Node:
        value = POINTWISE[op](*(torch.tensor(_const(n)[0], dtype=TYPES[n.dtype]) for n in nodes))
        return self.graph.const(
            value.item(), "bool" if value.dtype == torch.bool else "float" if value.is_floating_point() else "int"
        )

    def unify(self, nodes: list[Node]) -> list[Node]:
        """All of one type: truth values count as 0 and 1, whole numbers become floating-point where they meet one."""
        kinds = {n.dtype for n in nodes}
        if kinds == {"float"} or kinds == {"int"}:
            return nodes
        if "float" not in kinds and "int" in kinds:
            return [self.to(n, "int") for n in nodes]
        return [self.to(n, "float") for n in nodes]

    def to(self, node: Node, dtype: str) -> Node:
        if node.dtype == dtype:
            return node
        if node.op == "const":
            value = _const(node)[0]
            return self.graph.const({"float": float, "int": int, "bool": bool}[dtype](value), dtype)
        return self.graph.pointwise("to_" + dtype, node, dtype=dtype)

    def float(self, node: Node) -> Node:
        return self.to(node, "float")


def _const(node: Node) -> tuple[Any, str]:
    value = node.attrs[0]
    if node.dtype == "bool":
        return value == "True", "bool"
    return (int(value), "int") if node.dtype == "int" else (float(value), "float")


def _check_type(out: Tensor, like: Recorder) -> None:
    if out.is_floating_point() and out.dtype != like.dtype:
        raise Declined(f"it computes in {str(out.dtype).removeprefix('torch.')}, in a step of {like.dtype}")


def _simple(op: str) -> Callable[..., Form]:
    def apply(r: Recorder, out: Tensor, *args: Any, **kwargs: Any) -> Form:
        alpha = kwargs.pop("alpha", 1)
        if kwargs:
            raise Declined(f"{op} with {', '.join(kwargs)}")
        e = Elementwise(r, out.shape, *args)
        nodes = e.nodes
        if alpha != 1:
            nodes = [nodes[0], e("mul", nodes[1], alpha)]
        if op in ("div", "sqrt", "exp", "tanh", "sigmoid") or (out.is_floating_point() and op not in TRUTH):
            nodes = [e.float(n) for n in nodes]
        return e.done(e(op, *nodes))

    return apply


for _op, _names in {
    "add": "add", "sub": "sub", "mul": "mul", "neg": "neg", "abs": "abs", "sign": "sgn sign",
    "reciprocal": "reciprocal",
    "maximum": "maximum fmax", "minimum": "minimum fmin", "floor": "floor", "ceil": "ceil",
    "trunc": "trunc fix", "fmod": "fmod", "remainder": "remainder", "exp": "exp", "expm1": "expm1", "log": "log",
    "log1p": "log1p", "sqrt": "sqrt", "rsqrt": "rsqrt", "tanh": "tanh", "sigmoid": "sigmoid",
    "log_sigmoid": "log_sigmoid", "erf": "erf special_erf", "sin": "sin", "cos": "cos", "tan": "tan",
    "asin": "asin arcsin",
    "acos": "acos arccos", "atan": "atan arctan", "sinh": "sinh", "cosh": "cosh", "exp2": "exp2", "log2": "log2",
    "log10": "log10",
    "lt": "lt less", "le": "le less_equal", "gt": "gt greater", "ge": "ge greater_equal", "eq": "eq",
    "ne": "ne not_equal",
}.items():  # fmt: skip
    for _name in _names.split():
        RULES[_name] = _simple(_op)


@rule("div", "true_divide", "divide")
def _div(r: Recorder, out: Tensor, a: Any, b: Any, *, rounding_mode: str | None = None) -> Form:
    e = Elementwise(r, out.shape, a, b)
    node = e("div", *(e.float(n) for n in e.nodes))
    if rounding_mode is not None and not out.is_floating_point():
        raise Declined("a division of whole numbers that rounds")
    return e.done(node if rounding_mode is None else e(rounding_mode, node))


@rule("rsub")
def _rsub(r: Recorder, out: Tensor, a: Any, b: Any, alpha: float = 1) -> Form:
    e = Elementwise(r, out.shape, a, b)
    return e.done(e("sub", e.nodes[1], e("mul", e.nodes[0], alpha) if alpha != 1 else e.nodes[0]))


def _truth(op: str) -> Callable[..., Form]:
    def apply(r: Recorder, out: Tensor, *args: Any) -> Form:
        if out.dtype != torch.bool:
            raise Declined("bitwise operations on numbers")
        e = Elementwise(r, out.shape, *args)
        return e.done(e(op, *(e.to(n, "bool") for n in e.nodes)))

    return apply


for _name, _op in {
    "logical_and": "and", "bitwise_and": "and", "__and__": "and", "logical_or": "or", "bitwise_or": "or",
    "__or__": "or",
    "logical_xor": "xor", "bitwise_xor": "xor", "logical_not": "not", "bitwise_not": "not",
}.items():  # fmt: skip
    RULES[_name] = _truth(_op)


@rule("where")
def _where(r: Recorder, out: Tensor, condition: Any, a: Any, b: Any) -> Form:
    e = Elementwise(r, out.shape, condition, a, b)
    yes, no = e.unify(e.nodes[1:])
    return e.done(e.graph.pointwise("where", e.to(e.nodes[0], "bool"), yes, no))


@rule("masked_fill")
def _masked_fill(r: Recorder, out: Tensor, x: Any, mask: Any, value: Any) -> Form:
    return _where(r, out, mask, value, x)


@rule("clamp", "clip", "hardtanh")
def bounded(r: Recorder, out: Tensor, x: Any, min: Any = None, max: Any = None) -> Form:
    """`x` between `min` and `max`, either of which may be left out."""
    # as torch: NaN stays NaN, which maximum and minimum see to
    bounds = [b for b in (min, max) if b is not None]
    e = Elementwise(r, out.shape, x, *bounds)
    node, rest = e.nodes[0], list(e.nodes[1:])
    if min is not None:
        node = e("maximum", node, rest.pop(0))
    if max is not None:
        node = e("minimum", node, rest.pop(0))
    return e.done(node)


@rule("clamp_min")
def _clamp_min(r: Recorder, out: Tensor, x: Any, min: Any) -> Form:
    return bounded(r, out, x, min=min)


@rule("clamp_max")
def _clamp_max(r: Recorder, out: Tensor, x: Any, max: Any) -> Form:
    return bounded(r, out, x, max=max)


@rule("pow")
def _pow(r: Recorder, out: Tensor, x: Any, exponent: Any) -> Form:
    e = Elementwise(r, out.shape, x, exponent)
    x = e.float(e.nodes[0])
    simple = {0.5: "sqrt", -0.5: "rsqrt", -1.0: "reciprocal"}
    if isinstance(exponent, (int, float)):
        if exponent in (1, 2, 3):
            square = x if exponent == 1 else e("mul", x, x)
            return e.done(e("mul", square, x) if exponent == 3 else square)
        if float(exponent) in simple:
            return e.done(e(simple[float(exponent)], x))
    return e.done(e("pow", x, e.float(e.nodes[1])))


@rule("square")
def _square(r: Recorder, out: Tensor, x: Any) -> Form:
    return _pow(r, out, x, 2)


def _combined(op: str) -> Callable[..., Form]:
    def apply(r: Recorder, out: Tensor, a: Any, b: Any, c: Any, *, value: float = 1) -> Form:
        e = Elementwise(r, out.shape, a, b, c)
        return e.done(e("add", e.nodes[0], e("mul", e(op, e.nodes[1], e.nodes[2]), value)))

    return apply


RULES["addcmul"], RULES["addcdiv"] = _combined("mul"), _combined("div")


@rule("lerp")
def _lerp(r: Recorder, out: Tensor, a: Any, b: Any, weight: Any) -> Form:
    e = Elementwise(r, out.shape, a, b, weight)
    a, b, weight = e.nodes
    from_a = e("add", a, e("mul", weight, e("sub", b, a)))
    from_b = e("sub", b, e("mul", e("sub", b, a), e("sub", 1.0, weight)))
    return e.done(e("where", e("lt", e("abs", weight), 0.5), from_a, from_b))


@rule("round")
def _round(r: Recorder, out: Tensor, x: Any, *, decimals: int = 0) -> Form:
    e = Elementwise(r, out.shape, x)
    power = 10.0**decimals
    if decimals == 0:
        return e.done(e("round", e.nodes[0]))
    return e.done(e("div", e("round", e("mul", e.nodes[0], power)), power))


@rule("floor_divide")
def _floor_divide(r: Recorder, out: Tensor, a: Any, b: Any) -> Form:
    return _div(r, out, a, b, rounding_mode="floor")


def _below_zero(e: Elementwise, x: Node) -> Node:
    """By its sign, which zero has as well."""
    return e("or", e("lt", x, 0.0), e("and", e("eq", x, 0.0), e("lt", e("reciprocal", x), 0.0)))


@rule("signbit")
def _signbit(r: Recorder, out: Tensor, x: Any) -> Form:
    e = Elementwise(r, out.shape, x)
    return e.done(_below_zero(e, e.float(e.nodes[0])))


@rule("copysign")
def _copysign(r: Recorder, out: Tensor, a: Any, b: Any) -> Form:
    e = Elementwise(r, out.shape, a, b)
    size = e("abs", e.float(e.nodes[0]))
    return e.done(e("where", _below_zero(e, e.float(e.nodes[1])), e("neg", size), size))


@rule("hypot")
def _hypot(r: Recorder, out: Tensor, a: Any, b: Any) -> Form:
    e = Elementwise(r, out.shape, a, b)
    a, b = (e("abs", n) for n in e.nodes)
    large, small = e("maximum", a, b), e("minimum", a, b)
    ratio = e("div", small, large)
    found = e("mul", large, e("sqrt", e("add", e("mul", ratio, ratio), 1.0)))
    return e.done(e("where", e("or", e("eq", large, 0.0), e("eq", large, math.inf)), large, found))


@rule("logaddexp")
def _logaddexp(r: Recorder, out: Tensor, a: Any, b: Any) -> Form:
    e = Elementwise(r, out.shape, a, b)
    a, b = e.nodes
    apart = e("neg", e("abs", e("sub", a, b)))
    apart = e("where", e("eq", a, b), 0.0, apart)  # infinite both
    return e.done(e("add", e("maximum", a, b), e("log1p", e("exp", apart))))


@rule("atan2", "arctan2")
def _atan2(r: Recorder, out: Tensor, y: Any, x: Any) -> Form:
    e = Elementwise(r, out.shape, y, x)
    y, x = e.nodes
    flat, steep = e("abs", x), e("abs", y)
    swap = e("gt", steep, flat)
    small, large = e("minimum", flat, steep), e("maximum", flat, steep)
    ratio = e("where", e("eq", small, large), e("where", e("eq", large, 0.0), 0.0, 1.0), e("div", small, large))
    angle = e("atan", ratio)
    angle = e("where", swap, e("sub", math.pi / 2, angle), angle)
    angle = e("where", _below_zero(e, x), e("sub", math.pi, angle), angle)
    nothing = e("or", e("ne", x, x), e("ne", y, y))
    return e.done(e("where", nothing, math.nan, e("where", _below_zero(e, y), e("neg", angle), angle)))


@rule("asinh", "arcsinh")
def _asinh(r: Recorder, out: Tensor, x: Any) -> Form:
    e = Elementwise(r, out.shape, x)
    x = e.nodes[0]
    size = e("abs", x)
    inverse = e("reciprocal", size)
    rest = e("div", size, e("add", inverse, e("sqrt", e("add", e("mul", inverse, inverse), 1.0))))
    found = e("log1p", e("add", size, rest))
    return e.done(e("where", e("lt", x, 0.0), e("neg", found), e("where", e("eq", x, 0.0), x, found)))


@rule("acosh", "arccosh")
def _acosh(r: Recorder, out: Tensor, x: Any) -> Form:
    e = Elementwise(r, out.shape, x)
    beyond = e("sub", e.nodes[0], 1.0)
    root = e("mul", e("sqrt", beyond), e("sqrt", e("add", beyond, 2.0)))
    return e.done(e("log1p", e("add", beyond, root)))


@rule("atanh", "arctanh")
def _atanh(r: Recorder, out: Tensor, x: Any) -> Form:
    e = Elementwise(r, out.shape, x)
    x = e.nodes[0]
    return e.done(e("mul", e("sub", e("log1p", x), e("log1p", e("neg", x))), 0.5))


def counting(r: Recorder, x: Tensor, dim: int) -> Tensor:
    """0, 1, 2, ... along `dim` of `x`, and size 1 elsewhere: a tensor that stands for those numbers."""
    size, rank = x.shape[dim], x.ndim
    number = r.outside("aten.arange.default", (size,), {"dtype": r.dtype}, (size,))
    shape = tuple(size if a == dim % rank else 1 for a in range(rank))
    counts = torch.empty(shape)
    r.rebind(counts, Form(r.graph.view(number, 0, shape, strides_of(shape))))
    return counts


@rule("isnan")
def _isnan(r: Recorder, out: Tensor, x: Any) -> Form:
    e = Elementwise(r, out.shape, x)
    return e.done(e("ne", e.nodes[0], e.nodes[0]))


@rule("_to_copy", "to", "type_as", "_to_cpu")
def _to_copy(r: Recorder, out: Tensor, x: Any, *args: Any, **kwargs: Any) -> Form:
    if out.is_floating_point() and x.is_floating_point():
        _check_type(out, r)
    e = Elementwise(r, out.shape, x)
    return e.done(
        e.to(e.nodes[0], "float" if out.is_floating_point() else "bool" if out.dtype == torch.bool else "int")
    )
