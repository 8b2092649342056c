"""`Cell`: what one step computes. The base of Rondeau's own cells and of yours."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor

from rondeau.errors import ShapeError, StateError
from rondeau.module import BuildableModule


class HiddenState(NamedTuple):
    """The state of a cell that carries one tensor: `h`, `(batch, units)`."""

    h: Any


class Cell(BuildableModule):
    """One step of a recurrent network: parameters, a named state, and the formula, written once in plain PyTorch.

    A cell defines

    - `state_size`: a named tuple like its state, holding sizes: `HiddenState(h=units)`; a size is an int or a tuple;
    - `output_size`: features of its output;
    - `build(features)`: makes the weights with `add_weight` (not needed if `__init__` makes them);
    - `step(x, state) -> (output, state)`: x `(batch, features)`, each state `(batch, size)`, output `(batch, output_size)`.

    A cell that needs more names it in `per_row` and `per_step` and takes `step(x, state, context)`:
    `context.<name>` is a tensor `(batch, ...)`, for `per_step` that step's slice of `(batch, time, ...)`, and
    `context.index` counts the real steps the row has made (0-d, from 0). Values come from `scan(..., context={...})`, and
    random ones from `draw`, once before the loop and in training only, so that whoever runs the steps again sees the same.

    >>> class Leaky(Cell):
    ...     def __init__(self, units):
    ...         super().__init__()
    ...         self.state_size, self.output_size = HiddenState(h=units), units
    ...     def build(self, features):
    ...         self.kernel = self.add_weight("kernel", (features, self.output_size))
    ...     def step(self, x, state):
    ...         h = 0.9 * state.h + 0.1 * torch.tanh(x @ self.kernel)
    ...         return h, HiddenState(h)
    >>> output, state = Leaky(3)(torch.ones(2, 5), HiddenState(torch.zeros(2, 3)))
    >>> output.shape
    torch.Size([2, 3])
    """

    state_size: Any
    output_size: int
    features: int | None = None
    per_row: tuple[str, ...] = ()
    per_step: tuple[str, ...] = ()
    step: Callable[..., tuple[Tensor, Any]]

    def build_for(self, features: int) -> None:
        """Make the weights for inputs of `features`, once; raises `ShapeError` if they exist for another number."""
        if not self.built:
            self.features = features
            self.build(features)
            self.mark_built()
        elif self.features is not None and self.features != features:
            raise ShapeError(
                f"{type(self).__name__}: the input has another number of features than the cell was built for",
                expected=self.features,
                got=features,
            )

    def initial_state(
        self, batch: int, *, dtype: torch.dtype | None = None, device: torch.device | str | None = None
    ) -> Any:
        """The state before the first step: zeros `(batch, size)`, named as in `state_size`."""
        return map_state(lambda size: torch.zeros(batch, *sizes(size), dtype=dtype, device=device), self.state_size)

    def draw(self, lengths: Tensor, generator: torch.Generator | None) -> dict[str, Tensor]:
        """The random tensors `step` reads from its context, for rows of these lengths; in training only."""
        return {}

    @property
    def takes_context(self) -> bool:
        """Whether `step` has a third argument."""
        return len(inspect.signature(self.step).parameters) == 3

    def forward(self, x: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        """One step, `(output, state)`, outside any loop; `state=None` begins anew. Cells that take a context need `scan`."""
        self.build_for(x.shape[-1])
        batch = x.shape[0]
        begun = self.initial_state(batch, dtype=x.dtype, device=x.device) if state is None else state
        begun = check_state(self, begun, batch)
        if not self.takes_context:
            return self.step(x, begun)
        drawn = self.draw(torch.ones(batch, dtype=torch.int64), self.generator(x.device)) if self.training else {}
        return self.step(x, begun, Context(self, drawn))


class Context:
    """The named tensors a step may read; a name that nobody gave raises, saying how to give it."""

    def __init__(self, cell: Cell, tensors: dict[str, Tensor], index: Tensor | None = None) -> None:
        self._cell = type(cell).__name__
        self.index = torch.zeros((), dtype=torch.int64) if index is None else index
        self.__dict__.update(tensors)

    def __getattr__(self, name: str) -> Tensor:
        raise StateError(
            f"{self._cell}.step reads context.{name}, which was not given",
            fix=f"Name it in per_row or per_step, and give it by draw() or scan(..., context={{{name!r}: tensor}})",
        )


def sizes(size: Any) -> tuple[int, ...]:
    """A state's size as a shape: 5 -> (5,)."""
    return (size,) if isinstance(size, int) else tuple(size)


def _is_leaf(state: Any) -> bool:
    return not isinstance(state, tuple) or (not hasattr(state, "_fields") and all(isinstance(s, int) for s in state))


def map_state(function: Callable[..., Any], state: Any, *others: Any) -> Any:
    """`function` of each tensor (or size) of a state, in the same named form; states may nest."""
    if _is_leaf(state):
        return function(state, *others)
    parts = [map_state(function, *part) for part in zip(state, *others, strict=True)]
    return type(state)._make(parts) if hasattr(state, "_fields") else tuple(parts)


def state_leaves(state: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The tensors (or sizes) of a state with their names: `h`, `c`, and `0.h`, `1.h` in a stack."""
    if _is_leaf(state):
        yield prefix, state
        return
    names = getattr(state, "_fields", [str(i) for i in range(len(state))])
    for name, part in zip(names, state, strict=True):
        yield from state_leaves(part, f"{prefix}.{name}" if prefix else name)


def check_state(cell: Cell, state: Any, batch: int, where: str | None = None) -> Any:
    """The state in the cell's own named form. Raises `StateError` where names, number, sizes or batch differ.

    A plain list or tuple of tensors in the right order is taken as well, as is a bare tensor for a cell with one state.
    """
    expected = list(state_leaves(cell.state_size))
    leaves = list(_tensors(state))
    owner = type(cell).__name__
    if len(leaves) != len(expected) or (hasattr(state, "_fields") and state._fields != cell.state_size._fields):
        names = ", ".join(name for name, _ in expected)
        got = ", ".join(getattr(state, "_fields", [f"{len(leaves)} tensors"]))
        raise StateError(f"{owner}: the state is not this cell's", expected=names, got=got, where=where)
    for (name, size), tensor in zip(expected, leaves, strict=True):
        shape = (batch, *sizes(size))
        if not isinstance(tensor, Tensor) or tuple(tensor.shape) != shape:
            got = tuple(tensor.shape) if isinstance(tensor, Tensor) else type(tensor).__name__
            fix = "Was it made by another layer, or for another batch"
            raise StateError(f"{owner}: the state's {name} does not fit", expected=shape, got=got, where=where, fix=fix)
    remaining = iter(leaves)
    return map_state(lambda _: next(remaining), cell.state_size)


def _tensors(state: Any) -> Iterator[Any]:
    if isinstance(state, (tuple, list)):
        for part in state:
            yield from _tensors(part)
    else:
        yield state
