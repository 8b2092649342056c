"""Optimisers, where a Keras program looks for them."""

from rondeau.training.optimizers import *  # noqa: F403
from rondeau.training.optimizers import __all__ as __all__
