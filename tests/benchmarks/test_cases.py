from __future__ import annotations

import numpy as np
import pytest

from benchmarks.cases import CASES, DENSE, INFERENCE, RAGGED, Case, Problem
from benchmarks.formulas import FORMULAS, data, operations, weights
from benchmarks.peers.sgemm import outside_operations


@pytest.mark.parametrize("case", RAGGED, ids=lambda case: case.name)
def test_ragged_rows_are_as_long_as_sentences(case: Case) -> None:
    assert case.lengths.shape == (case.batch,)
    assert case.lengths.max() == case.time == 159
    assert case.lengths.min() == 1
    assert np.median(case.lengths) == pytest.approx(14, abs=1)
    assert not (np.diff(case.lengths) >= 0).all()  # nor sorted for anybody's convenience


@pytest.mark.parametrize("case", RAGGED, ids=lambda case: case.name)
def test_the_dense_twin_has_the_same_work(case: Case) -> None:
    twin = case.dense_twin
    assert not twin.ragged
    assert twin.steps == pytest.approx(case.steps, rel=0.04)


def test_cases_have_names_of_their_own() -> None:
    assert len({case.name for case in CASES}) == len(CASES) == 10


def test_useful_operations_are_those_of_the_products_alone() -> None:
    case = Case(10, 3, 5, 7)
    assert operations(Problem("lstm", case, INFERENCE)) == 2 * 10 * 3 * (5 + 7) * 4 * 7
    assert operations(Problem("gru", case)) == 3 * 2 * 10 * 3 * (5 + 7) * 3 * 7
    assert operations(Problem("minimal", case)) == 3 * 2 * 10 * 3 * (5 + 7) * 2 * 7


def test_padding_is_no_useful_work() -> None:
    ragged = Case(159, 64, 8, 8, ragged=True)
    assert operations(Problem("lstm", ragged)) < operations(Problem("lstm", Case(159, 64, 8, 8))) / 5


def test_the_outside_products_are_a_training_step_less_the_loop() -> None:
    for cell in FORMULAS:
        problem = Problem(cell, DENSE[0])
        case = problem.case
        in_the_loop = 2 * 2 * case.steps * case.units * FORMULAS[cell].products * case.units  # h U forward, dh backward
        assert outside_operations(problem) == operations(problem) - in_the_loop


def test_everybody_starts_from_the_same_numbers() -> None:
    problem = Problem("layer-norm lstm", Case(159, 4, 5, 6, ragged=True))
    first, second = weights(problem), weights(problem)
    assert all(np.array_equal(first[name], second[name]) for name in first)
    assert {array.dtype for array in first.values()} == {np.dtype(np.float32)}
    assert abs(first["cell_gain"].mean() - 1) < 0.3 > abs(first["bias"].mean())
    x, cotangent = data(problem)
    behind = np.arange(problem.case.time)[:, None] >= problem.case.lengths
    assert behind.any()
    assert not x[behind].any()
    assert not cotangent[behind].any()
    assert cotangent[~behind].all()
