"""What every optimiser shares: which parameters, which gradients, clipping, weight decay, the rate, and its state."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch.nn.parameter import Parameter

from rondeau.config import Configurable, serialize
from rondeau.errors import ArgumentError, NotBuiltError
from rondeau.training.optimizers import state as states
from rondeau.training.optimizers.checks import not_negative, number, positive
from rondeau.training.optimizers.clipping import Tensors, clip_each_norm, clip_global_norm, clip_value
from rondeau.training.optimizers.schedules import LearningRateSchedule
from rondeau.training.optimizers.targets import checked_pairs, with_gradients

_NOT_HERE = {
    "use_ema": "keep the average of the weights yourself, in a callback",
    "ema_momentum": "keep the average of the weights yourself, in a callback",
    "ema_overwrite_frequency": "keep the average of the weights yourself, in a callback",
    "loss_scale_factor": "train in float32 or bfloat16, which need no loss scaling",
    "gradient_accumulation_steps": "call backward on several batches before one step: their gradients add up",
    "decay": "give a schedule: learning_rate=schedules.InverseTimeDecay(...)",
    "lr": "write learning_rate",
}


class Optimizer(Configurable, ABC):
    """Changes parameters in place so that the loss falls; names, defaults and update rules are Keras 3's.

    A step reads each parameter's `grad`, clips it, takes weight decay off the parameter (`p -= learning_rate *
    weight_decay * p`, apart from the gradient, for every optimiser), then applies the rule of the class. Parameters
    that are frozen or have no gradient are left alone. Each slot has the shape, dtype and device of its parameter.

    Args:
        learning_rate: a float, or a schedule that gives it from the number of steps taken.
        weight_decay: None, or the share that is taken off at each step, times the learning rate.
        clipnorm: the highest L2 norm of each gradient by itself.
        clipvalue: the highest absolute value of each gradient entry.
        global_clipnorm: the highest L2 norm of all gradients together. At most one of the three is given.
        name: a name for messages and summaries; the class's name in lower case if None.

    Attributes:
        iterations: how many steps have been taken.

    A subclass says which slots it keeps (`slots`) and what a step does (`update`).

    >>> from rondeau.optimizers import SGD
    >>> layer = torch.nn.Linear(3, 1)
    >>> optimizer = SGD(learning_rate=0.1)
    >>> optimizer.build(layer.named_parameters())
    >>> layer(torch.ones(2, 3)).sum().backward()
    >>> optimizer.step()
    >>> optimizer.zero_grad()
    >>> optimizer.iterations
    1
    """

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        for name, fix in _NOT_HERE.items():
            if name in kwargs:
                raise ArgumentError(f"{cls.__name__} has no argument {name!r}", fix=fix)
        return super().__new__(cls, *args, **kwargs)

    def __init__(
        self,
        learning_rate: float | LearningRateSchedule = 0.001,
        weight_decay: float | None = None,
        clipnorm: float | None = None,
        clipvalue: float | None = None,
        global_clipnorm: float | None = None,
        name: str | None = None,
    ) -> None:
        where = type(self).__name__
        self.name = name or where.lower()
        self._rate = _rate(where, learning_rate)
        self.weight_decay = None if weight_decay is None else not_negative(where, "weight_decay", weight_decay)
        self.clipnorm = _limit(where, "clipnorm", clipnorm)
        self.clipvalue = _limit(where, "clipvalue", clipvalue)
        self.global_clipnorm = _limit(where, "global_clipnorm", global_clipnorm)
        given = [key for key in ("clipnorm", "clipvalue", "global_clipnorm") if getattr(self, key) is not None]
        if len(given) > 1:
            raise ArgumentError("gradients can be clipped in one way only", got=" and ".join(given), where=where)
        self.iterations = 0
        self._names: list[str] = []
        self._parameters: list[Parameter] = []
        self._slots: dict[str, Tensors] = {}
        self._excluded: tuple[str, ...] = ()
        self.built = False

    @abstractmethod
    def slots(self) -> dict[str, float]:
        """What is kept for each parameter: the name of each slot and the value it starts with."""

    @abstractmethod
    def update(
        self, parameters: Tensors, gradients: Tensors, slots: dict[str, Tensors], rate: float, step: int
    ) -> None:
        """One step, in place, without autograd. `slots[name][i]` belongs to `parameters[i]`; `step` is 1 at first."""

    @property
    def learning_rate(self) -> float:
        """The rate of the next step. Setting a number where a schedule gives the rate raises `ArgumentError`."""
        return float(self._rate(self.iterations)) if isinstance(self._rate, LearningRateSchedule) else self._rate

    @learning_rate.setter
    def learning_rate(self, value: float | LearningRateSchedule) -> None:
        if isinstance(self._rate, LearningRateSchedule) and not isinstance(value, LearningRateSchedule):
            raise ArgumentError(
                f"the learning rate follows {type(self._rate).__name__} and cannot be set to a number",
                got=value,
                where=type(self).__name__,
                fix="make the optimiser with a float learning_rate, or set another schedule",
            )
        self._rate = _rate(type(self).__name__, value)

    def build(self, parameters: Iterable[tuple[str, Parameter]]) -> None:
        """Takes the named parameters it will change, such as `model.named_parameters()`, and makes their slots.

        Building again with the same names and parameters changes nothing. Raises `NotBuiltError` for a parameter that
        has no values yet, and `ArgumentError` for other parameters than before, or the same name or parameter twice.
        """
        pairs = checked_pairs(type(self).__name__, parameters)
        names, values = [name for name, _ in pairs], [parameter for _, parameter in pairs]
        if self.built:
            if names != self._names or any(old is not new for old, new in zip(self._parameters, values, strict=True)):
                raise ArgumentError(
                    "the optimiser was built for other parameters",
                    expected=f"the same {len(self._names)} parameters",
                    got=f"{len(names)}, not all the same",
                    where=type(self).__name__,
                    fix="make a new optimiser for the new model, for example with from_config(old.get_config())",
                )
            return
        self._names, self._parameters = names, values
        self._slots = {
            slot: [torch.full_like(parameter, start, requires_grad=False) for parameter in values]
            for slot, start in self.slots().items()
        }
        self.built = True

    def step(self, scale: float = 1.0) -> None:
        """Changes every parameter that has a gradient, and counts the step; does neither where none is trainable.

        `scale` multiplies the learning rate of this step (default 1).

        Raises `NotBuiltError` before `build`, `ArgumentError` when no trainable parameter has a gradient.
        """
        self._require_built("step")
        chosen, gradients = with_gradients(f"{type(self).__name__}.step", self._names, self._parameters)
        if not chosen:
            return
        rate = self.learning_rate * scale
        parameters: Tensors = [self._parameters[i] for i in chosen]
        slots = self._slots_of(chosen)
        with torch.no_grad():
            gradients = self._clip(gradients)
            self._decay([self._parameters[i] for i in chosen if self._decays(self._names[i])], rate)
            self.update(parameters, gradients, slots, rate, self.iterations + 1)
        self.iterations += 1

    def zero_grad(self) -> None:
        """Forgets every gradient (sets `grad` to None)."""
        self._require_built("zero_grad")
        for parameter in self._parameters:
            parameter.grad = None

    def exclude_from_weight_decay(self, names: Iterable[str]) -> None:
        """Spares the parameters whose name contains one of `names`; a second call replaces the first.

        For example `names=["bias", "embedding"]`. Kept by `get_config`, so a loaded optimiser spares the same ones.
        """
        if isinstance(names, str):
            raise ArgumentError("names is a string", expected="a list of strings", got=repr(names))
        self._excluded = tuple(names)

    def state_dict(self) -> dict[str, torch.Tensor]:
        """A copy of the state: `"<parameter>/<slot>"`, and 0-d `iterations` (int64) and `learning_rate` (float64)."""
        self._require_built("state_dict")
        slots = self._slots_of(range(len(self._names)))
        return states.collect(self._names, slots, self.iterations, self.learning_rate)

    def load_state_dict(self, state: Mapping[str, torch.Tensor]) -> None:
        """Puts back exactly what `state_dict` gave, on this optimiser's devices; on an error nothing is changed.

        Where a schedule gives the learning rate, the rate follows from `iterations` and the saved one is not used.
        Raises `CheckpointError` that names the entries which are missing, unexpected or of another shape or dtype.
        """
        self._require_built("load_state_dict")
        slots = self._slots_of(range(len(self._names)))
        states.check(self._names, slots, state, where=type(self).__name__)
        states.restore(self._names, slots, state)
        self.iterations = int(state["iterations"].item())
        if not isinstance(self._rate, LearningRateSchedule):
            self._rate = float(state["learning_rate"].item())

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments with the learning rate of now, and the names spared from weight decay, if any."""
        config = super().get_config() | {"learning_rate": serialize(self._rate)}
        return config | ({"exclude_from_weight_decay": list(self._excluded)} if self._excluded else {})

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Any:
        """An unbuilt optimiser like the one that `get_config` described."""
        arguments = dict(config)
        excluded = arguments.pop("exclude_from_weight_decay", ())
        self = cls(**arguments)
        self.exclude_from_weight_decay(excluded)
        return self

    def _require_built(self, action: str) -> None:
        if not self.built:
            raise NotBuiltError(
                f"{type(self).__name__}.{action} was called before build",
                fix="call optimizer.build(model.named_parameters()) first",
            )

    def _slots_of(self, chosen: Sequence[int]) -> dict[str, Tensors]:
        """The slots of the chosen parameters, moved along where one has been moved to another device or dtype since."""
        for slot in self._slots.values():
            for i in chosen:
                parameter = self._parameters[i]
                if slot[i].device != parameter.device or slot[i].dtype != parameter.dtype:
                    slot[i] = slot[i].to(parameter.device, parameter.dtype)
        return {name: [slot[i] for i in chosen] for name, slot in self._slots.items()}

    def _clip(self, gradients: Tensors) -> Tensors:
        if self.clipnorm is not None:
            return clip_each_norm(gradients, self.clipnorm)
        if self.global_clipnorm is not None:
            return clip_global_norm(gradients, self.global_clipnorm)
        return gradients if self.clipvalue is None else clip_value(gradients, self.clipvalue)

    def _decays(self, name: str) -> bool:
        return self.weight_decay is not None and not any(part in name for part in self._excluded)

    def _decay(self, parameters: Tensors, rate: float) -> None:
        if parameters and self.weight_decay is not None:
            torch._foreach_mul_(parameters, 1 - self.weight_decay * rate)


def _rate(where: str, value: Any) -> float | LearningRateSchedule:
    if isinstance(value, LearningRateSchedule):
        return value
    fix = "for a rate that changes, derive a class from schedules.LearningRateSchedule" if callable(value) else None
    return not_negative(where, "learning_rate", number(where, "learning_rate", value, fix))


def _limit(where: str, name: str, value: Any) -> float | None:
    if value is None:
        return None
    return positive(where, name, value, fix=f"leave {name} out to train without clipping")
