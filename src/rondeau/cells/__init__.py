"""Cells: parameters, named state, and one step in ordinary PyTorch."""

from rondeau.cells.attention import AttentionCell, AttentionState
from rondeau.cells.base import Cell, Context, HiddenState
from rondeau.cells.gru import GRUCell
from rondeau.cells.lstm import LSTMCell, LSTMState
from rondeau.cells.naming import named, within
from rondeau.cells.projected import ProjectedLSTMCell
from rondeau.cells.simple_rnn import SimpleRNNCell
from rondeau.cells.stacked import StackedRNNCells
from rondeau.cells.vendor import VendorKernel

__all__ = [
    "AttentionCell",
    "AttentionState",
    "Cell",
    "Context",
    "GRUCell",
    "HiddenState",
    "LSTMCell",
    "LSTMState",
    "ProjectedLSTMCell",
    "SimpleRNNCell",
    "StackedRNNCells",
    "VendorKernel",
    "named",
    "within",
]
