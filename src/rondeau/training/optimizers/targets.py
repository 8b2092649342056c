"""What an optimiser is built over: named parameters, checked; and the gradients they have at a step."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch.nn.parameter import Parameter, is_lazy

from rondeau.errors import ArgumentError, NotBuiltError


def checked_pairs(where: str, parameters: Iterable[Any]) -> list[tuple[str, Parameter]]:
    """`parameters` as a list of pairs.

    Raises `NotBuiltError` for a parameter without values, `ArgumentError` for what is no pair of name and parameter and
    for the same name or parameter twice.
    """
    pairs: list[tuple[str, Parameter]] = []
    names: set[str] = set()
    seen: dict[int, str] = {}
    for item in parameters:
        if not (isinstance(item, tuple) and len(item) == 2 and isinstance(item[0], str)):
            raise ArgumentError(
                "build takes pairs of name and parameter",
                got=type(item).__name__,
                where=where,
                fix="give model.named_parameters(), not model.parameters()",
            )
        name, parameter = item
        if not isinstance(parameter, Parameter):
            raise ArgumentError(
                f"{name!r} is not a parameter",
                expected="a torch.nn.Parameter",
                got=type(parameter).__name__,
                where=where,
            )
        if is_lazy(parameter):
            raise NotBuiltError(
                f"the parameter {name!r} has no shape and no values yet",
                where=where,
                fix="call the model once on a batch, or add an Input layer, before the optimiser is built",
            )
        if name in names:
            raise ArgumentError(f"two parameters are called {name!r}", where=where)
        if id(parameter) in seen:
            raise ArgumentError(f"{name!r} and {seen[id(parameter)]!r} are the same parameter", where=where)
        names.add(name)
        seen[id(parameter)] = name
        pairs.append((name, parameter))
    return pairs


def with_gradients(where: str, names: list[str], parameters: list[Parameter]) -> tuple[list[int], list[torch.Tensor]]:
    """The positions of the trainable parameters that have a gradient, and the gradients.

    Raises `ArgumentError` when there are trainable parameters and none has one, and for a sparse gradient.
    """
    chosen: list[int] = []
    gradients: list[torch.Tensor] = []
    trainable = 0
    for i, parameter in enumerate(parameters):
        if not parameter.requires_grad:
            continue
        trainable += 1
        gradient = parameter.grad
        if gradient is None:
            continue
        if gradient.layout is not torch.strided:
            raise ArgumentError(
                f"the gradient of {names[i]!r} is sparse",
                expected="a dense gradient",
                got=gradient.layout,
                where=where,
                fix="make the embedding with sparse=False",
            )
        chosen.append(i)
        gradients.append(gradient)
    if trainable and not chosen:
        raise ArgumentError(
            f"none of the {trainable} trainable parameters has a gradient",
            where=where,
            fix="call loss.backward() before step(); the loss must come from the parameters given to build",
        )
    return chosen, gradients
