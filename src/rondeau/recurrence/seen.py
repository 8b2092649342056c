"""What a step on the reference loop reads that nobody gave it: its own tensors, and random numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from rondeau.errors import EngineError


class Seen(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Within this mode, and without gradients, gathers in `captured` the tensors that take gradients all the same.

    They are parameters, and what closures and attributes hold; what the steps make takes none. Raises `EngineError`
    for operations that draw random numbers, unless `random`.
    """

    def __init__(self, owner: str, random: bool = False) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.owner, self.random = owner, random
        self._found: dict[int, Tensor] = {}

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # True would import torch._dynamo, seconds

    @property
    def captured(self) -> list[Tensor]:
        return list(self._found.values())

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        if not self.random and torch.Tag.nondeterministic_seeded in func.tags:
            raise EngineError(
                f"{self.owner}.step draws random numbers ({func}), and Recompute makes each step twice",
                fix="Draw them in the cell's draw(), once before the loop, or leave gradient out",
            )
        kwargs = kwargs or {}
        for tensor in tree_leaves((args, kwargs)):
            if isinstance(tensor, Tensor) and tensor.requires_grad:
                self._found.setdefault(id(tensor), tensor)
        return func(*args, **kwargs)


@contextmanager
def alone(tensors: Sequence[Tensor]) -> Iterator[Callable[[Tensor, Tensor | None], Tensor | None]]:
    """Derivatives by these tensors end at them: none goes on to what they were made of, no hook of the user's runs.

    Those come later, when autograd goes on with the sum over all windows. What is given is a function of a tensor and
    the derivative by it as torch found it, which returns what it is alone.
    """
    stopped: dict[int, Tensor] = {}
    handles, hooks = [], []
    for tensor in tensors:
        if tensor._backward_hooks:
            hooks.append((tensor._backward_hooks, dict(tensor._backward_hooks)))
            tensor._backward_hooks.clear()
        if tensor.grad_fn is not None:

            def stop(gradient: Tensor, key: int = id(tensor)) -> Tensor:
                stopped[key] = gradient
                return torch.zeros_like(gradient)

            handles.append(tensor.register_hook(stop))  # type: ignore[no-untyped-call]
    try:
        yield lambda tensor, found: stopped.get(id(tensor), found)
    finally:
        for handle in handles:
            handle.remove()
        for kept, before in hooks:
            kept.update(before)
