"""A language model: embedding, stateful recurrent layers, a distribution over the next token; and text from it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch

from rondeau import layers
from rondeau.errors import ArgumentError
from rondeau.heads.sampled_softmax import SampledSoftmax
from rondeau.heads.sampling import sample
from rondeau.init import RandomNormal, by_name
from rondeau.models.sequential import Sequential

CELLS: dict[str, Any] = {"lstm": layers.LSTM, "gru": layers.GRU, "simple_rnn": layers.SimpleRNN}


def language_model(
    tokens: int,
    cell: str = "lstm",
    units: int = 256,
    depth: int = 1,
    embedding: int = 64,
    dropout: float = 0.0,
    sampled: int | None = None,
) -> Sequential:
    """Ids `(batch, time)` -> logits of the next token at every step `(batch, time, tokens)`.

    Args:
        tokens: size of the vocabulary.
        cell: 'lstm', 'gru' or 'simple_rnn'.
        units, depth: units of a recurrent layer, and how many of them.
        embedding: features of a token.
        dropout: rate before, between and after the recurrent layers (Zaremba et al. 2014, arXiv 1409.2329).
        sampled: for a large vocabulary of words, ids from the most frequent on: end in a `SampledSoftmax` that in
            training looks at so many drawn words (1024, say); then `compile(loss="sampled_softmax")`.

    The recurrent layers are `stateful`: windows of a text continue each other; `reset_states()` begins anew.
    """
    kind = by_name(cell, CELLS, "cell")
    model = Sequential(name="language_model")
    # unit variance, not Keras's +-0.05: so small an input leaves the first kernel without a signal for epochs
    model.add(layers.Embedding(tokens, embedding, embeddings_initializer=RandomNormal(stddev=1.0)))
    for _ in range(depth):
        if dropout:
            model.add(layers.Dropout(dropout))
        model.add(kind(units, return_sequences=True, stateful=True))
    if dropout:
        model.add(layers.Dropout(dropout))
    model.add(layers.Dense(tokens) if sampled is None else SampledSoftmax(tokens, sampled))
    return model


@torch.no_grad()
def generate(
    model: Sequential,
    prompt: Sequence[int],
    length: int,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    seed: int | None = None,
    forbidden: Sequence[int] = (),
) -> Iterator[int]:
    """Token ids after a prompt, one by one as they are drawn; the model reads each it has drawn.

    Args:
        model: made by `language_model`; its mode and states are as before once the generator is exhausted or closed.
        prompt: at least one id.
        length: ids to draw.
        temperature, top_k, top_p: see `heads.sampling.sample`.
        seed: of this draw; default: torch's global generator.
        forbidden: ids never drawn.

    Raises `ArgumentError` for an empty prompt or a negative length.
    """
    if len(prompt) == 0 or length < 0:
        got = f"{len(prompt)} ids, length {length}"
        raise ArgumentError("generate", expected="a prompt of one id or more, and a length of 0 or more", got=got)
    device = next(model.parameters()).device
    generator = None if seed is None else torch.Generator(device).manual_seed(seed)
    training, kept = model.training, model.states()
    model.eval()
    model.reset_states()
    try:
        ids = torch.as_tensor([list(prompt)], device=device)
        for _ in range(length):
            logits = model(ids)[:, -1]
            if forbidden:
                logits[:, list(forbidden)] = -torch.inf
            drawn = sample(logits, temperature, top_k, top_p, generator)
            yield int(drawn)
            ids = drawn[:, None]
    finally:
        model.reset_states()
        model.load_states(kept)
        model.train(training)
