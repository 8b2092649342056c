"""What layers and cells share: weights made once the input's shape is known, regularisers, a seed of one's own."""

from __future__ import annotations

import operator
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn.parameter import Parameter, UninitializedParameter, is_lazy

from rondeau import init, regularizers
from rondeau.config import Configurable
from rondeau.errors import ArgumentError, NotBuiltError


class _Unbuilt(UninitializedParameter):
    """Stands among a module's parameters until it is built: an optimiser over it raises instead of missing the weights.

    It goes where the module is sent with `to(device or dtype)`, and the weights are made there.
    """

    owner = "a layer"

    @property
    def is_leaf(self) -> bool:  # type: ignore[override]  # every optimiser asks
        raise _not_built(self.owner)

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        try:
            return super().__torch_function__(func, types, args, kwargs)  # type: ignore[no-untyped-call]
        except ValueError:  # torch names its own LazyModule here
            owner = next((a.owner for a in args if isinstance(a, _Unbuilt)), cls.owner)
            raise _not_built(owner) from None


def _not_built(owner: str) -> NotBuiltError:
    fix = (
        "Call it once, give the first layer an Input, or build_for(shape); then make the optimiser or read the weights"
    )
    return NotBuiltError(f"{owner} has no weights yet", fix=fix)


class BuildableModule(Configurable, torch.nn.Module):
    """A torch module that may make its weights late, in `build`, with `add_weight`.

    Attributes:
        built: whether the weights exist; a module that does not define `build` is built from the start. Until then
            optimisers over it, `state_dict` and the like raise `NotBuiltError`.
        trainable: whether weights take gradients; setting it reaches every weight inside but those made untrainable.
        seed: seed of this module's own random numbers (dropout); `None` draws from torch's global generator.
    """

    seed: int | None = None

    def __init__(self) -> None:
        super().__init__()
        self.regularized: dict[str, Any] = {}
        self._frozen: set[str] = set()  # names of weights that never take gradients
        self._generators: dict[str, torch.Generator] = {}
        self._trainable = True
        self.built = not hasattr(type(self), "build")
        if not self.built:
            placeholder = _Unbuilt()
            placeholder.owner = type(self).__name__
            self._parameters["unbuilt"] = placeholder  # type: ignore[assignment]

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
        """Make the parameter `self.<name>` of `shape`, in torch's default type or what `to` asked for; return it.

        Args:
            initializer: a name or a callable `shape -> tensor` (default Glorot's uniform).
            regularizer: a name or a callable `weight -> loss`, added to `losses` (default None).
            trainable: whether it ever takes gradients (default true).

        Raises `ArgumentError` for an unknown name, or an initialiser that gives no tensor of that shape.
        """
        values = init.get(initializer)(tuple(shape))
        if not isinstance(values, Tensor) or values.shape != torch.Size(shape):
            got = tuple(values.shape) if isinstance(values, Tensor) else type(values).__name__
            where = f"{type(self).__name__}.{name}"
            raise ArgumentError("an initialiser gives no such tensor", expected=tuple(shape), got=got, where=where)
        placeholder = self._parameters.get("unbuilt")
        if placeholder is not None:
            values = values.to(placeholder.data)
        weight = Parameter(values.detach().clone(), requires_grad=trainable)
        setattr(self, name, weight)
        if not trainable:
            self._frozen.add(name)
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
            frozen: set[str] = set()
            if isinstance(module, BuildableModule):
                module._trainable = value
                frozen = module._frozen
            for name, weight in module._parameters.items():
                if weight is not None and not is_lazy(weight):  # an unbuilt module follows in mark_built
                    weight.requires_grad_(value and name not in frozen)

    @property
    def losses(self) -> list[Tensor]:
        """The penalties of this module's trainable weights and of all inside it, each 0-d."""
        return list(self._penalties())

    def _penalties(self) -> Iterator[Tensor]:
        for module in self.modules():
            if isinstance(module, BuildableModule):
                for name, penalty in module.regularized.items():
                    weight = getattr(module, name)
                    if weight.requires_grad:
                        yield penalty(weight)

    def generator(self, device: torch.device | str = "cpu") -> torch.Generator | None:
        """This module's own generator on `device`, or `None` (torch's global one) when it has no seed."""
        if self.seed is None:
            return None
        key = str(torch.device(device))
        if key not in self._generators:
            self._generators[key] = torch.Generator(device).manual_seed(self.seed)
        return self._generators[key]

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *args: Any) -> None:
        if not self.built:
            raise NotBuiltError(
                f"{type(self).__name__} has no weights to load into", fix="Build it first, or call it once"
            )
        super()._load_from_state_dict(state_dict, prefix, *args)


def positive(owner: str, name: str, value: Any) -> int:
    """`value` as an int. Raises `ArgumentError`, naming the argument, unless it is a whole number above 0."""
    try:
        number = 0 if isinstance(value, bool) else operator.index(value)
    except TypeError:
        number = 0
    if number < 1:
        raise ArgumentError(f"{owner}: {name}", expected="a positive integer", got=repr(value))
    return number


def share(owner: str, name: str, value: Any) -> float:
    """A dropout rate. Raises `ArgumentError`, naming the argument, unless 0 <= value < 1."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < 1:
        raise ArgumentError(f"{owner}: {name}", expected="0 <= rate < 1", got=repr(value))
    return float(value)
