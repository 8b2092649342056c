"""Matrix products inside the loop: rows of a dense operand by packed weights, blocked for registers and first cache.

Weights lie packed in panels of `width` columns: panel by panel, each row of a panel next to the one before it, missing
columns zero. The result's rows have room for whole panels. What one row computes does not depend on which rows stand
beside it: every element is the same chain of fused multiply-adds over k.

All loops of one type of number share this code, so that LLVM makes it once.
"""

from __future__ import annotations

from dataclasses import dataclass

from rondeau.recurrence.emit.llvm import BOOL, I64, PTR, Function, Module, Value, integer, number, vector_of
from rondeau.recurrence.runtime.target import Target

_PANEL_BYTES = 16384  # of a panel, kept in the first cache while all rows pass over it
_UNROLL = 4
_SIDE_BY_SIDE = (4, 2)  # panels at a time for 1 row, for 2 rows


@dataclass(frozen=True)
class Blocking:
    """`rows` x `vectors` accumulators of `lanes` elements; a panel has `width` columns. `fma`: as the processor's."""

    element: str
    lanes: int
    rows: int
    vectors: int = 2
    fma: bool = True

    @property
    def width(self) -> int:
        return self.lanes * self.vectors

    @property
    def bytes(self) -> int:
        return 4 if self.element == "float" else 8


def blocking(target: Target, element: str) -> Blocking:
    """All accumulators, the weights and one broadcast have to fit the registers; without fma, products before they are
    added as well."""
    lanes = target.vector_bytes // (4 if element == "float" else 8)
    rows = 8 if target.registers >= 32 else 6 if target.fma else 4
    return Blocking(element, lanes, rows, fma=target.fma)


def define_product(module: Module, blocks: Blocking) -> str:
    """`product(n, k, A, lda, W, panels, C, ldc, add)`: C (n, columns) = A (n, k) W, or += where `add`. Its name."""
    name = "product"
    kernels = [_kernel(module, blocks, rows) for rows in range(1, blocks.rows + 1)]
    few = [_kernel(module, blocks, rows, panels) for rows, panels in enumerate(_SIDE_BY_SIDE, start=1)]
    kinds = [("n", I64), ("k", I64), ("a", PTR), ("lda", I64), ("w", PTR), ("panels", I64), ("c", PTR), ("ldc", I64)]
    f = Function(module, name, [*kinds, ("add", BOOL)], exported=True)
    n, k, a, lda, w, panels, c, ldc, add = f.arguments
    element, rows = blocks.element, blocks.rows
    depth = max(_UNROLL, _PANEL_BYTES // (blocks.width * blocks.bytes))
    count = f.binary("sdiv", f.add(n, integer(rows - 1)), integer(rows))
    # n may be 0 when all rows of a part have ended; the division below must not be by zero
    safe = f.select(f.compare("sgt", count, integer(0)), count, integer(1))
    small, more = f.binary("sdiv", n, safe), f.binary("srem", n, safe)

    def panel(p: Value) -> None:
        columns = f.offset(c, f.mul(p, integer(blocks.width)), element)
        weights = f.offset(w, f.mul(p, f.mul(k, integer(blocks.width))), element)

        def part(k0: Value) -> None:
            left = f.sub(k, k0)
            deep = f.select(f.compare("slt", left, integer(depth)), left, integer(depth))
            onto = f.binary("or", f.compare("sgt", k0, integer(0)), add)
            place = f.offset(weights, f.mul(k0, integer(blocks.width)), element)

            def block(i: Value, first: Value) -> list[Value]:
                height = f.add(small, f.cast("zext", f.compare("slt", i, more), I64))
                source = f.offset(a, f.add(f.mul(first, lda), k0), element)
                target = f.offset(columns, f.mul(first, ldc), element)
                _choose(f, height, kernels, [deep, source, lda, place, target, ldc, onto])
                return [f.add(first, height)]

            f.loop(integer(0), count, block, carried=[integer(0)])

        f.loop(integer(0), k, part, step=depth)

    done = _few_rows(f, blocks, few)
    f.loop(done, panels, panel)
    f.ret()
    return name


def _few_rows(f: Function, blocks: Blocking, kernels: list[str]) -> Value:
    """Where the rows are too few for a panel to keep the multipliers busy, panels side by side; how many were done."""
    n, k, a, lda, w, panels, c, ldc, add = f.arguments
    finished = f.allocate(I64)
    f.store(integer(0), finished)
    for i, name in enumerate(kernels):

        def groups(name: str = name, each: int = _SIDE_BY_SIDE[i]) -> None:
            end = f.sub(panels, f.binary("srem", panels, integer(each)))

            def group(p: Value) -> None:
                target = f.offset(c, f.mul(p, integer(blocks.width)), blocks.element)
                source = f.offset(w, f.mul(p, f.mul(k, integer(blocks.width))), blocks.element)
                f.call(name, "void", k, a, lda, source, target, ldc, add)

            f.loop(integer(0), end, group, step=each)
            f.store(end, finished)

        f.when(f.compare("eq", n, integer(i + 1)), groups)
    return f.load(I64, finished)


def _choose(f: Function, height: Value, kernels: list[str], arguments: list[Value]) -> None:
    labels = [f.label("rows") for _ in kernels]
    after = f.label("done")
    cases = " ".join(f"i64 {i + 1}, label %{label}" for i, label in enumerate(labels[:-1]))
    f.write(f"switch i64 {height}, label %{labels[-1]} [ {cases} ]")
    for name, label in zip(kernels, labels, strict=True):
        f.begin(label)
        f.call(name, "void", *arguments)
        f.branch(after)
    f.begin(after)


def _kernel(module: Module, blocks: Blocking, rows: int, panels: int = 1) -> str:
    """`rows` rows of one panel, or of several that lie whole one after the other, over k: everything in registers."""
    name = f"product_rows{rows}" if panels == 1 else f"product_rows{rows}_panels{panels}"
    kinds = [("k", I64), ("a", PTR), ("lda", I64), ("w", PTR), ("c", PTR), ("ldc", I64), ("add", BOOL)]
    f = Function(module, name, kinds, attributes="noinline", noalias=True)
    k, a, lda, w, c, ldc, add = f.arguments
    type = vector_of(blocks.element, blocks.lanes)
    element = blocks.element
    sources = [f.offset(a, f.mul(lda, integer(r)), element) for r in range(rows)]
    targets = [
        f.offset(c, f.add(f.mul(ldc, integer(r)), integer(v * blocks.lanes)), element)
        for r in range(rows)
        for v in range(panels * blocks.vectors)
    ]
    apart = f.mul(k, integer(blocks.width))
    starts = [f.offset(w, f.mul(apart, integer(p)), element) for p in range(panels)]
    fresh, onto, start = f.label("fresh"), f.label("onto"), f.label("start")
    f.branch_if(add, onto, fresh)
    f.begin(fresh)
    f.branch(start)
    f.begin(onto)
    loaded = [f.load(type, t) for t in targets]
    f.branch(start)
    f.begin(start)
    zero = number(0.0, type)
    totals = [f.emit(type, f"phi {type} [ {zero}, %{fresh} ], [ {x}, %{onto} ]") for x in loaded]

    def step(i: Value, *sums: Value) -> list[Value]:
        return _multiply(f, blocks, i, sources, starts, list(sums))

    def steps(i: Value, *sums: Value) -> list[Value]:
        current = list(sums)
        for u in range(_UNROLL):
            current = _multiply(f, blocks, f.add(i, integer(u)), sources, starts, current)
        return current

    whole = f.binary("and", k, integer(-_UNROLL))
    totals = f.loop(integer(0), whole, steps, step=_UNROLL, carried=totals)
    totals = f.loop(whole, k, step, carried=totals)
    for t, x in zip(targets, totals, strict=True):
        f.store(x, t)
    f.ret()
    return name


def _multiply(
    f: Function, blocks: Blocking, i: Value, sources: list[Value], panels: list[Value], sums: list[Value]
) -> list[Value]:
    type = vector_of(blocks.element, blocks.lanes)
    start = f.mul(i, integer(blocks.width))
    rows = [f.offset(panel, start, blocks.element) for panel in panels]
    places = [f.offset(row, integer(v * blocks.lanes), blocks.element) for row in rows for v in range(blocks.vectors)]
    weights = [f.load(type, place) for place in places]
    results = []
    for r, source in enumerate(sources):
        x = f.splat(f.load(blocks.element, f.offset(source, i, blocks.element)), blocks.lanes)
        for v, weight in enumerate(weights):
            results.append(f.fma(x, weight, sums[r * len(weights) + v]))
    return results


def define_packing(module: Module, blocks: Blocking) -> str:
    """`pack(begin, end, arguments)`: panels begin..end-1. Arguments: W, stride of k, of columns, K, columns, target."""
    f = Function(module, "pack", [("begin", I64), ("end", I64), ("arguments", PTR)], exported=True)
    begin, end, arguments = f.arguments
    w_, sk, sn, k, columns, to_ = (f.load(I64, f.offset(arguments, integer(i), I64)) for i in range(6))
    w, to = f.emit(PTR, f"inttoptr i64 {w_} to ptr"), f.emit(PTR, f"inttoptr i64 {to_} to ptr")
    element, width = blocks.element, blocks.width

    def panel(p: Value) -> None:
        target = f.offset(to, f.mul(p, f.mul(k, integer(width))), element)
        first = f.mul(p, integer(width))

        def column(j: Value) -> None:
            n = f.add(first, j)
            inside = f.compare("slt", n, columns)
            source = f.offset(w, f.mul(f.select(inside, n, integer(0)), sn), element)

            def down(i: Value) -> None:
                x = f.load(element, f.offset(source, f.mul(i, sk), element))
                x = f.select(inside, x, number(0.0, element))
                f.store(x, f.offset(target, f.add(f.mul(i, integer(width)), j), element))

            f.loop(integer(0), k, down)

        f.loop(integer(0), integer(width), column)

    f.loop(begin, end, panel)
    f.ret()
    return "pack"
