"""What every metric is: something that adds up over batches, can be asked for its number, started again, and saved."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from rondeau.config import Configurable
from rondeau.errors import CheckpointError
from rondeau.training.lookup import snake_case
from rondeau.training.losses.base import Loss, call_function, function_name, refuse_dtype, weights_like


class Accumulator(Configurable, ABC):
    """Base of all that adds up over batches.

    Args:
        name: the key in logs; the class's name in snake case by default.
        dtype: refused unless None: sums are kept in float64, counts as integers.
    """

    def __init__(self, name: str | None = None, dtype: None = None) -> None:
        refuse_dtype(dtype, "Leave it out: sums are kept in float64, counts as integers", type(self).__name__)
        self.name = name or snake_case(type(self).__name__)

    @abstractmethod
    def result(self) -> float:
        """The number so far; 0 before the first update."""

    @abstractmethod
    def reset(self) -> None:
        """Forgets all updates."""

    @abstractmethod
    def state_dict(self) -> dict[str, Tensor]:
        """A copy, on the CPU, of all that has been added up."""

    @abstractmethod
    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Goes on from where `state_dict` was taken, bit for bit. Raises `CheckpointError` for another metric's."""


class Metric(Accumulator):
    """Base of the metrics that compare targets with predictions."""

    @abstractmethod
    def update(self, y_true: Tensor, y_pred: Tensor, sample_weight: Any = None) -> None:
        """Adds a batch.

        Args:
            y_true, y_pred: targets and predictions, without padding.
            sample_weight: one weight per value, or fewer axes: `(batch,)` weighs all steps of a sample alike.

        Raises `ShapeError` and `DataError` for what does not fit, `ArgumentError` where a metric has no weights.
        """


class Sums:
    """Named float64 sums, each on the device of what was last added to it; none before the first addition."""

    def __init__(self, *names: str) -> None:
        self.names = names
        self._totals: dict[str, Tensor] = {}

    def __bool__(self) -> bool:
        return bool(self._totals)

    def __getitem__(self, name: str) -> Tensor:
        return self._totals[name]

    def add(self, **parts: Tensor) -> None:
        """Adds to every sum its part."""
        for name in self.names:
            part = parts[name].double()
            self._totals[name] = self._totals[name].to(part.device) + part if name in self._totals else part

    def reset(self) -> None:
        """Back to no sums."""
        self._totals = {}

    def state_dict(self) -> dict[str, Tensor]:
        """Copies on the CPU."""
        return {name: total.cpu().clone() for name, total in self._totals.items()}

    def load_state_dict(self, state: dict[str, Tensor], where: str) -> None:
        """Takes copies of `state`; an empty one is that of a fresh metric."""
        if state:
            check_keys(state, self.names, where)
        self._totals = {name: total.double().clone() for name, total in state.items()}


def check_keys(state: dict[str, Tensor], expected: tuple[str, ...], where: str) -> None:
    """`CheckpointError` unless `state` has exactly the `expected` keys."""
    if set(state) != set(expected):
        fix = "Load it into a metric made with the same arguments"
        raise CheckpointError(
            "this is the state of another metric", expected=sorted(expected), got=sorted(state), where=where, fix=fix
        )


class Mean(Accumulator):
    """Running weighted mean of numbers, in float64.

    Every sample counts as the mean of its values, times its weight, as in Keras: 20 steps do not count more than 10.
    Give `(steps,)` instead of `(batch, time)` where they should.

    >>> mean = Mean("loss")
    >>> mean.update(2.0, sample_weight=3)
    >>> mean.update(4.0, sample_weight=1)
    >>> mean.result()
    2.5
    """

    def __init__(self, name: str | None = None, dtype: None = None) -> None:
        super().__init__(name, dtype)
        self._sums = Sums("total", "count")

    def update(self, values: Any, sample_weight: Any = None) -> None:
        """Adds `values`: `(batch, ...)`, or a single number.

        Args:
            sample_weight: one weight per value, or fewer axes: `(batch,)`, or one number for the whole batch.

        Raises `ShapeError` for weights that do not fit.
        """
        added = torch.as_tensor(values).detach().double()
        if sample_weight is not None and added.ndim > 0 and torch.as_tensor(sample_weight).ndim == 0:
            added = added.mean()  # one weight is that of one number
        if added.numel() == 0:
            return
        weights = torch.ones_like(added) if sample_weight is None else weights_like(added, sample_weight, self.name)
        per_sample = added[0].numel() if added.ndim else 1
        self._sums.add(total=(added * weights).sum() / per_sample, count=weights.sum() / per_sample)

    @property
    def count(self) -> float:
        """The sum of the weights so far."""
        return self._sums["count"].item() if self._sums else 0.0

    def result(self) -> float:
        """The mean so far; 0 before the first update, or where all weights were 0."""
        return self._sums["total"].item() / self.count if self.count else 0.0

    def reset(self) -> None:
        self._sums.reset()

    def state_dict(self) -> dict[str, Tensor]:
        return self._sums.state_dict()

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        self._sums.load_state_dict(state, self.name)


class MeanMetric(Metric):
    """Base of the metrics that are the mean of a value per sample: a metric of one's own defines `values`."""

    def __init__(self, name: str | None = None, dtype: None = None) -> None:
        super().__init__(name, dtype)
        self._mean = Mean(self.name)

    @abstractmethod
    def values(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        """One value per sample, step or element."""

    def counted(self, y_true: Tensor, y_pred: Tensor) -> Tensor | None:
        """Which values count, as booleans of their shape; None for all."""
        return None

    def update(self, y_true: Tensor, y_pred: Tensor, sample_weight: Any = None) -> None:
        with torch.no_grad():
            values = self.values(y_true, y_pred)
            counted = self.counted(y_true, y_pred)
        weights = sample_weight
        if counted is not None:
            weights = counted if weights is None else weights_like(values.double(), weights, self.name) * counted
        self._mean.update(values, weights)

    def result(self) -> float:
        return self._mean.result()

    def reset(self) -> None:
        self._mean.reset()

    def state_dict(self) -> dict[str, Tensor]:
        return self._mean.state_dict()

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        self._mean.load_state_dict(state)


class LossMetric(MeanMetric):
    """The mean of a loss's values, whatever its `reduction`, without those that it leaves out (`ignore_class`)."""

    def __init__(self, loss: Loss, name: str | None = None, dtype: None = None) -> None:
        super().__init__(name or loss.name, dtype)
        self.loss = loss

    def values(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        return self.loss.values(y_true, y_pred)

    def counted(self, y_true: Tensor, y_pred: Tensor) -> Tensor | None:
        return self.loss.counted(y_true, y_pred)


class FunctionMetric(MeanMetric):
    """The mean of a plain function `(y_true, y_pred) -> values`; a single number counts as one value."""

    def __init__(self, fn: Callable[[Tensor, Tensor], Tensor], name: str | None = None, dtype: None = None) -> None:
        super().__init__(name or function_name(fn), dtype)
        self.fn = fn

    def values(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        return call_function(self.fn, y_true, y_pred, self.name)
