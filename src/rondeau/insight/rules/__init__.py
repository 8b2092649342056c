"""Rules: each reads the facts, and gives what advice follows from them; none where its facts are missing."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rondeau.insight.facts import Facts
from rondeau.insight.rules import clipping, flow, gates, learning, rate, used
from rondeau.insight.rules.base import Advice

Rule = Callable[[Facts], Sequence[Advice]]

# of equal weight, what comes first is said first: causes before what they lead to
RULES: tuple[Rule, ...] = (
    rate.rate_too_high,
    flow.exploding,
    flow.vanishing,
    flow.window_too_short,
    gates.saturated,
    gates.dead,
    clipping.clipping,
    rate.rate_too_low,
    used.ignores_input,
    used.ignores_past,
    used.no_better_than_baselines,
    learning.overfitting,
    learning.underfitting,
    used.memory_is_used,
    flow.reaches_back,
)
