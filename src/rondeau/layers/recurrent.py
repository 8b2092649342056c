"""`RNN(cell)`: a cell over time, as a layer; its masks, its state."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from rondeau.cells import Cell, StackedRNNCells
from rondeau.cells.base import check_state, map_state, state_leaves
from rondeau.errors import ArgumentError, ShapeError, StateError
from rondeau.layers.base import Layer
from rondeau.layers.core import known_features
from rondeau.layers.graph import Shape
from rondeau.recurrence import scan
from rondeau.sequence import Ragged


class RNN(Layer):
    """Runs a cell over the steps of `(batch, time, features)`.

    Args:
        cell: a `Cell`, or a list of cells, stacked.
        return_sequences: give the output of every step `(batch, time, units)` instead of the last `(batch, units)`.
        return_state: give `(output, *state)`.
        go_backwards: read the steps last to first; outputs come in that order.
        stateful: the state at the end of a batch begins the next one, detached; `reset_states()` begins anew.
        zero_output_for_mask: a masked step's output is zero instead of the last valid one.

    Called with `initial_state` (tensors in the cell's order) and `mask` (`(batch, time)`, true where a step is real).
    Masked steps are not computed: the state stays and the output repeats the last valid one (zero before the first).
    A `Ragged` gives a `Ragged`.
    """

    input_rank = 3
    fixed_features = True

    def __init__(
        self,
        cell: Any,
        return_sequences: bool = False,
        return_state: bool = False,
        go_backwards: bool = False,
        stateful: bool = False,
        zero_output_for_mask: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        if isinstance(cell, (list, tuple)):
            cell = StackedRNNCells(list(cell))
        if not isinstance(cell, Cell):
            raise ArgumentError(f"{type(self).__name__}: cell", expected="a Cell or a list of them", got=repr(cell))
        self.cell = cell
        self.return_sequences, self.return_state = return_sequences, return_state
        self.go_backwards, self.stateful = go_backwards, stateful
        self.zero_output_for_mask = zero_output_for_mask
        self.state: Any = None

    def build(self, input_shape: Shape) -> None:
        self.cell.build_for(known_features(self, input_shape))

    def compute_output_shape(self, input_shape: Shape) -> Any:
        batch, time, _ = input_shape
        units = self.cell.output_size
        output = (batch, time, units) if self.return_sequences else (batch, units)
        if not self.return_state:
            return output
        sizes = [(size,) if isinstance(size, int) else tuple(size) for _, size in state_leaves(self.cell.state_size)]
        return [output, *((batch, *size) for size in sizes)]

    def reset_states(self) -> None:
        """Forget the state kept between batches (`stateful`)."""
        self.state = None

    reset_state = reset_states

    def forward(self, x: Any, initial_state: Any = None, mask: Tensor | None = None) -> Any:
        masked = mask is not None and isinstance(x, Tensor)
        if mask is not None and isinstance(x, Ragged):
            fix = "Leave the mask out: every step of a Ragged is real"
            raise ArgumentError("a mask beside a Ragged input", where=f"layer {self.name}", fix=fix)
        steps = Ragged.compress(x, mask) if mask is not None else x
        if self.go_backwards:
            steps = steps.reverse() if isinstance(steps, Ragged) else steps.flip(1)
        generator = self.cell.generator(x.device)
        outputs, state = scan(self.cell, steps, self._begin(x, initial_state), generator=generator)
        if self.stateful:
            self.state = map_state(torch.Tensor.detach, state)
        if self.return_sequences:
            result = outputs.expand(zeros=self.zero_output_for_mask) if masked else outputs
        elif masked and self.zero_output_for_mask:
            result = outputs.expand(zeros=True)[:, -1]
        else:
            result = outputs.last() if isinstance(outputs, Ragged) else self._last(outputs)
        return (result, *state) if self.return_state else result

    def _begin(self, x: Any, initial_state: Any) -> Any:
        where = f"layer {self.name}, initial_state"
        if initial_state is not None:
            return check_state(self.cell, initial_state, len(x), where)
        if not self.stateful or self.state is None:
            return None
        kept = next(leaf.shape[0] for _, leaf in state_leaves(self.state))
        if kept != len(x):
            raise StateError(
                f"layer {self.name} is stateful and keeps the state of another batch size",
                expected=f"{kept} rows",
                got=f"{len(x)} rows",
                fix="Call reset_states() first, or feed batches of one size",
            )
        return map_state(lambda s: s.to(device=x.device), self.state)

    def _last(self, outputs: Tensor) -> Tensor:
        if outputs.shape[1] == 0:
            raise ShapeError("a sequence without steps has no last output", got=tuple(outputs.shape), where=self.name)
        return outputs[:, -1]
