"""What goes along with the training of a language model: its loss in bits, and what is kept of it."""

from __future__ import annotations

import math
from typing import Any

from rondeau.tasks.run_folder import RunFolder
from rondeau.training.callbacks import Callback
from rondeau.training.callbacks.base import Logs


class BitsPerCharacter(Callback):
    """Adds `bits_per_character` and `val_bits_per_character` to the logs: the losses in another unit."""

    def __init__(self, train: float, validation: float) -> None:
        self.train, self.validation = train, validation

    def on_train_batch_end(self, batch: int, logs: Logs) -> None:
        logs["bits_per_character"] = logs["loss"] / math.log(2) / self.train

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        self.on_train_batch_end(0, logs)
        logs["val_bits_per_character"] = logs["val_loss"] / math.log(2) / self.validation


class Perplexity(Callback):
    """Adds `perplexity` and `val_perplexity`: the losses as the number of equally likely tokens."""

    def on_train_batch_end(self, batch: int, logs: Logs) -> None:
        logs["perplexity"] = math.exp(min(logs["loss"], 700.0))

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        self.on_train_batch_end(0, logs)
        logs["val_perplexity"] = math.exp(min(logs["val_loss"], 700.0))


class Keeper(Callback):
    """Writes the history after each epoch, and the model when it is better on the validation part than before.

    Args:
        monitor: the log that says how good it is; higher: whether more is better.
    """

    def __init__(self, run: RunFolder, monitor: str = "val_loss", higher: bool = False) -> None:
        self.run, self.monitor, self.higher = run, monitor, higher
        self.records: list[dict[str, Any]] = []
        self.best: float | None = None

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        self.records.append({"epoch": epoch + 1, **logs})
        self.run.write_lines(self.run.history, self.records)
        value = logs[self.monitor]
        if self.best is None or (value > self.best if self.higher else value < self.best):
            self.best = value
            self.model.save(self.run.model, include_optimizer=False)  # the checkpoint has it

    def state(self) -> dict[str, Any]:
        return {"records": self.records, "best": self.best}

    def restore(self, state: dict[str, Any]) -> None:
        self.records, self.best = list(state["records"]), state["best"]
