"""What targets and predictions must look like before a loss or a metric compares them.

Everything here costs one pass at most (a minimum and a maximum); positions are looked for only once something is wrong.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from rondeau.errors import ArgumentError, DataError, ShapeError

EPSILON = 1e-7  # Keras's `backend.epsilon()`: where probabilities are clipped, and the least denominator
_ROUNDING = 1e-5  # an average of rounded probabilities may pass 1 by a few units in the last place


def predictions(y_pred: Any, where: str) -> Tensor:
    """`y_pred` as floating point, float32 at least (1 - 1e-7 is 1 in half precision), with one axis or more."""
    given = torch.as_tensor(y_pred)
    if given.ndim == 0:
        raise ShapeError("predictions without an axis", expected="(samples, outputs)", got="one number", where=where)
    half = given.dtype in (torch.float16, torch.bfloat16)
    return given.float() if half or not given.is_floating_point() else given


def same_shape(y_true: Any, y_pred: Tensor, where: str, fix: str | None = None) -> tuple[Tensor, Tensor]:
    """Targets and predictions of one shape: a last axis of one that only one of them has is added or taken away.

    Nothing is broadcast: `(N, 1)` against `(N, 3)` is a `ShapeError`, as is anything else that differs.
    """
    true, pred = torch.as_tensor(y_true, device=y_pred.device), y_pred
    if pred.shape == (*true.shape, 1):
        true = true.unsqueeze(-1)
    elif true.shape == (*pred.shape, 1):
        true, pred = (true, pred.unsqueeze(-1)) if pred.ndim == 1 else (true.squeeze(-1), pred)
    if true.shape == pred.shape:
        return true, pred
    raise ShapeError(
        "targets do not have the predictions' shape",
        expected=tuple(pred.shape),
        got=tuple(true.shape),
        where=where,
        fix=fix or "Give one target for every output of the model",
    )


def aligned(y_true: Any, y_pred: Any, where: str, fix: str | None = None) -> tuple[Tensor, Tensor]:
    """Targets and predictions of one shape and one floating-point dtype."""
    true, pred = same_shape(y_true, predictions(y_pred, where), where, fix)
    return true.to(pred.dtype), pred


def one_hot(y_true: Any, y_pred: Any, where: str) -> tuple[Tensor, Tensor]:
    """Targets that give each class a share, of the predictions' shape `(..., classes)`."""
    true, pred = torch.as_tensor(y_true), predictions(y_pred, where)
    if pred.shape[-1] == 1:
        binary = "Use binary_crossentropy and binary_accuracy for a model with one output"
        raise ShapeError("one class leaves no choice", expected="two classes or more", got=1, where=where, fix=binary)
    labels = true.shape in (pred.shape[:-1], (*pred.shape[:-1], 1))
    fix = f"Use sparse_{where} for integer labels, or one-hot encode them" if labels else None
    return aligned(true, pred, where, fix)


def label_shape(y_true: Any, y_pred: Tensor, where: str) -> Tensor:
    """Labels of the shape of `y_pred` without its last axis, from that shape or the same with a last axis of one."""
    labels = torch.as_tensor(y_true, device=y_pred.device)
    if labels.shape == (*y_pred.shape[:-1], 1):
        return labels.squeeze(-1)
    if labels.shape == y_pred.shape[:-1]:
        return labels
    fix = "Give one integer label for every row of class scores"
    if labels.shape == y_pred.shape:
        fix = f"Use {where.removeprefix('sparse_')} for one-hot targets, or pass y_true.argmax(-1)"
    raise ShapeError(
        "labels do not fit the predictions",
        expected=f"{tuple(y_pred.shape[:-1])} integers",
        got=tuple(labels.shape),
        where=where,
        fix=fix,
    )


def class_labels(y_true: Any, y_pred: Tensor, where: str, ignore_class: int | None = None) -> Tensor:
    """Labels as int64 in 0 to classes - 1, or `ignore_class`. `DataError` names the first that is not."""
    given, classes = label_shape(y_true, y_pred, where), y_pred.shape[-1]
    labels = given.long()
    if given.is_floating_point() and bool((broken := given != labels).any()):
        at = first(broken)
        raise DataError(
            f"{where}: a label is not an integer",
            expected=f"0 to {classes - 1} ({classes} classes)",
            got=given[at].item(),
            where=f"y_true{list(at)}",
        )
    checked = labels if ignore_class is None else labels.masked_fill(labels == ignore_class, 0)
    fix = "Number the classes from 0, and give the last layer one unit for each"
    if classes == 1:
        fix = "Use binary_crossentropy for a model with one output"
    within(checked, 0, classes - 1, f"{where}: a label outside the {classes} classes", "y_true", fix, slack=0)
    return labels


def probabilities(y_pred: Tensor, where: str, fix: str) -> None:
    """`DataError` unless all of `y_pred` lies in [0, 1]. NaN passes: it makes the loss NaN, which says so itself."""
    within(y_pred, 0, 1, f"{where}: a prediction is not a probability", "y_pred", fix)


def within(x: Tensor, low: float, high: float, what: str, where: str, fix: str, slack: float = _ROUNDING) -> None:
    """`DataError` naming the first value of `x` outside `low` to `high`, and its position."""
    if x.numel() == 0:
        return
    least, most = torch.stack(torch.aminmax(x.detach())).tolist()
    if least < low - slack or most > high + slack:
        at = first((x < low - slack) | (x > high + slack))
        bounds = f"{low} or more" if high == float("inf") else f"{low} to {high}"
        raise DataError(what, expected=bounds, got=x[at].item(), where=f"{where}{list(at)}", fix=fix)


def last_axis(axis: int, where: str) -> None:
    """Refuses an `axis` other than the last."""
    if axis != -1:
        fix = "Move the axis to the end: y.movedim(axis, -1)"
        raise ArgumentError("the outputs are on the last axis here", expected="axis=-1", got=axis, where=where, fix=fix)


def first(wrong: Tensor) -> tuple[int, ...]:
    """The position of the first True."""
    return tuple(wrong.nonzero()[0].tolist())
