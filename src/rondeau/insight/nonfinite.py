"""NaN and infinity traced to where they began: the input, weight, layer, step, operation or derivative."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from rondeau.errors import ArgumentError
from rondeau.insight.broken_steps import BrokenStep, broken_backward, broken_forward
from rondeau.insight.passes import Event, Passes
from rondeau.insight.places import Place, first, is_finite
from rondeau.insight.undisturbed import states_kept
from rondeau.models import Model
from rondeau.module import BuildableModule
from rondeau.training.batch import Batch
from rondeau.training.trainer import Trainer


@dataclass(frozen=True)
class NonFinite:
    """Where the first number that is not finite came from.

    Attributes:
        where: "input", "target" or "weight": it was there before; "forward": a layer made it; "loss": the loss did, of
            outputs that are finite; "backward": a derivative did, of a loss that is finite.
        value: "nan", "inf" or "-inf".
        layer: the layer's or module's name; None where it was no layer's.
        parameter: of "weight" the weight's name; of "backward" a weight whose gradient is lost.
        part: within a step, a name it gives, a part of its state, "input", "output" or a weight.
        operation: within a step, the operation, and the line that asks for it.
        row, step: of the batch; step as the inputs count it, from 0. entry: in the axes behind them.
    """

    where: str
    value: str
    layer: str | None = None
    parameter: str | None = None
    part: str | None = None
    operation: str | None = None
    row: int | None = None
    step: int | None = None
    entry: tuple[int, ...] = ()

    def __str__(self) -> str:
        return self.sentence

    @property
    def sentence(self) -> str:
        """All of it in words.

        >>> NonFinite("forward", "inf", layer="lstm", part="c", operation="mul", row=1, step=7).sentence
        'The layer lstm makes inf of finite numbers: in row 1 at step 7, in its state or value c, by the operation mul.'
        """
        place = self._place()
        if self.where in ("input", "target"):
            return f"The {self.where} itself holds {self.value}{place}."
        if self.where == "weight":
            entry = f" at {list(self.entry)}" if self.entry else ""
            return f"The weight {self.parameter} holds {self.value}{entry}."
        if self.where == "loss":
            return f"The loss is {self.value}, though outputs and targets are finite: it is the loss function's doing."
        details = [place.strip()] if place else []
        if self.where == "forward":
            said = f"The layer {self.layer} makes {self.value} of finite numbers"
            if self.part:
                details.append("in its output" if self.part == "output" else f"in its state or value {self.part}")
        elif self.layer is None:
            said = f"The loss is finite, but its derivative by the outputs is {self.value}"
        else:
            said = f"Going backwards, the layer {self.layer} makes {self.value} of finite gradients"
            details += [f"in the derivative by its {self.part}"] if self.part else []
        details += [f"by the operation {self.operation}"] if self.operation else []
        details += [f"which loses the gradient of {self.parameter}"] if self.parameter else []
        return f"{said}: {', '.join(details)}." if details else f"{said}."

    def _place(self) -> str:
        words = [] if self.row is None else [f"row {self.row}"]
        words += [] if self.step is None else [f"at step {self.step}" if words else f"step {self.step}"]
        said = f" in {' '.join(words)}" if words else ""
        return said + (f", entry {list(self.entry)}" if self.entry and self.where in ("input", "target") else "")


def trace_nonfinite(
    model: torch.nn.Module, x: Any, y: Any = None, loss: Callable[[Any, Any], Tensor] | None = None
) -> NonFinite | None:
    """Run a batch once more, forwards and backwards, and tell where the first number that is not finite comes from.

    Args:
        model: any; it runs in the mode it is in, and recurrent modules of torch.nn on scans. Its weights, gradients,
            buffers and carried states, and torch's random numbers, are afterwards what they were.
        x: what it is called with; a tuple holds several arguments.
        y: the targets. loss: function of the model's output and y, giving a 0-d tensor. Without either, a compiled
            `Model` takes its own, and of any other only the forward pass is traced.

    Returns:
        What it found; None where all numbers are finite. What only random numbers of one step made (a dropout mask) may
        not be found again.

    Raises `ArgumentError` for a loss that gives no 0-d tensor.

    >>> layer = torch.nn.Linear(2, 1)
    >>> print(trace_nonfinite(layer, torch.tensor([[1.0, 2.0], [float("nan"), 0.0]])))
    The input itself holds nan in row 1, entry [0].
    """
    if loss is None and isinstance(model, Model) and model.trainer is not None and y is not None:
        return trace_batch(model.trainer, Batch(x, y))

    def compute(passes: Passes) -> Tensor | None:
        outputs = passes.forward(x if isinstance(x, tuple) else (x,))
        if loss is None:
            return None
        total = loss(outputs, y)
        if not isinstance(total, Tensor) or total.ndim:
            got = tuple(total.shape) if isinstance(total, Tensor) else type(total).__name__
            raise ArgumentError("trace_nonfinite: loss", expected="a function that gives a 0-d tensor", got=got)
        return total

    return _trace(model, x, y, compute)


def trace_batch(trainer: Trainer, batch: Batch) -> NonFinite | None:
    """As `trace_nonfinite`, of a batch that a compiled model trains on: for `Callback.on_numerics_error`."""
    placed = trainer.placed(batch)
    trainer.objective.bind(trainer.model.output_names)
    trainer.objective.attach(trainer.model)

    def compute(passes: Passes) -> Tensor:
        with passes.watched():
            _, _, scores = trainer.forward(batch, None)
        return scores.total

    return _trace(trainer.model, placed.x, placed.y, compute)


def _trace(model: torch.nn.Module, x: Any, y: Any, compute: Callable[[Passes], Tensor | None]) -> NonFinite | None:
    with _unchanged(model), torch.enable_grad():
        passes = Passes(model)
        total = compute(passes)
        found = _forward(passes, x)
        if found is not None or total is None:
            return found
        if not is_finite(total):
            place = first(y, sequence=True) if y is not None else None
            if place is not None:
                return _at("target", place)
            return NonFinite("loss", first(total).value)  # type: ignore[union-attr]
        return _backward(passes, total, x)


def _at(where: str, place: Place, **more: Any) -> NonFinite:
    return NonFinite(where, place.value, row=place.row, step=place.step, entry=place.entry, **more)


def _forward(passes: Passes, x: Any) -> NonFinite | None:
    event = next((one for one in passes.events if not is_finite(one.made)), None)
    if event is None:
        return None
    before = _before(passes, event, x)
    if before is not None:
        return before
    if event.call is not None:
        broken = broken_forward(event.call)
        if broken is not None:
            return _of_step("forward", event, broken)
    made = first(event.made)
    return _at("forward", made, layer=event.name, part="output") if made else None


def _before(passes: Passes, event: Event, x: Any) -> NonFinite | None:
    """What was wrong before this event: a weight of its own, the input, or what happened outside of any module."""
    weight = _broken_weight(passes.weights_of(event))
    if weight is not None:
        return weight
    place = first(event.given)
    if place is None:
        return None
    own = first(x)
    return _at("forward", place, layer=f"what comes before {event.name}") if own is None else _at("input", own)


def _broken_weight(named: Iterable[tuple[str, Tensor]]) -> NonFinite | None:
    for name, weight in named:
        place = first(weight, sequence=False)
        if place is not None:
            entry = (*(() if place.row is None else (place.row,)), *place.entry)
            layer = name.rpartition(".")[0].removesuffix("cell").removesuffix(".") or None
            return NonFinite("weight", place.value, layer=layer, parameter=name, entry=entry)
    return None


def _of_step(where: str, event: Event, broken: BrokenStep, parameter: str | None = None) -> NonFinite:
    operation = None if broken.operation is None else str(broken.operation)
    return _at(where, broken.place, layer=event.name, part=broken.part, operation=operation, parameter=parameter)


def _backward(passes: Passes, total: Tensor, x: Any) -> NonFinite | None:
    # an infinite weight or input may saturate a gate, and be felt on the way back only, or nowhere
    weight = _broken_weight(passes.named_weights())
    if weight is not None or not total.requires_grad:
        return weight
    lost = {name: gradient for name, gradient in passes.backward(total).items() if not is_finite(gradient)}
    found = passes.culprits(lost)
    if not found:
        return _by_outputs(passes, lost)
    for event in found:
        before = _before(passes, event, x)
        if before is not None:
            return before
    for event in found:  # of scans it can be proved
        broken = None if event.call is None else broken_backward(event.call, event.by_outputs, event.by_final)
        if broken is not None:
            return _of_step("backward", event, broken, _lost_of(passes, event, lost))
    return _by_module(passes, next((one for one in found if one.call is None), found[0]), lost)


def _lost_of(passes: Passes, event: Event, lost: dict[str, Tensor]) -> str | None:
    return next((name for name, _ in passes.weights_of(event) if name in lost), None)


def _by_module(passes: Passes, event: Event, lost: dict[str, Tensor]) -> NonFinite:
    parameter = _lost_of(passes, event, lost)
    place = first(event.by_given) or (None if parameter is None else first(lost[parameter], sequence=False))
    return NonFinite("backward", place.value if place else "nan", layer=event.name, parameter=parameter)


def _by_outputs(passes: Passes, lost: dict[str, Tensor]) -> NonFinite | None:
    """No module did it: what lies behind them all, the loss, or between them."""
    wrong = next((one for one in reversed(passes.events) if not is_finite(one.by_made)), None)
    place = None if wrong is None else first(wrong.by_made)
    if place is not None:
        return _at("backward", place)
    for name, gradient in lost.items():
        inner = first(gradient, sequence=False)
        return NonFinite("backward", inner.value if inner else "nan", parameter=name)
    return None


@contextmanager
def _unchanged(model: torch.nn.Module) -> Iterator[None]:
    """Afterwards buffers, carried states and random generators are what they were; nothing else is touched."""
    buffers = [(b, b.detach().clone()) for b in model.buffers()]
    owned = [m._generators for m in model.modules() if isinstance(m, BuildableModule)]
    generators = [(g, g.get_state()) for own in owned for g in own.values()]
    made = [set(own) for own in owned]
    with ExitStack() as stack:
        stack.enter_context(torch.random.fork_rng())
        stack.enter_context(states_kept(model))
        try:
            yield
        finally:
            with torch.no_grad():
                for b, before in buffers:
                    b.copy_(before)
            for own, before_names in zip(owned, made, strict=True):
                for name in set(own) - before_names:
                    del own[name]
            for generator, state in generators:
                generator.set_state(state)
