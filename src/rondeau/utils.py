"""Keras's helpers for data and seeds: `pad_sequences`, `to_categorical`, `timeseries_dataset_from_array`, and one more.

`pad_sequences` is for programs that have it already: layers take a list of sequences or a `Ragged` as it is.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import DTypeLike, NDArray
from torch import Tensor

from rondeau.errors import ArgumentError, DataError
from rondeau.sequence import Ragged
from rondeau.training.batch import Batch, to_data
from rondeau.training.data import Source, shuffled

__all__ = ["Windows", "pad_sequences", "set_random_seed", "timeseries_dataset_from_array", "to_categorical"]


def set_random_seed(seed: int) -> None:
    """Seed Python's, NumPy's and torch's global random numbers: weights, shuffling and dropout then repeat.

    Raises `ArgumentError` for anything but an integer from 0 to 2^32 - 1.
    """
    seed = _checked_seed("set_random_seed", seed)
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def _checked_seed(owner: str, seed: Any) -> int:
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or not 0 <= seed < 2**32:
        raise ArgumentError(f"{owner}: seed", expected="an integer from 0 to 2^32 - 1", got=repr(seed))
    return int(seed)


def pad_sequences(
    sequences: Sequence[Any],
    maxlen: int | None = None,
    dtype: DTypeLike = "int32",
    padding: str = "pre",
    truncating: str = "pre",
    value: Any = 0.0,
) -> NDArray[Any]:
    """Sequences as one array `(rows, maxlen, ...)`, the short ones filled up and the long ones cut, as Keras does it.

    Args:
        sequences: rows `(steps, ...)` of one shape but for their steps: lists, arrays or tensors.
        maxlen: steps of the result; by default those of the longest row.
        dtype: of the result (default 'int32'); `object` for strings of any length.
        padding, truncating: fill and cut at the start ('pre', default) or the end ('post').
        value: what to fill with (default 0).

    Raises `DataError`, naming the row, for what is no sequence, has another shape, or would not survive the dtype
    (fractions as integers; Keras cuts them off), `ArgumentError` for a wrong argument.

    >>> pad_sequences([[1], [2, 3], [4, 5, 6]], maxlen=2)
    array([[0, 1],
           [2, 3],
           [5, 6]], dtype=int32)
    """
    for name, choice in (("padding", padding), ("truncating", truncating)):
        if choice not in ("pre", "post"):
            raise ArgumentError(f"pad_sequences: {name}", expected="'pre' or 'post'", got=repr(choice))
    if maxlen is not None and (isinstance(maxlen, bool) or not isinstance(maxlen, (int, np.integer)) or maxlen < 1):
        raise ArgumentError("pad_sequences: maxlen", expected="a positive integer or None", got=repr(maxlen))
    kind = np.dtype(dtype)
    filling = _cast(value, kind, "pad_sequences: value")
    rows = [_row(row, kind, i) for i, row in enumerate(sequences)]
    if not rows and maxlen is None:
        raise DataError("pad_sequences: there are no sequences", fix="Give some, or maxlen")
    steps = max(map(len, rows)) if maxlen is None else int(maxlen)
    shape = next((row.shape[1:] for row in rows if len(row)), ())
    result = np.empty((len(rows), steps, *shape), kind)
    result[...] = filling
    for i, row in enumerate(rows):
        if not len(row):
            continue
        if row.shape[1:] != shape:
            where = f"sequence {i}"
            raise DataError("pad_sequences: steps of another shape", expected=shape, got=row.shape[1:], where=where)
        cut = row[-steps:] if truncating == "pre" else row[:steps]
        place = slice(steps - len(cut), steps) if padding == "pre" else slice(len(cut))
        result[i, place] = cut
    return result


def _row(row: Any, dtype: np.dtype[Any], number: int) -> NDArray[Any]:
    where = f"sequence {number}"
    if not hasattr(row, "__len__") or isinstance(row, (str, bytes)) or (isinstance(row, Tensor) and row.ndim == 0):
        raise DataError("pad_sequences: not a sequence", expected="a list, array or tensor", got=repr(row), where=where)
    return _cast(row.detach().cpu().numpy() if isinstance(row, Tensor) else row, dtype, f"pad_sequences: {where}")


def _cast(value: Any, dtype: np.dtype[Any], where: str) -> NDArray[Any]:
    """`value` in this dtype; `DataError` where that is impossible, or changes an integer or truth value."""
    fix = "Pass dtype='float32' for numbers with fractions, dtype=object for strings"
    try:
        given = np.asarray(value, dtype=object) if dtype.kind == "O" else np.asarray(value)
        with np.errstate(invalid="ignore"):
            cast = given.astype(dtype)
    except (TypeError, ValueError, OverflowError) as error:
        raise DataError(f"cannot be {dtype}", got=str(error), where=where, fix=fix) from error
    if dtype.kind in "iub" and given.dtype.kind in "iubf" and not np.array_equal(cast, given):
        lost = given[cast != given].flat[0]
        raise DataError(f"a number does not fit {dtype}", got=lost, where=where, fix=fix)
    return cast


def to_categorical(x: Any, num_classes: int | None = None) -> Any:
    """Class numbers as one-hot vectors along a new last axis, as Keras does it; a last axis of one is left out first.

    Args:
        x: integers from 0, an array (gives NumPy's float64) or tensor (gives torch's default type, on its device).
        num_classes: the length of the vectors; by default the highest number and one.

    Raises `DataError` with its position for a number that is no class (Keras lets -1 mean the last one).

    >>> to_categorical([0, 2])
    array([[1., 0., 0.],
           [0., 0., 1.]])
    """
    if num_classes is not None and (not isinstance(num_classes, (int, np.integer)) or num_classes < 1):
        raise ArgumentError("to_categorical: num_classes", expected="a positive integer", got=repr(num_classes))
    given = x.detach().cpu().numpy() if isinstance(x, Tensor) else np.asarray(x)
    if given.size == 0 and num_classes is None:
        raise DataError("to_categorical: there are no numbers to know the classes from", fix="Pass num_classes")
    numbers = _cast(given, np.dtype(np.int64), "to_categorical")
    if numbers.ndim > 1 and numbers.shape[-1] == 1:
        numbers = numbers[..., 0]
    classes = int(numbers.max()) + 1 if num_classes is None else int(num_classes)
    wrong = (numbers < 0) | (numbers >= classes)
    if wrong.any():
        place = tuple(int(axis[0]) for axis in np.nonzero(wrong))
        where, got = f"position {list(place)}", int(numbers[place])
        raise DataError("to_categorical: not a class", expected=f"0 to {classes - 1}", got=got, where=where)
    if isinstance(x, Tensor):
        return torch.eye(classes, device=x.device)[torch.as_tensor(numbers, device=x.device)]
    return np.eye(classes)[numbers]


class Windows(Source):
    """Windows over a series, in batches; go through it as often as you like, or give it to `fit`.

    Each time through in a new order if shuffled: in `fit` it follows from the seed and the epoch, so that a run taken
    up again goes on with the same batches. Made by `timeseries_dataset_from_array`.
    """

    def __init__(
        self,
        data: Tensor,
        targets: Tensor | None,
        starts: Tensor,
        steps: Tensor,
        batch_size: int | None,
        shuffle: bool,
        seed: int | None,
    ) -> None:
        self.data, self.targets, self.starts, self.steps = data, targets, starts, steps
        self.batch_size, self.shuffle, self.seed = batch_size, shuffle, seed
        self._times = 0  # gone through outside of fit

    def __len__(self) -> int:
        return len(self.starts) if self.batch_size is None else -(-len(self.starts) // self.batch_size)

    def __iter__(self) -> Iterator[Any]:
        """`x` or `(x, y)`, as tensors: x `(batch, sequence_length, ...)`, single windows without `batch_size`."""
        seed = int(torch.randint(2**31, ())) if self.shuffle and self.seed is None else self.seed or 0
        order = self._order(self._times, seed)
        self._times += 1
        for first in range(0, len(order), self.batch_size or 1):
            batch = self._select(order[first] if self.batch_size is None else order[first : first + self.batch_size])
            yield batch.x if batch.y is None else (batch.x, batch.y)

    def batches(self, epoch: int, start: int, seed: int) -> Iterator[Batch]:
        if self.batch_size is None:
            fix = "Pass timeseries_dataset_from_array a batch_size"
            raise ArgumentError("single windows are no batches to train on", fix=fix)
        order = self._order(epoch, seed if self.seed is None else self.seed)
        for first in range(start * self.batch_size, len(order), self.batch_size):
            yield self._select(order[first : first + self.batch_size])

    def _order(self, epoch: int, seed: int) -> Tensor:
        return self.starts[shuffled(len(self.starts), epoch, seed)] if self.shuffle else self.starts

    def _select(self, starts: Tensor) -> Batch:
        return Batch(self.data[starts[..., None] + self.steps], None if self.targets is None else self.targets[starts])


def timeseries_dataset_from_array(
    data: Any,
    targets: Any,
    sequence_length: int,
    sequence_stride: int = 1,
    sampling_rate: int = 1,
    batch_size: int | None = 128,
    shuffle: bool = False,
    seed: int | None = None,
    start_index: int | None = None,
    end_index: int | None = None,
    format: None = None,
) -> Windows:
    """Sliding windows over a series, with a target each, as batches for `fit`; Keras's arguments and windows.

    Args:
        data: `(steps, ...)`, an array or tensor; floats become torch's default type.
        targets: `targets[i]` belongs to the window that begins at `data[i]`; None for windows alone. For a forecast of
            the step after the window pass `data[sequence_length:]`.
        sequence_length: steps in a window; sampling_rate: from one of them to the next (default 1).
        sequence_stride: from the start of a window to that of the next (default 1).
        batch_size: windows in a batch (default 128); None gives them one by one, for loops of your own.
        shuffle, seed: a new order each time through (default false), which follows from the seed.
        start_index, end_index: use only `data[start_index:end_index]`.
        format: refused: what comes is neither a tf.data nor a Grain dataset.

    Raises `ArgumentError` for a number out of range, `DataError` where not one window fits.

    >>> for x, y in timeseries_dataset_from_array([0, 1, 2, 3, 4], [2, 3, 4], sequence_length=2):
    ...     print(x.tolist(), y.tolist())
    [[0, 1], [1, 2], [2, 3]] [2, 3, 4]
    """
    owner = "timeseries_dataset_from_array"
    if format is not None:
        what = f"{owner}: format has no meaning here: the result is one of Rondeau's own"
        raise ArgumentError(what, got=repr(format), fix="Leave it out")
    series, wanted = _series(data, f"{owner}: data"), None if targets is None else _series(targets, f"{owner}: targets")
    seed = None if seed is None else _checked_seed(owner, seed)
    total = len(series)
    start, end = start_index or 0, total if end_index is None else end_index
    if not 0 <= start < end <= total:
        raise ArgumentError(f"{owner}: start_index and end_index", expected=f"0 to {total}, rising", got=(start, end))
    counts = {"sequence_length": sequence_length, "sequence_stride": sequence_stride, "sampling_rate": sampling_rate}
    for name, value in (counts | {"batch_size": 1 if batch_size is None else batch_size}).items():
        if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
            raise ArgumentError(f"{owner}: {name}", expected="a positive integer", got=repr(value))
    reach = (sequence_length - 1) * sampling_rate
    last = end - reach if wanted is None else min(end - reach, len(wanted))
    if last <= start:
        raise DataError(
            f"{owner}: not one window fits",
            expected=f"{reach + 1} steps or more" + ("" if wanted is None else ", and a target for the first of them"),
            got=f"{end - start} steps" + ("" if wanted is None else f" and {len(wanted)} targets"),
        )
    steps = torch.arange(0, reach + 1, sampling_rate)
    starts = torch.arange(start, last, sequence_stride)
    return Windows(series, wanted, starts, steps, batch_size, shuffle, seed)


def _series(value: Any, name: str) -> Tensor:
    series = to_data(value, name=name)
    if not isinstance(series, Tensor) or series.ndim == 0:
        got = f"rows of lengths {series.lengths.tolist()}" if isinstance(series, Ragged) else type(value).__name__
        raise DataError(f"{name} is no series", expected="steps of one shape", got=got)
    return series
