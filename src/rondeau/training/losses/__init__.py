"""Losses with Keras's names, arguments, defaults and numbers.

They see real steps only: variable-length sequences are flattened to `(steps, outputs)` before, so there are no masks.
`get` finds one by name; the functions return a value per sample or step, the classes one number.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

from rondeau.config import deserialize
from rondeau.errors import ArgumentError
from rondeau.training.lookup import unknown
from rondeau.training.losses.base import FunctionLoss, Loss, function_name
from rondeau.training.losses.chain import CRFLoss, crf
from rondeau.training.losses.choice import Crossentropy
from rondeau.training.losses.groups import GroupNegativeLogLikelihood
from rondeau.training.losses.likelihood import NegativeLogLikelihood
from rondeau.training.losses.probabilistic import (
    BinaryCrossentropy,
    CategoricalCrossentropy,
    KLDivergence,
    Poisson,
    SparseCategoricalCrossentropy,
    binary_crossentropy,
    categorical_crossentropy,
    kl_divergence,
    poisson,
    sparse_categorical_crossentropy,
)
from rondeau.training.losses.regression import (
    CosineSimilarity,
    Hinge,
    Huber,
    LogCosh,
    MeanAbsoluteError,
    MeanAbsolutePercentageError,
    MeanSquaredError,
    MeanSquaredLogarithmicError,
    cosine_similarity,
    hinge,
    huber,
    log_cosh,
    mean_absolute_error,
    mean_absolute_percentage_error,
    mean_squared_error,
    mean_squared_logarithmic_error,
)
from rondeau.training.losses.sampled import SampledSoftmaxLoss

_CLASS_OF: dict[Callable[..., Tensor], type[Loss]] = {
    binary_crossentropy: BinaryCrossentropy,
    categorical_crossentropy: CategoricalCrossentropy,
    cosine_similarity: CosineSimilarity,
    crf: CRFLoss,
    hinge: Hinge,
    huber: Huber,
    kl_divergence: KLDivergence,
    log_cosh: LogCosh,
    mean_absolute_error: MeanAbsoluteError,
    mean_absolute_percentage_error: MeanAbsolutePercentageError,
    mean_squared_error: MeanSquaredError,
    mean_squared_logarithmic_error: MeanSquaredLogarithmicError,
    poisson: Poisson,
    sparse_categorical_crossentropy: SparseCategoricalCrossentropy,
}
_ALIASES: dict[str, type[Loss]] = {
    "bce": BinaryCrossentropy,
    "kld": KLDivergence,
    "kullback_leibler_divergence": KLDivergence,
    "logcosh": LogCosh,
    "mae": MeanAbsoluteError,
    "mape": MeanAbsolutePercentageError,
    "mse": MeanSquaredError,
    "msle": MeanSquaredLogarithmicError,
    "huber_loss": Huber,
    "crossentropy": Crossentropy,
    "ce": Crossentropy,
    "sampled_softmax": SampledSoftmaxLoss,
}

NAMES: dict[str, type[Loss]] = {
    **{function_name(function): kind for function, kind in _CLASS_OF.items()},
    **_ALIASES,
    **{name.upper(): _ALIASES[name] for name in ("bce", "kld", "mae", "mape", "mse", "msle")},
    **{kind.__name__: kind for kind in _CLASS_OF.values()},
    "SampledSoftmaxLoss": SampledSoftmaxLoss,
}
"""Every name that `get` knows, with its class."""

_ALONE: tuple[type[Loss], ...] = (
    Crossentropy,
    FunctionLoss,
    GroupNegativeLogLikelihood,
    NegativeLogLikelihood,
    SampledSoftmaxLoss,
)
_CLASSES: tuple[type[Loss], ...] = (*_CLASS_OF.values(), *_ALONE)
OBJECTS: dict[str, Any] = {kind.__name__: kind for kind in _CLASSES}
"""What a saved loss may be made of, by name: for `rondeau.config.deserialize`."""


def get(identifier: Any) -> Loss:
    """The loss that `identifier` means.

    Args:
        identifier: a name (`"mse"`, `"mean_squared_error"`, `"MeanSquaredError"`); a `Loss` or a class of them; a
            function `(y_true, y_pred) -> values`; what `rondeau.config.serialize` made of a loss. `"crossentropy"` and
            `"ce"` settle on the binary, categorical or sparse one by the shapes they first see.

    Raises `ArgumentError` for anything else, with the nearest name there is, and for a loss of torch, which takes its
    arguments the other way round.

    >>> get("mse").name
    'mean_squared_error'
    """
    if isinstance(identifier, str):
        return _by_name(identifier)
    if isinstance(identifier, Mapping):
        identifier = deserialize(dict(identifier), OBJECTS, where="loss")
    if isinstance(identifier, type) and issubclass(identifier, Loss):
        identifier = identifier()
    if isinstance(identifier, Loss):
        return identifier
    if isinstance(identifier, type) or not callable(identifier):
        expected = "a name, a Loss or a function (y_true, y_pred)"
        raise ArgumentError("this is no loss", expected=expected, got=repr(identifier))
    refuse_torch(identifier, "loss")
    known = _CLASS_OF.get(identifier)
    return known() if known else FunctionLoss(identifier)


def _by_name(name: str) -> Loss:
    if name.lower() in ("crossentropy", "ce"):
        return Crossentropy(name=name)
    if name not in NAMES:
        raise unknown("loss", name, NAMES)
    return NAMES[name]()


def refuse_torch(identifier: Any, kind: str) -> None:
    """Refuses torch's own losses: they take (predictions, targets), and would run silently on swapped arguments."""
    of = identifier if hasattr(identifier, "__qualname__") else type(identifier)
    if str(of.__module__).startswith("torch."):
        raise ArgumentError(
            f"torch's {of.__name__} takes (y_pred, y_true), a {kind} of Rondeau (y_true, y_pred)",
            fix=f"Wrap it: def my_{kind}(y_true, y_pred): return the_{kind}(y_pred, y_true)",
        )


__all__ = [
    "NAMES",
    "OBJECTS",
    "BinaryCrossentropy",
    "CRFLoss",
    "CategoricalCrossentropy",
    "CosineSimilarity",
    "Crossentropy",
    "FunctionLoss",
    "GroupNegativeLogLikelihood",
    "Hinge",
    "Huber",
    "KLDivergence",
    "LogCosh",
    "Loss",
    "MeanAbsoluteError",
    "MeanAbsolutePercentageError",
    "MeanSquaredError",
    "MeanSquaredLogarithmicError",
    "NegativeLogLikelihood",
    "Poisson",
    "SampledSoftmaxLoss",
    "SparseCategoricalCrossentropy",
    "binary_crossentropy",
    "categorical_crossentropy",
    "cosine_similarity",
    "crf",
    "get",
    "hinge",
    "huber",
    "kl_divergence",
    "log_cosh",
    "mean_absolute_error",
    "mean_absolute_percentage_error",
    "mean_squared_error",
    "mean_squared_logarithmic_error",
    "poisson",
    "sparse_categorical_crossentropy",
]
