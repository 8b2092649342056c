"""Ctrl-C between two batches instead of in the middle of one."""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Any

from rondeau.training.callbacks.base import Callback, Logs


class StopOnInterrupt(Callback):
    """The first SIGINT (Ctrl-C) or SIGTERM lets the batch end and then leaves the loop; the second acts at once.

    `BackupAndRestore` saves when it sees the loop interrupted. Outside the main thread, where Python delivers no
    signals, it does nothing.
    """

    def __init__(self) -> None:
        self._before: dict[signal.Signals, Any] = {}

    def on_train_begin(self, logs: Logs) -> None:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._ask)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        self._restore()  # a second signal does what it always did
        self.loop.interrupted = True

    def close(self) -> None:
        self._restore()

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}
