"""Rules on the learning rate: by what updates do to weights, and what the loss makes of it."""

from __future__ import annotations

import math
from statistics import median

from rondeau.insight.facts import Facts
from rondeau.insight.records import Sample
from rondeau.insight.rules.base import Advice, Severity, percent

LARGE = 0.15  # of a kernel's norm an update: it is another network after a few
TIMES = 3  # so many samples with so large an update: one may be a kernel that began small
SMALL = 3e-4  # of a kernel's norm an update: thousands of them change nothing much
SLOW = 0.2  # of the loss taken off, at most, where a rate counts as too low
LEARNT = 0.5  # of the loss taken off: then the rate is high, but has done its work
STEPS = 30  # updates at least: earlier a loss has had no time to fall


def update_ratio(sample: Sample) -> float | None:
    """Update to weight, the median over kernels; those that begin at zero, as biases do, say nothing."""
    ratios = [w.ratio for w in sample.weights if w.ratio is not None and "bias" not in w.name.rpartition(".")[2]]
    return median(ratios) if ratios else None


def _ratios(facts: Facts) -> list[float]:
    return [ratio for ratio in map(update_ratio, facts.samples) if ratio is not None and math.isfinite(ratio)]


def rate_too_high(facts: Facts) -> list[Advice]:
    """Updates nearly as large as weights, early on as a rule: once weights have grown by them they look small."""
    ratios, learnt = sorted(_ratios(facts), reverse=True), facts.learnt
    if len(ratios) < TIMES or ratios[TIMES - 1] < LARGE:
        return []
    fate = ""
    if learnt is not None:
        fate = f", and the loss {'rose' if learnt < 0 else 'fell'} by {percent(abs(learnt))} in all"
    text = (
        f"The largest update changed a kernel by {percent(ratios[0])} of its norm, {TIMES} of them by "
        f"{percent(ratios[TIMES - 1])} or more (0.1 % to 1 % is usual){fate}."
    )
    rate = _rate(facts)
    fix = facts.fix(f"learning_rate={rate / 10:.1g}", f"rondeau train --learning-rate {rate / 10:.1g}")
    well = learnt is not None and learnt > LEARNT
    numbers = {"ratio": ratios[0], "rate": rate}
    severity: Severity = "hint" if well else "problem"
    return [Advice("rate_high", severity, "The learning rate is too high", text, fix, "update-ratios", numbers)]


def rate_too_low(facts: Facts) -> list[Advice]:
    """Updates far below the weights, and a loss that falls slowly or not at all."""
    ratios, learnt = _ratios(facts), facts.learnt
    if not ratios or learnt is None or facts.samples[-1].step < STEPS:
        return []
    ratio = max(ratios)
    if not 0 < ratio < SMALL or abs(learnt) > SLOW:
        return []
    text = (
        f"No update changed a kernel by more than {ratio:.1e} of its norm (1e-3 to 1e-2 is usual), and after "
        f"{facts.samples[-1].step:,} updates the loss is {percent(learnt)} below where it began."
    )
    rate = _rate(facts)
    fix = facts.fix(f"learning_rate={rate * 10:.1g}", f"rondeau train --learning-rate {rate * 10:.1g}")
    numbers = {"ratio": ratio, "rate": rate}
    return [Advice("rate_low", "problem", "The learning rate is too low", text, fix, "update-ratios", numbers)]


def _rate(facts: Facts) -> float:
    rates = [sample.rate for sample in facts.samples if sample.rate]
    return max(rates, default=1e-3)
