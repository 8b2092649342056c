"""One window of a scan, forward alone or once more with its gradients: on compiled loops, or step by step."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from functools import partial
from typing import Any, Protocol

import torch
from torch import Tensor

from rondeau.cells.base import Cell, map_state, state_tensors
from rondeau.errors import EngineError
from rondeau.recurrence import engine as engines
from rondeau.recurrence import native, reference, vendor
from rondeau.recurrence.alone import alone
from rondeau.recurrence.cuts import Window
from rondeau.recurrence.guards import Guard
from rondeau.recurrence.keep import Record
from rondeau.recurrence.readings import Readings
from rondeau.recurrence.seen import Seen
from rondeau.recurrence.trace.forms import Declined
from rondeau.sequence import Ragged

Context = dict[str, tuple[bool, Tensor]]


class Stepper(Protocol):
    """How windows are computed.

    `names`: what the tensors are: "x", "state.0", "context.<name>", then "param.0" for each of `captured`, the tensors
    that the step reads besides, which are known after the forward pass. `given` has those before the captured ones.
    `warn`: to be called after the forward pass, so that what is wrong with the step itself is said by itself.
    """

    warn: Callable[[], None]

    @property
    def captured(self) -> list[Tensor]: ...

    @property
    def names(self) -> tuple[str, ...]: ...

    def forward(self, window: Window, given: list[Tensor], record: Record | None) -> tuple[Tensor, list[Tensor]]:
        """The output of each step, and the states afterwards; without gradients."""

    def gradients(
        self, window: Window, given: list[Tensor], captured: list[Tensor], grad_output: Tensor | None,
        grad_final: list[Tensor | None], needed: Sequence[bool], record: Record | None,
    ) -> list[Tensor | None]:  # fmt: skip
        """The same once more, and the gradient of each tensor that needs one."""

    def unchanged(self) -> bool:
        """Whether the cell is what it was in the forward pass, as far as can be told."""

    def settings(self) -> AbstractContextManager[None]:
        """Autocast as it is to be when steps are made once more."""

    def cast(self, tensor: Tensor) -> Tensor:
        """A tensor in the type in which steps are made."""


def stepper(
    cell: Cell, inputs: Ragged, state: Any, context: Context, reverse: bool, engine: str | None, record: Record | None
) -> Stepper:
    """As `engine.run` chooses. Raises `EngineError` where `engine="native"` and loops cannot do it."""
    engines._check(engine)
    engine = engine or (engines._forced[-1] if engines._forced else None)
    stepped = partial(Stepped, cell, state, context, reverse)
    if engine == "reference":
        return stepped()
    leaves = state_tensors(state)
    tensors = [inputs.values, *leaves, *(t for _, t in context.values())]
    reason, instead = engines._not_here(tensors), vendor.REFERENCE
    device = next((t.device for t in tensors if vendor.away(t.device)), None)
    by_vendor = False
    if reason is None and device is not None:
        kernel = vendor.choose(cell, inputs, state, context, record)
        by_vendor = not isinstance(kernel, str)
        reason, instead = f"the tensors are on {device}, and loops are for the CPU", vendor.how(kernel)
    declined = Declined(reason or "")
    if reason is None:
        entry = engines._entry(cell, inputs, leaves, context, None if record is None else record.wish)
        if entry.loops is not None:
            return Native(entry, inputs, context, reverse)
        declined = entry.declined or Declined("it was not traced")
        if engine is None:
            return stepped(warning=partial(engines._warn, cell, declined))
    if engine == "native":
        raise engines.refusal(cell, declined, instead)
    return stepped(by_vendor)


class Native:
    """On compiled loops."""

    def __init__(self, entry: engines.Entry, inputs: Ragged, context: Context, reverse: bool) -> None:
        if entry.loops is None:
            raise ValueError("a declined step has no loops")
        self.loops, self.entry, self.reverse = entry.loops, entry, reverse
        self.names = entry.names(tuple(context))
        self.captured = entry.captured
        self.warn = lambda: None
        self.sizes: dict[str, int] = {}
        for name, _, shape, _ in entry.inputs.context:
            self.sizes.update({n: context[name][1].shape[a + 1] for a, n in enumerate(shape) if isinstance(n, str)})

    def forward(self, window: Window, given: list[Tensor], record: Record | None) -> tuple[Tensor, list[Tensor]]:
        with self.settings():
            tensors = [self.cast(t) for t in (*given, *self.captured)]
            output, final, _ = native.forward(self._call(window, record), tensors, train=False)
        return output.view(-1, *self.loops.step.output.shape), final

    def gradients(
        self, window: Window, given: list[Tensor], captured: list[Tensor], grad_output: Tensor | None,
        grad_final: list[Tensor | None], needed: Sequence[bool], record: Record | None,
    ) -> list[Tensor | None]:  # fmt: skip
        with self.settings():
            tensors = [self.cast(t) for t in (*given, *captured)]
            output, _, kept = native.forward(self._call(window, None), tensors, train=True)
            call = self._call(window, record)
            grad_output = None if grad_output is None else self.cast(grad_output).flatten(1)
            grad_final = [None if g is None else self.cast(g) for g in grad_final]
            return native.backward(call, tensors, output, kept, grad_output, grad_final, needed, last=True)

    def _call(self, window: Window, record: Record | None) -> native.Call:
        call = native.Call(self.loops, window.lengths, self.reverse, self.names, record=record, first=window.first)
        call.sizes.update(self.sizes)
        return call

    def unchanged(self) -> bool:
        return self.entry.may_hold()

    def settings(self) -> AbstractContextManager[None]:
        return torch.autocast("cpu", enabled=False) if torch.is_autocast_enabled("cpu") else nullcontext()

    def cast(self, tensor: Tensor) -> Tensor:
        dtype = self.entry.inputs.dtype
        return tensor.to(dtype) if tensor.is_floating_point() and tensor.dtype != dtype else tensor


class Stepped:
    """Step by step in torch, or by a vendor's kernel; the second time in autograd."""

    def __init__(
        self, cell: Cell, state: Any, context: Context, reverse: bool, by_vendor: bool = False,
        warning: Callable[[], None] = lambda: None,
    ) -> None:  # fmt: skip
        self.cell, self.form, self.reverse, self.by_vendor = cell, state, reverse, by_vendor
        self.warn = warning
        self.kinds = {name: per_step for name, (per_step, _) in context.items()}
        self.guard = Guard.of(cell)
        self.seen = Seen(type(cell).__name__, random=by_vendor)
        device = state_tensors(state)[0].device.type
        self._autocast = [
            partial(torch.autocast, kind, torch.get_autocast_dtype(kind), torch.is_autocast_enabled(kind))
            for kind in dict.fromkeys((device, "cpu"))
        ]

    @property
    def captured(self) -> list[Tensor]:
        return self.seen.captured

    @property
    def names(self) -> tuple[str, ...]:
        states = [f"state.{i}" for i in range(len(state_tensors(self.form)))]
        captured = [f"param.{i}" for i in range(len(self.captured))]
        return ("x", *states, *(f"context.{n}" for n in self.kinds), *captured)

    def _run(self, window: Window, given: list[Tensor], record: Record | None) -> tuple[Tensor, list[Tensor]]:
        x, *others = given
        remaining = iter(others)
        state = map_state(lambda _: next(remaining), self.form)
        context = {n: (per_step, next(remaining)) for n, per_step in self.kinds.items()}
        rows = window.ragged(x)
        kernel = vendor.choose(self.cell, rows, state, context, record) if self.by_vendor else ""
        if not isinstance(kernel, str):
            outputs, final = vendor.run(kernel, rows, state, self.reverse)
        else:
            readings: Callable[[Tensor], Readings] | None = None if record is None else partial(Readings, record)
            outputs, final = reference.run(self.cell, rows, state, context, self.reverse, readings, window.first)
        return outputs.values, state_tensors(final)

    def forward(self, window: Window, given: list[Tensor], record: Record | None) -> tuple[Tensor, list[Tensor]]:
        with self.seen:
            return self._run(window, given, record)

    def gradients(
        self, window: Window, given: list[Tensor], captured: list[Tensor], grad_output: Tensor | None,
        grad_final: list[Tensor | None], needed: Sequence[bool], record: Record | None,
    ) -> list[Tensor | None]:  # fmt: skip
        if self.guard.opaque is None and not self.guard.holds():
            what = "Recompute steps the cell once more, but it has changed since the forward pass"
            fix = "Take the gradients before changing it; a step that changes its cell as it runs needs gradient=None"
            raise EngineError(what, where=type(self.cell).__name__, fix=fix)
        given = [t.detach().requires_grad_(n) for t, n in zip(given, needed, strict=False)]
        with alone(captured) as stopped, self.settings(), torch.enable_grad():
            output, final = self._run(window, given, record)
            pairs = [
                (r, g)
                for r, g in zip([output, *final], [grad_output, *grad_final], strict=True)
                if g is not None and r.requires_grad
            ]
            sources = [t for t, need in zip([*given, *captured], needed, strict=True) if need]
            if not pairs or not sources:
                return [None] * len(needed)
            ends, cotangents = [r for r, _ in pairs], [g for _, g in pairs]
            made = any(t.grad_fn is not None for t in captured)  # then its graph is the user's, who needs it later
            found = iter(torch.autograd.grad(ends, sources, cotangents, allow_unused=True, retain_graph=made))
            tensors = zip([*given, *captured], needed, strict=True)
            return [stopped(t, next(found)) if need else None for t, need in tensors]

    def unchanged(self) -> bool:
        return self.guard.opaque is not None or self.guard.holds()

    @contextmanager
    def settings(self) -> Iterator[None]:
        with ExitStack() as stack:
            for autocast in self._autocast:
                stack.enter_context(autocast())
            yield

    def cast(self, tensor: Tensor) -> Tensor:
        return tensor
