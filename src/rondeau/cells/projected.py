"""An LSTM whose output is projected to fewer features (Sak, Senior & Beaufays 2014, arXiv 1402.1128)."""

from __future__ import annotations

from typing import Any

from jaxtyping import Float
from torch import Tensor

from rondeau.cells.base import Context
from rondeau.cells.lstm import LSTMCell, LSTMState
from rondeau.cells.vendor import VendorKernel
from rondeau.errors import ArgumentError
from rondeau.module import positive


class ProjectedLSTMCell(LSTMCell):
    """One step of an LSTM whose output, and with it what recurs, has fewer features than the memory:

        i, f, g, o = x W + h U + b
        c' = sigmoid(f) c + sigmoid(i) tanh(g)
        h' = (sigmoid(o) tanh(c')) P

    Args:
        units: size of the memory c.
        projection_size: size of the output and of h, below `units`.
        projection_initializer: of P (default Glorot's uniform).
        options: as for `LSTMCell`.

    Raises `ArgumentError` for a `projection_size` below 1, or not below `units`.

    Inputs `(batch, features)`, state `LSTMState(h, c)` with h, as the output, `(batch, projection_size)` and c
    `(batch, units)`. Weights: `kernel` (features, 4 units), `recurrent_kernel` (projection_size, 4 units), `bias`, and
    `projection` (units, projection_size).

    >>> import torch
    >>> output, state = ProjectedLSTMCell(8, 3)(torch.zeros(2, 5))
    >>> output.shape, state.h.shape, state.c.shape
    (torch.Size([2, 3]), torch.Size([2, 3]), torch.Size([2, 8]))
    """

    def __init__(
        self, units: int, projection_size: int, projection_initializer: Any = "glorot_uniform", **options: Any
    ) -> None:
        super().__init__(units, **options)
        owner = type(self).__name__
        self.projection_size = self.output_size = positive(owner, "projection_size", projection_size)
        if self.projection_size >= self.units:
            expected = f"fewer than the {self.units} units"
            raise ArgumentError(f"{owner}: projection_size", expected=expected, got=projection_size)
        self.projection_initializer = projection_initializer
        self.state_size = LSTMState(h=self.projection_size, c=self.units)

    def build(self, features: int) -> None:
        super().build(features)
        shape = (self.units, self.projection_size)
        self.projection = self.add_weight("projection", shape, self.projection_initializer)

    def step(
        self, x: Float[Tensor, "batch features"], state: LSTMState, context: Context
    ) -> tuple[Float[Tensor, "batch projection"], LSTMState]:
        hidden, after = super().step(x, state, context)
        h = hidden @ self.projection
        return h, LSTMState(h, after.c)

    def vendor(self) -> VendorKernel | str:
        """None: what cuDNN has of it is not asked here."""
        return f"{type(self).__name__} offers no kernel of a vendor's library"
