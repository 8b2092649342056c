"""Rondeau: recurrent neural networks, simple to write, any cell, sequences done right."""

from rondeau import (
    activations,
    callbacks,
    data,
    initializers,
    insight,
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
from rondeau.recurrence import Full, Keep, Recompute, Truncated, explain, scan
from rondeau.sequence import Ragged
from rondeau.training.windows import RandomWindow

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
    "RandomWindow",
    "Recompute",
    "RondeauError",
    "Sequential",
    "Truncated",
    "accelerate",
    "activations",
    "callbacks",
    "data",
    "explain",
    "initializers",
    "insight",
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
