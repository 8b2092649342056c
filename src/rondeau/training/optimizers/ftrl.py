"""Follow the regularised leader: for sparse linear models and large embeddings."""

from __future__ import annotations

import torch

from rondeau.errors import ArgumentError
from rondeau.training.optimizers.base import Optimizer
from rondeau.training.optimizers.checks import not_negative, number
from rondeau.training.optimizers.clipping import Tensors
from rondeau.training.optimizers.schedules import LearningRateSchedule


class Ftrl(Optimizer):
    """The weight is made anew at each step from sums of gradients z (`linear`) and of their squares n (`accumulator`).

    With `s(n) = n^(-learning_rate_power) / rate`: `z += g + 2 * l2_shrinkage * p - (s(n + g²) - s(n)) * p`,
    `n += g²`, and `p = (clip(z, -l1, l1) - z) / (s(n) + 2 * l2 + beta / rate)`: zero while `|z| <= l1`.

    Args:
        learning_rate_power: zero or below; at 0 the rate does not fall with n.
        initial_accumulator_value: where n begins, zero or more.
        l1_regularization_strength, l2_regularization_strength: as in the paper, zero or more.
        l2_shrinkage_regularization_strength: an L2 penalty on the loss instead of on the leader, zero or more.
        beta: the paper's beta, added to the rate's denominator.

    Raises `ArgumentError` at a step whose rate is zero, by which the rule would divide.

    Source: McMahan et al., "Ad click prediction: a view from the trenches", 2013.
    """

    def __init__(
        self,
        learning_rate: float | LearningRateSchedule = 0.001,
        learning_rate_power: float = -0.5,
        initial_accumulator_value: float = 0.1,
        l1_regularization_strength: float = 0.0,
        l2_regularization_strength: float = 0.0,
        l2_shrinkage_regularization_strength: float = 0.0,
        beta: float = 0.0,
        weight_decay: float | None = None,
        clipnorm: float | None = None,
        clipvalue: float | None = None,
        global_clipnorm: float | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(learning_rate, weight_decay, clipnorm, clipvalue, global_clipnorm, name)
        self.learning_rate_power = number("Ftrl", "learning_rate_power", learning_rate_power)
        if self.learning_rate_power > 0:
            raise ArgumentError(
                "learning_rate_power is positive", expected="zero or below", got=learning_rate_power, where="Ftrl"
            )
        self.initial_accumulator_value = not_negative("Ftrl", "initial_accumulator_value", initial_accumulator_value)
        self.l1_regularization_strength = not_negative("Ftrl", "l1_regularization_strength", l1_regularization_strength)
        self.l2_regularization_strength = not_negative("Ftrl", "l2_regularization_strength", l2_regularization_strength)
        self.l2_shrinkage_regularization_strength = not_negative(
            "Ftrl", "l2_shrinkage_regularization_strength", l2_shrinkage_regularization_strength
        )
        self.beta = not_negative("Ftrl", "beta", beta)

    def slots(self) -> dict[str, float]:
        return {"accumulator": self.initial_accumulator_value, "linear": 0.0}

    def update(
        self, parameters: Tensors, gradients: Tensors, slots: dict[str, Tensors], rate: float, step: int
    ) -> None:
        if rate == 0:
            raise ArgumentError("the learning rate is 0, by which FTRL divides", where=f"Ftrl, step {step}")
        accumulator, linear = slots["accumulator"], slots["linear"]
        before = torch._foreach_pow(accumulator, -self.learning_rate_power)
        torch._foreach_addcmul_(accumulator, gradients, gradients)
        after = torch._foreach_pow(accumulator, -self.learning_rate_power)

        torch._foreach_add_(linear, gradients)
        torch._foreach_add_(linear, parameters, alpha=2 * self.l2_shrinkage_regularization_strength)
        torch._foreach_addcmul_(linear, torch._foreach_sub(after, before), parameters, value=-1 / rate)

        scale = torch._foreach_div(after, rate)
        torch._foreach_add_(scale, 2 * self.l2_regularization_strength + self.beta / rate)
        # Where n is still zero so is z, and 0 / 0 would be NaN: the weight is 0 there.
        for each in scale:
            each.clamp_(min=torch.finfo(each.dtype).tiny)
        new = torch._foreach_clamp_min(linear, -self.l1_regularization_strength)
        torch._foreach_clamp_max_(new, self.l1_regularization_strength)
        torch._foreach_sub_(new, linear)
        torch._foreach_div_(new, scale)
        torch._foreach_copy_(parameters, new)
