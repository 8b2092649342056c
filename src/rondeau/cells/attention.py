"""A cell that looks into a memory at every step (Bahdanau, Cho & Bengio 2015; Luong, Pham & Manning 2015)."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from rondeau.cells.base import Cell, Context
from rondeau.cells.naming import named, within
from rondeau.errors import ArgumentError, ShapeError


class AttentionState(NamedTuple):
    """The state of the cell inside, and what was last read from the memory: `read`, `(batch, memory_size)`."""

    cell: Any
    read: Any


class AttentionCell(Cell):
    """One step of another cell that also reads a memory m_1 ... m_n, such as an encoder's outputs:

        h, s' = cell([x, r], s)
        a = softmax(score(h, m_1) ... score(h, m_n))
        r' = a_1 m_1 + ... + a_n m_n                      the output is [h, r']

        score(h, m) = v . tanh(h W + m U + b)             'additive', Bahdanau et al. 2015, arXiv 1409.0473
        score(h, m) = h . m                               'dot', Luong et al. 2015, arXiv 1508.04025

    A step thus takes in what the state before it asked for, as in the first paper, and gives out what its own state
    asks for, as in the second.

    Args:
        cell: any cell; its output h is the query.
        score: 'additive' (default) or 'dot'; the latter needs a memory as wide as h.
        memory_size: features of the memory (default: as many as h has).

    Inputs `(batch, features)`, output `(batch, units + memory_size)`, state `AttentionState`. The memory goes into
    `scan` as context, made ready by `remember`; a row whose memory is empty reads zeros. `Keep(intermediates=True)`
    knows a as attention, `(batch, time)`, and what the cell inside names as cell.name.

    >>> from rondeau import scan
    >>> from rondeau.cells import GRUCell
    >>> cell, memory = AttentionCell(GRUCell(4)), torch.ones(2, 7, 4)
    >>> outputs, state = scan(cell, torch.zeros(2, 5, 3), context=cell.remember(memory))
    >>> outputs.shape, state.read.shape
    (torch.Size([2, 5, 8]), torch.Size([2, 4]))
    """

    def __init__(self, cell: Cell, score: str = "additive", memory_size: int | None = None) -> None:
        super().__init__()
        if not isinstance(cell, Cell):
            raise ArgumentError("AttentionCell: cell", expected="a Cell", got=type(cell).__name__)
        if score not in ("additive", "dot"):
            raise ArgumentError("AttentionCell: score", expected="'additive' or 'dot'", got=repr(score))
        units = cell.output_size
        self.memory_size = units if memory_size is None else memory_size
        if score == "dot" and self.memory_size != units:
            what, fix = "AttentionCell: memory_size, with score='dot'", "Use score='additive', or project the memory"
            raise ArgumentError(what, expected=units, got=memory_size, fix=fix)
        self.cell, self.kind = cell, score
        self.output_size = units + self.memory_size
        self.state_size = AttentionState(cell.state_size, self.memory_size)
        self.per_row: tuple[str, ...] = ("memory", "keys", "memory_mask", *cell.per_row)
        self.per_step = cell.per_step
        self._context_inside = cell.takes_context
        if score == "additive":  # these sizes do not wait for the input's
            self.query_kernel = self.add_weight("query_kernel", (units, units))
            self.key_kernel = self.add_weight("key_kernel", (self.memory_size, units))
            self.key_bias = self.add_weight("key_bias", (units,), "zeros")
            self.score_kernel = self.add_weight("score_kernel", (units, 1))

    def build(self, features: int) -> None:
        self.cell.build_for(features + self.memory_size)

    def remember(self, memory: Tensor, mask: Tensor | None = None) -> dict[str, Tensor]:
        """The context of a scan over this memory.

        Args:
            memory: `(batch, time, memory_size)`, of any time.
            mask: `(batch, time)`, true where the memory is real (default: everywhere).

        Raises `ShapeError` where the two do not fit the cell or each other.
        """
        if memory.ndim != 3 or memory.shape[2] != self.memory_size:
            expected = f"(batch, time, {self.memory_size})"
            raise ShapeError("AttentionCell: the memory", expected=expected, got=tuple(memory.shape))
        if mask is None:
            mask = torch.ones(memory.shape[:2], dtype=torch.bool)
        if mask.shape != memory.shape[:2]:
            batch, time = memory.shape[:2]
            raise ShapeError("AttentionCell: the memory's mask", expected=(batch, time), got=tuple(mask.shape))
        keys = memory @ self.key_kernel + self.key_bias if self.kind == "additive" else memory
        return {"memory": memory, "keys": keys, "memory_mask": mask.bool().to(memory.device)}

    def weights(
        self,
        query: Float[Tensor, "batch units"],
        keys: Float[Tensor, "batch time units"],
        mask: Bool[Tensor, "batch time"],
    ) -> Float[Tensor, "batch time"]:
        """How much each query takes of each step of its memory: adding up to 1, and zero where masked."""
        if self.kind == "additive":
            scores = (torch.tanh((query @ self.query_kernel)[:, None] + keys) @ self.score_kernel)[..., 0]
        else:
            scores = (keys @ query[..., None])[..., 0]
        # masked twice: where all is masked, the softmax alone would look everywhere
        return torch.softmax(scores.masked_fill(~mask, torch.finfo(scores.dtype).min), -1) * mask

    def draw(self, lengths: Int64[Tensor, " batch"], generator: torch.Generator | None) -> dict[str, Any]:
        """What the cell inside draws: from `generator`, or, where there is none, from its own if it has a seed."""
        device = next((p.device for p in self.cell.parameters()), torch.device("cpu"))
        return self.cell.draw(lengths, self.cell.generator(device) if generator is None else generator)

    def step(
        self, x: Float[Tensor, "batch features"], state: AttentionState, context: Context
    ) -> tuple[Float[Tensor, "batch output"], AttentionState]:
        inputs = torch.cat([x, state.read], -1)
        more = (context,) if self._context_inside else ()
        with within("cell"):
            h, after = self.cell.step(inputs, state.cell, *more)
        a = named("attention", self.weights(h, context.keys, context.memory_mask))
        read = (a[:, None] @ context.memory)[:, 0]  # zeros where there is no memory: its mask leaves no weight
        return torch.cat([h, read], -1), AttentionState(after, read)
