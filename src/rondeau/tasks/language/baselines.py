"""What a language model without memory of its own can do: counts, and a feed-forward network over the last tokens."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from rondeau import layers
from rondeau.data.texts.windows import Contexts
from rondeau.init import RandomNormal
from rondeau.models import Sequential
from rondeau.tasks.language.ngram import InterpolatedNgram, Unigram
from rondeau.tasks.speed import Speed
from rondeau.training import optimizers
from rondeau.training.callbacks import Callback, EarlyStopping
from rondeau.training.losses import SparseCategoricalCrossentropy
from rondeau.training.optimizers import schedules

Ids = np.ndarray[Any, Any]
Bits = NDArray[np.float64]
CONTEXT, EMBEDDING = 16, 24
DROPOUT, BATCH, RATE = 0.5, 512, 4e-3  # by validation on the default corpus, not the recurrent model's


def count_bits(model: Unigram | InterpolatedNgram, ids: Ids) -> Bits:
    """Bits to predict each token but the first, given all before it: `(tokens - 1,)`."""
    return -np.log2(model.probabilities(ids)[1:])


def feed_forward(tokens: int, parameters: int) -> Sequential:
    """A network over the last 16 tokens with about `parameters` weights.

    Embeddings, begun as in the recurrent model, stand side by side below one hidden layer with dropout.
    """
    wide = CONTEXT * EMBEDDING
    units = max(1, round((parameters - tokens * EMBEDDING - tokens) / (wide + 1 + tokens)))
    return Sequential(
        [
            layers.Input((CONTEXT,), dtype="int64"),
            layers.Embedding(
                tokens, EMBEDDING, embeddings_initializer=RandomNormal(stddev=1.0)
            ),  # as the recurrent one
            layers.Flatten(),
            layers.Dense(units, activation="relu"),
            layers.Dropout(DROPOUT),
            layers.Dense(tokens),
        ],
        name="feed_forward",
    )


def feed_forward_bits(
    train: Ids,
    validation: Ids,
    test: Ids,
    tokens: int,
    parameters: int,
    epochs: int,
    seed: int,
    device: str,
    view: Callable[[int, Speed], list[Callback]],
) -> tuple[int, Bits]:
    """Weights of the network, and its bits for each token of `test` but the first.

    It is trained for `epochs`, or until `validation` gets no better. The learning rate falls to nearly zero along a
    cosine, as the recurrent model's does.
    `view` gives the callbacks that show the training, from the number of tokens in a batch and the measured speed.
    """
    torch.manual_seed(seed)
    model = feed_forward(tokens, parameters)
    text = Contexts(train, CONTEXT, BATCH)
    rate = schedules.CosineDecay(RATE, len(text) * epochs, alpha=0.02)
    loss = SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizers.Adam(rate), loss, device=device)
    best = EarlyStopping(monitor="val_loss", patience=1, restore_best_weights=True)
    held_out = Contexts(validation, CONTEXT, 1024, shuffle=False)
    speed = Speed(lambda batches: min(batches * BATCH, len(train) - 1))
    model.fit(
        text,
        epochs=epochs,
        validation_data=held_out,
        verbose=0,
        callbacks=[best, speed, *view(BATCH, speed)],
    )
    batches = Contexts(test, CONTEXT, 1024, shuffle=False).batches(0, 0, 0)
    found = [token_bits(torch.as_tensor(model.predict_on_batch(batch.x)), batch.y) for batch in batches]
    return model.count_params(), np.concatenate(found)


def token_bits(logits: Tensor, ids: Tensor) -> Bits:
    """Bits of tokens `(tokens,)` by the logits `(tokens, vocabulary)` that were given for them."""
    nats = F.cross_entropy(logits.float(), ids.long(), reduction="none")
    bits: Bits = nats.double().cpu().numpy() / math.log(2)
    return bits
