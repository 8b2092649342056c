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
from rondeau.layers.windows import check_window, gather_windows, output_length, pad_both, rows_like, window_index
from rondeau.sequence import Ragged


class Conv1D(Layer):
    """`filters` kernels of `kernel_size` steps over `(batch, time, features)`; arguments and defaults as in Keras.

    padding: 'valid' (default), 'same', or 'causal' (no step sees a later one). In a `Ragged` each row is convolved alone,
    with its own padding, and masked steps are not there. Kernel `(kernel_size, features / groups, filters)`.
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
        self.filters, self.size = filters, one(kernel_size)
        self.stride, self.dilation, self.padding, self.groups = one(strides), one(dilation_rate), padding, groups
        check_window("Conv1D", self.size, self.stride, padding, ("valid", "same", "causal"))
        if filters < 1 or filters % groups:
            raise ArgumentError("Conv1D: filters", expected=f"a positive multiple of groups={groups}", got=filters)
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


def one(value: int | tuple[int]) -> int:
    """Keras writes sizes along time as 3 or (3,)."""
    return value if isinstance(value, int) else value[0]
