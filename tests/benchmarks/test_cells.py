"""The measured cells are the ones they say they are."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

from benchmarks import gate
from benchmarks.cases import Case, Problem
from benchmarks.cells import CELLS, MinimalCell
from benchmarks.formulas import FORMULAS, STANDARD, weights
from benchmarks.peers import ours, reference, torch_loop, torch_nn
from rondeau import HiddenState

CASES = (Case(6, 3, 4, 5), Case(9, 4, 1, 3, ragged=True), Case(1, 1, 2, 7))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
@pytest.mark.parametrize("cell", FORMULAS)
def test_rondeau_and_the_loop_compute_the_same(cell: str, case: Case) -> None:
    problem = Problem(cell, case)
    truth = reference.make(problem).results()
    assert set(truth) == {"outputs", "d inputs", *(f"d {name}" for name in weights(problem))}
    for make in (ours.make, torch_loop.make):
        assert gate.passes(gate.errors(problem, make(problem).results(), truth))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
@pytest.mark.parametrize("cell", STANDARD)
def test_torch_nn_computes_the_same(cell: str, case: Case) -> None:
    problem = Problem(cell, case)
    truth = reference.make(problem).results()
    assert gate.passes(gate.errors(problem, torch_nn.make(problem).results(), truth))


@pytest.mark.parametrize("make", [ours.make, torch_loop.make, torch_nn.make])
def test_parameters_move_before_a_repetition_and_come_back(make: object) -> None:
    runner = make(Problem("lstm", CASES[0]))  # type: ignore[operator]
    before = [p.detach().clone() for p in runner.parameters()]
    runner.change()
    assert not any(torch.equal(p, b) for p, b in zip(runner.parameters(), before, strict=True))
    runner.run()
    runner.change()
    assert all(p.grad is None for p in runner.parameters())
    for p, b in zip(runner.parameters(), before, strict=True):
        torch.testing.assert_close(p.detach(), b, rtol=0, atol=torch.finfo(torch.float32).eps)


def test_inference_leaves_no_graph() -> None:
    for make in (ours.make, torch_loop.make, torch_nn.make):
        runner = make(Problem("lstm", CASES[0], "inference"))
        assert list(runner.results()) == ["outputs"]
        assert not runner.run().requires_grad


def test_the_minimal_cell_is_the_readmes() -> None:
    readme = (Path(__file__).parents[2] / "README.md").read_text("utf-8")
    (block,) = (b for b in re.findall(r"```python\n(.*?)```", readme, re.DOTALL) if "class MinimalCell" in b)
    names: dict[str, type[MinimalCell]] = {}
    exec(block, names)  # type: ignore[arg-type]
    theirs, own = names["MinimalCell"](4), CELLS["minimal"](4)
    x, state = torch.randn(3, 2), HiddenState(torch.randn(3, 4))
    theirs.build_for(2)
    own.build_for(2)
    own.load_state_dict(theirs.state_dict())
    assert torch.equal(theirs.step(x, state)[0], own.step(x, state)[0])
