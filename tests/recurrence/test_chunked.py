"""Chunked equals whole: random cells, rows, directions and windows."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from rondeau import Recompute, Truncated
from rondeau.errors import EngineError
from tests.recurrence.compare import assert_close, results
from tests.recurrence.programs import Drawn, cases, programs

TOLERANCE = 2048  # epsilons: sums of some hundred terms in another order, through steps that may amplify


def check(data: st.DataObject, engine: str) -> None:
    program = data.draw(programs())
    case = data.draw(cases(program))
    every = data.draw(st.integers(1, 7), label="steps of a window")
    cell = Drawn(program)
    try:
        whole = results(cell, case, engine)
    except EngineError:
        return
    for name, found in results(cell, case, engine, gradient=Recompute(every)).items():
        assert_close(f"{name}, computed again", found, whole[name], TOLERANCE)
    for name, found in results(cell, case, engine, gradient=Truncated(every)).items():
        if not name.startswith("gradient") or every >= max(case.lengths.tolist()):
            assert_close(f"{name}, truncated", found, whole[name], TOLERANCE)


@pytest.mark.parametrize(("engine", "examples"), [("reference", 40), ("native", 12)])
def test_chunked_equals_whole(engine: str, examples: int) -> None:
    @settings(
        max_examples=examples,
        suppress_health_check=list(HealthCheck),
        phases=(Phase.explicit, Phase.reuse, Phase.generate),
        report_multiple_bugs=False,
        print_blob=True,
    )
    @given(st.data())
    def one(data: st.DataObject) -> None:
        check(data, engine)

    one()
