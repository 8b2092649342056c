"""Advice from facts: every rule is asked, the worst that they say comes first."""

from __future__ import annotations

from rondeau.insight.facts import Facts, facts_of
from rondeau.insight.rules import RULES
from rondeau.insight.rules.base import ORDER, Advice, Severity

__all__ = ["Advice", "Facts", "Severity", "advise", "facts_of"]


def advise(facts: Facts) -> list[Advice]:
    """What the rules have to say, problems first, then hints, then what is good.

    >>> advise(Facts())
    []
    """
    found = [advice for rule in RULES for advice in rule(facts)]
    return sorted(found, key=lambda advice: ORDER.index(advice.severity))
