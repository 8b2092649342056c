"""`scan` under torch.compile and torch.export: one operator in their graph; the step is traced beside it.

torch's tracers read everything here but what bears `_unseen`, so it is written plainly. Only they import this module.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.nn import Parameter
from torch.utils._python_dispatch import _disable_current_modes

from rondeau.cells.base import Cell, check_state, map_state, state_leaves
from rondeau.errors import ArgumentError, EngineError, ShapeError
from rondeau.recurrence import engine as engines
from rondeau.recurrence.keep import Keep
from rondeau.recurrence.policy import Full, Policy
from rondeau.recurrence.text import write
from rondeau.recurrence.trace.forms import Declined
from rondeau.recurrence.trace.step import Inputs
from rondeau.sequence import Ragged

F = TypeVar("F", bound=Callable[..., Any])
Kinds = tuple[tuple[str, bool, tuple[Any, ...], torch.dtype], ...]


def _unseen(function: F) -> F:
    """Runs once, while torch.compile traces; what it returns counts as constant."""
    function._dynamo_marked_constant = True  # type: ignore[attr-defined]
    return function


def scan(
    cell: Cell,
    inputs: Any,
    state: Any,
    lengths: Any,
    reverse: bool,
    context: Mapping[str, Any] | None,
    generator: torch.Generator | None,
    engine: str | None,
    keep: Keep | None,
    gradient: Policy | None,
) -> tuple[Any, Any]:
    """As `rondeau.scan`, which runs outside of the graph where the compiler cannot take the step, or the device.

    Under torch.export, where nothing can stay outside, that is an `EngineError`.
    """
    values = inputs.values if isinstance(inputs, Ragged) else inputs
    why = _why_outside(cell, values, lengths, generator, keep, gradient)
    if why is None:
        x = _checked(cell, inputs, values)
        given = _given(inputs, lengths)
        begun = _begin(cell, state, x, _batch(x, given))
        tensors = _context(cell, inputs, x, given, context or {})
        recorded = _record(cell, x, 1 if isinstance(inputs, Ragged) else 2, begun, tensors, engine)
        if recorded is not None:
            outputs, after = _call(cell, inputs, x, given, begun, tensors, reverse, *recorded)
            return (outputs if keep is None else _last(outputs, given, reverse)), after
        why = "its step is not compiled; rondeau.explain(cell) says why"
    if torch.compiler.is_exporting():
        _refuse(type(cell).__name__, why)
    more = {"context": context, "generator": generator, "engine": engine, "keep": keep, "gradient": gradient}
    return _outside(cell, inputs, state, lengths, reverse, **more)  # type: ignore[no-any-return]


@torch.compiler.disable(  # type: ignore[untyped-decorator, no-untyped-call]
    reason="this scan cannot be in a graph; rondeau.explain(cell) may say why, torch.export says it"
)
def _outside(*args: Any, **kwargs: Any) -> Any:
    from rondeau.recurrence.scan import scan as eager

    return eager(*args, **kwargs)


def _why_outside(cell: Any, values: Any, lengths: Any, generator: Any, keep: Any, gradient: Any) -> str | None:
    if not isinstance(cell, Cell) or not isinstance(values, Tensor):
        return "its arguments are not a cell and tensors"  # the eager scan says it better
    if not cell.built:
        return "it has no weights yet; call it once before"
    if lengths is not None and not isinstance(lengths, Tensor):
        return "lengths must be a tensor"
    if keep is not None and any(keep.wish):
        return "what it is to keep is no result of the graph"
    if gradient is not None and not isinstance(gradient, Full) and torch.is_grad_enabled():
        return "its gradient policy goes from window to window; within torch.no_grad() it says nothing, and is left out"
    if generator is not None or (cell.training and cell.seed is not None):
        return "it draws from a generator of its own"
    if values.device.type != "cpu" and not torch.compiler.is_exporting():
        return f"its inputs are on {values.device.type}"
    return None


def _checked(cell: Cell, inputs: Any, values: Tensor) -> Tensor:
    rank = 2 if isinstance(inputs, Ragged) else 3
    if values.ndim < rank:
        expected = "(batch, time, features)" if rank == 3 else "values (steps, features)"
        raise ShapeError("scan: inputs", expected=expected, got=tuple(values.shape))
    cell.build_for(values.shape[-1])
    return values


def _given(inputs: Any, lengths: Any) -> Tensor | None:
    if isinstance(inputs, Ragged):
        if lengths is not None:
            raise ArgumentError("scan: lengths were given twice", fix="A Ragged carries its own; leave lengths out")
        return inputs.lengths
    return None if lengths is None else lengths.to(device="cpu", dtype=torch.int64)


def _batch(x: Tensor, lengths: Tensor | None) -> Any:
    return x.shape[0] if lengths is None else lengths.shape[0]


def _begin(cell: Cell, state: Any, x: Tensor, batch: Any) -> Any:
    dtype = x.dtype
    if not dtype.is_floating_point:
        weights = list(cell.parameters())
        dtype = weights[0].dtype if weights else torch.get_default_dtype()
    where = "the initial state"
    if state is None:
        state = cell.initial_state(batch, dtype=dtype, device=x.device)
    return check_state(cell, state, batch, where)


def _context(
    cell: Cell, inputs: Any, x: Tensor, lengths: Tensor | None, given: Mapping[str, Any]
) -> dict[str, tuple[bool, Tensor]]:
    """As `gather_context`; what has a value for each step stays padded where the inputs are."""
    drawn: Mapping[str, Any] = {}
    if cell.training:
        drawn = cell.draw(torch.full((x.shape[0],), x.shape[1]) if lengths is None else lengths, None)
    tensors = {}
    for name, value in {**drawn, **given}.items():
        if name not in cell.per_row and name not in cell.per_step:
            what = f"{type(cell).__name__} declares no context named {name!r}"
            raise ArgumentError(what, fix="Name it in the cell's per_row or per_step")
        each = name in cell.per_step
        if isinstance(value, Ragged) and isinstance(inputs, Ragged):
            value = value.values
        elif isinstance(value, Ragged):
            value = value.pad(x.shape[1])
        elif each and isinstance(inputs, Ragged):
            value = Ragged.from_padded(value, lengths).values
        tensors[name] = (each, value)
    return tensors


def _record(
    cell: Cell, x: Tensor, lead: int, state: Any, context: Mapping[str, tuple[bool, Tensor]], engine: str | None
) -> tuple[torch.dtype, str, str] | None:
    """The type it computes in, where the captured tensors are, and the step's text; None where it cannot be there."""
    leaves = [t for _, t in state_leaves(state)]
    dtype = x.dtype if x.is_floating_point() else torch.get_default_dtype()
    for leaf in leaves[::-1]:
        dtype = leaf.dtype if leaf.is_floating_point() else dtype
    if torch.is_autocast_enabled("cpu"):
        dtype = torch.float32
    kinds = tuple((_sizes(t, 1), dtype if t.is_floating_point() else t.dtype) for t in leaves)
    named = tuple(
        (name, each, _sizes(t, lead if each else 1), dtype if t.is_floating_point() else t.dtype)
        for name, (each, t) in context.items()
    )
    wanted: tuple[str, ...] | None = None
    if torch.is_grad_enabled():
        every = torch.compiler.is_exporting()  # what is exported may be trained behind anything
        wanted = ("x",) if x.requires_grad or (every and x.is_floating_point()) else ()
        for name, (_, t) in context.items():
            wanted = (*wanted, name) if t.requires_grad or (every and t.is_floating_point()) else wanted
    required = any(t.requires_grad for t in leaves) or torch.compiler.is_exporting()
    x_kind = (_sizes(x, lead), dtype if x.is_floating_point() else x.dtype)
    text = _traced(cell, x_kind, kinds, named, dtype, wanted, required, engine)
    if not text:
        return None
    places, ir = text.split("\n")
    return dtype, places, ir


def _sizes(tensor: Tensor, lead: int) -> tuple[int, ...]:
    return tuple(int(n) for n in tensor.shape[lead:])


def _call(
    cell: Cell,
    inputs: Any,
    x: Tensor,
    lengths: Tensor | None,
    state: Any,
    context: Mapping[str, tuple[bool, Tensor]],
    reverse: bool,
    dtype: torch.dtype,
    places: str,
    ir: str,
) -> tuple[Any, Any]:
    leaves = [t for _, t in state_leaves(state)]
    captured = [_tensor_at(cell, place) for place in places.split(" ") if place]
    names = ["x", *[f"state.{i}" for i in range(len(leaves))], *[f"context.{name}" for name in context]]
    names += [f"param.{i}" for i in range(len(captured))]
    tensors = [x, *leaves, *[t for _, t in context.values()], *captured]
    tensors = [t.to(dtype) if t.is_floating_point() and t.dtype != dtype else t for t in tensors]
    padded = not isinstance(inputs, Ragged)
    results = torch.ops.rondeau.scan.default(tensors, lengths, names, padded, reverse, ir)
    final = list(results[1 : 1 + len(leaves)])
    after = map_state(lambda _: final.pop(0), state)
    return (results[0] if padded else _with_values(inputs, results[0])), after


def _last(outputs: Any, lengths: Tensor | None, reverse: bool) -> Tensor:
    """The output of the step each row makes last; zeros for a row without steps."""
    if lengths is None:
        return outputs[:, 0 if reverse else -1]  # type: ignore[no-any-return]
    padded = isinstance(outputs, Tensor)
    values: Tensor = outputs.flatten(0, 1) if padded else outputs.values
    starts = torch.arange(lengths.shape[0]) * outputs.shape[1] if padded else lengths.cumsum(0) - lengths
    place = (starts if reverse else starts + lengths - 1) + 1
    nothing = values.new_zeros(1, *values.shape[1:])  # for rows without steps
    return torch.cat([nothing, values]).index_select(0, torch.where(lengths > 0, place, 0).to(values.device))


def _with_values(like: Ragged, values: Tensor) -> Ragged:
    """Without looking at the lengths again, which torch's tracers could not."""
    ragged = object.__new__(Ragged)
    object.__setattr__(ragged, "values", values)
    object.__setattr__(ragged, "lengths", like.lengths)
    object.__setattr__(ragged, "mask", like.mask)
    return ragged


def _tensor_at(cell: Cell, place: str) -> Tensor:
    """A parameter or buffer by its path, so that tracers see whose it is; what is none is a constant."""
    if place.startswith("#"):
        return getattr(engines.traces_of(cell), place)  # type: ignore[no-any-return]
    owner: Any = cell
    for name in place.split("."):
        owner = getattr(owner, name)
    return owner  # type: ignore[no-any-return]


# -- beside the tracer


@_unseen
def _refuse(owner: str, why: str) -> None:
    raise EngineError(f"{owner} cannot be exported: {why}")


@_unseen
def _traced(
    cell: Cell,
    x: Any,
    states: Any,
    context: Any,
    dtype: torch.dtype,
    wanted: tuple[str, ...] | None,
    required: bool,
    engine: str | None,
) -> str:
    """One line of where the captured tensors are, and one of the step; or nothing where it cannot be in the graph."""
    forced = engines._forced[-1] if engines._forced else None
    engine = engine or forced
    with _disable_current_modes(), torch._C.DisableTorchFunction(), _plain_weights(cell) as stand_in:
        traces = engines.Traces() if stand_in else engines.traces_of(cell)
        required = required or any(p.requires_grad for p in cell.parameters())
        differentiable = wanted is not None and (bool(wanted) or required)
        entry = traces.find(
            cell, Inputs(x, states, context, dtype, frozenset(wanted or ()) if differentiable else None)
        )
        if wanted is not None and not differentiable and any(t.requires_grad for t in entry.captured):
            entry = traces.find(cell, Inputs(x, states, context, dtype, frozenset()))
        places = _places(cell, entry.captured)
    declined = None if entry.loops else entry.declined or Declined("it was not traced")
    if declined is not None and torch.compiler.is_exporting():
        what = f"{type(cell).__name__} cannot be exported: its step cannot be compiled: {declined.reason}"
        raise EngineError(what, where=declined.where)
    if entry.loops is None or (entry.guard.opaque is not None and not torch.compiler.is_exporting()):
        return ""
    _watch(entry, forced)
    if engine == "reference":
        return ""
    return " ".join(places) + "\n" + write(entry.loops.step)


def _places(cell: Cell, captured: list[Tensor]) -> list[str]:
    """The paths of parameters and buffers; where what is no part of the cell is kept: a global, a plain attribute."""
    named = [*cell.named_parameters(remove_duplicate=False), *cell.named_buffers(remove_duplicate=False)]
    paths = {id(tensor): path for path, tensor in reversed(named)}
    for tensor in captured:
        if id(tensor) not in paths:
            paths[id(tensor)] = f"#{id(tensor)}"
            setattr(engines.traces_of(cell), f"#{id(tensor)}", tensor)  # an attribute, so that torch.compile watches it
    return [paths[id(t)] for t in captured]


@contextmanager
def _plain_weights(cell: Cell) -> Iterator[bool]:
    """Ordinary tensors in the place of those that torch.export put into the cell; whether there were any such."""
    made: dict[int, Tensor] = {}
    before: list[tuple[dict[str, Any], str, Tensor]] = []
    for module in cell.modules():
        both: tuple[dict[str, Any], ...] = module._parameters, module._buffers
        for tensors in both:
            for name, tensor in tensors.items():
                if tensor is not None and type(tensor) not in (Tensor, Parameter):
                    before.append((tensors, name, tensor))
                    tensors[name] = made.setdefault(id(tensor), _stand_in(tensor))
    try:
        yield bool(before)
    finally:
        for tensors, name, tensor in before:
            tensors[name] = tensor


def _stand_in(tensor: Tensor) -> Tensor:
    plain = torch.zeros(tuple(int(n) for n in tensor.shape), dtype=tensor.dtype)
    return Parameter(plain, tensor.requires_grad) if isinstance(tensor, Parameter) else plain


def _watch(entry: engines.Entry, forced: str | None) -> None:
    """torch.compile traces anew when the cell, or the engine in force, is no longer what it was."""
    from torch._dynamo.source import GlobalStateSource
    from torch._guards import Guard, TracingContext

    tracing = TracingContext.try_get()
    if tracing is None:
        return

    def holds(_: Any) -> bool:
        return entry.holds() and (engines._forced[-1] if engines._forced else None) == forced

    def install(builder: Any, guard: Any) -> None:
        what = "what the step of a rondeau cell reads has not changed"
        builder.guard_manager.root.add_lambda_guard(holds, [what], None)

    tracing.guards_context.dynamo_guards.add(Guard(GlobalStateSource(), install))
