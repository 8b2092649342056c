"""Adam and its kin: a mean of the gradients over a measure of their size, both corrected for their start at zero.

As in Keras, epsilon is the "epsilon hat" of the paper's section 2: it is added after the square root and is not divided
by the bias correction, which goes into the rate. Bias corrections are computed in float64, whatever the parameters are.
That is 2e-5 nearer the truth at the first steps than Keras in float32, where 1 - beta_2 cancels.
"""

from __future__ import annotations

import math

import torch

from rondeau.errors import ArgumentError
from rondeau.training.optimizers.base import Optimizer
from rondeau.training.optimizers.checks import fraction, not_negative
from rondeau.training.optimizers.clipping import Tensors
from rondeau.training.optimizers.schedules import LearningRateSchedule


class Adam(Optimizer):
    """`m`, `v`: means of g and g²; `p -= rate * sqrt(1 - beta_2^t) / (1 - beta_1^t) * m / (sqrt(v) + epsilon)`.

    With `amsgrad`, the largest v so far stands in the place of v.

    Source: Kingma and Ba, "Adam: a method for stochastic optimization", 2015; AMSGrad: Reddi et al., "On the
    convergence of Adam and beyond", 2018.
    """

    def __init__(
        self,
        learning_rate: float | LearningRateSchedule = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        amsgrad: bool = False,
        weight_decay: float | None = None,
        clipnorm: float | None = None,
        clipvalue: float | None = None,
        global_clipnorm: float | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(learning_rate, weight_decay, clipnorm, clipvalue, global_clipnorm, name)
        where = type(self).__name__
        self.beta_1, self.beta_2 = fraction(where, "beta_1", beta_1), fraction(where, "beta_2", beta_2)
        self.epsilon = not_negative(where, "epsilon", epsilon)
        self.amsgrad = amsgrad

    def slots(self) -> dict[str, float]:
        return {"momentum": 0.0, "velocity": 0.0} | ({"velocity_hat": 0.0} if self.amsgrad else {})

    def update(
        self, parameters: Tensors, gradients: Tensors, slots: dict[str, Tensors], rate: float, step: int
    ) -> None:
        momentum, velocity = slots["momentum"], slots["velocity"]
        _average(momentum, velocity, gradients, self.beta_1, self.beta_2)
        if self.amsgrad:
            torch._foreach_maximum_(slots["velocity_hat"], velocity)
            velocity = slots["velocity_hat"]
        size = torch._foreach_sqrt(velocity)
        torch._foreach_add_(size, self.epsilon)
        rate = rate * math.sqrt(1 - self.beta_2**step) / (1 - self.beta_1**step)
        torch._foreach_addcdiv_(parameters, momentum, size, value=-rate)


class AdamW(Adam):
    """Adam with weight decay: each step first takes `rate * weight_decay * p` off, apart from Adam's means.

    Source: Loshchilov and Hutter, "Decoupled weight decay regularization", 2019.
    """

    def __init__(
        self,
        learning_rate: float | LearningRateSchedule = 0.001,
        weight_decay: float = 0.004,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        amsgrad: bool = False,
        clipnorm: float | None = None,
        clipvalue: float | None = None,
        global_clipnorm: float | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(
            learning_rate, beta_1, beta_2, epsilon, amsgrad, weight_decay, clipnorm, clipvalue, global_clipnorm, name
        )
        if weight_decay is None:
            raise ArgumentError(
                "AdamW needs its weight_decay", expected="a float", got=None, fix="without it, use Adam"
            )


class Adamax(Optimizer):
    """Adam by the infinity norm: `u = max(beta_2 * u, |g|)`, `p -= rate / (1 - beta_1^t) * m / (u + epsilon)`.

    Source: Kingma and Ba, "Adam: a method for stochastic optimization", 2015, section 7.
    """

    def __init__(
        self,
        learning_rate: float | LearningRateSchedule = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        weight_decay: float | None = None,
        clipnorm: float | None = None,
        clipvalue: float | None = None,
        global_clipnorm: float | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(learning_rate, weight_decay, clipnorm, clipvalue, global_clipnorm, name)
        self.beta_1, self.beta_2 = fraction("Adamax", "beta_1", beta_1), fraction("Adamax", "beta_2", beta_2)
        self.epsilon = not_negative("Adamax", "epsilon", epsilon)

    def slots(self) -> dict[str, float]:
        return {"momentum": 0.0, "norm": 0.0}

    def update(
        self, parameters: Tensors, gradients: Tensors, slots: dict[str, Tensors], rate: float, step: int
    ) -> None:
        momentum, norm = slots["momentum"], slots["norm"]
        torch._foreach_lerp_(momentum, gradients, 1 - self.beta_1)
        torch._foreach_mul_(norm, self.beta_2)
        torch._foreach_maximum_(norm, torch._foreach_abs(gradients))
        size = torch._foreach_add(norm, self.epsilon)
        torch._foreach_addcdiv_(parameters, momentum, size, value=-rate / (1 - self.beta_1**step))


class Nadam(Optimizer):
    """Adam that looks ahead by Nesterov's momentum, along the schedule `mu_t = beta_1 * (1 - 0.96^t / 2)`.

    `m_hat = mu_{t+1} * m / (1 - mu_1 ... mu_{t+1}) + (1 - mu_t) * g / (1 - mu_1 ... mu_t)` and
    `p -= rate * m_hat / (sqrt(v / (1 - beta_2^t)) + epsilon)`.

    Source: Dozat, "Incorporating Nesterov momentum into Adam", 2016.
    """

    def __init__(
        self,
        learning_rate: float | LearningRateSchedule = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        weight_decay: float | None = None,
        clipnorm: float | None = None,
        clipvalue: float | None = None,
        global_clipnorm: float | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(learning_rate, weight_decay, clipnorm, clipvalue, global_clipnorm, name)
        self.beta_1, self.beta_2 = fraction("Nadam", "beta_1", beta_1), fraction("Nadam", "beta_2", beta_2)
        self.epsilon = not_negative("Nadam", "epsilon", epsilon)
        self._product = (0, 1.0)

    def slots(self) -> dict[str, float]:
        return {"momentum": 0.0, "velocity": 0.0}

    def update(
        self, parameters: Tensors, gradients: Tensors, slots: dict[str, Tensors], rate: float, step: int
    ) -> None:
        momentum, velocity = slots["momentum"], slots["velocity"]
        _average(momentum, velocity, gradients, self.beta_1, self.beta_2)
        size = torch._foreach_div(velocity, 1 - self.beta_2**step)
        torch._foreach_sqrt_(size)
        torch._foreach_add_(size, self.epsilon)
        now, ahead = self._momentum_at(step), self._momentum_at(step + 1)
        product = self._momentum_product(step)
        torch._foreach_addcdiv_(parameters, momentum, size, value=-rate * ahead / (1 - product * ahead))
        torch._foreach_addcdiv_(parameters, gradients, size, value=-rate * (1 - now) / (1 - product))

    def _momentum_at(self, step: int) -> float:
        return self.beta_1 * (1 - 0.5 * math.pow(0.96, step))

    def _momentum_product(self, step: int) -> float:
        """`mu_1 ... mu_step`: it hangs on the step alone, so it is not saved; resumed, it is made in the same order."""
        done, product = self._product if self._product[0] <= step else (0, 1.0)
        for t in range(done + 1, step + 1):
            product *= self._momentum_at(t)
        self._product = (step, product)
        return product


def _average(momentum: Tensors, velocity: Tensors, gradients: Tensors, beta_1: float, beta_2: float) -> None:
    """The running means of the gradients and of their squares, in place."""
    torch._foreach_lerp_(momentum, gradients, 1 - beta_1)
    torch._foreach_mul_(velocity, beta_2)
    torch._foreach_addcmul_(velocity, gradients, gradients, value=1 - beta_2)
