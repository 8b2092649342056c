"""`SimpleRNN`, `LSTM`, `GRU`: a cell's arguments and a layer's, as Keras lists them. Formulas stand in `cells`."""

from __future__ import annotations

from typing import Any

from rondeau.cells import GRUCell, LSTMCell, SimpleRNNCell
from rondeau.layers.recurrent import RNN
from rondeau.recurrence import Policy


class SimpleRNN(RNN):
    """A fully connected recurrent layer over `SimpleRNNCell`: `h' = activation(x W + h U + b)`.

    Args:
        units: size of the output and of each state.
        activation: a name, or a function tensor -> tensor.
        use_bias, kernel_initializer, recurrent_initializer, bias_initializer: see `rondeau.cells.StandardCell`.
        kernel_regularizer, recurrent_regularizer, bias_regularizer: penalties, added to `losses`.
        dropout, recurrent_dropout: share of the inputs and of the previous output zeroed in training; the same ones at
            every step of a row.
        seed: of the dropout; None draws from torch's global generator.
        return_sequences, return_state, go_backwards, stateful, zero_output_for_mask, gradient: see `RNN`.

    `(batch, time, features)` -> `(batch, units)`, or `(batch, time, units)` with `return_sequences`; `return_state`
    adds the state `h`, `(batch, units)`. Called with `initial_state` and `mask` as `RNN` is, and raises what
    `RNN` raises.

    >>> import torch
    >>> SimpleRNN(4, return_sequences=True)(torch.zeros(2, 7, 3)).shape
    torch.Size([2, 7, 4])
    """

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
        return_sequences: bool = False,
        return_state: bool = False,
        go_backwards: bool = False,
        stateful: bool = False,
        zero_output_for_mask: bool = False,
        gradient: Policy | None = None,
        **options: Any,
    ) -> None:
        cell = SimpleRNNCell(
            units,
            activation=activation,
            use_bias=use_bias,
            kernel_initializer=kernel_initializer,
            recurrent_initializer=recurrent_initializer,
            bias_initializer=bias_initializer,
            kernel_regularizer=kernel_regularizer,
            recurrent_regularizer=recurrent_regularizer,
            bias_regularizer=bias_regularizer,
            dropout=dropout,
            recurrent_dropout=recurrent_dropout,
            seed=seed,
        )
        super().__init__(
            cell, return_sequences, return_state, go_backwards, stateful, zero_output_for_mask, gradient, **options
        )


class LSTM(RNN):
    """A long short-term memory layer over `LSTMCell`.

    Args:
        units: size of the output and of each state.
        activation, recurrent_activation: names, or functions tensor -> tensor.
        use_bias, kernel_initializer, recurrent_initializer, bias_initializer, unit_forget_bias: see
            `rondeau.cells.StandardCell` and `LSTMCell`.
        kernel_regularizer, recurrent_regularizer, bias_regularizer: penalties, added to `losses`.
        dropout, recurrent_dropout: share of the inputs and of the previous output zeroed in training; the same ones at
            every step of a row.
        seed: of the dropout; None draws from torch's global generator.
        return_sequences, return_state, go_backwards, stateful, zero_output_for_mask, gradient: see `RNN`.

    `(batch, time, features)` -> `(batch, units)`, or `(batch, time, units)` with `return_sequences`; `return_state`
    adds the states `h` and `c`, each `(batch, units)`. Called with `initial_state` and `mask` as `RNN` is, and raises
    what `RNN` raises.

    >>> import torch
    >>> LSTM(4, return_sequences=True)(torch.zeros(2, 7, 3)).shape
    torch.Size([2, 7, 4])
    """

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
        return_sequences: bool = False,
        return_state: bool = False,
        go_backwards: bool = False,
        stateful: bool = False,
        zero_output_for_mask: bool = False,
        gradient: Policy | None = None,
        **options: Any,
    ) -> None:
        cell = LSTMCell(
            units,
            activation=activation,
            recurrent_activation=recurrent_activation,
            use_bias=use_bias,
            kernel_initializer=kernel_initializer,
            recurrent_initializer=recurrent_initializer,
            bias_initializer=bias_initializer,
            unit_forget_bias=unit_forget_bias,
            kernel_regularizer=kernel_regularizer,
            recurrent_regularizer=recurrent_regularizer,
            bias_regularizer=bias_regularizer,
            dropout=dropout,
            recurrent_dropout=recurrent_dropout,
            seed=seed,
        )
        super().__init__(
            cell, return_sequences, return_state, go_backwards, stateful, zero_output_for_mask, gradient, **options
        )


class GRU(RNN):
    """A gated recurrent unit layer over `GRUCell`, in both modes of `reset_after`.

    Args:
        units: size of the output and of each state.
        activation, recurrent_activation: names, or functions tensor -> tensor.
        use_bias, kernel_initializer, recurrent_initializer, bias_initializer: see `rondeau.cells.StandardCell`.
        kernel_regularizer, recurrent_regularizer, bias_regularizer: penalties, added to `losses`.
        dropout, recurrent_dropout: share of the inputs and of the previous output zeroed in training; the same ones at
            every step of a row.
        seed: of the dropout; None draws from torch's global generator.
        return_sequences, return_state, go_backwards, stateful, zero_output_for_mask, gradient: see `RNN`.
        reset_after: whether the reset gate acts after the recurrent product (default, as cuDNN has it) or before.

    `(batch, time, features)` -> `(batch, units)`, or `(batch, time, units)` with `return_sequences`; `return_state`
    adds the state `h`, `(batch, units)`. Called with `initial_state` and `mask` as `RNN` is, and raises what
    `RNN` raises.

    >>> import torch
    >>> GRU(4, return_sequences=True)(torch.zeros(2, 7, 3)).shape
    torch.Size([2, 7, 4])
    """

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
        seed: int | None = None,
        return_sequences: bool = False,
        return_state: bool = False,
        go_backwards: bool = False,
        stateful: bool = False,
        reset_after: bool = True,
        zero_output_for_mask: bool = False,
        gradient: Policy | None = None,
        **options: Any,
    ) -> None:
        cell = GRUCell(
            units,
            activation=activation,
            recurrent_activation=recurrent_activation,
            use_bias=use_bias,
            kernel_initializer=kernel_initializer,
            recurrent_initializer=recurrent_initializer,
            bias_initializer=bias_initializer,
            kernel_regularizer=kernel_regularizer,
            recurrent_regularizer=recurrent_regularizer,
            bias_regularizer=bias_regularizer,
            dropout=dropout,
            recurrent_dropout=recurrent_dropout,
            reset_after=reset_after,
            seed=seed,
        )
        super().__init__(
            cell, return_sequences, return_state, go_backwards, stateful, zero_output_for_mask, gradient, **options
        )
