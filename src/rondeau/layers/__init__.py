"""Keras-style layers over cells and `scan`."""

from rondeau.cells import Cell, GRUCell, LSTMCell, SimpleRNNCell, StackedRNNCells
from rondeau.layers.attention import AdditiveAttention, Attention
from rondeau.layers.base import Layer
from rondeau.layers.bidirectional import Bidirectional
from rondeau.layers.convolution import Conv1D
from rondeau.layers.core import Activation, Dense, Dropout, Flatten, Input, InputLayer
from rondeau.layers.embedding import Embedding
from rondeau.layers.merge import Add, Average, Concatenate, Multiply
from rondeau.layers.normalization import LayerNormalization
from rondeau.layers.pooling import GlobalAveragePooling1D, GlobalMaxPooling1D, MaxPooling1D
from rondeau.layers.recurrent import RNN
from rondeau.layers.standard import GRU, LSTM, SimpleRNN
from rondeau.layers.strands import ReverseComplement
from rondeau.layers.time import Masking, RepeatVector, TimeDistributed
from rondeau.layers.tokens import Distinct, TokenDropout

__all__ = [
    "GRU",
    "LSTM",
    "RNN",
    "Activation",
    "Add",
    "AdditiveAttention",
    "Attention",
    "Average",
    "Bidirectional",
    "Cell",
    "Concatenate",
    "Conv1D",
    "Dense",
    "Distinct",
    "Dropout",
    "Embedding",
    "Flatten",
    "GRUCell",
    "GlobalAveragePooling1D",
    "GlobalMaxPooling1D",
    "Input",
    "InputLayer",
    "LSTMCell",
    "Layer",
    "LayerNormalization",
    "Masking",
    "MaxPooling1D",
    "Multiply",
    "RepeatVector",
    "ReverseComplement",
    "SimpleRNN",
    "SimpleRNNCell",
    "StackedRNNCells",
    "TimeDistributed",
    "TokenDropout",
]
