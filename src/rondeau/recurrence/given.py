"""Weights that come with a call: tensors without rows that a step reads, and its cell does not own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from torch import Tensor

from rondeau.errors import StateError

Kinds = tuple[tuple[str, tuple[int, ...], torch.dtype, bool], ...]  # name, shape, type, whether it takes gradients
_NONE: Mapping[str, Tensor] = {}
_current: ContextVar[Mapping[str, Tensor]] = ContextVar("rondeau_given", default=_NONE)


@contextmanager
def giving(weights: Mapping[str, Tensor]) -> Iterator[None]:
    """Within this, scans and steps find these tensors by `given`.

    They may be other tensors at every call: a step is traced for their names, shapes and types, never for the tensors
    themselves. So one cell serves many owners, and weights that are computed before each call, as those of a
    parametrisation are, or replaced for it, as by `torch.func.functional_call`, are neither stale nor traced again.
    """
    before = _current.set(weights)
    try:
        yield
    finally:
        _current.reset(before)


def given(name: str) -> Tensor:
    """The tensor of this name. Raises `StateError` where none was given."""
    try:
        return _current.get()[name]
    except KeyError:
        raise StateError(
            f"a step reads the weight {name!r}, which was not given", expected=f"giving({{{name!r}: tensor}})"
        ) from None


def all_given() -> Mapping[str, Tensor]:
    """Every weight given to the scan that runs now."""
    return _current.get()


def kinds(weights: Mapping[str, Tensor], dtype: torch.dtype) -> Kinds:
    """What a trace must know of them; those that are not of `dtype` are cast before the loop."""
    return tuple(
        [(n, tuple(t.shape), dtype if t.is_floating_point() else t.dtype, t.requires_grad) for n, t in weights.items()]
    )
