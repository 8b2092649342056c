from __future__ import annotations

import inspect
import json
import math
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import rondeau
from rondeau.cli.options import command_of
from rondeau.errors import CheckpointError
from rondeau.insight import Decay, Flow, Sample, ScanSample, Values, Weight
from rondeau.insight.advice import Advice, Facts, advise, facts_of
from rondeau.insight.checks import Checks, checks_to_json
from rondeau.insight.files import FILE, SampleFile
from rondeau.insight.memory import Comparison
from rondeau.insight.results import Metric, Results, Row
from rondeau.insight.rules.base import ORDER
from rondeau.tasks import get_task

STEPS = 120
BITS = Metric("bits_per_character", higher=False)


def values(at_low: float = 0.0, at_high: float = 0.0, dead: float = 0.0, mean: float = 0.5) -> Values:
    return Values(0.0, 1.0, [0.05] * 20, mean, 0.1, at_low, at_high, dead, 0.0)


def scan(factor: float = 1.0, steps: int = STEPS, **changes: Any) -> ScanSample:
    """A scan whose gradient falls, or grows, by `factor` a step."""
    norms = [factor**lag for lag in range(steps)]
    memory = next((lag for lag, norm in enumerate(norms) if norm < 0.01), None)
    flow = {"h": Flow(list(range(steps)), norms, norms)}
    made = ScanSample("rnn", "SimpleRNNCell", False, None, flow, Decay(factor, memory, steps - 1))
    return replace(made, **changes)


def sample(step: int = 0, loss: float = 1.0, ratio: float = 3e-3, **changes: Any) -> Sample:
    weights = [Weight("rnn.cell.kernel", 1.0, 1.0, ratio), Weight("rnn.cell.bias", 1.0, 1.0, 5.0)]
    lengths = (STEPS, STEPS, STEPS)
    made = Sample(step, 0, loss, 1e-2, 32, lengths, 1.0, None, False, [scan()], weights)
    return replace(made, **changes)


def samples(count: int = 12, **changes: Any) -> list[Sample]:
    return [sample(10 * place, **changes) for place in range(count)]


def epochs(first: float, last: float, held_out: list[float] | None = None, count: int = 10) -> list[dict[str, float]]:
    losses = [first + (last - first) * place / (count - 1) for place in range(count)]
    held = losses if held_out is None else held_out
    return [{"loss": loss, "val_loss": other} for loss, other in zip(losses, held, strict=True)]


FLAT, WELL = epochs(1.0, 0.95), epochs(0.9, 0.1)
CHECKED = Checks(0.1, [1.0, 1.2, 0.9], [(1, 0.8), (4, 0.5), (16, 0.101)], STEPS, Comparison(1, 0.1, 0.7, 500))
HEALTHY = Facts(samples(), WELL, checks=CHECKED)


def vanished(half: float = 6.0) -> Facts:
    return Facts(samples(scans=[scan(0.5 ** (1 / half))]), FLAT)


def with_gates(**gates: Values) -> Facts:
    return Facts(samples(scans=[scan(cell="LSTMCell", gates=gates)]), WELL)


def leaping(leap: float, **changes: Any) -> Facts:
    found = [replace(one, **changes) for one in samples(20)]
    return Facts([*found[:10], replace(found[10], gradient=leap), *found[11:]], FLAT)


FAULTS: dict[str, Facts] = {
    "vanishing": vanished(),
    "exploding": Facts(samples(scans=[scan(1.05)]), FLAT),
    "window": Facts(samples(scans=[scan(0.95, steps=20, cut=20)]), WELL),
    "saturated": with_gates(output_gate=values(at_low=0.5, at_high=0.4)),
    "dead": Facts(samples(scans=[scan(states={"h": values(dead=0.6)})]), WELL),
    "clips_always": Facts(samples(clip=0.1, clipped=True), WELL),
    "clips_never": leaping(40.0),
    "rate_high": Facts(samples(ratio=0.5), FLAT),
    "rate_low": Facts(samples(ratio=1e-5), FLAT),
    "ignores_input": Facts(checks=replace(CHECKED, loss=1.0, exchanged=[1.0, 1.01])),
    "ignores_past": Facts(checks=replace(CHECKED, recent=[(1, 0.101)])),
    "overfitting": Facts(samples(), epochs(0.9, 0.1, [0.9, 0.7, 0.5, 0.4, 0.4, 0.45, 0.5, 0.55, 0.6, 0.7])),
    "underfitting": Facts(samples(), FLAT),
    "baselines": Facts(results=Results([BITS], [Row("5-gram", 9, {BITS.name: 2.0}), Row("lstm", 9, {BITS.name: 2.1})])),
}


def said(facts: Facts, rule: str) -> Advice | None:
    return next((one for one in advise(facts) if one.rule == rule and one.severity != "good"), None)


@pytest.mark.parametrize("rule", FAULTS)
def test_each_rule_speaks_of_its_fault_and_not_of_a_healthy_training(rule: str) -> None:
    found = said(FAULTS[rule], rule)
    assert found is not None
    assert found.fix
    assert found.facts
    assert re.search(r"\d", found.text)
    assert said(HEALTHY, rule) is None


def test_a_healthy_training_hears_only_good() -> None:
    found = advise(HEALTHY)
    assert [one.rule for one in found] == ["memory", "reaches"]
    assert {one.severity for one in found} == {"good"}
    assert "The last 16 steps would do" in found[0].text


def test_nothing_is_said_without_facts() -> None:
    assert advise(Facts()) == []


@pytest.mark.parametrize("rule", FAULTS)
def test_a_rule_is_silent_where_its_facts_are_missing(rule: str) -> None:
    bare = replace(sample(), gradient=None, clipped=None, scans=[], weights=[], loss=None)
    assert advise(Facts([bare, replace(bare, step=50)])) == []


@pytest.mark.parametrize("wrong", [math.nan, math.inf])
@pytest.mark.parametrize("rule", FAULTS)
def test_numbers_that_are_none_are_not_given_as_numbers(rule: str, wrong: float) -> None:
    facts = FAULTS[rule]
    broken = [{**record, "loss": wrong, "val_loss": wrong} for record in facts.history]
    last = [replace(one, loss=wrong, gradient=wrong) for one in facts.samples]
    for one in advise(replace(facts, history=broken, samples=last)):
        assert "nan" not in one.text
        assert "inf" not in one.text


def test_a_gradient_beyond_all_bounds() -> None:
    flow = {"h": Flow(list(range(20)), [1.0] * 20, [1.0] * 10 + [math.inf] * 10)}
    found = said(Facts(samples(scans=[scan(flow=flow)]), FLAT), "exploding")
    assert found is not None
    assert "beyond all bounds" in found.text


def test_worst_comes_first() -> None:
    cut_and_dead = scan(0.95, steps=20, cut=20, states={"h": values(dead=0.6)})
    facts = Facts(samples(scans=[cut_and_dead]), WELL, checks=CHECKED)
    severities = [ORDER.index(one.severity) for one in advise(facts)]
    assert severities == sorted(severities)
    assert set(severities) == {0, 1, 2}


def test_vanishing_gives_its_measured_numbers() -> None:
    found = said(vanished(6.0), "vanishing")
    assert found is not None
    assert "halves every 6 steps" in found.text
    assert "below 1 % after 40 steps" in found.text
    assert "your sequences have 120 steps" in found.text
    assert found.facts["memory"] == 40
    assert found.facts["steps"] == 120
    assert "Chrono(max_steps=120)" in found.fix
    assert found.figure == "flow"


def test_vanishing_is_a_hint_where_another_layer_reaches() -> None:
    both = [scan(0.9), scan(1.0, name="upper")]
    found = said(Facts(samples(scans=both), FLAT), "vanishing")
    assert found is not None
    assert found.severity == "hint"
    neither = said(Facts(samples(scans=[scan(0.9), scan(0.9, name="upper")]), FLAT), "vanishing")
    assert neither is not None
    assert neither.severity == "problem"


def test_vanishing_is_no_fault_of_what_has_learnt_or_is_short() -> None:
    assert said(replace(vanished(), history=WELL), "vanishing") is None
    mean_alone = replace(CHECKED, loss=1.0, exchanged=[1.3, 1.4])
    assert said(replace(vanished(), history=WELL, checks=mean_alone), "vanishing") is not None
    assert said(replace(vanished(), history=WELL, checks=CHECKED), "vanishing") is None
    assert said(Facts(samples(scans=[scan(0.3, steps=8)]), FLAT), "vanishing") is None


def test_a_gradient_that_only_wavers_does_not_explode() -> None:
    assert said(Facts(samples(scans=[scan(1.01)]), FLAT), "exploding") is None


def test_a_window_that_cuts_what_is_nearly_nothing_is_long_enough() -> None:
    assert said(Facts(samples(scans=[scan(0.7, steps=20, cut=20)]), WELL), "window") is None
    stuck = Facts(samples(scans=[scan(0.8, steps=20, cut=20)]), FLAT)
    assert said(stuck, "window") is not None  # 1.4 % is left, and nothing is learnt
    assert said(replace(stuck, history=WELL), "window") is None


def test_a_last_short_window_says_nothing_of_the_cut() -> None:
    cut = [sample(10 * place, scans=[scan(0.7, steps=3 if place % 2 else 20, cut=20)]) for place in range(12)]
    assert said(Facts(cut, WELL), "window") is None


def test_a_row_that_ends_before_the_cut_says_nothing_of_it() -> None:
    assert said(Facts(samples(scans=[scan(0.9, steps=12, cut=20)]), WELL), "window") is None


def test_gates_that_remember_are_not_saturated() -> None:
    chrono = {"forget_gate": values(at_high=0.95, mean=0.98), "input_gate": values(at_low=0.95, mean=0.02)}
    assert said(with_gates(**chrono), "saturated") is None
    forever = scan(cell="LSTMCell", gates=chrono, time_constants=[1e4] * 7)
    assert said(Facts(samples(scans=[forever]), WELL), "saturated") is not None
    alone = replace(forever, gates={"forget_gate": chrono["forget_gate"]})
    assert said(Facts(samples(scans=[alone]), WELL), "saturated") is not None
    closed = {"forget_gate": values(at_low=0.95, mean=0.02)}
    assert said(with_gates(**closed), "saturated") is not None


def test_a_leap_is_one_among_its_neighbours() -> None:
    assert said(leaping(3.0), "clips_never") is None
    falling = Facts([sample(10 * place, gradient=0.5**place) for place in range(20)], FLAT)
    assert said(falling, "clips_never") is None
    late = [replace(one, gradient=1.0) for one in falling.samples[:16]]
    small = [sample(10 * place, gradient=0.2 if place == 18 else 0.01) for place in range(16, 22)]
    assert said(Facts([*late, *small], FLAT), "clips_never") is None
    rough = Facts([sample(10 * place, gradient=1.0 + 4 * (place % 2)) for place in range(20)], FLAT)
    assert said(rough, "clips_never") is not None
    assert said(replace(rough, history=WELL), "clips_never") is None
    wild = [replace(one, loss=100.0 if place == 10 else 1.0) for place, one in enumerate(samples(20))]
    found = said(Facts(wild, FLAT), "clips_never")
    assert found is not None
    assert "huber" in found.fix
    assert said(leaping(40.0, clip=100.0, clipped=False), "clips_never") is None


def test_a_few_clipped_gradients_are_what_clipping_is_for() -> None:
    some = [replace(one, clip=2.0, clipped=place % 3 == 0) for place, one in enumerate(samples(20))]
    assert said(Facts(some, WELL), "clips_always") is None
    assert said(Facts(samples(clip=0.9, clipped=True), WELL), "clips_always") is None


def test_one_large_update_is_not_a_high_rate() -> None:
    assert said(Facts([sample(ratio=2.0), *samples(12)[1:]], WELL), "rate_high") is None


def test_a_small_rate_that_does_its_work_is_not_too_low() -> None:
    assert said(Facts(samples(ratio=1e-5), WELL), "rate_low") is None


def test_inputs_are_ignored_where_others_do_as_well() -> None:
    better = replace(CHECKED, loss=0.95, exchanged=[1.0, 1.05, 0.94])
    found = said(Facts(checks=better), "ignores_input")
    assert found is not None, "a loss that one way to exchange beats is chance"
    assert said(Facts(checks=replace(better, exchanged=[1.0, 1.05])), "ignores_input") is None


def test_memory_that_a_feed_forward_network_matches_does_not_help() -> None:
    found = said(Facts(checks=replace(CHECKED, comparison=Comparison(1, 0.5, 0.5, 300))), "ignores_past")
    assert found is not None
    assert "memory does not help here" in found.text


def test_a_gap_that_never_closed_is_a_hint() -> None:
    gap = Facts(samples(), epochs(0.9, 0.1, [0.9 - 0.05 * place for place in range(10)]))
    found = said(gap, "overfitting")
    assert found is not None
    assert found.severity == "hint"
    assert "was lowest" not in found.text


def test_a_loss_that_still_falls_wants_more_epochs() -> None:
    found = said(Facts(samples(), epochs(1.0, 0.65)), "underfitting")
    assert found is not None
    assert "still falling" in found.text
    assert "more epochs" in found.fix


def test_a_run_hears_of_commands_and_a_program_of_arguments() -> None:
    settings = {"learning_rate": 1e-2, "window": 64, "units": 32, "dropout": 0.2, "clipnorm": 1.0}
    for rule in FAULTS:
        if rule == "baselines":
            continue
        argued, told = said(FAULTS[rule], rule), said(replace(FAULTS[rule], settings=settings), rule)
        assert argued is not None
        assert told is not None
        assert "--" not in argued.fix
        if rule != "ignores_input":
            assert told.fix.startswith("rondeau train")


def test_every_option_and_argument_that_advice_names_exists() -> None:
    options = {name for one in command_of(get_task("language_model")).params for name in one.opts}
    settings = {"learning_rate": 1e-2, "window": 64, "units": 32, "dropout": 0.2, "clipnorm": 1.0}
    known: set[str] = set()
    for thing in (
        rondeau.layers.LSTM,
        rondeau.optimizers.Adam,
        rondeau.Sequential.fit,
        rondeau.callbacks.EarlyStopping,
    ):
        known |= set(inspect.signature(thing).parameters)
    known |= set(inspect.signature(rondeau.initializers.Chrono).parameters)
    for rule, facts in FAULTS.items():
        for made in (facts, replace(facts, settings=settings)):
            found = said(made, rule)
            assert found is not None
            assert set(re.findall(r"--[a-z-]+", found.fix)) <= options
            assert set(re.findall(r"\b([a-z_]+)=", found.fix)) <= known, found.fix


def test_start_is_not_taken_from_a_lucky_batch_or_one_window() -> None:
    lucky = Facts([sample(loss=0.6)], [{"loss": 1.0}, {"loss": 0.98}])
    assert lucky.start == 1.0
    blown = Facts([sample(loss=0.6)], [{"loss": 50.0}, {"loss": 1.0}])
    assert blown.start == 1.2
    windowed = Facts([sample(loss=0.01, scans=[scan(cut=20)])], [{"loss": 1.0}])
    assert windowed.start == 1.0


def test_a_likelihood_is_no_loss_of_which_a_share_is_learnt() -> None:
    facts = FAULTS["underfitting"]
    assert facts.learnt is not None
    assert replace(facts, settings={"likelihood": "quantile"}).learnt is not None
    assert replace(facts, settings={"likelihood": "student_t"}).learnt is None
    assert said(replace(facts, settings={"likelihood": "student_t"}), "underfitting") is None


def test_facts_of_a_folder(tmp_path: Path) -> None:
    assert facts_of(tmp_path) == Facts([], [])
    file = SampleFile(tmp_path)
    for one in samples(3):
        file.append(one)
    (tmp_path / "history.jsonl").write_text("".join(json.dumps(line) + "\n" for line in WELL))
    (tmp_path / "results.json").write_text(json.dumps(FAULTS["baselines"].results.to_json()))
    (tmp_path / "config.json").write_text(json.dumps({"settings": {"window": 64}}))
    (tmp_path / "checks.json").write_text(json.dumps(checks_to_json(CHECKED)))
    expected = Facts(samples(3), WELL, FAULTS["baselines"].results, CHECKED, {"window": 64})
    assert facts_of(tmp_path) == expected
    assert (tmp_path / FILE).is_file()


@pytest.mark.parametrize("name", ["history.jsonl", "checks.json"])
def test_a_damaged_file_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("{\n")
    with pytest.raises(CheckpointError, match=name):
        facts_of(tmp_path)


def test_facts_from_what_fit_returns() -> None:
    insight = type("Insight", (), {"samples": samples(2)})()
    history = {"loss": [1.0, 0.5], "val_loss": [1.0, 0.6]}
    expected = [{"loss": 1.0, "val_loss": 1.0}, {"loss": 0.5, "val_loss": 0.6}]
    for given in (history, type("History", (), {"history": history})(), expected):
        assert Facts.of(insight, given).history == expected
    assert Facts.of(insight).history == []


def test_layers_with_the_same_trouble_are_named_together(monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = (Advice("vanishing", "problem", "It vanishes", f"In {name}.", "Use LSTM", "flow") for name in "ab")
    other = replace(two, fix="Use GRU")
    monkeypatch.setattr("rondeau.insight.advice.RULES", (lambda facts: [one, two, other],))
    assert advise(Facts()) == [replace(one, text="In a. In b."), other]
