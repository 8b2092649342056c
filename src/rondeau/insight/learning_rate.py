"""`find_learning_rate`: a sweep of rates that shows where a model learns, and where its training falls apart."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from copy import copy, deepcopy
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from rondeau.errors import ArgumentError, NotCompiledError
from rondeau.insight.undisturbed import device_of
from rondeau.models.model import Model
from rondeau.training.callbacks.base import Callback, Logs
from rondeau.training.callbacks.learning_rate import get_rates, set_rates
from rondeau.training.checkpoint import load_random_state, random_state
from rondeau.training.optimizers import Optimizer
from rondeau.training.optimizers.schedules import LearningRateSchedule
from rondeau.training.stream import own_generators

_WIDTH = 4.0  # of the smoothing, in rates: standard deviation
_FALLEN = 0.9  # share of the fall that has been made at the suggestion
_SURE = 3.0  # standard deviations by which a fall stands out


@dataclass(frozen=True)
class LearningRates:
    """What a range test found.

    Attributes:
        rates: those tried, rising, a constant factor apart.
        losses: of the batch after the update with each rate.
        smoothed: the same, each a mean over its neighbours.
        suggestion: where the smoothed loss has made nine tenths of its fall, `ceiling` at most: the rate to begin with.
            Where no fall stands out from the noise, `ceiling`; None where that is unknown, too.
        steepest: where it falls most steeply, which noise moves more easily; None where no fall stands out.
        ceiling: a tenth of `diverged`; training at a higher rate may fall apart at any time.
        diverged: where the smoothed loss has risen well above where it began, for good; None where it has not.
        reason: in words.
    """

    rates: list[float]
    losses: list[float]
    smoothed: list[float]
    suggestion: float | None
    steepest: float | None
    ceiling: float | None
    diverged: float | None
    reason: str


def find_learning_rate(
    model: Any,
    x: Any = None,
    y: Any = None,
    *,
    low: float = 1e-6,
    high: float = 10.0,
    steps: int = 100,
    optimizer: Any = None,
    closure: Callable[[], Any] | None = None,
    **options: Any,
) -> LearningRates:
    """The learning-rate range test of Smith (2017, arXiv 1506.01186): one update with each of many rising rates.

    The rates rise by a constant factor from `low` to `high`; the test ends early where the loss has plainly diverged.
    Weights, optimiser, states, random numbers, metrics and mode are afterwards what they were; a model without weights
    gets them.

    Args:
        model: a compiled model of Rondeau, whose optimiser is used, its schedule and rate aside; or any
            `torch.nn.Module`, with `optimizer` and `closure`.
        x, y: data as for `fit`, but no generator, which can be read only once.
        low, high: the first rate and the last.
        steps: how many rates are tried.
        optimizer: a torch optimiser of the module's parameters. Where its groups have several rates they keep their
            proportions, and the rates here are the first group's.
        closure: makes a training step's forward and backward pass, gradients cleared before, and gives the loss.
        options: those of `fit` that say what a step is: batch_size, sample_weight, class_weight, window, shuffle,
            steps_per_epoch.

    Returns `LearningRates`: the curve, a rate to begin with, and one not to exceed.

    Raises `NotCompiledError`, `ArgumentError` for arguments that do not fit, and what `fit` raises of the data.

    >>> from rondeau import Sequential, layers
    >>> from rondeau.optimizers import Adam
    >>> model = Sequential([layers.Input((None, 1)), layers.LSTM(8), layers.Dense(1)])
    >>> model.compile(Adam(), "mse")
    >>> x = torch.randn(64, 10, 1, generator=torch.Generator().manual_seed(0))
    >>> found = find_learning_rate(model, x, x.sum(1), steps=60)
    >>> len(found.rates) == len(found.losses) <= 60
    True
    """
    _check(low, high, steps)
    sweep = _Sweep(low, high, steps)
    if isinstance(model, Model):
        if optimizer is not None or closure is not None:
            fix = "Give x and y, as to fit; compile has said the optimiser"
            raise ArgumentError("find_learning_rate: optimizer and closure are for plain torch modules", fix=fix)
        _sweep_fit(model, x, y, sweep, options)
    else:
        _check_module(model, x, y, optimizer, closure, options)
        _sweep_closure(model, optimizer, closure, sweep)
    return judge(sweep.rates[: len(sweep.losses)], sweep.losses, sweep.over)


class _Sweep:
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

    def __init__(self, sweep: _Sweep) -> None:
        self.sweep = sweep

    def __call__(self, step: int) -> float:
        return self.sweep.rate


class _Follow(Callback):
    """Tells the sweep each batch's loss, and ends `fit` with it."""

    def __init__(self, sweep: _Sweep, prepared: Callable[[], None], torchs: Callable[[], None]) -> None:
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


def _sweep_fit(model: Any, x: Any, y: Any, sweep: _Sweep, options: dict[str, Any]) -> None:
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


def _twin(own: Optimizer, model: Any, sweep: _Sweep) -> Optimizer:
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
    for weight in module.parameters():
        stack.callback(setattr, weight, "grad", None if weight.grad is None else weight.grad.clone())
    if optimizer is not None:
        stack.callback(optimizer.load_state_dict, deepcopy(optimizer.state_dict()))


def _sweep_closure(module: torch.nn.Module, optimizer: Any, closure: Any, sweep: _Sweep) -> None:
    with ExitStack() as stack:
        stack.callback(load_random_state, module, random_state(module, device_of(module)))
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


def _check(low: Any, high: Any, steps: Any) -> None:
    numbers = all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in (low, high))
    if not numbers or not 0 < low < high < math.inf:
        expected, got = "0 < low < high", f"low={low!r}, high={high!r}"
        raise ArgumentError("find_learning_rate: low and high", expected=expected, got=got)
    if not isinstance(steps, int) or isinstance(steps, bool) or steps < 20:
        raise ArgumentError("find_learning_rate: steps", expected="a whole number, at least 20", got=repr(steps))


def _check_module(model: Any, x: Any, y: Any, optimizer: Any, closure: Any, options: dict[str, Any]) -> None:
    if not isinstance(model, torch.nn.Module):
        expected = "a model of Rondeau or a torch.nn.Module"
        raise ArgumentError("find_learning_rate: model", expected=expected, got=type(model).__name__)
    fix = "find_learning_rate(module, optimizer=optimizer, closure=closure)"
    if x is not None or y is not None or options:
        what = "find_learning_rate: of a plain torch module the closure reads the data"
        raise ArgumentError(what, got=", ".join(["x, y"] * (x is not None or y is not None) + list(options)), fix=fix)
    if not hasattr(optimizer, "param_groups") or not callable(closure):
        got = f"optimizer={type(optimizer).__name__}, closure={type(closure).__name__}"
        expected = "a torch optimiser, and a function"
        raise ArgumentError("find_learning_rate: optimizer and closure", expected=expected, got=got, fix=fix)


def judge(rates: list[float], losses: list[float], over: bool = False) -> LearningRates:
    """What a curve of losses over rates, a constant factor apart, says; `over`: it ends because the loss diverged."""
    finite = [loss for loss in losses if math.isfinite(loss)]
    smoothed, noise = _smoothed(finite)
    shown = smoothed + [math.inf] * (len(losses) - len(finite))
    begin = float(np.mean(finite[: max(len(rates) // 4, 3)])) if finite else math.nan
    lowest = int(np.argmin(smoothed)) if smoothed else 0
    fall = begin - smoothed[lowest] if smoothed else 0.0
    diverged = rates[min(len(finite), len(rates) - 1)] if over or len(finite) < len(losses) else None
    for i in range(len(smoothed) - 1, lowest, -1):
        if smoothed[i] <= begin + max(fall, _SURE * noise):
            break
        diverged = rates[i]
    ceiling = None if diverged is None else diverged / 10
    if lowest and fall > max(_SURE * noise, 1e-6 * abs(begin)):
        steepest = rates[int(np.argmin(np.gradient(np.asarray(smoothed[: lowest + 1]))))]
        nearly = lowest
        while nearly and smoothed[nearly - 1] < begin - _FALLEN * fall:
            nearly -= 1
        suggestion = rates[nearly] if ceiling is None else min(rates[nearly], ceiling)
        end = "nothing diverged" if diverged is None else f"it has diverged at {diverged:.2g}"
        reason = (
            f"the loss falls most steeply at {steepest:.2g}, has made nine tenths of its fall at {rates[nearly]:.2g}, "
            f"is lowest at {rates[lowest]:.2g}; {end}"
        )
        return LearningRates(rates, losses, shown, suggestion, steepest, ceiling, diverged, reason)
    if ceiling is not None and ceiling > rates[0]:
        reason = f"no fall stands out from the batches' noise; {ceiling:.2g} is a tenth of where the loss diverged"
        return LearningRates(rates, losses, shown, ceiling, None, ceiling, diverged, reason)
    reason = "the loss fell at no rate that was tried: try " + (
        "lower ones" if diverged else "higher ones, or more steps"
    )
    return LearningRates(rates, losses, shown, None, None, ceiling, diverged, reason)


def _smoothed(losses: list[float]) -> tuple[list[float], float]:
    """Each loss as a mean over its neighbours, weighted by a Gaussian; and the standard deviation of such a mean.

    The latter from the differences between neighbours in the curve's first half, where little is learnt.
    """
    if not losses:
        return [], 0.0
    values = np.asarray(losses, np.float64)
    early = values[: max(len(values) // 2, 3)]
    values = np.minimum(
        values, early.max() + 2 * (early.max() - values.min())
    )  # an explosion is no neighbour's business
    places = np.arange(len(values))
    weights = np.exp(-0.5 * ((places[:, None] - places) / _WIDTH) ** 2)
    weights /= weights.sum(1, keepdims=True)
    calm = np.diff(early)
    single = float(np.sqrt(np.mean(calm**2) / 2)) if len(calm) else 0.0
    return list((weights @ values).tolist()), single * float(np.sqrt((weights[len(values) // 2] ** 2).sum()))
