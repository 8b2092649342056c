"""A text's classes from its ids: vectors, a recurrent network in both directions, a summary over the text."""

from __future__ import annotations

from typing import Any

from rondeau import layers
from rondeau.init import RandomNormal
from rondeau.models import Model

POOLINGS = ("max", "mean", "max_mean", "attention", "last")
_RECURRENT = {"lstm": layers.LSTM, "gru": layers.GRU, "simple_rnn": layers.SimpleRNN}
_SPREAD = 0.1  # of the vectors at the start


def text_classifier(
    ids: int,
    classes: int,
    cell: str = "lstm",
    units: int = 128,
    depth: int = 1,
    embedding: int = 100,
    pooling: str = "max",
    dropout: float = 0.3,
    word_dropout: float = 0.0,
    train_vectors: bool = True,
) -> Any:
    """Ids `(batch, time)` -> logits `(batch, classes)`; an untrained model.

    Args:
        ids: of the vocabulary; embedding: features of their vectors; train_vectors: whether these are learnt.
        cell: 'lstm', 'gru' or 'simple_rnn'; units: in each direction; depth: layers on top of each other.
        pooling: what stands for the text: the largest value of each feature ('max'), their mean ('mean'), both
            ('max_mean'), a mean weighted by additive attention whose query is made from the mean ('attention'), or the
            last states of both directions ('last').
        dropout: share zeroed of the vectors' numbers, between layers, and of the summary.
        word_dropout: share of the words whose vectors are zeroed as a whole.
    """
    read = layers.Input((None,), dtype="int64", name="ids")
    start = RandomNormal(stddev=_SPREAD)
    x = layers.Embedding(ids, embedding, start, name="vectors", trainable=train_vectors)(read)
    if word_dropout:
        x = layers.Dropout(word_dropout, noise_shape=(None, None, 1), name="word_dropout")(x)
    if dropout:
        x = layers.Dropout(dropout)(x)
    for level in range(depth):
        whole = level < depth - 1 or pooling != "last"
        x = layers.Bidirectional(_RECURRENT[cell](units, return_sequences=whole))(x)
        if dropout and level < depth - 1:
            x = layers.Dropout(dropout)(x)
    x = _pooled(x, pooling, units)
    if dropout:
        x = layers.Dropout(dropout)(x)
    return Model(read, layers.Dense(classes, name="classes")(x), name="text_classifier")


def _pooled(x: Any, pooling: str, units: int) -> Any:
    if pooling == "last":
        return x
    if pooling == "max":
        return layers.GlobalMaxPooling1D()(x)
    if pooling == "mean":
        return layers.GlobalAveragePooling1D()(x)
    if pooling == "max_mean":
        return layers.Concatenate()([layers.GlobalMaxPooling1D()(x), layers.GlobalAveragePooling1D()(x)])
    mean = layers.GlobalAveragePooling1D(keepdims=True)(x)
    query, key = layers.Dense(units, name="query")(mean), layers.Dense(units, name="key")(x)
    return layers.GlobalAveragePooling1D()(layers.AdditiveAttention(name="attention")([query, x, key]))
