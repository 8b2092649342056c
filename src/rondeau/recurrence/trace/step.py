"""A cell's step and its gradient as one graph, traced at two batch sizes: only the row axis may depend on them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

from rondeau.cells.base import Cell, Context, map_state, state_leaves
from rondeau.cells.naming import collecting
from rondeau.recurrence.alone import alone
from rondeau.recurrence.extent import unify
from rondeau.recurrence.given import Kinds, giving
from rondeau.recurrence.ir import Graph, Node, ancestors
from rondeau.recurrence.keep import Wish, apart, tensors_of
from rondeau.recurrence.trace import numbers
from rondeau.recurrence.trace.asked import Names
from rondeau.recurrence.trace.forms import Declined, Form
from rondeau.recurrence.trace.reads import Reads
from rondeau.recurrence.trace.recorder import Recorder

_LONG = (101, 103, 107, 109, 113, 127, 131, 137, 139, 149, 151, 157, 163, 167, 173, 179, 181, 191, 193, 197, 199)
_PRIMES = (17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83, 89, 97)


@dataclass(frozen=True)
class Inputs:
    """What a step is given: shapes without the row axis, and what the caller wants gradients of.

    `context`: (name, per step?, shape, type); a size in a shape that is a name, "m0", is known only when the loop runs.
    `wanted`: of "x" and the names of the context; None: no gradients at all. `wish`: what the loops are to keep.
    `given`: the weights that come with the call; they are the first of the captured tensors.
    """

    x: tuple[tuple[int, ...], torch.dtype]
    states: tuple[tuple[tuple[int, ...], torch.dtype], ...]
    context: tuple[tuple[str, bool, tuple[int | str, ...], torch.dtype], ...]
    dtype: torch.dtype
    wanted: frozenset[str] | None
    wish: Wish | None = None
    given: Kinds = ()


@dataclass
class Asked:
    """What loops keep for the user: states and intermediates, name -> node and the type he sees, and cotangents.

    A cotangent is the total derivative by a state after the step; None: nothing depends on it, or not differentiably.
    """

    states: bool
    named: dict[str, tuple[Node, torch.dtype]]
    cotangents: list[Node | None] | None


@dataclass
class Step:
    """A traced step. Gradients by "x", "state.0", a context's name, or "param.0" (the place in `captured`).

    `origin`: while it is checked, the operation that made the node of a number, and its line.
    """

    graph: Graph
    output: Node
    states: list[Node]
    gradients: dict[str, Node | None]
    captured: list[Tensor] = field(default_factory=list)
    origin: Callable[[int], tuple[str, str | None]] = field(default=lambda _: ("it", None), repr=False)
    asked: Asked | None = None


def trace(cell: Cell, inputs: Inputs) -> Step:
    """Raises `Declined` for a step that cannot be compiled, with the line that is to blame where there is one."""
    taken = _sizes(cell, inputs)
    first, second = [p for p in _PRIMES if all(n % p for n in taken)][:2]
    names = sorted({n for _, _, shape, _ in inputs.context for n in shape if isinstance(n, str)})
    free = iter([p for p in _LONG if all(n % p for n in taken)])
    lengths = {name: (next(free), next(free)) for name in names}
    step = _trace_at(cell, inputs, first, {n: a for n, (a, _) in lengths.items()})
    again = _trace_at(cell, inputs, second, {n: b for n, (_, b) in lengths.items()})
    _unify(step, again, lengths)
    _check_rows(step)
    numbers.check(step.graph.nodes, step.origin)
    step.origin = _forgotten  # the tensors it was traced on may go
    return step


def _forgotten(_: int) -> tuple[str, str | None]:
    return "it", None


def _sizes(cell: Cell, inputs: Inputs) -> set[int]:
    shapes = [inputs.x[0], *(s for s, _ in inputs.states), *(s for _, _, s, _ in inputs.context)]
    shapes += [tuple(t.shape) for t in (*cell.parameters(), *cell.buffers())]
    shapes += [shape for _, shape, _, _ in inputs.given]
    return {n for shape in shapes for n in shape if n and not isinstance(n, str)}


def _trace_at(cell: Cell, inputs: Inputs, batch: int, lengths: Mapping[str, int]) -> Step:
    r = Recorder(batch)
    r.dtype = inputs.dtype
    train = inputs.wanted is not None
    plain = torch.autocast("cpu", enabled=False), torch.inference_mode(False), torch.autograd.set_detect_anomaly(False)
    with plain[0], plain[1], plain[2], _unhooked(), torch.set_grad_enabled(train):
        x = _stand_in(r, "step", "x", batch, *inputs.x, train and "x" in (inputs.wanted or ()))
        leaves = [
            _stand_in(r, "state", str(i), batch, shape, dtype, train) for i, (shape, dtype) in enumerate(inputs.states)
        ]
        tensors = {
            name: _stand_in(
                r,
                "step" if per_step else "row",
                name,
                batch,
                _spelled(shape, lengths),
                dtype,
                name in (inputs.wanted or ()),
            )
            for name, per_step, shape, dtype in inputs.context
        }
        weights = {n: _weight(r, shape, dtype, train and wanted) for n, shape, dtype, wanted in inputs.given}
        remaining, given = iter(leaves), _entering(r, x)
        state = map_state(lambda _: _entering(r, next(remaining)), cell.state_size)
        context = _context(r, cell, {name: _entering(r, t) for name, t in tensors.items()})
        names = Names(type(cell).__name__, r, inputs.wish) if inputs.wish is not None else None
        try:
            with collecting(names), giving(weights), Reads(r), r:
                output, after = cell.step(given, state, *context)
        except Exception as error:
            if r.declined is not None and r.declined is not error:
                raise r.declined from error
            raise
        if r.declined is not None:  # and the step carried on
            raise r.declined
        from rondeau.recurrence.reference import check_step

        check_step(cell, output, after, state, batch)
        if inputs.wish is not None and inputs.wish.cotangents:
            with r:
                after = apart(after, tensors_of(given, state, context))
        results = [output, *(t for _, t in state_leaves(after))]
        forms = [_by_rows(r, t) for t in results]
        gradients = _differentiate(r, results, x, leaves, tensors, inputs) if train else {}
        step = Step(r.graph, forms[0], forms[1:], gradients, r.captured, origin=r.origin)
        if names is not None:
            step.asked = _asked(names, gradients, len(leaves))
    return step


def _asked(names: Names, gradients: dict[str, Node | None], states: int) -> Asked:
    wish = names.wish
    wish.check(names.seen, names.owner)
    cotangents = [gradients.pop(f"cotangent.{i}", None) for i in range(states)]
    return Asked(wish.states, names.found, cotangents if wish.cotangents else None)


def _stand_in(
    r: Recorder, kind: str, name: str, batch: int, shape: tuple[int, ...], dtype: torch.dtype, wanted: bool
) -> Tensor:
    # neither all equal nor large: a step may divide by what it is given, and values must not show in the graph
    values = torch.rand(batch, *shape, dtype=torch.float64, generator=r.numbers) * 0.5 + 0.25
    tensor = values.to(dtype) if dtype.is_floating_point else torch.ones(batch, *shape, dtype=dtype)
    kinds = {torch.bool: "bool"}
    type = "float" if dtype.is_floating_point else kinds.get(dtype, "int")
    r.declare(tensor, Form(r.graph.input(kind, name, shape, type), 0))
    return tensor.requires_grad_(wanted and dtype.is_floating_point)


def _weight(r: Recorder, shape: tuple[int, ...], dtype: torch.dtype, wanted: bool) -> Tensor:
    # like those that come with the calls, and none of them: a trace outlives the call it is made for
    values = torch.rand(shape, dtype=torch.float32, generator=r.numbers) + 0.5
    tensor = values.to(dtype).requires_grad_(wanted)
    r.form(tensor)
    return tensor


def _unhooked() -> saved_tensors_hooks:
    """What a trace saves for its backward pass is nobody's: checkpointing, say, would take it for the user's."""
    return saved_tensors_hooks(lambda tensor: tensor, lambda tensor: tensor)


def _entering(r: Recorder, leaf: Tensor) -> Tensor:
    """What the step is given: no leaf, since of those torch itself would refuse changes, in words of its own."""
    tensor = leaf.clone()
    r.declare(tensor, r.form(leaf))
    return tensor


def _spelled(shape: tuple[int | str, ...], lengths: Mapping[str, int]) -> tuple[int, ...]:
    return tuple(lengths[n] if isinstance(n, str) else n for n in shape)


def _context(r: Recorder, cell: Cell, tensors: Mapping[str, Tensor]) -> tuple[Context, ...]:
    if not cell.takes_context:
        return ()
    index = torch.ones((), dtype=torch.int64)
    r.declare(index, Form(r.graph.input("index", "index", (), "int")))
    return (Context(cell, dict(tensors), index),)


def _by_rows(r: Recorder, tensor: Tensor) -> Node:
    form = r.form(tensor)
    if form.merged or form.axis not in (0, None) or (form.axis is None and form.node.op != "const"):
        raise Declined("its result does not have rows first")
    node = form.node
    if node.op == "const":
        shape = tuple(tensor.shape[1:])
        return r.graph.make("const", (), shape, node.dtype, node.attrs, rows=False)
    return node


def _differentiate(
    r: Recorder, results: list[Tensor], x: Tensor, leaves: list[Tensor], tensors: dict[str, Tensor], inputs: Inputs
) -> dict[str, Node | None]:
    """The gradients of the results' weighted sum, recorded while torch computes them; weights are the cotangents."""
    r.backward = True
    cotangents_wanted = inputs.wish is not None and inputs.wish.cotangents
    names: list[str] = []
    sources: list[Tensor] = []
    for name, tensor in [("x", x), *((f"state.{i}", t) for i, t in enumerate(leaves)), *tensors.items(),
                         *((f"param.{i}", t) for i, t in enumerate(r.captured)),
                         *((f"cotangent.{i}", t) for i, t in enumerate(results[1:]) if cotangents_wanted)]:  # fmt: skip
        if tensor.requires_grad:
            names.append(name)
            sources.append(tensor)
    outputs, cotangents = [], []
    for place, tensor in enumerate(results):
        kind, name = ("output_cotangent", "0") if place == 0 else ("state_cotangent", str(place - 1))
        if not tensor.requires_grad:
            continue
        g = torch.rand(tensor.shape, dtype=tensor.dtype, generator=r.numbers)
        r.declare(g, Form(r.graph.input(kind, name, tuple(tensor.shape[1:])), 0))
        outputs.append(tensor)
        cotangents.append(g)
    if not outputs or not sources:
        return dict.fromkeys(names)
    made = any(t.grad_fn is not None for t in r.captured)  # then its graph is the user's, who needs it later
    with alone(r.captured) as at, r:
        found = torch.autograd.grad(outputs, sources, cotangents, allow_unused=True, retain_graph=made)
        each = [at(source, gradient) for source, gradient in zip(sources, found, strict=True)]
    gradients: dict[str, Node | None] = {}
    for name, gradient in zip(names, each, strict=True):
        if gradient is None:
            gradients[name] = None
        else:
            gradients[name] = r.form(gradient).node if name.startswith("param.") else _by_rows(r, gradient)
    return gradients


def _unify(step: Step, again: Step, lengths: Mapping[str, tuple[int, int]]) -> None:
    """Both traces must be one, but for numbers that follow the lengths of memories."""
    a, b = step.graph.nodes, again.graph.nodes
    x = a[0]
    try:
        for x, y in zip(a, b, strict=False):
            same = (x.op, x.dtype, x.rows, [n.index for n in x.args]) == (
                y.op,
                y.dtype,
                y.rows,
                [n.index for n in y.args],
            )
            if not same or (x.op == "aten" and x.attrs != y.attrs):
                raise ValueError("different operations")
            x.shape, x.attrs = unify(x.shape, y.shape, lengths), unify(x.attrs, y.attrs, lengths)
        if len(a) != len(b):
            raise ValueError("different operations")
    except ValueError as error:
        name, where = step.origin(x.index)
        what = "the batch size, in another way than row by row, or on what changes from call to call"
        more = ", or on the length of a memory" if lengths else ""
        raise Declined(f"{name} depends on {what}{more}", where) from error


def _check_rows(step: Step) -> None:
    """Sums over rows may only end in gradients of parameters."""
    summed: set[Node] = set()
    for node in step.graph.nodes:
        if node.op in ("total", "outer", "scatter") or any(a in summed for a in node.args):
            summed.add(node)
    asked = step.asked or Asked(False, {}, None)
    more = [*(n for n, _ in asked.named.values()), *(n for n in asked.cotangents or () if n is not None)]
    rowwise = [g for n, g in step.gradients.items() if g and "param." not in n]
    loop = ancestors([step.output, *step.states, *rowwise, *more])
    mixed = sorted(n.index for n in loop if n in summed)
    if mixed:
        name, where = step.origin(mixed[0])
        raise Declined(f"{name} mixes rows", where)
