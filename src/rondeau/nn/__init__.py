"""torch.nn's recurrent modules on compiled loops, and `accelerate`, which puts them into a model there is."""

from rondeau.nn.accelerate import Accelerated, accelerate
from rondeau.nn.modules import GRU, LSTM, RNN
from rondeau.nn.single import GRUCell, LSTMCell, RNNCell

__all__ = ["GRU", "LSTM", "RNN", "Accelerated", "GRUCell", "LSTMCell", "RNNCell", "accelerate"]
