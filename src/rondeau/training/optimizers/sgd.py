"""Optimisers whose step is a velocity or its sign."""

from __future__ import annotations

import torch

from rondeau.errors import ArgumentError
from rondeau.training.optimizers.base import Optimizer
from rondeau.training.optimizers.checks import fraction, number
from rondeau.training.optimizers.clipping import Tensors
from rondeau.training.optimizers.schedules import LearningRateSchedule


class SGD(Optimizer):
    """Gradient descent: `p -= rate * g`; with momentum `v = momentum * v - rate * g` and `p += v`.

    With `nesterov`, `p += momentum * v - rate * g`, v being the new one. The rate is inside the velocity, so a change
    of the rate acts on what is added from then on (torch.optim.SGD scales the whole velocity).

    Source: Sutskever et al., "On the importance of initialization and momentum in deep learning", 2013.
    """

    def __init__(
        self,
        learning_rate: float | LearningRateSchedule = 0.01,
        momentum: float = 0.0,
        nesterov: bool = False,
        weight_decay: float | None = None,
        clipnorm: float | None = None,
        clipvalue: float | None = None,
        global_clipnorm: float | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(learning_rate, weight_decay, clipnorm, clipvalue, global_clipnorm, name)
        self.momentum, self.nesterov = number("SGD", "momentum", momentum), nesterov
        if not 0 <= self.momentum <= 1:
            raise ArgumentError("momentum is out of range", expected="0 to 1", got=self.momentum, where="SGD")

    def slots(self) -> dict[str, float]:
        return {"momentum": 0.0} if self.momentum else {}

    def update(
        self, parameters: Tensors, gradients: Tensors, slots: dict[str, Tensors], rate: float, step: int
    ) -> None:
        if not self.momentum:
            torch._foreach_add_(parameters, gradients, alpha=-rate)
            return
        velocity = slots["momentum"]
        torch._foreach_mul_(velocity, self.momentum)
        torch._foreach_add_(velocity, gradients, alpha=-rate)
        if self.nesterov:
            torch._foreach_add_(parameters, gradients, alpha=-rate)
            torch._foreach_add_(parameters, velocity, alpha=self.momentum)
        else:
            torch._foreach_add_(parameters, velocity)


class Lion(Optimizer):
    """`p -= rate * sign(beta_1 * m + (1 - beta_1) * g)`, then `m = beta_2 * m + (1 - beta_2) * g`.

    Every entry moves by the rate, whatever the gradient's size: take a rate 3 to 10 times smaller than Adam's.

    Source: Chen et al., "Symbolic discovery of optimization algorithms", 2023.
    """

    def __init__(
        self,
        learning_rate: float | LearningRateSchedule = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.99,
        weight_decay: float | None = None,
        clipnorm: float | None = None,
        clipvalue: float | None = None,
        global_clipnorm: float | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(learning_rate, weight_decay, clipnorm, clipvalue, global_clipnorm, name)
        self.beta_1, self.beta_2 = number("Lion", "beta_1", beta_1), fraction("Lion", "beta_2", beta_2)
        if not 0 < self.beta_1 <= 1:  # at 0 only the gradient's sign is left
            raise ArgumentError("beta_1 is out of range", expected="above 0, up to 1", got=self.beta_1, where="Lion")

    def slots(self) -> dict[str, float]:
        return {"momentum": 0.0}

    def update(
        self, parameters: Tensors, gradients: Tensors, slots: dict[str, Tensors], rate: float, step: int
    ) -> None:
        momentum = slots["momentum"]
        direction = torch._foreach_mul(momentum, self.beta_1)
        torch._foreach_add_(direction, gradients, alpha=1 - self.beta_1)
        torch._foreach_sign_(direction)
        torch._foreach_add_(parameters, direction, alpha=-rate)
        torch._foreach_mul_(momentum, self.beta_2)
        torch._foreach_add_(momentum, gradients, alpha=1 - self.beta_2)
