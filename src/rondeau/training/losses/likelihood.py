"""Likelihoods as losses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from rondeau.errors import ShapeError
from rondeau.heads.likelihoods import Likelihood, Quantiles, likelihood
from rondeau.training.losses.base import Loss


class NegativeLogLikelihood(Loss):
    """How badly a network's outputs say the values: see `rondeau.heads.likelihoods`.

    Args:
        kind: 'gaussian', 'student_t', 'negative_binomial', 'quantile' (pinball) or 'point' (absolute error).
        levels: of 'quantile' (default: its own).

    Predictions `(..., size)`; targets `(...)` or `(..., 1)`, or `(..., 2)`: value, and the scale it has, which
    'negative_binomial' needs. A value per sample or step, in nats. Raises `ShapeError` for what does not fit.

    >>> loss = NegativeLogLikelihood("gaussian")
    >>> round(float(loss(torch.zeros(1, 1), torch.tensor([[0.0, 0.5413]]))), 3)
    0.919
    """

    def __init__(
        self,
        kind: str = "gaussian",
        levels: Sequence[float] | None = None,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        dtype: None = None,
    ) -> None:
        super().__init__(reduction, name, dtype)
        self.likelihood: Likelihood = Quantiles(levels) if kind == "quantile" and levels else likelihood(kind)

    def values(self, y_true: Any, y_pred: Any) -> Tensor:
        outputs = torch.as_tensor(y_pred)
        outputs = outputs if outputs.dtype == torch.float64 else outputs.float()
        true = torch.as_tensor(y_true, device=outputs.device).to(outputs.dtype)
        if true.shape == outputs.shape[:-1]:
            true = true[..., None]
        if outputs.shape[-1:] != (self.likelihood.size,):
            expected = f"(..., {self.likelihood.size}) for {self.likelihood.name}"
            raise ShapeError("the predictions", expected=expected, got=tuple(outputs.shape), where=self.name)
        if true.shape[:-1] != outputs.shape[:-1] or true.shape[-1] not in (1, 2):
            expected = f"{tuple(outputs.shape[:-1])}, and perhaps an axis of value and scale"
            raise ShapeError("the targets", expected=expected, got=tuple(true.shape), where=self.name)
        scale = true[..., 1] if true.shape[-1] == 2 else 1.0
        return self.likelihood.loss(outputs, true[..., 0], scale)
