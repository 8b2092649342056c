"""Several cells as one: each step passes through all of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Int64
from torch import Tensor

from rondeau.cells.base import Cell, Context
from rondeau.cells.naming import within
from rondeau.errors import ArgumentError
from rondeau.module import share
from rondeau.sequence import Ragged


class StackedRNNCells(Cell):
    """The output of each cell is the next one's input, within one step.

    Args:
        cells: at least one `Cell`, the first nearest the input; no cell twice.
        residual: each cell but the first adds what it reads to its output (Wu et al. 2016, arXiv 1609.08144); all must
            have outputs of one size (default no).
        dropout: share of what each cell but the first reads that is zeroed in training, the rest scaled by
            1 / (1 - rate), 0 <= rate < 1 (default 0; Zaremba et al. 2014, arXiv 1409.2329).
        variational: zero the same features at every step of a row (Gal & Ghahramani 2016, arXiv 1512.05287), not
            others at each step (default no).
        seed: of this dropout; None draws from torch's global generator.

    State: a tuple of the cells' states; `state_size` likewise. What cell i declares as context `name` is `i_name` here,
    and what it names in its step `i.name`; the dropout before cell i is context `dropout_i`.
    Raises `ArgumentError` for anything but cells, each once, for a rate outside its range, and for residual cells of
    unequal size.

    >>> from rondeau.cells import GRUCell, LSTMCell
    >>> output, (first, second) = StackedRNNCells([LSTMCell(3), GRUCell(4)])(torch.zeros(2, 5))
    >>> output.shape, first.c.shape, second.h.shape
    (torch.Size([2, 4]), torch.Size([2, 3]), torch.Size([2, 4]))
    """

    def __init__(
        self,
        cells: Sequence[Cell],
        residual: bool = False,
        dropout: float = 0.0,
        variational: bool = False,
        seed: int | None = None,
    ) -> None:
        super().__init__()
        listed: list[Any] = list(cells) if isinstance(cells, (list, tuple)) else []
        if not listed or not all(isinstance(cell, Cell) for cell in listed):
            got = [type(cell).__name__ for cell in listed] or type(cells).__name__
            raise ArgumentError("StackedRNNCells", expected="a list of at least one Cell", got=got)
        if len({id(cell) for cell in listed}) < len(listed):
            raise ArgumentError("StackedRNNCells: a cell stands there twice", fix="Make one for each place")
        self.cells = torch.nn.ModuleList(listed)
        self.state_size = tuple(cell.state_size for cell in listed)
        self.output_size = listed[-1].output_size
        sizes = [cell.output_size for cell in listed]
        if residual and len(set(sizes)) > 1:
            raise ArgumentError("StackedRNNCells: residual cells differ in size", expected="one output_size", got=sizes)
        self.residual, self.variational, self.seed = bool(residual), bool(variational), seed
        self.dropout = share("StackedRNNCells", "dropout", dropout)
        masks = tuple(f"dropout_{i}" for i in range(1, len(listed))) if self.dropout else ()
        self.per_row = tuple(f"{i}_{name}" for i, cell in enumerate(listed) for name in cell.per_row)
        self.per_step = tuple(f"{i}_{name}" for i, cell in enumerate(listed) for name in cell.per_step)
        self.per_row += masks if self.variational else ()
        self.per_step += () if self.variational else masks

    def _own(self) -> list[Cell]:
        return list(self.cells)  # type: ignore[arg-type]

    def build(self, features: int) -> None:
        for cell in self._own():
            cell.build_for(features)
            features = cell.output_size

    def initial_state(
        self, batch: int, *, dtype: torch.dtype | None = None, device: torch.device | str | None = None
    ) -> Any:
        return tuple(cell.initial_state(batch, dtype=dtype, device=device) for cell in self._own())

    def draw(self, lengths: Int64[Tensor, " batch"], generator: torch.Generator | None) -> dict[str, Any]:
        """What each cell draws: from `generator`, or, where there is none, from the cell's own if it has a seed."""
        drawn: dict[str, Any] = {}
        for i, cell in enumerate(self._own()):
            device = next((p.device for p in cell.parameters()), torch.device("cpu"))
            source = cell.generator(device) if generator is None else generator
            drawn |= {f"{i}_{name}": tensor for name, tensor in cell.draw(lengths, source).items()}
            if i and self.dropout:
                drawn[f"dropout_{i}"] = self._mask(lengths, self._own()[i - 1].output_size, generator)
        return drawn

    def _mask(self, lengths: Int64[Tensor, " batch"], size: int, generator: torch.Generator | None) -> Any:
        like = next(self.parameters(), torch.empty(0))
        rows = len(lengths) if self.variational else int(lengths.sum())
        mask = like.new_empty(rows, size).bernoulli_(1 - self.dropout, generator=generator) / (1 - self.dropout)
        return mask if self.variational else Ragged(mask, lengths)

    def step(self, x: Tensor, state: Any, context: Context) -> tuple[Tensor, Any]:
        after = []
        for i, (cell, part) in enumerate(zip(self._own(), state, strict=True)):
            more: tuple[Context, ...] = ()
            if cell.takes_context:
                names = [name for name in (*cell.per_row, *cell.per_step) if f"{i}_{name}" in vars(context)]
                own = Context(cell, {name: getattr(context, f"{i}_{name}") for name in names}, context.index)
                more = (own,)
            below = x
            if i and self.training and self.dropout:
                x = x * getattr(context, f"dropout_{i}")
            with within(i):
                x, part = cell.step(x, part, *more)
            if i and self.residual:
                x = x + below
            after.append(part)
        return x, tuple(after)
