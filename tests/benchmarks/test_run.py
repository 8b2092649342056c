"""The whole program, tiny: processes, gate, rounds, report."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.__main__ import known_too_long, main, remember_too_long
from benchmarks.cases import Case, Problem
from benchmarks.measure import FAILED, GREEN, LEFT_OUT, RED, Entry, Outcome, Seat, alternate, prepare
from benchmarks.messages import Turn
from benchmarks.peers import EVERYBODY, Peer
from benchmarks.pool import PeerError, Pool

TINY = Case(3, 2, 3, 4)
LOOP = EVERYBODY["loop"]
pytestmark = pytest.mark.timeout(600)  # it runs beside other tests


@pytest.fixture(autouse=True)
def threads_that_wait_sleep(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two threads that spin, beside other tests on two cores, may take a hundred times longer for these tiny steps."""
    monkeypatch.setenv("OMP_WAIT_POLICY", "PASSIVE")


def test_one_tiny_case_from_end_to_end(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    written, drawn = tmp_path / "a.json", tmp_path / "a.svg"
    options = ["--quick", "--cells", "lstm", "--peers", "torch.nn,loop", "--json", str(written), "--svg", str(drawn)]
    assert main([*options, "--rounds", "2", "--modes", "training"]) == 0
    said = capsys.readouterr()
    assert "T12-B4-F8-U16" in said.out
    assert "lstm training" in said.err
    outcomes = json.loads(written.read_text())["outcomes"]
    assert len(outcomes) == 3
    for outcome in outcomes:
        assert {"rondeau", "torch.nn", "loop"} <= set(outcome["entries"])
        for entry in outcome["entries"].values():
            assert entry["status"] == GREEN
            assert len(entry["rounds"]) == 2
    assert outcomes[2]["ragged_efficiency"] > 0
    assert drawn.read_text().startswith("<?xml")


def test_recompute_from_end_to_end(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    written = tmp_path / "a.json"
    assert main(["--quick", "--cases", "recompute", "--json", str(written)]) == 0
    assert "Recompute(every=13)" in capsys.readouterr().out
    cost = json.loads(written.read_text())["recompute"]
    assert cost["ratio"] > 0
    assert cost["again"]["status"] == cost["full"]["status"] == GREEN
    assert set(cost["again"]["errors"]) == {"last output", "d kernel", "d recurrent_kernel", "d bias"}
    assert all(len(cost[name]["rounds"]) == 3 for name in ("full", "again"))


@pytest.fixture
def pool() -> Iterator[Pool]:
    with Pool() as started:
        yield started


def test_wrong_results_are_red_and_a_broken_peer_fails(pool: Pool) -> None:
    problem, other = Problem("lstm", TINY), Problem("lstm", TINY, seed=5)
    ready = pool[LOOP].ask("prepare", "other", other, patience=60)
    assert prepare(pool, LOOP, other, ready.results).status == GREEN
    entry = prepare(pool, LOOP, problem, ready.results)
    assert entry.status == RED
    assert "epsilon" in entry.note
    nobody = Peer("nobody", "Nobody", "nobody")
    entry = prepare(pool, nobody, problem, ready.results)
    assert entry.status == FAILED
    assert "nobody" in pool.workers  # it was tried


def test_what_is_slow_is_left_out_only_if_it_compiles(pool: Pool) -> None:
    long = Problem("lstm", Case(3000, 8, 64, 64))
    assert prepare(pool, replace(LOOP, patience=0.2), long, {}).status == FAILED
    entry = prepare(pool, replace(LOOP, patience=0.2, compiles=True), long, {})
    assert (entry.status, entry.note) == (LEFT_OUT, "compiling took more than 0 s")
    assert pool[LOOP].process is None  # it is not computing on
    with pytest.raises(PeerError, match="KeyError"):  # and a new one has no runners
        pool[LOOP].ask("turn", "other", patience=60)


def test_everybody_has_a_turn_each_round_and_goes_second_in_the_next() -> None:
    asked = []

    class Fake:
        def ask(self, what: str, key: str, patience: float) -> Turn:
            asked.append(key)
            if key == "c" and len(asked) > 3:
                raise PeerError("gone")
            busy = 9.0 if len(asked) <= 3 else 0.5  # what preparing took is not idling
            return Turn(float(len(asked)), idle_cpu=busy, idle=2.0)

    seats = [Seat(LOOP, key, Entry(key)) for key in "abc"]
    alternate({LOOP: Fake()}, seats, 3)  # type: ignore[arg-type]
    assert "".join(asked) == "abc" + "cba" + "ab"
    assert seats[0].entry.rounds == [1.0, 6.0, 7.0]
    assert seats[0].entry.idle_cpu == 0.25
    assert (seats[2].entry.status, seats[2].entry.note, seats[2].entry.seconds) == (FAILED, "gone", None)


def test_a_compiler_that_took_too_long_is_not_asked_again_for_as_many_steps() -> None:
    refused: dict[tuple[str, str, str], tuple[int, str]] = {}
    entries = {"torch.compile": Entry("", LEFT_OUT, "compiling took more than 60 s"), "loop": Entry("")}
    remember_too_long(Outcome(Problem("lstm", Case(100, 32, 64, 128)), entries), refused)
    longer, shorter = Problem("lstm", Case(159, 64, 64, 128, ragged=True)), Problem("lstm", Case(64, 64, 128, 256))
    assert known_too_long(longer, refused) == {"torch.compile": "compiling took more than 60 s at 100 steps"}
    assert known_too_long(shorter, refused) == known_too_long(replace(longer, cell="gru"), refused) == {}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--cells", "lstn"], "no 'lstn'"),
        (["--rounds", "3"], "at least 9"),
        (["--cases", "T1"], "no 'T1'"),
    ],
)
def test_what_cannot_be_asked_for_is_said(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(arguments)
    assert said in capsys.readouterr().err
