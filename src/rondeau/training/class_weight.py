"""Class weights as sample weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from rondeau.errors import ArgumentError, ShapeError
from rondeau.training.losses.base import weights_like


def checked_class_weight(weights: Any) -> dict[int, float]:
    """`{class: weight}`. Raises `ArgumentError` for anything else, and for negative or infinite numbers."""
    expected = "{class: weight}, whole classes and finite weights, none negative"
    if not isinstance(weights, Mapping):
        raise ArgumentError("class_weight", expected=expected, got=type(weights).__name__)
    checked: dict[int, float] = {}
    for label, weight in weights.items():
        try:
            checked[int(label)] = float(weight)
            good = int(label) == label and label >= 0 and 0 <= float(weight) < float("inf")
        except (TypeError, ValueError):
            good = False
        if not good:
            raise ArgumentError("class_weight", expected=expected, got={label: weight})
    return checked


def class_weights(weights: Mapping[int, float], target: Tensor, output: Tensor, given: Any = None) -> Tensor:
    """A weight for each sample, or step, by the class of its target, times the weight it was `given`.

    Args:
        weights: of each class; those not named weigh 1.
        target: classes `(...)` or `(..., 1)`, or one-hot as wide as the output.
        output: `(..., outputs)`, as the loss compares it with the target.
    """
    if target.ndim == output.ndim and target.shape[-1] == output.shape[-1] > 1:
        classes = target.argmax(-1)
    elif target.ndim > 1 and target.shape[-1] == 1:
        classes = target[..., 0]
    else:
        classes = target
    if classes.shape != output.shape[: classes.ndim]:
        expected = f"{tuple(output.shape[:-1])} classes, or one-hot {tuple(output.shape)}"
        raise ShapeError("class_weight: the targets are no classes", expected=expected, got=tuple(target.shape))
    # counted as a mask and not looked up: an ignored label may be negative, or larger than any class
    found = torch.ones_like(classes, dtype=output.dtype)
    for label, weight in weights.items():
        found[classes == label] = weight
    return found if given is None else found * weights_like(found, given, "class_weight")
