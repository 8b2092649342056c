"""Which module of a model a scan belongs to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch

from rondeau.cells.base import Cell
from rondeau.recurrence.watch import Call

CHAIN = "chain."  # where a model of Rondeau keeps its layers


class Names:
    """Names for the scans of one forward pass, in the order they are made: those of the modules that make them.

    A layer of Rondeau's is known by its cell, one of torch.nn's by being under way; of the latter with several layers
    or directions each scan has its own, as their weights do: `rnn.l0`, `rnn.l0_reverse`, `rnn.l1`, ... A second call of
    the same is `lstm (call 2)`.

    Attributes:
        silent: modules of torch.nn, by their full names, that were called and made no scan.
    """

    def __init__(self, model: torch.nn.Module) -> None:
        self._cells: dict[int, str] = {}
        self._modules: list[tuple[str, torch.nn.Module]] = []
        for name, module in model.named_modules():
            if isinstance(module, Cell):
                self._cells.setdefault(id(module), short(name.removesuffix("cell").removesuffix(".")))
            elif isinstance(module, (torch.nn.RNNBase, torch.nn.RNNCellBase)):
                self._modules.append((name, module))
        self.silent: list[str] = []
        self._under_way: list[tuple[str, Any, list[int]]] = []
        self._seen: Counter[str] = Counter()

    @contextmanager
    def following(self) -> Iterator[None]:
        """Within this, names are given anew, and modules of torch.nn say when they are called."""
        self.silent.clear()
        self._seen.clear()
        self._under_way.clear()
        with ExitStack() as stack:
            for name, module in self._modules:
                if not name:  # the model itself, whose call begins next, or has begun: too late for a hook
                    self._begin(name, module)
                else:
                    begin = module.register_forward_pre_hook(lambda m, _, name=name: self._begin(name, m))
                    stack.callback(begin.remove)
                end = module.register_forward_hook(lambda *_: self._end(), always_call=True)
                stack.callback(end.remove)
            yield

    def _begin(self, name: str, module: Any) -> None:
        self._under_way.append((name, module, [0]))

    def _end(self) -> None:
        name, _, made = self._under_way.pop()
        if not made[0] and name not in self.silent:
            self.silent.append(name)

    def of(self, call: Call) -> str:
        """The name of a scan that has just been made."""
        name = self._cells.get(id(call.cell))
        if name is None and self._under_way:
            name = self._of_torchs(*self._under_way[-1])
        name = name or type(call.cell).__name__
        self._seen[name] += 1
        return name if self._seen[name] == 1 else f"{name} (call {self._seen[name]})"

    def _of_torchs(self, name: str, module: Any, made: list[int]) -> str:
        directions = 1 + module.bidirectional
        place = made[0] % (module.num_layers * directions)
        made[0] += 1
        name = short(name)
        if module.num_layers * directions == 1:
            return name
        suffix = "_reverse" if place % directions else ""
        return f"{name}.l{place // directions}{suffix}".removeprefix(".")


def short(name: str) -> str:
    """A module's or parameter's name as the user has it, without where a model keeps its layers."""
    return name.removeprefix(CHAIN)
