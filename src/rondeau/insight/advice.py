"""Advice from facts: every rule is asked, the worst that they say comes first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from rondeau.insight.facts import Facts, facts_of
from rondeau.insight.rules import RULES
from rondeau.insight.rules.base import ORDER, Advice, Severity

__all__ = ["Advice", "Facts", "Severity", "advise", "facts_of"]


def advise(facts: Facts) -> list[Advice]:
    """What the rules have to say, problems first, then hints, then what is good.

    >>> advise(Facts())
    []
    """
    found = _together([advice for rule in RULES for advice in rule(facts)])
    return sorted(found, key=lambda advice: ORDER.index(advice.severity))


def _together(found: Sequence[Advice]) -> list[Advice]:
    """What a rule says of several layers as one, where the same is to be done about it; the numbers are the first's."""
    kept: dict[tuple[str, str, str | None], Advice] = {}
    for advice in found:
        key = (advice.rule, advice.severity, advice.fix)
        first = kept.get(key)
        kept[key] = advice if first is None else replace(first, text=f"{first.text} {advice.text}")
    return list(kept.values())
