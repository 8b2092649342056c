"""`EarlyStopping`: end training when it no longer gets better (Prechelt 1998, Early Stopping - But When?)."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from rondeau.training.callbacks.base import Logs
from rondeau.training.callbacks.monitor import MonitorCallback, whole
from rondeau.training.optimizers.checks import number


class EarlyStopping(MonitorCallback):
    """Ends training after `patience` epochs in which the monitored value did not improve, as Keras does.

    Args:
        monitor: a name in the logs (default 'val_loss').
        min_delta: a change must be larger than this to count (default 0).
        patience: epochs without improvement before training ends (default 0).
        verbose: 1 prints what is done (default 0).
        mode: 'min', 'max', or 'auto' (default) to go by the name.
        baseline: a value that must be beaten too for the patience to begin anew (default None).
        restore_best_weights: give the model the weights of its best epoch at the end (default false: the last ones),
            for whatever reason training ends, but not where it is interrupted to be taken up again.
        start_from_epoch: epochs before this one are not looked at (default 0).

    Attributes: `best`, `best_epoch`, `wait` (epochs since the last improvement), `stopped_epoch` (0 if not stopped).
    They begin anew with each `fit`; `BackupAndRestore` keeps them, and the best weights.
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        min_delta: float = 0,
        patience: int = 0,
        verbose: int = 0,
        mode: str = "auto",
        baseline: float | None = None,
        restore_best_weights: bool = False,
        start_from_epoch: int = 0,
    ) -> None:
        super().__init__(monitor, mode, None, min_delta)
        self.patience = whole(self.where, "patience", patience)
        self.start_from_epoch = whole(self.where, "start_from_epoch", start_from_epoch)
        self.baseline = None if baseline is None else number(self.where, "baseline", baseline)
        self.restore_best_weights, self.verbose = restore_best_weights, verbose
        self._begin()

    def _begin(self) -> None:
        self.best, self.best_epoch, self.wait, self.stopped_epoch = None, 0, 0, 0
        self.best_weights: dict[str, Tensor] | None = None

    def on_train_begin(self, logs: Logs) -> None:
        self._begin()

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        current = self.current(logs)
        if epoch < self.start_from_epoch:
            return
        if self.restore_best_weights and self.best_weights is None:
            self._keep_weights(epoch)  # there are some to give back, even if no epoch is ever better than NaN
        self.wait += 1
        if self.improves(current, self.best):
            self.best = current
            self._keep_weights(epoch)
            if self.baseline is None or self.improves(current, self.baseline):
                self.wait = 0
        elif self.wait >= self.patience and epoch > 0:
            self.stopped_epoch = epoch
            self.model.stop_training = True

    def _keep_weights(self, epoch: int) -> None:
        self.best_epoch = epoch
        if self.restore_best_weights:
            self.best_weights = {name: t.detach().clone() for name, t in self.model.state_dict().items()}

    def on_train_end(self, logs: Logs) -> None:
        if self.loop.interrupted:
            return
        if self.stopped_epoch and self.verbose:
            print(f"Epoch {self.stopped_epoch + 1}: early stopping")
        if self.best_weights is not None:
            if self.verbose:
                print(f"Restoring model weights from the end of the best epoch: {self.best_epoch + 1}.")
            self.model.load_state_dict(self.best_weights)

    def state(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in ("best", "best_epoch", "wait", "stopped_epoch")}

    def restore(self, state: dict[str, Any]) -> None:
        for name, value in state.items():
            setattr(self, name, value)

    def tensors(self) -> dict[str, Tensor]:
        return self.best_weights or {}

    def restore_tensors(self, tensors: dict[str, Tensor]) -> None:
        self.best_weights = dict(tensors) or None
