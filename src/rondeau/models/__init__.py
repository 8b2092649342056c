"""Models: layers as a whole, trained, saved and loaded."""

from rondeau.models.encoder_decoder import EncoderDecoder
from rondeau.models.functional import Functional
from rondeau.models.model import Model
from rondeau.models.recognizer import Recognizer
from rondeau.models.saving import load
from rondeau.models.sequential import Sequential
from rondeau.models.sessions import Sessions
from rondeau.models.state import State
from rondeau.models.stream import Stream

load_model = load
"""Keras's name for `load`."""

__all__ = [
    "EncoderDecoder",
    "Functional",
    "Model",
    "Recognizer",
    "Sequential",
    "Sessions",
    "State",
    "Stream",
    "load",
    "load_model",
]
