"""One update with each of many rising rates, of which no trace is left."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from copy import copy, deepcopy
from typing import Any

import numpy as np
import torch

from rondeau.errors import ArgumentError, NotCompiledError
from rondeau.insight.undisturbed import device_of, states_kept
from rondeau.training.callbacks.base import Callback, Logs
from rondeau.training.callbacks.learning_rate import get_rates, set_rates
from rondeau.training.checkpoint import load_random_state, random_state
from rondeau.training.optimizers import Optimizer
from rondeau.training.optimizers.schedules import LearningRateSchedule
from rondeau.training.stream import own_generators


class Sweep:
    """Rates that rise, the losses after them, and when there is no more to learn."""

    def __init__(self, low: float, high: float, steps: int) -> None:
        self.rates: list[float] = [low * (high / low) ** (i / max(steps - 1, 1)) for i in range(steps)]
        self.losses: list[float] = []
        self.first: float | None = None
        self.over = False

    def take(self, loss: float) -> bool:
        """Note the loss that came of the rates so far; whether there is another to try."""
        if self.first is None:
            self.first = loss
            return math.isfinite(loss)
        self.losses.append(loss)
        self.over = self._explodes(loss)
        return len(self.losses) < len(self.rates) and not self.over

    @property
    def rate(self) -> float:
        """The next one."""
        return float(self.rates[min(len(self.losses), len(self.rates) - 1)])

    def _explodes(self, loss: float) -> bool:
        if not math.isfinite(loss):
            return True
        if len(self.losses) < 5:
            return False
        best, begin = min(self.losses), float(np.mean(self.losses[:5]))
        return min(self.losses[-3:]) > begin + 3 * max(begin - best, abs(begin) / 3)


class _Rate(LearningRateSchedule):
    """The rate of the sweep, whatever the step."""

    def __init__(self, sweep: Sweep) -> None:
        self.sweep = sweep

    def __call__(self, step: int) -> float:
        return self.sweep.rate


class _Follow(Callback):
    """Tells the sweep each batch's loss, and ends `fit` with it."""

    def __init__(self, sweep: Sweep, prepared: Callable[[], None], torchs: Callable[[], None]) -> None:
        self.sweep, self.prepared, self.torchs = sweep, prepared, torchs

    def on_train_begin(self, logs: Logs) -> None:
        self.prepared()

    def on_before_update(self, batch: int, logs: Logs) -> None:
        self._take(float(logs["loss"]))
        self.torchs()

    def on_numerics_error(self, error: Any, logs: Logs) -> bool:
        self._take(math.inf)
        return True

    def _take(self, loss: float) -> None:
        if not self.sweep.take(loss):
            self.model.stop_training = True


def sweep_fit(model: Any, x: Any, y: Any, sweep: Sweep, options: dict[str, Any]) -> None:
    """By `fit`, with a copy of the model's optimiser; what was there before is put back, whatever happens."""
    known = ("batch_size", "sample_weight", "class_weight", "window", "shuffle", "steps_per_epoch")
    for name in options:
        if name not in known:
            expected = ", ".join(known)
            raise ArgumentError(f"find_learning_rate has no argument {name!r}", expected=f"of fit's: {expected}")
    if model.trainer is None:
        raise NotCompiledError(f"{type(model).__name__} is not compiled", fix="Call compile(optimizer, loss) first")
    if isinstance(x, Iterator):
        fix = "Give arrays, a list, a DataLoader, or an iterable that can be begun again"
        raise ArgumentError("find_learning_rate: a generator can be read only once", got=type(x).__name__, fix=fix)
    trainer = model.trainer
    own = trainer.optimizer
    with ExitStack() as stack:
        for generator in own_generators(x):
            stack.callback(generator.set_state, generator.get_state())
        stack.callback(load_random_state, model, random_state(model, trainer.device))
        for name in ("history", "stop_training"):
            stack.callback(setattr, model, name, getattr(model, name))
        stack.callback(setattr, trainer, "optimizer", own)
        stack.callback(_put_back_metrics, trainer.objective, trainer.objective.state_dict())
        stack.callback(model.load_states, {name: state.clone() for name, state in model.states().items()})
        for module in model.modules():
            stack.callback(setattr, module, "training", module.training)

        def torchs() -> None:
            if not isinstance(own, Optimizer):
                _set_first(own, sweep.rate)

        def prepared() -> None:
            _keep(stack, model, None if isinstance(own, Optimizer) else own)
            if isinstance(own, Optimizer):
                trainer.optimizer = _twin(own, model, sweep)

        follow = _Follow(sweep, prepared, torchs)
        model.fit(x, y, epochs=10**9, verbose=0, callbacks=[follow], **options)


def _put_back_metrics(objective: Any, state: dict[str, torch.Tensor]) -> None:
    if state:
        objective.load_state_dict(state)
    else:  # there were none yet
        objective.reset()


def _twin(own: Optimizer, model: Any, sweep: Sweep) -> Optimizer:
    """An optimiser in the state of another, with slots of its own, whose rate is the sweep's."""
    twin = copy(own)
    twin.built = False
    twin.build(model.named_parameters())
    twin.load_state_dict(own.state_dict())
    twin.learning_rate = _Rate(sweep)
    return twin


def _keep(stack: ExitStack, module: torch.nn.Module, optimizer: Any) -> None:
    """Have weights, gradients and a torch optimiser put back when the stack unwinds."""
    weights = {name: value.clone() for name, value in module.state_dict().items() if isinstance(value, torch.Tensor)}
    stack.callback(module.load_state_dict, weights, strict=False)
    for buffer in module.buffers():  # those too of which a state dict knows nothing
        stack.callback(_copy, buffer, buffer.detach().clone())
    for weight in module.parameters():
        stack.callback(setattr, weight, "grad", None if weight.grad is None else weight.grad.clone())
    if optimizer is not None:
        stack.callback(optimizer.load_state_dict, deepcopy(optimizer.state_dict()))


def _copy(buffer: torch.Tensor, values: torch.Tensor) -> None:
    with torch.no_grad():
        buffer.copy_(values)


def sweep_closure(module: torch.nn.Module, optimizer: Any, closure: Any, sweep: Sweep) -> None:
    """Of a plain module, whose training step is `closure`; what was there before is put back, whatever happens."""
    with ExitStack() as stack:
        stack.callback(load_random_state, module, random_state(module, device_of(module)))
        stack.enter_context(states_kept(module))
        for part in module.modules():
            stack.callback(setattr, part, "training", part.training)
        _keep(stack, module, optimizer)
        module.train()
        while True:
            loss = closure()
            if loss is None:
                fix = "End it with: loss.backward(); return loss"
                raise ArgumentError("find_learning_rate: closure gives no loss", expected="a number", got=None, fix=fix)
            if not sweep.take(float(torch.as_tensor(loss).detach())):
                return
            _set_first(optimizer, sweep.rate)
            optimizer.step()


def _set_first(optimizer: Any, rate: float) -> None:
    """Set the rate of the first parameter group, the others' in proportion."""
    before = get_rates(optimizer)
    set_rates(optimizer, [rate * own / before[0] if before[0] else rate for own in before])
