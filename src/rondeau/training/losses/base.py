"""What every loss is: a value per sample or step, and one number out of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from rondeau.config import Configurable
from rondeau.errors import ArgumentError, ShapeError
from rondeau.training.lookup import snake_case

REDUCTIONS = ("sum_over_batch_size", "mean", "mean_with_sample_weight", "sum", "none", None)


class Loss(Configurable, ABC):
    """Base of the losses; a loss of one's own defines `values`.

    Args:
        reduction: how the values become one number. "sum_over_batch_size" or "mean": their weighted sum by their count;
            "mean_with_sample_weight": by the sum of the weights; "sum": the weighted sum; "none" or None: the weighted
            values as they are.
        name: for logs; the class's name in snake case by default.
        dtype: refused unless None: a loss computes in the predictions' dtype, float32 at least.

    Raises `ArgumentError` for an unknown reduction.
    """

    def __init__(
        self, reduction: str | None = "sum_over_batch_size", name: str | None = None, dtype: None = None
    ) -> None:
        if reduction not in REDUCTIONS:
            known = ", ".join(map(repr, REDUCTIONS))
            owner = type(self).__name__
            raise ArgumentError("unknown reduction", expected=f"one of {known}", got=repr(reduction), where=owner)
        refuse_dtype(dtype, "Cast the predictions: a loss computes in their dtype", type(self).__name__)
        self.reduction = reduction
        self.name = name or snake_case(type(self).__name__)

    samples_outputs = False  # whether in training what it is given is no output of the model yet

    @abstractmethod
    def values(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        """One value per sample or step, of the shape of `y_pred` without its last axis."""

    def counted(self, y_true: Tensor, y_pred: Tensor) -> Tensor | None:
        """Which values count, as booleans of their shape; None for all."""
        return None

    def attach(self, model: Any) -> None:
        """Called with the model before training or evaluation: a loss that uses weights of a layer finds it here."""

    def __call__(self, y_true: Tensor, y_pred: Tensor, sample_weight: Any = None) -> Tensor:
        """The loss: a 0-d tensor, or the values where `reduction` is None. No values at all give 0.

        Args:
            y_true, y_pred: targets and predictions as the loss's own documentation says, without padding.
            sample_weight: one weight per value, or fewer axes: `(batch,)` weighs all steps of a sample alike.

        Raises `ShapeError` and `DataError` for what does not fit.
        """
        values = self.values(y_true, y_pred)
        return reduce_values(values, sample_weight, self.counted(y_true, y_pred), self.reduction, self.name)


class FunctionLoss(Loss):
    """A plain function `(y_true, y_pred) -> values` as a loss.

    `y_true` gets a last axis of one where only `y_pred` has it, and its dtype where both are floating point.
    """

    def __init__(
        self,
        fn: Callable[[Tensor, Tensor], Tensor],
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        dtype: None = None,
    ) -> None:
        super().__init__(reduction, name or function_name(fn), dtype)
        self.fn = fn

    def values(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        return call_function(self.fn, y_true, y_pred, self.name)


def call_function(fn: Callable[[Tensor, Tensor], Tensor], y_true: Any, y_pred: Any, where: str) -> Tensor:
    """`fn(y_true, y_pred)` on tensors of one rank. `ArgumentError` if it returns anything but a tensor."""
    pred = torch.as_tensor(y_pred)
    true = torch.as_tensor(y_true, device=pred.device)
    if pred.shape == (*true.shape, 1):
        true = true.unsqueeze(-1)
    if true.is_floating_point() and pred.is_floating_point():
        true = true.to(pred.dtype)
    values: object = fn(true, pred)
    if isinstance(values, Tensor):
        return values
    got = type(values).__name__
    raise ArgumentError("the function returned no tensor", expected="one value per sample", got=got, where=where)


def function_name(fn: Callable[..., Any]) -> str:
    """What a function is called in logs: its own name, or its class's."""
    return getattr(fn, "__name__", None) or snake_case(type(fn).__name__)


def refuse_dtype(dtype: object, why: str, where: str) -> None:
    """`ArgumentError` for Keras's `dtype` where the arithmetic is not the user's to choose."""
    if dtype is not None:
        raise ArgumentError("dtype cannot be chosen here", expected="dtype=None", got=repr(dtype), where=where, fix=why)


def weights_like(values: Tensor, sample_weight: Any, where: str) -> Tensor:
    """`sample_weight` with the shape, dtype and device of `values`: axes it lacks at the end are added.

    Raises `ShapeError` when the weights do not fit.
    """
    given = torch.as_tensor(sample_weight, dtype=values.dtype, device=values.device)
    weights = given
    if weights.ndim == values.ndim + 1 and weights.shape[-1] == 1:
        weights = weights.squeeze(-1)
    if weights.ndim < values.ndim:
        weights = weights.reshape(weights.shape + (1,) * (values.ndim - weights.ndim))
    fits = weights.ndim == values.ndim and all(w in (1, v) for w, v in zip(weights.shape, values.shape, strict=True))
    if fits:
        return weights.expand(values.shape)
    fix = "Give one weight per sample, or one per value"
    if values.ndim == 0:
        fix = "Return one value per sample: predictions and targets need a last axis for the outputs, (samples, 1)"
    raise ShapeError(
        "sample_weight does not fit the values",
        expected=f"{tuple(values.shape)} or fewer axes from the left",
        got=tuple(given.shape),
        where=where,
        fix=fix,
    )


def reduce_values(
    values: Tensor, sample_weight: Any, counted: Tensor | None, reduction: str | None, where: str
) -> Tensor:
    """Weighted values as one number, by one of `REDUCTIONS`; values that are not counted weigh and count nothing."""
    weights = None if sample_weight is None else weights_like(values, sample_weight, where)
    if counted is not None:
        weights = counted.to(values.dtype) if weights is None else weights * counted
    if weights is not None:
        values = values * weights
    if reduction in ("none", None):
        return values
    total = values.sum()
    if reduction == "sum":
        return total
    if reduction == "mean_with_sample_weight" and weights is not None:
        return _divided(total, weights.sum())
    return total / max(values.numel(), 1) if counted is None else _divided(total, counted.sum())


def _divided(total: Tensor, divisor: Tensor) -> Tensor:
    """`total / divisor`, and 0 where nothing was counted."""
    empty = divisor == 0
    return torch.where(empty, total * 0, total / divisor.masked_fill(empty, 1))
