"""Names of layers inside a model: their own, or the class's in snake case with a number from the second on."""

from __future__ import annotations

from collections.abc import Iterable

import torch

from rondeau.errors import ArgumentError
from rondeau.layers import Layer
from rondeau.layers.base import snake_case


def give_names(layers: Iterable[Layer]) -> None:
    """Name the unnamed: `lstm`, `lstm_1`, ... Raises `ArgumentError` for a name given twice or unfit for one."""
    layers = list(layers)
    taken: set[str] = set()
    for layer in layers:
        if layer.named_by_user:
            _check(layer.name)
            if layer.name in taken:
                fix = "Give each layer a name of its own: LSTM(64, name='encoder')"
                raise ArgumentError("two layers of a model have one name", got=repr(layer.name), fix=fix)
            taken.add(layer.name)
    for layer in layers:
        if not layer.named_by_user:
            base = snake_case(type(layer).__name__)
            name, number = base, 0
            while name in taken or not _fits(name):
                number += 1
                name = f"{base}_{number}"
            layer.name = name
            taken.add(name)


def named_modules(layers: Iterable[Layer]) -> torch.nn.ModuleDict:
    """The layers by their names, in their order."""
    return torch.nn.ModuleDict({layer.name: layer for layer in layers})


def _check(name: object) -> None:
    if not isinstance(name, str) or not name or "." in name:
        raise ArgumentError("a layer's name", expected="a text without a dot, not empty", got=repr(name))
    if not _fits(name):
        raise ArgumentError("a layer's name is taken by torch", got=repr(name), fix=f"Use {name + '_layer'!r}")


def _fits(name: str) -> bool:
    return not hasattr(torch.nn.ModuleDict, name) and name != "training"
