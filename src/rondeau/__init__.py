"""Rondeau: recurrent neural networks, simple to write, any cell, sequences done right."""

__version__ = "0.1.0"
