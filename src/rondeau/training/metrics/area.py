"""Area under a curve, at fixed thresholds as Keras has it; torchmetrics counts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from rondeau.errors import ArgumentError
from rondeau.training.losses.checks import EPSILON, within
from rondeau.training.metrics.counts import CountMetric
from rondeau.training.metrics.wrapped import states_of

if TYPE_CHECKING:
    import torchmetrics

_HEIGHTS = {
    "interpolation": lambda before, after: (before + after) / 2,
    "minoring": torch.minimum,
    "majoring": torch.maximum,
}


class AUC(CountMetric):
    """Area under the receiver operating characteristic ("ROC") or the precision-recall curve ("PR").

    Args:
        num_thresholds: how many thresholds, evenly spaced over 0 to 1, stand for all.
        curve: "ROC" or "PR".
        summation_method: the height of the curve between two thresholds: "interpolation", "minoring" or "majoring".
            Interpolation of "PR" follows Davis and Goadrich (2006), "The relationship between precision-recall and ROC
            curves".
        thresholds: thresholds of one's own between 0 and 1, instead of `num_thresholds`.
        from_logits: whether predictions are logits.
        multi_label, num_labels, label_weights: refused; all outputs are thrown together, as Keras's default has it.

    Takes probabilities and targets 0 and 1 of the same shape. Raises `DataError` for others.
    """

    def __init__(
        self,
        num_thresholds: int = 200,
        curve: str = "ROC",
        summation_method: str = "interpolation",
        name: str | None = None,
        dtype: None = None,
        thresholds: Sequence[float] | None = None,
        multi_label: bool = False,
        num_labels: int | None = None,
        label_weights: Sequence[float] | None = None,
        from_logits: bool = False,
    ) -> None:
        super().__init__(name, dtype)
        if multi_label or num_labels is not None or label_weights is not None:
            fix = "Leave out multi_label, num_labels and label_weights, or pass torchmetrics' MultilabelAUROC"
            raise ArgumentError("all labels make one curve here", where=self.name, fix=fix)
        if curve not in ("ROC", "PR"):
            raise ArgumentError("unknown curve", expected="'ROC' or 'PR'", got=repr(curve), where=self.name)
        if summation_method not in _HEIGHTS:
            known = ", ".join(map(repr, _HEIGHTS))
            raise ArgumentError("unknown summation", expected=known, got=repr(summation_method), where=self.name)
        if thresholds is None and num_thresholds < 2:
            raise ArgumentError("too few thresholds", expected="2 or more", got=num_thresholds, where=self.name)
        if thresholds is not None and not all(0 <= t <= 1 for t in thresholds):
            raise ArgumentError("no such probability", expected="thresholds of 0 to 1", got=thresholds, where=self.name)
        self.curve, self.summation_method, self.from_logits = curve, summation_method, from_logits
        inner = [i / (num_thresholds - 1) for i in range(1, num_thresholds - 1)] if thresholds is None else thresholds
        self.thresholds = [-EPSILON, *sorted(inner), 1 + EPSILON]

    def _make(self, columns: int) -> torchmetrics.Metric:
        from torchmetrics.classification import BinaryPrecisionRecallCurve

        limits = torch.tensor(self.thresholds)
        # torchmetrics counts from a threshold on, Keras above it
        above = torch.nextafter(limits, torch.full_like(limits, torch.inf))
        return BinaryPrecisionRecallCurve(thresholds=above, validate_args=False)

    def _decide(self, pred: Tensor, true: Tensor) -> tuple[Tensor, Tensor]:
        if self.from_logits:
            pred = pred.sigmoid()
        fix = "Pass from_logits=True if these are logits"
        within(pred, 0, 1, f"{self.name}: a prediction is not a probability", "y_pred", fix)
        # clamped, since torchmetrics takes a batch with a rounded 1.0000001 in it for logits
        return pred.float().clamp(0, 1).flatten(), true.flatten()

    def result(self) -> float:
        if self._counter is None:
            return 0.0
        counts = states_of(self._counter)["confmat"].double()  # (thresholds, target, decision)
        fp, fn, tp, tn = counts[:, 0, 1], counts[:, 1, 0], counts[:, 1, 1], counts[:, 0, 0]
        if self.curve == "PR" and self.summation_method == "interpolation":
            return _area_of_precision_recall(tp, fp, fn)
        recall = _share(tp, fn)
        x, y = (_share(fp, tn), recall) if self.curve == "ROC" else (recall, _share(tp, fp))
        heights = _HEIGHTS[self.summation_method](y[:-1], y[1:])
        return float(((x[:-1] - x[1:]) * heights).sum().item())


def _share(part: Tensor, rest: Tensor) -> Tensor:
    """`part / (part + rest)`, 0 where both are."""
    return part / (part + rest).clamp(min=1)


def _area_of_precision_recall(tp: Tensor, fp: Tensor, fn: Tensor) -> float:
    """Between two thresholds false positives grow in proportion to true ones, so precision is no straight line."""
    positive = tp + fp
    new, new_true = positive[:-1] - positive[1:], tp[:-1] - tp[1:]
    slope = new_true / new.clamp(min=1)
    intercept = tp[1:] - slope * positive[1:]
    growth = torch.where(positive[1:] > 0, positive[:-1] / positive[1:].clamp(min=1), 1.0)
    areas = slope * (new_true + intercept * growth.clamp(min=1).log()) / (tp[1:] + fn[1:]).clamp(min=1)
    return float(areas.sum().item())
