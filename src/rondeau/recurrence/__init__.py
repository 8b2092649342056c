"""How a step becomes a loop."""

from rondeau.recurrence import operator  # registers it, so that exported programs run wherever rondeau is imported
from rondeau.recurrence.explain import Explanation, explain
from rondeau.recurrence.keep import Keep
from rondeau.recurrence.policy import Full, Policy, Recompute, Truncated
from rondeau.recurrence.scan import scan

__all__ = ["Explanation", "Full", "Keep", "Policy", "Recompute", "Truncated", "explain", "operator", "scan"]
