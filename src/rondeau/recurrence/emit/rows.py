"""The elementwise part of a phase: one row at a time, vector by vector, values in registers where they can be."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rondeau.recurrence.emit import arithmetic
from rondeau.recurrence.emit.llvm import BOOL, I64, Function, Value, everywhere, integer, number, vector_of
from rondeau.recurrence.extent import Extent
from rondeau.recurrence.ir import Node, strides_of
from rondeau.recurrence.plan.overlay import pieces
from rondeau.recurrence.plan.program import Phase, Place, Program

# An index along one axis: a constant and loop variables with their factors.
Affine = tuple[int, tuple[tuple[Value, int], ...]]
NEUTRAL = {"sum": 0.0, "max": float("-inf"), "min": float("inf")}


@dataclass(frozen=True)
class Lane:
    """The loop variable that counts elements of a vector, and which lanes are inside the array (None: all)."""

    variable: Value | None
    active: int | Value | None = None


class Rows:
    """Emits one row of a phase.

    `pointer(place)`: where that row's entry of a place, or the value of all, begins; `lost(place)`: where there begins
    what a total lost to rounding.
    """

    def __init__(
        self,
        f: Function,
        program: Program,
        element: str,
        lanes: int,
        pointer: Callable[[Place, bool], Value],
        index: Value,
        lost: Callable[[Place], Value],
        extent: Callable[[int], Value] = integer,
    ) -> None:
        self.f, self.program, self.element, self.lanes, self.index = f, program, element, lanes, index
        self.pointer, self.lost, self.extent = pointer, lost, extent
        self.ready: set[Node] = set()  # stored by a loop before
        self.scalars: dict[Node, Value] = {}
        self.type = vector_of(element, lanes)
        self._memo: dict[object, Value] = {}
        self._lane = Lane(None)

    # -- one phase

    def phase(self, phase: Phase) -> None:
        depths = sorted({self.program.depth.get(n, 0) for n in phase.roots})
        for depth in depths:
            roots = [n for n in phase.roots if self.program.depth.get(n, 0) == depth]
            for group in self._groups(roots):
                self._loop(group)
            for node in roots:
                if self._reduces(node) and node.shape:
                    self._reduce_kept(node)
            self.ready.update(n for n in roots if n in self.program.stored)

    def _reduces(self, node: Node) -> bool:
        """Whether the sum, say, is made here: one that was made before the loop is only handed on."""
        return node.op == "reduce" and node not in self.program.leaves

    def _groups(self, roots: Sequence[Node]) -> list[list[tuple[Node, list[tuple[Place, int, tuple[int, ...]]]]]]:
        """What one loop computes: pieces of equal shape, each with the places (offset and strides there) it goes to."""
        groups: dict[tuple[int, ...], list[tuple[Node, list[tuple[Place, int, tuple[int, ...]]]]]] = {}
        for root in roots:
            if self._reduces(root):
                if not root.shape:
                    groups.setdefault(root.args[0].shape, []).append((root, []))
                continue
            for piece, offset, strides in pieces(root, self.program.leaves):
                targets = [(place, offset, strides) for place in self.program.targets(root)]
                groups.setdefault(piece.shape, []).append((piece, targets))
        return list(groups.values())

    def _loop(self, group: list[tuple[Node, list[tuple[Place, int, tuple[int, ...]]]]]) -> None:
        reductions = [node for node, targets in group if node.op == "reduce" and not targets]
        totals = {node: self._accumulator(node.attrs[0]) for node in reductions}
        shape = reductions[0].args[0].shape if reductions else group[0][0].shape

        def body(index: tuple[Affine, ...]) -> None:
            values = [self.value(n.args[0] if n in totals else n, index) for n, _ in group]
            for (node, targets), value in zip(group, values, strict=True):
                if node in totals:
                    self._accumulate(totals[node], node.attrs[0], value)
                for place, offset, strides in targets:
                    self._put(place, node, value, _flat(index, strides, offset))

        self._space(shape, body)
        for node in reductions:
            self._finish(node, totals[node])

    def _finish(self, node: Node, total: Value) -> None:
        scalar = self._across(node.attrs[0], self.f.load(self.type, total))
        self.scalars[node] = scalar
        for place in self.program.targets(node):
            self._store_one(scalar, place, (0, ()))

    # -- loops over a shape

    def _space(self, shape: Sequence[int], body: Callable[[tuple[Affine, ...]], None]) -> None:
        """`body` at every index of `shape`, whole vectors along the last axis, then what is left of it."""
        shape = tuple(shape)

        def outer(axis: int, index: tuple[Affine, ...]) -> None:
            if axis == len(shape) - 1:
                self._vectors(shape[-1], lambda last: body((*index, last)))
            elif shape[axis] == 1:
                outer(axis + 1, (*index, (0, ())))
            else:
                self.f.loop(integer(0), self.extent(shape[axis]), lambda i: outer(axis + 1, (*index, (0, ((i, 1),)))))

        if shape:
            outer(0, ())
        else:
            self._vectors(1, lambda last: body(()))

    def _vectors(self, size: int, body: Callable[[Affine], None]) -> None:
        outside = self._lane
        known = not isinstance(size, Extent)
        whole = size // self.lanes * self.lanes if known else 0

        def turn(j: Value) -> None:
            self._lane = Lane(j)
            self._memo = {}
            body((0, ((j, 1),)))

        def rest(start: Value, active: int | Value) -> None:
            self._lane = Lane(start, active)
            self._memo = {}
            body((0, ((start, 1),)))

        if known:
            # one turn has a variable all the same, so that addresses show which part of them counts lanes
            if whole == self.lanes:
                turn(self.f.emit(I64, "add i64 0, 0"))
            elif whole:
                self.f.loop(integer(0), integer(whole), turn, step=self.lanes)
            if size > whole:
                rest(self.f.emit(I64, f"add i64 {whole}, 0"), size - whole)
        else:
            end = self.extent(size)
            full = self.f.binary("and", end, integer(-self.lanes))
            self.f.loop(integer(0), full, turn, step=self.lanes)
            left = self.f.sub(end, full)
            self.f.when(self.f.compare("sgt", left, integer(0)), lambda: rest(full, left))
        self._lane = outside
        self._memo = {}

    # -- reductions

    def _accumulator(self, kind: str) -> Value:
        room = self.f.allocate(self.type)
        self.f.store(number(NEUTRAL[kind], self.type), room)
        return room

    def _accumulate(self, total: Value, kind: str, value: Value) -> None:
        f = self.f
        if self._lane.active is not None:
            value = f.select(self._mask(), value, number(NEUTRAL[kind], self.type))
        before = f.load(self.type, total)
        after = f.fadd(before, value) if kind == "sum" else f.intrinsic(f"{kind}imum", before, value)
        f.store(after, total)

    def _across(self, kind: str, vector: Value) -> Value:
        """One number of all lanes, halving the vector each time: the same order on every machine of that width."""
        f, lanes = self.f, self.lanes
        while lanes > 1:
            half = lanes // 2
            parts = []
            for start in (0, half):
                pick = ", ".join(f"i32 {start + i}" for i in range(half))
                type = vector_of(self.element, half)
                if half == 1:
                    parts.append(f.emit(type, f"extractelement {vector.type} {vector}, i64 {start}"))
                else:
                    parts.append(
                        f.emit(
                            type, f"shufflevector {vector.type} {vector}, {vector.type} poison, <{half} x i32> <{pick}>"
                        )
                    )
            vector = f.fadd(*parts) if kind == "sum" else f.intrinsic(f"{kind}imum", *parts)
            lanes = half
        return vector

    def _reduce_kept(self, node: Node) -> None:
        """A reduction that leaves axes: over those, the reduction of each entry."""
        source, (kind, axes) = node.args[0], node.attrs
        shape, rank = source.shape, len(source.shape)
        kept = [a for a in range(rank) if a not in axes]
        own = strides_of(node.shape)
        vector_kept = kept[-1] == rank - 1

        def gather(position: dict[int, Affine]) -> tuple[Affine, ...]:
            return tuple(position[a] for a in range(rank))

        def inside(position: dict[int, Affine], left: Sequence[int], total: Value) -> None:
            if left:
                axis, rest = left[0], left[1:]
                if axis == rank - 1:
                    self._vectors(shape[axis], lambda i: inside({**position, axis: i}, rest, total))
                else:
                    self.f.loop(
                        integer(0),
                        self.extent(shape[axis]),
                        lambda i: inside({**position, axis: (0, ((i, 1),))}, rest, total),
                    )
                return
            self._memo = {}
            self._accumulate(total, kind, self.value(source, gather(position)))

        def outside(position: dict[int, Affine], left: Sequence[int]) -> None:
            if left:
                axis, rest = left[0], left[1:]
                if axis == rank - 1:
                    self._vectors(shape[axis], lambda i: outside({**position, axis: i}, rest))
                else:
                    self.f.loop(
                        integer(0),
                        self.extent(shape[axis]),
                        lambda i: outside({**position, axis: (0, ((i, 1),))}, rest),
                    )
                return
            total = self._accumulator(kind)
            inside(position, axes, total)
            value = self.f.load(self.type, total)
            flat = _flat([position[a] for a in kept], own, 0)
            for place in self.program.targets(node):
                if vector_kept:
                    self._put(place, node, value, flat)
                else:
                    self._store_one(self._across(kind, value), place, flat)

        outside({}, kept)

    def _store_one(self, number: Value, place: Place, flat: Affine) -> None:
        f, address = self.f, self._address(self.pointer(place, True), flat)
        if place.kind == "row_total":
            number = f.fadd(f.load(self.element, address), number)
        elif place.kind == "total":
            rest = self._address(self.lost(place), flat)
            number, lost = self._summed(f.load(self.element, address), f.load(self.element, rest), number)
            f.store(lost, rest)
        f.store(number, address)

    def _summed(self, before: Value, lost: Value, term: Value) -> tuple[Value, Value]:
        """The sum, and what it lost to rounding (Kahan 1965): a plain sum over all steps would err far more."""
        f = self.f
        term = f.fsub(term, lost)
        after = f.fadd(before, term)
        return after, f.fsub(f.fsub(after, before), term)

    # -- values

    def value(self, node: Node, index: tuple[Affine, ...]) -> Value:
        """`node` at `index`: a vector along the lane variable."""
        key = (node, index)
        found = self._memo.get(key)
        if found is None:
            found = self._memo[key] = self._compute(node, index)
        return found

    def _compute(self, node: Node, index: tuple[Affine, ...]) -> Value:
        if node.op == "const":
            return self._constant(node)
        place = self.program.leaves.get(node)
        if place is not None:
            return (
                self._index_value()
                if place.kind == "index"
                else self._get(place, node, _flat(index, strides_of(node.shape), 0))
            )
        if node in self.scalars:
            return self.f.splat(self.scalars[node], self.lanes)
        if node in self.program.stored and (node.op == "product" or node in self.ready):
            return self._get(self.program.stored[node], node, _flat(index, strides_of(node.shape), 0))
        if node.op == "view":
            return self.value(node.args[0], tuple(_through(entry, index) for entry in node.attrs))
        if node.op == "reshape":
            offset, strides = node.attrs
            base = node.args[0]
            place = self.program.leaves.get(base) or self.program.stored[base]
            return self._get(place, base, _flat(index, strides, offset))
        if node.op == "copy":
            return self.value(node.args[0], index)
        if node.op == "gather":
            return self._looked_up(node, index)
        if node.op in ("cat", "reduce", "product", "input"):
            raise ValueError(f"the plan does not store {node}")
        args = [self.value(a, () if a.op == "const" else index) for a in node.args]
        return arithmetic.apply(self.f, node, args)

    def _looked_up(self, node: Node, index: tuple[Affine, ...]) -> Value:
        """Of the table's row with the number asked for; NaN where there is none."""
        f, (table, ids) = self.f, node.args
        rank = len(ids.shape)
        numbers = self.value(ids, index[:rank])
        flat = _flat(index[rank:], strides_of(node.shape[rank:]), 0)
        count, size = table.shape[0], node.size // max(ids.size, 1)
        apart = any(v is self._lane.variable for _, terms in index[:rank] for v, _ in terms)
        found = Value("zeroinitializer", self.type)
        for lane in range(self.lanes if apart else 1):
            which = f.emit(I64, f"extractelement {numbers.type} {numbers}, i64 {lane}") if self.lanes > 1 else numbers
            if node.attrs[0]:
                below = f.compare("slt", which, integer(0))
                which = f.select(below, f.add(which, integer(count)), which)
            inside = f.compare("ult", which, integer(count))
            row = f.mul(f.select(inside, which, integer(0)), integer(size))
            base = f.offset(self.pointer(self.program.leaves[table], False), row, self.element)
            here = self._read(base, flat, self.element)
            here = f.select(inside, here, number(float("nan"), here.type))
            if not apart:
                return here
            one = f.emit(self.element, f"extractelement {here.type} {here}, i64 {lane}")
            found = f.emit(self.type, f"insertelement {self.type} {found}, {self.element} {one}, i64 {lane}")
        return found

    def _constant(self, node: Node) -> Value:
        text = node.attrs[0]
        if node.dtype == "bool":
            return everywhere("true" if text == "True" else "false", vector_of(BOOL, self.lanes))
        if node.dtype == "int":
            return everywhere(text, vector_of(I64, self.lanes))
        if "/" in text:  # a share of a size that is known only when the loop runs
            share, name = text.split("/")
            size = self.f.cast("sitofp", self.extent(Extent(1, 0, ((name, 1),))), self.element)
            return self.f.splat(self.f.fdiv(number(float(share), self.element), size), self.lanes)
        return number(float(text), self.type)

    def _index_value(self) -> Value:
        return self.f.splat(self.index, self.lanes)

    def _get(self, place: Place, node: Node, flat: Affine) -> Value:
        """The elements at `flat` of what lies at `place`, as the node's type."""
        key = (place, flat)
        if key in self._memo:
            return self._memo[key]
        raw = place.given
        element = {"bool": "i8", "int": I64}.get(node.dtype, self.element) if raw else self.element
        base = self.pointer(place, False)
        vector = self._read(base, flat, element)
        f = self.f
        if node.dtype == "bool":
            zero = everywhere("0", vector.type) if raw else number(0.0, vector.type)
            vector = f.compare("ne" if raw else "une", vector, zero)
        elif node.dtype == "int" and not raw:
            vector = f.cast("fptosi", vector, I64)
        self._memo[key] = vector
        return vector

    def _read(self, base: Value, flat: Affine, element: str) -> Value:
        f, factor = self.f, self._factor(flat)
        type = vector_of(element, self.lanes)
        address = self._address(base, flat, element)
        if factor == 0:
            return f.splat(f.load(element, address), self.lanes)
        if factor == 1:
            return f.load(type, address) if self._lane.active is None else f.load_masked(type, address, self._mask())
        if isinstance(self._lane.active, Value):
            return self._gather(address, factor, element)
        vector = Value("zeroinitializer", type)
        for lane in range(self._reach()):
            one = f.load(element, f.offset(address, self.extent(lane * factor), element))
            vector = f.emit(type, f"insertelement {type} {vector}, {element} {one}, i64 {lane}")
        return vector

    def _reach(self) -> int:
        active = self._lane.active
        return active if isinstance(active, int) else self.lanes

    def _gather(self, address: Value, factor: int, element: str) -> Value:
        """Elements apart from each other; lanes outside the array read the first one."""
        f, mask = self.f, self._mask()
        type = vector_of(element, self.lanes)
        vector = Value("zeroinitializer", type)
        for lane in range(self.lanes):
            inside = f.emit(BOOL, f"extractelement {mask.type} {mask}, i64 {lane}")
            where = f.select(inside, f.mul(self.extent(factor), integer(lane)), integer(0))
            one = f.load(element, f.offset(address, where, element))
            vector = f.emit(type, f"insertelement {type} {vector}, {element} {one}, i64 {lane}")
        return vector

    def _put(self, place: Place, node: Node, value: Value, flat: Affine) -> None:
        f = self.f
        if node.dtype == "bool":
            value = f.cast("uitofp", value, self.element)
        elif node.dtype == "int":
            value = f.cast("sitofp", value, self.element)
        base = self.pointer(place, True)
        if place.kind == "row_total":
            value = f.fadd(self._read(base, flat, self.element), value)
        elif place.kind == "total":
            rest = self.lost(place)
            before, lost = (self._read(at, flat, self.element) for at in (base, rest))
            value, lost = self._summed(before, lost, value)
            self._write(lost, rest, flat)
        self._write(value, base, flat)

    def _write(self, value: Value, base: Value, flat: Affine) -> None:
        f, factor = self.f, self._factor(flat)
        address = self._address(base, flat)
        if factor == 1 and self._lane.active is None:
            f.store(value, address)
        elif factor == 1:
            f.store_masked(value, address, self._mask())
        else:  # a single element, or elements apart
            if factor and isinstance(self._lane.active, Value):
                raise ValueError("elements apart from each other, of a number known only when the loop runs")
            for lane in range(1 if factor == 0 else self._reach()):
                one = f.emit(self.element, f"extractelement {value.type} {value}, i64 {lane}")
                f.store(one, f.offset(address, self.extent(lane * factor), self.element))

    def _factor(self, flat: Affine) -> int:
        return next((c for v, c in flat[1] if v is self._lane.variable), 0)

    def _address(self, base: Value, flat: Affine, element: str | None = None) -> Value:
        f = self.f
        where = self.extent(flat[0])
        for variable, factor in flat[1]:
            where = f.add(f.mul(variable, self.extent(factor)), where)
        return f.offset(base, where, element or self.element)

    def _mask(self) -> Value:
        active = self._lane.active
        if isinstance(active, Value):
            places = ", ".join(f"i64 {lane}" for lane in range(self.lanes))
            numbers = Value(f"<{places}>", vector_of(I64, self.lanes))
            return self.f.compare("slt", numbers, self.f.splat(active, self.lanes))
        bits = ", ".join(f"i1 {'true' if lane < (active or 0) else 'false'}" for lane in range(self.lanes))
        return Value(f"<{bits}>", vector_of(BOOL, self.lanes))


def _flat(index: Sequence[Affine], strides: Sequence[int], offset: int) -> Affine:
    terms: dict[Value, int] = {}
    for (start, parts), stride in zip(index, strides, strict=True):
        offset += start * stride
        for variable, factor in parts:
            terms[variable] = terms.get(variable, 0) + factor * stride
    return offset, tuple((v, c) for v, c in sorted(terms.items()) if c)


def _through(entry: tuple[int, tuple[tuple[int, int], ...]], index: tuple[Affine, ...]) -> Affine:
    """One axis of a view's base, as an affine function of the loop variables."""
    offset, terms = entry
    total: dict[Value, int] = {}
    for axis, factor in terms:
        start, parts = index[axis]
        offset += start * factor
        for variable, c in parts:
            total[variable] = total.get(variable, 0) + c * factor
    return offset, tuple((v, c) for v, c in sorted(total.items()) if c)
