"""Which steps a convolution or pooling window covers, in rows of any length."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Int64, Shaped
from torch import Tensor

from rondeau.errors import ArgumentError, ShapeError
from rondeau.module import positive
from rondeau.sequence import Ragged


def one(owner: str, name: str, value: Any) -> int:
    """Keras writes sizes along time as 3 or (3,). Raises `ArgumentError` for anything else, or below 1."""
    return positive(owner, name, value[0] if isinstance(value, (list, tuple)) and len(value) == 1 else value)


def check_padding(owner: str, padding: str, allowed: tuple[str, ...]) -> None:
    """Raise `ArgumentError` for an unknown padding."""
    if padding not in allowed:
        raise ArgumentError(f"{owner}: padding", expected=f"one of {allowed}", got=repr(padding))


def output_length(length: int | None, span: int, stride: int, padding: str) -> int | None:
    """Windows of `span` steps, `stride` apart, in `length` steps; None where unknown."""
    if length is None:
        return None
    if padding != "valid":
        return -(-length // stride)
    return max(0, (length - span) // stride + 1)


def left_padding(length: int, span: int, stride: int, padding: str) -> int:
    """Zeros in front of a row: none if 'valid', all of them if 'causal', half of what 'same' needs, rounded down."""
    if padding == "valid":
        return 0
    if padding == "causal":
        return span - 1
    return max((-(-length // stride) - 1) * stride + span - length, 0) // 2


def pad_both(
    x: Shaped[Tensor, "batch features time"], span: int, stride: int, padding: str, value: float
) -> Shaped[Tensor, "batch features padded"]:
    """A dense `(batch, features, time)` padded with `value`, so that its windows are those of `padding`.

    Raises `ShapeError` where not even one window fits.
    """
    time = x.shape[-1]
    count = output_length(time, span, stride, padding)
    if not count:
        raise ShapeError("the sequence is shorter than the window", expected=f"at least {span} steps", got=time)
    left = left_padding(time, span, stride, padding)
    right = max((count - 1) * stride + span - time - left, 0)
    return torch.nn.functional.pad(x, (left, right), value=value) if left or right else x


def window_index(
    x: Ragged, size: int, stride: int, padding: str, dilation: int = 1
) -> tuple[Int64[Tensor, "windows size"], Int64[Tensor, " batch"]]:
    """For every window of every row, the steps it covers, -1 for padding; and how many windows each row has."""
    span = (size - 1) * dilation + 1
    lengths = x.lengths.tolist()
    counts = torch.tensor([output_length(n, span, stride, padding) for n in lengths], dtype=torch.int64)
    lefts = torch.tensor([left_padding(n, span, stride, padding) for n in lengths], dtype=torch.int64)
    row = torch.repeat_interleave(torch.arange(len(counts)), counts)
    number = torch.arange(len(row)) - (counts.cumsum(0) - counts)[row]
    step = (number * stride - lefts[row])[:, None] + torch.arange(size) * dilation
    inside = (step >= 0) & (step < x.lengths[row][:, None])
    return torch.where(inside, step + x.offsets[row][:, None], -1), counts


def gather_windows(
    x: Ragged, index: Int64[Tensor, "windows size"], fill: float
) -> Shaped[Tensor, "windows size features"]:
    """The values of each window, `fill` where it reaches beyond its row."""
    values = torch.cat([x.values, x.values.new_full((1, *x.values.shape[1:]), fill)])
    return values[index.to(values.device)]


def rows_like(x: Ragged, values: Shaped[Tensor, "windows features"], counts: Int64[Tensor, " batch"]) -> Ragged:
    """A `Ragged` of the windows' results; it keeps x's mask where every row kept its length."""
    return Ragged(values, counts, x.mask if torch.equal(counts, x.lengths) else None)
