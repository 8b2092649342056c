"""The network that scores each event given all before it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from rondeau import layers
from rondeau.models import Model
from rondeau.tasks.events.pieces import NUMBERS, EventBatches, Pieces, ranges
from rondeau.tasks.events.preparation import EventPreparation

CELLS = {"lstm": layers.LSTM, "gru": layers.GRU, "simple_rnn": layers.SimpleRNN}


def event_model(preparation: EventPreparation, cell: str, units: int, depth: int, dropout: float) -> Model:
    """Embedded categories beside scaled numbers, recurrent layers that read forwards only, one score a step.

    A category of n words has min(32, 1 + 2 √n) embedding features. Output: log odds, `(batch, time, 1)`.
    """
    inputs: dict[str, Any] = {}
    parts = []
    for name, vocabulary in preparation.words.items():
        inputs[name] = layers.Input((None,), dtype="int64")
        width = min(32, 1 + round(2 * np.sqrt(vocabulary.size)))
        parts.append(layers.Embedding(vocabulary.size, width)(inputs[name]))
    inputs[NUMBERS] = layers.Input((None, preparation.features))
    parts.append(inputs[NUMBERS])
    x = layers.Concatenate()(parts) if len(parts) > 1 else parts[0]
    x = layers.Dense(units, activation="relu")(x)
    for _ in range(depth):
        x = layers.Dropout(dropout)(x)
        x = CELLS[cell](units, return_sequences=True)(x)
    model: Model = Model(inputs, layers.Dense(1)(layers.Dropout(dropout)(x)), name="events")
    return model


def event_scores(model: Any, preparation: EventPreparation, pieces: Pieces, size: int) -> NDArray[np.float64]:
    """The probability that each event whose answer counts is positive, in the order of `pieces.rows()`."""
    logits = model.predict(EventBatches(pieces, preparation, size, shuffle=False, targets=False))
    odds = np.concatenate([row[:, 0] for row in logits]).astype(np.float64)
    table = pieces.table
    lengths = table[:, 3] - table[:, 1]
    begins = np.append(0, lengths[:-1].cumsum()) + table[:, 2] - table[:, 1]
    counted = odds[ranges(begins, begins + table[:, 3] - table[:, 2])]
    return np.asarray(1 / (1 + np.exp(-np.clip(counted, -60, 60))))


def parts_of(model: Any) -> tuple[Any, Any]:
    """The network in two, weights shared: what makes features of events, `(batch, time, features)`; what reads them.

    The second is a function of numbers that can be moved: for `rondeau.insight.saliency`. Both are in `eval` mode.
    """
    first = next(i for i, node in enumerate(model.nodes) if isinstance(node.layer, layers.Dense))
    features = model.nodes[first].args[0]
    begun = layers.Input((None, features.shape[-1]))
    y: Any = begun
    for node in model.nodes[first:]:
        y = node.layer(y)
    return Model(model._inputs, features, name="features").eval(), Model(begun, y, name="scores").eval()
