"""Callbacks that change the learning rate, of Rondeau's optimisers and of torch's."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import torch

from rondeau.errors import ArgumentError
from rondeau.training.callbacks.base import Callback, Logs
from rondeau.training.callbacks.monitor import MonitorCallback, whole
from rondeau.training.optimizers.base import Optimizer
from rondeau.training.optimizers.checks import not_negative


def get_rates(optimizer: Any) -> list[float]:
    """The learning rate of each parameter group; one for an optimiser of Rondeau's."""
    if isinstance(optimizer, Optimizer):
        return [optimizer.learning_rate]
    return [float(group["lr"]) for group in optimizer.param_groups]


def set_rates(optimizer: Any, rates: list[float]) -> None:
    """Set what `get_rates` gives. Raises `ArgumentError` where a schedule gives the rate."""
    if isinstance(optimizer, Optimizer):
        optimizer.learning_rate = rates[0]
        return
    for group, rate in zip(optimizer.param_groups, rates, strict=True):
        if isinstance(group["lr"], torch.Tensor):
            group["lr"].fill_(rate)
        else:
            group["lr"] = rate


def log_rates(optimizer: Any, logs: Logs) -> None:
    """Add `learning_rate` to the logs; `learning_rate_0`, `learning_rate_1`, ... where torch's groups are several."""
    rates = get_rates(optimizer)
    several = len(rates) > 1
    logs.update({f"learning_rate_{i}" if several else "learning_rate": rate for i, rate in enumerate(rates)})


class LearningRateScheduler(Callback):
    """Sets the learning rate before each epoch, and adds it to the logs after it.

    Args:
        schedule: `schedule(epoch, lr)` or `schedule(epoch)` gives the rate for the epoch (from 0), a number of zero or
            more; `lr` is the rate so far. Of a torch optimiser each parameter group's goes through it.
        verbose: 1 prints the rate (default 0).

    Raises `ArgumentError` for another kind of function or value, and where a schedule of `rondeau.optimizers.schedules`
    gives the rate already.
    """

    def __init__(self, schedule: Callable[..., float], verbose: int = 0) -> None:
        self.takes_rate = _takes_rate(schedule)
        self.schedule, self.verbose = schedule, verbose

    def on_train_begin(self, logs: Logs) -> None:
        set_rates(self.model.optimizer, get_rates(self.model.optimizer))  # refused now, not after a while

    def on_epoch_begin(self, epoch: int, logs: Logs) -> None:
        rates = [self._next(epoch, rate) for rate in get_rates(self.model.optimizer)]
        set_rates(self.model.optimizer, rates)
        if self.verbose:
            print(f"Epoch {epoch + 1}: LearningRateScheduler setting learning rate to {_text(rates)}.")

    def _next(self, epoch: int, rate: float) -> float:
        given = self.schedule(epoch, rate) if self.takes_rate else self.schedule(epoch)
        given = given.item() if isinstance(given, torch.Tensor) and given.numel() == 1 else given
        return not_negative(f"LearningRateScheduler, epoch {epoch + 1}", "what schedule gave", given)

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        log_rates(self.model.optimizer, logs)


def _takes_rate(schedule: Any) -> bool:
    expected = "a function schedule(epoch, lr)"
    if not callable(schedule):
        raise ArgumentError("LearningRateScheduler: schedule", expected=expected, got=repr(schedule))
    try:
        signature = inspect.signature(schedule)
    except ValueError:  # some functions written in C have none
        return True
    for count in (2, 1):
        try:
            signature.bind(*range(count))
        except TypeError:
            continue
        return count == 2
    raise ArgumentError("LearningRateScheduler: schedule", expected=expected, got=f"{schedule!r}{signature}")


class ReduceLROnPlateau(MonitorCallback):
    """Multiplies the learning rate by `factor` when the monitored value no longer improves, and logs the rate.

    Args:
        monitor, mode: as for `EarlyStopping` (defaults 'val_loss', 'auto').
        factor: what the rate is multiplied with, below 1 (default 0.1).
        patience: epochs without improvement before that (default 10).
        verbose: 1 prints each reduction (default 0).
        min_delta: a change must be larger than this to count (default 0.0001).
        cooldown: epochs after a reduction in which none are counted (default 0).
        min_lr: the rate does not go below (default 0).
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        factor: float = 0.1,
        patience: int = 10,
        verbose: int = 0,
        mode: str = "auto",
        min_delta: float = 1e-4,
        cooldown: int = 0,
        min_lr: float = 0.0,
    ) -> None:
        super().__init__(monitor, mode, None, min_delta)
        self.factor = not_negative(self.where, "factor", factor)
        if self.factor >= 1:
            raise ArgumentError("factor would not reduce", expected="below 1", got=factor, where=self.where)
        self.patience = whole(self.where, "patience", patience)
        self.cooldown = whole(self.where, "cooldown", cooldown)
        self.min_lr = not_negative(self.where, "min_lr", min_lr)
        self.verbose = verbose
        self.wait = self.cooldown_counter = 0

    def on_train_begin(self, logs: Logs) -> None:
        self.best, self.wait, self.cooldown_counter = None, 0, 0
        set_rates(self.model.optimizer, get_rates(self.model.optimizer))  # refused now, not after a while

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        log_rates(self.model.optimizer, logs)
        current = self.current(logs)
        if self.in_cooldown():
            self.cooldown_counter -= 1
        if self.improves(current, self.best):
            self.best, self.wait = current, 0
        elif not self.in_cooldown():
            self.wait += 1
            if self.wait >= self.patience and self._reduce(epoch):
                self.cooldown_counter, self.wait = self.cooldown, 0

    def in_cooldown(self) -> bool:
        """Whether a reduction was made less than `cooldown` epochs ago."""
        return self.cooldown_counter > 0

    def _reduce(self, epoch: int) -> bool:
        before = get_rates(self.model.optimizer)
        rates = [max(rate * self.factor, self.min_lr) if rate > self.min_lr else rate for rate in before]
        if rates == before:
            return False
        set_rates(self.model.optimizer, rates)
        if self.verbose:
            print(f"Epoch {epoch + 1}: ReduceLROnPlateau reducing learning rate to {_text(rates)}.")
        return True

    def state(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in ("best", "wait", "cooldown_counter")}

    def restore(self, state: dict[str, Any]) -> None:
        for name, value in state.items():
            setattr(self, name, value)


def _text(rates: list[float]) -> str:
    return ", ".join(map(str, rates))
