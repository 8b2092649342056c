"""How often the most probable sequence of tags is right, step by step."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from rondeau.heads.chain import viterbi
from rondeau.heads.crf import rows_of_chain
from rondeau.training.losses.chain import chain_like
from rondeau.training.losses.checks import label_shape
from rondeau.training.metrics.base import MeanMetric


def crf_accuracy(y_true: Any, y_pred: Any) -> Tensor:
    """1 where the tag of the best sequence (Viterbi) is the true one; `y_pred` `(..., tags, tags)` of `CRF`."""
    pred = chain_like(y_pred, "crf_accuracy")
    labels = label_shape(y_true, pred[..., 0, :], "crf_accuracy")
    found = viterbi(rows_of_chain(pred.reshape(-1, *pred.shape[-2:])))[0].values
    return found.reshape(labels.shape) == labels


class CRFAccuracy(MeanMetric):
    """How often a tag of the best sequence is right; see `crf_accuracy`."""

    def values(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        return crf_accuracy(y_true, y_pred)
