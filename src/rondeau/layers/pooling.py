"""Pooling over time; only real steps count."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from rondeau.layers.base import Layer
from rondeau.layers.convolution import one
from rondeau.layers.graph import Shape
from rondeau.layers.windows import check_window, gather_windows, output_length, pad_both, rows_like, window_index
from rondeau.sequence import Ragged


class MaxPooling1D(Layer):
    """The maximum of every `pool_size` steps (default 2), `strides` apart (default `pool_size`); padding 'valid' or 'same'."""

    input_rank = 3

    def __init__(self, pool_size: Any = 2, strides: Any = None, padding: str = "valid", **options: Any) -> None:
        super().__init__(**options)
        self.size = one(pool_size)
        self.stride, self.padding = self.size if strides is None else one(strides), padding
        check_window("MaxPooling1D", self.size, self.stride, padding, ("valid", "same"))

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
    input_rank = 3

    def __init__(self, keepdims: bool = False, **options: Any) -> None:
        super().__init__(**options)
        self.keepdims = keepdims

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        batch, _, features = input_shape
        return (batch, 1, features) if self.keepdims else (batch, features)

    def forward(self, x: Any, mask: Tensor | None = None) -> Tensor:
        steps = Ragged.compress(x, mask) if mask is not None else x
        pooled = self.pool_rows(steps) if isinstance(steps, Ragged) else self.pool(steps)
        return pooled[:, None] if self.keepdims else pooled

    def pool(self, x: Tensor) -> Tensor:
        raise NotImplementedError(type(self).__name__)  # abstract

    def pool_rows(self, x: Ragged) -> Tensor:
        raise NotImplementedError(type(self).__name__)  # abstract


class GlobalAveragePooling1D(_GlobalPooling1D):
    """The mean over real steps, `(batch, features)`; a row without steps gives zeros."""

    def pool(self, x: Tensor) -> Tensor:
        return x.mean(1)

    def pool_rows(self, x: Ragged) -> Tensor:
        sums = x.values.new_zeros(len(x), *x.values.shape[1:]).index_add(0, x.row_index.to(x.device), x.values)
        return sums / x.lengths.clamp(min=1).to(x.device)[:, None]


class GlobalMaxPooling1D(_GlobalPooling1D):
    """The maximum over real steps, `(batch, features)`; a row without steps gives zeros."""

    def pool(self, x: Tensor) -> Tensor:
        return x.amax(1)

    def pool_rows(self, x: Ragged) -> Tensor:
        row = x.row_index.to(x.device)[:, None].expand_as(x.values)
        start = x.values.new_zeros(len(x), *x.values.shape[1:])
        return start.scatter_reduce(0, row, x.values, "amax", include_self=False)
