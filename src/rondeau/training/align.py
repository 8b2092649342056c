"""How targets and weights meet outputs whose steps are ragged or masked: only real steps are compared."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from rondeau.errors import ShapeError
from rondeau.sequence import Ragged


def align(target: Any, output: Any, weight: Any = None) -> tuple[Any, Tensor, Any]:
    """Target, output and weight as plain tensors that fit each other: `(steps, ...)` where the output is `Ragged`.

    A target may be `Ragged` with the output's lengths, or padded `(batch, time, ...)`; a weight may be per row
    `(batch,)`, or per step in either form. Raises `ShapeError` where the rows do not fit.
    """
    if not isinstance(output, Ragged):
        if isinstance(target, Ragged) or isinstance(weight, Ragged):
            name = "targets" if isinstance(target, Ragged) else "sample_weight"
            fix = "Use return_sequences=True in the last recurrent layer to get an output for each step"
            if output.ndim > 2:
                fix = "Give x with lengths too, as a list of sequences or a Ragged, or mask its padding"
            got = tuple(output.shape)
            raise ShapeError(f"the {name} have lengths, the output has none", expected="a Ragged", got=got, fix=fix)
        return target, output, weight
    target = _steps("target", target, output)
    if isinstance(weight, Tensor) and weight.ndim == 1:
        _check_rows("sample_weight", weight, output)
        weight = weight[output.row_index.to(weight.device)]
    elif weight is not None:
        weight = _steps("sample_weight", weight, output)
    return target, output.values, weight


def _steps(name: str, data: Any, output: Ragged) -> Any:
    if data is None:
        return None
    _check_rows(name, data, output)
    if isinstance(data, Ragged):
        if not torch.equal(data.lengths, output.lengths):
            row = int((data.lengths != output.lengths).nonzero()[0])
            steps, given = int(output.lengths[row]), int(data.lengths[row])
            raise ShapeError(f"the {name} has another number of steps", expected=steps, got=given, where=f"row {row}")
        return data.values
    if data.ndim < 2:
        expected = f"({len(output)}, time, ...), a value for each step"
        raise ShapeError(f"the {name} does not fit the output", expected=expected, got=tuple(data.shape))
    if output.mask is None:
        return Ragged.from_padded(data, output.lengths).values
    if data.shape[:2] != output.mask.shape:
        sizes = tuple(output.mask.shape)
        raise ShapeError(f"the {name} does not fit the mask", expected=sizes, got=tuple(data.shape[:2]))
    return data[output.mask.to(data.device)]


def _check_rows(name: str, data: Any, output: Ragged) -> None:
    if len(data) != len(output):
        raise ShapeError(f"the {name} has another number of rows", expected=len(output), got=len(data))
