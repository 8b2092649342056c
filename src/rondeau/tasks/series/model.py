"""Networks that read whole series: one answer for each, or one for each step."""

from __future__ import annotations

from typing import Any

from rondeau import layers
from rondeau.models import Model

CELLS = {"lstm": layers.LSTM, "gru": layers.GRU, "simple_rnn": layers.SimpleRNN}


def series_model(
    features: int,
    outputs: int,
    cell: str = "lstm",
    units: int = 64,
    depth: int = 1,
    dropout: float = 0.3,
    filters: int = 32,
    kernel: int = 9,
    stride: int = 1,
    bidirectional: bool = True,
    each_step: bool = False,
    vocabulary: int | None = None,
    name: str = "series",
) -> Model:
    """A short convolution, recurrent layers in both directions, the mean and the maximum over time, a linear layer.

    Args:
        features, outputs: of a step; of the answer.
        cell, units, depth: of the recurrent layers; `bidirectional`: whether there is one for each direction.
        dropout: rate after each of these.
        filters, kernel, stride: of the convolution; 0 filters: there is none. A stride above 1 shortens long series.
        each_step: an answer for each step, `(batch, time, outputs)`, not one for each series, `(batch, outputs)`.
        vocabulary: steps are ids, of which there are so many; they are embedded in `features` numbers.
    """
    inputs = layers.Input((None,), dtype="int64") if vocabulary else layers.Input((None, features))
    x: Any = layers.Embedding(vocabulary, features)(inputs) if vocabulary else inputs
    if filters:
        step = 1 if each_step else stride
        x = layers.Conv1D(filters, kernel, strides=step, padding="same", activation="relu")(x)
        x = layers.Dropout(dropout)(x)
    for _ in range(depth):
        layer = CELLS[cell](units, return_sequences=True)
        x = layers.Bidirectional(layer)(x) if bidirectional else layer(x)
        x = layers.Dropout(dropout)(x)
    if not each_step:
        x = layers.Concatenate()([layers.GlobalAveragePooling1D()(x), layers.GlobalMaxPooling1D()(x)])
    model: Model = Model(inputs, layers.Dense(outputs)(x), name=name)
    return model
