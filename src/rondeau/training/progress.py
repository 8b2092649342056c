"""What `fit` shows while it trains: a live view on a terminal, or a line an epoch."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn
from rich.table import Column

from rondeau.errors import ArgumentError
from rondeau.training.callbacks.base import Callback, Logs

Describe = Callable[[Logs], str]


def describe_logs(logs: Logs) -> str:
    """`loss 0.1234  accuracy 0.9876`."""
    return "  ".join(f"{name} {value:.4f}" for name, value in logs.items() if isinstance(value, (int, float)))


def progress_callback(verbose: Any, describe: Describe = describe_logs) -> list[Callback]:
    """The view for `verbose`: 'auto', 0 silent, 1 live, 2 a line an epoch. Raises `ArgumentError` for another value."""
    if verbose == "auto":
        verbose = 1 if sys.stdout.isatty() else 2
    if verbose not in (0, 1, 2):
        raise ArgumentError("verbose", expected="'auto', 0, 1 or 2", got=repr(verbose))
    return [] if verbose == 0 else [LiveView(describe) if verbose == 1 else EpochLines(describe)]


class LiveView(Callback):
    """A bar for the epoch that runs: batch, losses and metrics, speed, time left; a line for each that is over.

    Args:
        describe: logs -> what to show of them.
        console: where to (default: standard output).
        unit, per_batch: speed is shown in this unit, of which a batch holds so many (default: batches).
    """

    def __init__(
        self,
        describe: Describe = describe_logs,
        console: Console | None = None,
        unit: str = "batches",
        per_batch: int = 1,
    ) -> None:
        self.describe, self.console, self.unit, self.per_batch = describe, console, unit, per_batch
        self.progress: Progress | None = None
        self.task: TaskID | None = None

    def on_train_begin(self, logs: Logs) -> None:
        one_line = Column(no_wrap=True, overflow="ellipsis")
        columns = (
            TextColumn("epoch {task.fields[epoch]}"),
            BarColumn(bar_width=24),
            TextColumn("{task.completed:.0f}/{task.fields[steps]}"),
            TextColumn("{task.fields[words]}", table_column=one_line),
            TextColumn("{task.fields[rate]}", table_column=one_line.copy()),
        )
        self.task = None
        self.progress = Progress(*columns, console=self.console, refresh_per_second=8, transient=True)
        self.progress.start()

    def on_epoch_begin(self, epoch: int, logs: Logs) -> None:
        self._open(epoch, 0)

    def _open(self, epoch: int, done: int) -> TaskID:
        steps = self.params["steps"]
        shown = {"epoch": f"{epoch + 1}/{self.params['epochs']}", "steps": steps or "?", "words": "", "rate": ""}
        assert self.progress is not None  # on_train_begin came before
        self.task = self.progress.add_task("", total=steps, completed=done, **shown)  # type: ignore[arg-type]
        self.began, self.shown, self.first = time.monotonic(), 0.0, done
        return self.task

    def on_train_batch_end(self, batch: int, logs: Logs) -> None:
        task = self._open(self.loop.epoch, batch) if self.task is None else self.task  # resumed within an epoch
        now = time.monotonic()
        if self.progress is not None and now - self.shown >= 0.1:
            rate = (batch + 1 - self.first) / max(now - self.began, 1e-9)
            words = self.describe(logs)
            self.progress.update(task, completed=batch + 1, words=words, rate=self._speed(rate, batch + 1))
            self.shown = now

    def _speed(self, rate: float, done: int) -> str:
        """Batches a second as `31,000 tokens/s`, and the time left where the number of batches is known."""
        units = rate * self.per_batch
        text = f"{units:,.0f} {self.unit}/s" if units >= 100 else f"{units:.1f} {self.unit}/s"
        steps = self.params["steps"]
        if not steps:
            return text
        left = int(((self.params["epochs"] - self.loop.epoch) * steps - done) / rate)
        return f"{text}  {left // 60}:{left % 60:02d} left"

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        if self.progress is None or self.task is None:
            return
        self.progress.remove_task(self.task)
        self.task = None
        line = epoch_line(epoch, self.params["epochs"], self.describe(logs), time.monotonic() - self.began)
        self.progress.console.print(line, highlight=False, markup=False, soft_wrap=True)

    def close(self) -> None:
        """Give the terminal back."""
        if self.progress is not None:
            self.progress.stop()


class EpochLines(Callback):
    """A line an epoch, for logs and pipes."""

    def __init__(self, describe: Describe = describe_logs) -> None:
        self.describe = describe

    def on_train_begin(self, logs: Logs) -> None:
        self.began = time.monotonic()

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        now = time.monotonic()
        print(epoch_line(epoch, self.params["epochs"], self.describe(logs), now - self.began), flush=True)
        self.began = now


def epoch_line(epoch: int, epochs: int, words: str, seconds: float) -> str:
    """`epoch 1/3  loss 0.1234  2.5 s`; `epoch` counts from 0."""
    return f"epoch {epoch + 1}/{epochs}  {words}  {seconds:.1f} s"
