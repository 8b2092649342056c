"""What tests of the drop-in share: loops, and nothing else, under everything but what says otherwise."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

import rondeau
from rondeau.recurrence.engine import use_engine


@pytest.fixture
def native() -> Iterator[None]:
    """Scans, however little there is to do, and only on compiled loops."""
    with use_engine("native"):
        yield


def twins(name: str, *args: Any, **options: Any) -> tuple[torch.nn.Module, torch.nn.Module]:
    """torch's module and ours, with the same weights."""
    theirs, ours = getattr(torch.nn, name)(*args, **options), getattr(rondeau.nn, name)(*args, **options)
    ours.load_state_dict(theirs.state_dict())
    return theirs, ours


def flat(result: Any) -> list[Tensor]:
    """All tensors of a module's result."""
    if isinstance(result, Tensor):
        return [result]
    parts = [result.data] if isinstance(result, PackedSequence) else [t for part in result for t in flat(part)]
    return parts


def everything(module: torch.nn.Module, call: Callable[[Any], Any], sources: list[Tensor]) -> list[Tensor]:
    """Outputs, states, and the gradients by the sources and all weights of a sum that weighs each number on its own."""
    torch.manual_seed(1)  # of the dropout
    results = flat(call(module))
    loss = sum((t * torch.linspace(-1, 1, t.numel(), dtype=t.dtype).view(t.shape)).sum() for t in results)
    return [*results, *torch.autograd.grad(loss, [*sources, *module.parameters()])]  # type: ignore[arg-type]
