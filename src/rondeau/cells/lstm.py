"""Long short-term memory (Hochreiter & Schmidhuber 1997) with a forget gate (Gers, Schmidhuber & Cummins 2000)."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from rondeau import activations, init
from rondeau.cells.base import Context
from rondeau.cells.standard import StandardCell


class LSTMState(NamedTuple):
    """The hidden state `h` (also the output) and the memory cell `c`, each `(batch, units)`."""

    h: Any
    c: Any


class LSTMCell(StandardCell):
    """One step of an LSTM:

        i, f, g, o = x W + h U + b
        c' = sigmoid(f) c + sigmoid(i) tanh(g)
        h' = sigmoid(o) tanh(c')

    Args and defaults are Keras's: `unit_forget_bias` starts the forget gate's bias at one (Jozefowicz et al. 2015).
    Inputs `(batch, features)`, states and output `(batch, units)`. Gates stand in the order i, f, g, o.
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
        self.state_size = LSTMState(h=units, c=units)

    def build(self, features: int) -> None:
        super().build(features)
        if self.bias is not None and self.unit_forget_bias:
            with torch.no_grad():
                self.bias[self.units : 2 * self.units] = init.Ones()((self.units,))

    def step(self, x: Tensor, state: LSTMState, context: Context) -> tuple[Tensor, LSTMState]:
        h = self.drop_recurrent(state.h, context)
        z = self.drop_inputs(x, context) @ self.kernel + h @ self.recurrent_kernel
        if self.bias is not None:
            z = z + self.bias
        i, f, g, o = z.chunk(4, dim=-1)
        gate = self.recurrent_activation
        c = gate(f) * state.c + gate(i) * self.activation(g)
        h = gate(o) * self.activation(c)
        return h, LSTMState(h, c)
