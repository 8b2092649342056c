"""`Ragged`: values and lengths, the one form in which variable-length data travels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Int64, Shaped
from torch import Tensor

from rondeau.errors import DataError, ShapeError


@dataclass(frozen=True, eq=False)
class Ragged:
    """A batch of sequences of unequal length, without padding.

    Args:
        values: all real steps, row after row: `(steps, *features)`.
        lengths: steps of each row, int64 on the CPU: `(batch,)`; zero is legal; they add up to `steps`.
        mask: where the steps stood in the padded tensor they were compressed from, bool on the CPU: `(batch, time)`;
            `None` when they never were padded. `expand` needs it; the other methods only carry it along.

    Raises `DataError` when lengths, values and mask do not fit each other.

    >>> r = Ragged.from_rows([torch.tensor([1, 2, 3]), torch.tensor([4])])
    >>> r.lengths.tolist(), r.pad().tolist()
    ([3, 1], [[1, 2, 3], [4, 0, 0]])
    """

    values: Shaped[Tensor, "steps *features"]
    lengths: Int64[Tensor, " batch"]
    mask: Bool[Tensor, "batch time"] | None = None

    def __post_init__(self) -> None:
        if self.lengths.ndim != 1 or self.lengths.dtype != torch.int64 or self.lengths.device.type != "cpu":
            got = f"{tuple(self.lengths.shape)} {self.lengths.dtype} on {self.lengths.device}"
            raise DataError("the lengths have the wrong form", expected="(batch,) int64 on the CPU", got=got)
        if bool((self.lengths < 0).any()):
            row = int((self.lengths < 0).nonzero()[0])
            raise DataError("a length is negative", got=int(self.lengths[row]), where=f"row {row}")
        if self.values.ndim == 0 or int(self.lengths.sum()) != self.values.shape[0]:
            got = f"lengths adding up to {int(self.lengths.sum())} and values of shape {tuple(self.values.shape)}"
            raise DataError(
                "lengths and values do not fit", expected="as many values as the lengths add up to", got=got
            )
        if self.mask is None:
            return
        if self.mask.ndim != 2 or self.mask.dtype != torch.bool or self.mask.device.type != "cpu":
            got = f"{tuple(self.mask.shape)} {self.mask.dtype} on {self.mask.device}"
            raise DataError("the mask has the wrong form", expected="(batch, time) bool on the CPU", got=got)
        if not torch.equal(self.mask.sum(1), self.lengths):
            valid = self.mask.sum(1).tolist()
            raise DataError("mask and lengths do not fit", expected=f"lengths {valid}", got=self.lengths.tolist())

    @classmethod
    def from_rows(cls, rows: Sequence[Any]) -> Ragged:
        """From one tensor, array or list per row, each `(length, *features)`, the features alike.

        The values take the rows' common type (integers and floats make floats); a row without steps has no say.
        Raises `DataError` for no rows, or one that is no array of numbers, `ShapeError` for rows of unlike features.
        """
        tensors = [to_tensor(row, f"row {i}") for i, row in enumerate(rows)]
        if not tensors:
            raise DataError("a batch needs at least one row", expected="a list of sequences", got="an empty list")
        filled = [t for t in tensors if t.ndim and len(t)] or tensors[:1]
        trailing = filled[0].shape[1:]
        dtype = reduce(torch.promote_types, {t.dtype for t in filled})
        for i, row in enumerate(tensors):
            if row.ndim == 0 or (len(row) and row.shape[1:] != trailing):
                expected = f"(length, {', '.join(map(str, trailing))})" if trailing else "(length,)"
                raise ShapeError("a row has another shape", expected=expected, got=tuple(row.shape), where=f"row {i}")
        values = torch.cat([t.reshape(len(t), *trailing).to(dtype) for t in tensors])
        return cls(values, torch.tensor([len(t) for t in tensors]))

    @classmethod
    def from_padded(cls, padded: Tensor, lengths: Any) -> Ragged:
        """The first `lengths[i]` steps of each row i of `(batch, time, *features)`.

        Raises `ShapeError` for a tensor without a time axis, `DataError` for lengths that do not fit.
        """
        _check_steps(padded)
        lengths = check_lengths(lengths, *padded.shape[:2])
        if bool((lengths == padded.shape[1]).all()):
            return cls.full(padded)
        index = _places(lengths, padded.shape[1]).to(padded.device)
        return cls._checked(padded.flatten(0, 1).index_select(0, index), lengths)

    @classmethod
    def full(cls, padded: Tensor) -> Ragged:
        """All steps of `(batch, time, *features)`; no copy where they lie row by row. `ShapeError` as `from_padded`."""
        _check_steps(padded)
        batch, time = padded.shape[:2]
        return cls._checked(padded.flatten(0, 1), torch.full((batch,), time))

    @classmethod
    def _checked(cls, values: Tensor, lengths: Tensor, mask: Tensor | None = None) -> Ragged:
        """Of parts that are known to fit."""
        self = object.__new__(cls)
        for name, value in (("values", values), ("lengths", lengths), ("mask", mask)):
            object.__setattr__(self, name, value)
        return self

    @classmethod
    def compress(cls, padded: Tensor, mask: Tensor) -> Ragged:
        """The steps of `(batch, time, *features)` where `mask`, `(batch, time)`, is true; `expand` puts them back.

        Raises `ShapeError` where the two do not fit.

        >>> x = torch.tensor([[1, 2, 3], [4, 5, 6]])
        >>> r = Ragged.compress(x, torch.tensor([[False, True, False], [True, False, True]]))
        >>> r.values.tolist(), r.expand().tolist(), r.expand(zeros=True).tolist()
        ([2, 4, 6], [[0, 2, 2], [4, 4, 6]], [[0, 2, 0], [4, 0, 6]])
        """
        _check_steps(padded)
        if mask.shape != padded.shape[:2]:
            raise ShapeError("the mask does not fit the data", expected=tuple(padded.shape[:2]), got=tuple(mask.shape))
        mask = mask.bool()
        on_cpu = mask.cpu()
        return cls(padded[mask.to(padded.device)], on_cpu.sum(1), on_cpu)

    def with_values(self, values: Shaped[Tensor, "steps *features"]) -> Ragged:
        """The same rows, and mask, with other values: `(steps, *other features)`."""
        if values.ndim == 0 or len(values) != len(self.values):
            return Ragged(values, self.lengths, self.mask)  # says what does not fit
        return Ragged._checked(values, self.lengths, self.mask)

    def pad(self, time: int | None = None) -> Shaped[Tensor, "batch time *features"]:
        """Padded with zeros to `time` steps (default: the longest row); `ShapeError` if a row is longer."""
        longest = int(self.lengths.max()) if len(self.lengths) else 0
        time = longest if time is None else time
        if time < longest:
            raise ShapeError("rows do not fit in the padded length", expected=f"at least {longest}", got=time)
        batch, features = len(self.lengths), self.values.shape[1:]
        if batch * time == len(self.values):  # no row is longer than `time`, so none is shorter
            return self.values.view(batch, time, *features)
        index = _places(self.lengths, time).to(self.values.device)
        out = self.values.new_zeros(batch * time, *features).index_copy(0, index, self.values)
        return out.view(batch, time, *features)

    def expand(self, zeros: bool = False) -> Shaped[Tensor, "batch time *features"]:
        """Back in the padded form it was compressed from.

        A masked step repeats the row's last valid value, and is zero before the first (Keras's semantics);
        with `zeros` every masked step is zero. Without a mask this is `pad()`.
        """
        if self.mask is None:
            return self.pad()
        seen = self.mask.cumsum(1)
        real = self.mask if zeros else seen > 0
        index = (self.offsets[:, None] + seen) * real  # 0 is the zero step put in front
        values = torch.cat([self.values.new_zeros(1, *self.values.shape[1:]), self.values])
        return values[index.to(values.device)]

    def reverse(self) -> Ragged:
        """Each row back to front (the mask with it)."""
        backwards = self.values[self.reversal.to(self.values.device)]
        return Ragged(backwards, self.lengths, None if self.mask is None else self.mask.flip(1))

    def select(self, rows: Any) -> Ragged:
        """Some rows, in the order given: indices `(rows,)`, negative from the end; `DataError` beyond the batch."""
        rows = _check_rows(rows, len(self))
        lengths = self.lengths[rows]
        start = torch.repeat_interleave(self.offsets[rows] - _starts(lengths), lengths)
        index = start + torch.arange(int(lengths.sum()))
        values = self.values[index.to(self.values.device)]
        return Ragged(values, lengths, None if self.mask is None else self.mask[rows])

    def rows(self) -> list[Tensor]:
        """One tensor per row."""
        return list(torch.split(self.values, self.lengths.tolist()))

    def to(self, *args: Any, **kwargs: Any) -> Ragged:
        """The values moved or cast as `Tensor.to` does; lengths and mask stay on the CPU."""
        return self.with_values(self.values.to(*args, **kwargs))

    def last(self) -> Shaped[Tensor, "batch *features"]:
        """The last step of each row; zeros for a row without steps."""
        values = torch.cat([self.values.new_zeros(1, *self.values.shape[1:]), self.values])
        return values[((self.offsets + self.lengths) * (self.lengths > 0)).to(values.device)]

    @property
    def offsets(self) -> Int64[Tensor, " batch"]:
        """Where each row begins in `values`."""
        return _starts(self.lengths)

    @property
    def row_index(self) -> Int64[Tensor, " steps"]:
        """The row each step belongs to."""
        return torch.repeat_interleave(torch.arange(len(self.lengths)), self.lengths)

    @property
    def reversal(self) -> Int64[Tensor, " steps"]:
        """The permutation of the steps that turns every row back to front; its own inverse."""
        ends = torch.repeat_interleave(2 * self.offsets + self.lengths - 1, self.lengths)
        return ends - torch.arange(len(ends))

    @property
    def shape(self) -> tuple[int | None, ...]:
        """`(batch, None, *features)`: the time axis has no single size."""
        return (len(self.lengths), None, *self.values.shape[1:])

    @property
    def dtype(self) -> torch.dtype:
        return self.values.dtype

    @property
    def device(self) -> torch.device:
        return self.values.device

    def __len__(self) -> int:
        return len(self.lengths)

    def __repr__(self) -> str:
        return f"Ragged(batch={len(self)}, steps={len(self.values)}, features={tuple(self.values.shape[1:])})"


def _places(lengths: Int64[Tensor, " batch"], time: int) -> Int64[Tensor, " steps"]:
    """Where the real steps are in `(batch * time)` padded ones."""
    return (torch.arange(time) < lengths[:, None]).flatten().nonzero()[:, 0]


def check_lengths(lengths: Any, batch: int, time: int) -> Int64[Tensor, " batch"]:
    """Lengths as int64 on the CPU. Raises `DataError` unless there is one integer per row, from 0 to `time`."""
    given = to_tensor(lengths, "the lengths").detach().cpu()
    whole = not (given.is_floating_point() or given.is_complex() or given.dtype == torch.bool) or not given.numel()
    if given.shape != (batch,) or not whole:
        got = f"{tuple(given.shape)} of {given.dtype}"
        raise DataError("the lengths do not fit the data", expected=f"({batch},) integers, one per row", got=got)
    wrong = ((given < 0) | (given > time)).nonzero()
    if len(wrong):
        row = int(wrong[0])
        raise DataError(
            "a length does not fit the data", expected=f"0 to {time}", got=int(given[row]), where=f"row {row}"
        )
    return given.long()


def to_tensor(value: Any, where: str | None = None) -> Tensor:
    """A tensor of a tensor, array (of any strides, read-only too) or nested list, shared with it where it can be.

    Raises `DataError`, naming `where`, for what is no rectangle of numbers.
    """
    if isinstance(value, Tensor):
        return value
    if isinstance(value, np.ndarray) and (not value.flags.writeable or any(stride < 0 for stride in value.strides)):
        value = value.copy()
    try:
        return torch.as_tensor(value)
    except (TypeError, ValueError, RuntimeError) as error:
        got = f"{type(value).__name__} ({error})"
        raise DataError(
            "data that is no array of numbers", expected="a tensor, array or list", got=got, where=where
        ) from error


def _starts(lengths: Tensor) -> Tensor:
    return torch.cumsum(lengths, 0) - lengths


def _as_wide_as(mask: Tensor, like: Tensor) -> Tensor:
    return mask.reshape(*mask.shape, *[1] * (like.ndim - mask.ndim)).expand_as(like)


def _check_steps(padded: Tensor) -> None:
    if padded.ndim < 2:
        raise ShapeError("a padded batch", expected="(batch, time, ...)", got=tuple(padded.shape))


def _check_rows(rows: Any, batch: int) -> Tensor:
    index = to_tensor(rows, "the rows").cpu()
    if index.ndim != 1 or (index.numel() and (index.is_floating_point() or index.dtype == torch.bool)):
        got = f"{tuple(index.shape)} of {index.dtype}"
        raise DataError("rows are selected by their indices", expected="(rows,) integers", got=got)
    wrong = ((index < -batch) | (index >= batch)).nonzero()
    if len(wrong):
        raise DataError("there is no such row", expected=f"{-batch} to {batch - 1}", got=int(index[wrong[0]]))
    return index.long()
