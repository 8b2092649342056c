"""The gated recurrent unit (Cho et al. 2014, arXiv 1406.1078), with the reset before or after the product."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from rondeau import activations
from rondeau.cells import cudnn
from rondeau.cells.base import Context, HiddenState
from rondeau.cells.naming import named
from rondeau.cells.standard import StandardCell
from rondeau.cells.vendor import VendorKernel


class GRUCell(StandardCell):
    """One step of a GRU:

        z = sigmoid(x Wz + h Uz + bz)              (and + cz, where there is a recurrent bias)
        r = sigmoid(x Wr + h Ur + br)              (and + cr)
        n = tanh(x Wn + bn + r (h Un + cn))      reset_after=True, the default, as cuDNN has it
        n = tanh(x Wn + bn + (r h) Un)           reset_after=False, as in the paper
        h' = z h + (1 - z) n

    sigmoid being `recurrent_activation`, tanh `activation`. Arguments are those of `StandardCell`, and `reset_after`.

    Inputs `(batch, features)`, state `HiddenState(h)` and output `(batch, units)`. Gates stand in the order z, r, n.
    With `reset_after` the bias is `(2, 3 units)`: row 0 for the inputs (b), row 1 for the recurrent product (c).
    `Keep(intermediates=True)` knows them as update_gate, reset_gate and candidate.

    >>> import torch
    >>> output, state = GRUCell(4)(torch.zeros(2, 3))
    >>> output.shape
    torch.Size([2, 4])
    """

    gates = 3

    def __init__(
        self,
        units: int,
        activation: Any = "tanh",
        recurrent_activation: Any = "sigmoid",
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        recurrent_initializer: Any = "orthogonal",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        recurrent_regularizer: Any = None,
        bias_regularizer: Any = None,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        reset_after: bool = True,
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
        self.reset_after = reset_after
        self.state_size = HiddenState(h=self.units)

    @property
    def bias_shape(self) -> tuple[int, ...]:
        return (2, 3 * self.units) if self.reset_after else (3 * self.units,)

    def remembering(self, steps: Float[Tensor, " units"]) -> Tensor:
        rest = torch.zeros_like(steps)
        bias = torch.cat([steps.log(), rest, rest])
        return torch.stack([bias, torch.zeros_like(bias)]) if self.reset_after else bias

    def step(
        self, x: Float[Tensor, "batch features"], state: HiddenState, context: Context
    ) -> tuple[Float[Tensor, "batch units"], HiddenState]:
        h = self.drop_recurrent(state.h, context)
        from_x = self.drop_inputs(x, context) @ self.kernel
        if self.bias is not None:
            from_x = from_x + (self.bias[0] if self.reset_after else self.bias)
        z, candidate = (self._reset_after if self.reset_after else self._reset_before)(from_x, h)
        h = z * state.h + (1 - z) * named("candidate", self.activation(candidate))
        return h, HiddenState(h)

    def _reset_after(
        self, from_x: Float[Tensor, "batch gates"], h: Float[Tensor, "batch units"]
    ) -> tuple[Float[Tensor, "batch units"], Float[Tensor, "batch units"]]:
        from_h = h @ self.recurrent_kernel
        if self.bias is not None:
            from_h = from_h + self.bias[1]
        xz, xr, xn = from_x.chunk(3, dim=-1)
        hz, hr, hn = from_h.chunk(3, dim=-1)
        gate = self.recurrent_activation
        z, r = named("update_gate", gate(xz + hz)), named("reset_gate", gate(xr + hr))
        return z, xn + r * hn

    def _reset_before(
        self, from_x: Float[Tensor, "batch gates"], h: Float[Tensor, "batch units"]
    ) -> tuple[Float[Tensor, "batch units"], Float[Tensor, "batch units"]]:
        xz, xr, xn = from_x.chunk(3, dim=-1)
        uz, ur, un = self.recurrent_kernel.chunk(3, dim=-1)
        gate = self.recurrent_activation
        z, r = named("update_gate", gate(xz + h @ uz)), named("reset_gate", gate(xr + h @ ur))
        return z, xn + (r * h) @ un

    def vendor(self) -> VendorKernel | str:
        """cuDNN's, which resets after the product, and has the gates in the order r, z, n."""
        if not self.reset_after:
            return "reset_after is false"
        differs = cudnn.differs(self, _FORMULA, activation="tanh", recurrent_activation="sigmoid")
        if differs is not None:
            return differs
        bias, more = (None, None) if self.bias is None else _reordered(self.bias)
        return cudnn.kernel(torch.gru, _reordered(self.kernel), _reordered(self.recurrent_kernel), bias, more)


_FORMULA = cudnn.formula(GRUCell)


def _reordered(gates: Float[Tensor, "rows gates"]) -> Float[Tensor, "rows gates"]:
    z, r, n = gates.chunk(3, dim=-1)
    return torch.cat([r, z, n], dim=-1)
