"""What compiles and traces, and how often; what a fresh process imports."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from rondeau import scan
from rondeau.cells import Cell, GRUCell, LSTMCell, SimpleRNNCell
from rondeau.recurrence.engine import traces_of
from rondeau.recurrence.runtime import cache
from rondeau.recurrence.runtime.jit import compilations

LOOPS = 3  # in training, in inference, and backward


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of the test's own, empty on disk and in memory."""
    where = tmp_path / "kernels"
    monkeypatch.setenv("RONDEAU_CACHE", str(where))
    monkeypatch.setattr(cache, "_memory", {})
    return where


def train(cell: Cell, batch: int, time: int, lengths: list[int] | None = None, **given: Any) -> None:
    x = torch.randn(batch, time, 3, requires_grad=True)
    y, last = scan(cell, x, lengths=lengths, engine="native", **given)
    torch.autograd.backward(y.sum() + last[0].sum())


def infer(cell: Cell, batch: int, time: int, lengths: list[int] | None = None, **given: Any) -> None:
    with torch.no_grad():
        scan(cell, torch.randn(batch, time, 3), lengths=lengths, engine="native", **given)


SHAPES = [(1, 1), (2, 9), (7, 4), (33, 2), (6, 100), (300, 1), (17, 17), (19, 23), (0, 0), (0, 5), (1, 1000)]


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("make", [LSTMCell, lambda units: GRUCell(units, reset_after=False)])
def test_no_shape_compiles_again(make: Callable[[int], Cell], threads: int) -> None:
    cell = make(5)
    train(cell, 3, 4)
    infer(cell, 3, 4)
    made, traced = compilations(), traces_of(cell).made
    assert traced == 2
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        for batch, time in SHAPES:
            for run in (train, infer):
                run(cell, batch, time)
                run(cell, batch, time, [(3 * i) % (time + 1) for i in range(batch)], reverse=True)
                run(cell, batch, time, [0] * batch)
    finally:
        torch.set_num_threads(before)
    assert compilations() == made
    assert traces_of(cell).made == traced


def test_what_is_compiled_is_used_by_all_cells_alike() -> None:
    train(LSTMCell(5), 3, 4)
    made = compilations()
    other = LSTMCell(5, kernel_initializer="normal")
    train(other, 2, 6)
    assert compilations() == made
    train(LSTMCell(6), 2, 6)
    assert compilations() > made


def test_each_loop_is_compiled_when_first_used() -> None:
    cell = LSTMCell(5)
    infer(cell, 3, 4)
    made = compilations()
    x = torch.randn(2, 3, 3)
    y, _ = scan(cell, x, engine="native")
    assert compilations() == made + 1
    y.sum().backward()
    assert compilations() == made + 2
    y, _ = scan(cell, x, engine="native")
    y.sum().backward()
    assert compilations() == made + 2


def test_there_and_back_again_compiles_nothing() -> None:
    cell = SimpleRNNCell(5)
    tanh, relu = torch.tanh, torch.relu
    for activation in (tanh, relu):
        cell.activation = activation
        train(cell, 3, 4)
    made, traced = compilations(), traces_of(cell).made
    for activation in (tanh, relu, tanh, relu):
        cell.activation = activation
        train(cell, 3, 4)
        train(cell, 4, 5)
    assert compilations() == made
    assert traces_of(cell).made == traced + 4, "each change is traced once"


def test_what_a_step_does_not_read_traces_nothing() -> None:
    cell = LSTMCell(5)
    train(cell, 3, 4)
    traced = traces_of(cell).made
    cell.name = "encoder"  # type: ignore[assignment]
    cell.kernel.grad = None
    with torch.no_grad():
        cell.kernel.add_(1)
        cell.bias.copy_(torch.ones_like(cell.bias))  # type: ignore[union-attr,arg-type]
    cell.load_state_dict(cell.state_dict())
    train(cell, 3, 4)
    assert traces_of(cell).made == traced


def test_kernels_outlive_memory(folder: Path) -> None:
    train(LSTMCell(5), 3, 4)
    assert list(folder.iterdir())
    made = compilations()
    cache.forget()
    train(LSTMCell(5), 3, 4)
    assert compilations() == made


# --- fresh processes --------------------------------------------------------------------------------------------------

SCRIPT = """
import sys
import torch
import rondeau
assert "llvmlite" not in sys.modules, "import rondeau"
assert "torch._dynamo" not in sys.modules, "import rondeau"
from rondeau import scan
from rondeau.cells import GRUCell, LSTMCell
from rondeau.recurrence.runtime.jit import compilations
torch.manual_seed(0)
for cell in (LSTMCell(6), GRUCell(4, reset_after=False)):
    x = torch.randn(3, 4, 5)
    with torch.no_grad():
        y, _ = scan(cell, x, engine="native")
    assert "torch._dynamo" not in sys.modules, "inference"
    if "train" in sys.argv:
        y, _ = scan(cell, x.requires_grad_(), engine="native")
        y.sum().backward()
        assert "torch._dynamo" not in sys.modules, "training"
        assert cell.kernel.grad is not None
    print(float(y.double().sum()).hex())
print(compilations())
"""


def fresh(folder: Path, *arguments: str) -> list[str]:
    """The lines that SCRIPT prints in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, *arguments],
        env={**os.environ, "RONDEAU_CACHE": str(folder), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


@pytest.mark.parametrize("what", ["infer", "train"])
def test_a_fresh_process_finds_everything_compiled(what: str, folder: Path) -> None:
    first = fresh(folder, what)
    assert int(first[-1]) > 0
    second = fresh(folder, what)
    assert second == [*first[:-1], "0"]
