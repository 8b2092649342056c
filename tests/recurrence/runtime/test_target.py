from __future__ import annotations

import pytest

from rondeau.errors import ArgumentError
from rondeau.recurrence.runtime.target import assembly, host, target

LINUX, ARM = "x86_64-unknown-linux-gnu", "aarch64-unknown-linux-gnu"


def fma(lanes: int) -> str:
    vector = f"<{lanes} x float>"
    return f"""
declare {vector} @llvm.fma.v{lanes}f32({vector}, {vector}, {vector})
define void @f(i64 %begin, i64 %end, ptr %a) {{
  %v = load {vector}, ptr %a, align 4
  %w = call {vector} @llvm.fma.v{lanes}f32({vector} %v, {vector} %v, {vector} splat (float 0.25))
  store {vector} %w, ptr %a, align 4
  ret void
}}
"""


@pytest.mark.parametrize(
    ("triple", "cpu", "vector_bytes", "registers", "instruction"),
    [
        (LINUX, "x86-64", 16, 16, None),
        (LINUX, "sandybridge", 32, 16, None),
        (LINUX, "haswell", 32, 16, "ymm"),
        (LINUX, "skylake-avx512", 64, 32, "zmm"),  # LLVM's own choice for this one is 32 bytes
        (LINUX, "znver4", 64, 32, "zmm"),
        (ARM, "neoverse-n1", 16, 32, "fmla"),
        ("arm64-apple-macosx11", "apple-m1", 16, 32, "fmla"),
    ],
)
def test_named_machines_use_whole_vectors(
    triple: str, cpu: str, vector_bytes: int, registers: int, instruction: str | None
) -> None:
    machine = target(triple, cpu)
    assert (machine.vector_bytes, machine.registers) == (vector_bytes, registers)
    lines = assembly(fma(vector_bytes // 4), machine).splitlines()
    fused = [line for line in lines if "fmadd" in line or "fmla" in line]
    assert machine.fma == bool(fused) == (instruction is not None)
    if instruction is not None:
        assert len(fused) == 1
        assert instruction in fused[0]
    assert any("fmaf" in line for line in lines) == (not machine.fma)  # the C library's, once a lane


def test_this_machine_is_found_once() -> None:
    assert host() is host()
    assert host().vector_bytes in (16, 32, 64)
    text = assembly(fma(host().vector_bytes // 4), host())
    assert ("fmaf" in text) == (not host().fma)


def test_an_unknown_processor_is_named() -> None:
    with pytest.raises(ArgumentError, match=r"no such processor .*neoverse-n1.*got haswell"):
        target(ARM, "haswell")
    with pytest.raises(ArgumentError, match="got pentium"):
        target(LINUX, "pentium")
