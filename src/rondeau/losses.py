"""Losses, where a Keras program looks for them."""

from rondeau.training.losses import *  # noqa: F403
from rondeau.training.losses import __all__ as __all__
