"""Hit and false-alarm rates of each rule, as a table for the docs."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from benchmarks.advice.faults import FAULTS, LEARNT, SHORT, faulty, healthy, unhindered
from benchmarks.advice.networks import Plan, Trained, train
from rondeau.insight.advice import Advice, advise

MEASURED = 5000  # the first seed of networks that were looked at once only, after every threshold stood
DEVELOPED = 1000  # the first seed of those by which thresholds were chosen
APART = 200  # seeds from one kind to the next, with room for networks that are drawn again


@dataclass(frozen=True)
class Case:
    """One network, what is wrong with it (None: nothing), and what was said."""

    fault: str | None
    trained: Trained
    said: list[Advice]

    def alarm(self, rule: str) -> bool:
        """Whether a rule found a problem, or gave a hint."""
        return any(advice.rule == rule and advice.severity != "good" for advice in self.said)


Say = Callable[[str], None]


def cases(count: int, first: int, say: Say = lambda line: None, only: str | None = None) -> Iterator[Case]:
    """`count` healthy networks, then as many of each fault; `only`: of that fault alone."""
    for windowed in (False, True):
        if only is None or only == ("windowed" if windowed else "healthy"):
            yield from _healthy(count, first + APART // 2 * windowed, windowed, say)
    for place, name in enumerate(FAULTS, start=1):
        if only is not None and only != name:
            continue
        seeds: Iterable[int] = itertools.count(first + place * APART)
        if name == "underfitting":
            seeds = (seed for seed in seeds if _falls_short(seed, say))
        for seed in itertools.islice(seeds, count):
            yield _case(name, faulty(name, seed), say)


def _falls_short(seed: int, say: Say) -> bool:
    """Whether much less of the loss is left without the fault: else there is none, whatever was built in."""
    plan = faulty("underfitting", seed)
    hindered, free = train(plan), train(unhindered(seed, plan))
    short = free.loss < SHORT * hindered.loss
    say(f"underfitting {seed}: loss {hindered.loss:.3g}, without the fault {free.loss:.3g}{'' if short else ': none'}")
    return short


def _healthy(count: int, first: int, windowed: bool, say: Say) -> Iterator[Case]:
    found = 0
    for seed in itertools.count(first):
        case = _case(None, healthy(seed, windowed), say)
        if case.trained.left < LEARNT:
            found += 1
            yield case
        if found == count:
            return


def _case(fault: str | None, plan: Plan, say: Say) -> Case:
    trained = train(plan)
    said = advise(trained.facts)
    rules = ", ".join(advice.rule for advice in said if advice.severity != "good")
    say(
        f"{fault or 'healthy'} {plan.seed}: {plan.make.__name__} {plan.steps} steps, {plan.depth} x {plan.cell} "
        f"{plan.units}: {trained.left:.2f} left; {rules or 'nothing'}"
    )
    return Case(fault, trained, said)


def table(found: list[Case]) -> str:
    """Markdown: a line for each rule. Its own fault, healthy networks, networks with another fault."""
    lines = ["| Rule | Hits | False alarms | Said of other faults |", "|---|---:|---:|---:|"]
    for rule in FAULTS:
        own = [case for case in found if case.fault == rule]
        good = [
            case for case in found if case.fault is None and (case.trained.plan.window is not None or rule != "window")
        ]
        others = [case for case in found if case.fault not in (None, rule)]
        cells = [f"{sum(case.alarm(rule) for case in part)} of {len(part)}" for part in (own, good, others)]
        lines.append(f"| `{rule}` | {' | '.join(cells)} |")
    return "\n".join(lines)
