"""What a step on the reference loop reads that nobody gave it: its own tensors, and random numbers."""

from __future__ import annotations

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
