"""One row of a scan, step by step: its states, and what small changes of a state do to the next one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from rondeau.cells import Cell
from rondeau.cells.base import Context, map_state, state_tensors
from rondeau.cells.naming import collecting
from rondeau.sequence import Ragged

_ROWS = 256  # copies of the row in one call of the step
Vectors = Float[Tensor, "vectors size"]


@dataclass
class Trajectory:
    """What a row's steps read and began with, each tensor with one row.

    Attributes:
        inputs: `(steps, features)`, in the order in which they are read.
        state: before the first step.
        context: name -> (per step?, tensor): `(steps, ...)` in the same order, or `(1, ...)`.
        states: before each step and after the last.
    """

    cell: Cell
    inputs: Tensor
    state: Any
    context: Mapping[str, tuple[bool, Tensor]]
    states: list[Any] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.states = [map_state(Tensor.detach, self.state)]
        with torch.no_grad():
            for t in range(len(self.inputs)):
                self.states.append(self._step(t, self.states[-1], 1))

    def __len__(self) -> int:
        return len(self.inputs)

    @property
    def size(self) -> int:
        """Numbers in a whole state, all parts together; those that are no floats are no part of it."""
        return sum(t.numel() for t in state_tensors(self.state) if t.is_floating_point())

    def back(self, t: int, vectors: Vectors) -> Vectors:
        """Each vector times the Jacobian of step t: derivatives by the state after it, as such by the state before."""
        found = []
        for part in torch.split(vectors, _ROWS):
            before, after = self._differentiable(t, len(part))
            found.append(_flat(torch.autograd.grad(after, before, part.to(after), allow_unused=True), before).detach())
        return torch.cat(found).to(vectors)

    def ahead(self, t: int, vectors: Vectors) -> Vectors:
        """The Jacobian of step t times each vector: what small changes of the state before it become."""
        found = []
        for part in torch.split(vectors, _ROWS):
            before, after = self._differentiable(t, len(part))
            weights = torch.zeros_like(after, requires_grad=True)  # linear in these: differentiated again by them
            back = torch.autograd.grad(after, before, weights, create_graph=True, allow_unused=True)
            flat = _flat(back, before)
            if not flat.requires_grad:  # the state before it has no say
                found.append(torch.zeros_like(part))
                continue
            (gradient,) = torch.autograd.grad(flat, weights, part.to(after), allow_unused=True)
            found.append(torch.zeros_like(part) if gradient is None else gradient.detach())
        return torch.cat([part.to(vectors) for part in found])

    def jacobian(self, t: int) -> Float[Tensor, "size size"]:
        """Derivative of the state after step t (rows) by the state before it (columns), all parts side by side."""
        return self.back(t, torch.eye(self.size, dtype=self._dtype(), device=self.inputs.device))

    def once(self, t: int) -> tuple[Tensor, Any]:
        """Step t once more: its output and the state after it."""
        return self._outcome(t, self.inputs[t : t + 1], self.states[t], 1)

    def differentiable(self, t: int) -> tuple[Tensor, Any, Tensor, Any]:
        """Step t once more, for derivatives: its input and the state before it, its output and the state after it."""
        with torch.enable_grad():
            x = self.inputs[t : t + 1].detach()
            x = x.clone().requires_grad_(x.is_floating_point())
            state = map_state(lambda s: s.clone().requires_grad_(s.is_floating_point()), self.states[t])
            return x, state, *self._outcome(t, x, state, 1)

    def _dtype(self) -> torch.dtype:
        return next(t.dtype for t in state_tensors(self.state) if t.is_floating_point())

    def _differentiable(self, t: int, rows: int) -> tuple[list[Tensor], Tensor]:
        """The parts of the state before step t, repeated, and the whole state after it, `(rows, size)`."""
        with torch.enable_grad():
            state = map_state(
                lambda s: _repeated(s, rows).clone().requires_grad_(s.is_floating_point()), self.states[t]
            )
            before = [s for s in state_tensors(state) if s.requires_grad]
            after = self._step(t, state, rows)
            flat = torch.cat([s.reshape(rows, -1) for s in state_tensors(after) if s.is_floating_point()], dim=1)
            if not flat.requires_grad:
                flat = flat + 0 * before[0].sum()
            return before, flat

    def _step(self, t: int, state: Any, rows: int) -> Any:
        return self._outcome(t, _repeated(self.inputs[t : t + 1], rows), state, rows)[1]

    def _outcome(self, t: int, x: Tensor, state: Any, rows: int) -> tuple[Tensor, Any]:
        more: tuple[Context, ...] = ()
        if self.cell.takes_context:
            here = {name: _repeated(c[t : t + 1] if each else c, rows) for name, (each, c) in self.context.items()}
            more = (Context(self.cell, here, torch.tensor(t, device=self.inputs.device)),)
        with collecting(None):
            return self.cell.step(x, state, *more)


def row_of(
    cell: Cell,
    inputs: Ragged,
    state: Any,
    context: Mapping[str, tuple[bool, Tensor]],
    reverse: bool,
    row: int,
    most: int,
) -> Trajectory:
    """The first `most` steps that a scan makes of one row.

    Args:
        inputs: values `(steps, features)`; state: each part `(batch, ...)`.
        context: as `gather_context` gives it: `(batch, ...)` per row, `(steps, ...)` per step.
    """

    def steps(values: Tensor) -> Tensor:
        own = inputs.with_values(values.detach()).select([row])
        return (own.reverse() if reverse else own).values[:most]

    chosen = {n: (each, steps(c) if each else c.detach()[row : row + 1]) for n, (each, c) in context.items()}
    return Trajectory(cell, steps(inputs.values), map_state(lambda s: s[row : row + 1], state), chosen)


def _repeated(tensor: Tensor, rows: int) -> Tensor:
    return tensor.expand(rows, *tensor.shape[1:])


def _flat(gradients: tuple[Tensor | None, ...], like: list[Tensor]) -> Tensor:
    parts = [torch.zeros_like(s) if g is None else g for g, s in zip(gradients, like, strict=True)]
    return torch.cat([part.reshape(len(part), -1) for part in parts], dim=1)
