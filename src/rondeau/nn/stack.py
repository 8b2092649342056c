"""torch.nn's recurrent functions, `torch.lstm` and its kin, on scans: layers, directions, and the forms of a batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from rondeau.nn.cells import BIASES, PROJECTION, WEIGHTS, cell_for
from rondeau.recurrence import scan
from rondeau.recurrence.given import giving
from rondeau.sequence import Ragged

_GATES = {"LSTM": 4, "GRU": 3, "RNN_TANH": 1, "RNN_RELU": 1}


@dataclass(frozen=True)
class Stack:
    """Layers and directions over the same rows, whatever form the batch came in.

    Attributes:
        mode: "LSTM", "GRU", "RNN_TANH" or "RNN_RELU".
        weights: of each layer and direction, by torch's names without their suffixes.
        directions: 1, or 2.
        dropout: share of what goes from one layer to the next that is zeroed.
    """

    mode: str
    weights: Sequence[dict[str, Tensor]]
    directions: int
    dropout: float

    @classmethod
    def of(cls, mode: str, flat: Sequence[Tensor], bias: bool, layers: int, directions: int, dropout: float) -> Stack:
        """From torch's list of weights."""
        each = len(flat) // (layers * directions)
        names = (*WEIGHTS, *(BIASES if bias else ()), PROJECTION)[:each]
        weights = [dict(zip(names, flat[i : i + each], strict=True)) for i in range(0, len(flat), each)]
        return cls(mode, weights, directions, dropout)

    def fits(self, features: int, batch: int, states: Sequence[Tensor]) -> bool:
        """Whether states and weights are such as torch's functions take."""
        if any(state.ndim != 3 for state in states):
            return False
        gates, units = _GATES[self.mode], states[-1].shape[-1]
        for place, weights in enumerate(self.weights):
            output = weights[PROJECTION].shape[0] if PROJECTION in weights else units
            inside = features if place < self.directions else self.directions * output
            shapes = [(gates * units, inside), (gates * units, output), (gates * units,), (gates * units,)]
            known = dict(zip((*WEIGHTS, *BIASES), shapes, strict=True)) | {PROJECTION: (output, units)}
            if any(tuple(weight.shape) != known[name] for name, weight in weights.items()):
                return False
        sizes = (output, units)[: len(states)]
        return [tuple(state.shape) for state in states] == [(len(self.weights), batch, size) for size in sizes]

    def run(self, steps: Ragged, states: Sequence[Tensor], order: Order) -> tuple[Ragged, list[Tensor]]:
        """The last layer's outputs, directions side by side, and the final states in the form of `states`."""
        final: list[Any] = []
        for layer in range(len(self.weights) // self.directions):
            if layer and self.dropout:
                ones = steps.values.new_ones(steps.values.shape)
                mask = order.to_rows(torch.dropout(ones, self.dropout, True))
                steps = steps.with_values(steps.values * mask)
            outputs = []
            for direction in range(self.directions):
                place = layer * self.directions + direction
                output, state = self._scan(steps, self.weights[place], [s[place] for s in states], direction == 1)
                outputs.append(output.values)
                final.append(state)
            steps = steps.with_values(outputs[0] if len(outputs) == 1 else torch.cat(outputs, dim=-1))
        return steps, [torch.stack(parts) for parts in zip(*final, strict=True)]

    def _scan(self, steps: Ragged, weights: dict[str, Tensor], state: list[Tensor], reverse: bool) -> tuple[Any, Any]:
        projection = weights[PROJECTION].shape[0] if PROJECTION in weights else 0
        cell = cell_for(self.mode, steps.values.shape[1], state[-1].shape[1], BIASES[0] in weights, projection)
        with giving(weights):
            return scan(cell, steps, state, reverse=reverse)


class Order(Protocol):
    """From the order in which torch's functions have a batch's steps, `(steps, features)`, to row after row, and back.

    Theirs is all rows' first steps, then the second ones. Dropout is drawn in it, so that the same seed drops the same.
    """

    def to_rows(self, packed: Tensor) -> Tensor: ...

    def from_rows(self, values: Tensor) -> Tensor: ...


class PackedOrder:
    """The order of a `PackedSequence`.

    Args:
        batch_sizes: rows alive at each step, falling, int64 on the CPU: `(time,)`.

    Attributes:
        lengths: of the rows, `(batch,)`.
    """

    def __init__(self, batch_sizes: Tensor) -> None:
        rows = torch.arange(int(batch_sizes[0]))
        # row i is alive as long as more than i rows are
        self.lengths = torch.searchsorted(-batch_sizes, -rows)
        start = torch.cumsum(self.lengths, 0) - self.lengths
        row = torch.repeat_interleave(rows, self.lengths)
        step = torch.arange(len(row)) - start[row]
        self.index = (torch.cumsum(batch_sizes, 0) - batch_sizes)[step] + row
        self.inverse = torch.empty_like(self.index).index_copy_(0, self.index, torch.arange(len(row)))

    def to_rows(self, packed: Tensor) -> Tensor:
        return packed.index_select(0, self.index)

    def from_rows(self, values: Tensor) -> Tensor:
        return values.index_select(0, self.inverse)


class FullOrder:
    """The order of rows that are equally long."""

    def __init__(self, batch: int, time: int) -> None:
        self.batch, self.time = batch, time

    def to_rows(self, packed: Tensor) -> Tensor:
        return packed.view(self.time, self.batch, -1).transpose(0, 1).reshape(len(packed), -1)

    def from_rows(self, values: Tensor) -> Tensor:
        return values.view(self.batch, self.time, -1).transpose(0, 1).reshape(len(values), -1)
