"""What becomes of a cell: its plan in a few lines, so that a user sees why it is fast, or slow."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from rondeau.cells import Cell
from rondeau.cells.base import begin, state_leaves
from rondeau.errors import ArgumentError
from rondeau.recurrence import vendor
from rondeau.recurrence.context import gather_context
from rondeau.recurrence.engine import Entry
from rondeau.recurrence.ir import COSTLY, POINTWISE, Node, ancestors
from rondeau.recurrence.loops import Loop, Loops
from rondeau.recurrence.plan.cut import ancestors_until
from rondeau.recurrence.plan.tiles import STEPS
from rondeau.recurrence.rows import ALONE
from rondeau.recurrence.runtime import cache, threads
from rondeau.recurrence.runtime.target import host
from rondeau.recurrence.trace.step import Inputs
from rondeau.sequence import Ragged

_TILED = f"in the loop, {STEPS} at a time, where rows keep all threads at work"


@dataclass(frozen=True)
class Explanation:
    """How `scan` runs a cell; print it.

    Attributes:
        cell: the cell's class; `features`: of its inputs; `dtype`: what it computes in.
        native: whether it runs on compiled loops; if not, `reason` says why, and `where` the line to blame, if any.
        cuda: what runs it where its tensors are on CUDA: a vendor's library, or the reference loop, and then why.
        vendor: the library that runs it where its parameters are now; None where none does.
        before, forward, backward, after: what is computed before the loop for all steps at once, at each step, at each
            step of the backward loop, and after it for all steps at once.
        kept: numbers kept for backward, for each row at each step, and `kept_bytes` what they take.
        machine: registers, numbers, threads, and where the kernels are kept.
        remarks: what else decides about its speed.
    """

    cell: str
    features: int
    dtype: torch.dtype
    native: bool
    reason: str | None = None
    where: str | None = None
    cuda: str = ""
    vendor: str | None = None
    before: tuple[str, ...] = ()
    forward: tuple[str, ...] = ()
    backward: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    kept: int = 0
    kept_bytes: int = 0
    machine: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()

    def __str__(self) -> str:
        kind = "native, compiled loops" if self.native else self.vendor or "reference, a PyTorch loop"
        lines = [f"{self.cell}, {self.features} features, {_name(self.dtype)}: {kind}"]
        if not self.native:
            lines.append(f"  because {self.reason}" + (f" ({self.where})" if self.where else ""))
        kept = (f"{self.kept:,} numbers, {self.kept_bytes:,} bytes, per row and step",) if self.native else ()
        for title, part in (
            ("before the loop, all steps at once", self.before),
            ("at each step", self.forward),
            ("kept for backward, besides the output", kept),
            ("at each step backward", self.backward),
            ("after it, all steps at once", self.after),
            ("on CUDA", (self.cuda,) if self.cuda else ()),
            ("machine", self.machine),
            ("remarks", self.remarks),
        ):
            if part:
                lines += [f"{title}:", *(f"  {line}" for line in part)]
        return "\n".join(lines)


def explain(cell: Cell, features: int | None = None, context: Mapping[str, Any] | None = None) -> Explanation:
    """How `scan` would run `cell` in training, and why; nothing is run, built or compiled by asking.

    Args:
        features: of the inputs; needed for a cell that is not built yet.
        context: named tensors as `scan` takes them, for a cell whose step reads some: any batch and time will do.

    Raises `ArgumentError` for what is no cell, or for an unbuilt one without `features`.

    >>> from rondeau.cells import LSTMCell
    >>> plan = explain(LSTMCell(128), features=64)
    >>> plan.native, plan.forward[0]
    (True, 'h @ recurrent_kernel (128 x 512): 65,536 multiply-adds')
    """
    if not isinstance(cell, Cell):
        fix = "Of a layer, pass its cell: explain(layer.cell)"
        raise ArgumentError("explain: cell", expected="a Cell", got=type(cell).__name__, fix=fix)
    features = _features(cell, features)
    with torch.random.fork_rng(devices=[]):
        if not cell.built:
            cell = copy.deepcopy(cell)
        cell.build_for(features)
        dtype = next((p.dtype for p in cell.parameters() if p.is_floating_point()), torch.get_default_dtype())
        about = type(cell).__name__, features, dtype
        there = next((t for t in (*cell.parameters(), *cell.buffers()) if vendor.away(t.device)), None)
        if there is not None:
            return _away(cell, about, bool(context), there)
        inputs = _inputs(cell, features, dtype, context or {})
    on_cuda = vendor.how(vendor.offered(cell, bool(inputs.context)))
    entry = Entry(cell, inputs)
    if entry.loops is None:
        why = entry.declined
        missing = [repr(n) for n in (*cell.per_row, *cell.per_step) if n not in {name for name, *_ in inputs.context}]
        hint = (
            (f"not given: {', '.join(missing)}; explain(cell, context={{...}}) takes it as scan does",)
            if missing
            else ()
        )
        reason, where = (why.reason, why.where) if why else (None, None)
        return Explanation(*about, False, reason, where, on_cuda, remarks=hint)
    return _Reader(cell, entry, entry.loops).explanation(*about, on_cuda)


def _away(cell: Cell, about: tuple[str, int, torch.dtype], context: bool, there: Tensor) -> Explanation:
    """Of a cell with a tensor that is on no CPU."""
    kernel = vendor.offered(cell, context)
    reason = f"its parameters are on {there.device}; loops are compiled for the CPU only"
    here = kernel if isinstance(kernel, str) else kernel.missing(there) or kernel
    on_cuda = vendor.how(here if there.device.type == "cuda" else kernel)
    if isinstance(here, str):
        return Explanation(*about, False, f"{reason}, and {here}", None, on_cuda)
    return Explanation(*about, False, reason, None, on_cuda, here.name)


def _features(cell: Cell, features: int | None) -> int:
    known = cell.features if cell.built else None
    if features is None and known is None:
        where = type(cell).__name__
        fix = "Say how many the inputs have: explain(cell, features=...)"
        raise ArgumentError("explain: features are not known", expected="a number", where=where, fix=fix)
    return features if features is not None else known or 0


def _inputs(cell: Cell, features: int, dtype: torch.dtype, context: Mapping[str, Any]) -> Inputs:
    """What a training call would give the step."""
    batch, time = _sizes(cell, context)
    x = Ragged(torch.zeros(batch * time, features, dtype=dtype), torch.full((batch,), time))
    state = begin(cell, None, x, where="the initial state")
    tensors = gather_context(cell, x, context, torch.Generator())

    def kind(tensor: Tensor) -> tuple[tuple[int, ...], torch.dtype]:
        return tuple(tensor.shape[1:]), dtype if tensor.is_floating_point() else tensor.dtype

    named = tuple((name, per_step, *kind(t)) for name, (per_step, t) in tensors.items())
    return Inputs(kind(x.values), tuple(kind(t) for _, t in state_leaves(state)), named, dtype, frozenset({"x"}))


def _sizes(cell: Cell, context: Mapping[str, Any]) -> tuple[int, int]:
    """A batch and a time that the given context fits."""
    batch = next((len(v) for v in context.values()), 2)
    steps = [v for name, v in context.items() if name in cell.per_step]
    if steps and isinstance(steps[0], Ragged):
        return batch, int(steps[0].lengths.max())
    return batch, steps[0].shape[1] if steps else 1


class _Reader:
    """Puts a plan into words."""

    def __init__(self, cell: Cell, entry: Entry, loops: Loops) -> None:
        self.cell, self.entry, self.loops, self.split = cell, entry, loops, loops.split
        self.states = [name or "state" for name, _ in state_leaves(cell.state_size)]
        tensors = [*cell.named_parameters(), *cell.named_buffers()]
        self.names = {id(t): name for name, t in tensors}

    def explanation(self, cell: str, features: int, dtype: torch.dtype, on_cuda: str) -> Explanation:
        kept = sum(n.size for n in self.split.kept if n is not self.loops.step.output)
        return Explanation(
            cell,
            features,
            dtype,
            native=True,
            cuda=on_cuda,
            before=tuple(self._before()),
            forward=tuple(self._phases(self.loops.training)),
            backward=tuple(self._phases(self.loops.backward)),
            after=tuple(self._after()),
            kept=kept,
            kept_bytes=kept * dtype.itemsize,
            machine=tuple(self._machine()),
            remarks=tuple(self._remarks()),
        )

    def _before(self) -> list[str]:
        steps = [
            self._product(n) + (f"; {_TILED}" if n in self.loops.tiles else "")
            if n.op == "product"
            else self._values([n])
            for n in self.split.before
        ]
        rows = [f"once per row: {self._values([n])}" for n in self.split.rows_before]
        return rows + [line for line in steps if line]

    def _phases(self, loop: Loop) -> list[str]:
        program, lines = loop.program, []
        for i, phase in enumerate(program.phases):
            nodes = [n for n in program.inner if program.phase[n] == i and n.op != "product"]
            line = self._values(nodes)
            lines += ([line] if line else []) + [self._product(n) for n in phase.products]
        return lines

    def _product(self, node: Node) -> str:
        operand, weight = node.args
        k, columns = weight.shape
        work = operand.size // k * weight.size
        return f"{self._called(operand)} @ {self._called(weight)} ({k} x {columns}): {work:,} multiply-adds"

    def _values(self, nodes: list[Node]) -> str:
        """Elementwise work, dear functions by name, and reductions."""
        dear, parts = Counter[str](), []
        for node in nodes:
            if node.op in COSTLY:
                dear[node.op] += node.size
        plain = sum(n.size for n in nodes if n.op in POINTWISE and n.op not in COSTLY)
        parts += [f"{count:,} {name}" for name, count in dear.most_common()]
        parts += [f"{plain:,} simple operations"] if plain else []
        sums = Counter(f"{n.attrs[0]} of {n.args[0].size:,}" for n in nodes if n.op == "reduce")
        parts += [name if count == 1 else f"{count} x {name}" for name, count in sums.items()]
        return ", ".join(parts)

    def _after(self) -> list[str]:
        gradients = self.loops.step.gradients
        return [
            f"gradient of {self._gradient(name)}: {self._made(name, node)}"
            for name, node in gradients.items()
            if node is not None and not name.startswith("state.")
        ]

    def _made(self, name: str, node: Node) -> str:
        if name in self.split.direct:
            return "written by the loop"
        if name in self.loops.late_tiles:
            return f"a product over all steps; {_TILED}"
        late = ancestors_until([node], lambda n: n in self.split.inside or n in self.split.totals)
        if any(n.op in ("outer", "product") for n in late - set(self.split.inside)):
            return "a product over all steps"
        return "summed within the loop"

    def _gradient(self, name: str) -> str:
        kind, _, place = name.partition(".")
        return self._captured(int(place)) if kind == "param" else name

    def _captured(self, place: int) -> str:
        return self.names.get(id(self.entry.captured[place]), "a tensor from outside the cell")

    def _called(self, node: Node) -> str:
        if node.op == "input":
            kind, name = node.attrs
            return self._captured(int(name)) if kind == "param" else self.states[int(name)] if kind == "state" else name
        if node.rows:
            plain = node.op == "mul" and all(a.op == "input" for a in node.args)
            return " * ".join(map(self._called, node.args)) if plain else "values"
        if node.op == "aten" and node.attrs[0] in ("aten.t.default", "aten.transpose.int"):
            return f"{self._called(node.args[0])}.T"
        names = sorted({self._called(n) for n in ancestors([node]) if n.op == "input"})
        part = len(names) == 1 and node.op in ("item", "view", "reshape")
        return f"{'part of' if part else 'weights made of'} {' and '.join(names)}"

    def _machine(self) -> list[str]:
        blocks = self.loops.blocks
        loop = self.loops.training
        step = 2 * loop.macs + 10 * loop.pointwise
        needed = -(-ALONE // max(step, 1))
        return [
            f"{host().cpu}, vectors of {blocks.lanes} numbers; products by {blocks.rows} rows x {blocks.width} columns",
            f"numbers: {str(self.loops.dtype).removeprefix('torch.')}; under autocast float32 throughout",
            f"threads: {threads.how()}; rows are shared out from {needed:,} rows on",
            f"kernels: {cache.folder()}",
        ]

    def _remarks(self) -> list[str]:
        found = []
        if self.entry.guard.opaque is not None:
            found.append(f"traced again at every call, since nobody can watch {self.entry.guard.opaque}")
        stages = sum(bool(p.products) for p in self.loops.training.program.phases)
        if stages > 1:
            found.append(f"{stages} products at each step that wait for one another")
        inside = [n for n in self.loops.training.program.inner if n.op == "product"]
        if not inside:
            found.append("no matrix product at a step: elementwise work decides")
        return found


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
