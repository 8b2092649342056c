"""What callbacks that watch one number in the logs share: which one, which way is better, and the best so far."""

from __future__ import annotations

from typing import Any

import numpy as np

from rondeau.errors import ArgumentError, DataError
from rondeau.training import metrics
from rondeau.training.callbacks.base import Callback, Logs
from rondeau.training.optimizers.checks import number

_HIGHER: tuple[type[Any], ...] = (
    metrics.Accuracy,
    metrics.AccuracyByShape,
    metrics.AUC,
    metrics.BinaryAccuracy,
    metrics.CategoricalAccuracy,
    metrics.F1Score,
    metrics.Precision,
    metrics.R2Score,
    metrics.Recall,
    metrics.SparseCategoricalAccuracy,
    metrics.SparseTopKCategoricalAccuracy,
    metrics.TopKCategoricalAccuracy,
)
_LOWER: tuple[type[Any], ...] = (
    metrics.LossMetric,
    metrics.Mean,  # the loss, and each output's
    metrics.MeanAbsoluteError,
    metrics.MeanSquaredError,
    metrics.Perplexity,
    metrics.RootMeanSquaredError,
)


class MonitorCallback(Callback):
    """Base of the callbacks that watch one number.

    Args:
        monitor: its name in the logs; those of validation begin with `val_`.
        mode: 'min' or 'max' says which is better; 'auto' knows for the loss and the metrics of `rondeau.metrics`.
        best: what the first value must beat; None takes the first one.
        min_delta: a change must be larger than this to count.

    A NaN is never better than anything (in Keras the first one is, and then nothing is better than it).
    """

    def __init__(self, monitor: str, mode: str, best: float | None, min_delta: float) -> None:
        self.where = type(self).__name__
        if not isinstance(monitor, str):
            raise ArgumentError("monitor", expected="a name in the logs", got=repr(monitor), where=self.where)
        if mode not in ("auto", "min", "max"):
            raise ArgumentError("mode", expected="'auto', 'min' or 'max'", got=repr(mode), where=self.where)
        self.monitor, self.mode = monitor, mode
        self.best = None if best is None else number(self.where, "the value to beat", best)
        self.min_delta = abs(number(self.where, "min_delta", min_delta))

    def current(self, logs: Logs) -> float:
        """The watched number. Raises `ArgumentError` where the logs have none of that name, with what they have."""
        if self.monitor not in logs:
            validated = any(name.startswith("val_") for name in logs)
            fix = "Monitor one of these, or give compile a metric of that name"
            if self.monitor.startswith("val_") and not validated:
                fix = "Give fit validation_data or validation_split"
            raise ArgumentError(
                f"monitor: the logs have no {self.monitor!r}",
                expected=f"one of {', '.join(logs)}" if logs else "logs with values, but they are empty",
                where=self.where,
                fix=fix,
            )
        value = np.asarray(logs[self.monitor])
        if value.size != 1:
            raise DataError(f"{self.monitor} is not one number", got=f"shape {value.shape}", where=self.where)
        return float(value.reshape(()))

    def improves(self, value: float, reference: float | None) -> bool:
        """Whether `value` is better than `reference` by more than `min_delta`; anything but NaN is better than None."""
        higher = self._higher()
        if reference is None:
            return value == value
        return value - self.min_delta > reference if higher else value + self.min_delta < reference

    def _higher(self) -> bool:
        if self.mode != "auto":
            return self.mode == "max"
        name = self.monitor.removeprefix("val_")
        if name == "loss":
            return False
        trainer = getattr(self.model, "trainer", None)
        metric = None if trainer is None else trainer.objective.reported.get(name)
        if isinstance(metric, _HIGHER + _LOWER):
            return isinstance(metric, _HIGHER)
        fix = "Pass mode='min' or mode='max'"
        raise ArgumentError(f"mode='auto' cannot tell whether more {self.monitor} is better", where=self.where, fix=fix)


def whole(where: str, name: str, value: Any, least: int = 0) -> int:
    """`value` as an integer of at least `least`."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
        raise ArgumentError(name, expected=f"an integer, {least} or more", got=repr(value), where=where)
    return int(value)
