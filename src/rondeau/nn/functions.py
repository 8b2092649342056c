"""`torch.lstm`, `torch.gru`, `torch.rnn_tanh` and `torch.rnn_relu`, as torch.nn's modules call them, on scans."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from rondeau.nn.choice import elsewhere, log
from rondeau.nn.stack import FullOrder, PackedOrder, Stack
from rondeau.sequence import Ragged

_MODES = {torch.lstm: "LSTM", torch.gru: "GRU", torch.rnn_tanh: "RNN_TANH", torch.rnn_relu: "RNN_RELU"}


class OnScans(TorchFunctionMode):
    """Within this mode those four functions run on scans, if those take what they are given.

    Everything around them stays torch's: checks, defaults, the forms of inputs and states. What scans do not take
    (`choice` says what), or what does not fit, goes to torch's function, which computes it, or says what is wrong.
    """

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        mode = _MODES.get(func)
        if mode is None or kwargs or len(args) != 9:
            return func(*args, **(kwargs or {}))
        # indices are made on the CPU, wherever the user has his tensors made
        with nullcontext() if torch.get_default_device().type == "cpu" else torch.device("cpu"):
            results = _packed(mode, *args) if isinstance(args[3], (list, tuple)) else _padded(mode, *args)
        return func(*args) if results is None else results


def _states(mode: str, hx: Any) -> list[Tensor] | None:
    """The initial states, h alone or h and c, if they are as many as there should be."""
    if mode != "LSTM":
        return [hx] if isinstance(hx, Tensor) else None
    return list(hx) if isinstance(hx, (tuple, list)) and len(hx) == 2 else None


def _not_here(mode: str, tensors: Sequence[Tensor]) -> bool:
    why = elsewhere(tensors)
    if why is not None:
        log(mode.partition("_")[0], why)
    return why is not None


def _padded(
    mode: str,
    x: Tensor,
    hx: Any,
    flat: Sequence[Tensor],
    bias: bool,
    layers: int,
    dropout: float,
    training: bool,
    bidirectional: bool,
    batch_first: bool,
) -> tuple[Tensor, ...] | None:
    states = _states(mode, hx)
    if states is None or _not_here(mode, [x, *states, *flat]):
        return None
    stack = Stack.of(mode, flat, bias, layers, 1 + bidirectional, dropout if training else 0.0)
    rows = x if batch_first else x.transpose(0, 1)
    batch, time, features = rows.shape
    if not batch or not time or not stack.fits(features, batch, states):
        return None
    steps, final = stack.run(Ragged.full(rows), states, FullOrder(batch, time))
    return (_as_torchs(steps.values, batch, time, batch_first, own=bidirectional), *final)


def _as_torchs(values: Tensor, batch: int, time: int, batch_first: bool, own: bool) -> Tensor:
    """Outputs as torch gives them: step after step in memory unless `batch_first`, no view, and free to be written to.

    own: whether `values` are new; else they are a scan's own, of which its gradient is made.
    """
    if batch_first and (own or not values.requires_grad):
        # the values belong to nobody else
        return torch.ops.aten._unsafe_view.default(values, (batch, time, values.shape[1]))  # type: ignore[no-any-return]
    rows = values.view(batch, time, -1)
    return (rows if batch_first else rows.transpose(0, 1)).clone(memory_format=torch.contiguous_format)


def _packed(
    mode: str,
    data: Tensor,
    batch_sizes: Tensor,
    hx: Any,
    flat: Sequence[Tensor],
    bias: bool,
    layers: int,
    dropout: float,
    training: bool,
    bidirectional: bool,
) -> tuple[Tensor, ...] | None:
    states = _states(mode, hx)
    if states is None or _not_here(mode, [data, *states, *flat]):
        return None
    stack = Stack.of(mode, flat, bias, layers, 1 + bidirectional, dropout if training else 0.0)
    if data.ndim != 2 or not len(data) or not _falls(batch_sizes, len(data)):
        return None
    if not stack.fits(data.shape[1], int(batch_sizes[0]), states):
        return None
    order = PackedOrder(batch_sizes)
    steps, final = stack.run(Ragged(order.to_rows(data), order.lengths), states, order)
    return (order.from_rows(steps.values), *final)


def _falls(batch_sizes: Tensor, steps: int) -> bool:
    """Whether a PackedSequence was made by torch, not by hand, and so by mistake."""
    if batch_sizes.device.type != "cpu" or batch_sizes.ndim != 1 or batch_sizes.dtype != torch.int64:
        return False
    return bool((batch_sizes[1:] <= batch_sizes[:-1]).all() and batch_sizes[-1] > 0 and batch_sizes.sum() == steps)
