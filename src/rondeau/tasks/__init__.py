"""Jobs: which reader, model, baselines and measures go together."""

from rondeau.tasks.api import Run, train
from rondeau.tasks.registry import TASKS, get_task, guess_task

__all__ = ["TASKS", "Run", "get_task", "guess_task", "train"]
