"""Several cells as one: each step passes through all of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from rondeau.cells.base import Cell, Context
from rondeau.errors import ArgumentError


class StackedRNNCells(Cell):
    """The output of each cell is the next one's input, within one step. State: a tuple of the cells' states.

    Args:
        cells: at least one `Cell`, the first nearest the input.
    """

    def __init__(self, cells: Sequence[Cell]) -> None:
        super().__init__()
        if not cells or not all(isinstance(cell, Cell) for cell in cells):
            got = [type(cell).__name__ for cell in cells]
            raise ArgumentError("StackedRNNCells", expected="a list of at least one Cell", got=got)
        self.cells = torch.nn.ModuleList(cells)
        self.state_size = tuple(cell.state_size for cell in cells)
        self.output_size = cells[-1].output_size
        self.per_row = tuple(f"{i}_{name}" for i, cell in enumerate(cells) for name in cell.per_row)
        self.per_step = tuple(f"{i}_{name}" for i, cell in enumerate(cells) for name in cell.per_step)

    def build(self, features: int) -> None:
        for cell in self.cells:
            cell.build_for(features)
            features = cell.output_size

    def initial_state(
        self, batch: int, *, dtype: torch.dtype | None = None, device: torch.device | str | None = None
    ) -> Any:
        return tuple(cell.initial_state(batch, dtype=dtype, device=device) for cell in self.cells)

    def draw(self, lengths: Tensor, generator: torch.Generator | None) -> dict[str, Tensor]:
        drawn = {}
        for i, cell in enumerate(self.cells):
            own = cell.generator(next((p.device for p in cell.parameters()), "cpu"))
            drawn |= {f"{i}_{name}": tensor for name, tensor in cell.draw(lengths, own or generator).items()}
        return drawn

    def step(self, x: Tensor, state: Any, context: Context) -> tuple[Tensor, Any]:
        after = []
        for i, (cell, part) in enumerate(zip(self.cells, state, strict=True)):
            if cell.takes_context:
                names = [name for name in (*cell.per_row, *cell.per_step) if f"{i}_{name}" in vars(context)]
                own = Context(cell, {name: getattr(context, f"{i}_{name}") for name in names}, context.index)
                x, part = cell.step(x, part, own)
            else:
                x, part = cell.step(x, part)
            after.append(part)
        return x, tuple(after)
