"""`ModelCheckpoint`: write the model, or its weights, while it is trained."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from rondeau.errors import ArgumentError
from rondeau.training.callbacks.base import Logs
from rondeau.training.callbacks.monitor import MonitorCallback, whole


class ModelCheckpoint(MonitorCallback):
    """Saves the model after each epoch, or every so many batches; each file is whole or not there.

    Args:
        filepath: where to; `{epoch}` (from 1) and the names in the logs are filled in, and with a number of batches
            `{batch}` too: `'run/{epoch:02d}-{val_loss:.2f}'`. A folder, which `rondeau.load` reads, or with
            `save_weights_only` a file for `model.load_weights`. Any ending will do. Folders above it are made.
        monitor, mode: the value that tells the best; see `EarlyStopping`. Of use with `save_best_only` alone.
        verbose: 1 prints what is saved (default 0).
        save_best_only: save only when the monitored value is better than ever (default false).
        save_weights_only: `model.save_weights` instead of `model.save` (default false).
        save_freq: 'epoch' (default), or a number of batches; what is monitored is then the running mean.
        initial_value_threshold: what the first value must beat; of use with `save_best_only` alone, refused without.

    The best value lasts from one `fit` to the next, as in Keras. To go on with training use `BackupAndRestore`: what is
    written here has no optimiser in it.
    """

    def __init__(
        self,
        filepath: str | os.PathLike[str],
        monitor: str = "val_loss",
        verbose: int = 0,
        save_best_only: bool = False,
        save_weights_only: bool = False,
        mode: str = "auto",
        save_freq: str | int = "epoch",
        initial_value_threshold: float | None = None,
    ) -> None:
        super().__init__(monitor, mode, initial_value_threshold, 0)
        if initial_value_threshold is not None and not save_best_only:
            what = "initial_value_threshold has no meaning where every model is saved"
            raise ArgumentError(what, where=self.where, fix="Pass save_best_only=True, or leave it out")
        if save_freq != "epoch":
            save_freq = whole(self.where, "save_freq, if not 'epoch'", save_freq, 1)
        self.filepath, self.save_freq, self.verbose = os.fspath(filepath), save_freq, verbose
        self.save_best_only, self.save_weights_only = save_best_only, save_weights_only
        self._batches = 0  # since the last time it was looked at

    def on_train_batch_end(self, batch: int, logs: Logs) -> None:
        if isinstance(self.save_freq, int):
            self._batches += 1
            if self._batches >= self.save_freq:
                self._batches = 0
                self._save(self.loop.epoch, {"batch": batch + 1, **logs}, logs)

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        if self.save_freq == "epoch":
            self._save(epoch, logs, logs)

    def _save(self, epoch: int, names: Logs, logs: Logs) -> None:
        path = self._path({**names, "epoch": epoch + 1})
        if self.save_best_only and not self._is_best(epoch, logs):
            return
        if path.is_dir() if self.save_weights_only else path.is_file():
            what, there = ("a file", "a folder") if self.save_weights_only else ("a folder", "a file")
            raise ArgumentError("filepath", expected=what, got=f"{there}, {path}", where=self.where, fix="Give another")
        path.parent.mkdir(parents=True, exist_ok=True)
        if self.save_weights_only:
            self.model.save_weights(path)
        else:
            self.model.save(path)
        if self.verbose:
            print(f"Epoch {epoch + 1}: saved {'weights' if self.save_weights_only else 'model'} to {path}")

    def _is_best(self, epoch: int, logs: Logs) -> bool:
        current, before = self.current(logs), self.best
        better = self.improves(current, before)
        if better:
            self.best = current
        if self.verbose:
            change = f"improved from {before} to {current}" if better else f"did not improve from {before}"
            print(f"Epoch {epoch + 1}: {self.monitor} {change}")
        return better

    def _path(self, names: Logs) -> Path:
        try:
            return Path(self.filepath.format(**names))
        except (KeyError, IndexError, ValueError) as error:
            fix = "" if "batch" in names else "; {batch} is known where save_freq is a number of batches"
            raise ArgumentError(
                f"filepath {self.filepath!r} cannot be filled in: {type(error).__name__} {error}",
                expected=f"of names {', '.join(names)}",
                where=self.where,
                fix=f"Use these names{fix}",
            ) from error

    def state(self) -> dict[str, Any]:
        return {"best": self.best, "batches": self._batches}

    def restore(self, state: dict[str, Any]) -> None:
        self.best, self._batches = state["best"], state["batches"]
