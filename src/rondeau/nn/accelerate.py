"""`accelerate`: torch.nn's recurrent modules inside any model, put on compiled loops in place."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch

from rondeau.errors import ArgumentError
from rondeau.nn.choice import DTYPES
from rondeau.nn.classes import OURS, forward_is_torchs, off_loops, on_loops
from rondeau.nn.modules import OnLoops

_NAMES = {"LSTM", "GRU", "RNN", "LSTMCell", "GRUCell", "RNNCell"}


@dataclass
class Accelerated:
    """What `accelerate` did to a model.

    Attributes:
        swapped: the modules now on compiled loops, by name: what they are.
        left: recurrent modules that stayed as they were, by name: what they are, and why they stayed.
    """

    swapped: dict[str, str] = field(default_factory=dict)
    left: dict[str, tuple[str, str]] = field(default_factory=dict)
    _classes: list[tuple[torch.nn.Module, type, type]] = field(default_factory=list, repr=False)

    def undo(self) -> None:
        """Make the modules that were swapped torch's own again; weights stay as they are now. Twice is once."""
        while self._classes:
            module, before, after = self._classes.pop()
            # parametrised, or no longer so, since then: another class now
            module.__class__ = before if type(module) is after else off_loops(type(module))

    def __str__(self) -> str:
        lines = [f"swapped {name}: {kind}" for name, kind in self.swapped.items()]
        lines += [f"left {name}: {kind}, {why}" for name, (kind, why) in self.left.items()]
        return "\n".join(lines) or "nothing to swap: the model has no recurrent module of torch.nn"


def accelerate(model: torch.nn.Module, *, quiet: bool = False) -> Accelerated:
    """Put every `torch.nn.LSTM`, `GRU` and `RNN` inside a model on compiled loops, in place, and print what was done.

    The modules stay the objects they were and keep weights, state-dict names, hooks and modes; an optimiser made before
    or after, tied weights, `copy.deepcopy`, `torch.save` and `load_state_dict` work as they did. A model that was saved
    whole needs Rondeau to be loaded; a state dict does not.

    Args:
        model: any module, or a recurrent module itself.
        quiet: print nothing (default false).

    Returns an `Accelerated`, whose `undo()` takes it back.

    Raises `ArgumentError` for what is no `torch.nn.Module`.

    >>> model = torch.nn.Sequential(torch.nn.LSTM(3, 4, batch_first=True))
    >>> done = accelerate(model)
    swapped 0: LSTM(3, 4, batch_first=True)
    >>> done.undo()
    """
    if not isinstance(model, torch.nn.Module):
        raise ArgumentError("accelerate: model", expected="a torch.nn.Module", got=type(model).__name__)
    done = Accelerated()
    for name, module in model.named_modules():
        if not _is_recurrent(module):
            continue
        name, kind = name or "the model itself", _describe(module)
        why = _reason(module)
        if why is not None:
            done.left[name] = (kind, why)
            continue
        before = type(module)
        try:
            module.__class__ = on_loops(before)
        except TypeError as error:  # Python allows no other class, for slots, say
            done.left[name] = (kind, f"whose class cannot be changed: {error}")
            continue
        done.swapped[name] = kind
        done._classes.append((module, before, type(module)))
    if not quiet:
        print(done)
    return done


def _describe(module: Any) -> str:
    name = getattr(module, "original_name", type(module).__name__)
    if isinstance(module, torch.nn.RNNBase):
        return f"{name}({module.extra_repr()})"
    return str(name)


def _is_recurrent(module: Any) -> bool:
    if isinstance(module, (torch.nn.RNNBase, torch.nn.RNNCellBase)):
        return True
    name = getattr(module, "original_name", type(module).__name__)
    return name in _NAMES and (isinstance(module, torch.jit.ScriptModule) or _is_quantised(module))


def _is_quantised(module: Any) -> bool:
    return type(module).__module__.startswith(("torch.ao.nn.", "torch.nn.quantized", "torch.nn.quantizable"))


def _reason(module: Any) -> str | None:
    """Why the module is to stay as it is; None for one to swap."""
    if isinstance(module, OnLoops):
        return "which is on compiled loops already"
    if isinstance(module, torch.jit.ScriptModule):
        return "which is compiled by TorchScript; accelerate the model before scripting"
    if _is_quantised(module):
        return "which is quantised"
    if isinstance(module, torch.nn.RNNCellBase):
        return "which makes one step at a time, no loop"
    if not any(base in OURS for base in type(module).__mro__):
        return "which is none of torch.nn's LSTM, GRU and RNN"
    if not forward_is_torchs(module):
        return "which has a forward of its own"
    for weight in module._flat_weights:
        if weight is None:
            continue
        if weight.device.type != "cpu":
            return f"whose weights are on {weight.device}, where torch's own is used"
        if weight.dtype not in DTYPES:
            return f"whose weights are {weight.dtype}, not float32 or float64"
    return None
