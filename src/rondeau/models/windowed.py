"""What a model makes of rows that it reads window by window."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from rondeau.layers.graph import map_leaves
from rondeau.models.network import Network
from rondeau.sequence import Ragged
from rondeau.training.steps import joined_in_time
from rondeau.training.trainer import in_mode


def predicted(model: Network, windows: Iterator[tuple[bool, Any]]) -> Iterator[Any]:
    """What a model makes of rows that come in windows: their outputs, batch of rows after batch of rows, on the CPU.

    `windows`: whether a window begins new rows, and its x. Masked steps repeat the last real value, or are zero before
    the first, over the whole of a row.
    """
    parts: list[list[Any]] = []  # of each window the leaves of its outputs
    form: Any = None
    with in_mode(model, training=False), torch.no_grad():
        for begins, x in windows:
            if begins and parts:
                yield _together(form, parts)
                parts = []
            if begins:
                model.reset_states()
            form = Network.run_layer(model, x)
            parts.append([leaf.to("cpu") for leaf in leaves_of(form)])
        if parts:
            yield _together(form, parts)


def _together(form: Any, parts: list[list[Any]]) -> Any:
    """The leaves of all windows, one after the other in time, in the form of one window's outputs."""
    leaves = iter([joined_in_time(list(column)) for column in zip(*parts, strict=True)])

    def fill(leaf: Any) -> Any:
        if not isinstance(leaf, (Tensor, Ragged)):
            return leaf
        whole = next(leaves)
        return whole.expand() if isinstance(whole, Ragged) and whole.mask is not None else whole

    return map_leaves(fill, form)


def leaves_of(outputs: Any) -> list[Any]:
    """The tensors and `Ragged` in a model's outputs, in order."""
    found: list[Any] = []
    map_leaves(lambda leaf: found.append(leaf) if isinstance(leaf, (Tensor, Ragged)) else None, outputs)
    return found
