"""The loss of a `SampledSoftmax`: sampled in training, exact where a model is evaluated."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from rondeau.errors import ArgumentError, NotBuiltError
from rondeau.heads.sampled_softmax import SampledSoftmax
from rondeau.training.losses.base import Loss
from rondeau.training.losses.checks import class_labels, predictions
from rondeau.training.losses.probabilistic import sparse_categorical_crossentropy


class SampledSoftmaxLoss(Loss):
    """The crossentropy of a model that ends in `rondeau.heads.SampledSoftmax`: `"sampled_softmax"`.

    Targets are whole numbers. In training the crossentropy is estimated from the classes that the layer draws;
    elsewhere it is that of all classes. Metrics would see the layer's input in training, and are refused there.

    Args:
        layer: the name of the layer in the model; default: the only one of its kind.
        reduction, name: as for every loss.
    """

    samples_outputs = True

    def __init__(
        self, layer: str | None = None, reduction: str | None = "sum_over_batch_size", name: str = "sampled_softmax"
    ) -> None:
        super().__init__(reduction, name)
        self.layer = layer
        self._attached: SampledSoftmax | None = None

    def attach(self, model: Any) -> None:
        found = [m for m in model.modules() if isinstance(m, SampledSoftmax) and self.layer in (None, m.name)]
        if len(found) != 1:
            got = ", ".join(one.name for one in found) or "none"
            expected = "one SampledSoftmax in the model" + (f", named {self.layer}" if self.layer else "")
            fix = "End the model with rondeau.heads.SampledSoftmax(classes), and name it here if there are several"
            raise ArgumentError("the loss sampled_softmax", expected=expected, got=got, fix=fix)
        self._attached = found[0]

    def values(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        layer = self._attached
        if layer is None:
            fix = "Compile a model with it, and call fit or evaluate"
            raise NotBuiltError("the loss sampled_softmax belongs to no model yet", fix=fix)
        if not layer.training:
            return sparse_categorical_crossentropy(y_true, y_pred, from_logits=True)
        features = predictions(y_pred, self.name)
        of_all = features.new_zeros(()).expand(*features.shape[:-1], layer.classes)  # takes no memory
        return layer.sampled_loss(class_labels(y_true, of_all, self.name), features)
