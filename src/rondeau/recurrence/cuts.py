"""Rows cut into windows of time: which rows are still there, and where their steps lie among the values."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from rondeau.sequence import Ragged


@dataclass(frozen=True)
class Window:
    """The steps `first`, `first + 1`, ... that the rows make; rows stand longest first.

    Attributes:
        first: how many steps each of these rows has made before.
        rows: how many are there: the first ones; `going`: how many of these go on behind the window.
        lengths: steps of each in here, `(rows,)`.
        index: where these steps are among all values, `(steps,)`, in input order.
        last: the step each row makes last, among those of the window, `(rows,)`.
    """

    first: int
    rows: int
    going: int
    lengths: Tensor
    index: Tensor
    last: Tensor

    def ragged(self, values: Tensor) -> Ragged:
        """Values `(steps, ...)` of the window as rows."""
        return Ragged(values, self.lengths)


class Cuts:
    """Rows of `lengths`, cut after each `every` of the steps they make.

    A row that has ended is in no later window. `lengths`: of the rows, longest first.
    """

    def __init__(self, lengths: Tensor, reverse: bool, every: int, device: torch.device) -> None:
        self.reverse, self.every, self.device = reverse, every, device
        self._order = torch.argsort(lengths, descending=True, stable=True)
        self.lengths = lengths[self._order]
        self._starts = (lengths.cumsum(0) - lengths)[self._order]
        self.longest = int(self.lengths[0]) if len(lengths) else 0
        self.sorted = bool((self._order == torch.arange(len(lengths))).all())

    def __iter__(self) -> Iterator[Window]:
        return map(self.window, range(0, self.longest, self.every))

    def __reversed__(self) -> Iterator[Window]:
        return map(self.window, reversed(range(0, self.longest, self.every)))

    def window(self, first: int) -> Window:
        """The window that begins when rows have made `first` steps."""
        rows, going = self.alive(first), self.alive(first + self.every)
        left = self.lengths[:rows] - first
        lengths = left.clamp(max=self.every)
        starts = self._starts[:rows] + (left - lengths if self.reverse else first)
        before = lengths.cumsum(0) - lengths
        index = torch.repeat_interleave(starts - before, lengths)
        index += torch.arange(len(index))
        last = before if self.reverse else before + lengths - 1
        return Window(first, rows, going, lengths, index.to(self.device), last.to(self.device))

    def alive(self, steps: int) -> int:
        """How many rows make more steps than so many."""
        return int((self.lengths > steps).sum())

    @cached_property
    def index(self) -> Tensor:
        """Where the steps of all windows are, one window after the other."""
        return torch.cat([w.index for w in self])

    def sort(self, rows: Tensor) -> Tensor:
        """What belongs to rows, `(batch, ...)`, longest first."""
        return rows if self.sorted else rows.index_select(0, self._order.to(rows.device))

    def unsort(self, rows: Tensor) -> Tensor:
        """The other way round."""
        return rows if self.sorted else rows.index_select(0, torch.argsort(self._order).to(rows.device))

    def taken(self, values: Tensor) -> Callable[[Window], Tensor]:
        """For each window, asked for in order, its part of `(steps, ...)`.

        What takes a gradient is cut at once, so that the parts' gradients are put together at once.
        """
        if not (torch.is_grad_enabled() and values.requires_grad):
            return lambda window: values.index_select(0, window.index)
        parts = iter(torch.split(values.index_select(0, self.index), [len(w.index) for w in self]))
        return lambda window: next(parts)
