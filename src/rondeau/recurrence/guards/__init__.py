"""Whether anything in Python that a cell's step can read has changed since the step was traced."""

from rondeau.recurrence.guards.guard import Guard

__all__ = ["Guard"]
