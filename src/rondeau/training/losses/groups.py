"""The likelihood of many values at once as a loss."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from rondeau.heads.masked import nll_of_groups
from rondeau.training.losses.base import Loss
from rondeau.training.losses.checks import same_shape


class GroupNegativeLogLikelihood(Loss):
    """The negative log-likelihood of a step's values, summed over them, in nats; see `heads.masked.nll_of_groups`.

    Args:
        group: values that are one choice among so many; default 1: each is yes or no by itself.

    Targets of 0 and 1 and logits, both `(..., size)`; a value per sample or step. Raises `ShapeError` for what does
    not fit.

    >>> loss = GroupNegativeLogLikelihood()
    >>> round(float(loss(torch.ones(1, 88), torch.zeros(1, 88))), 2)
    61.0
    """

    def __init__(
        self,
        group: int = 1,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        dtype: None = None,
    ) -> None:
        super().__init__(reduction, name, dtype)
        self.group = group

    def values(self, y_true: Any, y_pred: Any) -> Tensor:
        logits = torch.as_tensor(y_pred)
        true, logits = same_shape(y_true, logits if logits.dtype == torch.float64 else logits.float(), self.name)
        return nll_of_groups(true.to(logits.dtype), logits, self.group)
