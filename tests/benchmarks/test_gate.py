from __future__ import annotations

import numpy as np
import pytest

from benchmarks import gate
from benchmarks.cases import Case, Problem

DENSE = Problem("lstm", Case(4, 2, 3, 5))
RAGGED = Problem("lstm", Case(9, 3, 3, 5, ragged=True))
STEP = gate.EPSILON * 8  # of a tensor whose largest number is 8


def truth(problem: Problem) -> dict[str, np.ndarray]:
    case = problem.case
    outputs = np.linspace(-8, 8, case.time * case.batch * case.units).reshape(case.time, case.batch, case.units)
    return {"outputs": outputs, "d kernel": np.full((2, 2), 8.0)}


def test_errors_are_counted_in_epsilons_of_the_largest_magnitude() -> None:
    right = truth(DENSE)
    found = {name: array.copy() for name, array in right.items()}
    found["d kernel"][1, 0] += 3 * STEP
    assert gate.errors(DENSE, found, right) == {"outputs": 0.0, "d kernel": pytest.approx(3.0)}
    assert gate.worst(gate.errors(DENSE, found, right)) == ("d kernel", pytest.approx(3.0))


def test_an_error_at_the_tolerance_passes_and_one_above_does_not() -> None:
    assert gate.passes({"outputs": gate.TOLERANCE, "d kernel": 1.0})
    assert not gate.passes({"outputs": 1.0, "d kernel": gate.TOLERANCE * 1.01})
    assert not gate.passes({})


@pytest.mark.parametrize(
    "spoil",
    [
        lambda found: found.pop("d kernel"),
        lambda found: found.update({"d kernel": found["d kernel"][:1]}),
        lambda found: found["outputs"].__setitem__((0, 0, 0), np.nan),
        lambda found: found["d kernel"].__setitem__((0, 0), np.inf),
        lambda found: found.update({"outputs": found["outputs"].transpose(1, 0, 2)}),
    ],
    ids=["missing", "misshapen", "nan", "infinite", "rows first"],
)
def test_what_is_missing_or_no_number_is_red(spoil: object) -> None:
    right = truth(DENSE)
    found = {name: array.copy() for name, array in right.items()}
    spoil(found)  # type: ignore[operator]
    errors = gate.errors(DENSE, found, right)
    assert not gate.passes(errors)
    assert gate.worst(errors)[1] == np.inf


def test_all_zero_is_right_only_where_the_truth_is() -> None:
    zero = {"d bias": np.zeros(3)}
    assert gate.passes(gate.errors(DENSE, zero, zero))
    assert not gate.passes(gate.errors(DENSE, {"d bias": np.full(3, 1e-30)}, zero))


def test_behind_the_end_of_a_row_anything_may_stand() -> None:
    right = truth(RAGGED)
    found = {name: array.copy() for name, array in right.items()}
    row = int(np.argmin(RAGGED.case.lengths))
    end = int(RAGGED.case.lengths[row])
    found["outputs"][end, row] = np.nan
    assert gate.passes(gate.errors(RAGGED, found, right))
    found["outputs"][end - 1, row] = np.nan
    assert not gate.passes(gate.errors(RAGGED, found, right))
