"""One step of a cell as a function of NumPy arrays: the loop's kernel over one step, called on buffers that stay.

Everything is inside the loop, products of the input too, so that a call is one call of the kernel.
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from rondeau.cells.base import Cell, state_leaves
from rondeau.recurrence.emit.llvm import I64, PTR, Function, Module, integer
from rondeau.recurrence.ir import Node
from rondeau.recurrence.loops import OUTPUT, Loop, Loops, pack, shared
from rondeau.recurrence.outside import plain
from rondeau.recurrence.plan.program import Place
from rondeau.recurrence.plan.split import Split
from rondeau.recurrence.recipe import evaluate
from rondeau.recurrence.rows import deal, parts_for
from rondeau.recurrence.runtime import cache, threads
from rondeau.recurrence.trace.forms import Declined
from rondeau.recurrence.trace.step import Inputs, Step, trace

Array = npt.NDArray[Any]
NUMPY = {torch.float32: np.float32, torch.float64: np.float64}


class _Together(Loops):
    """Nothing is computed before the loop but what has no rows; how many steps a row has made is said row by row."""

    def __init__(self, step: Step, dtype: torch.dtype) -> None:
        super().__init__(step, dtype)
        self.split = Split(step, [], [])

    def leaves(self, backward: bool) -> dict[Node, Place]:
        leaves = super().leaves(backward)
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
        counts: steps each row has made, `(rows,)`; None where the step does not ask.
        run: makes a step of all rows.
        run_some: makes a step of some rows, `(n,)` numbers; their inputs and outputs are the first n of `x` and `y`.

    A step is one or the other: after `run_some`, `run` is that of the same rows.

    Raises `Declined` for a step that cannot be compiled.
    """

    def __init__(self, cell: Cell, shape: tuple[int, ...], ids: bool, dtype: torch.dtype, rows: int) -> None:
        sizes = [leaf for _, leaf in state_leaves(cell.state_size)]
        states = tuple((s if isinstance(s, tuple) else (s,), dtype) for s in sizes)
        with torch.no_grad():
            step = trace(cell, Inputs((shape, torch.int64 if ids else dtype), states, (), dtype, None))
            _check(step.captured, dtype)
            loop = _Together(step, dtype).inference
            fixed = _fixed(step, loop, dtype)
        real = NUMPY[dtype]
        self.x: Array = np.zeros((rows, *shape), np.int64 if ids else real)
        self.y: Array = np.zeros((rows, step.output.size), real)
        self.states: list[Array] = [np.zeros((rows, *s), real) for s, _ in states]
        self.counts: Array | None = None
        self._prepare(loop, fixed, rows)

    def wider(self, rows: int) -> CompiledStep:
        """The same step, with the same weights, for more rows; the first go on from their states."""
        step = object.__new__(CompiledStep)
        for name in ("x", "y", "states"):
            own = getattr(self, name)
            wide = [_wider(a, rows) for a in (own if name == "states" else [own])]
            setattr(step, name, wide if name == "states" else wide[0])
        step.counts = None
        step._prepare(self._loop, self._fixed, rows)
        if step.counts is not None and self.counts is not None:
            step.counts[: len(self.counts)] = self.counts
        return step

    def _prepare(self, loop: Loop, fixed: Mapping[object, Tensor], rows: int) -> None:
        self._loop, self._fixed = loop, fixed
        parts = parts_for(rows, loop.macs, loop.pointwise)
        dealt = deal(torch.ones(rows, dtype=torch.int64), False, parts, rows)
        dealt = replace(dealt, table=dealt.table.copy())  # `run_some` writes into it
        dtype, layout = loop.loops.dtype, loop.layout
        scratch = torch.zeros(dealt.parts * dealt.most * layout.row + 16, dtype=dtype)
        totals = torch.zeros(1, dtype=dtype)
        table = dealt.table.ctypes.data
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
            "first": 0,
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
        self.run, entry = _bound(code[0].address("loop"), ctypes.addressof(words), dealt.parts, self.counts)
        self._kept = words, code, fixed, scratch, totals, entry  # what the kernel reads must live
        self._dealt, self._call = dealt, (code[0].address("loop"), ctypes.addressof(words))

    def run_some(self, rows: Array) -> None:
        dealt, count = self._dealt, len(rows)
        tokens, _, numbers = dealt.places
        each = min(dealt.most, -(-count // dealt.parts)) if dealt.parts > 1 else count
        dealt.table[: dealt.parts + 1] = np.minimum(np.arange(dealt.parts + 1) * each, count)
        dealt.table[tokens : tokens + count] = np.arange(count)
        dealt.table[numbers : numbers + count] = rows
        threads.run(*self._call, dealt.parts)
        if self.counts is not None:
            self.counts[rows] += 1


def _wider(array: Array, rows: int) -> Array:
    wide = np.zeros((rows, *array.shape[1:]), array.dtype)
    wide[: len(array)] = array
    return wide


def _check(captured: list[Tensor], dtype: torch.dtype) -> None:
    for tensor in captured:
        if tensor.device.type != "cpu":
            raise Declined(f"it uses a tensor on {tensor.device}")
        if tensor.is_floating_point() and tensor.dtype != dtype:
            raise Declined(f"it uses a tensor of {tensor.dtype}, in a step of {dtype}")


def _fixed(step: Step, loop: Loop, dtype: torch.dtype) -> dict[object, Tensor]:
    """What is the same for all rows, by its place: copies, in the order in which the kernel reads them."""
    known = {n: step.captured[int(n.attrs[1])].detach() for n in step.graph.nodes if n.op == "input" and not n.rows}
    found: dict[object, Tensor] = {
        place: pack(evaluate(weight, known, 0, dtype), loop.loops.blocks) for weight, place in loop.weights.items()
    }
    for node, place in loop.program.leaves.items():
        if place.kind == "param":
            found[place] = plain(evaluate(node, known, 0, dtype)).clone(memory_format=torch.contiguous_format)
    return found


def _bound(address: int, arguments: int, parts: int, counts: Array | None) -> tuple[Callable[[], None], object]:
    """The kernel on its arguments, and what must live with it."""
    function: Callable[[], None]
    if parts > 1:
        function, kept = functools.partial(threads.run, address, arguments, parts), None
    else:
        # one argument, and a pointer, is what ctypes hands over fastest; nothing of torch is on this way
        kept = (ctypes.c_int64 * 2)(address, arguments)
        function = functools.partial(_enter(), ctypes.addressof(kept))
    if counts is None:
        return function, kept

    def counted() -> None:
        function()
        np.add(counts, 1, out=counts)

    return counted, kept


@functools.cache
def _enter() -> Callable[[int], None]:
    """A function of the address of two words, a loop's own and its arguments': the loop over its one part."""

    def text() -> str:
        module = Module()
        f = Function(module, "enter", [("words", PTR)], exported=True)
        (words,) = f.arguments
        arguments = f.load(PTR, f.offset(words, integer(1), I64))
        f.call_at(f.load(I64, words), integer(0), integer(1), arguments)
        f.ret()
        return module.text()

    code = cache.kernel("enter", text, ["enter"])
    function: Any = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(code.address("enter"))
    function.code = code  # which lives as long
    return function  # type: ignore[no-any-return]
