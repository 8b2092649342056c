"""`watch`: a `Monitor` on a training loop of one's own, in one line."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from rondeau.errors import ArgumentError
from rondeau.insight.files import SampleFile
from rondeau.insight.monitor import Monitor
from rondeau.insight.updates import dense, norms
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
            model.register_forward_pre_hook(_Hook(self, "_forward_begins")),
            model.register_forward_hook(_Hook(self, "_forward_ends"), always_call=True),
            optimizer.register_step_pre_hook(self._update_comes),
            optimizer.register_step_post_hook(lambda *_: self._updated()),
        ]
        self._again = False
        self._unclipped: dict[int, float] = {}  # norms of gradients as backward passes leave them, by parameters' `id`
        self._counting: list[Any] = []
        self._early = Accelerated()
        self._before_call()

    @property
    def samples(self) -> list[Any]:
        return self.monitor.samples

    def stop(self) -> None:
        """Leave the model and the optimiser as they were; the samples stay."""
        self.monitor.cancel()
        self._stop_counting()
        self._early.undo()
        while self._hooks:
            self._hooks.pop().remove()

    def _before_call(self) -> None:
        """A recurrent module that is the whole model has to be on scans before it is called."""
        if isinstance(self.monitor.model, torch.nn.RNNBase) and self.monitor.due:
            self._early = accelerate(self.monitor.model, quiet=True)

    def _forward_begins(self) -> None:
        if self.monitor.model.training and torch.is_grad_enabled() and not self._again:
            self.monitor.begin()
            self._count_gradients()

    def _count_gradients(self) -> None:
        """Of a step that is sampled, note each gradient's norm before anyone can clip it."""
        self._stop_counting()
        self._unclipped.clear()
        if self.monitor.due:
            for weight in self.monitor.model.parameters():
                if weight.requires_grad and weight.is_leaf:
                    hook = weight.register_post_accumulate_grad_hook(_Accumulated(self))  # type: ignore[no-untyped-call]
                    self._counting.append(hook)

    def _stop_counting(self) -> None:
        while self._counting:
            self._counting.pop().remove()

    def _forward_ends(self) -> None:
        self.monitor.forward_over()

    def _update_comes(self, _: Any, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
        closure = args[1] if len(args) > 1 else options.get("closure")  # args[0]: the optimiser itself
        if closure is None:
            self._measure()
            return None
        closure = self._measuring(closure)
        return ((args[0], closure, *args[2:]), options) if len(args) > 1 else (args, {**options, "closure": closure})

    def _measuring(self, closure: Callable[[], Any]) -> Callable[[], Any]:
        """The closure, measured the first time: of what an optimiser like LBFGS tries afterwards nothing is taken."""
        calls = 0

        def measured() -> Any:
            nonlocal calls
            calls += 1
            self._again = calls > 1
            try:
                loss = closure()
            finally:
                self._again = False
            if calls == 1:
                self._measure()
            return loss

        return measured

    def _measure(self) -> None:
        self._stop_counting()
        self.monitor.before_update(self.optimizer, rate=get_rates(self.optimizer)[0], unclipped=self._unclipped)

    def _updated(self) -> None:
        self._early.undo()
        sample = self.monitor.after_update()
        self._before_call()
        if sample is not None and self._file is not None:
            self._file.append(sample)


class _Hook:
    """A hook of the one model it was made for; in a copy of that model, or one that was saved, it does nothing."""

    def __init__(self, owner: Watch | None = None, name: str = "") -> None:
        self.owner, self.name = owner, name

    def __call__(self, *_: Any) -> None:
        if self.owner is not None:
            getattr(self.owner, self.name)()

    def __reduce__(self) -> tuple[type[_Hook], tuple[()]]:
        return _Hook, ()


class _Accumulated:
    """A hook on gradients that takes their norm; in a copy of its parameter, or one that was saved, it does nothing."""

    def __init__(self, owner: Watch | None = None) -> None:
        self.owner = owner

    def __call__(self, weight: torch.Tensor) -> None:
        if self.owner is not None and weight.grad is not None:
            self.owner._unclipped[id(weight)] = norms([dense(weight.grad)])[0]

    def __reduce__(self) -> tuple[type[_Accumulated], tuple[()]]:
        return _Accumulated, ()


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
        optimizer: an optimiser of torch's over its parameters; of several the one whose step comes first, since what
            was changed before the step cannot be measured. Updates are known of its own parameters.
        folder: where `insight.jsonl` is written, a line a sample; with None they stay in memory only.
        every, rows, steps, dynamics: see `Monitor`.

    Norms of gradients are those the backward pass left. Where one is smaller when the optimiser's step begins, the
    update counts as clipped; so does what a gradient scaler takes back.

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
