"""The loss of a conditional random field, over what the layer `CRF` gives."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from rondeau.errors import ShapeError
from rondeau.heads.chain import chosen
from rondeau.training.losses.base import Loss
from rondeau.training.losses.checks import class_labels, predictions


def crf(y_true: Any, y_pred: Any) -> Tensor:
    """`-log p(tag | the tag before, x)` at each step; a row's sum is minus its log-likelihood (Lafferty et al. 2001).

    Args:
        y_true: tags `(...)` or `(..., 1)`, whole numbers.
        y_pred: `(..., tags, tags)`, as the layer `rondeau.heads.CRF` gives it.

    Raises `ShapeError` for predictions that are no chain, `DataError` for a tag that there is not.
    """
    pred = chain_like(y_pred, "crf")
    labels = class_labels(y_true, pred[..., 0, :], "crf")
    return -chosen(pred.reshape(-1, *pred.shape[-2:]), labels.reshape(-1)).reshape(labels.shape)


def chain_like(y_pred: Any, where: str) -> Tensor:
    """`y_pred` as a tensor `(..., tags, tags)`. Raises `ShapeError` for anything else."""
    pred = predictions(y_pred, where)
    if pred.ndim < 3 or pred.shape[-1] != pred.shape[-2]:
        fix = "End the model with rondeau.heads.CRF()"
        raise ShapeError(
            "no chain of tags",
            expected="(..., tags, tags)",
            got=tuple(pred.shape),
            where=where,
            fix=fix,
        )
    return pred


class CRFLoss(Loss):
    """The negative log-likelihood of a conditional random field, a mean over steps: `"crf"`.

    For a model that ends in the layer `rondeau.heads.CRF`; see `crf`.
    """

    def values(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        return crf(y_true, y_pred)
