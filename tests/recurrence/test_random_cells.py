"""Random steps on compiled loops, against the reference loop: outputs, final states and every gradient."""

from __future__ import annotations

import pytest
import torch
from hypothesis import HealthCheck, Phase, given, note, settings
from hypothesis import strategies as st
from torch import Tensor

from rondeau.errors import EngineError
from tests.recurrence.compare import Case, results
from tests.recurrence.programs import Drawn, Noisy, Program, cases, programs

NATIVE = 0.95  # the share of programs that must run natively
LOOSE = 4  # compiled loops may lead this many times as far from the truth as random errors of 4 ulp do

SUMS = 32  # epsilons for adding up some hundred terms in another order, which the spread does not see


def spread(program: Program, case: Case, eps: float, exact: dict[str, Tensor]) -> dict[str, float]:
    """How far each result gets by errors of 4 ulp in every value of the step, in float64; the largest of four runs."""
    cell = Noisy(program)
    cell.noise = 4 * eps
    found = dict.fromkeys(exact, 0.0)
    for _ in range(4):
        for name, value in results(cell, case, "reference").items():
            found[name] = max(found[name], distance(value, exact[name]))
    return found


def distance(a: Tensor, b: Tensor) -> float:
    return float((a - b).abs().max()) if a.numel() else 0.0


def compare(program: Program, case: Case, dtype: torch.dtype) -> None:
    """Natively in `dtype` against the reference loop in float64.

    float32 is not to be further off than the reference loop in float32 by more than twice; as that may be near the
    truth by chance, how far random rounding leads counts as well.
    """
    eps = torch.finfo(dtype).eps
    exact = results(Drawn(program), case, "reference")
    native = results(Drawn(program).to(dtype), case.to(dtype), "native")
    inference = results(Drawn(program).to(dtype), case.to(dtype), "native", gradients=False)
    plain = results(Drawn(program).to(dtype), case.to(dtype), "reference")
    far = spread(program, case, eps, exact)
    for name, expected in exact.items():
        for kind, found in (("training", native), ("inference", inference)):
            if name not in found:
                continue
            assert found[name].shape == expected.shape
            assert found[name].dtype == dtype
            assert torch.equal(found[name].isfinite(), plain[name].isfinite()), f"{name} in {kind}"
            size = float(expected.abs().max()) if expected.numel() else 0.0
            own = distance(plain[name].double(), expected)
            allowed = max(2 * own, LOOSE * far[name]) + SUMS * eps * max(1.0, size)
            error = distance(found[name].double(), expected)
            assert error <= allowed, f"{name} in {kind}: off by {error:.3g}, allowed {allowed:.3g}, {own=:.3g}"


def run(dtype: torch.dtype, examples: int) -> None:
    declined: list[str] = []
    count = 0

    # a failing program is small as it is; making it smaller takes many compilations
    @settings(
        max_examples=examples,
        suppress_health_check=list(HealthCheck),
        phases=(Phase.explicit, Phase.reuse, Phase.generate),
        report_multiple_bugs=False,
        print_blob=True,
    )
    @given(st.data())
    def one(data: st.DataObject) -> None:
        nonlocal count
        program = data.draw(programs())
        case = data.draw(cases(program))
        count += 1
        try:
            compare(program, case, dtype)
        except EngineError as error:
            declined.append(str(error))
            note(str(error))

    one()
    print(f"{len(declined)} of {count} random cells in {dtype} were declined", *sorted(set(declined)), sep="\n    ")
    assert len(declined) <= (1 - NATIVE) * count + 1, declined


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
def test_natively_as_on_the_reference_loop(dtype: torch.dtype) -> None:
    run(dtype, 30)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
def test_many_natively_as_on_the_reference_loop(dtype: torch.dtype) -> None:
    run(dtype, 200)
