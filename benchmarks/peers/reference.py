"""What every result is held to: the plain loop in float64."""

from __future__ import annotations

import torch

from benchmarks.cases import Problem
from benchmarks.peers.torch_loop import Loop


def make(problem: Problem) -> Loop:
    """See `Runner`."""
    return Loop(problem, torch.float64)
