"""What the windows of a scan give, put together."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from rondeau.cells.base import map_state
from rondeau.recurrence.cuts import Cuts, Window
from rondeau.recurrence.reference import inverse
from rondeau.sequence import Ragged


class Results:
    """What windows give, put together; `initial`: the state before the first, of rows longest first."""

    def __init__(self, cuts: Cuts, last: bool, initial: Any) -> None:
        self.cuts, self.last, self.initial = cuts, last, initial
        self._outputs: list[Tensor] = []
        self._states: list[Any] = []
        self._places: list[int] = []  # of the rows that ended in a window, the first
        self._whole: Tensor | None = None

    def add(self, window: Window, output: Tensor, state: Any) -> None:
        """The output of a window's steps, and the state of its rows after it."""
        if self.last and window.going == window.rows:
            return  # nobody ends here, and what holds on to a window's graph holds its memory
        if self.last:
            self._outputs.append(output.index_select(0, window.last[window.going :]))
        elif torch.is_grad_enabled():
            self._outputs.append(output)
        else:
            if self._whole is None:
                self._whole = output.new_empty(int(self.cuts.lengths.sum()), *output.shape[1:])
            self._whole.index_copy_(0, window.index, output)
        if window.going < window.rows:
            self._states.append(map_state(lambda s: s[window.going :], state))
            self._places.append(window.ended.start)

    def state(self) -> Any:
        """The state after each row's last step; of a row without steps the initial one."""
        none = int((self.cuts.lengths > 0).sum())
        parts = [*self._in_order(self._states), map_state(lambda s: s[none:], self.initial)]
        return map_state(lambda *found: self.cuts.unsort(torch.cat(found)), *parts)

    def outputs(self, inputs: Ragged) -> Tensor:
        """Each step's, in input order, or each row's last."""
        if self._whole is not None:
            return self._whole
        if not self.last:
            return torch.cat(self._outputs).index_select(0, inverse(self.cuts.index))
        like = self._outputs[0]
        missing = len(inputs) - sum(map(len, self._outputs))
        return self.cuts.unsort(torch.cat([*self._in_order(self._outputs), like.new_zeros(missing, *like.shape[1:])]))

    def _in_order(self, parts: list[Any]) -> list[Any]:
        """Those of the rows that ended in each window, longest first."""
        return [part for _, part in sorted(zip(self._places, parts, strict=True), key=lambda p: p[0])]
