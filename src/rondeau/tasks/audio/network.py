"""Networks that hear: frames of features, convolutions, a recurrent network in both directions."""

from __future__ import annotations

from rondeau import layers
from rondeau.models import Model

_RECURRENT = {"lstm": layers.LSTM, "gru": layers.GRU, "simple_rnn": layers.SimpleRNN}


def audio_network(
    width: int,
    outputs: int,
    cell: str = "gru",
    units: int = 64,
    depth: int = 1,
    filters: int = 64,
    kernel: int = 5,
    stride: int = 2,
    dropout: float = 0.3,
    each_frame: bool = False,
    name: str = "audio",
) -> Model:
    """Frames `(batch, time, width)` -> logits `(batch, outputs)`, or `(batch, time, outputs)`; an untrained model.

    Two convolutions over time, each followed by layer normalisation, recurrent layers in both directions, and for one
    answer the mean and the maximum over time.

    Args:
        width: numbers of a frame; outputs: classes.
        cell, units, depth: of the recurrent layers, in each direction.
        filters, kernel: of the convolutions; stride: of the first one: a half of the frames where it is 2.
        dropout: rate after each.
        each_frame: an answer for each frame; then no convolution skips any.
    """
    inputs = x = layers.Input((None, width), name="frames")
    for number in range(2 if filters else 0):
        step = stride if number == 0 and not each_frame else 1
        x = layers.Conv1D(filters, kernel, strides=step, padding="same", activation="relu")(x)
        x = layers.LayerNormalization()(x)
        x = layers.Dropout(dropout)(x)
    for _ in range(depth):
        x = layers.Bidirectional(_RECURRENT[cell](units, return_sequences=True))(x)
        x = layers.Dropout(dropout)(x)
    if not each_frame:
        x = layers.Concatenate()([layers.GlobalAveragePooling1D()(x), layers.GlobalMaxPooling1D()(x)])
        x = layers.Dropout(dropout)(x)
    model: Model = Model(inputs, layers.Dense(outputs, name="classes")(x), name=name)
    return model
