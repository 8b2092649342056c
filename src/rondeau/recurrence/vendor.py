"""A scan by the library of a device's vendor: where a cell offers it, on which rows, and its place in autograd."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from rondeau.cells import Cell, VendorKernel
from rondeau.cells.base import map_state, state_leaves
from rondeau.recurrence.keep import Record
from rondeau.recurrence.reference import inverse, schedule
from rondeau.sequence import Ragged

REFERENCE = "the reference loop"


def away(device: torch.device) -> bool:
    """Whether what is there is beyond compiled loops, which are for the CPU."""
    return device.type != "cpu"


def offered(cell: Cell, context: bool) -> VendorKernel | str:
    """The kernel of a built cell, or why it has none; `context`: whether its step is given some."""
    order = type(cell).__mro__
    newest = {name: next((i for i, c in enumerate(order) if name in vars(c)), -1) for name in ("step", "vendor")}
    if order[newest["vendor"]] is not Cell and ("step" in vars(cell) or newest["step"] < newest["vendor"]):
        return f"{type(cell).__name__} has a step of its own, and no vendor of its own beside it"
    kernel = cell.vendor()
    if context and not isinstance(kernel, str):
        return "its step is given context"
    return kernel


def choose(
    cell: Cell, inputs: Ragged, state: Any, context: dict[str, tuple[bool, Tensor]], record: Record | None
) -> VendorKernel | str:
    """The kernel that can run this very scan, or why there is none."""
    kernel = offered(cell, bool(context))
    if isinstance(kernel, str):
        return kernel
    if record is not None:
        return "what a scan keeps is seen between its steps"
    tensors = [inputs.values, *(t for _, t in state_leaves(state)), *kernel.weights]
    if inputs.values.ndim != 2 or not inputs.values.numel():
        return "there are no steps of numbers to make"
    if any(type(t) not in (Tensor, torch.nn.Parameter) for t in kernel.weights):
        return "its weights are no plain tensors"
    if len({t.device for t in tensors}) > 1:
        return "inputs, states and weights are on several devices"
    if len({t.dtype for t in tensors}) > 1 and not torch.is_autocast_enabled(inputs.device.type):
        return "inputs, states and weights are of several types"
    return kernel.missing(inputs.values) or kernel


def how(kernel: VendorKernel | str) -> str:
    """What runs a scan, in words."""
    return f"{REFERENCE}, because {kernel}" if isinstance(kernel, str) else kernel.name


def run(kernel: VendorKernel, inputs: Ragged, state: Any, reverse: bool) -> tuple[Ragged, Any]:
    """As `reference.run`. Rows without steps stay out of it, and keep their state."""
    order, alive, index = schedule(inputs.lengths)
    index = (inputs.reversal[index] if reverse else index).to(inputs.device)
    order = order.to(inputs.device)
    leaves = [t.index_select(0, order) for _, t in state_leaves(state)]
    call = Call(kernel, torch.tensor(alive), len(leaves))
    tensors = [inputs.values.index_select(0, index), *(t[: alive[0]] for t in leaves), *kernel.weights]
    if torch.is_grad_enabled() and any(t.requires_grad for t in tensors):
        output, *final = Scan.apply(call, *tensors)  # type: ignore[no-untyped-call]
    else:
        with torch.no_grad():
            output, *final = call.run(tensors)
    back = inverse(order)
    whole = iter([torch.cat([f, t[alive[0] :]]).index_select(0, back) for f, t in zip(final, leaves, strict=True)])
    return inputs.with_values(output.index_select(0, inverse(index))), map_state(lambda _: next(whole), state)


@dataclass
class Call:
    """One scan: its tensors are values, then `states` many states, then weights."""

    kernel: VendorKernel
    batch_sizes: Tensor
    states: int

    def run(self, tensors: Sequence[Tensor], twice: bool = False) -> list[Tensor]:
        """The outputs, and the final states."""
        values, states, weights = tensors[0], tensors[1 : 1 + self.states], tensors[1 + self.states :]
        output, final = self.kernel.run(values, self.batch_sizes, states, weights, twice)
        return [output, *final]


class Scan(torch.autograd.Function):
    """The kernel's own graph, inside one node: for gradients of gradients the scan runs again, twice differentiable."""

    @staticmethod
    def forward(ctx: Any, call: Call, *tensors: Tensor) -> tuple[Tensor, ...]:
        kind = tensors[0].device.type
        ctx.call, ctx.autocast = call, (kind, torch.get_autocast_dtype(kind), torch.is_autocast_enabled(kind))
        ctx.save_for_backward(*tensors)
        ctx.set_materialize_grads(False)
        with torch.enable_grad():
            own = [t.detach().requires_grad_(n) for t, n in zip(tensors, ctx.needs_input_grad[1:], strict=True)]
            results = call.run(own)
        ctx.made = own, results
        return tuple(t.detach() for t in results)

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor | None) -> tuple[Any, ...]:
        sources, twice = ctx.saved_tensors, torch.is_grad_enabled()  # the latter with create_graph=True
        # with retain_graph=True, or where torch does not say, there may be another backward pass
        keep = twice or torch._C._autograd._get_current_graph_task_keep_graph()
        if twice:
            with torch.autocast(*ctx.autocast):
                results = ctx.call.run(sources, twice=True)
        else:
            sources, results = ctx.made
        needed = ctx.needs_input_grad[1:]
        pairs = [(r, c) for r, c in zip(results, cotangents, strict=True) if c is not None]
        wanted = [s for s, need in zip(sources, needed, strict=True) if need]
        results, given = [r for r, _ in pairs], [c for _, c in pairs]
        found = torch.autograd.grad(results, wanted, given, retain_graph=keep, create_graph=twice, allow_unused=True)
        if not keep:
            del ctx.made
        remaining = iter(found)
        return (None, *(next(remaining) if need else None for need in needed))
