"""torch.nn's recurrent steps: Rondeau's own cells, with the weights that come with the call, as torch keeps them.

torch has `weight_ih` (gates * units, features), `weight_hh` (gates * units, units), a bias of each product, and
`weight_hr` (projection, units); a cell has their transposes, one bias, and its own order of gates. These cells hold no
weights, so that every module of the same sizes shares one, and with it what was compiled.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from rondeau.cells import Cell, GRUCell, LSTMCell, ProjectedLSTMCell, SimpleRNNCell
from rondeau.recurrence.given import given

WEIGHTS = ("weight_ih", "weight_hh")
BIASES = ("bias_ih", "bias_hh")
PROJECTION = "weight_hr"


def _kernel(_: Cell) -> Float[Tensor, "features gates"]:
    return given("weight_ih").t()


def _recurrent_kernel(_: Cell) -> Float[Tensor, "output gates"]:
    return given("weight_hh").t()


def _bias(cell: Any) -> Float[Tensor, " gates"] | None:
    return given("bias_ih") + given("bias_hh") if cell.use_bias else None


class _LSTM(LSTMCell):
    kernel: Any = property(_kernel)
    recurrent_kernel: Any = property(_recurrent_kernel)
    bias: Any = property(_bias)


class _ProjectedLSTM(ProjectedLSTMCell):
    kernel: Any = property(_kernel)
    recurrent_kernel: Any = property(_recurrent_kernel)
    bias: Any = property(_bias)
    projection: Any = property(lambda _: given(PROJECTION).t())


class _RNN(SimpleRNNCell):
    kernel: Any = property(_kernel)
    recurrent_kernel: Any = property(_recurrent_kernel)
    bias: Any = property(_bias)


def _update_first(gates: Float[Tensor, "gates *features"]) -> Float[Tensor, "gates *features"]:
    r, z, n = gates.chunk(3)
    return torch.cat([z, r, n])


def _two_biases(cell: Any) -> Float[Tensor, "2 gates"] | None:
    return torch.stack([_update_first(given(name)) for name in BIASES]) if cell.use_bias else None


class _GRU(GRUCell):
    """torch's gates stand in the order r, z, n; the cell's in z, r, n."""

    kernel: Any = property(lambda _: _update_first(given("weight_ih")).t())
    recurrent_kernel: Any = property(lambda _: _update_first(given("weight_hh")).t())
    bias: Any = property(_two_biases)


@lru_cache(maxsize=256)
def cell_for(mode: str, features: int, units: int, bias: bool, projection: int = 0) -> Cell:
    """The cell of torch's mode: "LSTM", "GRU", "RNN_TANH" or "RNN_RELU"."""
    cell: Cell
    if mode == "LSTM" and projection:
        cell = _ProjectedLSTM(units, projection, use_bias=bias)
    elif mode == "LSTM":
        cell = _LSTM(units, use_bias=bias)
    elif mode == "GRU":
        cell = _GRU(units, use_bias=bias)
    else:
        cell = _RNN(units, activation=mode.removeprefix("RNN_").lower(), use_bias=bias)
    cell.features = features
    cell.mark_built()
    return cell
