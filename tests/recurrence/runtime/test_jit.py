from __future__ import annotations

import ctypes
import gc
import math
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from rondeau.recurrence.runtime.jit import Code, compilations, compile_object
from rondeau.recurrence.runtime.target import host

SINE = """
declare float @sinf(float)
define void @sine(i64 %begin, i64 %end, ptr %a) {
  %x = load float, ptr %a
  %y = call float @sinf(float %x)
  store float %y, ptr %a
  ret void
}
define void @one(i64 %begin, i64 %end, ptr %a) {
  store float 1.0, ptr %a
  ret void
}
"""
KERNEL = ctypes.CFUNCTYPE(None, ctypes.c_int64, ctypes.c_int64, ctypes.c_void_p)


def resident() -> int:
    """Memory this process holds, in KiB."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4


linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


def growth(repeat: Callable[[], object], times: int) -> int:
    """KiB by which memory grows over `times` repetitions, after a first quarter that may warm things up."""
    for _ in range(times // 4):
        repeat()
    gc.collect()
    before = resident()
    for _ in range(times):
        repeat()
    gc.collect()
    return resident() - before


def test_functions_run_and_find_the_mathematics_library() -> None:
    code = Code.load(compile_object(SINE, host()), ["sine", "one"])
    value = ctypes.c_float(0.5)
    KERNEL(code.address("sine"))(0, 1, ctypes.addressof(value))
    assert value.value == pytest.approx(math.sin(0.5), rel=1e-6)
    KERNEL(code.address("one"))(0, 1, ctypes.addressof(value))
    assert value.value == 1


def test_every_compilation_is_counted() -> None:
    before = compilations()
    object = compile_object(SINE, host())
    assert compilations() == before + 1
    Code.load(object, ["sine"])
    assert compilations() == before + 1


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("define void @f() {", "expecting more instructions"),  # no parse
        ("define void @f() {\n %b = add i64 %a, 1\n %a = add i64 %b, 1\n ret void\n}", "does not dominate"),  # no sense
    ],
)
def test_wrong_text_is_refused_with_llvms_reason(text: str, reason: str) -> None:
    before = compilations()
    with pytest.raises(RuntimeError, match=reason):
        compile_object(text, host())
    assert compilations() == before


def test_a_missing_name_is_told() -> None:
    with pytest.raises(RuntimeError, match="missing"):
        Code.load(compile_object(SINE, host()), ["missing"])


@linux
def test_loading_and_compiling_leak_nothing() -> None:
    object = compile_object(SINE, host())
    assert growth(lambda: Code.load(object, ["sine", "one"]), 1000) < 1000  # less than a KiB each
    texts = (SINE.replace("1.0", f"{n}.5") for n in range(1000))
    assert growth(lambda: compile_object(next(texts), host()), 200) < 1000  # 5 KiB each
