"""An optimiser's state as a flat dictionary of tensors, and back."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch

from rondeau.errors import CheckpointError

_SCALARS = {"iterations": torch.int64, "learning_rate": torch.float64}


def collect(
    names: list[str], slots: dict[str, list[torch.Tensor]], iterations: int, learning_rate: float
) -> dict[str, torch.Tensor]:
    """Copies, contiguous so that safetensors takes them, in the order of the parameters."""
    state = {
        key: slots[slot][i].clone(memory_format=torch.contiguous_format) for key, slot, i in _entries(names, slots)
    }
    state["iterations"] = torch.tensor(iterations, dtype=_SCALARS["iterations"])
    state["learning_rate"] = torch.tensor(learning_rate, dtype=_SCALARS["learning_rate"])
    return state


def check(names: list[str], slots: dict[str, list[torch.Tensor]], state: Mapping[str, Any], where: str) -> None:
    """Raises `CheckpointError` unless `state` has exactly the entries, shapes and dtypes of this optimiser's."""
    expected: dict[str, tuple[tuple[int, ...], torch.dtype]] = {
        key: (tuple(slots[slot][i].shape), slots[slot][i].dtype) for key, slot, i in _entries(names, slots)
    }
    expected.update({key: ((), dtype) for key, dtype in _SCALARS.items()})
    for word, keys in (("lacks", expected.keys() - state.keys()), ("has unexpected", state.keys() - expected.keys())):
        if keys:
            raise CheckpointError(
                f"the optimiser's saved state {word} {_listed(keys)}",
                where=where,
                fix="load it into the same optimiser, built for the same model, as it was saved from",
            )
    for key, (shape, dtype) in expected.items():
        value = state[key]
        if not isinstance(value, torch.Tensor):
            raise CheckpointError(f"{key!r} is not a tensor", got=type(value).__name__, where=where)
        if (tuple(value.shape), value.dtype) != (shape, dtype):
            raise CheckpointError(
                f"the saved {key!r} does not fit",
                expected=f"shape {shape} in {dtype}",
                got=f"shape {tuple(value.shape)} in {value.dtype}",
                where=where,
            )
        if key in _SCALARS and not 0 <= value.item() < math.inf:
            raise CheckpointError(f"the saved {key!r} is out of range", got=value.item(), where=where)


def restore(names: list[str], slots: dict[str, list[torch.Tensor]], state: Mapping[str, torch.Tensor]) -> None:
    """Copies the checked `state` into the slots."""
    with torch.no_grad():
        for key, slot, i in _entries(names, slots):
            slots[slot][i].copy_(state[key])


def _entries(names: list[str], slots: dict[str, list[torch.Tensor]]) -> list[tuple[str, str, int]]:
    return [(f"{name}/{slot}", slot, i) for i, name in enumerate(names) for slot in slots]


def _listed(keys: set[str]) -> str:
    shown = ", ".join(repr(key) for key in sorted(keys)[:5])
    return shown + (f" and {len(keys) - 5} more" if len(keys) > 5 else "")
