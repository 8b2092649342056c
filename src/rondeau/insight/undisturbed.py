"""Running a model to look into it, so that nothing of it is afterwards other than it was."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from rondeau.layers.carried import nothing_carried
from rondeau.layers.recurrent import RNN
from rondeau.training.checkpoint import load_random_state, random_state
from rondeau.training.trainer import in_mode


@contextmanager
def undisturbed(model: Any) -> Iterator[None]:
    """Inside `with`, the model is in `eval` mode and its `stateful` layers begin anew at each `begin_anew`.

    Afterwards modes, states and random numbers are what they were. Of a function that is no module only torch's random
    numbers are kept.
    """
    module = model if isinstance(model, torch.nn.Module) else torch.nn.Module()
    drawn = random_state(module, device_of(module))
    try:
        # cuDNN gives no gradients for a recurrent module in `eval` mode
        cudnn = torch.backends.cudnn.flags(enabled=False)
        with in_mode(module, training=False), states_kept(module), nothing_carried(), cudnn:
            yield
    finally:
        load_random_state(module, drawn)


@contextmanager
def states_kept(module: torch.nn.Module) -> Iterator[None]:
    """Afterwards the `stateful` layers anywhere in a module carry what they carried before."""
    kept = [(layer, layer.state) for layer in module.modules() if isinstance(layer, RNN)]
    try:
        yield
    finally:
        for layer, state in kept:
            layer.state = state


def begin_anew(model: Any) -> None:
    """Inside `undisturbed`: let `stateful` layers forget what they have seen."""
    for layer in model.modules() if isinstance(model, torch.nn.Module) else ():
        if isinstance(layer, RNN):
            layer.reset_states()


def device_of(model: Any) -> torch.device:
    """Where a module's first weight is; the CPU where it has none."""
    weights = model.parameters() if isinstance(model, torch.nn.Module) else ()
    return next((weight.device for weight in weights), torch.device("cpu"))
