"""Every operation a step may use: in a cell, on compiled loops, as on the reference loop."""

# Long because it is a list.
from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from rondeau.cells import Cell, HiddenState
from tests.recurrence.compare import Case, check

UNITS, FEATURES = 6, 3
LENGTHS = [3, 0, 5, 1, 2]
# Elementary functions err by 4 ulp here and by 1 or so in torch; some 40 operations deep, over 5 steps.
TOLERANCE = 1000

Function = Callable[[Tensor, Tensor, Any], Tensor]


class Straight(torch.autograd.Function):
    """Rounds, and takes the gradient as if it did not (Bengio, Léonard & Courville 2013)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return (x > 0).to(x.dtype)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Tensor:  # type: ignore[override]
        return g


class Tripled(torch.autograd.Function):
    """Saves a tensor and a number for a gradient of its own."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: float) -> Tensor:
        ctx.save_for_backward(x)
        ctx.scale = scale
        return x**3 * scale

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, None]:  # type: ignore[override]
        (x,) = ctx.saved_tensors
        return 3 * x * x * g * ctx.scale, None


class Applied(Cell):
    """`function(a, b, cell)` of a state-dependent `a` and an input-dependent `b`, each `(batch, 6)`: any width."""

    def __init__(self, function: Function) -> None:
        super().__init__()
        self.function = function
        torch.manual_seed(3)
        self.kernel = self.add_weight("kernel", (FEATURES, 2 * UNITS), "normal")
        self.recurrent = self.add_weight("recurrent", (UNITS, UNITS), "normal")
        self.gain = self.add_weight("gain", (UNITS,), "normal")
        self.matrix = self.add_weight("matrix", (UNITS, UNITS), "normal")
        self.blocks = self.add_weight("blocks", (2, UNITS // 2, UNITS // 2), "normal")
        self.linear = torch.nn.Linear(UNITS, 4)
        self.norm = torch.nn.LayerNorm(UNITS)
        self.mlp = torch.nn.Sequential(torch.nn.Linear(UNITS, 5), torch.nn.GELU(), torch.nn.Linear(5, UNITS))
        self.double()
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.normal_(0.1, 0.5)
        width = function(torch.rand(2, UNITS).double(), torch.rand(2, UNITS).double(), self).shape[1]
        self.back = self.add_weight("back", (width, UNITS), "normal")
        self.back.data = torch.randn(width, UNITS).double() / width
        self.state_size, self.output_size = HiddenState(h=UNITS), width

    def step(self, x: Tensor, state: HiddenState) -> tuple[Tensor, HiddenState]:
        first, b = (x @ self.kernel).chunk(2, -1)
        a = first + state.h @ self.recurrent
        y = self.function(a, b, self)
        return y, HiddenState(torch.tanh(0.5 * a + y @ self.back))


def _positive(a: Tensor) -> Tensor:
    return a * a + 0.1


def _filled(a: Tensor, b: Tensor, w: Any) -> Tensor:
    y = torch.empty(a.shape[0], 8, dtype=a.dtype)
    y[:, :6] = a
    y[:, 6:] = b[:, :2]
    return y


def _in_place(a: Tensor, b: Tensor, w: Any) -> Tensor:
    y = a * 2
    y += b
    y.mul_(w.gain).clamp_(-0.5, 0.9)
    y -= 1
    y.div_(_positive(b)).tanh_()
    return y


def _set_slice(a: Tensor, b: Tensor, w: Any) -> Tensor:
    y = a.clone()
    y[:, 1:3] = b[:, 3:5]
    y[:, 4] = 0.5
    y[..., 5] += a[:, 0]
    return y * w.gain


def _set_masked(a: Tensor, b: Tensor, w: Any) -> Tensor:
    y = a * 1
    y.masked_fill_(b > 0, 0.25)
    return y


def _set_list(a: Tensor, b: Tensor, w: Any) -> Tensor:
    y = torch.zeros_like(a)
    y[:, [4, 0, 1]] = b[:, :3]
    y[:, ::2] += a[:, 3:]
    return y + 0.1 * a


def _set_mask(a: Tensor, b: Tensor, w: Any) -> Tensor:
    y = a.clone()
    y[b > 0.5] = 0.0
    return y


def _views_change(a: Tensor, b: Tensor, w: Any) -> Tensor:
    y = torch.zeros(a.shape[0], 2, 3, dtype=a.dtype)
    first = y[:, 0]
    first += a[:, :3]
    y[:, 1] += b[:, :3]
    y *= 2
    return y.view(-1, 6) * first.repeat(1, 2)


def _without_gradient(a: Tensor, b: Tensor, w: Any) -> Tensor:
    with torch.no_grad():
        scale = a.abs().amax(-1, keepdim=True) + 1
    return a / scale


def _heads(a: Tensor, b: Tensor, w: Any) -> Tensor:
    return torch.einsum("bhi,hij->bhj", a.view(-1, 2, 3), w.blocks).flatten(1)


def _block_diagonal(a: Tensor, b: Tensor, w: Any) -> Tensor:
    return torch.bmm(a.view(-1, 2, 3).transpose(0, 1), w.blocks).transpose(0, 1).reshape(-1, 6)


def _own_attention(a: Tensor, b: Tensor, w: Any) -> Tensor:
    q, k = a.view(-1, 2, 3), b.view(-1, 2, 3)
    weights = torch.softmax(q @ k.transpose(1, 2) / math.sqrt(3), -1)
    return (weights @ k).flatten(1)


def _weight_norm(a: Tensor, b: Tensor, w: Any) -> Tensor:
    return a @ (w.matrix / w.matrix.norm(dim=0, keepdim=True))


def _rounded(a: Tensor, b: Tensor, w: Any) -> Tensor:
    return a + (a.round() - a).detach()


def _sorted_gates(a: Tensor, b: Tensor, w: Any) -> Tensor:
    parts = a.unbind(-1)
    return torch.stack([parts[2], parts[0] * b[:, 1], torch.sigmoid(parts[5])], -1)


POINTWISE: dict[str, Function] = {
    # arithmetic, numbers on either side
    "add": lambda a, b, w: a + b,
    "add a number": lambda a, b, w: a + 2,
    "number add": lambda a, b, w: 2.5 + a,
    "add with alpha": lambda a, b, w: torch.add(a, b, alpha=0.3),
    "sub": lambda a, b, w: a - b,
    "sub a number": lambda a, b, w: a - 2,
    "number sub": lambda a, b, w: 1 - a,
    "sub with alpha": lambda a, b, w: torch.sub(a, b, alpha=3),
    "rsub": lambda a, b, w: torch.rsub(a, b, alpha=2),
    "mul": lambda a, b, w: a * b,
    "mul a number": lambda a, b, w: a * 0.3,
    "number mul": lambda a, b, w: -3 * a,
    "mul by itself": lambda a, b, w: a * a * a,
    "div": lambda a, b, w: a / _positive(b),
    "div by a number": lambda a, b, w: a / 3,
    "number div": lambda a, b, w: 2 / _positive(a),
    "floor_divide": lambda a, b, w: torch.div(a, _positive(b), rounding_mode="floor"),
    "div trunc": lambda a, b, w: torch.div(a, _positive(b), rounding_mode="trunc"),
    "floordiv": lambda a, b, w: (a.detach() // 0.3) * b,
    "fmod": lambda a, b, w: torch.fmod(a, 0.7),
    "remainder": lambda a, b, w: a % 0.7,
    "remainder by a tensor": lambda a, b, w: torch.remainder(a, _positive(b)),
    "neg": lambda a, b, w: -a,
    "positive": lambda a, b, w: +a * b,
    "abs": lambda a, b, w: a.abs() * b,
    "sign": lambda a, b, w: a.sign() * b,
    "sgn": lambda a, b, w: torch.sgn(a) * b,
    "reciprocal": lambda a, b, w: _positive(a).reciprocal(),
    "square": lambda a, b, w: torch.square(a),
    "floor": lambda a, b, w: torch.floor(a) * b,
    "ceil": lambda a, b, w: torch.ceil(a) * b,
    "round": lambda a, b, w: torch.round(a) * b,
    "round decimals": lambda a, b, w: torch.round(a, decimals=1) * b,
    "trunc": lambda a, b, w: torch.trunc(a) * b,
    "frac": lambda a, b, w: torch.frac(a) * b,
    "gain": lambda a, b, w: w.gain * a + b * w.gain,
    "gain alone": lambda a, b, w: a + torch.exp(w.gain) * torch.tanh(w.gain),
    "lerp": lambda a, b, w: torch.lerp(a, b, 0.3),
    "lerp by a tensor": lambda a, b, w: torch.lerp(a, b, torch.sigmoid(w.gain)),
    "lerp by gates": lambda a, b, w: torch.lerp(a, b, torch.sigmoid(a)),
    "addcmul": lambda a, b, w: torch.addcmul(a, b, w.gain, value=0.5),
    "addcdiv": lambda a, b, w: torch.addcdiv(a, b, _positive(w.gain), value=0.5),
    "hypot": lambda a, b, w: torch.hypot(a, b),
    "copysign": lambda a, b, w: torch.copysign(a, b),
    "nan_to_num": lambda a, b, w: torch.nan_to_num(a),
    # functions
    "exp": lambda a, b, w: torch.exp(a),
    "exp2": lambda a, b, w: torch.exp2(a),
    "expm1": lambda a, b, w: torch.expm1(a),
    "log": lambda a, b, w: torch.log(_positive(a)),
    "log2": lambda a, b, w: torch.log2(_positive(a)),
    "log10": lambda a, b, w: torch.log10(_positive(a)),
    "log1p": lambda a, b, w: torch.log1p(_positive(a)),
    "logaddexp": lambda a, b, w: torch.logaddexp(a, b),
    "xlogy": lambda a, b, w: torch.xlogy(a, _positive(b)),
    "sqrt": lambda a, b, w: torch.sqrt(_positive(a)),
    "rsqrt": lambda a, b, w: torch.rsqrt(_positive(a)),
    "pow 2": lambda a, b, w: a**2,
    "pow 3": lambda a, b, w: a**3,
    "pow 4": lambda a, b, w: a**4,
    "pow 5": lambda a, b, w: a**5,
    "pow -1": lambda a, b, w: _positive(a) ** -1,
    "pow -2": lambda a, b, w: _positive(a) ** -2,
    "pow 0": lambda a, b, w: a**0 + b,
    "pow 1": lambda a, b, w: a**1,
    "pow 0.5": lambda a, b, w: _positive(a) ** 0.5,
    "pow -0.5": lambda a, b, w: _positive(a) ** -0.5,
    "pow 1.7": lambda a, b, w: _positive(a) ** 1.7,
    "pow of a tensor": lambda a, b, w: _positive(a) ** b,
    "pow of a parameter": lambda a, b, w: _positive(a) ** w.gain,
    "number pow": lambda a, b, w: 2**a,
    "sin": lambda a, b, w: torch.sin(a),
    "cos": lambda a, b, w: torch.cos(3 * a),
    "tan": lambda a, b, w: torch.tan(0.3 * torch.tanh(a)),
    "asin": lambda a, b, w: torch.asin(0.7 * torch.tanh(a)),
    "acos": lambda a, b, w: torch.acos(0.7 * torch.tanh(a)),
    "atan": lambda a, b, w: torch.atan(a),
    "atan2": lambda a, b, w: torch.atan2(a, b),
    "sinh": lambda a, b, w: torch.sinh(a),
    "cosh": lambda a, b, w: torch.cosh(a),
    "asinh": lambda a, b, w: torch.asinh(a),
    "acosh": lambda a, b, w: torch.acosh(1.5 + a * a),
    "atanh": lambda a, b, w: torch.atanh(0.7 * torch.tanh(a)),
    "erf": lambda a, b, w: torch.erf(a),
    "sinc": lambda a, b, w: torch.sinc(a),
    "logit": lambda a, b, w: torch.logit(torch.sigmoid(a), eps=1e-6),
    # activations
    "sigmoid": lambda a, b, w: torch.sigmoid(a),
    "tanh": lambda a, b, w: torch.tanh(a),
    "relu": lambda a, b, w: torch.relu(a),
    "relu6": lambda a, b, w: F.relu6(4 * a),
    "leaky_relu": lambda a, b, w: F.leaky_relu(a, 0.2),
    "prelu": lambda a, b, w: F.prelu(a, w.gain),
    "prelu of one": lambda a, b, w: F.prelu(a, w.gain[:1]),
    "elu": lambda a, b, w: F.elu(a, 0.7),
    "selu": lambda a, b, w: F.selu(a),
    "celu": lambda a, b, w: F.celu(a, 1.3),
    "gelu": lambda a, b, w: F.gelu(a),
    "gelu by tanh": lambda a, b, w: F.gelu(a, approximate="tanh"),
    "silu": lambda a, b, w: F.silu(a),
    "mish": lambda a, b, w: F.mish(a),
    "hardtanh": lambda a, b, w: F.hardtanh(a, -0.5, 0.7),
    "hardsigmoid": lambda a, b, w: F.hardsigmoid(3 * a),
    "hardswish": lambda a, b, w: F.hardswish(3 * a),
    "softplus": lambda a, b, w: F.softplus(a),
    "softplus with beta": lambda a, b, w: F.softplus(a, beta=2, threshold=1),
    "softsign": lambda a, b, w: F.softsign(a),
    "logsigmoid": lambda a, b, w: F.logsigmoid(a),
    "tanhshrink": lambda a, b, w: F.tanhshrink(a),
    "softshrink": lambda a, b, w: F.softshrink(a),
    "hardshrink": lambda a, b, w: F.hardshrink(a),
    "threshold": lambda a, b, w: F.threshold(a, 0.1, 0.3),
    "glu": lambda a, b, w: F.glu(a, -1),
    # bounds and choices
    "where": lambda a, b, w: torch.where(a > b, a * 2, b),
    "where of a number": lambda a, b, w: torch.where(a > 0, a, 0.1),
    "where of a parameter": lambda a, b, w: torch.where(w.gain > 0, a, b),
    "clamp": lambda a, b, w: a.clamp(-0.3, 0.5),
    "clamp below": lambda a, b, w: a.clamp(min=0.1),
    "clamp above": lambda a, b, w: torch.clamp(a, max=0.1),
    "clamp by tensors": lambda a, b, w: torch.clamp(a, b - 0.3, w.gain.abs() + b),
    "clamp by one tensor": lambda a, b, w: torch.clamp(a, min=b),
    "clamp_min": lambda a, b, w: a.clamp_min(0.2),
    "clamp_max": lambda a, b, w: a.clamp_max(0.2),
    "maximum": lambda a, b, w: torch.maximum(a, b),
    "minimum": lambda a, b, w: torch.minimum(a, w.gain),
    "max of two": lambda a, b, w: torch.max(a, b),
    "min of two": lambda a, b, w: torch.min(a, b),
    "fmax": lambda a, b, w: torch.fmax(a, b),
    "fmin": lambda a, b, w: torch.fmin(a, b),
    "masked_fill": lambda a, b, w: a.masked_fill(b > 0, -1.0),
    "lt": lambda a, b, w: (a < b).to(a.dtype) * a,
    "le": lambda a, b, w: (a <= 0.1) * b,
    "gt": lambda a, b, w: (a > b).double() + a,
    "ge": lambda a, b, w: torch.ge(a, b) * a,
    "eq": lambda a, b, w: (a.round() == 0).to(a) * b,
    "ne": lambda a, b, w: (a.round() != 0).type_as(a) * b,
    "and": lambda a, b, w: ((a > 0) & (b > 0)) * a,
    "or": lambda a, b, w: ((a > 0) | (b > 0)) * a,
    "xor": lambda a, b, w: ((a > 0) ^ (b > 0)) * a,
    "not": lambda a, b, w: (~(a > 0)) * a,
    "logical": lambda a, b, w: torch.logical_and(a > 0, torch.logical_not(torch.logical_or(b > 0, b < -1))) * a,
    "logical xor": lambda a, b, w: torch.logical_xor(a > 0, b) * a,
    "isnan": lambda a, b, w: torch.where(torch.isnan(a), b, a),
    "isfinite": lambda a, b, w: torch.where(torch.isfinite(a) & ~torch.isinf(b), a, b),
    "heaviside": lambda a, b, w: torch.heaviside(a.detach(), w.gain.detach()) * b,
    "truth as a number": lambda a, b, w: (a > 0).long() * 2 + a,
}

ARRANGED: dict[str, Function] = {
    "chunk": lambda a, b, w: a.chunk(3, -1)[1] * b.chunk(3, -1)[2],
    "split": lambda a, b, w: a.split([1, 2, 3], -1)[2],
    "tensor_split": lambda a, b, w: torch.tensor_split(a, 4, -1)[0],
    "cat": lambda a, b, w: torch.cat([torch.tanh(a), b, a[:, :1]], -1),
    "cat of constants": lambda a, b, w: torch.cat([a, a.new_ones(a.shape[0], 1)], -1),
    "cat of a parameter": lambda a, b, w: torch.cat([a, w.gain.expand(a.shape[0], -1)], -1),
    "hstack": lambda a, b, w: torch.hstack([a, b]),
    "stack": lambda a, b, w: torch.stack([a, b], 1).sum(1),
    "stack last": lambda a, b, w: torch.stack([a, b], -1).flatten(1),
    "slice": lambda a, b, w: a[:, 1:4] + b[:, 2:5],
    "slice with a step": lambda a, b, w: a[:, ::2] * b[:, 1::2],
    "select": lambda a, b, w: a[:, 2:3] * b + a[:, -1, None],
    "narrow": lambda a, b, w: a.narrow(1, 2, 3),
    "unbind": _sorted_gates,
    "flip": lambda a, b, w: a.flip(-1) * b,
    "roll": lambda a, b, w: torch.roll(a, 2, -1) + a,
    "unsqueeze": lambda a, b, w: (a.unsqueeze(1) * b.unsqueeze(2)).flatten(1),
    "squeeze": lambda a, b, w: a[:, None].squeeze(1) * b,
    "expand": lambda a, b, w: a[:, :1].expand(-1, 4) * b[:, :4],
    "expand_as": lambda a, b, w: a[:, :1].expand_as(b) * b,
    "repeat": lambda a, b, w: a[:, :2].repeat(1, 3) * b,
    "repeat_interleave": lambda a, b, w: a[:, :3].repeat_interleave(2, -1) * b,
    "tile": lambda a, b, w: torch.tile(a[:, :2], (1, 2)),
    "transpose": lambda a, b, w: (a.T * w.gain[:, None]).T,
    "reshape to heads": lambda a, b, w: (a.reshape(-1, 3, 2).softmax(-1) * b.view(-1, 3, 2)).reshape(-1, 6),
    "heads transposed": lambda a, b, w: (a.view(-1, 2, 3).transpose(1, 2) * b.view(-1, 3, 2)).reshape(a.shape[0], 6),
    "permute": lambda a, b, w: torch.tanh(a.view(-1, 2, 3).permute(0, 2, 1)).flatten(1),
    "movedim": lambda a, b, w: torch.movedim(a.view(-1, 2, 3), 2, 0).movedim(0, 1).flatten(1),
    "unflatten": lambda a, b, w: a.unflatten(-1, (2, 3)).sum(1),
    "view of a product": lambda a, b, w: (a @ w.matrix).view(-1, 3, 2).mean(-1),
    "pad": lambda a, b, w: F.pad(a, (1, 2)),
    "pad with a value": lambda a, b, w: F.pad(torch.tanh(a), (0, 2), value=0.5),
    "crop by padding": lambda a, b, w: F.pad(a, (-1, 1)),
    "shifted": lambda a, b, w: F.pad(a[:, :-1], (1, 0)) + a,
    "zeros": lambda a, b, w: torch.zeros(a.shape[0], 6, dtype=a.dtype) + a,
    "ones": lambda a, b, w: torch.ones(6, dtype=a.dtype) * a,
    "full": lambda a, b, w: torch.full((a.shape[0], 1), 0.5, dtype=a.dtype) * a,
    "zeros_like": lambda a, b, w: torch.maximum(a, torch.zeros_like(a)),
    "ones_like": lambda a, b, w: torch.ones_like(a) - a,
    "full_like": lambda a, b, w: torch.full_like(a, 0.3) * b,
    "new_zeros": lambda a, b, w: torch.cat([a, a.new_zeros(a.shape[0], 2)], 1),
    "new_full": lambda a, b, w: a.new_full((6,), 0.25) + a,
    "empty, then filled": _filled,
    "numbers in single precision": lambda a, b, w: a * ((b > 0).float() * 0.3 + 0.1 * torch.where(a > 0, 0.1, 0.7)),
    "whole numbers": lambda a, b, w: a * torch.arange(6) + (a > b) * torch.tensor([1, 2, 3, 4, 5, 6]),
    "fixed numbers in single precision": lambda a, b, w: a * (torch.arange(6) * 0.1),
    "arange": lambda a, b, w: a * torch.arange(6, dtype=a.dtype) / 6,
    "tensor of numbers": lambda a, b, w: a * torch.tensor([1.0, 2, 3, 4, 5, 6], dtype=a.dtype),
    "eye": lambda a, b, w: a @ (w.matrix + torch.eye(6, dtype=a.dtype)),
    "triangle": lambda a, b, w: a @ torch.tril(w.matrix),
    "in place": _in_place,
    "set a slice": _set_slice,
    "masked_fill_": _set_masked,
    "index by a list": lambda a, b, w: a[:, [2, 0, 1, 5]] * 2,
    "index by a fixed tensor": lambda a, b, w: a.index_select(1, torch.tensor([4, 4, 1])) + b[:, :3],
    "set by a list": _set_list,
    "set by a mask": _set_mask,
    "views of what changes": _views_change,
    "shuffled": lambda a, b, w: a.view(-1, 2, 3).transpose(1, 2).reshape(-1, 6)[:, [5, 0, 4, 1, 3, 2]],
    "unfold": lambda a, b, w: a.unfold(1, 3, 1).sum(-1),
    "diagonal": lambda a, b, w: (a.view(-1, 2, 3)[:, :, :2]).diagonal(dim1=1, dim2=2),
    "clone": lambda a, b, w: a.clone() * b,
    "contiguous": lambda a, b, w: a.view(-1, 2, 3).transpose(1, 2).contiguous().view(-1, 6),
    "same type": lambda a, b, w: a.to(torch.float64).double() * b.type_as(a),
    "detach": lambda a, b, w: a.detach() * b + a,
    "no_grad": _without_gradient,
    "straight through": _rounded,
}

REDUCED: dict[str, Function] = {
    "sum": lambda a, b, w: a.sum(-1, keepdim=True) * b,
    "sum of everything in a row": lambda a, b, w: (a.view(-1, 2, 3) * b.view(-1, 3, 2).transpose(1, 2)).sum((1, 2))[
        :, None
    ],
    "sum of heads": lambda a, b, w: a.view(-1, 2, 3).sum(1),
    "sum in heads": lambda a, b, w: a.view(-1, 2, 3).sum(2),
    "sum of truths": lambda a, b, w: (a > 0).sum(-1, keepdim=True) * b,
    "mean": lambda a, b, w: a - a.mean(-1, keepdim=True),
    "mean without the axis": lambda a, b, w: a * a.mean(1)[:, None],
    "var": lambda a, b, w: a / (a.var(-1, keepdim=True) + 1),
    "var, biased": lambda a, b, w: a.var(-1, unbiased=False, keepdim=True) * b,
    "var_mean": lambda a, b, w: torch.cat([t[:, None] for t in torch.var_mean(a, -1)], 1),
    "std": lambda a, b, w: a / a.std(-1, keepdim=True),
    "std, biased": lambda a, b, w: a / a.std(-1, correction=0, keepdim=True),
    "amax": lambda a, b, w: a - a.amax(-1, keepdim=True),
    "amin": lambda a, b, w: a.amin(1)[:, None] * b,
    "max": lambda a, b, w: a - a.max(-1, keepdim=True).values,
    "max in heads": lambda a, b, w: a.view(-1, 2, 3).max(1)[0],
    "min": lambda a, b, w: a * a.min(1)[0][:, None],
    "norm": lambda a, b, w: a / a.norm(dim=-1, keepdim=True),
    "norm 1": lambda a, b, w: a / a.norm(p=1, dim=-1, keepdim=True),
    "norm inf": lambda a, b, w: a / torch.linalg.vector_norm(a, float("inf"), dim=-1, keepdim=True),
    "norm 3": lambda a, b, w: a / torch.linalg.vector_norm(a, 3, dim=-1, keepdim=True),
    "norm 1.5": lambda a, b, w: a.norm(1.5, dim=-1, keepdim=True) * b,
    "linalg norm": lambda a, b, w: torch.linalg.norm(a, dim=1, keepdim=True) * b,
    "normalize": lambda a, b, w: F.normalize(a, dim=-1),
    "normalize by 1": lambda a, b, w: F.normalize(a, p=1, dim=-1),
    "logsumexp": lambda a, b, w: a - torch.logsumexp(a, -1, keepdim=True),
    "logsumexp without the axis": lambda a, b, w: torch.logsumexp(a.view(-1, 2, 3), 1),
    "softmax": lambda a, b, w: a.softmax(-1),
    "softmin": lambda a, b, w: F.softmin(a, -1),
    "softmax over heads": lambda a, b, w: a.view(-1, 2, 3).softmax(1).flatten(1),
    "log_softmax": lambda a, b, w: F.log_softmax(a, -1),
    "layer_norm": lambda a, b, w: F.layer_norm(a, (6,)),
    "layer_norm, affine": lambda a, b, w: F.layer_norm(a, (6,), w.gain, w.matrix[0]),
    "layer_norm, gain alone": lambda a, b, w: F.layer_norm(a, (6,), w.gain, eps=1e-3),
    "layer_norm of heads": lambda a, b, w: F.layer_norm(a.view(-1, 2, 3), (3,)).flatten(1),
    "layer_norm of two axes": lambda a, b, w: F.layer_norm(a.view(-1, 2, 3), (2, 3), w.matrix[:2, :3]).flatten(1),
    "group_norm": lambda a, b, w: F.group_norm(a, 2, w.gain, w.matrix[0]),
    "rms_norm": lambda a, b, w: F.rms_norm(a, (6,), w.gain),
    "rms_norm without gain": lambda a, b, w: F.rms_norm(a, (6,), eps=1e-4),
    "cosine_similarity": lambda a, b, w: F.cosine_similarity(a, b, -1)[:, None],
    "prod": lambda a, b, w: a.view(-1, 2, 3).prod(1),
    "cumsum": lambda a, b, w: a.cumsum(-1),
    "softmax of cumsum": lambda a, b, w: a.softmax(-1).cumsum(-1) * b,
    "argmax as a number": lambda a, b, w: a.argmax(-1, keepdim=True) * b,
    "any": lambda a, b, w: (a > 1).any(-1, keepdim=True) * b,
    "all": lambda a, b, w: (a > -1).all(-1, keepdim=True) * b,
}

PRODUCTS: dict[str, Function] = {
    "matmul": lambda a, b, w: torch.tanh(a) @ w.matrix,
    "mm": lambda a, b, w: torch.mm(a, w.matrix),
    "matmul of a constant": lambda a, b, w: torch.full_like(a, 0.5) @ w.matrix + a,
    "matmul of padding alone": lambda a, b, w: F.pad(a, (7, 0), value=0.5)[:, :6] @ w.matrix + a,
    "matmul transposed": lambda a, b, w: (w.matrix @ a.T).T,
    "by a transposed weight": lambda a, b, w: a @ w.matrix.T,
    "by a slice of a weight": lambda a, b, w: a[:, :4] @ w.matrix[:4, 1:],
    "two stages": lambda a, b, w: torch.tanh(a @ w.matrix) @ w.matrix.T,
    "linear": lambda a, b, w: F.linear(a, w.matrix),
    "linear with bias": lambda a, b, w: F.linear(a, w.matrix, w.gain),
    "addmm": lambda a, b, w: torch.addmm(w.gain, a, w.matrix, beta=0.5, alpha=2),
    "addmm of rows": lambda a, b, w: torch.addmm(b, a, w.matrix),
    "mv": lambda a, b, w: torch.mv(a, w.gain)[:, None],
    "matmul by a vector": lambda a, b, w: (a @ w.gain)[:, None] * b,
    "einsum": lambda a, b, w: torch.einsum("bi,ij->bj", a, w.matrix),
    "einsum transposed": lambda a, b, w: torch.einsum("ij,bj->bi", w.matrix, a),
    "einsum of rows": lambda a, b, w: torch.einsum("bi,bi->b", a, b)[:, None],
    "einsum of heads": _heads,
    "block diagonal": _block_diagonal,
    "bilinear": lambda a, b, w: (a * b) @ w.matrix,
    "F.bilinear": lambda a, b, w: F.bilinear(a[:, :3], b[:, :3], w.blocks),
    "rows' outer product": lambda a, b, w: (a[:, :, None] @ b[:, None, :2]).flatten(1),
    "rows' dot product": lambda a, b, w: (a[:, None] @ b[:, :, None])[:, 0],
    "rows' matrices": lambda a, b, w: torch.bmm(a.view(-1, 2, 3), b.view(-1, 3, 2)).flatten(1),
    "attention to itself": _own_attention,
    "weight norm": _weight_norm,
    "softmax of a weight": lambda a, b, w: a @ w.matrix.softmax(0),
    "weights joined": lambda a, b, w: a @ torch.cat([w.matrix, w.gain[:, None]], 1),
    "weights masked": lambda a, b, w: a @ (w.matrix * (torch.arange(6)[:, None] >= torch.arange(6))),
    "a product of weights": lambda a, b, w: a @ (w.matrix @ w.matrix.T),
    "skew-symmetric": lambda a, b, w: torch.tanh(a @ (w.matrix - w.matrix.T)),
    "matrix exponential": lambda a, b, w: a @ torch.linalg.matrix_exp(0.1 * (w.matrix - w.matrix.T)),
    "joined operands": lambda a, b, w: torch.cat([a, b], -1) @ torch.cat([w.matrix, w.matrix.T]),
    "nn.Linear": lambda a, b, w: w.linear(a),
    "nn.LayerNorm": lambda a, b, w: w.norm(a),
    "nn.Sequential": lambda a, b, w: w.mlp(a),
    "an autograd.Function": lambda a, b, w: Straight.apply(a) * b,
    "an autograd.Function that saves": lambda a, b, w: Tripled.apply(a, 0.5),
}

ALL = {**POINTWISE, **ARRANGED, **REDUCED, **PRODUCTS}
assert len(ALL) == sum(map(len, (POINTWISE, ARRANGED, REDUCED, PRODUCTS)))


@pytest.mark.parametrize("name", ALL)
def test_natively_as_on_the_reference_loop(name: str) -> None:
    cell = Applied(ALL[name])
    check(cell, Case.random(cell, FEATURES, LENGTHS), TOLERANCE)
