"""Callbacks, where a Keras program looks for them."""

from rondeau.insight.callback import Insight
from rondeau.training.callbacks import *  # noqa: F403
from rondeau.training.callbacks import __all__ as _all
from rondeau.training.checkpoint import BackupAndRestore

__all__ = ["BackupAndRestore", "Insight", *_all]
