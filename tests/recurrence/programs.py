"""Small random steps: a strategy that draws them as lists of instructions, and the cell that carries them out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from rondeau.cells import Cell
from rondeau.sequence import Ragged
from tests.recurrence.compare import Case

UNITS = [1, 3, 17, 33]
WIDTHS = [1, 2, 3, 5, 16, 17, 33]
FEATURES = [1, 2, 3, 5, 8, 9, 20]
MOST = 140  # wider values are not drawn

UNARY: dict[str, Callable[[Tensor], Tensor]] = {
    "tanh": torch.tanh, "sigmoid": torch.sigmoid, "relu": torch.relu, "gelu": F.gelu, "silu": F.silu,
    "gelu by tanh": lambda a: F.gelu(a, approximate="tanh"), "softplus": F.softplus, "logsigmoid": F.logsigmoid,
    "elu": F.elu, "mish": F.mish, "leaky_relu": F.leaky_relu, "softsign": F.softsign, "hardtanh": F.hardtanh,
    "hardswish": F.hardswish, "erf": torch.erf, "sin": torch.sin, "cos": torch.cos, "neg": torch.neg, "abs": torch.abs,
    "exp": lambda a: torch.exp(torch.tanh(a)), "expm1": lambda a: torch.expm1(torch.sin(a)),
    "cube": lambda a: torch.tanh(a) ** 3,
    "log": lambda a: torch.log(a.abs() + 0.5), "log1p": lambda a: torch.log1p(a * a),
    "sqrt": lambda a: torch.sqrt(a.abs() + 0.1),
    "rsqrt": lambda a: torch.rsqrt(a * a + 0.5), "reciprocal": lambda a: 1 / (a.abs() + 0.5), "square": torch.square,
    "pow": lambda a: (a.abs() + 0.1) ** 1.3, "clamp": lambda a: a.clamp(-0.7, 0.9), "half": lambda a: a / 2 + 0.1,
    "where": lambda a: torch.where(a > 0, a, 0.1 * a), "detach": lambda a: a - 0.5 * a.detach(), "atan": torch.atan,
    "masked": lambda a: a.masked_fill(a > 1, 0.5),
}  # fmt: skip
BINARY: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "add": torch.add, "sub": torch.sub, "mul": torch.mul, "div": lambda a, b: a / (b.abs() + 0.5),
    "maximum": torch.maximum, "minimum": torch.minimum, "gate": lambda a, b: torch.sigmoid(a) * b,
    "where": lambda a, b: torch.where(a > b, a, 0.5 * b), "lerp": lambda a, b: torch.lerp(a, b, 0.3),
    "addcmul": lambda a, b: torch.addcmul(a, a, b, value=0.2),
}  # fmt: skip
REDUCED: dict[str, Callable[[Tensor], Tensor]] = {
    "sum": lambda a: a.sum(-1, keepdim=True), "mean": lambda a: a.mean(-1, keepdim=True),
    "amax": lambda a: a.amax(-1, keepdim=True), "min": lambda a: a.min(-1, keepdim=True).values,
    "logsumexp": lambda a: a.logsumexp(-1, keepdim=True), "var": lambda a: a.var(-1, correction=0, keepdim=True),
    "norm": lambda a: torch.sqrt((a * a).sum(1, keepdim=True) + 0.1), "norm 1": lambda a: a.norm(1, -1, keepdim=True),
}  # fmt: skip
NORMED: dict[str, Callable[[Tensor], Tensor]] = {
    "layer_norm": lambda a: F.layer_norm(a, a.shape[1:], eps=0.01),
    "rms_norm": lambda a: F.rms_norm(a, a.shape[1:], eps=0.01),
    "softmax": lambda a: a.softmax(-1), "log_softmax": lambda a: a.log_softmax(-1),
    "normalize": lambda a: a / (a.norm(dim=-1, keepdim=True) + 0.1), "centred": lambda a: a - a.mean(-1, keepdim=True),
}  # fmt: skip
PRODUCTS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "matmul": torch.matmul, "linear": lambda a, w: F.linear(a, w.T), "transposed": lambda a, w: (w.T @ a.T).T,
    "einsum": lambda a, w: torch.einsum("bi,ij->bj", a, w), "normed": lambda a, w: a @ (w / (w.norm() + 1)),
}  # fmt: skip
HEADS: dict[str, Callable[[Tensor], Tensor]] = {
    "softmax": lambda v: v.softmax(-1).flatten(1), "sum": lambda v: v.sum(1), "max": lambda v: v.amax(2),
    "transpose": lambda v: v.transpose(1, 2).reshape(len(v), -1),
    "layer_norm": lambda v: F.layer_norm(v, v.shape[2:], eps=0.01).flatten(1),
    "tanh of the turned": lambda v: torch.tanh(v.permute(0, 2, 1)).flatten(1),
    "rows' products": lambda v: (v @ v.mT).flatten(1),
}  # fmt: skip


class One(NamedTuple):
    a: Any


class Two(NamedTuple):
    a: Any
    b: Any


class Three(NamedTuple):
    a: Any
    b: Any
    c: Any


STATES: dict[int, Callable[..., Any]] = {1: One, 2: Two, 3: Three}


class Instruction(NamedTuple):
    """`op` of values by number, a variant, and the shape of its own weight (or none)."""

    op: str
    args: tuple[int, ...]
    variant: Any
    weight: tuple[int, ...] | None


@dataclass(frozen=True)
class Program:
    """A step: values are x, the states, the context, then one for each instruction.

    `ends`: for each state how it is renewed and of which values; `output`: the number of a value.
    """

    features: int
    states: tuple[int, ...]
    row: int
    step: int
    memory: int
    counts: bool
    body: tuple[Instruction, ...]
    ends: tuple[Instruction, ...]
    output: int
    width: int


class Drawn(Cell):
    """Carries out a program."""

    def __init__(self, program: Program) -> None:
        super().__init__()
        self.program = program
        self.state_size, self.output_size = STATES[len(program.states)](*program.states), program.width
        self.per_row = ("row",) * bool(program.row) + ("memory",) * bool(program.memory)
        self.per_step = ("clock",) * bool(program.step)
        g = torch.Generator().manual_seed(len(program.body))
        self.weights = torch.nn.ParameterList()
        for instruction in (*program.body, *program.ends):
            shape = instruction.weight or (1,)
            scale = shape[-2] ** -0.5 if len(shape) > 1 else 1.0
            self.weights.append(torch.nn.Parameter(torch.randn(shape, generator=g, dtype=torch.float64) * scale))

    def made(self, value: Tensor) -> Tensor:
        """Every value passes here."""
        return value

    def step(self, x: Tensor, state: Any, context: Any) -> tuple[Tensor, Any]:
        program = self.program
        values = [x, *state]
        if program.row:
            values.append(context.row)
        if program.step:
            values.append(context.clock)
        values = [self.made(v) for v in values]
        for k, instruction in enumerate(program.body):
            values.append(self.made(carry_out(instruction, values, self.weights[k], context)))
        after = tuple(
            self.made(carry_out(end, [*values, old], self.weights[len(program.body) + i], context))
            for i, (end, old) in enumerate(zip(program.ends, state, strict=True))
        )
        return values[program.output], state._make(after)


class Noisy(Drawn):
    """As `Drawn`, each value off by a random share of up to `noise`, and each cotangent with it.

    What comes of it says how far rounding errors of that size can lead (Monte Carlo arithmetic, Parker 1997).
    """

    noise = 0.0

    def made(self, value: Tensor) -> Tensor:
        return value * (1 + self.noise * (2 * torch.rand_like(value) - 1))


def carry_out(instruction: Instruction, values: list[Tensor], weight: Tensor, context: Any) -> Tensor:
    op, variant = instruction.op, instruction.variant
    a, *more = (values[i] for i in instruction.args)
    if op == "unary":
        return UNARY[variant](a)
    if op == "binary":
        return BINARY[variant](a, more[0])
    if op == "gain":
        return BINARY[variant](a, weight)
    if op == "product":
        return PRODUCTS[variant](a, weight)
    if op == "reduced":
        return REDUCED[variant](a)
    if op == "normed":
        return NORMED[variant](a) * weight
    if op == "cat":
        return torch.cat([a, *more], -1)
    if op == "slice":
        return a[:, slice(*variant)]
    if op == "flip":
        return a.flip(-1)
    if op == "roll":
        return a.roll(variant, -1)
    if op == "pad":
        return F.pad(a, variant, value=0.25)
    if op == "heads":
        heads, kind = variant
        return HEADS[kind](a.view(len(a), heads, -1))
    if op == "blocks":
        return torch.einsum("bhi,hij->bhj", a.view(len(a), weight.shape[0], -1), weight).flatten(1)
    if op == "outer":
        return (a[:, :, None] * more[0][:, None, :]).flatten(1)
    if op == "set":
        start, stop = variant
        y = a.clone()
        y[:, start:stop] = more[0][:, : stop - start]
        return y
    if op == "index":
        return a / (1 + context.index) if variant else a + 0.1 * context.index
    if op == "attention":
        scores = (context.memory @ (a @ weight)[:, :, None]).squeeze(-1)
        return (scores.softmax(-1)[:, None] @ context.memory)[:, 0]
    return _renewed(instruction, values, weight)


def _renewed(instruction: Instruction, values: list[Tensor], weight: Tensor) -> Tensor:
    old = values[-1]
    if instruction.op == "same":
        return old
    new = torch.tanh(values[instruction.args[0]] @ weight)
    if instruction.op == "replaced":
        return new
    if instruction.op == "mixed":
        return 0.5 * old + 0.5 * new
    gate = torch.sigmoid(new + old)  # gated
    return gate * old + (1 - gate) * new


@st.composite
def programs(draw: st.DrawFn) -> Program:
    features = draw(st.sampled_from(FEATURES))
    states = tuple(draw(st.lists(st.sampled_from(UNITS), min_size=1, max_size=3)))
    row, step = (draw(st.sampled_from([0, 0, 1, 4])) for _ in range(2))
    memory = draw(st.sampled_from([0, 0, 0, 2, 5]))
    counts = draw(st.booleans())
    widths = [features, *states, *([row] if row else []), *([step] if step else [])]
    body = []
    for _ in range(draw(st.integers(2, 10))):
        instruction, width = draw(instructions(widths, counts, memory))
        body.append(instruction)
        widths.append(width)
    ends = []
    for size in states:
        kind = draw(st.sampled_from(["replaced", "mixed", "gated", "replaced", "mixed", "gated", "same"]))
        source = _late(draw, widths)
        ends.append(Instruction(kind, (source,), None, (widths[source], size)))
    output = _late(draw, widths)
    return Program(features, states, row, step, memory, counts, tuple(body), tuple(ends), output, widths[output])


def _late(draw: st.DrawFn, widths: list[int]) -> int:
    """The number of a value, rather a late one."""
    return len(widths) - 1 - draw(st.integers(0, min(len(widths) - 1, 4)))


@st.composite
def instructions(draw: st.DrawFn, widths: list[int], counts: bool, memory: int) -> tuple[Instruction, int]:
    """An instruction that fits, and the width of its value."""
    a = draw(st.integers(0, len(widths) - 1)) if draw(st.booleans()) else _late(draw, widths)
    n = widths[a]
    mates = [i for i, w in enumerate(widths) if w in (n, 1)]
    kinds = ["unary", "unary", "unary", "binary", "binary", "gain", "product", "product", "product", "normed"]
    kinds += ["reduced"] if n > 1 else []
    kinds += ["slice", "flip", "roll", "set"] if n > 1 else []
    kinds += ["cat", "pad"] if n < 40 else []
    kinds += ["index"] if counts else []
    kinds += ["attention"] * 3 if memory else []
    splits = [k for k in (2, 3, 4, 11) if n % k == 0 and n > k]
    kinds += ["heads", "blocks"] if splits and n <= 66 else []
    small = [i for i, w in enumerate(widths) if w * n <= MOST]
    kinds += ["outer"] if small else []
    op = draw(st.sampled_from(kinds))
    args: tuple[int, ...] = (a,)
    variant: Any = None
    weight: tuple[int, ...] | None = None
    if op in ("unary", "reduced", "normed"):
        variant = draw(st.sampled_from(list({"unary": UNARY, "reduced": REDUCED, "normed": NORMED}[op])))
        weight = (n,) if op == "normed" else None
        n = 1 if op == "reduced" else n
    elif op == "binary":
        args, variant = (a, draw(st.sampled_from(mates))), draw(st.sampled_from(list(BINARY)))
    elif op == "gain":
        variant, weight = draw(st.sampled_from(list(BINARY))), (n,)
    elif op == "product":
        out = draw(st.sampled_from(WIDTHS))
        variant, weight, n = draw(st.sampled_from(list(PRODUCTS))), (n, out), out
    elif op == "cat":
        b = draw(st.integers(0, len(widths) - 1))
        args, n = (a, b), n + widths[b]
    elif op == "slice":
        start = draw(st.integers(0, n - 1))
        stop = draw(st.integers(start + 1, n))
        by = draw(st.sampled_from([1, 1, 2, 3]))
        variant, n = (start, stop, by), len(range(start, stop, by))
    elif op == "roll":
        variant = draw(st.integers(1, n - 1))
    elif op == "pad":
        variant = (draw(st.integers(0, 3)), draw(st.integers(0, 3)))
        n += sum(variant)
    elif op == "heads":
        heads, kind = draw(st.sampled_from(splits)), draw(st.sampled_from(list(HEADS)))
        variant = heads, kind
        n = {"sum": n // heads, "max": heads, "rows' products": heads * heads}.get(kind, n)
    elif op == "blocks":
        heads = draw(st.sampled_from(splits))
        weight = (heads, n // heads, n // heads)
    elif op == "outer":
        b = draw(st.sampled_from(small))
        args, n = (a, b), n * widths[b]
    elif op == "set":
        b = draw(st.integers(0, len(widths) - 1))
        start = draw(st.integers(0, n - 1))
        args, variant = (a, b), (start, start + draw(st.integers(1, min(n - start, widths[b]))))
    elif op == "index":
        variant = draw(st.booleans())
    elif op == "attention":
        weight, n = (n, memory), memory
    return Instruction(op, args, variant, weight), n


@st.composite
def cases(draw: st.DrawFn, program: Program) -> Case:
    """Ragged data in float64; lengths may be zero, and everything may be."""
    lengths = draw(st.lists(st.integers(0, 5), min_size=1, max_size=draw(st.sampled_from([1, 5, 7]))))
    case = Case.random(Drawn(program), program.features, lengths, seed=draw(st.integers(0, 99)))
    g = torch.Generator().manual_seed(len(lengths))

    def random(*shape: int) -> Tensor:
        return torch.randn(shape, generator=g, dtype=torch.float64)

    context: dict[str, Any] = {}
    if program.row:
        context["row"] = random(len(lengths), program.row)
    if program.memory:
        context["memory"] = random(len(lengths), draw(st.integers(1, 6)), program.memory)
    if program.step:
        context["clock"] = Ragged(random(sum(lengths), program.step), case.lengths)
    return Case(case.x, case.lengths, case.state, context, draw(st.booleans()))
