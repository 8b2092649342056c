"""Which way a scan goes: on compiled loops, or on the reference loop; and why. Nothing is chosen in silence."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import jaxtyping
import torch
from torch import Tensor

from rondeau.cells.base import Cell, map_state, state_tensors
from rondeau.errors import ArgumentError, EngineError
from rondeau.recurrence import native, reference, vendor
from rondeau.recurrence.given import all_given, kinds
from rondeau.recurrence.guards import Guard
from rondeau.recurrence.keep import Record, Wish
from rondeau.recurrence.loops import Loops
from rondeau.recurrence.readings import Readings
from rondeau.recurrence.trace.forms import Declined
from rondeau.recurrence.trace.step import Inputs, Step, trace
from rondeau.sequence import Ragged

ENGINES = ("native", "reference")
Described = tuple[tuple[str, bool, tuple[Any, ...], torch.dtype], ...]
# code that stands between a user's call and this module; jaxtyping may wrap Rondeau's own
_BETWEEN = (*(str(Path(m.__file__ or "").parent) for m in (torch, jaxtyping)), str(Path(__file__).parents[1]), "<")
_KEPT = 8  # traces of one cell: training, inference, and a few shapes of context
_forced: list[str] = []
_warned: set[tuple[type, str]] = set()


@contextmanager
def use_engine(engine: str) -> Iterator[None]:
    """Within this, every scan that names no engine takes this one: "native" or "reference"."""
    _check(engine)
    _forced.append(engine)
    try:
        yield
    finally:
        _forced.pop()


def in_force() -> str | None:
    """The engine of `use_engine`; None outside of any."""
    return _forced[-1] if _forced else None


def _check(engine: str | None) -> None:
    if engine is not None and engine not in ENGINES:
        raise ArgumentError("scan: engine", expected="'native', 'reference' or None", got=repr(engine))


class Entry:
    """One trace of a cell's step: what it was traced for, and its loops, or why there are none."""

    def __init__(self, cell: Cell, inputs: Inputs) -> None:
        self.inputs = inputs
        self.guard = Guard.of(cell)
        self.loops: Loops | None = None
        self._names: dict[tuple[str, ...], tuple[str, ...]] = {}
        self.declined: Declined | None = None
        self.captured = [*cell.parameters(), *cell.buffers()]  # where none is traced, another type or place may help
        try:
            if inputs.dtype not in (torch.float32, torch.float64):
                raise Declined(f"it computes in {inputs.dtype}; loops compute in float32 and float64")
            step = trace(cell, inputs)
            self._check_types(step)
            if self.guard.opaque is None and not self.guard.holds():
                raise Declined("it changes attributes, lists or other Python state as it runs")
            weights = len(inputs.given)
            self.captured = step.captured[weights:]
            step.captured[:weights] = [t.detach().to("meta") for t in step.captured[:weights]]  # they were stand-ins
            self.loops = Loops(step, inputs.dtype)
        except Declined as declined:
            self.declined = declined
        except Exception as error:  # the reference loop runs next, and raises what is the user's to see
            self.declined = Declined(f"tracing it raised {type(error).__name__}: {error}")
        self.flags = self._flags()

    def _check_types(self, step: Step) -> None:
        for _, dtype in self.inputs.states:
            if not dtype.is_floating_point:
                raise Declined(f"it has a state of {dtype}; loops carry floating-point numbers only")
        if step.output.dtype != "float":
            raise Declined("its output is no floating-point number")
        for tensor in step.captured:
            if tensor.device.type != "cpu":
                raise Declined(f"it uses a tensor on {tensor.device}")
            if tensor.is_floating_point() and tensor.dtype != self.inputs.dtype:
                raise Declined(f"it uses a tensor of {tensor.dtype}, in a step of {self.inputs.dtype}")

    def _flags(self) -> list[Any]:
        return [(t.requires_grad, t.shape, t.dtype, t.device) for t in self.captured]

    def names(self, context: tuple[str, ...]) -> tuple[str, ...]:
        """What the tensors of a call are: the input, states, context, given and captured tensors."""
        found = self._names.get(context)
        if found is None:
            states = [f"state.{i}" for i in range(len(self.inputs.states))]
            captured = [f"param.{i}" for i in range(len(self.inputs.given) + len(self.captured))]
            found = self._names[context] = ("x", *states, *(f"context.{n}" for n in context), *captured)
        return found

    def holds(self) -> bool:
        return self.guard.holds() and self._flags() == self.flags

    def may_hold(self) -> bool:
        """As `holds`, with the benefit of the doubt for what nobody can watch."""
        return self.guard.opaque is not None or self.holds()


class Traces:
    """A cell's entries, kept on the cell itself; a copy of the cell starts without any."""

    def __init__(self) -> None:
        self.entries: dict[Inputs, Entry] = {}
        self.made = 0

    def __deepcopy__(self, memo: Any) -> Traces:
        return Traces()

    def __reduce__(self) -> Any:
        return Traces, ()

    def find(self, cell: Cell, inputs: Inputs) -> Entry:
        entry = self.entries.get(inputs)
        if entry is None or not entry.holds():
            entry = Entry(cell, inputs)
            self.made += 1
        self.entries.pop(inputs, None)
        self.entries[inputs] = entry  # the last used stands last
        for old in list(self.entries)[:-_KEPT]:  # other threads may be at it, too
            self.entries.pop(old, None)
        return entry


def traces_of(cell: Cell) -> Traces:
    """The traces of a cell, made when first asked for."""
    found = cell.__dict__.get("_rondeau_traces")
    if found is None:
        found = cell.__dict__["_rondeau_traces"] = Traces()
    return found


def run(
    cell: Cell,
    inputs: Ragged,
    state: Any,
    context: dict[str, tuple[bool, Tensor]],
    reverse: bool,
    engine: str | None,
    record: Record | None = None,
    first: int = 0,
) -> tuple[Ragged, Any]:
    """As `reference.run`, on compiled loops where the step allows, or by a vendor's library elsewhere than on the CPU.

    `record`: where to keep more than the outputs. Raises `EngineError` where `engine="native"` and loops cannot do it.
    """
    _check(engine)
    engine = engine or in_force()
    readings = None if record is None else partial(Readings, record)
    if engine == "reference":
        return reference.run(cell, inputs, state, context, reverse, readings, first)
    leaves = state_tensors(state)
    weights = all_given()
    tensors = [inputs.values, *leaves, *(t for _, t in context.values()), *weights.values()]
    reason, instead = _not_here(tensors), vendor.REFERENCE
    device = next((t.device for t in tensors if vendor.away(t.device)), None)
    if reason is None and device is not None:
        kernel = vendor.choose(cell, inputs, state, context, record)
        if engine is None and not isinstance(kernel, str):
            return vendor.run(kernel, inputs, state, reverse)
        reason, instead = f"the tensors are on {device}, and loops are for the CPU", vendor.how(kernel)
    if reason is None:
        entry = _entry(cell, inputs, leaves, context, None if record is None else record.wish)
        if entry.loops is not None:
            return _native(entry, cell, inputs, state, leaves, context, reverse, record, first)
        declined = entry.declined or Declined("it was not traced")
        if engine is None:
            # first, so that what is wrong with the step itself is said by itself
            result = reference.run(cell, inputs, state, context, reverse, readings, first)
            _warn(cell, declined)
            return result
    else:
        declined = Declined(reason)
    if engine == "native":
        raise refusal(cell, declined, instead)
    return reference.run(cell, inputs, state, context, reverse, readings, first)


def refusal(cell: Cell, declined: Declined, instead: str) -> EngineError:
    """What to raise where compiled loops were asked for, and there are none."""
    return EngineError(
        f"{type(cell).__name__}.step cannot be compiled: {declined.reason}",
        where=declined.where,
        fix=f"Leave engine out to run it by {instead}",
    )


def _warn(cell: Cell, declined: Declined) -> None:
    key = (type(cell), declined.reason)
    if key in _warned:
        return
    _warned.add(key)
    level, frame = 1, sys._getframe()
    while frame is not None and frame.f_code.co_filename.startswith(_BETWEEN):
        level, frame = level + 1, frame.f_back  # type: ignore[assignment]
    where = f" ({declined.where})" if declined.where else ""
    warnings.warn(
        f"{type(cell).__name__} runs on the slow reference loop, since its step cannot be compiled: "
        f"{declined.reason}{where}. rondeau.explain(cell) says more; engine='reference' is silent.",
        RuntimeWarning,
        stacklevel=level,
    )


def _not_here(tensors: list[Tensor]) -> str | None:
    """Why only the reference loop can take these tensors, whatever the cell and device; None if others may."""
    for tensor in tensors:
        if type(tensor) not in (Tensor, torch.nn.Parameter):
            return f"a {type(tensor).__name__} is not a plain tensor"
        if tensor.layout != torch.strided:
            return "a sparse tensor"
    if torch._C._are_functorch_transforms_active():
        return "torch.func's transforms need the step's own operations"
    if torch.autograd.forward_ad._current_level >= 0:
        return "forward-mode differentiation needs the step's own operations"
    if torch._C._len_torch_dispatch_stack() or torch._C._get_tracing_state() is not None:
        return "another tracer is recording"
    return None


def _entry(
    cell: Cell, inputs: Ragged, leaves: list[Tensor], context: dict[str, tuple[bool, Tensor]], wish: Wish | None
) -> Entry:
    weights = all_given()
    dtype = next((t.dtype for t in (*leaves, inputs.values) if t.is_floating_point()), torch.get_default_dtype())
    if torch.is_autocast_enabled("cpu"):
        dtype = torch.float32

    def kind(tensor: Tensor) -> tuple[tuple[int, ...], torch.dtype]:
        return tuple(tensor.shape[1:]), dtype if tensor.is_floating_point() else tensor.dtype

    plain = tuple([(name, per_step, *kind(t)) for name, (per_step, t) in context.items()])
    wanted = None
    if torch.is_grad_enabled():
        sources = (("x", inputs.values), *((n, t) for n, (_, t) in context.items()))
        wanted = frozenset([n for n, t in sources if t.requires_grad])
    differentiable = wanted is not None and (
        bool(wanted)
        or any(t.requires_grad for t in (*leaves, *weights.values()))
        or any(p.requires_grad for p in cell.parameters())
    )
    given = kind(inputs.values), tuple(map(kind, leaves))
    traces = traces_of(cell)
    of_call = kinds(weights, dtype) if weights else ()
    named = _memories(plain) if plain else plain
    for described in (named, plain) if named != plain else (plain,):
        entry = traces.find(cell, Inputs(*given, described, dtype, wanted if differentiable else None, wish, of_call))
        if wanted is not None and not differentiable and any(t.requires_grad for t in entry.captured):
            entry = traces.find(cell, Inputs(*given, described, dtype, wanted, wish, of_call))
        if entry.loops is not None:
            break
    return entry


def _memories(context: Described) -> Described:
    """Context of several axes per row is a memory: its first size is only known when the loop runs.

    What has as many entries per row, such as its mask, goes along.
    """
    lengths = sorted({shape[0] for _, per_step, shape, _ in context if not per_step and len(shape) > 1})
    names = {n: f"m{i}" for i, n in enumerate(lengths)}
    return tuple(
        (name, per_step, shape if per_step or not shape else (names.get(shape[0], shape[0]), *shape[1:]), dtype)
        for name, per_step, shape, dtype in context
    )


def _native(
    entry: Entry,
    cell: Cell,
    inputs: Ragged,
    state: Any,
    leaves: list[Tensor],
    context: dict[str, tuple[bool, Tensor]],
    reverse: bool,
    record: Record | None,
    first: int,
) -> tuple[Ragged, Any]:
    loops, dtype = entry.loops, entry.inputs.dtype
    if loops is None:
        raise ValueError("a declined step has no loops")
    names, weights = entry.names(tuple(context)), all_given()
    tensors = [inputs.values, *leaves, *[t for _, t in context.values()], *weights.values(), *entry.captured]
    tensors = [t if t.dtype == dtype or not t.is_floating_point() else t.to(dtype) for t in tensors]
    call = native.Call(loops, inputs.lengths, reverse, names, record=record, first=first)
    for name, _, shape, _ in entry.inputs.context:
        call.sizes.update({n: context[name][1].shape[a + 1] for a, n in enumerate(shape) if isinstance(n, str)})
    with torch.autocast("cpu", enabled=False) if torch.is_autocast_enabled("cpu") else nullcontext():
        if entry.inputs.wanted is None:
            with torch.no_grad():
                output, final, _ = native.forward(call, tensors, train=False)
        else:
            call.again = native.Again(
                cell, inputs.lengths, state, context, reverse, entry.may_hold, record, first, tuple(weights)
            )
            output, *final = native.Scan.apply(call, *tensors)  # type: ignore[no-untyped-call]
    remaining = iter(final)
    shape = loops.step.output.shape
    values = output if len(shape) == 1 else output.view(-1, *shape)
    return inputs.with_values(values), map_state(lambda _: next(remaining), state)
