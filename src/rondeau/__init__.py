"""Rondeau: recurrent neural networks, simple to write, any cell, sequences done right."""

from rondeau import activations, layers, regularizers
from rondeau import init as initializers
from rondeau.cells import Cell, HiddenState
from rondeau.errors import RondeauError
from rondeau.layers import Input, Layer
from rondeau.models import Model, Sequential, load
from rondeau.recurrence import scan
from rondeau.sequence import Ragged
from rondeau.training import callbacks, losses, metrics, optimizers

__version__ = "0.1.0"

__all__ = [
    "Cell",
    "HiddenState",
    "Input",
    "Layer",
    "Model",
    "Ragged",
    "RondeauError",
    "Sequential",
    "activations",
    "callbacks",
    "initializers",
    "layers",
    "load",
    "losses",
    "metrics",
    "optimizers",
    "regularizers",
    "scan",
]
