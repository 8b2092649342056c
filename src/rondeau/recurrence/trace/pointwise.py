"""Rules for elementwise operations: broadcasting, types, and those made of several simpler ones."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from rondeau.recurrence.ir import TRUTH, Node, strides_of
from rondeau.recurrence.trace.forms import Declined, Form
from rondeau.recurrence.trace.recorder import Recorder

RULES: dict[str, Callable[..., Any]] = {}


def rule(*names: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    def keep(function: Callable[..., Any]) -> Callable[..., Any]:
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
        return self.graph.pointwise(op, *nodes)

    def unify(self, nodes: list[Node]) -> list[Node]:
        """All of one type: truth values count as 0 and 1, and whole numbers become floating-point where they meet one."""
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
    "add": "add", "sub": "sub", "mul": "mul", "neg": "neg", "abs": "abs", "sign": "sgn sign", "reciprocal": "reciprocal",
    "maximum": "maximum fmax", "minimum": "minimum fmin", "floor": "floor", "ceil": "ceil", "round": "round",
    "trunc": "trunc", "fmod": "fmod", "remainder": "remainder", "exp": "exp", "expm1": "expm1", "log": "log",
    "log1p": "log1p", "sqrt": "sqrt", "rsqrt": "rsqrt", "tanh": "tanh", "sigmoid": "sigmoid",
    "log_sigmoid": "log_sigmoid", "erf": "erf", "sin": "sin", "cos": "cos",
    "lt": "lt less", "le": "le less_equal", "gt": "gt greater", "ge": "ge greater_equal", "eq": "eq", "ne": "ne not_equal",
}.items():  # fmt: skip
    for _name in _names.split():
        RULES[_name] = _simple(_op)


@rule("div")
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
    "logical_and": "and", "bitwise_and": "and", "__and__": "and", "logical_or": "or", "bitwise_or": "or", "__or__": "or",
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
def _clamp(r: Recorder, out: Tensor, x: Any, min: Any = None, max: Any = None) -> Form:
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
    return _clamp(r, out, x, min=min)


@rule("clamp_max")
def _clamp_max(r: Recorder, out: Tensor, x: Any, max: Any) -> Form:
    return _clamp(r, out, x, max=max)


@rule("relu")
def _relu(r: Recorder, out: Tensor, x: Any) -> Form:
    return _clamp(r, out, x, min=0.0)


@rule("threshold_backward")
def _threshold_backward(r: Recorder, out: Tensor, g: Any, x: Any, threshold: float) -> Form:
    e = Elementwise(r, out.shape, g, x)
    return e.done(e("where", e("le", e.nodes[1], threshold), 0.0, e.nodes[0]))


@rule("silu")
def _silu(r: Recorder, out: Tensor, x: Any) -> Form:
    e = Elementwise(r, out.shape, x)
    return e.done(e("mul", e.nodes[0], e("sigmoid", e.nodes[0])))


@rule("silu_backward")
def _silu_backward(r: Recorder, out: Tensor, g: Any, x: Any) -> Form:
    e = Elementwise(r, out.shape, g, x)
    grad, x = e.nodes
    s = e("sigmoid", x)
    return e.done(e("mul", grad, e("mul", s, e("add", e("mul", x, e("sub", 1.0, s)), 1.0))))


@rule("sigmoid_backward")
def _sigmoid_backward(r: Recorder, out: Tensor, g: Any, y: Any) -> Form:
    e = Elementwise(r, out.shape, g, y)
    grad, y = e.nodes
    return e.done(e("mul", grad, e("mul", e("sub", 1.0, y), y)))


@rule("tanh_backward")
def _tanh_backward(r: Recorder, out: Tensor, g: Any, y: Any) -> Form:
    e = Elementwise(r, out.shape, g, y)
    grad, y = e.nodes
    return e.done(e("mul", grad, e("sub", 1.0, e("mul", y, y))))


@rule("softplus")
def _softplus(r: Recorder, out: Tensor, x: Any, beta: float = 1, threshold: float = 20) -> Form:
    e = Elementwise(r, out.shape, x)
    x = e.nodes[0]
    scaled = e("mul", x, beta)
    return e.done(e("where", e("gt", scaled, threshold), x, e("div", e("softplus", scaled), beta)))


@rule("softplus_backward")
def _softplus_backward(r: Recorder, out: Tensor, g: Any, x: Any, beta: float, threshold: float) -> Form:
    e = Elementwise(r, out.shape, g, x)
    grad, x = e.nodes
    scaled = e("mul", x, beta)
    return e.done(e("where", e("gt", scaled, threshold), grad, e("mul", grad, e("sigmoid", scaled))))


@rule("log_sigmoid_forward")
def _log_sigmoid_forward(r: Recorder, out: Any, x: Any) -> tuple[Form | None, ...]:
    e = Elementwise(r, out[0].shape, x)
    buffer = (
        None if out[1].numel() == 0 else e.done(e.nodes[0])
    )  # torch keeps exp(-|x|) there; only its backward reads it
    return e.done(e("log_sigmoid", e.nodes[0])), buffer


@rule("log_sigmoid_backward")
def _log_sigmoid_backward(r: Recorder, out: Tensor, g: Any, x: Any, buffer: Any) -> Form:
    e = Elementwise(r, out.shape, g, x)
    return e.done(e("mul", e.nodes[0], e("sigmoid", e("neg", e.nodes[1]))))


@rule("gelu")
def _gelu(r: Recorder, out: Tensor, x: Any, approximate: str = "none") -> Form:
    e = Elementwise(r, out.shape, x)
    x = e.nodes[0]
    return e.done(e("mul", e("mul", x, 0.5), e("add", e(*_bend(e, x, approximate)), 1.0)))


def _bend(e: Elementwise, x: Node, approximate: str) -> tuple[str, Node]:
    if approximate == "tanh":
        cubic = e("mul", e("mul", e("mul", x, x), x), 0.044715)
        return "tanh", e("mul", e("add", x, cubic), math.sqrt(2 / math.pi))
    return "erf", e("mul", x, math.sqrt(0.5))


@rule("gelu_backward")
def _gelu_backward(r: Recorder, out: Tensor, g: Any, x: Any, approximate: str = "none") -> Form:
    e = Elementwise(r, out.shape, g, x)
    grad, x = e.nodes
    bend = e(*_bend(e, x, approximate))
    left = e("mul", e("add", bend, 1.0), 0.5)
    if approximate == "tanh":
        inner = e("mul", e("add", e("mul", e("mul", x, x), 3 * 0.044715), 1.0), math.sqrt(2 / math.pi))
        right = e("mul", e("mul", e("mul", x, 0.5), e("sub", 1.0, e("mul", bend, bend))), inner)
    else:
        density = e("mul", e("exp", e("mul", e("mul", x, x), -0.5)), 1 / math.sqrt(2 * math.pi))
        right = e("mul", x, density)
    return e.done(e("mul", grad, e("add", left, right)))


@rule("elu")
def _elu(r: Recorder, out: Tensor, x: Any, alpha: float = 1, scale: float = 1, input_scale: float = 1) -> Form:
    e = Elementwise(r, out.shape, x)
    x = e.nodes[0]
    low = e("mul", e("expm1", e("mul", x, input_scale)), alpha * scale)
    return e.done(e("where", e("gt", x, 0.0), e("mul", x, scale), low))


@rule("elu_backward")
def _elu_backward(
    r: Recorder, out: Tensor, g: Any, alpha: float, scale: float, input_scale: float, is_result: bool, x: Any
) -> Form:
    e = Elementwise(r, out.shape, g, x)
    grad, x = e.nodes
    if is_result:
        low = e("mul", e("add", x, alpha * scale), input_scale)
    else:
        low = e("mul", e("exp", e("mul", x, input_scale)), input_scale * alpha * scale)
    return e.done(e("mul", grad, e("where", e("gt", x, 0.0), float(scale), low)))


@rule("leaky_relu")
def _leaky_relu(r: Recorder, out: Tensor, x: Any, slope: float = 0.01) -> Form:
    e = Elementwise(r, out.shape, x)
    return e.done(e("where", e("gt", e.nodes[0], 0.0), e.nodes[0], e("mul", e.nodes[0], slope)))


@rule("leaky_relu_backward")
def _leaky_relu_backward(r: Recorder, out: Tensor, g: Any, x: Any, slope: float, is_result: bool) -> Form:
    e = Elementwise(r, out.shape, g, x)
    return e.done(e("where", e("gt", e.nodes[1], 0.0), e.nodes[0], e("mul", e.nodes[0], slope)))


@rule("hardtanh_backward")
def _hardtanh_backward(r: Recorder, out: Tensor, g: Any, x: Any, low: float, high: float) -> Form:
    e = Elementwise(r, out.shape, g, x)
    outside = e("or", e("le", e.nodes[1], low), e("ge", e.nodes[1], high))
    return e.done(e("where", outside, 0.0, e.nodes[0]))


@rule("hardsigmoid")
def _hardsigmoid(r: Recorder, out: Tensor, x: Any) -> Form:
    e = Elementwise(r, out.shape, x)
    return e.done(e("div", e("minimum", e("maximum", e("add", e.nodes[0], 3.0), 0.0), 6.0), 6.0))


@rule("hardsigmoid_backward")
def _hardsigmoid_backward(r: Recorder, out: Tensor, g: Any, x: Any) -> Form:
    e = Elementwise(r, out.shape, g, x)
    inside = e("and", e("gt", e.nodes[1], -3.0), e("lt", e.nodes[1], 3.0))
    return e.done(e("where", inside, e("mul", e.nodes[0], 1 / 6), 0.0))


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


@rule("isnan")
def _isnan(r: Recorder, out: Tensor, x: Any) -> Form:
    e = Elementwise(r, out.shape, x)
    return e.done(e("ne", e.nodes[0], e.nodes[0]))


@rule("_to_copy", "to", "type_as", "_to_cpu")
def _to_copy(r: Recorder, out: Tensor, x: Any, *args: Any, **kwargs: Any) -> Form:
    if out.is_floating_point():
        _check_type(out, r)
    e = Elementwise(r, out.shape, x)
    return e.done(
        e.to(e.nodes[0], "float" if out.is_floating_point() else "bool" if out.dtype == torch.bool else "int")
    )
