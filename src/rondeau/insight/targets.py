"""What of a model's outputs is explained: one number for each row."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from rondeau.errors import ArgumentError, NumericsError, ShapeError
from rondeau.sequence import Ragged

Function = Callable[[Any], Tensor]
_FIX = "Give target a function of the outputs that makes one number a row"


@dataclass(frozen=True)
class Target:
    """One number of each row of outputs.

    Attributes:
        name: in words: "output 3", "output 3 at step 7", "a function of the output".
        function: outputs for any number of rows -> `(rows,)`.
        index: which unit; step: which step, from 0; None where that has no meaning.
    """

    name: str
    function: Function
    index: int | None = None
    step: int | None = None

    def __call__(self, outputs: Any) -> Tensor:
        values = self.function(outputs)
        if not isinstance(values, Tensor) or values.ndim != 1 or not values.is_floating_point():
            got = f"{tuple(values.shape)} of {values.dtype}" if isinstance(values, Tensor) else type(values).__name__
            raise ShapeError("saliency: target gives", expected="floats (rows,), one for each row", got=got)
        return values


def choose_target(outputs: Any, target: int | Function | None, step: int | None) -> Target:
    """The target for a row, from what the model makes of it.

    Args:
        outputs: for this one row.
        target: which unit of the output, or a function; default: the unit with the largest value.
        step: of outputs at every step which one, negative from the end; default the last.

    Raises `ArgumentError` for a unit or step that is not there, `ShapeError` for outputs that need a function.
    """
    if callable(target):
        return _of_function(target, step)
    if not isinstance(outputs, (Tensor, Ragged)):
        what = "saliency: the model gives no single output"
        raise ShapeError(what, expected="a tensor or Ragged", got=type(outputs).__name__, fix=_FIX)
    values = outputs.values if isinstance(outputs, Ragged) else outputs[0]
    by_step = isinstance(outputs, Ragged) or outputs.ndim == 3
    if values.ndim - by_step not in (0, 1):
        expected = "(batch, units) or (batch, time, units)"
        raise ShapeError("saliency: the model's output", expected=expected, got=tuple(outputs.shape), fix=_FIX)
    if step is not None and not by_step:
        what = "saliency: step, of an output that has no steps"
        raise ArgumentError(what, got=step, fix="Leave it out")
    at = _place("step", -1 if step is None else step, len(values)) if by_step else None
    values = values[at] if at is not None else values
    unit = None
    if values.ndim:
        unit = int(values.argmax()) if target is None else _place("target", target, len(values))
    elif target not in (None, 0, -1):
        raise ArgumentError("saliency: target", expected="0, since the output is one number a row", got=target)
    return Target(_name(unit, at), lambda found: _pick(found, at, unit), unit, at)


def _of_function(target: Function, step: int | None) -> Target:
    if step is not None:
        raise ArgumentError("saliency: step has no meaning where target is a function", fix="Choose it in the function")
    return Target("a function of the output", target)


def _place(name: str, value: Any, size: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not -size <= value < size:
        other = ", or a function of the outputs" if name == "target" else ""
        raise ArgumentError(
            f"saliency: {name}", expected=f"a whole number, {-size} to {size - 1}{other}", got=repr(value)
        )
    return value % size


def _pick(outputs: Any, step: int | None, unit: int | None) -> Tensor:
    if isinstance(outputs, Ragged):  # rows that are all as long
        outputs = outputs.values.reshape(len(outputs), -1, *outputs.values.shape[1:])
    values: Tensor = outputs if step is None else outputs[:, step]
    return values if unit is None else values[:, unit]


def _name(unit: int | None, step: int | None) -> str:
    words = "the output" if unit is None else f"output {unit}"
    return words if step is None else f"{words} at step {step}"


def value_of(target: Target, outputs: Any) -> Tensor:
    """The target of each row, `(rows,)`. Raises `NumericsError` where one is not finite."""
    values = target(outputs)
    if not bool(torch.isfinite(values).all()):
        got = values[~torch.isfinite(values)][0].item()
        fix = "Look for NaN or huge values in x and in the weights"
        raise NumericsError(f"saliency: {target.name} is not finite", got=got, fix=fix)
    return values
