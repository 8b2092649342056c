"""Which way a scan goes: on compiled loops, or on the reference loop; and why. Nothing is chosen in silence."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import jaxtyping
import torch
from torch import Tensor

from rondeau.cells.base import Cell, map_state, state_leaves
from rondeau.errors import ArgumentError, EngineError
from rondeau.recurrence import native, reference
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


def _check(engine: str | None) -> None:
    if engine is not None and engine not in ENGINES:
        raise ArgumentError("scan: engine", expected="'native', 'reference' or None", got=repr(engine))


class Entry:
    """One trace of a cell's step: what it was traced for, and its loops, or why there are none."""

    def __init__(self, cell: Cell, inputs: Inputs) -> None:
        self.inputs = inputs
        self.guard = Guard.of(cell)
        self.loops: Loops | None = None
        self.declined: Declined | None = None
        try:
            if inputs.dtype not in (torch.float32, torch.float64):
                raise Declined(f"it computes in {inputs.dtype}; loops compute in float32 and float64")
            step = trace(cell, inputs)
            self._check_types(step)
            if self.guard.opaque is None and not self.guard.holds():
                raise Declined("it changes attributes, lists or other Python state as it runs")
            self.captured = step.captured
            self.loops = Loops(step, inputs.dtype)
        except Declined as declined:
            self.declined, self.captured = declined, []
        except Exception as error:  # the reference loop runs next, and raises what is the user's to see
            self.declined, self.captured = Declined(f"tracing it raised {type(error).__name__}: {error}"), []
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
        return [(t.requires_grad, t.shape, t.dtype) for t in self.captured]

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
        entry = self.entries.pop(inputs, None)
        if entry is None or not entry.holds():
            entry = Entry(cell, inputs)
            self.made += 1
        self.entries[inputs] = entry  # the last used stands last
        while len(self.entries) > _KEPT:
            del self.entries[next(iter(self.entries))]
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
) -> tuple[Ragged, Any]:
    """As `reference.run`, on compiled loops where the step allows. `record`: where to keep more than the outputs.

    Raises `EngineError` where `engine="native"` and it does not.
    """
    _check(engine)
    engine = engine or (_forced[-1] if _forced else None)
    readings = None if record is None else partial(Readings, record)
    if engine == "reference":
        return reference.run(cell, inputs, state, context, reverse, readings)
    reason = _not_here(inputs, state, context)
    if reason is None:
        entry = _entry(cell, inputs, state, context, None if record is None else record.wish)
        if entry.loops is not None:
            with torch.autocast("cpu", enabled=False):
                return _native(entry, cell, inputs, state, context, reverse, record)
        declined = entry.declined or Declined("it was not traced")
        if engine is None:
            # first, so that what is wrong with the step itself is said by itself
            result = reference.run(cell, inputs, state, context, reverse, readings)
            _warn(cell, declined)
            return result
    else:
        declined = Declined(reason)
    if engine == "native":
        raise EngineError(
            f"{type(cell).__name__}.step cannot be compiled: {declined.reason}",
            where=declined.where,
            fix="Leave engine out to run it on the reference loop",
        )
    return reference.run(cell, inputs, state, context, reverse, readings)


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


def _not_here(inputs: Ragged, state: Any, context: dict[str, tuple[bool, Tensor]]) -> str | None:
    """Why these tensors cannot go through compiled loops, whatever the cell; None if they can."""
    tensors = [inputs.values, *(t for _, t in state_leaves(state)), *(t for _, t in context.values())]
    for tensor in tensors:
        if tensor.device.type != "cpu":
            return f"tensors on {tensor.device} run on the reference loop"
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


def _entry(cell: Cell, inputs: Ragged, state: Any, context: dict[str, tuple[bool, Tensor]], wish: Wish | None) -> Entry:
    leaves = [t for _, t in state_leaves(state)]
    dtype = next((t.dtype for t in (*leaves, inputs.values) if t.is_floating_point()), torch.get_default_dtype())
    if torch.is_autocast_enabled("cpu"):
        dtype = torch.float32

    def kind(tensor: Tensor) -> tuple[tuple[int, ...], torch.dtype]:
        return tuple(tensor.shape[1:]), dtype if tensor.is_floating_point() else tensor.dtype

    plain = tuple((name, per_step, *kind(t)) for name, (per_step, t) in context.items())
    described = Inputs(kind(inputs.values), tuple(map(kind, leaves)), plain, dtype, None, wish)
    traces = traces_of(cell)
    named = _memories(plain)
    if named != plain:
        entry = _traced(traces, cell, inputs, leaves, context, replace(described, context=named))
        if entry.loops is not None:
            return entry
    return _traced(traces, cell, inputs, leaves, context, described)


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


def _traced(
    traces: Traces,
    cell: Cell,
    inputs: Ragged,
    leaves: list[Tensor],
    context: dict[str, tuple[bool, Tensor]],
    described: Inputs,
) -> Entry:
    if not torch.is_grad_enabled():
        return traces.find(cell, replace(described, wanted=None))
    wanted = [n for n, t in (("x", inputs.values), *((n, t) for n, (_, t) in context.items())) if t.requires_grad]
    differentiable = wanted or any(t.requires_grad for t in (*leaves, *cell.parameters()))
    if not differentiable:
        entry = traces.find(cell, replace(described, wanted=None))
        if not any(t.requires_grad for t in entry.captured):
            return entry
    return traces.find(cell, replace(described, wanted=frozenset(wanted)))


def _native(
    entry: Entry,
    cell: Cell,
    inputs: Ragged,
    state: Any,
    context: dict[str, tuple[bool, Tensor]],
    reverse: bool,
    record: Record | None,
) -> tuple[Ragged, Any]:
    loops = entry.loops
    if loops is None:
        raise ValueError("a declined step has no loops")
    leaves = [t for _, t in state_leaves(state)]
    names = ["x", *(f"state.{i}" for i in range(len(leaves))), *(f"context.{n}" for n in context)]
    names += [f"param.{i}" for i in range(len(entry.captured))]
    tensors = [inputs.values, *leaves, *(t for _, t in context.values()), *entry.captured]
    dtype = entry.inputs.dtype
    tensors = [t.to(dtype) if t.is_floating_point() and t.dtype != dtype else t for t in tensors]
    call = native.Call(loops, inputs.lengths, reverse, tuple(names), record=record)
    for name, _, shape, _ in entry.inputs.context:
        call.sizes.update({n: context[name][1].shape[a + 1] for a, n in enumerate(shape) if isinstance(n, str)})
    if entry.inputs.wanted is None:
        with torch.no_grad():
            output, final, _ = native.forward(call, tensors, train=False)
    else:
        call.again = native.Again(cell, inputs.lengths, state, context, reverse, entry.may_hold, record)
        output, *final = native.Scan.apply(call, *tensors)  # type: ignore[no-untyped-call]
    remaining = iter(final)
    return inputs.with_values(output.view(-1, *loops.step.output.shape)), map_state(lambda _: next(remaining), state)
