"""Symbolic tensors: calling layers on them records the graph that the functional `Model` runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from rondeau.errors import ArgumentError

Shape = tuple[Any, ...]  # sizes, None where unknown: (None, None, 64)


class SymbolicTensor:
    """A tensor that is not there yet.

    Attributes:
        shape: sizes, None where unknown; the batch first.
        dtype: for inputs whose type was given; else None.
        node: the call that will make it; `position`: which of that call's outputs it is, None for the only one.
    """

    def __init__(self, shape: Shape, dtype: torch.dtype | None, node: Node, position: int | None) -> None:
        self.shape, self.dtype, self.node, self.position = tuple(shape), dtype, node, position

    @property
    def ndim(self) -> int:
        return len(self.shape)

    def __repr__(self) -> str:
        return f"<SymbolicTensor {self.shape} of {self.node.layer.name}>"

    def __bool__(self) -> bool:
        raise ArgumentError(
            "a symbolic tensor has no value to test",
            fix="Use layers on it; data-dependent code goes into a subclassed Model",
        )


class Node:
    """One call of a layer on symbolic tensors.

    Args:
        layer: a `Layer`; layers are made of this module, so their class is not named here.
        args, kwargs: what it was called with: symbolic tensors, in lists or alone, among ordinary values.

    `outputs`: one symbolic tensor, or a list where the layer gives several; then each one's `position` is its index.
    """

    def __init__(self, layer: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.layer, self.args, self.kwargs = layer, args, kwargs
        self.outputs: Any = None

    @property
    def parents(self) -> list[SymbolicTensor]:
        return symbolic_leaves((self.args, self.kwargs))


def record(layer: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Note the call and give the symbolic outputs, one or a list of them."""
    node = Node(layer, args, kwargs)
    shape = layer.output_shape_of_call(args, kwargs)
    if isinstance(shape, list):
        node.outputs = [SymbolicTensor(s, None, node, i) for i, s in enumerate(shape)]
    else:
        node.outputs = SymbolicTensor(shape, None, node, None)
    return node.outputs


def shape_of(value: Any) -> Any:
    """The shape of a tensor-like, or the list of shapes of a list; unknown sizes are None."""
    if isinstance(value, dict):
        return {name: shape_of(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [shape_of(item) for item in value]
    if not hasattr(value, "shape"):
        fix = "Make an array of it first: numpy.asarray(...) or torch.tensor(...)"
        raise ArgumentError("a layer cannot take this", expected="tensors or arrays", got=repr(value), fix=fix)
    return tuple(value.shape)


def symbolic_leaves(value: Any) -> list[SymbolicTensor]:
    """All symbolic tensors in nested lists, tuples and dicts."""
    found: list[SymbolicTensor] = []
    map_leaves(lambda leaf: found.append(leaf) if isinstance(leaf, SymbolicTensor) else None, value)
    return found


def map_leaves(function: Callable[[Any], Any], value: Any) -> Any:
    """`function` of each leaf of nested lists, tuples and dicts."""
    if isinstance(value, dict):
        return {key: map_leaves(function, item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        parts = [map_leaves(function, item) for item in value]
        if isinstance(value, list):
            return parts
        return value._make(parts) if hasattr(value, "_make") else tuple(parts)
    return function(value)
