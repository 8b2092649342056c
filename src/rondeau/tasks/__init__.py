"""Jobs: which reader, model, baselines and measures go together."""

from rondeau.tasks.registry import TASKS, get_task, guess_task

__all__ = ["TASKS", "get_task", "guess_task"]
