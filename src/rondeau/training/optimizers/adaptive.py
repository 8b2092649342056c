"""Optimisers that divide each gradient by the root of its own past squares, epsilon inside the root as in Keras."""

from __future__ import annotations

import torch

from rondeau.training.optimizers.base import Optimizer
from rondeau.training.optimizers.checks import fraction, not_negative
from rondeau.training.optimizers.clipping import Tensors
from rondeau.training.optimizers.schedules import LearningRateSchedule


class RMSprop(Optimizer):
    """`v = rho * v + (1 - rho) * g²`, `p -= rate * g / sqrt(v + epsilon)`.

    With `momentum`, `b = momentum * b + rate * g / sqrt(v + epsilon)` and `p -= b`. With `centered`, the square of the
    mean gradient is taken off v, which leaves the variance. Where rounding makes that negative it counts as zero (Keras
    gives NaN there: about 140 steps on a constant gradient of size 1 suffice).

    Source: Hinton, "Neural networks for machine learning", lecture 6e, 2012; centred: Graves, "Generating sequences
    with recurrent neural networks", 2013.
    """

    def __init__(
        self,
        learning_rate: float | LearningRateSchedule = 0.001,
        rho: float = 0.9,
        momentum: float = 0.0,
        epsilon: float = 1e-7,
        centered: bool = False,
        weight_decay: float | None = None,
        clipnorm: float | None = None,
        clipvalue: float | None = None,
        global_clipnorm: float | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(learning_rate, weight_decay, clipnorm, clipvalue, global_clipnorm, name)
        self.rho = fraction("RMSprop", "rho", rho)
        self.momentum = fraction("RMSprop", "momentum", momentum)
        self.epsilon = not_negative("RMSprop", "epsilon", epsilon)
        self.centered = centered

    def slots(self) -> dict[str, float]:
        kept = {"velocity": True, "momentum": self.momentum > 0, "average_gradient": self.centered}
        return {slot: 0.0 for slot, wanted in kept.items() if wanted}

    def update(
        self, parameters: Tensors, gradients: Tensors, slots: dict[str, Tensors], rate: float, step: int
    ) -> None:
        velocity = slots["velocity"]
        torch._foreach_mul_(velocity, self.rho)
        torch._foreach_addcmul_(velocity, gradients, gradients, value=1 - self.rho)
        if self.centered:
            mean = slots["average_gradient"]
            torch._foreach_lerp_(mean, gradients, 1 - self.rho)
            size = torch._foreach_addcmul(velocity, mean, mean, value=-1)
            torch._foreach_clamp_min_(size, 0.0)
            torch._foreach_add_(size, self.epsilon)
        else:
            size = torch._foreach_add(velocity, self.epsilon)
        torch._foreach_sqrt_(size)
        if self.momentum > 0:
            torch._foreach_mul_(slots["momentum"], self.momentum)
            torch._foreach_addcdiv_(slots["momentum"], gradients, size, value=rate)
            torch._foreach_add_(parameters, slots["momentum"], alpha=-1)
        else:
            torch._foreach_addcdiv_(parameters, gradients, size, value=-rate)


class Adagrad(Optimizer):
    """`a += g²`, `p -= rate * g / sqrt(a + epsilon)`, with a beginning at `initial_accumulator_value`.

    Source: Duchi, Hazan and Singer, "Adaptive subgradient methods for online learning", 2011.
    """

    def __init__(
        self,
        learning_rate: float | LearningRateSchedule = 0.001,
        initial_accumulator_value: float = 0.1,
        epsilon: float = 1e-7,
        weight_decay: float | None = None,
        clipnorm: float | None = None,
        clipvalue: float | None = None,
        global_clipnorm: float | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(learning_rate, weight_decay, clipnorm, clipvalue, global_clipnorm, name)
        self.initial_accumulator_value = not_negative("Adagrad", "initial_accumulator_value", initial_accumulator_value)
        self.epsilon = not_negative("Adagrad", "epsilon", epsilon)

    def slots(self) -> dict[str, float]:
        return {"accumulator": self.initial_accumulator_value}

    def update(
        self, parameters: Tensors, gradients: Tensors, slots: dict[str, Tensors], rate: float, step: int
    ) -> None:
        torch._foreach_addcmul_(slots["accumulator"], gradients, gradients)
        size = torch._foreach_add(slots["accumulator"], self.epsilon)
        torch._foreach_sqrt_(size)
        torch._foreach_addcdiv_(parameters, gradients, size, value=-rate)


class Adadelta(Optimizer):
    """`d = g * sqrt(D + epsilon) / sqrt(G + epsilon)` and `p -= rate * d`, where G and D are means of g² and of d².

    The paper has no rate: `learning_rate=1.0` is its form.

    Source: Zeiler, "ADADELTA: an adaptive learning rate method", 2012.
    """

    def __init__(
        self,
        learning_rate: float | LearningRateSchedule = 0.001,
        rho: float = 0.95,
        epsilon: float = 1e-7,
        weight_decay: float | None = None,
        clipnorm: float | None = None,
        clipvalue: float | None = None,
        global_clipnorm: float | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(learning_rate, weight_decay, clipnorm, clipvalue, global_clipnorm, name)
        self.rho = fraction("Adadelta", "rho", rho)
        self.epsilon = not_negative("Adadelta", "epsilon", epsilon)

    def slots(self) -> dict[str, float]:
        return {"accumulated_grad": 0.0, "accumulated_delta_var": 0.0}

    def update(
        self, parameters: Tensors, gradients: Tensors, slots: dict[str, Tensors], rate: float, step: int
    ) -> None:
        grads, deltas = slots["accumulated_grad"], slots["accumulated_delta_var"]
        torch._foreach_mul_(grads, self.rho)
        torch._foreach_addcmul_(grads, gradients, gradients, value=1 - self.rho)
        delta = torch._foreach_add(deltas, self.epsilon)
        torch._foreach_div_(delta, torch._foreach_add(grads, self.epsilon))
        torch._foreach_sqrt_(delta)
        torch._foreach_mul_(delta, gradients)
        torch._foreach_mul_(deltas, self.rho)
        torch._foreach_addcmul_(deltas, delta, delta, value=1 - self.rho)
        torch._foreach_add_(parameters, delta, alpha=-rate)
