"""Keeping, on the reference loop: each step's values are put where the step stands in the inputs."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

from rondeau.cells.base import state_leaves
from rondeau.cells.naming import Collector
from rondeau.errors import ArgumentError, ShapeError
from rondeau.recurrence.keep import Record, apart


class Readings(Collector):
    """Fills `record`, step by step.

    Args:
        index: the place in the inputs of every step that is made, in the order in which they are.
        again: the scan is run once more for gradients of gradients: only cotangents are new.
    """

    def __init__(self, record: Record, index: Tensor, again: bool = False) -> None:
        super().__init__(record.owner)
        self.record, self.index, self.wish = record, index, record.wish
        if again:
            self.wish = record.wish._replace(states=False, intermediates=False)
        self.here = index[:0]  # the places of the rows of this step
        self.values: dict[str, Tensor] = {}
        self.names: list[str] | None = None
        self.cotangents = _Cotangents(record, len(index))

    def step(self, start: int, rows: int) -> None:
        self.begin(rows)
        self.here = self.index[start : start + rows]

    def after(self, state: Any, given: Iterable[Any]) -> Any:
        """Keep the state a step returned; the one to go on with."""
        if self.wish.cotangents:
            state = apart(state, given)
            for i, (_, tensor) in enumerate(state_leaves(state)):
                self.cotangents.watch(i, tensor, self.here)
        if self.wish.states:
            for i, (name, tensor) in enumerate(state_leaves(state)):
                self._store(f"state {i}", tensor, f"the state {name}")
        self.named_at_every_step()
        return state

    def put(self, name: str, tensor: Tensor) -> None:
        if self.wish.wants(name):
            self._store(f"named {name}", tensor, f"named({name!r}, ...)")

    def _store(self, key: str, tensor: Tensor, called: str) -> None:
        known = self.values.get(key)
        if known is None:
            known = self.values[key] = tensor.new_empty(len(self.index), *tensor.shape[1:], requires_grad=False)
        elif known.shape[1:] != tensor.shape[1:] or known.dtype != tensor.dtype:
            expected, got = ((tuple(t.shape[1:]), t.dtype) for t in (known, tensor))
            what = f"{called} has another shape or type than at the first step"
            raise ShapeError(what, expected=expected, got=got, where=self.owner)
        known[self.here] = tensor.detach()[: len(self.here)]

    def named_at_every_step(self) -> None:
        """Raises `ArgumentError` where a step names something else than the first."""
        names = list(self.seen)
        if self.names is None:
            self.names = names
        elif set(self.names) != set(names):
            odd = ", ".join(sorted(set(names) ^ set(self.names)))
            raise ArgumentError(f"intermediates are named at some steps only: {odd}", where=self.owner,
                                fix="Name them at every step")  # fmt: skip

    def done(self, state: Any) -> None:
        """After the last step; `state`: the final one, for its shapes where no step was made."""
        record = self.record
        record.cotangents = None
        if self.wish.states:
            leaves = [t for _, t in state_leaves(state)]
            record.states = [self.values.get(f"state {i}", t.detach()[:0]) for i, t in enumerate(leaves)]
        if self.wish.intermediates is not False:
            self.wish.check(self.names or (), record.owner)
            record.intermediates = {n: self.values[f"named {n}"] for n in self.names or () if self.wish.wants(n)}


class _Cotangents:
    """Hooks on the states of all steps. Each backward pass begins anew, from zeros."""

    def __init__(self, record: Record, steps: int) -> None:
        self.record, self.steps = record, steps
        self.like: dict[int, Tensor] = {}  # empty tensors like the states
        self.task = -1

    def watch(self, i: int, tensor: Tensor, here: Tensor) -> None:
        self.like.setdefault(i, tensor.detach()[:0])
        if tensor.requires_grad:
            tensor.register_hook(self._hook(i, here))  # type: ignore[no-untyped-call]

    def _hook(self, i: int, here: Tensor) -> Callable[[Tensor], None]:
        def got(gradient: Tensor) -> None:
            task = torch._C._current_graph_task_id()
            if task != self.task or self.record.cotangents is None:
                self.task = task
                self.record.cotangents = [
                    like.new_zeros(self.steps, *like.shape[1:]) for _, like in sorted(self.like.items())
                ]
            self.record.cotangents[i][here] = gradient.detach()

        return got
