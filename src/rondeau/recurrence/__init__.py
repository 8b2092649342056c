"""How a step becomes a loop."""

from rondeau.recurrence.explain import Explanation, explain
from rondeau.recurrence.scan import scan

__all__ = ["Explanation", "explain", "scan"]
