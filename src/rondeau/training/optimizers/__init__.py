"""Optimisers with Keras 3's names, arguments, defaults and update rules."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from rondeau.config import deserialize
from rondeau.errors import ArgumentError
from rondeau.training.optimizers import schedules
from rondeau.training.optimizers.adam import Adam, Adamax, AdamW, Nadam
from rondeau.training.optimizers.adaptive import Adadelta, Adagrad, RMSprop
from rondeau.training.optimizers.base import Optimizer
from rondeau.training.optimizers.ftrl import Ftrl
from rondeau.training.optimizers.sgd import SGD, Lion

if TYPE_CHECKING:
    import torch

__all__ = [
    "OBJECTS",
    "SGD",
    "Adadelta",
    "Adagrad",
    "Adam",
    "AdamW",
    "Adamax",
    "Ftrl",
    "Lion",
    "Nadam",
    "Optimizer",
    "RMSprop",
    "get",
    "schedules",
]

_CLASSES: tuple[type[Optimizer], ...] = (
    Adadelta, Adagrad, Adam, AdamW, Adamax, Ftrl, Lion, Nadam, RMSprop, SGD
)  # fmt: skip
_SCHEDULES: tuple[type[schedules.LearningRateSchedule], ...] = (
    schedules.CosineDecay,
    schedules.ExponentialDecay,
    schedules.InverseTimeDecay,
    schedules.PiecewiseConstantDecay,
    schedules.PolynomialDecay,
)
OBJECTS: dict[str, Any] = {kind.__name__: kind for kind in (*_CLASSES, *_SCHEDULES)}
"""What a saved optimiser may be made of, by name: for `rondeau.config.deserialize`."""

_BY_NAME = {kind.__name__.lower(): kind for kind in _CLASSES}


def get(identifier: Any) -> Optimizer | torch.optim.Optimizer:
    """The optimiser meant by `identifier`.

    Args:
        identifier: a name such as `"adam"` (case does not matter), which gives the class's defaults; what
            `rondeau.config.serialize` made of an optimiser; or an `Optimizer` or `torch.optim.Optimizer`, which comes
            back as it is.

    Raises `ArgumentError` for anything else, with the names there are.

    >>> get("adam").learning_rate
    0.001
    """
    if isinstance(identifier, str):
        return _by_name(identifier)
    if isinstance(identifier, Mapping):
        identifier = deserialize(dict(identifier), OBJECTS, where="optimizer")
    if isinstance(identifier, Optimizer) or _is_torch_optimizer(identifier):
        return identifier  # type: ignore[no-any-return]
    raise ArgumentError(
        "this is not an optimiser",
        expected="a name, an Optimizer or a torch.optim.Optimizer",
        got=repr(identifier),
        fix=f"make it first: {identifier.__name__}()" if isinstance(identifier, type) else f"use one of {_names()}",
    )


def _by_name(name: str) -> Optimizer:
    kind = _BY_NAME.get(name.lower())
    if kind is None:
        close = difflib.get_close_matches(name.lower(), _BY_NAME, n=1)
        fix = f"Did you mean {close[0]!r}? " if close else ""
        raise ArgumentError("there is no such optimiser", got=repr(name), fix=f"{fix}The names are {_names()}")
    return kind()


def _names() -> str:
    return ", ".join(_BY_NAME)


def _is_torch_optimizer(value: object) -> bool:
    """Whether it derives from torch's base class, told by name, so that torch.optim need not be imported for it."""
    return any(
        base.__module__ == "torch.optim.optimizer" and base.__name__ == "Optimizer" for base in type(value).__mro__
    )
