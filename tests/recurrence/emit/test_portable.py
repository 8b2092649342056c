"""Machines this is not: what is emitted for them verifies, assembles, and holds their vector instructions."""

from __future__ import annotations

import ctypes
import re
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch

from rondeau.cells import LSTMCell
from rondeau.recurrence import loops
from rondeau.recurrence.emit.elementary import elementary
from rondeau.recurrence.emit.llvm import I64, PTR, Function, Module, integer, vector_of
from rondeau.recurrence.emit.product import blocking, define_packing, define_product
from rondeau.recurrence.loops import Loop, Loops
from rondeau.recurrence.runtime.jit import Code, compile_object
from rondeau.recurrence.runtime.target import Target, assembly, host, target
from rondeau.recurrence.trace.step import Inputs, trace
from tests.recurrence.emit.test_elementary import LIMIT, ONE_ARGUMENT, exact, needs_wide, sweep, ulps

Array = np.ndarray[Any, Any]

LINUX, ARM = "x86_64-unknown-linux-gnu", "aarch64-unknown-linux-gnu"
MACHINES = {
    "neoverse-n1": target(ARM, "neoverse-n1"),
    "skylake-avx512": target(LINUX, "skylake-avx512"),
    "haswell": target(LINUX, "haswell"),
    "sandybridge": target(LINUX, "sandybridge"),
    "x86-64": target(LINUX, "x86-64"),
}
# One multiplication with addition of a whole vector, or, where the machine has no such thing, the multiplication.
MULTIPLY = {
    ("neoverse-n1", "float"): r"\tfmla\tv\d+\.4s, v\d+\.4s, v\d+\.(4s|s\[\d\])",
    ("neoverse-n1", "double"): r"\tfmla\tv\d+\.2d, v\d+\.2d, v\d+\.(2d|d\[\d\])",
    ("skylake-avx512", "float"): r"\tvfmadd\d+ps\t.*%zmm\d+$",
    ("skylake-avx512", "double"): r"\tvfmadd\d+pd\t.*%zmm\d+$",
    ("haswell", "float"): r"\tvfmadd\d+ps\t.*%ymm\d+$",
    ("haswell", "double"): r"\tvfmadd\d+pd\t.*%ymm\d+$",
    ("sandybridge", "float"): r"\tvmulps\t.*%ymm\d+$",
    ("x86-64", "float"): r"\tmulps\t",
    ("x86-64", "double"): r"\tmulpd\t",
}
SCALAR = re.compile(r"\tv?f?n?m(ul|add|sub)\w*s[sd]\t|\tf(mul|madd|add)\t[sd]\d")  # one number at a time
CALL = re.compile(r"\t(callq?|bl|blr)\t")
every = pytest.mark.parametrize(("machine", "element"), list(MULTIPLY))


class Assembler(NamedTuple):
    """One function's assembler lines."""

    name: str
    lines: list[str]

    def innermost(self) -> Iterator[list[str]]:
        """The loops without another inside: from a label to the last branch back to it."""
        places = {m[1]: i for i, line in enumerate(self.lines) if (m := re.match(r"(\.L\w+):", line))}
        spans = set()
        for i, line in enumerate(self.lines):
            branch = re.match(r"\t(?:j\w+|b|b\.\w+|cbn?z|tbn?z)\t(?:.*, )?(\.L\w+)", line)
            if branch and places.get(branch[1], i) < i:
                spans.add((places[branch[1]], i))
        for start, end in sorted(spans):
            if not any(start <= a and b <= end and (a, b) != (start, end) for a, b in spans):
                yield self.lines[start : end + 1]

    def touches_stack(self, line: str) -> bool:
        """Whether a line reads or writes the stack."""
        frame = "rsp|rbp" if any("movq\t%rsp, %rbp" in part for part in self.lines) else "rsp"
        return bool(re.search(rf"\(%({frame})\b|\[sp\b|\[x29\b", line))


def functions(text: str) -> dict[str, Assembler]:
    found: dict[str, Assembler] = {}
    current: list[str] = []
    for line in text.splitlines():
        if m := re.match(r"([A-Za-z_]\w*):", line):
            current = []
            found[m[1]] = Assembler(m[1], current)
        current.append(line)
    return found


@cache
def products(name: str, element: str) -> dict[str, Assembler]:
    """The functions of products and packing."""
    blocks = blocking(MACHINES[name], element)
    module = Module(element, MACHINES[name].fma)
    define_product(module, blocks)
    define_packing(module, blocks)
    return functions(assembly(module.text(), MACHINES[name]))


@every
def test_the_inner_loops_of_products_are_vectors_in_registers(machine: str, element: str) -> None:
    blocks = blocking(MACHINES[machine], element)
    kernels = {name: code for name, code in products(machine, element).items() if "product_rows" in name}
    assert {f"product_rows{n}" for n in range(1, blocks.rows + 1)} <= kernels.keys()
    for name, code in kernels.items():
        sizes = re.fullmatch(r"product_rows(\d+)(?:_panels(\d+))?", name)
        assert sizes, name
        rows, panels = (int(n or 1) for n in sizes.groups())
        counts = []
        for loop in code.innermost():
            text = "\n".join(loop)
            counts.append(len(re.findall(MULTIPLY[machine, element], text, re.MULTILINE)))
            assert not [line for line in loop if code.touches_stack(line)], f"{name}:\n{text}"
            assert not SCALAR.search(text), f"{name}:\n{text}"
            assert not CALL.search(text), f"{name}:\n{text}"
        once = rows * panels * blocks.vectors
        assert len(counts) >= 2, name
        assert max(counts) >= 4 * once, f"{name}: {counts}, {once} at each step"
        assert all(count and count % once == 0 for count in counts), f"{name}: {counts}, {once} at each step"


@every
def test_products_and_packing_call_nothing_of_others(machine: str, element: str) -> None:
    for code in products(machine, element).values():
        for line in code.lines:
            if CALL.search(line):
                assert "product_rows" in line, line


def lstm(element: str, machine: Target, monkeypatch: pytest.MonkeyPatch) -> Loops:
    """The loops of a training step, blocked for a machine. 21 units: no multiple of any vector."""
    dtype = {"float": torch.float32, "double": torch.float64}[element]
    cell = LSTMCell(21)
    cell.build_for(5)
    cell.to(dtype)
    monkeypatch.setattr(loops, "host", lambda: machine)
    state = ((21,), dtype)
    return Loops(trace(cell, Inputs(((5,), dtype), (state, state), (), dtype, frozenset({"x"}))), dtype)


@every
@pytest.mark.parametrize("which", ["inference", "training", "backward"])
def test_whole_loops_are_vectors_that_call_nobody(
    machine: str, element: str, which: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = lstm(element, MACHINES[machine], monkeypatch)
    loop: Loop = getattr(found, which)
    assert found.blocks == blocking(MACHINES[machine], element)
    code = functions(assembly(loop.llvm(), MACHINES[machine]))
    assert {"loop", "part"} <= code.keys()
    multiplications = re.findall(MULTIPLY[machine, element], "\n".join(code["part"].lines), re.MULTILINE)
    assert len(multiplications) >= (20 if which != "backward" else 4)
    called = {line.split("\t")[2] for part in code.values() for line in part.lines if CALL.search(line)}
    named = {name for name in called if not re.match(r"\*|x\d", name)}  # the product is called by its address
    allowed = {"part", "memset", "memcpy"} | ({"fma"} if (machine, element) == ("x86-64", "double") else set())
    assert {name.removesuffix("@PLT") for name in named} <= allowed, named


# A machine without fused multiply-add


def without_fma(name: str, element: str) -> Callable[[Array], Array]:
    """An elementary function compiled for the oldest processor, run here."""
    old, lanes = MACHINES["x86-64"], blocking(MACHINES["x86-64"], element).lanes
    module = Module(element, old.fma)
    f = Function(module, "kernel", [("n", I64), ("x", PTR), ("y", PTR)], exported=True)
    n, x, y = f.arguments
    type = vector_of(element, lanes)
    f.loop(
        integer(0),
        n,
        lambda i: f.store(elementary(f, name, f.load(type, f.offset(x, i, element))), f.offset(y, i, element)),
        step=lanes,
    )
    f.ret()
    code = Code.load(compile_object(module.text(), old), ["kernel"])
    native = ctypes.CFUNCTYPE(None, ctypes.c_int64, ctypes.c_void_p, ctypes.c_void_p)(code.address("kernel"))

    def run(x: Array) -> Array:
        assert code is not None
        assert x.size % lanes == 0
        y = np.full_like(x, 7)
        native(x.size, x.ctypes.data, y.ctypes.data)
        return y

    return run


@pytest.mark.skipif(not host().triple.startswith("x86_64"), reason="an old x86 processor's code runs on x86 alone")
@pytest.mark.parametrize("element", ["float", pytest.param("double", marks=needs_wide)])
@pytest.mark.parametrize("name", ONE_ARGUMENT)
def test_functions_keep_their_accuracy_without_fma(name: str, element: str) -> None:
    x = sweep(element, 2**14 if name != "erf" else 2**12)
    errors = ulps(without_fma(name, element)(x), exact(name, element, x))
    assert errors.max() <= LIMIT, x[errors.argmax()]
