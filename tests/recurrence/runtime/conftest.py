from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from rondeau.recurrence.runtime import cache
from rondeau.recurrence.runtime.jit import Code, compile_object
from rondeau.recurrence.runtime.target import host

# Part p of `mark` counts itself in int64 a[2 p] and notes in a[2 p + 1] which part its call began with.
MARK = """
define void @mark(i64 %begin, i64 %end, ptr %a) {
entry:
  br label %head
head:
  %p = phi i64 [ %begin, %entry ], [ %next, %body ]
  %more = icmp slt i64 %p, %end
  br i1 %more, label %body, label %done
body:
  %at = getelementptr {i64, i64}, ptr %a, i64 %p
  %old = load i64, ptr %at
  %new = add i64 %old, 1
  store i64 %new, ptr %at
  %first = getelementptr i64, ptr %at, i64 1
  store i64 %begin, ptr %first
  %next = add i64 %p, 1
  br label %head
done:
  ret void
}
"""


@pytest.fixture
def mark() -> str:
    return MARK


@pytest.fixture(scope="session")
def code() -> Code:
    return Code.load(compile_object(MARK, host()), ["mark"])


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of the test's own, on disk and in memory, with no warning given yet."""
    where = tmp_path / "kernels"
    monkeypatch.setenv("RONDEAU_CACHE", str(where))
    monkeypatch.setattr(cache, "_memory", {})
    monkeypatch.setattr(cache, "_warned", set())
    return where


@pytest.fixture
def elsewhere(folder: Path, tmp_path: Path) -> Callable[..., str]:
    """Runs a script, in which MARK is the text of `mark`, in a fresh process that may use two threads."""

    def run(script: str, **environment: str) -> str:
        path = tmp_path / "script.py"
        path.write_text(f"MARK = '''{MARK}'''\n{script}")
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "MKL_"))}
        done = subprocess.run(
            [sys.executable, str(path)],
            env={**inherited, "RONDEAU_CACHE": str(folder), **environment},
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run
