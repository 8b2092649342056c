"""Exported programs: one operator for each scan, which carries its step, run elsewhere without the cell's code.

Run by `test_compiled`, in a process where nothing checks shapes: torch.export cannot see through that.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import rondeau
from rondeau import layers, scan
from rondeau.cells import Cell, HiddenState
from rondeau.errors import EngineError

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
torch.set_num_threads(1)
X = torch.randn(3, 6, 5)


class Squared(Cell):
    """A cell that only this file knows."""

    def __init__(self, units: int) -> None:
        super().__init__()
        self.state_size, self.output_size = HiddenState(h=units), units

    def build(self, features: int) -> None:
        self.w = self.add_weight("w", (features, self.output_size))
        self.u = self.add_weight("u", (self.output_size, self.output_size))

    def step(self, x: Tensor, state: HiddenState) -> Any:
        h = torch.tanh(x @ self.w + (state.h @ self.u) ** 2)
        return h, HiddenState(h)


class Mixing(Squared):
    def step(self, x: Tensor, state: HiddenState) -> Any:
        h = torch.tanh(x @ self.w + state.h.mean(0))
        return h, HiddenState(h)


class Lengths(nn.Module):
    def __init__(self, cell: Cell) -> None:
        super().__init__()
        self.cell = cell

    def forward(self, x: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        outputs, state = scan(self.cell, x, lengths=lengths)
        return outputs, state.h


@pytest.fixture(autouse=True)
def _anew() -> Iterator[None]:
    torch.manual_seed(0)
    yield
    torch._dynamo.reset()


def model() -> rondeau.Sequential:
    made = rondeau.Sequential(
        [layers.LSTM(7, return_sequences=True), layers.RNN(Squared(4), return_sequences=True), layers.Dense(3)]
    )
    made(X)
    return made.eval()


def scans(program: torch.export.ExportedProgram) -> int:
    return sum(node.target is torch.ops.rondeau.scan.default for node in program.graph.nodes)


def close(a: Tensor, b: Tensor) -> None:
    torch.testing.assert_close(
        a, b, rtol=0, atol=16 * torch.finfo(a.dtype).eps * max(1.0, float(b.detach().abs().max()))
    )


def test_of_any_batch_and_time() -> None:
    made = model()
    batch, time = torch.export.Dim("batch", min=1, max=64), torch.export.Dim("time", min=1, max=512)
    program = torch.export.export(made, (X,), dynamic_shapes=({0: batch, 1: time},), strict=True)
    assert scans(program) == 2
    for shape in ((3, 6, 5), (1, 1, 5), (9, 40, 5)):
        x = torch.randn(shape)
        close(program.module()(x), made(x))


def test_lengths_are_an_input() -> None:
    made = Lengths(Squared(4))
    made(X, torch.tensor([6, 6, 6]))
    program = torch.export.export(made, (X, torch.tensor([6, 2, 3])), strict=True)
    for lengths in ([6, 2, 3], [1, 6, 0]):
        for a, b in zip(program.module()(X, torch.tensor(lengths)), made(X, torch.tensor(lengths)), strict=True):
            close(a, b)


def test_weights_loaded_into_the_program_count() -> None:
    made, other = model(), model()
    program = torch.export.export(made, (X,), strict=True).module()
    program.load_state_dict(other.state_dict())
    close(program(X), other(X))


ELSEWHERE = """
import sys, torch, rondeau
program = torch.export.load(sys.argv[1]).module()
x, expected = torch.load(sys.argv[2])
found = program(x)
assert torch.equal(found, expected), float((found - expected).abs().max())
print(tuple(found.shape))
"""


def test_it_runs_in_a_fresh_process_that_lacks_the_cell(tmp_path: Path) -> None:
    made = model()
    program = torch.export.export(made, (X,), strict=True)
    torch.export.save(program, tmp_path / "model.pt2")
    torch.save((X, made(X).detach()), tmp_path / "expected.pt")
    command = [
        sys.executable,
        "-W",
        "ignore",
        "-c",
        ELSEWHERE,
        str(tmp_path / "model.pt2"),
        str(tmp_path / "expected.pt"),
    ]
    ran = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.strip() == "(3, 6, 3)"


def test_what_cannot_be_compiled_cannot_be_exported() -> None:
    made = rondeau.Sequential([layers.RNN(Mixing(4))])
    with pytest.warns(RuntimeWarning, match="reference loop"):
        made(X)
    with pytest.raises(Exception, match="Mixing cannot be exported") as raised:
        torch.export.export(made, (X,), strict=True)
    assert isinstance(raised.value, EngineError) or "EngineError" in repr(raised.value)


@pytest.mark.parametrize("policy", [rondeau.Recompute(2), rondeau.Truncated(2)], ids=repr)
def test_a_gradient_policy_is_exported_where_it_says_nothing(policy: Any) -> None:
    made = rondeau.Sequential([layers.LSTM(4, gradient=policy), layers.Dense(3)])
    made(X)
    with pytest.raises(Exception, match="goes from window to window") as raised:
        torch.export.export(made, (X,), strict=True)
    assert isinstance(raised.value, EngineError) or "EngineError" in repr(raised.value)
    batch, time = torch.export.Dim("batch", min=1, max=64), torch.export.Dim("time", min=1, max=512)
    with torch.no_grad():
        program = torch.export.export(made, (X,), dynamic_shapes=({0: batch, 1: time},), strict=True)
    assert scans(program) == 1
    for shape in ((3, 6, 5), (2, 9, 5)):
        x = torch.randn(shape)
        close(program.module()(x), made(x))
