"""`Cell`: what one step computes. The base of Rondeau's own cells and of yours."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any, NamedTuple

import torch
from jaxtyping import Int64
from torch import Tensor

from rondeau.cells.vendor import VendorKernel
from rondeau.errors import ArgumentError, ShapeError, StateError
from rondeau.module import BuildableModule


class HiddenState(NamedTuple):
    """The state of a cell that carries one tensor: `h`, `(batch, units)`."""

    h: Any


class Cell(BuildableModule):
    """One step of a recurrent network: parameters, a named state, and the formula, written once in plain PyTorch.

    A cell defines

    - `state_size`: a named tuple like its state, holding sizes: `HiddenState(h=units)`; a size is an int, or a tuple of
      ints for a tensor of several axes; a state of whole numbers needs an `initial_state` that makes them;
    - `output_size`: features of its output;
    - `build(features)`: makes the weights with `add_weight` (not needed if `__init__` makes them);
    - `step(x, state) -> (output, state)`: x `(batch, features)`, each state `(batch, size)`, output
      `(batch, output_size)`; no state may change its shape or type. Rows must not mix.

    A cell that needs more names it in `per_row` and `per_step` and takes `step(x, state, context)`:
    `context.<name>` is a tensor `(batch, ...)`, for `per_step` that step's slice of `(batch, time, ...)`, and
    `context.index` counts the real steps the row has made (0-d, from 0). Values come from `scan(..., context={...})`,
    and random ones from `draw`, once before the loop and in training only, so that whoever runs the steps again sees
    the same.

    A cell whose whole scan some device's library can run may say how in `vendor`; without it, the reference loop runs
    the steps there.

    Attributes:
        features: what it was built for; None before, and for a cell without `build`.

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
    build: Callable[[int], None]

    def build_for(self, features: int) -> None:
        """Make the weights for inputs of `features`, once.

        Raises `ShapeError` if they exist for another number, `ArgumentError` for a cell without what cells must have.
        """
        for name in ("step", "state_size", "output_size"):
            if not hasattr(self, name):
                raise ArgumentError(
                    f"{type(self).__name__} has no {name}", fix="A cell defines it; see help(rondeau.Cell)"
                )
        if isinstance(self.state_size, list):
            fix = "Write HiddenState(h=units), or a NamedTuple of your own"
            raise ArgumentError(f"{type(self).__name__}: state_size is a list", expected="a named tuple", fix=fix)
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

    def draw(self, lengths: Int64[Tensor, " batch"], generator: torch.Generator | None) -> dict[str, Any]:
        """The random tensors `step` reads from its context, for rows of these lengths (on the CPU); in training only.

        Names must be declared: a `per_row` tensor is `(batch, ...)`, a `per_step` one `(batch, time, ...)`, time being
        the longest length, or a `Ragged`. All randomness comes from `generator` (None: torch's global one).
        """
        return {}

    def vendor(self) -> VendorKernel | str:
        """How the library of a device's vendor runs a whole scan of the cell as it is now; or, in words, why it cannot.

        What it computes must be what `step` does, so hold it to `step` by a test, and answer in words whenever an
        attribute makes the step another one. `scan` asks wherever tensors are on no CPU, for cells that are built. It
        does not ask a class that has a newer `step` than `vendor`, nor where there is context or something to keep.
        """
        return f"{type(self).__name__} offers no kernel of a vendor's library"

    @property
    def takes_context(self) -> bool:
        """Whether `step` has a third argument. Raises `ArgumentError` unless it has two or three."""
        count = _arguments(type(self).step) - 1
        if count not in (2, 3):
            raise ArgumentError(
                f"{type(self).__name__}.step takes the wrong arguments",
                expected="step(self, x, state) or step(self, x, state, context)",
                got=f"{count} besides self",
            )
        return count == 3

    def forward(self, x: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        """One step of `(batch, features)` outside any loop: `(output, state)`. `scan` runs many, and gives context.

        `state=None` begins anew. In training, random context is drawn afresh for every call.
        """
        if x.ndim != 2:
            where = f"{type(self).__name__}, one step"
            fix = "For a whole sequence, use scan(cell, inputs)"
            raise ShapeError("the input", expected="(batch, features)", got=tuple(x.shape), where=where, fix=fix)
        self.build_for(x.shape[-1])
        begun = begin(self, state, x, "the state")
        if not self.takes_context:
            return self.step(x, begun)
        lengths = torch.ones(len(x), dtype=torch.int64)
        drawn = self.draw(lengths, self.generator(x.device)) if self.training else {}
        return self.step(x, begun, Context(self, drawn))


@cache
def _arguments(step: Callable[..., Any]) -> int:
    return len(inspect.signature(step).parameters)


class Context:
    """The named tensors a step may read, and `index`; a name nobody gave raises `StateError`, saying how to give it."""

    def __init__(self, cell: Cell, tensors: dict[str, Tensor], index: Tensor | None = None) -> None:
        self._cell = type(cell).__name__
        self.index = torch.zeros((), dtype=torch.int64) if index is None else index
        self.__dict__.update(tensors)

    def __getattr__(self, name: str) -> Tensor:
        if name.startswith("__"):  # Python asks for these when it copies, and takes no for an answer
            raise AttributeError(name)
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
    return state._make(parts) if hasattr(state, "_make") else tuple(parts)


def state_leaves(state: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The tensors (or sizes) of a state with their names: `h`, `c`, and `0.h`, `1.h` in a stack."""
    if _is_leaf(state) and not isinstance(state, list):
        yield prefix, state
        return
    names = getattr(state, "_fields", [str(i) for i in range(len(state))])
    for name, part in zip(names, state, strict=True):
        yield from state_leaves(part, f"{prefix}.{name}" if prefix else name)


def state_tensors(state: Any) -> list[Tensor]:
    """The tensors of a state, in order."""
    if isinstance(state, tuple) and all(isinstance(part, Tensor) for part in state):
        return list(state)
    return [tensor for _, tensor in state_leaves(state)]


def begin(cell: Cell, state: Any, inputs: Any, where: str) -> Any:
    """The state before the first step over `inputs` (rows first): the one given, checked, or the cell's own.

    Raises `StateError` where it does not fit the cell or the inputs' batch or type.
    """
    dtype, device = inputs.dtype, inputs.device
    if not dtype.is_floating_point:  # ids, say
        dtype = next((p.dtype for p in cell.parameters()), torch.get_default_dtype())
    if state is None:
        return check_state(cell, cell.initial_state(len(inputs), dtype=dtype, device=device), len(inputs), where)
    state = check_state(cell, state, len(inputs), where)
    for name, tensor in state_leaves(state):
        if tensor.device != device:
            what = f"{type(cell).__name__}: the state's {name or 'tensor'} is on another device than the inputs"
            fix = f"Move it: state.to({str(device)!r})"
            raise StateError(what, expected=device, got=tensor.device, where=where, fix=fix)
    for name, tensor in () if torch.is_autocast_enabled(device.type) else state_leaves(state):
        if tensor.dtype != dtype and tensor.is_floating_point():
            fix = f"Cast it: state.to({dtype})"
            what = f"{type(cell).__name__}: the state's {name or 'tensor'} has another type than the inputs"
            raise StateError(what, expected=dtype, got=tensor.dtype, where=where, fix=fix)
    if not all(tensor.is_floating_point() for tensor in state_tensors(state)):
        _check_kinds(cell, state, dtype, where)
    return state


def _check_kinds(cell: Cell, state: Any, dtype: torch.dtype, where: str) -> None:
    """Raise `StateError` for whole or complex numbers where the cell itself begins with others."""
    for (name, own), tensor in zip(state_leaves(cell.initial_state(1, dtype=dtype)), state_tensors(state), strict=True):
        if tensor.dtype != own.dtype and not tensor.is_floating_point():
            what = f"{type(cell).__name__}: the state's {name or 'tensor'} has another type than the cell begins with"
            raise StateError(
                what, expected=own.dtype, got=tensor.dtype, where=where, fix=f"Cast it: state.to({own.dtype})"
            )


def check_state(cell: Cell, state: Any, batch: int, where: str | None = None) -> Any:
    """The state in the cell's own named form. Raises `StateError` where names, number, sizes or batch differ.

    A plain list or tuple of tensors in the right order is taken as well, as is a bare tensor for a cell with one state.
    """
    like = cell.state_size
    if type(state) is type(like) and all(_is_flat(t, batch, size) for t, size in zip(state, like, strict=True)):
        return state  # as most are
    expected = list(state_leaves(like))
    leaves = list(_tensors(state))
    owner = type(cell).__name__
    if len(leaves) != len(expected) or not _names_fit(state, cell.state_size):
        names = ", ".join(name or "one tensor" for name, _ in expected)
        got = ", ".join(name for name, _ in state_leaves(state)) if _named(state) else f"{len(leaves)} tensors"
        raise StateError(f"{owner}: the state is not this cell's", expected=names, got=got, where=where)
    for (name, size), tensor in zip(expected, leaves, strict=True):
        shape = (batch, *sizes(size))
        if not isinstance(tensor, Tensor) or tuple(tensor.shape) != shape:
            got = str(tuple(tensor.shape)) if isinstance(tensor, Tensor) else type(tensor).__name__
            fix = "Was it made by another layer, or for another batch?"
            what = f"{owner}: the state's {name or 'tensor'} does not fit"
            raise StateError(what, expected=shape, got=got, where=where, fix=fix)
    remaining = iter(leaves)
    return map_state(lambda _: next(remaining), cell.state_size)


def _is_flat(part: Any, batch: int, size: Any) -> bool:
    return isinstance(part, Tensor) and part.shape == (batch, size)


def _named(state: Any) -> bool:
    """Whether any part of a state has names; a plain list of tensors has none."""
    return isinstance(state, (tuple, list)) and (hasattr(state, "_fields") or any(_named(part) for part in state))


def _names_fit(state: Any, like: Any) -> bool:
    """Whether the names a state has, here and inside, are those of `like`; what has no names fits anything."""
    if not _named(state):
        return True
    if _is_leaf(like) or len(state) != len(like) or getattr(state, "_fields", None) != getattr(like, "_fields", None):
        return False
    return all(_names_fit(part, other) for part, other in zip(state, like, strict=True))


def _tensors(state: Any) -> Iterator[Any]:
    if isinstance(state, (tuple, list)):
        for part in state:
            yield from _tensors(part)
    else:
        yield state
