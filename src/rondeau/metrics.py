"""Metrics, where a Keras program looks for them."""

from rondeau.training.metrics import *  # noqa: F403
from rondeau.training.metrics import __all__ as __all__
