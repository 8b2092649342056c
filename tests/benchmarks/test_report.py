from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from benchmarks import chart
from benchmarks.cases import DENSE, INFERENCE, RAGGED, SINGLE, STREAM, STREAMING, Case, Problem
from benchmarks.floors import Floor, floors
from benchmarks.formulas import operations
from benchmarks.measure import FAILED, LEFT_OUT, RED, Entry, Outcome
from benchmarks.report import Report, as_json, faults, outcomes_table, table, text

MACHINE: dict[str, Any] = {"cpu": "A CPU", "cores": 2, "threads": 2, "system": "OS", "engine": "native", "load": 0.1}
MACHINE |= {"versions": {"torch": "2"}}


def outcome(cell: str, case: Case, mode: str = "training", **seconds: float) -> Outcome:
    names = {"ours": "rondeau", "torch": "torch.nn"}
    entries = {names.get(k, k): Entry(k, rounds=[v] * 9, errors={"outputs": 2.0}) for k, v in seconds.items()}
    return Outcome(Problem(cell, case, mode), entries, square=100e9, outside=50e9)


def test_ratios_and_shares_follow_from_the_medians() -> None:
    problem = Problem("lstm", DENSE[0])
    half = operations(problem) / 100e9 * 2  # seconds at half the better product's speed
    found = outcome("lstm", DENSE[0], ours=half, torch=half * 1.5, loop=half * 3)
    assert found.share() == pytest.approx(0.5)
    assert found.ratio("torch.nn") == pytest.approx(1.5)
    assert found.best_ratio(["torch.nn", "loop"]) == pytest.approx(1.5)


@pytest.mark.parametrize("status", [RED, FAILED, LEFT_OUT])
@pytest.mark.parametrize("who", ["rondeau", "torch.nn"])
def test_there_is_no_ratio_without_two_green_gates(status: str, who: str) -> None:
    found = outcome("lstm", DENSE[0], ours=1.0, torch=2.0)
    found.entries[who].status = status
    assert found.ratio("torch.nn") is None
    assert bool(faults([found])) == (status != LEFT_OUT)
    assert status in outcomes_table([found])


def test_ragged_efficiency_is_per_real_step() -> None:
    case = RAGGED[0]
    per_step = 1e-6
    found = outcome("lstm", case, ours=case.steps * per_step / 0.8, dense=case.dense_twin.steps * per_step)
    assert found.ragged_efficiency == pytest.approx(0.8)


def test_floors_are_judged_over_all_cases_of_many_rows() -> None:
    fast = [outcome("lstm", case, ours=1.0, torch=1.4) for case in DENSE]
    assert [f.met for f in floors(fast, {}) if "torch.nn" in f.what] == [True, True]
    slow_once = [*fast[1:], outcome("lstm", DENSE[0], ours=1.0, torch=1.01)]
    mean, worst = (f for f in floors(slow_once, {}) if "torch.nn" in f.what)
    assert worst.met is False
    assert worst.measured == pytest.approx(1.01)
    assert mean.measured == pytest.approx((1.4**5 * 1.01) ** (1 / 6))
    assert [f.met for f in floors(fast[1:], {}) if "torch.nn" in f.what] == [None, None]


def test_custom_cells_are_held_to_the_fastest_peer() -> None:
    found = floors([outcome("minimal", case, ours=1.0, loop=9.0, jax=2.0) for case in (*DENSE, *SINGLE)], {})
    against = [f for f in found if "best peer" in f.what]
    assert [(f.wanted, f.measured, f.met) for f in against] == [
        (2.2, pytest.approx(2.0), False),
        (1.5, 2.0, True),
        (1.0, 2.0, True),
        (2.5, 2.0, False),
    ]


def test_inference_needs_both_peers() -> None:
    both = [outcome("gru", case, INFERENCE, ours=1.0, torch=3.0, onnx=1.7) for case in DENSE]
    (mean,) = floors(both, {})
    assert (mean.met, mean.measured) == (True, pytest.approx(1.7))
    for found in both:
        del found.entries["onnx"]
    assert floors(both, {})[0].met is None


def test_shares_stream_and_memory_have_their_floors() -> None:
    found = floors([outcome("lstm", case, ours=1.0) for case in DENSE], {"T": (80, 100)})
    shares = {f.where: f.wanted for f in found if "sgemm" in f.what}
    assert list(shares.values()) == [0.7, 0.85, 0.85, 0.7, 0.6, 0.85]
    assert found[-1].met is True
    (stream,) = floors([outcome("lstm", STREAM, STREAMING, ours=3e-6, onnx=33e-6)], {})
    assert (stream.met, stream.measured) == (True, pytest.approx(11.0))
    others = floors([outcome("gru", case, ours=1.0) for case in DENSE], {})
    assert len([f for f in others if "sgemm" in f.what]) == 5  # one feature is exempt


def test_at_most_and_at_least() -> None:
    assert Floor("", "", 0.9, 0.8, at_most=True).met
    assert not Floor("", "", 0.9, 1.0, at_most=True).met
    assert Floor("", "", 0.9, 0.9).met
    assert Floor("", "", 0.9, None).met is None


def test_columns_are_as_wide_as_their_widest_cell() -> None:
    assert table(["a", "long head"], [["wide cell", "b"]]).splitlines() == [
        "| a         | long head |",
        "| --------- | --------- |",
        "| wide cell | b         |",
    ]


def test_everything_is_reported() -> None:
    found = outcome("lstm", DENSE[0], ours=0.0123, torch=0.0246)
    found.entries["loop"] = Entry("PyTorch loop", RED, "d kernel is off")
    found.entries["jax"] = Entry("JAX", LEFT_OUT, "compiling took more than 60 s")
    report = Report(MACHINE, 9, [found], floors([found], {}), {"onnx": ["onnxruntime"]}, faults=faults([found]))
    said = text(report)
    for part in ("A CPU", "12.3 ms", "24.6 ms (2.00x)", "red", "d kernel is off", "compiling took", "not measured"):
        assert part in said
    assert "needs onnxruntime" in said
    assert "quote no figure" not in said
    assert "quote no figure" in text(replace(report, machine={**MACHINE, "load": 2.0}))
    written = json.loads(json.dumps(as_json(report)))
    assert written["outcomes"][0]["entries"]["torch.nn"]["ratio"] == 2.0
    assert written["faults"] == report.faults != []


def test_rounds_that_differ_are_marked() -> None:
    found = outcome("lstm", DENSE[0], ours=0.01)
    assert "~" not in outcomes_table([found])
    found.ours.rounds = [0.008] * 3 + [0.01] * 3 + [0.013] * 3
    assert "~10 ms" in outcomes_table([found])


def test_the_drawing_shows_each_cell_and_peer() -> None:
    drawn = [outcome(cell, case, ours=1.0, torch=2.0) for cell in ("lstm", "gru") for case in DENSE[:2]]
    half = [*drawn, outcome("gru", DENSE[2], ours=1.0)]
    assert list(chart.shares(half)["lstm"]) == ["rondeau", "torch.nn"]
    assert list(chart.shares(half)["gru"]) == ["rondeau"]  # an average over fewer cases is no comparison
    assert chart.draw(half).count(b"<svg") == 1
    assert chart.draw(half) == chart.draw(half)
