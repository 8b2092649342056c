"""A whole loop over time as one function: parts of the batch, steps, phases, and the states between them.

The function is `loop(begin, end, arguments)`: parts begin..end-1, each the rows that one thread steps together. Its
arguments are an array of 64-bit words in the order of `Layout.slots`: addresses, and a few numbers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from rondeau.recurrence.emit.llvm import I64, PTR, Function, Module, Value, integer
from rondeau.recurrence.emit.product import Blocking
from rondeau.recurrence.emit.rows import Rows
from rondeau.recurrence.extent import Extent, names_in, up_to
from rondeau.recurrence.ir import Node
from rondeau.recurrence.plan.program import Place, Program
from rondeau.recurrence.plan.tiles import STEPS

NUMBERS = ("parts", "tokens", "lengths", "ids", "direction", "scratch", "most", "product", "first")


@dataclass
class Layout:
    """Where a kernel finds things.

    slots: name or place -> number of its word among the arguments. `scratch`: place -> (elements before it, elements of
    one row), both per row of a part: a place begins at `most * before`. `row`: all elements a row of a part needs.
    `totals`: place -> first element in a part's sums, followed by what they lost; `total`: how many elements in all.
    """

    slots: dict[object, int] = field(default_factory=dict)
    scratch: dict[Place, tuple[int, int]] = field(default_factory=dict)
    row: int = 0
    totals: dict[Place, int] = field(default_factory=dict)
    total: int = 0


def lay_out(program: Program, sizes: dict[Place, int], states: list[int], blocks: Blocking) -> Layout:
    """`sizes`: elements of an entry of each place; `states`: elements of each state."""
    layout = Layout()
    names = {n for size in sizes.values() for n in names_in(size)}
    read = {a for node in program.nodes for a in (node, *node.args)}
    names |= {n for node in read for n in names_in((node.shape, node.attrs))}
    for name in (
        *NUMBERS,
        "totals",
        *(f"initial{i}" for i in range(len(states))),
        *(f"final{i}" for i in range(len(states))),
        *(f"size {name}" for name in sorted(names)),
    ):
        layout.slots[name] = len(layout.slots)
    for place, size in sizes.items():
        if place.kind in ("token", "row", "param", "weight", "row_total", "tile"):
            layout.slots.setdefault(place.buffer, len(layout.slots))
        if place.kind == "tile":
            _reserve(layout, place, size, blocks, STEPS)
        elif place.kind == "total":
            layout.totals[place] = layout.total
            layout.total += 2 * size  # the sums, and what their rounding lost
        elif place.kind == "scratch":
            _reserve(layout, place, size, blocks, 1)
    for i, size in enumerate(states):
        _reserve(layout, Place("state", str(i)), size, blocks, 2)
    return layout


def _reserve(layout: Layout, place: Place, size: int, blocks: Blocking, copies: int) -> None:
    wide = up_to(size, blocks.width)
    if not isinstance(wide, Extent) and wide * blocks.bytes % 2048 == 0:
        wide += 64 // blocks.bytes  # rows a power of two apart would share the same few lines of the cache
    layout.scratch[place] = (layout.row, wide)
    layout.row += copies * wide


class Kernel:
    """Writes the loop of `program` into `module`. `backward`: from each row's last step to its first.

    `elements`: the type in memory of inputs that are no floating-point numbers. `late_tiles`: products made of what the
    loop leaves, and where they go.
    """

    def __init__(
        self,
        module: Module,
        program: Program,
        layout: Layout,
        sizes: dict[Place, int],
        states: list[int],
        blocks: Blocking,
        backward: bool,
        elements: dict[Place, str],
        late_tiles: dict[Node, Place],
    ) -> None:
        self.elements, self.late_tiles = elements, late_tiles
        self.program, self.layout, self.sizes, self.states = program, layout, sizes, states
        self.blocks, self.backward, self.module = blocks, backward, module
        self._part()
        f = Function(module, "loop", [("begin", I64), ("end", I64), ("arguments", PTR)], exported=True)
        begin, end, arguments = f.arguments

        def part(p: Value) -> None:
            f.call("part", "void", p, arguments)

        f.loop(begin, end, part)
        f.ret()

    def _part(self) -> None:
        f = self.f = Function(self.module, "part", [("p", I64), ("arguments", PTR)], attributes="noinline")
        p, arguments = f.arguments
        self.words = {
            name: f.load(I64, f.offset(arguments, integer(slot), I64)) for name, slot in self.layout.slots.items()
        }
        self.most = self.words["most"]
        parts = self._pointer("parts")
        first = f.load(I64, f.offset(parts, p, I64))
        rows = f.sub(f.load(I64, f.offset(parts, f.add(p, integer(1)), I64)), first)
        self.tokens, self.lengths, self.ids = (
            f.offset(self._pointer(name), first, I64) for name in ("tokens", "lengths", "ids")
        )
        each = f.mul(self.most, self.extent(self.layout.row))
        self.scratch = f.offset(self._pointer("scratch"), f.mul(p, each), self.blocks.element)
        self.totals = f.offset(self._pointer("totals"), f.mul(p, self.extent(self.layout.total)), self.blocks.element)
        self._ends(rows, start=True)
        self._time(rows)
        self._ends(rows, start=False)
        f.ret()

    def extent(self, number: int) -> Value:
        """A number, or one that the arguments say."""
        if not isinstance(number, Extent):
            return integer(number)
        total = integer(number.base)
        for name, factor in number.terms:
            total = self.f.add(self.f.mul(self.words[f"size {name}"], integer(factor)), total)
        return total

    def _pointer(self, name: object) -> Value:
        return self.f.emit(PTR, f"inttoptr i64 {self.words[name]} to ptr")

    def _ends(self, rows: Value, start: bool) -> None:
        """Initial states into the buffers, or the last ones out.

        Step t takes the buffer of parity t and leaves the other (backward the other way round), so that a row's last
        state, and backward its first cotangent, is in the buffer of its length's parity.
        """
        f, element = self.f, self.blocks.element

        def row(r: Value) -> None:
            identity = f.load(I64, f.offset(self.ids, r, I64))
            length = f.load(I64, f.offset(self.lengths, r, I64))
            parity = f.binary("and", length, integer(1)) if start == self.backward else integer(0)
            for i, size in enumerate(self.states):
                outside = f.offset(
                    self._pointer(f"{'initial' if start else 'final'}{i}"), f.mul(identity, integer(size)), element
                )
                inside = self._state(i, parity, r)
                source, target = (outside, inside) if start else (inside, outside)
                f.loop(integer(0), integer(size), lambda j, s=source, t=target: self._copy(s, t, j))

        f.loop(integer(0), rows, row)

    def _copy(self, source: Value, target: Value, j: Value) -> None:
        f, element = self.f, self.blocks.element
        f.store(f.load(element, f.offset(source, j, element)), f.offset(target, j, element))

    def _state(self, i: int, parity: Value, r: Value) -> Value:
        f = self.f
        before, wide = self.layout.scratch[Place("state", str(i))]
        start = f.mul(self.most, f.add(self.extent(before), f.mul(parity, self.extent(wide))))
        return f.offset(self.scratch, f.add(start, f.mul(r, self.extent(wide))), self.blocks.element)

    def _time(self, rows: Value) -> None:
        f = self.f
        some = f.compare("sgt", rows, integer(0))
        longest = f.allocate(I64)
        f.store(integer(0), longest)
        f.when(some, lambda: f.store(f.load(I64, self.lengths), longest))
        steps = f.load(I64, longest)
        alive = f.allocate(I64)
        f.store(integer(0) if self.backward else rows, alive)

        def step(q: Value) -> None:
            t = f.sub(f.sub(steps, integer(1)), q) if self.backward else q
            self._count(t, rows, alive)
            self._step(t, f.load(I64, alive))

        f.loop(integer(0), steps, step)

    def _count(self, t: Value, rows: Value, alive: Value) -> None:
        """How many rows, longest first, have a step t: forward some end, backward some begin."""
        f = self.f
        test, turn, after = f.label("test"), f.label("turn"), f.label("counted")
        look = f.label("look")
        f.branch(test)
        f.begin(test)
        n = f.load(I64, alive)
        f.branch_if(f.compare("slt", n, rows) if self.backward else f.compare("sgt", n, integer(0)), look, after)
        f.begin(look)
        place = n if self.backward else f.sub(n, integer(1))
        length = f.load(I64, f.offset(self.lengths, place, I64))
        f.branch_if(f.compare("sgt" if self.backward else "sle", length, t), turn, after)
        f.begin(turn)
        f.store(f.add(n, integer(1 if self.backward else -1)), alive)
        f.branch(test)
        f.begin(after)

    def _step(self, t: Value, n: Value) -> None:
        f = self.f
        parity = f.binary("and", t, integer(1))
        other = f.binary("xor", parity, integer(1))
        self.read, self.write = (other, parity) if self.backward else (parity, other)
        shift = f.mul(t, self.words["direction"])
        index = f.add(t, self.words["first"])  # steps the row has made, those before the loop included
        for node, place in self.program.leaves.items():
            if place.kind == "tile":
                self._early_tile(node, place, t, n)
        ready: set[Node] = set()
        for phase in self.program.phases:
            if phase.roots:

                def row(r: Value, phase=phase) -> None:  # type: ignore[no-untyped-def]
                    nonlocal ready
                    pointers = self._row_pointers(r, t, shift)
                    emitter = Rows(
                        f, self.program, self.blocks.element, self.blocks.lanes,
                        lambda place, write: pointers[place, write and place.kind == "state"], index,
                        lambda place: pointers[place, True], self.extent,
                    )  # fmt: skip
                    emitter.ready = set(ready)
                    emitter.phase(phase)
                    ready = emitter.ready

                f.loop(integer(0), n, row)
            for node in phase.products:
                self._product(node, n)
        for node, place in self.late_tiles.items():
            self._late_tile(node, place, t, n)

    def _early_tile(self, node: Node, place: Place, t: Value, n: Value) -> None:
        """The next steps of a product that nobody gave, in scratch memory."""
        operand, wide = node.args[0], self.layout.scratch[place][1]
        given = self.words[place]
        source = self.program.leaves[operand]

        def target(r: Value, token: Value) -> Value:
            return self._scratch(place, self.f.mul(r, integer(STEPS)))

        self._tile(node, source, self.f.compare("eq", given, integer(0)), t, n, target, integer(wide))

    def _late_tile(self, node: Node, place: Place, t: Value, n: Value) -> None:
        """A product of what the last steps left, for whom it may concern."""
        f, wanted = self.f, self.words[place]
        stored = next(r.place for r in self.program.results if r.node is node.args[0] and r.place.kind == "token")

        def target(r: Value, token: Value) -> Value:
            return f.offset(self._pointer(place), f.mul(token, integer(node.size)), self.blocks.element)

        entry = f.mul(self.words["direction"], integer(node.size))
        self._tile(node, stored, f.compare("ne", wanted, integer(0)), t, n, target, entry)

    def _tile(
        self,
        node: Node,
        source: Place,
        wanted: Value,
        t: Value,
        n: Value,
        target: Callable[[Value, Value], Value],
        ldc: Value,
    ) -> None:
        """A product of `STEPS` steps of each row, those from t on, where t is a multiple of that."""
        f, weight = self.f, node.args[1]
        k, columns = weight.shape
        panels = -(-columns // self.blocks.width)
        lda = f.mul(self.words["direction"], integer(k))
        first = f.compare("eq", f.binary("and", t, integer(STEPS - 1)), integer(0))

        def row(r: Value) -> None:
            left = f.sub(f.load(I64, f.offset(self.lengths, r, I64)), t)
            count = f.select(f.compare("slt", left, integer(STEPS)), left, integer(STEPS))
            token = f.add(f.load(I64, f.offset(self.tokens, r, I64)), f.mul(t, self.words["direction"]))
            a = f.offset(self._pointer(source), f.mul(token, integer(k)), self.blocks.element)
            f.call_at(
                self.words["product"], count, integer(k), a, lda, self._pointer(self.weight_place(weight)),
                integer(panels), target(r, token), ldc, Value("false", "i1"),
            )  # fmt: skip

        def rows() -> None:
            f.loop(integer(0), n, row)

        f.when(f.binary("and", first, wanted), rows)

    def _row_pointers(self, r: Value, t: Value, shift: Value) -> dict[tuple[Place, bool], Value]:
        """Where this row's entry of every place begins; what a phase does not use LLVM removes."""
        f = self.f
        token = f.add(f.load(I64, f.offset(self.tokens, r, I64)), shift)
        identity = f.load(I64, f.offset(self.ids, r, I64))
        pointers: dict[tuple[Place, bool], Value] = {}
        for place, size in self.sizes.items():
            element = self.elements.get(place, self.blocks.element)
            if place.kind == "token":
                entry = f.mul(token, self.extent(place.within or size))
                start = f.add(entry, integer(place.start))
                pointers[place, False] = f.offset(self._pointer(place.buffer), start, element)
            elif place.kind in ("row", "row_total"):
                pointers[place, False] = f.offset(self._pointer(place), f.mul(identity, self.extent(size)), element)
            elif place.kind == "param":
                pointers[place, False] = self._pointer(place)
            elif place.kind == "total":
                pointers[place, False] = f.offset(self.totals, self.extent(self.layout.totals[place]), element)
                pointers[place, True] = f.offset(pointers[place, False], self.extent(size), element)
            elif place.kind == "scratch":
                pointers[place, False] = self._scratch(place, r)
            elif place.kind == "tile":
                given = f.offset(self._pointer(place), f.mul(token, integer(size)), element)
                made = self._scratch(place, f.add(f.mul(r, integer(STEPS)), f.binary("and", t, integer(STEPS - 1))))
                none = f.compare("eq", self.words[place], integer(0))
                pointers[place, False] = f.select(none, made, given)
        for i in range(len(self.states)):
            place = Place("state", str(i))
            pointers[place, False] = self._state(i, self.read, r)
            pointers[place, True] = self._state(i, self.write, r)
        return pointers

    def _scratch(self, place: Place, r: Value) -> Value:
        f = self.f
        before, wide = self.layout.scratch[place]
        start = f.mul(self.most, self.extent(before))
        return f.offset(self.scratch, f.add(start, f.mul(r, self.extent(wide))), self.blocks.element)

    def _product(self, node: Node, n: Value) -> None:
        f = self.f
        operand, weight = node.args
        place = self.program.leaves.get(operand)
        state = place is not None and place.kind == "state"
        source = place if place is not None and state else self.program.stored[operand]
        a = self._state(int(source.name), self.read, integer(0)) if state else self._scratch(source, integer(0))
        target = self.program.stored[node]
        k, columns = weight.shape
        times = operand.size // k  # a product may have axes before the last: each is a row of its own
        lda, ldc = self.layout.scratch[source][1], self.layout.scratch[target][1]
        if times != 1:
            raise ValueError("a product with several rows of its own per row")
        panels = -(-columns // self.blocks.width)
        f.call_at(
            self.words["product"], n, integer(k), a, integer(lda), self._pointer(self.weight_place(weight)),
            integer(panels), self._scratch(target, integer(0)), integer(ldc), Value("false", "i1"),
        )  # fmt: skip

    @staticmethod
    def weight_place(weight: Node) -> Place:
        return Place("weight", f"n{weight.index}")
