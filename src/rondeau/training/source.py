"""What every source of batches is, and the order in which rows come."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from rondeau.errors import ArgumentError, DataError
from rondeau.training.batch import Batch
from rondeau.training.stream import mixed


class Source(ABC):
    """Batches that can be gone through again from any place: `batches(epoch, start, seed)` repeats itself exactly.

    Attributes:
        carries_state: each batch continues the rows of the one before, so stateful layers begin anew with each epoch.
    """

    carries_state = False

    @abstractmethod
    def __len__(self) -> int:
        """Batches in an epoch; raises `TypeError` where that is unknown until the end."""

    @abstractmethod
    def batches(self, epoch: int, start: int, seed: int) -> Iterator[Batch]:
        """The batches of an epoch from number `start` on, in the order that `seed` and `epoch` give."""

    def peek(self) -> Batch | None:
        """A batch like those to come, at least its x; None if there is none. It still comes in its turn."""
        return next(self.batches(0, 0, 0), None)

    def count(self) -> int | None:
        """Batches in an epoch, or None where unknown."""
        try:
            return len(self)
        except TypeError:
            return None

    def state(self) -> dict[str, Tensor]:
        """What a resumed run must know beside epoch, batch and seed to find the same place in the data."""
        return {}

    def load_state(self, state: Mapping[str, Tensor]) -> None:  # noqa: B027  (not abstract: most have nothing to do)
        """Take back what `state` gave."""


def parts_of(rows: int, size: int, shuffle: bool, epoch: int, seed: int) -> tuple[Tensor, ...]:
    """The numbers of the rows in each batch of an epoch."""
    order = shuffled(rows, epoch, seed) if shuffle else torch.arange(rows)
    return torch.split(order, size)


def shuffled(rows: int, epoch: int, seed: int) -> Tensor:
    """A permutation of the rows that depends on nothing but these numbers."""
    return torch.randperm(rows, generator=torch.Generator().manual_seed(mixed(seed, epoch)))


def split_at(rows: int, fraction: float) -> int:
    """How many rows come before the last `fraction` of them. Raises where one part would be empty."""
    if not 0 < fraction < 1:
        raise ArgumentError("validation_split", expected="a fraction between 0 and 1", got=fraction)
    at = int(rows * (1 - fraction))
    if at == 0 or at == rows:
        raise DataError(f"validation_split={fraction} leaves one part of {rows} rows empty")
    return at
