"""What a cell's `vendor` gives: its whole scan, as the library of a device's vendor runs it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor


class Run(Protocol):
    """A scan over packed rows.

    Args:
        values: the inputs of all steps, `(steps, features)`: first those of all rows' first steps, longest row first,
            then of their second ones, and so on.
        batch_sizes: how many rows are alive at each step, never 0: int64 on the CPU.
        states: the tensors of the state before the first step, each `(rows, size)`, in the order of `state_size`.
        weights: the kernel's `weights`, or tensors like them.
        twice: whether the results must be twice differentiable; once will do otherwise.

    Returns the outputs, packed as the inputs, and the state after each row's last step, both differentiable by all
    the tensors that came.
    """

    def __call__(
        self, values: Tensor, batch_sizes: Tensor, states: Sequence[Tensor], weights: Sequence[Tensor], twice: bool
    ) -> tuple[Tensor, Sequence[Tensor]]: ...


@dataclass(frozen=True)
class VendorKernel:
    """A scan of one cell by a library.

    Attributes:
        name: what runs, as `rondeau.explain` says it: "cuDNN, through torch.lstm".
        weights: the tensors `run` needs besides inputs and states, made of the cell's parameters by operations that
            autograd sees.
        run: the scan, as `Run` says.
        missing: why the library cannot take tensors like this one, or None if it can.
    """

    name: str
    weights: tuple[Tensor, ...]
    run: Run
    missing: Callable[[Tensor], str | None]
