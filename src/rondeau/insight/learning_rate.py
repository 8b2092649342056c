"""`find_learning_rate`: a sweep of rates that shows where a model learns, and where its training falls apart."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from inspect import Parameter, signature
from typing import Any

import numpy as np
import torch

from rondeau.errors import ArgumentError
from rondeau.insight.sweep import Sweep, sweep_closure, sweep_fit
from rondeau.models.model import Model

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
    sweep = Sweep(low, high, steps)
    if isinstance(model, Model):
        if optimizer is not None or closure is not None:
            fix = "Give x and y, as to fit; compile has said the optimiser"
            raise ArgumentError("find_learning_rate: optimizer and closure are for plain torch modules", fix=fix)
        sweep_fit(model, x, y, sweep, options)
    else:
        _check_module(model, x, y, optimizer, closure, options)
        sweep_closure(model, optimizer, closure, sweep)
    return judge(sweep.rates[: len(sweep.losses)], sweep.losses, sweep.over)


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
    if isinstance(optimizer, torch.optim.Optimizer) and _needs_closure(optimizer):
        what = "find_learning_rate: an optimiser that calls the model itself, several times a step"
        raise ArgumentError(what, expected="one like SGD or Adam", got=type(optimizer).__name__)


def _needs_closure(optimizer: torch.optim.Optimizer) -> bool:
    closure = signature(type(optimizer).step).parameters.get("closure")
    return closure is not None and closure.default is Parameter.empty


def judge(rates: list[float], losses: list[float], over: bool = False) -> LearningRates:
    """What a curve of losses over rates, a constant factor apart, says; `over`: it ends because the loss diverged."""
    if not losses:
        return LearningRates([], [], [], None, None, None, None, "the loss is not finite, even before any update")
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
    # what explodes later on is not to raise the means before it
    values = np.minimum(values, early.max() + 2 * (early.max() - values.min()))
    places = np.arange(len(values))
    weights = np.exp(-0.5 * ((places[:, None] - places) / _WIDTH) ** 2)
    weights /= weights.sum(1, keepdims=True)
    calm = np.diff(early)
    single = float(np.sqrt(np.mean(calm**2) / 2)) if len(calm) else 0.0
    return list((weights @ values).tolist()), single * float(np.sqrt((weights[len(values) // 2] ** 2).sum()))
