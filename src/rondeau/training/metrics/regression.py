"""Metrics of errors and likelihoods that need nothing but running sums, in float64."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from rondeau.errors import ArgumentError, ShapeError
from rondeau.training.losses.base import weights_like
from rondeau.training.losses.checks import aligned
from rondeau.training.losses.probabilistic import SparseCategoricalCrossentropy
from rondeau.training.losses.regression import mean_absolute_error, mean_squared_error
from rondeau.training.metrics.base import MeanMetric, Metric, Sums, check_keys

_R2_SUMS = ("weight", "sum", "squared_sum", "residual", "samples")


class MeanSquaredError(MeanMetric):
    """Mean of the squared errors."""

    def values(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        return mean_squared_error(y_true, y_pred)


class MeanAbsoluteError(MeanMetric):
    """Mean of the absolute errors."""

    def values(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        return mean_absolute_error(y_true, y_pred)


class RootMeanSquaredError(MeanMetric):
    """Square root of the mean squared error over all batches (not the mean of the batches' roots)."""

    def values(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        true, pred = aligned(y_true, y_pred, self.name)
        return (pred - true).square()

    def result(self) -> float:
        return math.sqrt(super().result())


class Perplexity(MeanMetric):
    """`exp` of the mean crossentropy of integer labels: 1 for certainty, the number of classes for blind guessing.

    Args:
        from_logits: whether predictions `(..., classes)` are logits instead of probabilities.
        mask_token_id: a label that is not counted.

    As KerasHub's metric of that name; Keras itself has none.
    """

    def __init__(
        self,
        from_logits: bool = False,
        mask_token_id: int | None = None,
        name: str | None = None,
        dtype: None = None,
    ) -> None:
        super().__init__(name, dtype)
        self._loss = SparseCategoricalCrossentropy(from_logits, mask_token_id)

    def values(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        return self._loss.values(y_true, y_pred)

    def counted(self, y_true: Tensor, y_pred: Tensor) -> Tensor | None:
        return self._loss.counted(y_true, y_pred)

    def result(self) -> float:
        """The perplexity so far; infinite where it passes float64; 0 before the first update."""
        if not self._mean.count:
            return 0.0
        return torch.tensor(super().result(), dtype=torch.float64).exp().item()


class R2Score(Metric):
    """Share of the targets' variance that the predictions explain: 1 is perfect, 0 no better than the mean.

    Args:
        class_aggregation: "uniform_average" or "variance_weighted_average" over the outputs. Keras's None, one number
            per output, is refused: a metric is one number.
        num_regressors: where not 0, the score adjusted for that many regressors; NaN until there are enough samples.

    Takes targets and predictions `(samples, outputs)`. An output whose targets are all alike has the score 0, or NaN
    where its predictions are perfect too. The sums are our own, in float64: torchmetrics.R2Score has no weights and
    takes sums below 1e-4 for 0, so that it gives targets in small units the score 1.
    """

    def __init__(
        self,
        class_aggregation: str | None = "uniform_average",
        num_regressors: int = 0,
        name: str | None = None,
        dtype: None = None,
    ) -> None:
        super().__init__(name, dtype)
        if class_aggregation not in ("uniform_average", "variance_weighted_average"):
            expected = "'uniform_average' or 'variance_weighted_average'"
            raise ArgumentError("unknown aggregation", expected=expected, got=repr(class_aggregation), where=self.name)
        if num_regressors < 0:
            raise ArgumentError("num_regressors is negative", expected="0 or more", got=num_regressors, where=self.name)
        self.class_aggregation, self.num_regressors = class_aggregation, num_regressors
        self._sums = Sums(*_R2_SUMS)
        self._shift: Tensor | None = None

    def update(self, y_true: Tensor, y_pred: Tensor, sample_weight: Any = None) -> None:
        true, pred = (y.detach().double() for y in aligned(y_true, y_pred, self.name))
        if true.ndim != 2:
            fix = "Reshape to (samples, outputs)"
            raise ShapeError("R2Score takes two axes", expected="(samples, outputs)", got=tuple(true.shape), fix=fix)
        if true.numel() == 0:
            return
        weights = torch.ones_like(true) if sample_weight is None else weights_like(true, sample_weight, self.name)
        # a variance from sums of squares is exact only near 0, so targets are measured from the first of them
        self._shift = true[0] if self._shift is None else self._shift.to(true.device)
        shifted = true - self._shift
        self._sums.add(
            weight=weights.sum(0),
            sum=(weights * shifted).sum(0),
            squared_sum=(weights * shifted.square()).sum(0),
            residual=(weights * (true - pred).square()).sum(0),
            samples=torch.tensor(true.shape[0]),
        )

    def result(self) -> float:
        if not self._sums:
            return 0.0
        spread = self._sums["squared_sum"] - self._sums["sum"].square() / self._sums["weight"]
        scores = 1 - self._sums["residual"] / spread
        scores = scores.masked_fill(scores.isinf(), 0)
        if self.class_aggregation == "uniform_average":
            return self._adjusted(scores.mean().item())
        return self._adjusted(((spread * scores).sum() / spread.sum()).item())

    def _adjusted(self, score: float) -> float:
        if self.num_regressors == 0:
            return score
        samples = self._sums["samples"].item()
        freedom = samples - self.num_regressors - 1
        return 1 - (1 - score) * (samples - 1) / freedom if freedom > 0 else math.nan

    def reset(self) -> None:
        self._sums.reset()
        self._shift = None

    def state_dict(self) -> dict[str, Tensor]:
        shift = {} if self._shift is None else {"shift": self._shift.cpu().clone()}
        return self._sums.state_dict() | shift

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        if state:
            check_keys(state, (*_R2_SUMS, "shift"), self.name)
        self._shift = state["shift"].clone() if state else None
        self._sums.load_state_dict({name: state[name] for name in _R2_SUMS if state}, self.name)
