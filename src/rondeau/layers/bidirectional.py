"""Both directions over the same steps (Schuster & Paliwal 1997)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from rondeau.cells.base import state_leaves
from rondeau.config import remake
from rondeau.errors import ArgumentError, StateError
from rondeau.layers.base import Layer, real_steps
from rondeau.layers.graph import Shape
from rondeau.layers.recurrent import RNN
from rondeau.sequence import Ragged

_MERGE = ("concat", "sum", "mul", "ave", None)


class Bidirectional(Layer):
    """A recurrent layer forwards and its twin backwards, their outputs merged step by step.

    Args:
        layer: a recurrent layer; two new ones like it are made, with weights of their own.
        merge_mode: 'concat' (default), 'sum', 'mul', 'ave', or None for both outputs apart.
        backward_layer: another layer for the way back, with `go_backwards=True` (default: the twin).

    `(batch, time, features)` -> `(batch, units)`, or `(batch, time, units)` with the layer's `return_sequences`;
    twice the units with 'concat'. Masked steps are not computed; with `return_sequences` their output is zero,
    whatever the layer says, as in Keras. With `return_state` the forward states come first, then the backward ones;
    `initial_state` likewise. With `resets`, `(batch, time)`, both start anew there, each in its own direction.

    Raises `ArgumentError` for layers that do not make a pair, or whose outputs cannot be merged that way.

    >>> from rondeau.layers import LSTM
    >>> Bidirectional(LSTM(4, return_sequences=True))(torch.zeros(2, 7, 3)).shape
    torch.Size([2, 7, 8])
    """

    input_rank = 3

    def __init__(
        self, layer: Any, merge_mode: str | None = "concat", backward_layer: Any = None, **options: Any
    ) -> None:
        super().__init__(**options)
        if not isinstance(layer, RNN):
            raise ArgumentError("Bidirectional: layer", expected="a recurrent layer", got=type(layer).__name__)
        if merge_mode not in _MERGE:
            raise ArgumentError("Bidirectional: merge_mode", expected=f"one of {_MERGE}", got=repr(merge_mode))
        self.merge_mode = merge_mode
        # new layers, so that the template's weights are not shared
        self.forward_layer: RNN = remake(layer, name=f"forward_{layer.name}")
        template = layer if backward_layer is None else backward_layer
        backwards = True if backward_layer is None else backward_layer.go_backwards
        self.backward_layer: RNN = remake(template, name=f"backward_{template.name}", go_backwards=backwards)
        self._check_twins()
        for twin in (self.forward_layer, self.backward_layer):  # as Keras does, whatever the layer was told
            twin.zero_output_for_mask = layer.return_sequences
        self.return_sequences, self.return_state = layer.return_sequences, layer.return_state
        self.stateful = layer.stateful

    def _check_twins(self) -> None:
        forward, backward = self.forward_layer, self.backward_layer
        if forward.go_backwards == backward.go_backwards:
            got = f"go_backwards={forward.go_backwards} in both"
            raise ArgumentError("Bidirectional: the layers must read in opposite directions", got=got)
        for name in ("return_sequences", "return_state", "stateful"):
            if getattr(forward, name) != getattr(backward, name):
                got = f"{getattr(forward, name)} and {getattr(backward, name)}"
                raise ArgumentError(f"Bidirectional: the layers differ in {name}", expected="the same in both", got=got)
        units = forward.cell.output_size, backward.cell.output_size
        if units[0] != units[1] and self.merge_mode in ("sum", "mul", "ave"):
            fix = "Use merge_mode='concat'"
            raise ArgumentError("Bidirectional: the layers differ in units", got=f"{units[0]} and {units[1]}", fix=fix)

    def build(self, input_shape: Shape) -> None:
        self.forward_layer.build_for(input_shape)
        self.backward_layer.build_for(input_shape)

    def compute_output_shape(self, input_shape: Shape) -> Any:
        forward = self.forward_layer.compute_output_shape(input_shape)
        backward = self.backward_layer.compute_output_shape(input_shape)
        one, states = (forward[0], forward[1:] + backward[1:]) if self.return_state else (forward, [])
        other = backward[0] if self.return_state else backward
        if self.merge_mode is None:
            return [one, other, *states]
        merged = (*one[:-1], one[-1] + other[-1]) if self.merge_mode == "concat" else one
        return [merged, *states] if self.return_state else merged

    def reset_states(self) -> None:
        """Forget the states kept between batches (`stateful`)."""
        self.forward_layer.reset_states()
        self.backward_layer.reset_states()

    def reset_state(self) -> None:
        """Keras's name for `reset_states`."""
        self.reset_states()

    def forward(self, x: Any, initial_state: Any = None, mask: Any = None, resets: Any = None) -> Any:
        steps = real_steps(self, x, mask)
        begin: tuple[Any, Any] = (None, None)
        if initial_state is not None:
            given = [leaf for _, leaf in state_leaves(initial_state)]
            half = len(list(state_leaves(self.forward_layer.cell.state_size)))
            if len(given) != 2 * half:
                expected = f"{half} tensors forward, then {half} backward"
                raise StateError(f"layer {self.name}: initial_state", expected=expected, got=f"{len(given)} tensors")
            begin = (given[:half], given[half:])
        there = self.forward_layer(steps, initial_state=begin[0], resets=resets)
        back = self.backward_layer(steps, initial_state=begin[1], resets=resets)
        states: tuple[Any, ...] = ()
        if self.return_state:
            states = (*there[1:], *back[1:])
            there, back = there[0], back[0]
        if self.return_sequences:  # align the second with the first, which keeps the order it read in
            back = back.reverse() if isinstance(back, Ragged) else back.flip(1)
        merged = self._merge(there, back)
        if mask is not None and self.return_sequences:
            merged = tuple(y.expand(zeros=True) for y in merged)
        if self.merge_mode is not None and not self.return_state:
            return merged[0]
        return (*merged, *states)

    def _merge(self, there: Any, back: Any) -> tuple[Any, ...]:
        if self.merge_mode is None:
            return there, back
        if isinstance(there, Ragged):
            return (there.with_values(self._merged(there.values, back.values)),)
        return (self._merged(there, back),)

    def _merged(self, there: Tensor, back: Tensor) -> Tensor:
        if self.merge_mode == "concat":
            return torch.cat([there, back], dim=-1)
        if self.merge_mode == "mul":
            return there * back
        return (there + back) / 2 if self.merge_mode == "ave" else there + back
