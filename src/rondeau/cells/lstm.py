"""Long short-term memory (Hochreiter & Schmidhuber 1997) with a forget gate (Gers, Schmidhuber & Cummins 2000)."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from rondeau import activations
from rondeau.cells import cudnn
from rondeau.cells.base import Context
from rondeau.cells.naming import named
from rondeau.cells.standard import StandardCell
from rondeau.cells.vendor import VendorKernel


class LSTMState(NamedTuple):
    """The hidden state `h` (also the output) and the memory cell `c`, each `(batch, units)`; or their sizes."""

    h: Any
    c: Any


class LSTMCell(StandardCell):
    """One step of an LSTM:

        i, f, g, o = x W + h U + b
        c' = sigmoid(f) c + sigmoid(i) tanh(g)
        h' = sigmoid(o) tanh(c')

    sigmoid being `recurrent_activation` and tanh `activation`. Arguments are those of `StandardCell`, and
    `unit_forget_bias` (default true), which starts the forget gate's bias at one (Jozefowicz et al. 2015), unless
    `bias_initializer` is "chrono", which sets it by itself.

    Inputs `(batch, features)`, state `LSTMState(h, c)` and output `(batch, units)`. The gates' order is i, f, g, o;
    `Keep(intermediates=True)` knows them as input_gate, forget_gate, candidate and output_gate.

    >>> cell = LSTMCell(4)
    >>> output, state = cell(torch.zeros(2, 3))
    >>> output.shape, state.c.shape, cell.kernel.shape
    (torch.Size([2, 4]), torch.Size([2, 4]), torch.Size([3, 16]))
    """

    gates = 4

    def __init__(
        self,
        units: int,
        activation: Any = "tanh",
        recurrent_activation: Any = "sigmoid",
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        recurrent_initializer: Any = "orthogonal",
        bias_initializer: Any = "zeros",
        unit_forget_bias: bool = True,
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
        self.recurrent_activation = activations.get(recurrent_activation)
        self.unit_forget_bias = unit_forget_bias
        self.state_size = LSTMState(h=self.units, c=self.units)

    def build(self, features: int) -> None:
        super().build(features)
        if self.bias is not None and self.unit_forget_bias and self._chrono is None:
            with torch.no_grad():
                self.bias[self.units : 2 * self.units] = 1.0

    def remembering(self, steps: Float[Tensor, " units"]) -> Tensor:
        rest = torch.zeros_like(steps)
        return torch.cat([-steps.log(), steps.log(), rest, rest])

    def step(
        self, x: Float[Tensor, "batch features"], state: LSTMState, context: Context
    ) -> tuple[Float[Tensor, "batch units"], LSTMState]:
        h = self.drop_recurrent(state.h, context)
        z = self.drop_inputs(x, context) @ self.kernel + h @ self.recurrent_kernel
        if self.bias is not None:
            z = z + self.bias
        i, f, g, o = z.chunk(4, dim=-1)
        gate = self.recurrent_activation
        kept = named("forget_gate", gate(f)) * state.c
        c = kept + named("input_gate", gate(i)) * named("candidate", self.activation(g))
        h = named("output_gate", gate(o)) * self.activation(c)
        return h, LSTMState(h, c)

    def vendor(self) -> VendorKernel | str:
        """cuDNN's, which has these gates in this order."""
        differs = cudnn.differs(self, _FORMULA, activation="tanh", recurrent_activation="sigmoid")
        return differs or cudnn.kernel(torch.lstm, self.kernel, self.recurrent_kernel, self.bias, None)


_FORMULA = cudnn.formula(LSTMCell)
