"""The whole program, tiny: processes, gate, rounds, report."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.__main__ import main
from benchmarks.cases import Case, Problem
from benchmarks.measure import FAILED, GREEN, RED, measure
from benchmarks.peers import EVERYBODY, Peer
from benchmarks.pool import PeerError, PeerTimeout, Pool, Worker

TINY = Case(3, 2, 3, 4)
pytestmark = pytest.mark.timeout(120)


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


def test_a_red_gate_and_a_broken_peer_fail_their_case() -> None:
    wrong = Peer("wrong", "Wrong", "wrong")
    broken = Peer("loop", "Nobody", "nobody")
    EVERYBODY.update(wrong=wrong)
    try:
        with Pool() as pool:
            found = measure(pool, Problem("lstm", TINY), [EVERYBODY["loop"]], 1, {})
            assert found.entries["loop"].status == GREEN
            truth = pool[EVERYBODY["loop"]].ask("prepare", "again", Problem("gru", TINY), patience=60).results
            from benchmarks.measure import prepare

            assert prepare(pool, EVERYBODY["loop"], Problem("lstm", TINY), truth).status == RED
            assert prepare(pool, wrong, Problem("lstm", TINY), truth).status == FAILED
            assert broken.missing == []
    finally:
        del EVERYBODY["wrong"]


def test_a_worker_that_takes_too_long_is_ended_and_started_anew() -> None:
    worker = Worker(EVERYBODY["loop"])
    try:
        with pytest.raises(PeerTimeout, match="took more than 0 s"):
            worker.ask("prepare", "a", Problem("lstm", Case(2000, 8, 64, 64)), patience=0.05)
        assert worker.process is None
        assert worker.ask("wake", patience=60) is None
        with pytest.raises(PeerError, match="KeyError"):
            worker.ask("turn", "a", patience=60)
    finally:
        worker.close()
    worker.close()


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
