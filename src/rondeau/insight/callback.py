"""`Insight`: a `Monitor` inside `fit`, which writes what it samples into a folder."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import torch

from rondeau.errors import NumericsError
from rondeau.insight.files import HISTORY, SampleFile, read_samples, write_lines
from rondeau.insight.monitor import Monitor
from rondeau.insight.nonfinite import NonFinite, trace_batch
from rondeau.insight.records import Sample, sample_from_json, to_json
from rondeau.training.callbacks.base import Callback, Logs
from rondeau.training.callbacks.learning_rate import get_rates
from rondeau.training.files import write_atomically
from rondeau.training.provenance import FORMAT, VERSION, program, versions
from rondeau.training.windows import WindowSource


class Insight(Callback):
    """Samples how gradients flow while `fit` trains; the training itself is bit for bit what it is without.

    Args:
        folder: where `insight.jsonl` is written, a line a sample; with `None`, samples stay in memory only.
        history: write there too, for `rondeau report`, `watch` and `compare`, `config.json`: how the model trains, by
            which program, seed and versions; and `history.jsonl`, a line an epoch (default true).
        every, rows, steps, dynamics: see `Monitor`.

    Attributes:
        monitor: the `Monitor`; None before training begins.
        samples: what was measured so far, those of a run that was taken up again included.
        nonfinite: where the last loss or gradient that was not finite came from, a `NonFinite`; the error says it too.

    >>> import rondeau, torch
    >>> from rondeau.callbacks import Insight
    >>> model = rondeau.Sequential([rondeau.layers.LSTM(8), rondeau.layers.Dense(1)])
    >>> model.compile("adam", "mse")
    >>> insight = Insight()
    >>> _ = model.fit(torch.randn(32, 20, 3), torch.randn(32, 1), callbacks=[insight], verbose=0)
    >>> insight.samples[0].scans[0].decay.reach
    19
    """

    def __init__(
        self,
        folder: str | os.PathLike[str] | None = None,
        every: int = 50,
        rows: int = 8,
        steps: int = 1000,
        dynamics: float = 0.05,
        history: bool = True,
    ) -> None:
        self.folder = None if folder is None else Path(folder)
        self.history = history
        self.records: list[Logs] = []
        self.options: dict[str, Any] = {"every": every, "rows": rows, "steps": steps, "dynamics": dynamics}
        self.monitor: Monitor | None = None
        self.samples: list[Sample] = []
        self.nonfinite: NonFinite | None = None

    def _started(self) -> Monitor:
        assert self.monitor is not None  # on_train_begin came before
        return self.monitor

    def on_train_begin(self, logs: Logs) -> None:
        self.monitor = Monitor(self.model, **self.options)
        self.monitor.samples = self.samples = []
        self.records = []
        self._file = None if self.folder is None else SampleFile(self.folder)
        if self.history and self._file is not None:
            text = json.dumps(self._description(), indent=2)
            write_atomically(self._file.path.parent / "config.json", (text + "\n").encode())

    def _description(self) -> dict[str, Any]:
        trainer, source = self.loop.trainer, self.loop.source
        window = source.steps_of_window().steps if isinstance(source, WindowSource) else None
        settings = {
            "model": self.model.name,
            "weights": sum(weight.numel() for weight in self.model.parameters()),
            "epochs": self.params["epochs"],
            "window": window,
            "optimizer": type(trainer.optimizer).__name__,
            "learning_rate": get_rates(trainer.optimizer)[0],
        }
        said = {"command": program(), "seed": torch.initial_seed(), "versions": versions()}
        return {
            "format": FORMAT,
            "version": VERSION,
            "task": "fit",
            "settings": settings,
            "data": {},
            "reproduce": said,
        }

    def on_train_batch_begin(self, batch: int, logs: Logs) -> None:
        self._started().begin()

    def on_before_update(self, batch: int, logs: Logs) -> None:
        source = self.loop.source
        window = source.steps_of_window().steps if isinstance(source, WindowSource) else None
        optimizer = self.loop.trainer.optimizer
        self._started().before_update(optimizer, logs["loss"], get_rates(optimizer)[0], self.loop.epoch, window)

    def on_train_batch_end(self, batch: int, logs: Logs) -> None:
        sample = self._started().after_update()
        if sample is not None and self._file is not None:
            self._file.append(sample)

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        if self.history and self._file is not None:
            numbers = {name: value for name, value in logs.items() if isinstance(value, (int, float))}
            self.records.append({"epoch": epoch + 1, **numbers})
            write_lines(self._file.path.parent / HISTORY, self.records)

    def on_numerics_error(self, error: NumericsError, logs: Logs) -> bool:
        self._started().cancel()
        batch = self.loop.given
        self.nonfinite = None if batch is None else trace_batch(self.loop.trainer, batch)
        if self.nonfinite is not None:
            error.got = f"{error.got}. {self.nonfinite.sentence.removesuffix('.')}"
        return False

    def close(self) -> None:
        if self.monitor is not None:
            self.monitor.cancel()

    def state(self) -> dict[str, Any]:
        kept = [to_json(sample) for sample in self.samples] if self._file is None else None  # else the file has them
        return {"step": self._started().step, "samples": kept, "records": self.records}

    def restore(self, state: dict[str, Any]) -> None:
        monitor = self._started()
        monitor.step = state["step"]
        self.records = list(state["records"])
        if self._file is None:
            samples = [sample_from_json(sample) for sample in state["samples"]]
        else:
            samples = [sample for sample in read_samples(self._file.path.parent) if sample.step < monitor.step]
            self._file.begin_with(samples)  # what came after the checkpoint is measured again
        monitor.samples = self.samples = samples
