"""The Elman network: h = tanh(x W + h U + b) (Elman 1990, Finding structure in time)."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from rondeau.cells import cudnn
from rondeau.cells.base import Context, HiddenState
from rondeau.cells.standard import StandardCell
from rondeau.cells.vendor import VendorKernel


class SimpleRNNCell(StandardCell):
    """One step of a fully connected recurrent network, `h' = activation(x W + h U + b)`; the output is h'.

    Arguments are those of `StandardCell`. Inputs `(batch, features)`, state `HiddenState(h)`, output `(batch, units)`.

    >>> import torch
    >>> output, state = SimpleRNNCell(4)(torch.zeros(2, 3))
    >>> output.shape
    torch.Size([2, 4])
    """

    gates = 1

    def __init__(
        self,
        units: int,
        activation: Any = "tanh",
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        recurrent_initializer: Any = "orthogonal",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        recurrent_regularizer: Any = None,
        bias_regularizer: Any = None,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        seed: int | None = None,
    ) -> None:
        super().__init__(
            units,
            activation,
            use_bias,
            kernel_initializer,
            recurrent_initializer,
            bias_initializer,
            kernel_regularizer,
            recurrent_regularizer,
            bias_regularizer,
            dropout,
            recurrent_dropout,
            seed,
        )
        self.state_size = HiddenState(h=self.units)

    def step(
        self, x: Float[Tensor, "batch features"], state: HiddenState, context: Context
    ) -> tuple[Float[Tensor, "batch units"], HiddenState]:
        h = self.drop_recurrent(state.h, context)
        z = self.drop_inputs(x, context) @ self.kernel + h @ self.recurrent_kernel
        if self.bias is not None:
            z = z + self.bias
        h = self.activation(z)
        return h, HiddenState(h)

    def vendor(self) -> VendorKernel | str:
        """cuDNN's, with tanh or relu."""
        relu = self.activation in cudnn.KNOWN["relu"]
        differs = cudnn.differs(self, _FORMULA, activation="relu" if relu else "tanh")
        function = torch.rnn_relu if relu else torch.rnn_tanh
        return differs or cudnn.kernel(function, self.kernel, self.recurrent_kernel, self.bias, None)


_FORMULA = cudnn.formula(SimpleRNNCell)
