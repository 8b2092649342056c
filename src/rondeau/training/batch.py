"""What a batch is made of, and how a user's arrays, tensors, lists of sequences and dicts become it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from rondeau.errors import DataError, RondeauError
from rondeau.sequence import Ragged, to_tensor


class Batch(NamedTuple):
    """Inputs, targets and sample weights: each a tensor, a `Ragged`, a list or dict of them, or None.

    `carried`: a window of longer rows, whose states go on from the batch before, unless it `begins` them. `rate`: what
    the learning rate is multiplied with in this batch's update.
    """

    x: Any
    y: Any = None
    weight: Any = None
    carried: bool = False
    begins: bool = False
    rate: float = 1.0

    def map(self, function: Callable[[Any], Any]) -> Batch:
        """`function` of x, y and weight."""
        return self._replace(x=function(self.x), y=function(self.y), weight=function(self.weight))


def to_data(value: Any, parts: int = 1, name: str = "the data") -> Any:
    """What a user gives as x, y or sample_weight, as tensors and `Ragged`.

    A list holds one sequence, row or number for each row of the data; sequences of unequal length become `Ragged`, as
    does an array of objects. With `parts` above 1 (inputs or outputs of the model) a list or tuple holds that many of
    these, and so does a tuple of arrays anywhere; a dict holds one under each name.

    Raises `DataError` for another number of parts and for what is no array of numbers.

    >>> to_data([[1, 2], [3]]).lengths.tolist(), to_data([[1, 2], [3, 4]]).shape
    ([2, 1], torch.Size([2, 2]))
    """
    return by_parts(value, parts, name, lambda part: isinstance(part, Ragged), is_array, _rows)


def by_parts(
    value: Any,
    parts: int,
    name: str,
    done: Callable[[Any], bool],
    whole: Callable[[Any], bool],
    make: Callable[[Any, str], Any],
) -> Any:
    """`make` of what is given, or of each of its parts: a dict of them, a list of `parts`, a tuple of `whole` ones.

    None, and what is `done`, stays as it is. Raises `DataError` where there should be several and are not.
    """
    if value is None or done(value):
        return value
    inside: list[tuple[Any, Any]] | None = None
    if isinstance(value, Mapping):
        inside = list(value.items())
    elif isinstance(value, (list, tuple)):
        several = parts > 1 and len(value) == parts
        if several or (parts == 1 and isinstance(value, tuple) and value and all(map(whole, value))):
            inside = list(enumerate(value))
    if inside is not None:
        made = {key: by_parts(part, 1, f"{name}[{key!r}]", done, whole, make) for key, part in inside}
        return made if isinstance(value, Mapping) else list(made.values())
    if parts > 1:
        got = f"{len(value)} of them" if isinstance(value, (list, tuple)) else type(value).__name__
        fix = "Give a list with one for each, or a dict by name"
        raise DataError(f"{name} does not fit the model", expected=f"{parts} arrays", got=got, fix=fix)
    return make(value, name)


def is_array(value: Any) -> bool:
    """Whether this holds the data of many rows by itself: a tensor, `Ragged`, NumPy array, or a table of pandas."""
    return isinstance(value, (Tensor, Ragged)) or (hasattr(value, "__array__") and np.ndim(value) > 0)


def _rows(value: Any, name: str) -> Tensor | Ragged:
    """One tensor, or `Ragged` for rows of unequal length."""
    if not isinstance(value, (Tensor, list, tuple)) and hasattr(value, "__array__"):
        value = np.asarray(value)
        if value.dtype == object:  # an array of lists, or a table of mixed columns
            value = list(value) if value.ndim == 1 else value.tolist()
    if isinstance(value, (list, tuple)) and value and hasattr(value[0], "__len__"):  # of rows, not of numbers
        rows = [plain(to_tensor(row, f"{name}, row {i}")) for i, row in enumerate(value)]
        return torch.stack(rows) if len({row.shape for row in rows}) == 1 else Ragged.from_rows(rows)
    return plain(to_tensor(value, name))


def plain(tensor: Tensor) -> Tensor:
    """NumPy's wide unsigned integers as int64: torch can store them, and little else."""
    return tensor.long() if tensor.dtype in (torch.uint16, torch.uint32, torch.uint64) else tensor


def as_batch(value: Any, inputs: int = 1, outputs: int = 1) -> Batch:
    """x, (x, y) or (x, y, weight), in a tuple, as a `Batch`; anything else is x alone."""
    if isinstance(value, Batch):
        return value
    parts = value if isinstance(value, tuple) else (value,)
    if not 1 <= len(parts) <= 3:
        raise DataError("a batch", expected="x, (x, y) or (x, y, sample_weight)", got=f"{len(parts)} parts")
    x, y, weight = (*parts, None, None)[:3]
    try:
        return Batch(to_data(x, inputs, "x"), to_data(y, outputs, "y"), to_weights(weight, outputs))
    except RondeauError as error:
        if not isinstance(value, list):
            raise
        fix = "Make it a tuple, (x, y) or (x, y, sample_weight); a list holds rows, or several inputs"
        raise DataError("a batch that is a list is x alone, and this is none", got=error.what, fix=fix) from error


def to_weights(value: Any, outputs: int) -> Any:
    """Sample weights: one array serves every output."""
    several = isinstance(value, (list, tuple)) and len(value) == outputs and any(map(is_array, value))
    return to_data(value, outputs if several else 1, "sample_weight")


def collate(samples: list[Any]) -> Any:
    """Samples of a dataset as one: tuples and dicts of samples by their parts, rows of unequal length as `Ragged`."""
    first = samples[0]
    if isinstance(first, Mapping):
        return {key: collate([sample[key] for sample in samples]) for key in first}
    if isinstance(first, tuple):
        return tuple(collate(list(part)) for part in zip(*samples, strict=True))
    return to_data(samples)


def map_data(function: Callable[[Any], Any], data: Any) -> Any:
    """`function` of each tensor or `Ragged` in a list, tuple or dict of them; None stays None."""
    if data is None:
        return None
    if isinstance(data, Mapping):
        return {key: map_data(function, part) for key, part in data.items()}
    if isinstance(data, (list, tuple)):
        return [map_data(function, part) for part in data]
    return function(data)


def data_leaves(data: Any) -> list[Any]:
    """All tensors and `Ragged` in `data`."""
    found: list[Any] = []
    map_data(found.append, data)
    return found


def place(data: Any, device: torch.device, dtype: torch.dtype) -> Any:
    """`data` on a device, its floating-point numbers in `dtype`."""
    return map_data(lambda leaf: leaf.to(device, dtype if leaf.dtype.is_floating_point else leaf.dtype), data)


def take(data: Tensor | Ragged, rows: Tensor) -> Tensor | Ragged:
    """Some rows of a tensor or `Ragged`."""
    return data.select(rows) if isinstance(data, Ragged) else data[rows.to(data.device)]


def row_count(data: Batch) -> int:
    """Rows in every part. Raises `DataError` where parts differ or are empty."""
    parts = {"x": data.x, "y": data.y, "weight": data.weight}
    counts = {name: [_rows_of(leaf) for leaf in data_leaves(part)] for name, part in parts.items()}
    rows = counts["x"][0] if counts["x"] else 0
    for name, sizes in counts.items():
        name = "sample_weight" if name == "weight" else name
        for size in sizes:
            if size != rows:
                fix = "A list holds one sequence for each row; several inputs or outputs come in a tuple or dict"
                what = f"{name} has another number of rows than x" if name != "x" else "the inputs differ in rows"
                raise DataError(what, expected=rows, got=size, fix=fix)
    if rows == 0:
        raise DataError("there is no data", expected="at least one row", got=0)
    return rows


def _rows_of(leaf: Any) -> int:
    if isinstance(leaf, Tensor) and leaf.ndim == 0:
        raise DataError("a single number is no data", expected="an array with an axis for the rows", got=leaf.item())
    return len(leaf)
