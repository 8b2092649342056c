"""Changes in place become new nodes: for the tensor that is changed, and for all others that share its memory."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from rondeau.recurrence.trace.arrange import put
from rondeau.recurrence.trace.forms import Declined, Form, numbering
from rondeau.recurrence.trace.recorder import Recorder


def change(r: Recorder, func: Any, name: str, args: Any, kwargs: Any) -> Tensor:
    """Record an operation that writes into its first argument, and carry it out."""
    target = args[0]
    if not isinstance(target, Tensor) or not name.endswith("_") or (name.endswith("__") and not name.startswith("__i")):
        raise Declined(f"{name} changes a tensor in place in a way the compiler does not know")
    form = r.form(target)
    given = r.given(target)
    if given is not None:
        what = "a tensor from outside the step" if given == "param" else "an input of the step"
        raise Declined(f"{name} changes {what} in place")
    result = _after(r, func, name, form, args, kwargs)
    func(*args, **kwargs)
    r.rebind(target, result)
    _spread(r, target, result)
    return target


def _after(r: Recorder, func: Any, name: str, form: Form, args: Any, kwargs: Any) -> Form:
    """What the target is afterwards."""
    from rondeau.recurrence.trace.rules import copy_into

    target = args[0]
    if name in ("fill_", "zero_"):
        value = args[1] if len(args) > 1 else 0.0
        return copy_into(r, target, value)
    if name == "copy_":
        return copy_into(r, target, args[1])
    twin = getattr(torch.ops.aten, name[:-1], None)  # torch finds the overload: their names may differ
    if twin is None:
        raise Declined(f"{name} changes a tensor in place in a way the compiler does not know")
    with r:
        made = twin(*args, **kwargs)
    if made.dtype != target.dtype:
        raise Declined(f"{name} changes a tensor of {target.dtype} in place")
    return r.form(made)


def _spread(r: Recorder, target: Tensor, result: Form) -> None:
    """Bring the other tensors that share the target's memory up to date."""
    others = [t for t in r.sharing(target) if t is not target]
    if not others:
        return
    numbers = torch.full((target.untyped_storage().nbytes() // target.element_size(),), -1)
    numbers[_positions(target, len(numbers))] = numbering(result, r.batch)
    for other in others:
        if other.element_size() != target.element_size():
            raise Declined("it changes memory in place that is also seen as another type")
        found = numbers[_positions(other, len(numbers))]
        if (found >= 0).any():
            r.rebind(other, _merged(r, r.form(other), result, found))


def _positions(tensor: Tensor, size: int) -> Tensor:
    return torch.arange(size).as_strided(tensor.shape, tensor.stride(), tensor.storage_offset())


def _merged(r: Recorder, form: Form, result: Form, found: Tensor) -> Form:
    """`form` with elements of `result` where `found` has their numbers, -1 elsewhere."""
    if form.axis is None:
        if result.axis is not None:
            raise Declined("it writes rows into a tensor that has none")
        return Form(put(r.graph, form.node, found.reshape(form.node.shape), result.node))
    size = result.node.size
    if result.axis is None:
        raise Declined("it writes into some rows only")
    own = numbering(form, r.batch) // max(form.node.size, 1)
    inside = found >= 0
    if not torch.equal(found[inside] // size, own[inside]):
        raise Declined("it writes into other rows")
    within = torch.where(inside, found % size, -1)
    if form.merged:
        within = torch.unflatten(within, form.axis, (r.batch, -1))
    one = within.select(form.axis, 0)
    if not torch.equal(within, one.unsqueeze(form.axis).expand_as(within)):
        raise Declined("it writes into some rows only")
    return Form(put(r.graph, form.node, one, result.node), form.axis, form.merged)
