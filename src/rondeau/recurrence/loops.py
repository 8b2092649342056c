"""A traced step's loops, for inference, training and its backward pass: planned and compiled when first used."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from rondeau.recurrence import pool
from rondeau.recurrence.emit.kernel import NUMBERS, Kernel, Layout, lay_out
from rondeau.recurrence.emit.llvm import Module
from rondeau.recurrence.emit.product import Blocking, blocking, define_packing, define_product
from rondeau.recurrence.extent import known
from rondeau.recurrence.ir import POINTWISE, Node
from rondeau.recurrence.plan import tiles
from rondeau.recurrence.plan.overlay import lay_over, may_replace, pieces
from rondeau.recurrence.plan.program import Place, Program, Result
from rondeau.recurrence.plan.split import Split, split
from rondeau.recurrence.rows import Dealt
from rondeau.recurrence.runtime import cache, threads
from rondeau.recurrence.runtime.jit import Code
from rondeau.recurrence.runtime.target import host
from rondeau.recurrence.trace.step import Step

OUTPUT = Place("token", "output")
_ELEMENTS = {torch.float32: "float", torch.float64: "double"}


class Loops:
    """What belongs to one traced step, for one type of number."""

    def __init__(self, step: Step, dtype: torch.dtype) -> None:
        self.step, self.dtype = step, dtype
        self.split: Split = split(step)
        self.blocks: Blocking = blocking(host(), _ELEMENTS[dtype])
        self.states = [s.size for s in step.states]
        self._nodes: dict[str, Node | None] = {}
        self._outside: dict[Any, Any] = {}
        self.inputs = {n.attrs: n for n in step.graph.nodes if n.op == "input"}

    def node(self, name: str) -> Node | None:
        """The input that a tensor's name stands for; None where the step does not read it."""
        if name not in self._nodes:
            kind, _, place = name.partition(".")
            if kind in ("state", "param"):
                self._nodes[name] = self.inputs.get((kind, place))
            else:
                key = "x" if name == "x" else place
                self._nodes[name] = self.inputs.get(("step", key)) or self.inputs.get(("row", key))
        return self._nodes[name]

    def outside(self, key: Any, make: Callable[[], Any]) -> Any:
        """What torch computes around the loops for one kind of call, made when first asked for."""
        found = self._outside.get(key)
        if found is None:
            found = self._outside[key] = make()
        return found

    def leaves(self, backward: bool) -> dict[Node, Place]:
        """What a loop may read, and where it lies."""
        return leaves_of(self, backward)

    @cached_property
    def inference(self) -> Loop:
        return Loop(self, self._results(), backward=False)

    @cached_property
    def training(self) -> Loop:
        keep = [Result(n, self.kept[n]) for n in self.split.kept if n is not self.step.output]
        return Loop(self, [*self._results(), *keep], backward=False)

    @cached_property
    def tiles(self) -> list[Node]:
        """Products before the loop that it can make itself."""
        return tiles.before(self.split, self.dtype.itemsize)

    @cached_property
    def late_tiles(self) -> dict[str, Node]:
        """Gradients that the backward loop can make itself: name -> product."""
        return tiles.after(self.split, self.dtype.itemsize, self.blocks.width)

    @cached_property
    def kept(self) -> dict[Node, Place]:
        """Where the forward loop leaves what the backward one reads.

        As far as may be in the memory of what was computed before the loop; else in the pattern of what the backward
        loop will write, so that this can take its place.
        """
        found, output = self.split, self.step.output
        nodes = [n for n in found.kept if n is not output]
        plain = Program([*self._results(), *(Result(n, kept_place(n)) for n in nodes)], leaves_of(self, backward=False))
        free = [n for n in nodes if n not in found.operands]  # the others are read once more, after the backward loop
        hosts = [n for n in found.before if n not in found.kept and n not in self.tiles and n.dtype == "float"]
        places = {n: kept_place(n) for n in nodes} | lay_over(plain, free, hosts)
        for late in found.inside:
            self._side_by_side(late, [n for n in free if not places[n].within], places)
        return places

    def _side_by_side(self, late: Node, nodes: list[Node], places: dict[Node, Place]) -> None:
        """Kept values in one buffer, each where a part of `late` will be, if there are as many of them."""
        if late.op != "cat" or any(p.within == late.size for p in places.values()):
            return
        parts = [(offset, piece) for piece, offset, _ in pieces(late) if len(piece.shape) == 1]
        fitting = [n for n in nodes if n.dtype == "float" and n.op in POINTWISE and len(n.shape) == 1]
        if len(parts) != len(pieces(late)) or len(fitting) < len(parts):
            return
        if all(n.size == piece.size for n, (_, piece) in zip(fitting, parts, strict=False)):
            for node, (offset, _) in zip(fitting, parts, strict=False):
                places[node] = Place("token", f"s{late.index}", offset, late.size)

    @cached_property
    def replaced(self) -> dict[Node, Place]:
        """Results of the backward loop that may be written over what was kept: node -> the buffer."""
        chosen: dict[Node, Place] = {}
        program = self.backward.program
        for buffer in {p.buffer: None for p in self.kept.values() if p.within}:
            inside = {n: p for n, p in self.kept.items() if p.buffer == buffer}
            size = next(iter(inside.values())).within
            for node in self.split.inside:
                if node.size == size and node not in chosen and may_replace(program, node, inside):
                    chosen[node] = buffer
                    break
        return chosen

    def _results(self) -> list[Result]:
        states = [Result(node, Place("state", str(i))) for i, node in enumerate(self.step.states)]
        asked = [Result(node, place) for place, node in self.asked.items()]
        return [Result(self.step.output, OUTPUT), *states, *asked]

    @cached_property
    def asked(self) -> dict[Place, Node]:
        """What the forward loop writes down for the user, for each step: states in their order, then intermediates."""
        step, found = self.step, self.step.asked
        if found is None:
            return {}
        states = {Place("token", f"state {i}"): n for i, n in enumerate(step.states)} if found.states else {}
        return states | {Place("token", f"asked {name}"): n for name, (n, _) in found.named.items()}

    @cached_property
    def backward(self) -> Loop:
        found = self.split
        results = []
        for kind, name, gradients in (
            ("state", "{}", found.state_gradients),
            ("token", "cotangent {}", found.cotangents),
        ):
            for i, node in enumerate(gradients):
                zero = self.step.graph.make("const", (), self.step.states[i].shape, "float", ("0.0",), rows=False)
                results.append(Result(zero if node is None else node, Place(kind, name.format(i))))
        results += [Result(n, kept_place(n)) for n in found.inside]
        results += [Result(t.args[0], Place("total", f"t{t.index}")) for t in found.totals]
        results += [Result(n, Place("row_total", name)) for name, n in found.row_totals.items()]
        results += [Result(n, Place("token", f"direct.{name}")) for name, n in found.direct.items()]
        return Loop(self, results, backward=True)


def kept_place(node: Node) -> Place:
    """Where a value kept at each step lies, if in a buffer of its own."""
    return Place("token", f"k{node.index}")


def tile_place(name: str) -> Place:
    """Where a gradient lies that the backward loop makes itself."""
    return Place("token", f"tile.{name}")


def leaves_of(loops: Loops, backward: bool) -> dict[Node, Place]:
    """What a loop may read, and where it lies; of the values without rows those that are read are added later."""
    split, step = loops.split, loops.step
    leaves: dict[Node, Place] = {}
    for node in step.graph.nodes:
        if node.op != "input":
            continue
        kind, name = node.attrs
        if kind in ("step", "output_cotangent"):
            leaves[node] = Place("token", f"n{node.index}")
        elif kind == "row":
            leaves[node] = Place("row", f"n{node.index}")
        elif kind == "index":
            leaves[node] = Place("index", "index")
        elif kind == ("state_cotangent" if backward else "state"):
            leaves[node] = Place("state", name)
    tiled = [] if backward else loops.tiles
    leaves.update({n: Place("tile" if n in tiled else "token", f"n{n.index}") for n in split.before})
    leaves.update({n: Place("row", f"n{n.index}") for n in split.rows_before})
    if backward:
        leaves.update({n: OUTPUT if n is step.output else loops.kept[n] for n in split.kept})
    return leaves


class Loop:
    """One compiled loop: its program, where it expects what, and its code."""

    def __init__(self, loops: Loops, results: list[Result], backward: bool) -> None:
        self.loops, self.is_backward = loops, backward
        self.program = Program(results, loops.leaves(backward))
        self._more_leaves()
        self.tiles = {n: p for n, p in self.program.leaves.items() if p.kind == "tile"}
        for node in self.tiles:
            operand = node.args[0]
            self.program.leaves[operand] = Place("token", f"n{operand.index}")
        self.late_tiles = {n: tile_place(name) for name, n in loops.late_tiles.items()} if backward else {}
        self.weights = {n.args[1]: Kernel.weight_place(n.args[1]) for n in self.program.inner if n.op == "product"}
        for node in (*self.tiles, *self.late_tiles):
            self.weights[node.args[1]] = Kernel.weight_place(node.args[1])
        self.sizes: dict[Place, int] = {}
        self.elements: dict[Place, str] = {}
        for node, place in (*self.program.leaves.items(), *self.program.stored.items()):
            self.sizes[place] = node.size
            if place.given and node.dtype != "float":
                self.elements[place] = "i8" if node.dtype == "bool" else "i64"
        for result in results:
            self.sizes[result.place] = result.node.size
        for node, place in self.late_tiles.items():
            self.sizes[place] = node.size
        for weight, place in self.weights.items():
            self.sizes[place] = weight.size
        self.sizes = {p: n for p, n in self.sizes.items() if p.kind not in ("state", "index")}
        self.layout: Layout = lay_out(self.program, self.sizes, loops.states, loops.blocks)
        self.slots = {p: self.layout.slots[p.buffer] for p in self.sizes if p.buffer in self.layout.slots}
        self.slots.update({p.buffer: slot for p, slot in list(self.slots.items())})
        self.macs = sum(n.args[1].size for n in self.program.inner if n.op == "product")
        self.pointwise = sum(n.size for n in self.program.inner)
        self._weight_slots = [self.layout.slots[place] for place in self.weights.values()]
        self._arguments = ctypes.c_int64 * len(self.layout.slots)

    def _more_leaves(self) -> None:
        """Values without rows, and only what this loop reads."""
        read = {a for n in self.program.inner for a in (n.args[:1] if n.op == "product" else n.args)}
        read |= {r.node for r in self.program.results}
        self.program.leaves = {n: p for n, p in self.program.leaves.items() if n in read}
        for node in sorted(read, key=lambda n: n.index):  # the order decides where the kernel looks for them
            if not node.rows and node.op != "const":
                self.program.leaves[node] = Place("param", f"n{node.index}")

    @property
    def text(self) -> str:
        """Everything the code depends on."""
        nodes = "\n".join(map(repr, self.program.nodes))
        results = [(r.node.index, r.place) for r in self.program.results]
        leaves = sorted((n.index, str(p)) for n, p in self.program.leaves.items())
        late = [(repr(n), *map(repr, n.args), p) for n, p in (*self.tiles.items(), *self.late_tiles.items())]
        words = list(map(str, self.layout.slots))
        head = f"{self.loops.blocks} {self.is_backward} {self.loops.states} {words}"
        return f"{head}\n{nodes}\n{results}\n{leaves}\n{late}"

    def llvm(self) -> str:
        module = Module(self.loops.blocks.element, self.loops.blocks.fma)
        Kernel(
            module,
            self.program,
            self.layout,
            self.sizes,
            self.loops.states,
            self.loops.blocks,
            self.is_backward,
            self.elements,
            self.late_tiles,
        )
        return module.text()

    @cached_property
    def code(self) -> Code:
        return cache.kernel(self.text, self.llvm, ["loop"])

    def run(
        self,
        dealt: Dealt,
        slots: Sequence[int | None],
        tensors: Sequence[Tensor | None],
        weights: Sequence[Tensor],
        initial: Sequence[Tensor],
        final: Sequence[Tensor],
        sizes: Mapping[str, int],
        first: int = 0,
    ) -> Tensor:
        """The loop over all rows; returns the sums over everything, `(total,)`.

        `slots`: of each of `tensors` the word among the arguments, None for what this loop does not read or write; no
        tensor for what it makes itself, or is not to make.
        `weights`: in the order of `self.weights`. `first`: how many steps the rows have made before.
        """
        layout, blocks, dtype = self.layout, self.loops.blocks, self.loops.dtype
        scratch = pool.take(1, dealt.parts * dealt.most * known(layout.row, sizes) + 16, dtype)
        totals = torch.zeros(dealt.parts, known(layout.total, sizes), dtype=dtype)
        packed = [pack(weight, blocks) for weight in weights]
        table = dealt.table.ctypes.data
        words: list[int | None] = [None] * len(layout.slots)
        states = (*initial, *final)
        # in the order of NUMBERS, "totals", and the states
        words[: len(NUMBERS) + 1 + len(states)] = (
            table,
            table + 8 * dealt.places[0],
            table + 8 * dealt.places[1],
            table + 8 * dealt.places[2],
            dealt.direction,
            (scratch.data_ptr() + 63) // 64 * 64,
            dealt.most,
            shared(blocks).address("product"),
            first,
            totals.data_ptr(),
            *[t.data_ptr() for t in states],
        )
        for name, size in sizes.items():
            if f"size {name}" in layout.slots:
                words[layout.slots[f"size {name}"]] = size
        for place, tensor in zip(self._weight_slots, packed, strict=True):
            words[place] = tensor.data_ptr()
        for slot, given in zip(slots, tensors, strict=True):
            if slot is not None:
                words[slot] = 0 if given is None else given.data_ptr()
        known_words = [w for w in words if w is not None]
        if len(known_words) < len(words):
            raise ValueError(f"nothing was given for {[p for p, slot in layout.slots.items() if words[slot] is None]}")
        array = self._arguments(*known_words)
        threads.run(self._address, ctypes.addressof(array), dealt.parts)
        for tensor in (scratch, *packed):
            pool.give(tensor)
        return totals.sum(0) if dealt.parts > 1 else totals[0]

    @cached_property
    def _address(self) -> int:
        return self.code.address("loop")


def pack(weight: Tensor, blocks: Blocking) -> Tensor:
    """A weight (k, columns) of any strides in the order in which products read it."""
    k, columns = weight.shape
    panels = -(-columns // blocks.width)
    packed = pool.take(1, panels * k * blocks.width, weight.dtype)
    words = (ctypes.c_int64 * 6)(weight.data_ptr(), *weight.stride(), k, columns, packed.data_ptr())
    parts = panels if packed.numel() > 1 << 15 else 1
    code = shared(blocks)
    if parts == 1:
        _direct(code.address("pack"))(0, panels, ctypes.addressof(words))
    else:
        threads.run(code.address("pack"), ctypes.addressof(words), panels)
    return packed


_SHARED: dict[Blocking, Code] = {}


def shared(blocks: Blocking) -> Code:
    """Products and packing, which all loops of one type of number use."""
    if blocks not in _SHARED:

        def text() -> str:
            module = Module(blocks.element, blocks.fma)
            define_product(module, blocks)
            define_packing(module, blocks)
            return module.text()

        _SHARED[blocks] = cache.kernel(f"shared {blocks}", text, ["product", "pack"])
    return _SHARED[blocks]


def _direct(address: int) -> Callable[[int, int, int], None]:
    return ctypes.CFUNCTYPE(None, ctypes.c_int64, ctypes.c_int64, ctypes.c_void_p)(address)
