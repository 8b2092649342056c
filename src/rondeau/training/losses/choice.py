"""Keras's rule for `"accuracy"` and `"crossentropy"`: binary, categorical or sparse, by the shapes."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor

from rondeau.errors import ShapeError
from rondeau.training.losses.base import Loss
from rondeau.training.losses.probabilistic import (
    BinaryCrossentropy,
    CategoricalCrossentropy,
    SparseCategoricalCrossentropy,
)

Kind = Literal["binary", "sparse", "categorical"]


def kind_by_shape(y_true: Any, y_pred: Any, where: str) -> Kind:
    """Binary for one output; sparse for targets with fewer axes or a last axis of one; categorical otherwise.

    Raises `ShapeError` for predictions without an axis of outputs.
    """
    true, pred = torch.as_tensor(y_true), torch.as_tensor(y_pred)
    if pred.ndim < 2:
        fix = "Give the model a last axis for its outputs: (samples, 1) or (samples, classes)"
        got = tuple(pred.shape)
        raise ShapeError("predictions need a last axis", expected="(..., outputs)", got=got, where=where, fix=fix)
    if pred.shape[-1] == 1:
        return "binary"
    return "sparse" if true.ndim < pred.ndim or true.shape[-1] == 1 else "categorical"


class Crossentropy(Loss):
    """The crossentropy of probabilities that fits the shapes of the first batch; it then stays with it."""

    _chosen: Loss | None = None

    def values(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        if self._chosen is None:
            kinds: dict[Kind, type[Loss]] = {
                "binary": BinaryCrossentropy,
                "sparse": SparseCategoricalCrossentropy,
                "categorical": CategoricalCrossentropy,
            }
            self._chosen = kinds[kind_by_shape(y_true, y_pred, self.name)]()
        return self._chosen.values(y_true, y_pred)
