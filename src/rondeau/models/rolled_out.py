"""A model that goes on by itself: what it says of one step becomes its input at the next."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from rondeau.layers.graph import map_leaves
from rondeau.models.model import Model
from rondeau.training.trainer import in_mode


@torch.no_grad()
def roll_out(
    model: Model,
    past: Any,
    steps: int,
    ask: Callable[[int], Any],
    take: Callable[[int, Any], None],
    copies: int = 1,
) -> None:
    """Read the past, then step by step what is made of the answers.

    Args:
        model: whose recurrent layers carry all that it remembers, and which gives an output at every step.
        past: its inputs for the steps that are known, `(rows, time, ...)` each.
        steps: how many to go on.
        ask: gives the inputs of step 0, 1, ..., `(rows * copies, 1, ...)` each; the copies of a row follow each other.
        take: is given the step's number and the outputs `(rows * copies, 1, ...)`, before the next step is asked for.
        copies: how often each row goes on, each time as its own (a sample path).

    The model's mode and its own states stay as they are.

    >>> from rondeau import Sequential, layers
    >>> model = Sequential([layers.Input((None, 1)), layers.GRU(4, return_sequences=True), layers.Dense(1)])
    >>> path = [torch.zeros(2, 1, 1)]
    >>> roll_out(model, torch.ones(2, 5, 1), 3, lambda step: path[-1], lambda step, output: path.append(output))
    >>> len(path), path[-1].shape
    (4, torch.Size([2, 1, 1]))
    """
    placed = next(model.parameters())

    def ready(leaf: Any) -> Any:
        return leaf.to(placed.device, placed.dtype if leaf.is_floating_point() else None)

    kept = model.states()
    model.reset_states()
    try:
        with in_mode(model, training=False):
            _, state = model(map_leaves(ready, past), return_state=True)
            state = state.select(torch.arange(state.rows).repeat_interleave(copies))
            for step in range(steps):
                outputs, state = model(map_leaves(ready, ask(step)), initial_state=state, return_state=True)
                take(step, outputs)
    finally:
        model.reset_states()
        model.load_states(kept)
