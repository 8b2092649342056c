"""One step of a cell as a function of NumPy arrays: the loop's kernel over one step, called on buffers that stay.

Everything is inside the loop, products of the input too, so that a call is one call of the kernel.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from rondeau.cells.base import Cell, state_leaves
from rondeau.recurrence.ir import Node
from rondeau.recurrence.loops import OUTPUT, Loop, Loops, pack, shared
from rondeau.recurrence.plan.program import Place
from rondeau.recurrence.plan.split import Split
from rondeau.recurrence.replay import Replay
from rondeau.recurrence.rows import deal, parts_for
from rondeau.recurrence.runtime import threads
from rondeau.recurrence.trace.step import Inputs, Step, trace

Array = npt.NDArray[Any]
NUMPY = {torch.float32: np.float32, torch.float64: np.float64}


class _Together(Loops):
    """Nothing is computed before the loop but what has no rows."""

    def __init__(self, step: Step, dtype: torch.dtype) -> None:
        super().__init__(step, dtype)
        self.split = Split(step, [], [])

    @property
    def single(self) -> Loop:
        return _Single(self, self._results(), backward=False)


class _Single(Loop):
    """A loop of one step. How many steps a row has made before is said from outside, row by row."""

    def _leaves(self, backward: bool) -> dict[Node, Place]:
        leaves = super()._leaves(backward)
        return {n: Place("row", f"n{n.index}") if p.kind == "index" else p for n, p in leaves.items()}


class CompiledStep:
    """A cell's step for a fixed number of rows.

    Args:
        cell: built, in `eval` mode; its weights are read now, and not again.
        shape: of one row of the input.
        ids: whether the input is whole numbers.
        dtype: what it computes in, float32 or float64.
        rows: how many rows.

    Attributes (arrays that each call reads and writes in place):
        x: the input, `(rows, *shape)`.
        y: the output, `(rows, units)`.
        states: each `(rows, *size)`: before a call the state before the step, afterwards the one after.
        counts: steps each row has made, `(rows,)`; None where the step does not ask. The caller counts.

    Raises `Declined` for a step that cannot be compiled.
    """

    def __init__(self, cell: Cell, shape: tuple[int, ...], ids: bool, dtype: torch.dtype, rows: int) -> None:
        sizes = [leaf for _, leaf in state_leaves(cell.state_size)]
        states = tuple((s if isinstance(s, tuple) else (s,), dtype) for s in sizes)
        with torch.no_grad():
            step = trace(cell, Inputs((shape, torch.int64 if ids else dtype), states, (), dtype, None))
            loop = _Together(step, dtype).single
            fixed = _fixed(step, loop, dtype)
        real = NUMPY[dtype]
        self.x: Array = np.zeros((rows, *shape), np.int64 if ids else real)
        self.y: Array = np.zeros((rows, step.output.size), real)
        self.states: list[Array] = [np.zeros((rows, *s), real) for s, _ in states]
        self.counts: Array | None = None
        self._prepare(loop, fixed, rows)

    def _prepare(self, loop: Loop, fixed: Mapping[object, Tensor], rows: int) -> None:
        parts = parts_for(rows, loop.macs, loop.pointwise)
        dealt = deal(torch.ones(rows, dtype=torch.int64), False, parts)
        dtype, layout = loop.loops.dtype, loop.layout
        scratch = torch.zeros(dealt.parts * dealt.most * layout.row + 16, dtype=dtype)
        totals = torch.zeros(1, dtype=dtype)
        table = dealt.table.data_ptr()
        code = loop.code, shared(loop.loops.blocks)
        values: dict[object, int] = {
            "parts": table,
            "tokens": table + 8 * dealt.places[0],
            "lengths": table + 8 * dealt.places[1],
            "ids": table + 8 * dealt.places[2],
            "direction": dealt.direction,
            "scratch": (scratch.data_ptr() + 63) // 64 * 64,
            "most": dealt.most,
            "totals": totals.data_ptr(),
            "product": code[1].address("product"),
            OUTPUT: self.y.ctypes.data,
            **{place: tensor.data_ptr() for place, tensor in fixed.items()},
        }
        for i, state in enumerate(self.states):
            values[f"initial{i}"] = values[f"final{i}"] = state.ctypes.data
        for node, place in loop.program.leaves.items():
            if node.op == "input" and node.attrs[0] == "step":
                values[place] = self.x.ctypes.data
            elif node.op == "input" and node.attrs[0] == "index":
                self.counts = np.zeros(rows, np.int64)
                values[place] = self.counts.ctypes.data
        words = (ctypes.c_int64 * len(layout.slots))(*(values[name] for name in layout.slots))
        self._kept = words, code, fixed, dealt, scratch, totals  # what the kernel reads must live
        self.run = _bound(code[0].address("loop"), ctypes.addressof(words), dealt.parts)


def _fixed(step: Step, loop: Loop, dtype: torch.dtype) -> dict[object, Tensor]:
    """What is the same for all rows, by its place: copies, in the order in which the kernel reads them."""
    known = {n: step.captured[int(n.attrs[1])].detach() for n in step.graph.nodes if n.op == "input" and not n.rows}
    replay = Replay(known, 0, dtype)
    found: dict[object, Tensor] = {
        place: pack(replay(weight), loop.loops.blocks) for weight, place in loop.weights.items()
    }
    for node, place in loop.program.leaves.items():
        if place.kind == "param":
            found[place] = replay(node).clone(memory_format=torch.contiguous_format)
    return found


def _bound(address: int, arguments: int, parts: int) -> Callable[[], None]:
    """The kernel on its arguments. One part needs nothing of torch; several run in its threads."""
    if parts > 1:
        return lambda: threads.run(address, arguments, parts)
    function = ctypes.CFUNCTYPE(None, ctypes.c_int64, ctypes.c_int64, ctypes.c_void_p)(address)
    return lambda: function(0, 1, arguments)
