"""Convolution over time."""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from torch import Tensor

from rondeau import activations
from rondeau.errors import ArgumentError
from rondeau.layers.base import Layer
from rondeau.layers.core import known_features
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
from rondeau.module import positive
from rondeau.sequence import Ragged


class Conv1D(Layer):
    """`filters` kernels, each over `kernel_size` steps of `(batch, time, features)`; then `activation`.

    Args:
        filters: features of the output.
        kernel_size: steps a kernel sees.
        strides: steps from one window to the next (default 1).
        padding: 'valid' (default; windows inside the sequence only), 'same' (as many as steps, at stride 1, by zeros at
            both ends), or 'causal' (zeros in front only, so that no step sees a later one).
        dilation_rate: steps from one tap of a kernel to the next (default 1).
        groups: the features are parted in so many groups, convolved apart (default 1).
        activation, use_bias: default None (linear), true.
        kernel_initializer, bias_initializer, kernel_regularizer, bias_regularizer: as everywhere.

    Output `(batch, windows, filters)`. Weights `kernel` `(kernel_size, features / groups, filters)`, `bias`
    `(filters,)`. In a `Ragged` each row is convolved alone, with its own padding, as if masked steps had never been
    there; a row too short for one window has none left. Raises `ShapeError` for a padded sequence that is too short.

    >>> import torch
    >>> Conv1D(8, 3, padding="causal")(torch.zeros(2, 7, 3)).shape
    torch.Size([2, 7, 8])
    """

    input_rank = 3
    fixed_features = True

    def __init__(
        self,
        filters: int,
        kernel_size: int | tuple[int],
        strides: int | tuple[int] = 1,
        padding: str = "valid",
        dilation_rate: int | tuple[int] = 1,
        groups: int = 1,
        activation: Any = None,
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.filters, self.groups = positive("Conv1D", "filters", filters), positive("Conv1D", "groups", groups)
        self.size, self.stride = one("Conv1D", "kernel_size", kernel_size), one("Conv1D", "strides", strides)
        self.dilation, self.padding = one("Conv1D", "dilation_rate", dilation_rate), padding
        check_padding("Conv1D", padding, ("valid", "same", "causal"))
        if filters % groups:
            raise ArgumentError("Conv1D: filters", expected=f"a multiple of groups={groups}", got=filters)
        self.activation, self.use_bias = activations.get(activation), use_bias
        self.kernel_initializer, self.kernel_regularizer = kernel_initializer, kernel_regularizer
        self.bias_initializer, self.bias_regularizer = bias_initializer, bias_regularizer

    @property
    def span(self) -> int:
        """Steps from the first to the last that one window sees."""
        return (self.size - 1) * self.dilation + 1

    def build(self, input_shape: Shape) -> None:
        features = known_features(self, input_shape)
        if features % self.groups:
            raise ArgumentError("Conv1D: groups", expected=f"a divisor of {features} features", got=self.groups)
        shape = (self.size, features // self.groups, self.filters)
        self.kernel = self.add_weight("kernel", shape, self.kernel_initializer, self.kernel_regularizer)
        self.bias: Tensor | None = None
        if self.use_bias:
            self.bias = self.add_weight("bias", (self.filters,), self.bias_initializer, self.bias_regularizer)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        batch, time, _ = input_shape
        return (batch, output_length(time, self.span, self.stride, self.padding), self.filters)

    def forward(self, x: Any) -> Any:
        weight = self.kernel.permute(2, 1, 0)
        if isinstance(x, Ragged):
            index, counts = window_index(x, self.size, self.stride, self.padding, self.dilation)
            windows = gather_windows(x, index, 0.0).transpose(1, 2)  # (windows, features, size)
            values = F.conv1d(windows, weight, self.bias, groups=self.groups)[:, :, 0]
            return rows_like(x, self.activation(values), counts)
        padded = pad_both(x.transpose(1, 2), self.span, self.stride, self.padding, 0.0)
        y = F.conv1d(padded, weight, self.bias, stride=self.stride, dilation=self.dilation, groups=self.groups)
        return self.activation(y.transpose(1, 2))
