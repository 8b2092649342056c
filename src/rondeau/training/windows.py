"""Long sequences as windows: one update for each, the state carried from one to the next, the gradient not."""

from __future__ import annotations

import copy
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import repeat
from numbers import Integral
from typing import Any

import torch
from torch import Tensor

from rondeau.errors import ArgumentError, CheckpointError, DataError
from rondeau.training.batch import Batch, data_leaves, map_data, row_count
from rondeau.training.source import Source, parts_of, split_at
from rondeau.training.steps import Padded, Steps, to_steps
from rondeau.training.stream import mixed

_FIX = (
    "Give a target for each step; where a row has one target alone, train without window, "
    "with gradient=Recompute(every=...) if memory is short"
)


@dataclass(frozen=True)
class Window:
    """Windows of `steps` steps each."""

    steps: int

    def sizes(self, seed: int) -> Iterator[int]:
        """The windows' lengths, without end."""
        return repeat(self.steps)

    def rate(self, size: int) -> float:
        """What the learning rate is multiplied with for a window of `size` steps."""
        return 1.0

    def numbers(self) -> list[float]:
        """What tells it from another."""
        return [float(self.steps)]

    @property
    def fixed(self) -> Window:
        """The window to evaluate with: results do not depend on it."""
        return self


@dataclass(frozen=True)
class RandomWindow(Window):
    """Windows of random length, so that no step is always the last one a gradient reaches (Merity et al. 2017, §5).

    With probability `full` a window's length is drawn around `steps`, otherwise around half of it, with standard
    deviation `std`; none is shorter than `least`. The learning rate of each update is multiplied with the window's
    length over `steps`, so that short windows do not count for more. The lengths follow from torch's global seed, the
    epoch and the batch of rows. From "Regularizing and Optimizing LSTM Language Models", arXiv 1708.02182.

    Args:
        steps: the mean of full windows.
        std: standard deviation in steps (default 5).
        full: the share of full windows (default 0.95).
        least: steps a window has at least, but for a row's end (default 5, or `steps` where that is less).

    Raises `ArgumentError` for values out of range.

    >>> sizes = RandomWindow(70).sizes(seed=0)
    >>> all(next(sizes) >= 5 for _ in range(100))
    True
    """

    std: float = 5.0
    full: float = 0.95
    least: int | None = None

    def __post_init__(self) -> None:
        _check_steps("RandomWindow: steps", self.steps)
        for name, good, expected in (
            ("std", _real(self.std) and self.std >= 0, "0 or more"),
            ("full", _real(self.full) and 0 <= self.full <= 1, "0 to 1"),
        ):
            if not good:
                raise ArgumentError(f"RandomWindow: {name}", expected=expected, got=repr(getattr(self, name)))
        if self.least is None:
            object.__setattr__(self, "least", min(5, self.steps))
        _check_steps("RandomWindow: least", self.least)

    def sizes(self, seed: int) -> Iterator[int]:
        generator = torch.Generator().manual_seed(seed)
        while True:
            means = torch.where(torch.rand(64, generator=generator) < self.full, 1.0, 0.5) * self.steps
            drawn = torch.randn(64, generator=generator) * self.std + means
            yield from drawn.round().long().clamp(min=self.least).tolist()

    def rate(self, size: int) -> float:
        return size / self.steps

    def numbers(self) -> list[float]:
        return [float(self.steps), self.std, self.full, float(self.least or 0)]

    @property
    def fixed(self) -> Window:
        return Window(self.steps)


def as_window(value: Any) -> Window:
    """A number of steps, or a `RandomWindow`, as a `Window`. Raises `ArgumentError` for anything else."""
    if isinstance(value, Window):
        return value
    _check_steps("window", value)
    return Window(int(value))


def _check_steps(name: str, value: Any) -> None:
    if not isinstance(value, Integral) or isinstance(value, bool) or value < 1:
        expected = "a positive number of steps" + (", or a RandomWindow" if name == "window" else "")
        raise ArgumentError(name, expected=expected, got=repr(value))


def _real(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


class Reading:
    """Rows that are read side by side, from their beginning to the end of the longest.

    Attributes:
        longest: steps of the longest row, or None where that is unknown until it ends.
    """

    longest: int | None = None

    @abstractmethod
    def read(self, begin: int, size: int) -> Batch | None:
        """The steps from `begin` on, `size` of them, fewer where rows end; None once all have ended.

        `begin` never goes back.
        """


class WindowSource(Source):
    """Rows of any length, walked through window by window; each batch continues the rows of the one before.

    Attributes:
        window: how long the windows are; None until `fit(window=...)` says so.
        parts: inputs and outputs of the model that reads it.
    """

    carries_state = True
    window: Window | None = None
    parts: tuple[int, int] = (1, 1)

    @abstractmethod
    def readings(self, epoch: int, seed: int) -> Iterator[Reading]:
        """The batches of rows of an epoch, in order."""

    def in_windows(self, window: Any, parts: tuple[int, int] = (1, 1)) -> WindowSource:
        """This source with another window, where one is given. Raises `ArgumentError` where there is none at all."""
        other = copy.copy(self)
        other.window, other.parts = self.window if window is None else as_window(window), parts
        other.steps_of_window()
        return other

    def steps_of_window(self) -> Window:
        """The window. Raises `ArgumentError` where there is none yet."""
        if self.window is None:
            fix = "Say how many steps one update sees: fit(..., window=100)"
            raise ArgumentError(f"a {type(self).__name__} is read in windows", fix=fix)
        return self.window

    def batches(self, epoch: int, start: int, seed: int) -> Iterator[Batch]:
        window = self.steps_of_window()
        number = 0
        for place, reading in enumerate(self.readings(epoch, seed)):
            begin = 0
            for size in window.sizes(mixed(seed, epoch, place, 1)):
                if reading.longest is not None:
                    size = min(size, reading.longest - begin)
                if number >= start:
                    batch = reading.read(begin, size)
                    if batch is None:
                        break
                    yield batch._replace(carried=True, begins=begin == 0, rate=window.rate(size))
                begin, number = begin + size, number + 1
                if begin == reading.longest:  # rows without steps have one window, of none
                    break

    def state(self) -> dict[str, Tensor]:
        return {"window": torch.tensor(self.steps_of_window().numbers())}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        before = state.get("window")  # none in a checkpoint of a program that knew no other than its own
        now = self.steps_of_window().numbers()
        if before is not None and before.tolist() != torch.tensor(now).tolist():
            fix = "Resume with the window the run began with"
            raise CheckpointError("the run had another window", expected=before.tolist(), got=now, fix=fix)


class RowWindows(WindowSource):
    """Rows of arrays, memory maps, `Ragged`s or lists, in batches of rows; shuffled anew each epoch if asked."""

    def __init__(self, data: Batch, window: Window | None, batch_size: int, shuffle: bool) -> None:
        self.data, self.window, self.batch_size, self.shuffle = data, window, batch_size, shuffle
        self.lengths = _checked(data)
        self.chosen = torch.arange(len(self.lengths))

    @classmethod
    def of(
        cls,
        x: Any,
        y: Any,
        weight: Any,
        window: Window,
        batch_size: int,
        shuffle: bool,
        inputs: int = 1,
        outputs: int = 1,
    ) -> RowWindows:
        """Of what a user gives; nothing is copied."""
        several = isinstance(weight, (list, tuple)) and len(weight) == outputs and not isinstance(weight[0], float)
        data = Batch(
            to_steps(x, inputs, "x"),
            to_steps(y, outputs, "y"),
            to_steps(weight, outputs if several else 1, "sample_weight"),
        )
        return cls(data, window, batch_size, shuffle)

    def __len__(self) -> int:
        window = self.steps_of_window()
        if isinstance(window, RandomWindow) or (self.shuffle and self.batch_size < len(self.chosen) and self._uneven()):
            raise TypeError("how many windows there will be is not known until they are drawn")
        longest = (int(self.lengths[rows].max()) for rows in torch.split(self.chosen, self.batch_size))
        return sum(max(-(-length // window.steps), 1) for length in longest)

    def _uneven(self) -> bool:
        own = self.lengths[self.chosen]
        return bool((own != own[0]).any())

    def readings(self, epoch: int, seed: int) -> Iterator[Reading]:
        for part in parts_of(len(self.chosen), self.batch_size, self.shuffle, epoch, seed):
            yield _RowReading(self, self.chosen[part])

    def split(self, fraction: float) -> tuple[RowWindows, RowWindows]:
        """The first rows, and the last `fraction` of them (in the order given, before any shuffling)."""
        at = split_at(len(self.chosen), fraction)
        first, last = copy.copy(self), copy.copy(self)
        first.chosen, last.chosen, last.shuffle = self.chosen[:at], self.chosen[at:], False
        return first, last


class _RowReading(Reading):
    def __init__(self, source: RowWindows, rows: Tensor) -> None:
        self.data, self.rows = source.data, rows
        self.lengths = source.lengths[rows]
        self.longest = int(self.lengths.max())
        self.dense = all(leaf.dense for leaf in data_leaves(self.data.x))

    def read(self, begin: int, size: int) -> Batch:
        counts = (self.lengths - begin).clamp(0, size)

        def part(leaf: Any, dense: bool) -> Any:
            return leaf.stretch(self.rows, begin, counts, dense) if isinstance(leaf, Steps) else leaf[self.rows]

        x = map_data(lambda leaf: part(leaf, leaf.dense), self.data.x)
        y, weight = (map_data(lambda leaf: part(leaf, self.dense), one) for one in (self.data.y, self.data.weight))
        return Batch(x, y, weight)


def _checked(data: Batch) -> Tensor:
    """The lengths of x's rows. Raises `DataError` where y or the weights lack a value for each of their steps."""
    row_count(data)
    for leaf in data_leaves(data.x):
        if not isinstance(leaf, Steps):
            raise DataError("x has no steps", expected="(rows, time, ...)", got=tuple(leaf.shape))
    lengths: Tensor = data_leaves(data.x)[0].lengths
    for leaf in data_leaves(data.x)[1:]:
        _check_lengths("an input", leaf, lengths, leaf.lengths)
    for leaf in data_leaves(data.y):
        if not isinstance(leaf, Steps):
            expected = f"(rows, time), with time = {int(lengths.max())}"
            raise DataError("y has one target for each row", expected=expected, got=tuple(leaf.shape), fix=_FIX)
        _check_lengths("y", leaf, lengths, _as_long(leaf, lengths))
    for leaf in data_leaves(data.weight):
        if isinstance(leaf, Steps):
            _check_lengths("sample_weight", leaf, lengths, _as_long(leaf, lengths))
    return lengths


def _as_long(leaf: Steps, lengths: Tensor) -> Tensor:
    """What counts as a leaf's lengths beside x's: of a padded one as much as x has, where it has that much."""
    uneven = bool((lengths != lengths[0]).any())
    return torch.minimum(leaf.lengths, lengths) if isinstance(leaf, Padded) and uneven else leaf.lengths


def _check_lengths(name: str, leaf: Steps, expected: Tensor, got: Tensor) -> None:
    wrong = (expected != got).nonzero()
    if len(wrong):
        row = int(wrong[0])
        shape = f", in an array of shape {tuple(leaf.data.shape)}" if isinstance(leaf, Padded) else ""
        raise DataError(
            f"{name} has not as many steps as x",
            expected=int(expected[row]),
            got=f"{int(got[row])}{shape}",
            where=f"row {row}",
            fix=_FIX if name == "y" else None,
        )
