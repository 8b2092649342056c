"""Pooling over time; only real steps count."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from rondeau.errors import ShapeError
from rondeau.layers.base import Layer, real_steps
from rondeau.layers.graph import Shape
from rondeau.layers.windows import (
    check_padding,
    gather_windows,
    one,
    output_length,
    pad_both,
    rows_like,
    window_index,
)
from rondeau.sequence import Ragged


class MaxPooling1D(Layer):
    """The maximum of each feature in every window of `pool_size` steps.

    Args:
        pool_size: steps in a window (default 2).
        strides: steps from one window to the next (default: `pool_size`).
        padding: 'valid' (default; windows inside the sequence only) or 'same' (windows may reach beyond its ends).

    `(batch, time, features)` -> `(batch, windows, features)`; in a `Ragged` each row is pooled alone. Raises
    `ShapeError` for a padded sequence shorter than a window.

    >>> MaxPooling1D()(torch.tensor([[[1.0], [3.0], [2.0], [0.0]]])).tolist()
    [[[3.0], [2.0]]]
    """

    input_rank = 3

    def __init__(self, pool_size: Any = 2, strides: Any = None, padding: str = "valid", **options: Any) -> None:
        super().__init__(**options)
        self.size = one("MaxPooling1D", "pool_size", pool_size)
        self.stride = self.size if strides is None else one("MaxPooling1D", "strides", strides)
        self.padding = padding
        check_padding("MaxPooling1D", padding, ("valid", "same"))

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        batch, time, features = input_shape
        return (batch, output_length(time, self.size, self.stride, self.padding), features)

    def forward(self, x: Any) -> Any:
        if isinstance(x, Ragged):
            index, counts = window_index(x, self.size, self.stride, self.padding)
            return rows_like(x, gather_windows(x, index, -torch.inf).amax(1), counts)
        padded = pad_both(x.transpose(1, 2), self.size, self.stride, self.padding, -torch.inf)
        return F.max_pool1d(padded, self.size, self.stride).transpose(1, 2)


class _GlobalPooling1D(Layer):
    """What the global poolings share."""

    input_rank = 3

    def __init__(self, keepdims: bool = False, **options: Any) -> None:
        super().__init__(**options)
        self.keepdims = keepdims

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        batch, _, features = input_shape
        return (batch, 1, features) if self.keepdims else (batch, features)

    def forward(self, x: Any, mask: Any = None) -> Tensor:
        steps = real_steps(self, x, mask)
        if isinstance(steps, Tensor) and steps.shape[1] == 0:
            raise ShapeError(
                f"layer {self.name}: no steps to pool", expected="(batch, time, features)", got=tuple(x.shape)
            )
        pooled = self.pool_rows(steps) if isinstance(steps, Ragged) else self.pool(steps)
        return pooled[:, None] if self.keepdims else pooled

    def pool(self, x: Tensor) -> Tensor:
        raise NotImplementedError(type(self).__name__)  # abstract

    def pool_rows(self, x: Ragged) -> Tensor:
        raise NotImplementedError(type(self).__name__)  # abstract


class GlobalAveragePooling1D(_GlobalPooling1D):
    """The mean over a row's real steps: `(batch, time, features)` -> `(batch, features)`.

    With `keepdims` (default false) `(batch, 1, features)`. Called with `mask` `(batch, time)`, true where a step is
    real, or a `Ragged`; a row without steps gives zeros.

    >>> GlobalAveragePooling1D()(torch.tensor([[[1.0], [3.0]]]), mask=torch.tensor([[True, False]])).tolist()
    [[1.0]]
    """

    def pool(self, x: Tensor) -> Tensor:
        return x.mean(1)

    def pool_rows(self, x: Ragged) -> Tensor:
        sums = x.values.new_zeros(len(x), *x.values.shape[1:]).index_add(0, x.row_index.to(x.device), x.values)
        return sums / x.lengths.clamp(min=1).to(x.device)[:, None]


class GlobalMaxPooling1D(_GlobalPooling1D):
    """The maximum over a row's real steps: `(batch, time, features)` -> `(batch, features)`.

    With `keepdims` (default false) `(batch, 1, features)`. Called with `mask` `(batch, time)`, true where a step is
    real (Keras's looks at masked steps too), or a `Ragged`; a row without steps gives zeros.
    """

    def pool(self, x: Tensor) -> Tensor:
        return x.amax(1)

    def pool_rows(self, x: Ragged) -> Tensor:
        row = x.row_index.to(x.device)[:, None].expand_as(x.values)
        start = x.values.new_zeros(len(x), *x.values.shape[1:])
        return start.scatter_reduce(0, row, x.values, "amax", include_self=False)
