"""Rules for activation functions and their gradients, as torch defines them."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from rondeau.recurrence.ir import Node
from rondeau.recurrence.trace.forms import Form
from rondeau.recurrence.trace.pointwise import Elementwise, bounded, rule
from rondeau.recurrence.trace.recorder import Recorder

_SIXTH = torch.tensor(1 / 6, dtype=torch.float32).item()  # torch's own gradient of hardsigmoid has no more digits


@rule("relu")
def _relu(r: Recorder, out: Tensor, x: Any) -> Form:
    return bounded(r, out, x, min=0.0)


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
    return e.done(e("where", inside, e("mul", e.nodes[0], _SIXTH), 0.0))


def _shrunk_backward(r: Recorder, out: Tensor, g: Any, x: Any, bound: float) -> Form:
    e = Elementwise(r, out.shape, g, x)
    inside = e("and", e("ge", e.nodes[1], -bound), e("le", e.nodes[1], bound))
    return e.done(e("where", inside, 0.0, e.nodes[0]))


rule("softshrink_backward", "hardshrink_backward")(_shrunk_backward)
