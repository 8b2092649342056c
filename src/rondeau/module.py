"""What layers and cells share: weights that appear once the input's shape is known, regularisers, a seed of one's own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn.parameter import Parameter, UninitializedParameter, is_lazy

from rondeau import init, regularizers
from rondeau.config import Configurable
from rondeau.errors import ArgumentError, NotBuiltError


class _Unbuilt(UninitializedParameter):
    """Stands among a module's parameters until it is built, so that every optimiser over it raises instead of missing it."""

    @property
    def is_leaf(self) -> bool:  # type: ignore[override]
        raise NotBuiltError(
            "a layer has no weights yet, an optimiser over it would miss them",
            fix="Call the model once, give the first layer an Input, or build(...) it before making the optimiser",
        )


class BuildableModule(Configurable, torch.nn.Module):
    """A torch module that may make its weights late, in `build`, with `add_weight`.

    Attributes:
        built: whether the weights exist; a module that does not define `build` is built from the start.
        trainable: whether weights take gradients; setting it reaches every weight inside.
        seed: seed of this module's own random numbers (dropout); `None` draws from torch's global generator.
    """

    seed: int | None = None

    def __init__(self) -> None:
        super().__init__()
        self.regularized: dict[str, Any] = {}
        self._generators: dict[str, torch.Generator] = {}
        self._trainable = True
        self.built = not hasattr(type(self), "build")
        if not self.built:
            self.register_parameter("unbuilt", _Unbuilt())

    def mark_built(self) -> None:
        """The weights exist now: to be called when `build` is done."""
        self._parameters.pop("unbuilt", None)
        self.built = True
        if not self._trainable:
            self.requires_grad_(False)

    def add_weight(
        self,
        name: str,
        shape: tuple[int, ...],
        initializer: Any = "glorot_uniform",
        regularizer: Any = None,
        trainable: bool = True,
    ) -> Parameter:
        """Make the parameter `self.<name>` of `shape` in torch's default type, and return it.

        Args:
            initializer: a name or a callable `shape -> tensor` (default Glorot's uniform).
            regularizer: a name or a callable `weight -> loss`, added to `losses`.
        """
        values = init.get(initializer)(tuple(shape))
        if values.shape != torch.Size(shape):
            raise ArgumentError(
                f"the initialiser of {type(self).__name__}.{name} gives another shape",
                expected=tuple(shape),
                got=tuple(values.shape),
            )
        weight = Parameter(values.detach().clone(), requires_grad=trainable)
        setattr(self, name, weight)
        penalty = regularizers.get(regularizer)
        if penalty is not None:
            self.regularized[name] = penalty
        return weight

    @property
    def trainable(self) -> bool:
        return self._trainable

    @trainable.setter
    def trainable(self, value: bool) -> None:
        for module in self.modules():
            if isinstance(module, BuildableModule):
                module._trainable = value
        for weight in self.parameters():
            if not is_lazy(weight):  # an unbuilt module follows in mark_built
                weight.requires_grad_(value)

    @property
    def losses(self) -> list[Tensor]:
        """The weight penalties of this module and all inside it, each 0-d."""
        return list(self._penalties())

    def _penalties(self) -> Iterator[Tensor]:
        for module in self.modules():
            if isinstance(module, BuildableModule):
                for name, penalty in module.regularized.items():
                    yield penalty(getattr(module, name))

    def generator(self, device: torch.device | str = "cpu") -> torch.Generator | None:
        """This module's own generator on `device`, or `None` (torch's global one) when it has no seed."""
        if self.seed is None:
            return None
        key = str(torch.device(device))
        if key not in self._generators:
            self._generators[key] = torch.Generator(device).manual_seed(self.seed)
        return self._generators[key]
