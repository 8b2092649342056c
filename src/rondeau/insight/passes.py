"""One pass through a model and back, written down: what each module, and each scan, took and made."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor

from rondeau.cells.base import Cell, state_leaves, state_tensors
from rondeau.insight.names import Names, short
from rondeau.insight.places import is_finite, leaves, tensors
from rondeau.nn import accelerate
from rondeau.recurrence.watch import Call, watching
from rondeau.sequence import Ragged


@dataclass
class Event:
    """A module, or a scan, that has done its part.

    Attributes:
        given, made: tensors and `Ragged` that went in and came out.
        call: of a scan.
        by_given, by_made: gradients that came by them, in the same form; none before the way back.
    """

    name: str
    module: torch.nn.Module
    given: list[Any]
    made: list[Any]
    call: Call | None = None
    by_given: list[Any] = field(default_factory=list)
    by_made: list[Any] = field(default_factory=list)
    by_outputs: Tensor | None = None
    by_final: list[Tensor | None] = field(default_factory=list)


class Passes:
    """Attributes: `events`, in the order in which they are over: what is inside a module before it.

    A module's second call is `name (call 2)`: in a loop over a cell of torch's, its step.
    """

    def __init__(self, model: torch.nn.Module) -> None:
        self.model = model
        self.events: list[Event] = []
        self._calls: Counter[str] = Counter()
        self._names = Names(model)
        self._known = {id(p): short(name) for name, p in model.named_parameters()}

    def forward(self, arguments: tuple[Any, ...]) -> Any:
        with self.watched():
            return self.model(*arguments)

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Within this, what the model's modules do is written down."""
        self.events.clear()
        self._calls.clear()
        with ExitStack() as stack:
            stack.callback(accelerate(self.model, quiet=True).undo)
            for name, module in self._watchable():
                called = short(name) or type(self.model).__name__
                hook = module.register_forward_hook(
                    lambda m, args, kwargs, made, called=called: self._note(called, m, (args, kwargs), made),
                    with_kwargs=True,
                )
                stack.callback(hook.remove)
            stack.enter_context(self._names.following())
            stack.enter_context(watching(self._scanned))
            yield

    def _watchable(self) -> list[tuple[str, torch.nn.Module]]:
        """Modules that are called: of a cell a scan calls the step, and what is inside is the step's affair."""
        cells = [module for module in self.model.modules() if isinstance(module, Cell)]
        inside = {id(part) for cell in cells for part in cell.modules()}
        return [(name, module) for name, module in self.model.named_modules() if id(module) not in inside]

    def _note(self, name: str, module: torch.nn.Module, given: Any, made: Any) -> None:
        self._calls[name] += 1
        called = name if self._calls[name] == 1 else f"{name} (call {self._calls[name]})"
        self.events.append(Event(called, module, list(leaves(given)), list(leaves(made))))

    def _scanned(self, call: Call) -> None:
        given = [call.inputs, *state_tensors(call.state), *(t for _, t in call.context.values())]
        made = [call.outputs if call.last else call.inputs.with_values(call.outputs), *state_tensors(call.final)]
        event = Event(self._names.of(call), call.cell, given, made, call)
        event.by_final = [None for _ in state_leaves(call.final)]
        self.events.append(event)

    def named_weights(self) -> list[tuple[str, Tensor]]:
        """All of the model's."""
        return [(short(name), p) for name, p in self.model.named_parameters()]

    def weights_of(self, event: Event) -> list[tuple[str, Tensor]]:
        """The weights inside it, with the model's names for them."""
        found: list[tuple[str, Tensor]] = list(event.module.named_parameters())
        found += [] if event.call is None else event.call.weights.items()
        return [(self._known.get(id(p), name), p) for name, p in found]

    def backward(self, total: Tensor) -> dict[str, Tensor]:
        """The gradient of each weight; that by what went in and out of each module is noted in the events."""
        named = [(short(n), p) for n, p in self.model.named_parameters() if p.requires_grad]
        handles = [handle for event in self.events for handle in _hooked(event)]
        try:
            extra = [t for event in self.events for t in tensors(event.given) if t.requires_grad and t.is_leaf]
            wanted = list({id(t): t for t in [*(p for _, p in named), *extra]}.values())
            found = torch.autograd.grad(total, wanted, allow_unused=True)
        finally:
            for handle in handles:
                handle.remove()
        by_id = {id(t): g for t, g in zip(wanted, found, strict=True)}
        gradients = {name: by_id[id(p)] for name, p in named}
        return {name: gradient for name, gradient in gradients.items() if gradient is not None}

    def culprits(self, lost: dict[str, Tensor]) -> list[Event]:
        """Events whose gradients by what they made are finite and those by what they took, or their weights, not.

        Of modules only the innermost, the last first. What two of them took got both their gradients: one of them may
        be innocent.
        """
        found = [one for one in self.events if self._breaks(one, lost)]
        return [one for one in reversed(found) if not any(_is_inside(other, one) for other in found)]

    def _breaks(self, event: Event, lost: dict[str, Tensor]) -> bool:
        if not event.by_made or not is_finite(event.by_made):
            return False
        return not is_finite(event.by_given) or any(name in lost for name, _ in self.weights_of(event))


def _is_inside(one: Event, other: Event) -> bool:
    if other.call is not None or (one.module is other.module and one.call is None):
        return False
    return any(part is one.module for part in other.module.modules())


def _hooked(event: Event) -> list[Any]:
    """Hooks that note the gradients that come by what it took and made."""
    handles = []
    for kept, data in ((event.by_given, event.given), (event.by_made, event.made)):
        for leaf in data:
            handles += _hook(leaf.values if isinstance(leaf, Ragged) else leaf, _noting(kept, leaf))
    if event.call is not None:
        handles += _hook(event.call.outputs, partial(setattr, event, "by_outputs"))
        for place, part in enumerate(state_tensors(event.call.final)):
            handles += _hook(part, partial(event.by_final.__setitem__, place))
    return handles


def _hook(tensor: Any, note: Callable[[Tensor], None]) -> list[Any]:
    def got(gradient: Tensor | None) -> None:
        if gradient is not None:  # as where a result of several had no use
            note(gradient.detach())

    return [tensor.register_hook(got)] if tensor.requires_grad else []


def _noting(kept: list[Any], leaf: Any) -> Callable[[Tensor], None]:
    return lambda gradient: kept.append(leaf.with_values(gradient) if isinstance(leaf, Ragged) else gradient)
