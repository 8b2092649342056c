"""Rules on what a model makes of its input and of the past."""

from __future__ import annotations

from statistics import fmean

from rondeau.insight.checks import Checks
from rondeau.insight.facts import Facts
from rondeau.insight.rules.base import Advice, steps

SAME = 0.02  # of the loss: within it two losses are one, as far as a few hundred rows can tell
LITTLE = 0.6  # of its loss, by which inputs of other rows make it worse: who has learnt loses several times as much
WORTH = 0.10  # of the loss: so much worse without the past, and memory has earned its place


def _worse(loss: float, other: float) -> float:
    """By which share of itself the other loss is above `loss`."""
    return (other - loss) / abs(loss) if loss else 0.0


def exchanged(checks: Checks) -> tuple[float, float]:
    """By which share the loss is higher with other rows' inputs, and that loss, on average."""
    mean = fmean(checks.exchanged)
    return _worse(checks.loss, mean), mean


def _ignores(checks: Checks) -> bool:
    """Whether own inputs are no better than others', or not by more than chance gives."""
    if not checks.exchanged:
        return False
    return exchanged(checks)[0] <= SAME or checks.loss >= min(checks.exchanged)


def knows_little(facts: Facts) -> bool:
    """Whether inputs of other rows are known to be hardly worse, as where it has learnt the targets' mean alone."""
    checks = facts.checks
    return checks is not None and bool(checks.exchanged) and exchanged(checks)[0] < LITTLE


def ignores_input(facts: Facts) -> list[Advice]:
    """Inputs of other rows would do as well."""
    checks = facts.checks
    if checks is None or not _ignores(checks):
        return []
    worse, mean = exchanged(checks)
    text = (
        f"With each row given another row's input the loss is {mean:.4g}, with its own {checks.loss:.4g}: "
        "the answers do not depend on what the model reads. Either the inputs say nothing about the targets, or "
        "the rows of the two do not belong together."
    )
    fix = "look whether x and y are in the same order and scale; then a larger learning_rate, or more epochs"
    return [Advice("ignores_input", "problem", "The input is ignored", text, fix, "baselines", {"worse": worse})]


def ignores_past(facts: Facts) -> list[Advice]:
    """The last step would do, or a network without memory is as good."""
    checks = facts.checks
    if checks is None or _ignores(checks):
        return []  # whoever ignores everything is told so already
    said, numbers = [], {}
    recent = dict(checks.recent)
    if 1 in recent and _worse(checks.loss, recent[1]) <= SAME:
        said.append(f"with all but the last step taken away its loss is {recent[1]:.4g}, with them {checks.loss:.4g}")
        numbers["without"] = recent[1]
    other = checks.comparison
    if other is not None and not other.helps:
        said.append(
            f"a feed-forward network that sees the last {steps(other.steps)} alone has a held-out loss of "
            f"{other.feed_forward:.4g}, the model {other.model:.4g}"
        )
        numbers["feed_forward"] = other.feed_forward
    if not said:
        return []
    text = f"{'; '.join(said)}: memory does not help here."
    fix = facts.fix(
        "a feed-forward network (layers.Dense on the last step) if that is the task; else a longer window or an LSTM",
        f"rondeau train --window {2 * (facts.setting('window') or 64)}, or --cell lstm",
    )
    return [
        Advice("ignores_past", "problem", "The past is ignored", text[0].upper() + text[1:], fix, "baselines", numbers)
    ]


def no_better_than_baselines(facts: Facts) -> list[Advice]:
    """What knows less, such as counting, is as good."""
    results = facts.results
    best, gain = (None, None) if results is None else (results.best_baseline(), results.gain())
    if results is None or best is None or gain is None:
        return []
    metric, own, other = results.metric, results.own, best.scores[results.metric.name]
    # a share of the error where there is a best value, as of accuracy, else of the figure
    room = abs(1 - other) if metric.higher else abs(other)
    if gain > SAME * room:
        return []
    text = (
        f"{own.name}: {metric.word} {metric.show(own.scores[metric.name])}; {best.name}: {metric.show(other)}: "
        "the recurrent model's memory has not paid."
    )
    units = facts.setting("units") or 192
    fix = f"rondeau train with more --epochs, or --units {2 * units}"
    return [Advice("baselines", "problem", "A simpler model is as good", text, fix, "baselines", {"gain": gain})]


def memory_is_used(facts: Facts) -> list[Advice]:
    """Without the past it is much worse."""
    checks = facts.checks
    if checks is None or not checks.recent or checks.recent[0][0] != 1:
        return []
    worse = _worse(checks.loss, checks.recent[0][1])
    if worse < WORTH:
        return []
    text = f"With all but the last step taken away the loss rises from {checks.loss:.4g} to {checks.recent[0][1]:.4g}."
    enough = [span for span, loss in checks.recent if span > 1 and _worse(checks.loss, loss) <= SAME]
    if enough:
        text += f" The last {steps(enough[0])} would do."
    return [Advice("memory", "good", "Memory is used", text, None, "baselines", {"worse": worse})]
