"""One update, measured: norms of weights, of gradients before they are clipped, and of what the update changed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from rondeau.errors import ArgumentError
from rondeau.insight.names import short
from rondeau.insight.records import Weight
from rondeau.training.optimizers import Optimizer

_LIMITS = ("clipnorm", "clipvalue", "global_clipnorm")
_SHRUNK = 1e-4  # of a gradient's norm: clipped; what is less is rounding
_TINY, _HUGE = 1e-15, 1e15  # norms in float32 between these were not touched by its range


class Updates:
    """What one update does to each parameter: `before` the update, `after` it.

    Parameters that are frozen or have no gradient are left out, and one that has several names counts once.

    Attributes:
        gradient: the norm of all gradients together, before clipping; None without any.
        clip: the limit on it, or on each gradient's norm or values; None without a limit.
        clipped: whether the limit changes a gradient; None where nobody told of one, and the optimiser is not
            Rondeau's.

    >>> from rondeau.optimizers import SGD
    >>> layer = torch.nn.Linear(2, 1, bias=False)
    >>> optimizer = SGD(0.1, global_clipnorm=1.0)
    >>> optimizer.build(layer.named_parameters())
    >>> layer(torch.tensor([[3.0, 4.0]])).sum().backward()
    >>> updates = Updates.before(layer, optimizer)
    >>> optimizer.step()
    >>> (weight,) = updates.after()
    >>> updates.gradient, updates.clipped, weight.name, round(weight.update, 6)
    (5.0, True, 'weight', 0.1)
    """

    def __init__(
        self,
        named: Sequence[tuple[str, Tensor]],
        limit: tuple[str, float] | None,
        known: bool,
        own: set[int] | None = None,
        unclipped: Mapping[int, float] | None = None,
    ) -> None:
        self._own = own  # of which the optimiser makes updates, by `id`; None: of all
        self._names = [short(name) for name, _ in named]
        self._weights = [weight for _, weight in named]
        gradients = [dense(weight.grad) for weight in self._weights if weight.grad is not None]
        self._norms = norms(self._weights)
        now = norms(gradients)
        before = [(unclipped or {}).get(id(weight), norm) for weight, norm in zip(self._weights, now, strict=True)]
        self._gradients = before
        self._snapshot = [weight.detach().clone() for weight in self._weights]
        self.gradient = math.hypot(*self._gradients) if named else None
        self.clip = limit[1] if limit else None
        if limit:
            self.clipped: bool | None = self._is_clipped(gradients, limit)
        elif unclipped:
            self.clipped = any(norm < (1 - _SHRUNK) * first for norm, first in zip(now, before, strict=True))
        else:
            self.clipped = False if known else None

    @classmethod
    def before(
        cls,
        model: torch.nn.Module,
        optimizer: Any = None,
        *,
        clipnorm: float | None = None,
        clipvalue: float | None = None,
        global_clipnorm: float | None = None,
        unclipped: Mapping[int, float] | None = None,
    ) -> Updates:
        """After the backward pass, before gradients are clipped and the optimiser makes its step.

        Args:
            model: whose parameters are measured.
            optimizer: one of Rondeau's says by itself how it clips; any other, or None, says nothing.
            clipnorm, clipvalue, global_clipnorm: how gradients will be clipped otherwise: the highest norm of each, the
                highest absolute value of an entry, the highest norm of all together. At most one of them.
            unclipped: norms of gradients that may be clipped already, as they were before, by the `id` of their
                parameter; without a limit it counts as clipped if one of them is smaller now.

        Raises `ArgumentError` for several limits.
        """
        given: dict[str, float | None] = dict(zip(_LIMITS, (clipnorm, clipvalue, global_clipnorm), strict=True))
        own = isinstance(optimizer, Optimizer)
        if own:
            given = {name: getattr(optimizer, name) if value is None else value for name, value in given.items()}
        limits = [(name, float(value)) for name, value in given.items() if value is not None]
        if len(limits) > 1:
            got = " and ".join(name for name, _ in limits)
            raise ArgumentError("Updates.before: gradients are clipped in one way", expected="one limit", got=got)
        named = [(n, p) for n, p in model.named_parameters() if p.requires_grad and p.grad is not None]
        groups = getattr(optimizer, "param_groups", None)
        updated = None if own or groups is None else {id(p) for group in groups for p in group["params"]}
        return cls(named, limits[0] if limits else None, own, updated, unclipped)

    def _is_clipped(self, gradients: Sequence[Tensor], limit: tuple[str, float]) -> bool:
        kind, most = limit
        if kind == "global_clipnorm":
            return self.gradient is not None and self.gradient > most
        found = self._gradients if kind == "clipnorm" else norms(gradients, math.inf)
        return any(norm > most for norm in found)

    def after(self) -> list[Weight]:
        """The norms, in the model's order, once the step was made."""
        with torch.no_grad():
            changes = torch._foreach_sub(self._weights, self._snapshot) if self._weights else []
        updates = [
            norm if self._own is None or id(weight) in self._own else None
            for weight, norm in zip(self._weights, norms(changes), strict=True)
        ]
        found = zip(self._names, self._norms, self._gradients, updates, strict=True)
        return [Weight(name, weight, gradient, update) for name, weight, gradient, update in found]


@torch.no_grad()
def norms(tensors: Sequence[Tensor], order: float = 2.0) -> list[float]:
    """The norm of each, also where squares are beyond its type's range; 0 of one without entries."""
    filled = [tensor.detach() for tensor in tensors if tensor.numel()]
    found = iter(_at_once(filled, order))
    results = [next(found) if tensor.numel() else 0.0 for tensor in tensors]
    for place, (tensor, norm) in enumerate(zip(tensors, results, strict=True)):
        if tensor.numel() and order == 2 and not _TINY < norm < _HUGE:
            results[place] = float(torch.linalg.vector_norm(tensor, dtype=torch.float64))
    return results


def _at_once(tensors: list[Tensor], order: float) -> list[float]:
    found: list[float] = [0.0] * len(tensors)
    groups: dict[tuple[torch.device, torch.dtype], list[int]] = {}
    for place, tensor in enumerate(tensors):
        groups.setdefault((tensor.device, tensor.dtype), []).append(place)
    for places in groups.values():
        values = torch.stack(list(torch._foreach_norm([tensors[i] for i in places], order))).tolist()
        for place, value in zip(places, values, strict=True):
            found[place] = value
    return found


def dense(gradient: Tensor) -> Tensor:
    """A gradient's entries; those that a sparse one does not have are zero."""
    if gradient.layout is torch.strided:
        return gradient
    return gradient.coalesce().values()
