"""Names of layers inside a model: their own, or the class's in snake case with a number from the second on."""

from __future__ import annotations

from collections.abc import Iterable

from rondeau.errors import ArgumentError
from rondeau.layers import Layer
from rondeau.layers.base import snake_case


def give_names(layers: Iterable[Layer]) -> None:
    """Name the unnamed: `lstm`, `lstm_1`, ... Raises `ArgumentError` for a name given twice or unfit for one."""
    layers = list(layers)
    taken: set[str] = set()
    for layer in layers:
        if layer.named_by_user:
            if layer.name in taken or "." in layer.name or not layer.name:
                fix = "Give each layer a name of its own, without a dot"
                raise ArgumentError("two layers have one name" if layer.name in taken else "a name", got=layer.name, fix=fix)
            taken.add(layer.name)
    for layer in layers:
        if not layer.named_by_user:
            base = snake_case(type(layer).__name__)
            name, number = base, 0
            while name in taken:
                number += 1
                name = f"{base}_{number}"
            layer.name = name
            taken.add(name)
