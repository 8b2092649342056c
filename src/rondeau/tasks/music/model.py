"""The network that reads music, and music drawn from it."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from rondeau import layers
from rondeau.errors import ArgumentError
from rondeau.heads.masked import MaskedAutoregression, draw_group
from rondeau.init import by_name
from rondeau.models.language_model import CELLS
from rondeau.models.model import Model


def network(size: int, cell: str, units: int, depth: int, dropout: float, chained: int, group: int = 1) -> Any:
    """What sounds at a step -> logits of what sounds at the next, `(batch, time, size)`.

    Args:
        size: numbers a step; group: those that are one choice.
        chained: hidden units of the head by which notes of one step depend on each other, which the model is then
            given too: `[steps, next steps]`; 0: they are independent, given what was before.
    """
    kind = by_name(cell, CELLS, "cell")
    x = layers.Input((None, size), name="steps")
    h: Any = x
    for _ in range(depth):
        h = kind(units, return_sequences=True)(h)
        if dropout:
            h = layers.Dropout(dropout)(h)
    body: Any = Model(x, h, name="body")
    steps = layers.Input((None, size), name="before")
    features = body(steps)
    if not chained:
        return Model(steps, layers.Dense(size, name="head")(features), name="music")
    now = layers.Input((None, size), name="now")
    return Model([steps, now], MaskedAutoregression(chained, group, name="head")([features, now]), name="music")


@torch.no_grad()
def compose(
    model: Any,
    primer: NDArray[np.float32],
    length: int,
    group: int = 1,
    temperature: float = 1.0,
    seed: int | None = None,
    rows: int = 1,
) -> NDArray[np.float32]:
    """Steps drawn after a primer, `(steps, size)` -> `(rows, length, size)`, each step read before the next is drawn.

    Args:
        temperature: logits are divided by it: below 1 more careful, above 1 wilder; 0: always the likeliest.
        seed: of this draw; None: torch's global generator.

    Raises `ArgumentError` for a primer without steps, a negative length or temperature.
    """
    if len(primer) < 1 or length < 0 or temperature < 0:
        got = f"a primer of {len(primer)} steps, length {length}, temperature {temperature}"
        raise ArgumentError("compose", expected="a step or more; a length and a temperature of 0 or more", got=got)
    device = next(model.parameters()).device
    generator = None if seed is None else torch.Generator(device).manual_seed(seed)
    body, head = model.get_layer("body").eval(), model.get_layer("head").eval()
    x = torch.as_tensor(primer, device=device).expand(rows, *primer.shape)
    state: Any = None
    drawn = []
    for _ in range(length):
        features, state = body(x, initial_state=state, return_state=True)
        x = _draw(head, features[:, -1], group, max(temperature, 1e-6), generator)[:, None]
        drawn.append(x)
    empty = x.new_zeros(rows, 0, primer.shape[1])
    return np.asarray(torch.cat(drawn, 1).cpu() if drawn else empty, np.float32)


def _draw(head: Any, features: Any, group: int, temperature: float, generator: Any) -> Any:
    if isinstance(head, MaskedAutoregression):
        return head.sample(features, temperature, generator)
    logits = head(features) / temperature
    if group == 1:
        return torch.bernoulli(torch.sigmoid(logits), generator=generator)
    return torch.cat([draw_group(part, generator) for part in logits.split(group, dim=1)], 1)
