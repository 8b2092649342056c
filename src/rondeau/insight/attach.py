"""`watch`: a `Monitor` on a training loop of one's own, in one line."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch

from rondeau.errors import ArgumentError
from rondeau.insight.files import SampleFile
from rondeau.insight.monitor import Monitor
from rondeau.nn.accelerate import Accelerated, accelerate
from rondeau.training.callbacks.learning_rate import get_rates


class Watch:
    """What `watch` gives.

    Attributes:
        monitor: the `Monitor`; samples: what it measured so far.
    """

    def __init__(self, monitor: Monitor, optimizer: torch.optim.Optimizer, file: SampleFile | None) -> None:
        self.monitor, self.optimizer, self._file = monitor, optimizer, file
        model = monitor.model
        self._hooks = [
            model.register_forward_pre_hook(lambda *_: self._forward_begins()),
            model.register_forward_hook(lambda *_: monitor.forward_over(), always_call=True),
            optimizer.register_step_pre_hook(lambda *_: self._update_comes()),
            optimizer.register_step_post_hook(lambda *_: self._updated()),
        ]
        self._early = Accelerated()
        self._before_call()

    @property
    def samples(self) -> list[Any]:
        return self.monitor.samples

    def stop(self) -> None:
        """Leave the model and the optimiser as they were; the samples stay."""
        self.monitor.cancel()
        self._early.undo()
        while self._hooks:
            self._hooks.pop().remove()

    def _before_call(self) -> None:
        """A recurrent module that is the whole model has to be on scans before it is called."""
        if isinstance(self.monitor.model, torch.nn.RNNBase) and self.monitor.due:
            self._early = accelerate(self.monitor.model, quiet=True)

    def _forward_begins(self) -> None:
        if self.monitor.model.training and torch.is_grad_enabled():
            self.monitor.begin()

    def _update_comes(self) -> None:
        self.monitor.before_update(self.optimizer, rate=get_rates(self.optimizer)[0])

    def _updated(self) -> None:
        self._early.undo()
        sample = self.monitor.after_update()
        self._before_call()
        if sample is not None and self._file is not None:
            self._file.append(sample)


def watch(
    model: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
    folder: str | os.PathLike[str] | None = None,
    every: int = 50,
    rows: int = 8,
    steps: int = 1000,
    dynamics: float = 0.05,
) -> Watch:
    """Sample how gradients flow through any torch model, in a training loop of one's own.

    Every step of the optimiser counts. A step is sampled between a call of the model in training mode and the
    optimiser's step after it; of several calls before one step, as where gradients are accumulated, the last.

    Args:
        model: what the loop calls.
        optimizer: an optimiser of torch's over its parameters.
        folder: where `insight.jsonl` is written, a line a sample; with None they stay in memory only.
        every, rows, steps, dynamics: see `Monitor`.

    Returns a `Watch`: its `samples`, and `stop()`.

    Raises `ArgumentError` for what is no torch module or optimiser.

    >>> model = torch.nn.LSTM(3, 8, batch_first=True)
    >>> optimizer = torch.optim.Adam(model.parameters())
    >>> watched = watch(model, optimizer, every=10)
    >>> for _ in range(3):
    ...     outputs, _ = model(torch.randn(4, 20, 3))
    ...     optimizer.zero_grad()
    ...     outputs[:, -1].square().mean().backward()
    ...     optimizer.step()
    >>> [sample.step for sample in watched.samples]
    [0, 1, 2]
    >>> watched.stop()
    """
    if not isinstance(model, torch.nn.Module):
        raise ArgumentError("watch: model", expected="a torch.nn.Module", got=type(model).__name__)
    if not isinstance(optimizer, torch.optim.Optimizer):
        fix = "With fit, give the callback: fit(..., callbacks=[rondeau.callbacks.Insight()])"
        raise ArgumentError("watch: optimizer", expected="a torch optimiser", got=type(optimizer).__name__, fix=fix)
    file = None if folder is None else SampleFile(Path(folder))
    return Watch(Monitor(model, every, rows, steps, dynamics), optimizer, file)
