"""Rows in which the state starts anew: each stretch between two resets is a row of its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from rondeau.cells.base import Cell, map_state
from rondeau.errors import ArgumentError, DataError, ShapeError
from rondeau.sequence import Ragged, to_tensor


@dataclass(frozen=True)
class Stretches:
    """Rows cut at their resets.

    rows: the same values, with a length for each stretch. owners: for each stretch the row it is part of. first, last:
    of each row its first stretch as the scan goes, and the one whose final state is the row's. goes_on: the rows whose
    first stretch takes the row's initial state; those of other rows begin with a reset.
    """

    rows: Ragged
    owners: Tensor
    first: Tensor
    last: Tensor
    goes_on: Tensor

    def begin(self, cell: Cell, state: Any) -> Any:
        """The state before each stretch: the row's for the first one, if not reset; the cell's own for all others."""
        count = len(self.owners)

        def put(given: Tensor, own: Tensor) -> Tensor:
            places, rows = (i.to(given.device) for i in (self.first[self.goes_on], self.goes_on))
            return own.to(given).index_copy(0, places, given.index_select(0, rows))

        return map_state(put, state, cell.initial_state(count))

    def end(self, state: Any) -> Any:
        return map_state(lambda s: s.index_select(0, self.last), state)

    def context(self, tensors: dict[str, tuple[bool, Tensor]]) -> dict[str, tuple[bool, Tensor]]:
        """What belongs to a row belongs to all of its stretches."""
        return {n: (is_step, t if is_step else t.index_select(0, self.owners)) for n, (is_step, t) in tensors.items()}


def cut(inputs: Ragged, resets: Any, reverse: bool) -> Stretches:
    """`inputs` cut before every step where `resets` is true.

    Args:
        resets: `(batch, time)` truth values, or a `Ragged` of them, `(steps,)`. Those of steps that are not real count
            for the next real one.
        reverse: whether rows run from their last step, which then takes the initial state, whatever is reset.

    Raises `ShapeError` or `DataError` for resets that do not fit.
    """
    if isinstance(resets, Ragged):
        if not torch.equal(resets.lengths, inputs.lengths) or resets.values.ndim != 1:
            what = "scan: the resets have other lengths than the inputs"
            raise ShapeError(what, expected=inputs.lengths.tolist(), got=resets.lengths.tolist())
        flags = _truth(resets.values)
    else:
        flags = _of_real_steps(inputs, resets)
    starts = inputs.lengths.cumsum(0) - inputs.lengths
    cuts = flags.clone()
    some = inputs.lengths > 0
    cuts[starts[some]] = False  # a row begins there anyway
    anew = torch.zeros(len(inputs), dtype=torch.bool)
    if not reverse:
        anew[some] = flags[starts[some]]
    goes_on = (~anew).nonzero()[:, 0]
    row = torch.repeat_interleave(torch.arange(len(inputs)), inputs.lengths)
    owners = torch.cat([torch.arange(len(inputs)), row[cuts]])
    begins = torch.cat([starts, cuts.nonzero()[:, 0]])
    order = torch.argsort(owners * (len(flags) + 1) + begins, stable=True)
    owners, begins = owners[order], begins[order]
    lengths = torch.diff(begins, append=torch.tensor([len(flags)]))
    counts = torch.bincount(owners, minlength=len(inputs))
    last = counts.cumsum(0) - 1
    first = last - counts + 1
    rows = Ragged(inputs.values, lengths)
    return Stretches(rows, owners, *((last, first) if reverse else (first, last)), goes_on)


def restarted(cell: Cell, state: Any, inputs: Ragged, resets: Any) -> Any:
    """The state to go on from with the next steps: anew in rows with a reset on masked steps behind the last real one.

    It moves to the next real step, which is to come.
    """
    if isinstance(resets, Ragged) or inputs.mask is None or not inputs.mask.shape[1]:
        return state
    mask = inputs.mask.cpu()
    flags = to_tensor(resets, "scan: the resets")[:, : mask.shape[1]].bool().cpu()
    behind = mask.flip(1).cumsum(1).flip(1) == 0
    waiting = (flags & behind).any(1)
    if not waiting.any():
        return state

    def put(after: Tensor, own: Tensor) -> Tensor:
        rows = waiting.to(after.device).view(-1, *[1] * (after.ndim - 1))
        return torch.where(rows, own.to(after), after)

    return map_state(put, state, cell.initial_state(len(inputs)))


def _truth(flags: Tensor) -> Tensor:
    inside = flags
    while torch._C._functorch.is_functorch_wrapped_tensor(inside):
        if torch._C._functorch.is_batchedtensor(inside):
            fix = "Give the same resets to all (in_dims None), or make a loop over them"
            raise ArgumentError("scan: under vmap the resets cannot differ from one to the next", fix=fix)
        inside = torch._C._functorch.get_unwrapped(inside)
    wrong = (flags != 0) & (flags != 1)
    if wrong.any():
        expected = "true and false, or 1 and 0"
        raise DataError("scan: the resets are no truth values", expected=expected, got=flags[wrong][0].item())
    return flags.bool().cpu()


def _of_real_steps(inputs: Ragged, resets: Any) -> Tensor:
    flags = to_tensor(resets, "scan: the resets")
    time = inputs.mask.shape[1] if inputs.mask is not None else int(inputs.lengths.max()) if len(inputs) else 0
    if flags.ndim != 2 or len(flags) != len(inputs) or flags.shape[1] < time:
        raise ShapeError("scan: the resets", expected=f"({len(inputs)}, {time})", got=tuple(flags.shape))
    flags = _truth(flags)
    mask = inputs.mask if inputs.mask is not None else torch.arange(flags.shape[1]) < inputs.lengths[:, None]
    flags = flags[:, : mask.shape[1]]
    # a reset on a step that is not real moves to the next one: more resets up to it than up to the real one before
    seen = flags.cumsum(1)[mask]
    before = torch.cat([torch.zeros(1, dtype=seen.dtype), seen[:-1]])
    starts = (inputs.lengths.cumsum(0) - inputs.lengths)[inputs.lengths > 0]
    before[starts] = 0
    return seen > before
