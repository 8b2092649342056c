"""Metrics of right and wrong decisions: torchmetrics counts them, the decisions are made by Keras's rules.

torchmetrics has no weights for samples, so these refuse them. It takes a second to import, so the first update does it.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from rondeau.errors import ArgumentError, CheckpointError, DataError, NumericsError
from rondeau.training.losses.checks import aligned, first, within
from rondeau.training.metrics.base import Metric
from rondeau.training.metrics.wrapped import refuse_weights, restore_states, states_of

if TYPE_CHECKING:
    import torchmetrics

_ONE_HOT = "Give one target 0 or 1 for each output: one-hot encode integer labels"
_SIGMOID = "End the model with activation='sigmoid' or 'softmax'"
_COLUMNS = "columns"


class CountMetric(Metric):
    """Base of the metrics whose counts torchmetrics keeps: targets 0 and 1, predictions of the same shape."""

    _counter: torchmetrics.Metric | None = None
    _columns = 0

    @abstractmethod
    def _make(self, columns: int) -> torchmetrics.Metric:
        """A fresh counter for predictions of so many columns."""

    @abstractmethod
    def _decide(self, pred: Tensor, true: Tensor) -> tuple[Tensor, Tensor]:
        """What the counter takes: decisions or scores, and the targets they belong to."""

    def update(self, y_true: Tensor, y_pred: Tensor, sample_weight: Any = None) -> None:
        refuse_weights(sample_weight, self.name)
        true, pred = aligned(y_true, y_pred, self.name, _ONE_HOT)
        if pred.numel() == 0:
            return
        _check_values(true, pred.detach(), self.name)
        decided, target = self._decide(pred.detach(), true.long())
        if self._counter is None:
            self._columns = pred.shape[-1]
            self._counter = self._make(self._columns)
        if self._counter.device != pred.device:
            self._counter = self._counter.to(pred.device)
        self._counter.update(decided, target)

    def result(self) -> float:
        return 0.0 if self._counter is None else float(self._counter.compute())

    def reset(self) -> None:
        self._counter = None

    def state_dict(self) -> dict[str, Tensor]:
        return {} if self._counter is None else states_of(self._counter) | {_COLUMNS: torch.tensor(self._columns)}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        if not state:
            return self.reset()
        columns = int(state.get(_COLUMNS, 0))
        counter = self._make(columns)
        shapes = {name: tuple(entry.shape) for name, entry in states_of(counter).items()}
        got = {name: tuple(entry.shape) for name, entry in state.items() if name != _COLUMNS}
        if got != shapes:
            fix = "Load it into a metric made with the same arguments"
            raise CheckpointError(
                "this is the state of another metric", expected=shapes, got=got, where=self.name, fix=fix
            )
        restore_states(counter, {name: state[name] for name in shapes}, self.name)
        self._counter, self._columns = counter, columns


class _Decisions(CountMetric):
    """Precision and recall: each prediction above a threshold, or among the largest, is a decision for yes."""

    def __init__(
        self,
        thresholds: float | None = None,
        top_k: int | None = None,
        class_id: int | None = None,
        name: str | None = None,
        dtype: None = None,
    ) -> None:
        super().__init__(name, dtype)
        if isinstance(thresholds, (list, tuple)):
            fix = f"Make one {type(self).__name__} for each threshold"
            raise ArgumentError(
                "a metric is one number", expected="one threshold", got=thresholds, where=self.name, fix=fix
            )
        if thresholds is not None and not 0 <= thresholds <= 1:
            raise ArgumentError("no such probability", expected="thresholds of 0 to 1", got=thresholds, where=self.name)
        if top_k is not None and top_k < 1:
            raise ArgumentError("top_k is how many places count", expected="1 or more", got=top_k, where=self.name)
        self.thresholds, self.top_k, self.class_id = thresholds, top_k, class_id

    def _decide(self, pred: Tensor, true: Tensor) -> tuple[Tensor, Tensor]:
        self._check_columns(pred.shape[-1])
        if self.top_k is None:
            _check_probabilities(pred, self.name)
            decided = pred > (0.5 if self.thresholds is None else self.thresholds)
        else:  # any score will do for a place among the largest, unless a threshold is asked for too
            largest = pred.topk(self.top_k).indices
            decided = torch.zeros_like(pred, dtype=torch.bool).scatter(-1, largest, True)
            if self.thresholds is not None:
                decided &= pred > self.thresholds
        if self.class_id is not None:
            decided, true = decided[..., self.class_id], true[..., self.class_id]
        return decided.long().flatten(), true.flatten()

    def _check_columns(self, columns: int) -> None:
        for word, value, most in (("top_k", self.top_k, columns), ("class_id", self.class_id, columns - 1)):
            if value is not None and not 0 <= value <= most:
                got = f"{word}={value} for {columns} outputs"
                raise ArgumentError(f"there is no such {word}", expected=f"at most {most}", got=got, where=self.name)


class Precision(_Decisions):
    """Share of the decisions for yes that are right; 0 where there are none.

    Args:
        thresholds: the probability above which a prediction is a yes, 0.5 by default; one number.
        top_k: only the `top_k` largest predictions of a row can be a yes; without a threshold they all are.
        class_id: the one output, counted from 0, that is looked at. All are thrown together by default.

    Takes probabilities (with `top_k` alone, any scores) and targets 0 and 1 of the same shape.
    """

    def _make(self, columns: int) -> torchmetrics.Metric:
        from torchmetrics.classification import BinaryPrecision

        return BinaryPrecision(validate_args=False)


class Recall(_Decisions):
    """Share of the targets 1 that were decided for; 0 where there are none. Arguments as for `Precision`."""

    def _make(self, columns: int) -> torchmetrics.Metric:
        from torchmetrics.classification import BinaryRecall

        return BinaryRecall(validate_args=False)


class F1Score(CountMetric):
    """Harmonic mean of precision and recall, by class, then averaged.

    Args:
        average: "macro": the mean over the classes; "weighted": by how often each occurs; "micro": one count for all.
            Keras's default, None, gives one number per class and is refused: a metric is one number.
        threshold: the probability above which a class is a yes, 0 to 1; None takes the largest score of each row.

    Takes predictions `(..., classes)` and one-hot (or, with a threshold, multi-label) targets of the same shape.
    """

    def __init__(
        self,
        average: str | None = "macro",
        threshold: float | None = None,
        name: str | None = None,
        dtype: None = None,
    ) -> None:
        super().__init__(name, dtype)
        if average not in ("macro", "micro", "weighted"):
            fix = "Choose how the classes' scores become one number"
            raise ArgumentError(
                "unknown average", expected="'macro', 'micro' or 'weighted'", got=repr(average), fix=fix
            )
        if threshold is not None and not 0 < threshold <= 1:
            raise ArgumentError("no such probability", expected="a threshold of 0 to 1", got=threshold, where=self.name)
        self.average, self.threshold = average, threshold

    def _make(self, columns: int) -> torchmetrics.Metric:
        from torchmetrics.classification import MultilabelF1Score

        return MultilabelF1Score(num_labels=columns, average=self.average, validate_args=False)  # type: ignore[arg-type]

    def _decide(self, pred: Tensor, true: Tensor) -> tuple[Tensor, Tensor]:
        columns = pred.shape[-1]
        if self.threshold is not None:
            _check_probabilities(pred, self.name)
            decided = pred > self.threshold
        elif columns == 1:
            fix = "Pass threshold=0.5"
            raise ArgumentError("the largest of one output is always that one", where=self.name, fix=fix)
        else:
            decided = (pred >= pred.amax(-1, keepdim=True)) & (pred.abs() > 1e-9)  # a row of zeros decides nothing
        return decided.long().reshape(-1, columns), true.reshape(-1, columns)


def _check_values(true: Tensor, pred: Tensor, where: str) -> None:
    """`DataError` for targets other than 0 and 1, `NumericsError` for NaN: a NaN would count as a decision for no."""
    wrong, nan = (true != 0) & (true != 1), pred.isnan()
    if not bool(wrong.any() | nan.any()):
        return
    if bool(nan.any()):
        raise NumericsError("a prediction is NaN", where=f"{where}, y_pred{list(first(nan))}")
    at = first(wrong)
    raise DataError(
        f"{where}: a target is neither 0 nor 1", got=true[at].item(), where=f"y_true{list(at)}", fix=_ONE_HOT
    )


def _check_probabilities(pred: Tensor, where: str) -> None:
    within(pred, 0, 1, f"{where}: a prediction is not a probability", "y_pred", _SIGMOID)
