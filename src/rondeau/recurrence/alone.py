"""Derivatives by tensors that are part of a larger graph: by these alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor


@contextmanager
def alone(tensors: Sequence[Tensor]) -> Iterator[Callable[[Tensor, Tensor | None], Tensor | None]]:
    """Derivatives by these tensors end at them: nothing flows on to what they were made of, no hook of the user's runs.

    Those come later, when autograd goes on with the whole. What is given is a function of a tensor and of the
    derivative by it as torch found it, which returns what it is alone. What the tensors were made of is needed later,
    so `torch.autograd.grad` is to retain the graph where one of them was made.
    """
    stopped: dict[int, Tensor] = {}
    # emptied, not taken away: what made a tensor holds on to the hooks by itself
    hooks = [(t._backward_hooks, dict(t._backward_hooks)) for t in tensors if t._backward_hooks]
    for kept, _ in hooks:
        kept.clear()

    def stop(key: int) -> Callable[[Tensor], Tensor]:
        def hook(gradient: Tensor) -> Tensor:
            stopped[key] = gradient
            return torch.zeros_like(gradient)

        return hook

    handles = [t.register_hook(stop(id(t))) for t in tensors if t.grad_fn is not None]  # type: ignore[no-untyped-call]
    try:
        yield lambda tensor, found: stopped.get(id(tensor), found)
    finally:
        for handle in handles:
            handle.remove()
        for kept, before in hooks:
            kept.update(before)
