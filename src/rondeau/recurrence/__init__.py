"""How a step becomes a loop."""

from rondeau.recurrence import operator  # registers it, so that exported programs run wherever rondeau is imported
from rondeau.recurrence.explain import Explanation, explain
from rondeau.recurrence.keep import Keep
from rondeau.recurrence.scan import scan

__all__ = ["Explanation", "Keep", "explain", "operator", "scan"]
