"""What a scan keeps beside its outputs: states, named intermediates, and the loss's derivatives by the states."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from rondeau.cells.base import Cell, map_state, state_leaves
from rondeau.errors import ArgumentError, StateError
from rondeau.sequence import Ragged


class Wish(NamedTuple):
    """What is to be kept. `intermediates`: their names, or whether all."""

    states: bool
    intermediates: bool | tuple[str, ...]
    cotangents: bool

    def wants(self, name: str) -> bool:
        return self.intermediates is True or (self.intermediates is not False and name in self.intermediates)

    def check(self, names: Iterable[str], owner: str) -> None:
        """Raises `ArgumentError` where a name was asked for that is not among those the step gave."""
        known = list(names)
        for name in self.intermediates if isinstance(self.intermediates, tuple) else ():
            if name not in known:
                fix = "In the step, name what it computes: rondeau.named(name, tensor)"
                what = f"Keep: no intermediate is named {name!r}"
                expected = f"one of: {', '.join(known)}" if known else "none, since the step names nothing"
                raise ArgumentError(what, expected=expected, where=f"{owner}.step", fix=fix)


class Keep:
    """What a scan is to keep, and, after it, what it kept: `scan(..., keep=keep)`.

    Args:
        states: the state after each step.
        intermediates: what the step named by `rondeau.named`: all of it, or these names only.
        cotangents: in a backward pass, the total derivative of what was differentiated by the state after each step:
            through all later steps, and through the output where that was made of the state.
        outputs: "all", or "last": the scan returns, in place of all outputs, that of the step each row makes last,
            `(batch, output_size)`, zeros for a row without steps; with `gradient=Truncated(...)` or `Recompute(...)`
            the others are never held together. Of a reversed scan that is the output of the row's first input.

    The others are kept for each real step, in the order of the inputs, as a `Ragged` of detached values `(steps, ...)`;
    of states and cotangents there is one for each part of the cell's named state. A second scan, and a second backward
    pass, replace what was there. Where cotangents are kept, the outputs can be differentiated even if neither inputs
    nor parameters take gradients.

    Raises `ArgumentError` where nothing is asked for.

    >>> from rondeau.cells import LSTMCell
    >>> from rondeau.recurrence import scan
    >>> last, _ = scan(LSTMCell(4), torch.ones(2, 5, 3), lengths=[5, 0], keep=Keep(outputs="last"))
    >>> last.shape
    torch.Size([2, 4])
    >>> keep = Keep(states=True, intermediates=["forget_gate"], cotangents=True)
    >>> outputs, _ = scan(LSTMCell(4), torch.ones(2, 5, 3), lengths=[5, 2], keep=keep)
    >>> outputs.sum().backward()
    >>> keep.states.c.values.shape, keep.intermediates["forget_gate"].pad().shape, keep.cotangents.h.pad().shape
    (torch.Size([7, 4]), torch.Size([2, 5, 4]), torch.Size([2, 5, 4]))
    """

    def __init__(
        self,
        states: bool = False,
        intermediates: bool | Iterable[str] = False,
        cotangents: bool = False,
        outputs: str = "all",
    ) -> None:
        if outputs not in ("all", "last"):
            raise ArgumentError("Keep: outputs", expected="'all' or 'last'", got=repr(outputs))
        names = intermediates
        if not isinstance(names, bool):
            names = () if isinstance(names, str) or not isinstance(names, Iterable) else tuple(names)
            if not names or not all(isinstance(name, str) for name in names):
                expected = "True, or a list of names"
                raise ArgumentError("Keep: intermediates", expected=expected, got=repr(intermediates))
            names = tuple(sorted(set(names)))
        if not (states or names or cotangents or outputs == "last"):
            fix = "Say what: Keep(states=True, intermediates=True, cotangents=True)"
            raise ArgumentError("Keep keeps nothing", fix=fix)
        self.wish = Wish(bool(states), names, bool(cotangents))
        self.last_output = outputs == "last"
        self._record: Record | None = None

    def begin(self, cell: Cell, inputs: Ragged, state: Any) -> tuple[Record | None, Any]:
        """For a scan that begins: where to put what it keeps besides outputs, and the state it is to begin with.

        Raises `ArgumentError` for cotangents where gradients are disabled.
        """
        if self.wish.cotangents:
            if not torch.is_grad_enabled():
                fix = "Run it outside torch.no_grad(), or keep something else"
                raise ArgumentError("scan: cotangents are to be kept, but gradients are disabled", fix=fix)
            state = map_state(differentiable, state)
        if not any(self.wish):
            return None, state
        self._record = Record(self.wish, cell, inputs)
        return self._record, state

    @property
    def states(self) -> Any:
        """The state after each step, in the cell's named form, each part a `Ragged` of `(steps, size)`."""
        record = self._asked("states", self.wish.states)
        return record.in_form(record.states)

    @property
    def intermediates(self) -> Mapping[str, Ragged]:
        """Name -> `Ragged` of `(steps, ...)`; in a stack, "0.forget_gate"."""
        record = self._asked("intermediates", self.wish.intermediates is not False)
        return {name: record.each_step(values) for name, values in record.intermediates.items()}

    @property
    def cotangents(self) -> Any:
        """The last backward pass's derivatives by the state after each step, formed like `states`.

        Zeros for a state that depends on nothing that takes a gradient. Raises `StateError` before a backward pass.
        """
        record = self._asked("cotangents", self.wish.cotangents)
        if record.cotangents is None:
            fix = "They come with the gradients: loss.backward(), then keep.cotangents"
            raise StateError("the cotangents are read before a backward pass went through the scan", fix=fix)
        return record.in_form(record.cotangents)

    def _asked(self, what: str, wished: Any) -> Record:
        if not wished:
            raise StateError(f"{what} were not kept", fix=f"Ask for them: Keep({what}=True)")
        if self._record is None:
            raise StateError(f"{what} are read before the scan", fix="Give it to one: scan(..., keep=keep)")
        return self._record


class Record:
    """What one scan keeps, as tensors `(steps, ...)` in the order of the inputs; of states, one for each leaf."""

    def __init__(self, wish: Wish, cell: Cell, inputs: Ragged) -> None:
        self.wish, self.owner = wish, type(cell).__name__
        self.form = cell.state_size
        self.lengths, self.mask = inputs.lengths, inputs.mask
        self.states: list[Tensor] = []
        self.intermediates: dict[str, Tensor] = {}
        self.parts: list[tuple[Tensor, Record]] = []  # of windows that are differentiated one by one, and their steps
        self._cotangents: list[Tensor] | None = None
        self._task = -1

    @property
    def cotangents(self) -> list[Tensor] | None:
        newest = max((part._task for _, part in self.parts), default=-1)
        for index, part in self.parts:
            if part._cotangents is not None and part._task == newest:
                if self._task != newest or self._cotangents is None:
                    self._cotangents = self.empty(part._cotangents, zeros=True)
                    self._task = newest
                for whole, found in zip(self._cotangents, part._cotangents, strict=True):
                    whole[index] = found
        return self._cotangents

    @cotangents.setter
    def cotangents(self, values: list[Tensor] | None) -> None:
        self._cotangents, self._task = values, torch._C._current_graph_task_id()

    def empty(self, like: Iterable[Tensor], zeros: bool = False) -> list[Tensor]:
        """Tensors for all steps, of entries like those of each of `like`; unfilled, or zeros."""
        steps = int(self.lengths.sum())
        return [(t.new_zeros if zeros else t.new_empty)(steps, *t.shape[1:]) for t in like]

    def part(self) -> Record:
        """The record of some of the steps."""
        found = copy.copy(self)
        found.states, found.intermediates, found.parts, found.cotangents = [], {}, [], None
        return found

    def put(self, index: Tensor, part: Record) -> None:
        """Take over states and intermediates of the steps `index`; of names, the same in every part.

        Raises `ArgumentError` where another part has other names.
        """
        if not self.states:
            self.states = self.empty(part.states)
        if not self.intermediates:
            self.intermediates = dict(zip(part.intermediates, self.empty(part.intermediates.values()), strict=True))
        if set(self.intermediates) != set(part.intermediates):
            odd = ", ".join(sorted(set(self.intermediates) ^ set(part.intermediates)))
            fix = "Name them at every step"
            raise ArgumentError(f"intermediates are named at some steps only: {odd}", where=self.owner, fix=fix)
        for whole, found in zip(self.states, part.states, strict=True):
            whole[index] = found
        for name, found in part.intermediates.items():
            self.intermediates[name][index] = found

    def each_step(self, values: Tensor) -> Ragged:
        return Ragged(values, self.lengths, self.mask)

    def in_form(self, leaves: list[Tensor]) -> Any:
        remaining = iter(leaves)
        return map_state(lambda _: self.each_step(next(remaining)), self.form)


def differentiable(tensor: Tensor) -> Tensor:
    """A tensor by which there are derivatives, where it has numbers that allow it."""
    if tensor.requires_grad or not tensor.is_floating_point():
        return tensor
    return tensor.detach().requires_grad_()


def apart(after: Any, given: Iterable[Any]) -> Any:
    """A state that came out of a step, in which nothing is a tensor that went in: derivatives by it stay its own."""
    before = {id(t) for t in given}
    return map_state(lambda t: t.view_as(t) if id(t) in before else t, after)


def tensors_of(x: Tensor, state: Any, context: Iterable[Any]) -> list[Tensor]:
    """What goes into a step."""
    more = [t for c in context for t in vars(c).values() if isinstance(t, Tensor)]
    return [x, *(t for _, t in state_leaves(state)), *more]
