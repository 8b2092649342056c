"""Learning rates that follow the number of steps taken: names, arguments and values as in Keras 3.

Each is called with the number of steps taken so far (0 at the first one) and gives the rate of the next as a float.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from bisect import bisect_left
from collections.abc import Sequence

from rondeau.config import Configurable
from rondeau.errors import ArgumentError
from rondeau.training.optimizers.checks import number, positive


class LearningRateSchedule(Configurable, ABC):
    """Base of every schedule. Your own one writes `__call__(self, step) -> float`."""

    @abstractmethod
    def __call__(self, step: int) -> float:
        """The learning rate for the step that follows `step` finished ones."""


class ExponentialDecay(LearningRateSchedule):
    """`initial_learning_rate * decay_rate ** (step / decay_steps)`; `staircase` floors the exponent.

    >>> ExponentialDecay(0.1, decay_steps=100, decay_rate=0.5)(200)
    0.025
    """

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: int,
        decay_rate: float,
        staircase: bool = False,
        name: str = "ExponentialDecay",
    ) -> None:
        self.initial_learning_rate = number(name, "initial_learning_rate", initial_learning_rate)
        self.decay_steps = positive(name, "decay_steps", decay_steps)
        self.decay_rate = number(name, "decay_rate", decay_rate)
        self.staircase, self.name = staircase, name

    def __call__(self, step: int) -> float:
        return self.initial_learning_rate * float(self.decay_rate ** _decays(step, self.decay_steps, self.staircase))


class InverseTimeDecay(LearningRateSchedule):
    """`initial_learning_rate / (1 + decay_rate * step / decay_steps)`; `staircase` floors `step / decay_steps`."""

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: int,
        decay_rate: float,
        staircase: bool = False,
        name: str = "InverseTimeDecay",
    ) -> None:
        self.initial_learning_rate = number(name, "initial_learning_rate", initial_learning_rate)
        self.decay_steps = positive(name, "decay_steps", decay_steps)
        self.decay_rate = number(name, "decay_rate", decay_rate)
        self.staircase, self.name = staircase, name

    def __call__(self, step: int) -> float:
        return self.initial_learning_rate / (1 + self.decay_rate * _decays(step, self.decay_steps, self.staircase))


class PiecewiseConstantDecay(LearningRateSchedule):
    """`values[0]` up to and including step `boundaries[0]`, `values[1]` up to `boundaries[1]`, ..., then `values[-1]`.

    Args:
        boundaries: rising step numbers.
        values: one rate more than there are boundaries.
    """

    def __init__(self, boundaries: Sequence[float], values: Sequence[float], name: str = "PiecewiseConstant") -> None:
        self.boundaries = [number(name, f"boundaries[{i}]", value) for i, value in enumerate(boundaries)]
        self.values = [number(name, f"values[{i}]", value) for i, value in enumerate(values)]
        self.name = name
        if len(self.values) != len(self.boundaries) + 1:
            raise ArgumentError(
                "values and boundaries do not fit together",
                expected=f"{len(self.boundaries) + 1} values for {len(self.boundaries)} boundaries",
                got=len(self.values),
                where=name,
            )
        if any(low >= high for low, high in zip(self.boundaries, self.boundaries[1:], strict=False)):
            raise ArgumentError("the boundaries do not rise", got=self.boundaries, where=name)

    def __call__(self, step: int) -> float:
        return self.values[bisect_left(self.boundaries, step)]


class PolynomialDecay(LearningRateSchedule):
    """From `initial_learning_rate` to `end_learning_rate` along `(1 - step / decay_steps) ** power`, then constant.

    With `cycle`, `decay_steps` grows to its next multiple each time `step` passes it, and the rate rises again.
    """

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: int,
        end_learning_rate: float = 0.0001,
        power: float = 1.0,
        cycle: bool = False,
        name: str = "PolynomialDecay",
    ) -> None:
        self.initial_learning_rate = number(name, "initial_learning_rate", initial_learning_rate)
        self.decay_steps = positive(name, "decay_steps", decay_steps)
        self.end_learning_rate = number(name, "end_learning_rate", end_learning_rate)
        self.power = positive(name, "power", power)
        self.cycle, self.name = cycle, name

    def __call__(self, step: int) -> float:
        if self.cycle:
            done = step / (self.decay_steps * max(1, math.ceil(step / self.decay_steps)))
        else:
            done = min(step / self.decay_steps, 1.0)
        span = self.initial_learning_rate - self.end_learning_rate
        return span * float((1 - done) ** self.power) + self.end_learning_rate


class CosineDecay(LearningRateSchedule):
    """Half a cosine from the top down to `alpha` times it in `decay_steps`, after a linear warm-up where wanted.

    Args:
        initial_learning_rate: where the decay begins, or the warm-up if there is one.
        decay_steps: how long the decay lasts, after the warm-up.
        alpha: the last rate, as a share of the top one.
        warmup_target: the top of a linear warm-up, from which the cosine then falls; None: no warm-up at all.
        warmup_steps: how long the warm-up lasts; read only where `warmup_target` is given, as in Keras.

    Source: Loshchilov and Hutter, "SGDR: stochastic gradient descent with warm restarts", 2017, without the restarts.

    >>> CosineDecay(0.0, decay_steps=100, warmup_target=0.1, warmup_steps=10)(5)
    0.05
    """

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: int,
        alpha: float = 0.0,
        name: str = "CosineDecay",
        warmup_target: float | None = None,
        warmup_steps: int = 0,
    ) -> None:
        self.initial_learning_rate = number(name, "initial_learning_rate", initial_learning_rate)
        self.decay_steps = positive(name, "decay_steps", decay_steps)
        self.alpha = number(name, "alpha", alpha)
        self.name = name
        self.warmup_target = None if warmup_target is None else number(name, "warmup_target", warmup_target)
        self.warmup_steps = number(name, "warmup_steps", warmup_steps)

    def __call__(self, step: int) -> float:
        if self.warmup_target is None:
            return self._fall(self.initial_learning_rate, step)
        if step < self.warmup_steps:
            rise = self.warmup_target - self.initial_learning_rate
            return self.initial_learning_rate + rise * (step / self.warmup_steps)
        return self._fall(self.warmup_target, step - self.warmup_steps)

    def _fall(self, top: float, step: float) -> float:
        cosine = 0.5 * (1 + math.cos(math.pi * min(step / self.decay_steps, 1.0)))
        return top * ((1 - self.alpha) * cosine + self.alpha)


def _decays(step: int, decay_steps: float, staircase: bool) -> float:
    """How many times the rate has decayed: a fraction, or whole times on a staircase."""
    return step // decay_steps if staircase else step / decay_steps
