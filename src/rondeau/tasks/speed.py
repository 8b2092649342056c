"""How fast a model trains: tokens learnt from, the seconds that took, and what it ran on."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch

from rondeau.errors import CheckpointError
from rondeau.tasks.run_folder import RunFolder
from rondeau.training.callbacks import Callback
from rondeau.training.callbacks.base import Logs

Record = dict[str, Any]


class Speed(Callback):
    """Measures each epoch: tokens trained on, and the time from its beginning until its last batch is learnt.

    That time holds all that training needs (reading batches, forward, backward, update, checkpoints, and in the first
    epoch compiling), but not validation. Of an epoch taken up again in the middle only the rest is measured. Nothing
    goes into the logs or the checkpoint: the same seed shall give the same files, and no two runs are as fast.

    Args:
        tokens: how many tokens the first so many batches of an epoch hold as targets.
        run: where to write `speed.jsonl`, a record an epoch; default: nowhere.

    Attributes: `last`, tokens per second of the epoch that has just ended, None while one runs; `records`, one for
    each epoch, as the file has them.
    """

    def __init__(self, tokens: Callable[[int], int], run: RunFolder | None = None) -> None:
        self.tokens, self.run = tokens, run
        self.last: float | None = None
        self.records: list[Record] = []
        self.first: int | None = None  # the first batch that was timed in this epoch

    def on_train_begin(self, logs: Logs) -> None:
        self.records = [] if self.run is None else read_speed(self.run)

    def on_epoch_begin(self, epoch: int, logs: Logs) -> None:
        self._start(0)

    def on_train_batch_begin(self, batch: int, logs: Logs) -> None:
        if self.first is None:  # taken up within an epoch
            self._start(batch)

    def _start(self, batch: int) -> None:
        self.first, self.last = batch, None
        self.began = self.ended = time.perf_counter()

    def on_train_batch_end(self, batch: int, logs: Logs) -> None:
        self.done, self.ended = batch + 1, time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        if self.first is None:  # taken up after its last batch: nothing was trained
            return
        tokens, seconds = self.tokens(self.done) - self.tokens(self.first), self.ended - self.began
        self.first, self.last = None, tokens / seconds
        record: Record = {"epoch": epoch + 1, "tokens": tokens, "seconds": seconds, "tokens_per_second": self.last}
        record |= {"device": str(self.loop.trainer.device), "threads": torch.get_num_threads()}
        self.records = [*(r for r in self.records if r["epoch"] <= epoch), record]  # a killed run repeats an epoch
        if self.run is not None:
            self.run.write_lines(self.run.speed, self.records)


def read_speed(run: RunFolder) -> list[Record]:
    """A run's records, an epoch each; none for a run that an older Rondeau trained."""
    return run.read_lines(run.speed) if run.speed.exists() else []


def total_speed(records: list[Record]) -> Record | None:
    """All epochs as one record: `tokens`, `seconds`, `tokens_per_second`, `where`; None without any."""
    if not records:
        return None
    missing = [name for name in ("tokens", "seconds", "device", "threads") if any(name not in r for r in records)]
    if missing:
        raise CheckpointError("a record of a run's speed is damaged", expected=", ".join(missing))
    tokens, seconds = sum(r["tokens"] for r in records), sum(r["seconds"] for r in records)
    places = list(dict.fromkeys(_place(record) for record in records))
    where = ", then ".join(places)  # the resumed part may have run elsewhere
    return {"tokens": tokens, "seconds": seconds, "tokens_per_second": tokens / seconds, "where": where}


def _place(record: Record) -> str:
    """`2 threads`, or `cuda:0`."""
    if record["device"] != "cpu":
        return str(record["device"])
    return "1 thread" if record["threads"] == 1 else f"{record['threads']} threads"


def describe_speed(speed: Record, word: str = "tokens") -> str:
    """`trained on 3,282,170 tokens in 112.4 s: 29,201 tokens/s on 2 threads`."""
    rate = f"{speed['tokens_per_second']:,.0f} {word}/s on {speed['where']}"
    return f"trained on {speed['tokens']:,} {word} in {speed['seconds']:.1f} s: {rate}"
