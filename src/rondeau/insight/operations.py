"""Which operation inside a step makes a number that is not finite, of values or of gradients."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from rondeau.insight.places import is_finite, tensors
from rondeau.layers.graph import map_leaves

_QUIET = ("__get__", "__set__", "size", "dim", "is_floating_point", "requires_grad_", "detach")
_OURS = str(Path(__file__))


class Done(NamedTuple):
    """An operation that was made: its name, where in the program, what went in and came out."""

    name: str
    line: str | None
    given: list[Tensor]
    made: list[Tensor]
    call: tuple[Any, Any, Any]  # the function, its arguments, and those by name

    def __str__(self) -> str:
        return self.name if self.line is None else f"{self.name} ({self.line})"


class Operations(TorchFunctionMode):
    """Within this, torch's operations are written down in `done`, in the order in which they are made."""

    def __init__(self) -> None:
        super().__init__()
        self.done: list[Done] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        name = getattr(func, "__name__", str(func)).strip("_")
        if getattr(func, "__name__", "") not in _QUIET:
            given, made = tensors([args, kwargs or {}]), tensors(result)
            if made:
                self.done.append(Done(name, _line(), given, made, (func, args, kwargs or {})))
        return result


def _line() -> str | None:
    """The line of the program that asked for it: the nearest that is not torch's."""
    frame, own = sys._getframe(1), str(Path(torch.__file__).parent)
    while frame is not None and frame.f_code.co_filename.startswith((own, _OURS)):
        frame = frame.f_back  # type: ignore[assignment]
    return None if frame is None else f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno}"


def first_forward(step: Callable[[], Any]) -> Done | None:
    """The first operation of `step` that makes what is not finite of what is."""
    with torch.no_grad(), Operations() as operations:
        step()
    return next((one for one in operations.done if is_finite(one.given) and not is_finite(one.made)), None)


def first_backward(step: Callable[[], Sequence[tuple[Tensor, Tensor]]]) -> Done | None:
    """The last operation of `step`, the first as gradients go, that makes a gradient that is not finite of one that is.

    `step` gives what it computed, and the gradients by it.
    """
    with torch.enable_grad(), Operations() as operations:
        ends = [(made, gradient) for made, gradient in step() if made.requires_grad]
    if not ends:
        return None
    parts = [t for one in operations.done for t in (*one.given, *one.made) if t.requires_grad and t.is_floating_point()]
    different = list({id(t): t for t in parts}.values())
    if not different:
        return None
    outputs, seeds = [made for made, _ in ends], [gradient for _, gradient in ends]
    gradients = torch.autograd.grad(outputs, different, seeds, allow_unused=True)
    by_id = {id(t): g for t, g in zip(different, gradients, strict=True) if g is not None}
    for one in reversed(operations.done):
        made = [by_id.get(id(t)) for t in one.made]
        given = [by_id[id(t)] for t in one.given if id(t) in by_id]
        if is_finite(made) and not is_finite(given) and not _finite_alone(one, made):
            found: Done = one
            return found
    return None


def _finite_alone(one: Done, gradients: list[Tensor | None]) -> bool:
    """Whether this operation's own derivatives are finite: what it reads may have got others' from elsewhere."""
    copies: list[Tensor] = []

    def copied(value: Any) -> Any:
        if not isinstance(value, Tensor) or not value.requires_grad:
            return value
        copies.append(value.detach().clone().requires_grad_())
        return copies[-1]

    function, args, kwargs = one.call
    with torch.enable_grad():
        made = tensors(function(*map_leaves(copied, args), **map_leaves(copied, kwargs)))
    ends = [(t, g) for t, g in zip(made, gradients, strict=True) if g is not None and t.requires_grad]
    if not ends or not copies:
        return True
    found = torch.autograd.grad([t for t, _ in ends], copies, [g for _, g in ends], allow_unused=True)
    return is_finite([g for g in found if g is not None])
