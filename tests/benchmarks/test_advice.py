"""Rules on networks drawn at random: a few of those by which thresholds were chosen, and all of them as a slow test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from benchmarks.advice.faults import FAULTS, faulty, healthy
from benchmarks.advice.rates import APART, DEVELOPED, MEASURED, Case, cases, table
from rondeau.insight.advice import Advice, Facts

QUICK = ("rate_high", "dead", "saturated", "rate_low")


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.parametrize("fault", QUICK)
def test_a_fault_is_found(fault: str) -> None:
    found = list(cases(1, DEVELOPED, only=fault))
    assert [case.fault for case in found] == [fault]
    assert found[0].alarm(fault)


def test_a_healthy_network_hears_of_no_fault() -> None:
    (found,) = cases(1, DEVELOPED, only="healthy")
    assert [advice.rule for advice in found.said if advice.severity != "good"] == []


def test_draws_repeat_and_differ() -> None:
    assert healthy(3) == healthy(3)
    assert len({repr(healthy(seed)) for seed in range(50)}) == 50
    for name in FAULTS:
        assert faulty(name, 3) == faulty(name, 3)
        assert faulty(name, 3) != faulty(name, 4)
        assert faulty(name, 3) != healthy(3)


def test_measured_networks_are_none_of_those_for_development() -> None:
    assert DEVELOPED + (len(FAULTS) + 1) * APART <= MEASURED


def made(fault: str | None, *rules: str, window: int | None = None) -> Case:
    from benchmarks.advice.networks import Trained

    said = [Advice(rule, "good" if rule == "reaches" else "hint", "", "") for rule in rules]
    return Case(fault, Trained(healthy(0).but(window=window), Facts(), 0.1), said)


def test_the_table_counts() -> None:
    found = [
        made("dead", "dead"),
        made("dead", "reaches"),
        made("window", "dead", "dead"),
        made(None, "window"),
        made(None, window=20),
    ]
    lines = dict(line.strip("| ").split(" | ", 1) for line in table(found).splitlines()[2:])
    assert lines["`dead`"] == "1 of 2 | 0 of 2 | 1 of 1"
    assert lines["`window`"] == "0 of 1 | 0 of 1 | 0 of 2", "healthy ones without a window do not count"


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_rates() -> None:
    found = list(cases(20, DEVELOPED))
    good = [case for case in found if case.fault is None]
    for rule in FAULTS:
        own = [case for case in found if case.fault == rule]
        assert len(own) == 20
        assert sum(case.alarm(rule) for case in own) >= 12, rule
        assert sum(case.alarm(rule) for case in good) <= 4, rule
