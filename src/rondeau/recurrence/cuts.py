"""Rows cut into windows of time: which rows are still there, and where their steps lie among the values."""

from __future__ import annotations

import bisect
import itertools
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
        start: where its rows begin. first: how many steps each of these rows has made before.
        rows: how many there are; `going`: how many of these, the first ones, go on behind the window.
        lengths: steps of each in here, `(rows,)`.
        index: where these steps are among all values, `(steps,)`, in input order.
        last: the step each row makes last, among those of the window, `(rows,)`.
    """

    start: int
    first: int
    rows: int
    going: int
    lengths: Tensor
    index: Tensor
    last: Tensor

    @property
    def here(self) -> slice:
        """Its rows, among all."""
        return slice(self.start, self.start + self.rows)

    @property
    def ended(self) -> slice:
        """The rows that make their last step in here, among all."""
        return slice(self.start + self.going, self.start + self.rows)

    def ragged(self, values: Tensor) -> Ragged:
        """Values `(steps, ...)` of the window as rows."""
        return Ragged(values, self.lengths)


class Cuts:
    """Rows of `lengths`, cut after each `every` of the steps they make.

    A row that has ended is in no later window. `lengths`: of the rows, longest first. Rows go side by side as long as a
    window has no more steps than `most` rows that are longer than it; others come in windows of their own, afterwards.
    """

    def __init__(self, lengths: Tensor, reverse: bool, every: int, device: torch.device, most: int) -> None:
        self.reverse, self.every, self.device = reverse, every, device
        self._order = torch.argsort(lengths, descending=True, stable=True)
        self.lengths = lengths[self._order]
        self._starts = (lengths.cumsum(0) - lengths)[self._order]
        self.sorted = bool((self._order == torch.arange(len(lengths))).all())
        self._falling = [-n for n in self.lengths.tolist()]
        self._full: Window | None = None  # the last in which all rows made all steps
        steps = self.lengths.clamp(max=every).cumsum(0)
        real = int((self.lengths > 0).sum())
        bounds = [0]
        while bounds[-1] < real:
            done = int(steps[bounds[-1] - 1]) if bounds[-1] else 0
            end = int(torch.searchsorted(steps, done + max(most, 1) * every, right=True))
            bounds.append(min(max(end, bounds[-1] + 1), real))
        self._groups = list(itertools.pairwise(bounds))
        # where each window's rows begin, how many steps they have made, and where the rows of its group end
        self._windows = [
            (start, first, end) for start, end in self._groups for first in range(0, int(self.lengths[start]), every)
        ]

    def __len__(self) -> int:
        return len(self._windows)

    def __iter__(self) -> Iterator[Window]:
        return itertools.starmap(self._window, self._windows)

    def __reversed__(self) -> Iterator[Window]:
        return itertools.starmap(self._window, reversed(self._windows))

    def _window(self, start: int, first: int, end: int) -> Window:
        rows, going = self._alive(start, first, end), self._alive(start, first + self.every, end)
        full = self._alive(start, first + self.every - 1, end) == rows
        known = self._full
        if full and known is not None and (known.start, known.rows) == (start, rows):
            # the same rows made as many steps there: their places are as far apart as the windows
            further = known.first - first if self.reverse else first - known.first
            return Window(start, first, rows, going, known.lengths, known.index + further, known.last)
        left = self.lengths[start : start + rows] - first
        lengths = left.clamp(max=self.every)
        starts = self._starts[start : start + rows] + (left - lengths if self.reverse else first)
        before = lengths.cumsum(0) - lengths
        index = torch.repeat_interleave(starts - before, lengths)
        index += torch.arange(len(index))
        last = before if self.reverse else before + lengths - 1
        window = Window(start, first, rows, going, lengths, index.to(self.device), last.to(self.device))
        if full:
            self._full = window
        return window

    def _alive(self, start: int, steps: int, end: int) -> int:
        """How many rows of a group make more steps than so many."""
        return bisect.bisect_left(self._falling, -steps, start, end) - start

    def boundaries(self) -> tuple[dict[tuple[int, int], int], int]:
        """For each window but the first of its rows, by start and first: the rows of those before it; of all."""
        found, rows = {}, 0
        for start, first, end in self._windows:
            if first:
                found[start, first] = rows
                rows += self._alive(start, first, end)
        return found, rows

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
