"""`RNN(cell)`: a cell over time, as a layer; its masks, its state."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from rondeau.cells import Cell, StackedRNNCells
from rondeau.cells.base import check_state, map_state, sizes, state_leaves
from rondeau.cells.standard import StandardCell
from rondeau.errors import ArgumentError, ShapeError, StateError
from rondeau.layers import carried
from rondeau.layers.base import Layer, real_steps
from rondeau.layers.core import known_features
from rondeau.layers.graph import Shape
from rondeau.recurrence import Keep, Policy, scan
from rondeau.recurrence.policy import check_policy
from rondeau.recurrence.resets import restarted
from rondeau.sequence import Ragged


class RNN(Layer):
    """Runs a cell over the steps of `(batch, time, features)`.

    Args:
        cell: a `Cell`, or a list of cells, stacked.
        return_sequences: give the output of every step `(batch, time, units)` instead of the last `(batch, units)`.
        return_state: give `(output, *state)`, the state's tensors one by one (`h, c`; those of stacked cells in a row).
        go_backwards: read the steps last to first; outputs come in that order.
        stateful: the state at the end of a batch begins the next one, detached; `reset_states()` begins anew.
        zero_output_for_mask: a masked step's output is zero instead of the last valid one.
        gradient: how far back derivatives go, and what is computed again for them, in what memory:
            `rondeau.Truncated(steps)` or `rondeau.Recompute(every)`; default: all the way, everything kept.

    Called with `initial_state` (tensors in the cell's order, each `(batch, size)`) and `mask` (`(batch, time)`, true
    where a step is real). Masked steps are not computed: the state stays and the output repeats the last valid one
    (zero before the first). A `Ragged` gives a `Ragged`; its last output is that of its last step, zero for an empty
    row. With `resets`, `(batch, time)`, the state starts anew before each step where they are true, in either
    direction; see `scan`.

    Raises `ShapeError`, `StateError` or `DataError` for inputs, masks or states that do not fit, and for a batch of
    another size than the one a stateful layer remembers.

    >>> from rondeau.layers import LSTMCell
    >>> layer = RNN([LSTMCell(4), LSTMCell(5)], return_sequences=True)
    >>> layer(torch.zeros(2, 7, 3)).shape
    torch.Size([2, 7, 5])
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
        gradient: Policy | None = None,
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
        self.gradient = None if gradient is None else check_policy(gradient, type(self).__name__)
        self.state: Any = None

    def build(self, input_shape: Shape) -> None:
        self.cell.build_for(known_features(self, input_shape))

    def compute_output_shape(self, input_shape: Shape) -> Any:
        batch, time, _ = input_shape
        units = self.cell.output_size
        output = (batch, time, units) if self.return_sequences else (batch, units)
        if not self.return_state:
            return output
        return [output, *((batch, *sizes(size)) for _, size in state_leaves(self.cell.state_size))]

    def reset_states(self) -> None:
        """Forget the state kept between batches (`stateful`)."""
        self.state = None

    def reset_state(self) -> None:
        """Keras's name for `reset_states`."""
        self.reset_states()

    def forward(self, x: Any, initial_state: Any = None, mask: Any = None, resets: Any = None) -> Any:
        steps = real_steps(self, x, mask)
        given, carriers = self._carried(len(x), initial_state is not None)
        begin = self._begin(x, initial_state) if given is None else given
        last = self._only_last(steps)
        outputs, state = scan(
            self.cell,
            steps,
            begin,
            reverse=self.go_backwards,
            resets=resets,
            keep=Keep(outputs="last") if last else None,
            gradient=self.gradient,
        )
        after = state
        if resets is not None and isinstance(steps, Ragged) and not self.go_backwards:
            after = restarted(self.cell, state, steps, resets)
        for carrier, name in carriers:
            carrier.end(name, after)
        if self.stateful:
            self.state = map_state(torch.Tensor.detach, after)
        if self.go_backwards and not last:  # in the order in which they were read
            outputs = outputs.reverse() if isinstance(outputs, Ragged) else outputs.flip(1)
        if last:
            result = self._unless_masked(outputs, steps)
        elif not self.return_sequences:
            result = self._last(outputs)
        elif mask is not None:
            result = outputs.expand(zeros=self.zero_output_for_mask)
        else:
            result = outputs
        return (result, *(leaf for _, leaf in state_leaves(state))) if self.return_state else result

    def _check_type(self, x: Any) -> None:
        if isinstance(self.cell, StandardCell):  # a cell of one's own may take what it likes
            super()._check_type(x)

    def _carried(self, rows: int, fixed: bool) -> tuple[Any, list[tuple[carried.Carried, str]]]:
        """The state that comes with the call of the model, if any, and whose the state afterwards is."""
        travelling, given = carried.current(), None
        carriers = []
        for carrier, name in () if travelling is None else travelling.carriers(self):
            fixed = fixed or given is not None
            here = carrier.begin(name, self.cell, rows, fixed)
            if not fixed:
                given = here
                carriers.append((carrier, name))
        return given, carriers

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

    def _only_last(self, steps: Tensor | Ragged) -> bool:
        """Whether the scan itself is to keep no more than the last output: where it goes by windows, it can."""
        if self.return_sequences or self.gradient is None or self.gradient.every is None:
            return False
        return isinstance(steps, Ragged) or steps.shape[1] > 0

    def _unless_masked(self, last: Tensor, steps: Tensor | Ragged) -> Tensor:
        if not (self.zero_output_for_mask and isinstance(steps, Ragged) and steps.mask is not None):
            return last
        if not steps.mask.shape[1]:
            return last
        real = steps.mask[:, 0 if self.go_backwards else -1].to(last.device)
        return torch.where(real[:, None], last, torch.zeros_like(last))

    def _last(self, outputs: Tensor | Ragged) -> Tensor:
        if isinstance(outputs, Ragged):
            if self.zero_output_for_mask and outputs.mask is not None and outputs.mask.shape[1]:
                return outputs.expand(zeros=True)[:, -1]
            return outputs.last()
        if outputs.shape[1] == 0:
            fix = "Drop rows without steps, or give lengths in a Ragged, where such a row's output is zero"
            raise ShapeError(f"layer {self.name}: no steps, so no last output", got=tuple(outputs.shape), fix=fix)
        return outputs[:, -1]
