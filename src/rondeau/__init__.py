"""Rondeau: recurrent neural networks, simple to write, any cell, sequences done right."""

from rondeau import (
    activations,
    callbacks,
    initializers,
    layers,
    losses,
    metrics,
    models,
    optimizers,
    regularizers,
    utils,
)
from rondeau.cells import Cell, HiddenState, named
from rondeau.errors import RondeauError
from rondeau.layers import Input, Layer
from rondeau.models import EncoderDecoder, Model, Sequential, load
from rondeau.recurrence import Full, Keep, Recompute, Truncated, explain, scan
from rondeau.sequence import Ragged

__version__ = "0.1.0"

__all__ = [
    "Cell",
    "EncoderDecoder",
    "Full",
    "HiddenState",
    "Input",
    "Keep",
    "Layer",
    "Model",
    "Ragged",
    "Recompute",
    "RondeauError",
    "Sequential",
    "Truncated",
    "activations",
    "callbacks",
    "explain",
    "initializers",
    "layers",
    "load",
    "losses",
    "metrics",
    "models",
    "named",
    "optimizers",
    "regularizers",
    "scan",
    "utils",
]
