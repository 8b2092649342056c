"""How a step becomes a loop."""

from rondeau.recurrence.scan import scan

__all__ = ["scan"]
