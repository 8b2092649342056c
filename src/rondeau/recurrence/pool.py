"""Memory of loops that have ended, for loops to come: fresh pages cost more than the products that fill them."""

from __future__ import annotations

import threading

import torch
from torch import Tensor

SMALL = 1 << 20  # bytes below which torch's own allocator is as good
LIMIT = 1 << 29  # bytes held for later at most

_free: list[Tensor] = []
_lock = threading.Lock()


def take(count: int, size: int, dtype: torch.dtype) -> Tensor:
    """An uninitialised tensor `(count, size)`, perhaps in memory that was given back; it must be given back once only."""
    needed = count * size * dtype.itemsize
    if needed < SMALL or torch.are_deterministic_algorithms_enabled():  # that one fills fresh memory with NaN, for tests
        return torch.empty(count, size, dtype=dtype)
    with _lock:
        fitting = [i for i, t in enumerate(_free) if needed <= t.numel() <= 2 * needed]
        raw = _free.pop(min(fitting, key=lambda i: _free[i].numel())) if fitting else None
    if raw is None:
        raw = torch.empty(needed, dtype=torch.uint8)
    return raw[:needed].view(dtype).view(count, size)


def give(tensor: Tensor) -> None:
    """The memory of a tensor from `take`, which nobody may read any more."""
    if tensor.numel() * tensor.dtype.itemsize < SMALL:
        return
    storage = tensor.untyped_storage()
    raw = torch.empty(0, dtype=torch.uint8).set_(storage, 0, (storage.nbytes(),))
    with _lock:
        _free.append(raw)
        while sum(t.numel() for t in _free) > LIMIT:
            _free.pop(0)
