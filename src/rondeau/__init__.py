"""Rondeau: recurrent neural networks, simple to write, any cell, sequences done right."""

from rondeau import (
    activations,
    callbacks,
    data,
    initializers,
    layers,
    losses,
    metrics,
    models,
    nn,
    optimizers,
    regularizers,
    utils,
)
from rondeau.cells import Cell, HiddenState, named
from rondeau.errors import RondeauError
from rondeau.layers import Input, Layer
from rondeau.models import EncoderDecoder, Model, Sequential, load
from rondeau.nn import accelerate
from rondeau.recurrence import Keep, explain, scan
from rondeau.sequence import Ragged
from rondeau.training.windows import RandomWindow

__version__ = "0.1.0"

__all__ = [
    "Cell",
    "EncoderDecoder",
    "HiddenState",
    "Input",
    "Keep",
    "Layer",
    "Model",
    "Ragged",
    "RandomWindow",
    "RondeauError",
    "Sequential",
    "accelerate",
    "activations",
    "callbacks",
    "data",
    "explain",
    "initializers",
    "layers",
    "load",
    "losses",
    "metrics",
    "models",
    "named",
    "nn",
    "optimizers",
    "regularizers",
    "scan",
    "utils",
]
