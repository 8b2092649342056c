"""Models: layers as a whole, trained, saved and loaded."""

from rondeau.models.functional import Functional
from rondeau.models.model import Model
from rondeau.models.saving import load
from rondeau.models.sequential import Sequential

__all__ = ["Functional", "Model", "Sequential", "load"]
