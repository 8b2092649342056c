"""Does memory help? A network without any, trained on the same data, beside a recurrent one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rondeau import layers
from rondeau.errors import ArgumentError, DataError, NotCompiledError
from rondeau.insight.undisturbed import states_kept
from rondeau.models import Model, Sequential
from rondeau.training import optimizers
from rondeau.training.callbacks import EarlyStopping

ENOUGH = 0.02  # of its loss: what a model must gain for its memory to count; less is how a seed falls
EXAMPLES, BATCH, RATE = 4096, 32, 1e-2  # of the feed-forward network; it is small, and learns fast
NARROW, WIDE = 16, 256  # its units, at least and at most


@dataclass(frozen=True)
class Comparison:
    """A recurrent model beside a feed-forward network, by their losses on the same held-out rows.

    Attributes:
        steps: how many of the last steps the feed-forward network sees.
        model, feed_forward: losses.
        parameters: of the feed-forward network.
    """

    steps: int
    model: float
    feed_forward: float
    parameters: int

    @property
    def helps(self) -> bool:
        """Whether the recurrent model is better by 2 % or more."""
        return self.model < self.feed_forward * (1 - ENOUGH)


def memory_helps(
    model: Model,
    x: Any,
    y: Any,
    validation_data: tuple[Any, Any] | None = None,
    steps: int = 1,
    epochs: int = 20,
    seed: int = 0,
) -> Comparison:
    """Train a small feed-forward network on the last steps alone, and compare it with a recurrent model.

    It has one hidden layer and about as many weights as the model, the model's loss and its last layer's activation,
    and stops where it gets no better on the held-out rows. Torch's random numbers are afterwards as before.

    Args:
        model: trained, one input and one output; its weights stay as they are.
        x: `(rows, time, features)`, or ids `(rows, time)`; y: `(rows, ...)`, or a target a step `(rows, time, ...)`.
        validation_data: (x, y) that the model has not learnt from; default: the last fifth of x and y, which favours
            a model that has.
        steps: how many of the last steps it sees; for a target at each step those up to and with it.
        epochs: at most; seed: of its weights and order.

    Raises `NotCompiledError` for a model without a loss, `ArgumentError` for steps or epochs below one, `DataError` for
    arrays it cannot read.
    """
    if model.trainer is None:
        raise NotCompiledError(f"{type(model).__name__} is not compiled", fix="Call compile(optimizer, loss) first")
    for name, value in (("steps", steps), ("epochs", epochs)):
        if value < 1:
            raise ArgumentError(f"memory_helps: {name}", expected="1 or more", got=value)
    x, y = _tensor(x, "x"), _tensor(y, "y")
    if validation_data is None:
        part = max(1, len(x) // 5)
        held_x, held_y, x, y = x[-part:], y[-part:], x[:-part], y[:-part]
    else:
        held_x, held_y = _tensor(validation_data[0], "validation x"), _tensor(validation_data[1], "validation y")
    if not len(x):
        raise DataError("memory_helps: there are no rows to learn from", got=len(held_x))
    own, output = _own(model, held_x, held_y)
    if x.ndim > 2 and not x.is_floating_point():  # numbers, such as counts, and no ids
        x, held_x = x.to(torch.get_default_dtype()), held_x.to(torch.get_default_dtype())
    by_step = output.ndim > 2
    train, held_out = (_contexts(a, b, steps, by_step) for a, b in ((x, y), (held_x, held_y)))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = _network(model, train[0], output.shape[-1], int(max(x.max(), held_x.max())) + 1)
        loss = model.trainer.objective.given[0]
        network.compile(optimizers.Adam(RATE), loss, device=model.trainer.device)
        best = EarlyStopping(monitor="val_loss", patience=3, restore_best_weights=True)
        network.fit(*train, batch_size=BATCH, epochs=epochs, validation_data=held_out, callbacks=[best], verbose=0)
        found = network.evaluate(*held_out, verbose=0, return_dict=True)["loss"]
    return Comparison(steps, own, float(found), network.count_params())


def _own(model: Model, x: Tensor, y: Tensor) -> tuple[float, Any]:
    """The model's own loss, and what it gives for one row; `stateful` layers begin anew for either."""
    with states_kept(model):
        model.reset_states()
        loss = model.evaluate(x, y, len(x), 0, return_dict=True)["loss"]
        model.reset_states()
        return float(loss), model.predict(x[:1])


def _tensor(data: Any, name: str) -> Tensor:
    if not isinstance(data, (Tensor, np.ndarray)):
        fix = "Give rows of one length"
        raise DataError(f"memory_helps: {name}", expected="an array or a tensor", got=type(data).__name__, fix=fix)
    tensor = torch.as_tensor(data)
    return tensor.to(torch.get_default_dtype()) if tensor.is_floating_point() else tensor


def _contexts(x: Tensor, y: Tensor, steps: int, by_step: bool) -> tuple[Tensor, Tensor]:
    """The last `steps` steps before each answer, zeros where there are none, and the answers."""
    before = x.new_zeros(len(x), steps - 1, *x.shape[2:])
    x = torch.cat([before, x], dim=1)
    if not by_step:
        return x[:, -steps:], y
    found = x.unfold(1, steps, 1).movedim(-1, 2).flatten(0, 1)
    answers = y.flatten(0, 1)
    chosen = torch.linspace(0, len(found) - 1, min(EXAMPLES, len(found))).round().long()
    return found[chosen], answers[chosen]


def _network(model: Model, x: Tensor, outputs: int, ids: int) -> Sequential:
    features = x.shape[1:].numel()
    units = round(sum(p.numel() for p in model.parameters()) / (features + 1 + outputs))
    activation = getattr(model.layers[-1], "activation", None) if model.layers else None
    first: list[Any] = [layers.Flatten()]
    if not x.is_floating_point():
        first = [layers.Input((x.shape[1],), dtype="int64"), layers.Embedding(ids, NARROW), *first]
    hidden = layers.Dense(min(max(units, NARROW), WIDE), activation="relu")
    return Sequential([*first, hidden, layers.Dense(outputs, activation=activation)])
