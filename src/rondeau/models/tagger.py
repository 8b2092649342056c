"""A tagger: words and their characters in, a score for each tag at every word out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from rondeau import layers
from rondeau.errors import ArgumentError, ShapeError
from rondeau.heads.crf import CRF
from rondeau.init import RandomNormal, by_name
from rondeau.models.model import Model
from rondeau.models.sequential import Sequential

CELLS: dict[str, Any] = {"lstm": layers.LSTM, "gru": layers.GRU, "simple_rnn": layers.SimpleRNN}
SPELLINGS = ("rnn", "cnn", "none")


def tagger(
    words: int,
    characters: int,
    tags: int,
    *,
    width: int = 20,
    cell: str = "lstm",
    units: int = 128,
    depth: int = 1,
    embedding: int = 100,
    spelling: str = "rnn",
    spelling_units: int = 48,
    dropout: float = 0.0,
    word_dropout: float = 0.0,
    crf: bool = False,
    forbidden: Sequence[Sequence[int | None]] = (),
    vectors: Any = None,
) -> Any:
    """Words as ids and as characters -> logits of the tags `(batch, time, tags)`, or with `crf` a `CRF`'s chain.

    Args:
        words, characters, tags: how many there are of each; id 0 is padding, and word 1 the unknown one.
        width: characters of a word.
        cell: 'lstm', 'gru' or 'simple_rnn', read both ways; units: in each direction; depth: how many such layers.
        embedding: features of a word.
        spelling: how a word's characters are read: 'rnn' (both ways), 'cnn' (width 3, the maximum), or 'none';
            spelling_units: in each direction, or filters.
        dropout: rate before, between and after the recurrent layers; word_dropout: of words that become unknown.
        crf: end in a conditional random field, without the `forbidden` pairs of tags.
        vectors: an array `(words, features)` that the embedding begins with, and takes its features from.

    Called with `{"words": (batch, time), "characters": (batch, time, width)}`. After Lample et al. 2016 (arXiv
    1603.01360), and for 'cnn' Ma & Hovy 2016 (arXiv 1603.01354). Raises `ArgumentError` and `ShapeError`.
    """
    kind = by_name(cell, CELLS, "cell")
    if spelling not in SPELLINGS:
        raise ArgumentError("spelling", expected=" or ".join(map(repr, SPELLINGS)), got=repr(spelling))
    given = layers.Input((None,), dtype="int64", name="words")
    inputs = {"words": given, "characters": layers.Input((None, width), dtype="int64", name="characters")}
    x: Any = given if not word_dropout else layers.TokenDropout(word_dropout)(given)
    if vectors is not None:
        if len(vectors) != words:
            raise ShapeError("vectors", expected=f"({words}, features)", got=tuple(vectors.shape))
        embedding = vectors.shape[1]
    drawn = RandomNormal(stddev=0.3)
    table = layers.Embedding(words, embedding, embeddings_initializer=drawn, name="word_embedding")
    x = table(x)
    if vectors is not None:
        with torch.no_grad():
            table.embeddings.copy_(torch.as_tensor(vectors))
    if spelling != "none":
        x = layers.Concatenate()([x, _speller(characters, spelling, spelling_units)(inputs["characters"])])
    else:
        del inputs["characters"]
    for _ in range(depth):
        if dropout:
            x = layers.Dropout(dropout)(x)
        x = layers.Bidirectional(kind(units, return_sequences=True))(x)
    if dropout:
        x = layers.Dropout(dropout)(x)
    x = layers.Dense(tags, name="scores")(x)
    if crf:
        x = CRF(forbidden=[list(pair) for pair in forbidden], name="crf")(x)
    return Model(inputs, x, name="tagger")


def _speller(characters: int, spelling: str, units: int) -> Any:
    """A word's features from its characters, each distinct word of a batch read once."""
    table = layers.Embedding(characters, 32, mask_zero=True, embeddings_initializer=RandomNormal(stddev=1.0))
    if spelling == "rnn":
        reading: list[Any] = [layers.Bidirectional(layers.LSTM(units))]
    else:
        reading = [layers.Conv1D(units, 3, padding="same"), layers.GlobalMaxPooling1D()]
    return layers.Distinct(Sequential([table, *reading]), name="spelling")


def parts_of(model: Any) -> tuple[Any, Any]:
    """A tagger in two, weights shared: what makes features of words, `(batch, time, features)`, and what reads them.

    The second is a function of numbers that can be moved: for `rondeau.insight.saliency`. Both are in `eval` mode.
    """
    first = next(i for i, node in enumerate(model.nodes) if isinstance(node.layer, layers.Bidirectional))
    features = model.nodes[first].args[0]
    begun = layers.Input((None, features.shape[-1]))
    y: Any = begun
    for node in model.nodes[first:]:
        y = node.layer(y)
    return Model(model._inputs, features, name="words").eval(), Model(begun, y, name="sentence").eval()
