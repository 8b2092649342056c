"""When a call runs on loops, and when torch's own function computes it: because it must, or because it is faster."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import torch
from torch.nn import Parameter
from torch.nn.utils.rnn import PackedSequence

from rondeau.recurrence.engine import in_force
from rondeau.recurrence.watch import watcher

_logger = logging.getLogger("rondeau.nn")
_said: set[tuple[str, str]] = set()
DTYPES = (torch.float32, torch.float64)
# Measured on x86-64 with AVX-512, one and two threads. A scan takes some 0.3 ms whatever it does, torch's loops 10 to
# 100 microseconds a step, and oneDNN's LSTM next to nothing, so that there ours only wins where there is much to do.
SHORT = 32  # steps
SMALL = 20_000_000  # steps of all rows times units squared, in training


def elsewhere(tensors: Sequence[Any]) -> str | None:
    """Why only torch's own function can compute these; None where a scan can."""
    for tensor in tensors:
        if type(tensor) not in (torch.Tensor, Parameter):
            return f"a {type(tensor).__name__} is no plain tensor"
        if tensor.layout != torch.strided:
            return "a sparse tensor"
        if tensor.device.type != "cpu":
            return f"the tensors are on {tensor.device}"
        if tensor.dtype not in DTYPES or tensor.dtype != tensors[0].dtype:
            return f"it computes in {tensor.dtype}"
    if torch.is_autocast_enabled("cpu"):
        return f"autocast computes in {torch.get_autocast_dtype('cpu')}"
    if torch._C._are_functorch_transforms_active():
        return "torch.func transforms torch's own operations"
    if torch.autograd.forward_ad._current_level >= 0:
        return "forward-mode differentiation transforms torch's own operations"
    if torch._C._len_torch_dispatch_stack() or torch._C._get_tracing_state() is not None:
        return "torch's own operations are being recorded"
    return None


def slower(module: torch.nn.RNNBase, input: Any) -> str | None:
    """Why torch's own function is the faster one for a call of `module`; None where a scan is.

    Under `use_engine`, and where scans are watched, they run whatever it takes.
    """
    if in_force() is not None or watcher() is not None:
        return None
    packed = isinstance(input, PackedSequence)
    if packed:
        steps, time, dtype = len(input.data), len(input.batch_sizes), input.data.dtype
    elif isinstance(input, torch.Tensor) and input.ndim in (2, 3):
        time = input.shape[1 if module.batch_first and input.ndim == 3 else 0]
        steps, dtype = input.numel() // max(input.shape[-1], 1), input.dtype
    else:
        return "torch says what is wrong with it"
    if module.mode == "LSTM" and not packed and not module.proj_size and dtype == torch.float32 and _onednn():
        if not torch.is_grad_enabled() or not any(w is not None and w.requires_grad for w in module._flat_weights):
            return "oneDNN's inference is as fast"
        return "oneDNN is faster where there is little to do" if steps * module.hidden_size**2 < SMALL else None
    return f"fewer than {SHORT} steps are over before a loop pays" if time < SHORT else None


def _onednn() -> bool:
    return bool(torch.backends.mkldnn.is_available() and torch.backends.mkldnn.enabled)  # type: ignore[no-untyped-call]


def log(kind: str, why: str) -> None:
    """Say, once for each kind of module and reason, that torch's own function is what runs."""
    key = kind, why
    if key not in _said:
        _said.add(key)
        _logger.info("torch's own function computes a rondeau.nn.%s: %s", *key)
