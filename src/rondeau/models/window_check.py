"""Whether a model can read a sequence window by window."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from rondeau.errors import ArgumentError
from rondeau.layers import (
    RNN,
    Conv1D,
    Layer,
    TimeDistributed,
)
from rondeau.models.functional import Functional
from rondeau.models.network import Network
from rondeau.models.whole import NEEDS_MORE
from rondeau.models.windowed import leaves_of
from rondeau.sequence import Ragged
from rondeau.training.batch import data_leaves, map_data, take
from rondeau.training.steps import cut_in_time, joined_in_time
from rondeau.training.trainer import in_mode

_WHOLE = "Leave window out, so that the model sees whole sequences; gradient=Recompute(every=...) saves memory"
_TRIED = 6  # steps
_ROWS = 2


def refused(name: str, why: str, fix: str = _WHOLE) -> ArgumentError:
    """The error for a layer that needs more than a window."""
    return ArgumentError(f"layer {name} cannot run in windows: {why}", fix=fix)


def check_windows(model: Network, x: Any) -> None:
    """Raise `ArgumentError`, naming the layer, where a model needs more of a sequence than a window at a time.

    Layers that are known to do so are found by their kind; any other by a trial: on a few steps of x, the model must
    give in windows what it gives on the whole.
    """
    for name, layer in _layers(model, ""):
        _check_kind(name, layer)
    _check_calls(model)
    x = map_data(_beginning, x)
    if all(_steps_in(leaf) > 0 for leaf in data_leaves(x)):
        _try(model, x)


def _layers(module: torch.nn.Module, path: str) -> Iterator[tuple[str, Layer]]:
    """The layers that see the model's own steps, by name."""
    for child in module.children():
        name = path
        if isinstance(child, Layer):
            name = f"{path}.{child.name}" if path else child.name
            yield name, child
        if not isinstance(child, (RNN, TimeDistributed, *NEEDS_MORE)):
            yield from _layers(child, name)


def _check_kind(name: str, layer: Layer) -> None:
    if isinstance(layer, Conv1D) and layer.span == layer.stride == 1:
        return
    for kind, why in NEEDS_MORE.items():
        if isinstance(layer, kind):
            raise refused(name, why)
    if isinstance(layer, RNN) and layer.go_backwards:
        raise refused(name, "it reads the sequence from its end (go_backwards)")
    if isinstance(layer, RNN) and not layer.return_sequences:
        fix = f"Use return_sequences=True and a target for each step. {_WHOLE.replace('Leave', 'Or leave')}"
        raise refused(name, "it gives one output for the whole sequence, and a window is not all of it", fix)


def _check_calls(model: Network) -> None:
    """What a functional model's graph shows: fixed lengths, a layer called twice, states and masks given by hand."""
    for inner in [model, *(m for m in model.modules() if m is not model)]:
        if not isinstance(inner, Functional):
            continue
        for tensor in inner.inputs:
            if len(tensor.shape) > 1 and tensor.shape[1] is not None and inner is model:
                name, shape = tensor.node.layer.name, tensor.shape[1:]
                fix = f"Leave its steps open: Input({(None, *shape[1:])})"
                raise ArgumentError(f"input {name} takes sequences of {shape[0]} steps, not windows", fix=fix)
        called: set[int] = set()
        for node in inner.nodes:
            layer = node.layer
            if not isinstance(layer, RNN):
                continue
            if id(layer) in called:
                fix = f"Make a layer for each call. {_WHOLE.replace('Leave', 'Or leave')}"
                raise refused(layer.name, "it is called twice, and carries one state", fix)
            called.add(id(layer))
            for given in ("initial_state", "mask"):
                if node.kwargs.get(given) is not None or len(node.args) > 1:
                    raise refused(layer.name, f"it is called with {given}, which stands for a whole sequence")


# A trial


def _beginning(leaf: Any) -> Any:
    """The first steps of the first rows."""
    return cut_in_time(take(leaf, torch.arange(min(_ROWS, len(leaf)))), 0, _TRIED)


def _steps_in(leaf: Any) -> int:
    return int(leaf.lengths.max()) if isinstance(leaf, Ragged) else leaf.shape[1]


def _part(x: Any, begin: int, end: int) -> Any:
    return map_data(lambda leaf: cut_in_time(leaf, begin, end), x)


def _try(model: Network, x: Any) -> None:
    steps = max(_steps_in(leaf) for leaf in data_leaves(x))
    places = sorted({0, min(_TRIED // 3, steps), steps})
    windows = [_part(x, *ends) for ends in pairwise(places)]
    layers = list(_direct(model, ""))
    states = model.states()
    try:
        with in_mode(model, training=False), torch.no_grad():
            with model.carrying(False):
                model.reset_states()
                (whole, inside) = _run(model, x, layers)
            with model.carrying(True):
                model.reset_states()
                parts = [_run(model, window, layers) for window in windows]
    finally:
        model.load_states(states)
    if _same(whole, [outputs for outputs, _ in parts]):
        return
    differing = (
        name
        for i, (name, outputs) in enumerate(inside)
        if not _same(outputs, [calls[i][1] for _, calls in parts if i < len(calls)])
    )
    raise refused(next(differing, model.name), "on the whole sequence it gives something else than on its windows")


def _direct(model: torch.nn.Module, path: str) -> Iterator[tuple[str, torch.nn.Module]]:
    """The layers that a network calls, those of a network inside it too."""
    for child in model.children():
        if isinstance(child, Layer) and not isinstance(child, Network):
            yield f"{path}{child.name}", child
        else:
            yield from _direct(child, f"{path}{child.name}." if isinstance(child, Network) else path)


def _run(model: Network, x: Any, layers: list[tuple[str, torch.nn.Module]]) -> tuple[Any, list[tuple[str, Any]]]:
    """The outputs, and those of every call of a layer inside, in order."""
    calls: list[tuple[str, Any]] = []
    hooks = [
        layer.register_forward_hook(lambda _m, _a, outputs, name=name: calls.append((name, outputs)))
        for name, layer in layers
    ]
    try:
        return Network.run_layer(model, x), calls
    finally:
        for hook in hooks:
            hook.remove()


def _same(whole: Any, parts: list[Any]) -> bool:
    wholes, columns = leaves_of(whole), [leaves_of(part) for part in parts]
    if any(len(column) != len(wholes) for column in columns):
        return False
    for i, leaf in enumerate(wholes):
        pieces = [column[i] for column in columns]
        if any(isinstance(piece, Tensor) and piece.ndim < 2 for piece in (leaf, *pieces)):
            return False
        if not _alike(*(one.expand() if isinstance(one, Ragged) else one for one in (leaf, joined_in_time(pieces)))):
            return False
    return True


def _alike(made: Tensor, expected: Tensor) -> bool:
    if made.shape != expected.shape or made.dtype != expected.dtype:
        return False
    made, expected = made.double(), expected.double()
    scale = float(expected.abs().nan_to_num().max()) if expected.numel() else 0.0
    return torch.allclose(made, expected, rtol=0, atol=1e-3 * scale, equal_nan=True)
