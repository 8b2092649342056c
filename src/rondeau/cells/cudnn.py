"""The standard cells as cuDNN has them (Chetlur et al. 2014, arXiv 1410.0759), through torch's own functions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor

from rondeau import activations
from rondeau.cells.standard import StandardCell
from rondeau.cells.vendor import VendorKernel

KNOWN: dict[str, tuple[Callable[..., Tensor], ...]] = {
    "tanh": (activations.tanh, torch.tanh),
    "relu": (activations.relu, torch.relu, torch.nn.functional.relu),
    "sigmoid": (activations.sigmoid, torch.sigmoid),
}


def formula(cell: type[StandardCell]) -> dict[str, Any]:
    """The functions that make a cell's step, as they are now."""
    return {name: getattr(cell, name, None) for name in ("step", "drop_inputs", "drop_recurrent", "_reset_after")}


def differs(cell: StandardCell, known: dict[str, Any], **activations: str) -> str | None:
    """Why the cell's step is not what cuDNN knows; None if it is.

    known: the `formula` that cuDNN has; activations: for each attribute that holds one, which cuDNN has there.
    """
    for name, function in known.items():
        if name in vars(cell) or getattr(type(cell), name, None) is not function:
            return f"its {name} is not that of the formula cuDNN has"
    for attribute, activation in activations.items():
        if getattr(cell, attribute) not in KNOWN[activation]:
            return f"its {attribute} is not {activation}"
    if cell.training and (cell.dropout or cell.recurrent_dropout):
        return "it drops out within the loop, in training"
    if cell.kernel.dtype not in torch.backends.cudnn.CUDNN_TENSOR_DTYPES:
        return f"torch.backends.cudnn takes no {cell.kernel.dtype}"
    return None


def kernel(
    function: Callable[..., Any], kernel: Tensor, recurrent_kernel: Tensor, bias: Tensor | None, more: Tensor | None
) -> VendorKernel:
    """One of torch's functions on weights like the cell's `(features, gates)`, with the gates in torch's order.

    bias: of the inputs' product; more: of the recurrent product; zeros where there is none.
    """
    none = kernel.new_zeros(kernel.shape[1])
    parts = [kernel.T, recurrent_kernel.T, none if bias is None else bias, none if more is None else more]
    # one piece of memory, in this order: cuDNN takes it as it is, and copies what lies otherwise at every call
    flat = torch.split(torch.cat([part.reshape(-1) for part in parts]), [part.numel() for part in parts])
    weights = tuple(piece.view(part.shape) for piece, part in zip(flat, parts, strict=True))

    def run(
        values: Tensor, batch_sizes: Tensor, states: Sequence[Tensor], weights: Sequence[Tensor], twice: bool
    ) -> tuple[Tensor, Sequence[Tensor]]:
        hx = [state[None] for state in states]
        training = torch.is_grad_enabled()  # cuDNN keeps what a backward pass needs; here that is no matter of dropout
        # cuDNN has no derivative of its backward pass; without it torch's function is made of operations that do
        with torch.backends.cudnn.flags(enabled=False) if twice else nullcontext():
            state = hx if len(hx) > 1 else hx[0]
            output, *final = function(values, batch_sizes, state, list(weights), True, 1, 0.0, training, False)
        return output, [state[0] for state in final]

    return VendorKernel(f"cuDNN, through torch.{function.__name__}", weights, run, missing)


def missing(tensor: Tensor) -> str | None:
    """Why cuDNN, as torch has it here and now, does not take such a tensor; None if it does."""
    if tensor.device.type != "cuda" or torch.version.hip is not None:
        return "cuDNN is for NVIDIA's devices"
    if not torch.backends.cudnn.enabled:
        return "torch.backends.cudnn.enabled is false"
    if not torch.backends.cudnn.is_acceptable(tensor):  # type: ignore[no-untyped-call]
        return f"torch.backends.cudnn takes no {tensor.dtype} on {tensor.device}"
    return None
