"""How an object is written down and made again: by its constructor's arguments, as JSON, without pickle."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Mapping
from typing import Any, TypeVar

import numpy as np
import torch

from rondeau.errors import CheckpointError, SaveError

_T = TypeVar("_T", bound="Configurable")


class _Signature:
    """What `help`, and editors, show for a class: its `__init__`, not the `__new__` that listens in."""

    def __get__(self, instance: object, owner: type) -> inspect.Signature:
        if instance is not None:
            raise AttributeError("__signature__")  # calling the object is another matter
        if owner.__init__ is object.__init__:  # type: ignore[misc]
            return inspect.Signature()
        own = inspect.signature(owner.__init__)  # type: ignore[misc]
        return own.replace(parameters=list(own.parameters.values())[1:], return_annotation=inspect.Signature.empty)


class Configurable:
    """Remembers the arguments it was made with.

    Layers, cells, initialisers, regularisers, optimisers, losses are `Configurable`: `get_config()` gives the arguments
    in JSON's types, and `from_config` makes the like of it. A class whose arguments are not plain values or other
    `Configurable` objects writes its own `get_config`.

    >>> class Scale(Configurable):
    ...     def __init__(self, factor=1.0, offset=0.0):
    ...         self.factor, self.offset = factor, offset
    >>> Scale(2.0).get_config()
    {'factor': 2.0}
    >>> Scale.from_config({'factor': 2.0}).factor
    2.0
    """

    _arguments: dict[str, Any]
    __signature__ = _Signature()

    def __new__(cls: type[_T], *args: Any, **kwargs: Any) -> _T:
        if (args or kwargs) and cls.__init__ is object.__init__:  # object itself does not mind where there is a __new__
            raise TypeError(f"{cls.__name__}() takes no arguments")
        self = super().__new__(cls)
        signature = inspect.signature(cls.__init__)
        try:
            bound = signature.bind(self, *args, **kwargs).arguments
        except TypeError:  # __init__ raises it again, with the class's name; copying calls __new__ without arguments
            bound = {}
        arguments: dict[str, Any] = {}
        for name, value in list(bound.items())[1:]:
            kind = signature.parameters[name].kind
            if kind is inspect.Parameter.VAR_KEYWORD:
                arguments.update(value)
            else:
                arguments[f"*{name}" if kind is inspect.Parameter.VAR_POSITIONAL else name] = value
        object.__setattr__(self, "_arguments", arguments)
        return self

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments in JSON's types. Raises `SaveError` for a value that has none."""
        owner = type(self).__name__
        for name in self._arguments:
            if name.startswith("*"):
                raise SaveError(f"{owner}.__init__ takes {name}, which has no names to save", fix="Take a list instead")
        return {name: serialize(value, f"{owner}({name}=...)") for name, value in self._arguments.items()}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Any:
        """The object that `get_config` described; objects inside it are made already (`deserialize` does that)."""
        return cls(**config)


def serialize(value: Any, where: str = "value") -> Any:
    """`value` in JSON's types; objects become `{"class": name, "config": {...}}`, functions `{"function": name}`.

    Args:
        where: how a `SaveError` names the value; raised for what has no such form: a lambda, a tensor.

    >>> serialize({"sizes": (3, None)})
    {'sizes': [3, None]}
    """
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, Configurable):
        return {"class": type(value).__name__, "config": value.get_config()}
    if isinstance(value, (list, tuple)):
        return [serialize(item, f"{where}[{i}]") for i, item in enumerate(value)]
    if isinstance(value, Mapping) and all(isinstance(key, str) for key in value) and not _is_object(value):
        return {key: serialize(item, f"{where}[{key!r}]") for key, item in value.items()}
    if inspect.isfunction(value) or inspect.isbuiltin(value):
        if value.__name__ == "<lambda>":
            raise SaveError("a lambda cannot be saved", where=where, fix="give it a name with def")
        return {"function": value.__name__}
    raise SaveError(
        "an argument cannot be saved",
        expected="a number, string, list, dict or Rondeau object",
        got=type(value).__name__,
        where=where,
        fix="give the class a get_config method that describes it in JSON's types",
    )


def deserialize(data: Any, known: Mapping[str, Any], where: str = "config") -> Any:
    """What `serialize` wrote, made again from the classes and functions in `known`; nothing is imported.

    Raises `CheckpointError` when a name is not in `known`, or does not name what it is said to be.

    >>> deserialize({"function": "double"}, known={"double": lambda x: 2 * x})(4)
    8
    """
    if isinstance(data, list):
        return [deserialize(item, known, f"{where}[{i}]") for i, item in enumerate(data)]
    if not isinstance(data, dict):
        return data
    if not _is_object(data):
        return {key: deserialize(item, known, f"{where}.{key}") for key, item in data.items()}
    if "function" in data:
        return _lookup(data["function"], known, where)
    name, config = data["class"], data["config"]
    kind = _lookup(name, known, where)
    if not hasattr(kind, "from_config") or not isinstance(config, dict):
        raise CheckpointError(
            "the saved object is damaged", expected="a class and its arguments", got=data, where=where
        )
    return kind.from_config({key: deserialize(item, known, f"{where}.{name}.{key}") for key, item in config.items()})


def _is_object(data: Mapping[str, Any]) -> bool:
    """Whether this is how `serialize` writes an object or a function; a plain dict must not have just these keys."""
    return data.keys() in ({"class", "config"}, {"function"})


def _lookup(name: Any, known: Mapping[str, Any], where: str) -> Any:
    if not isinstance(name, str):
        raise CheckpointError("the saved object is damaged", expected="a name", got=repr(name), where=where)
    if name not in known:
        raise CheckpointError(
            f"the saved model uses {name!r}, which Rondeau does not have",
            where=where,
            fix=f"pass it: rondeau.load(path, custom_objects={{{name!r}: {name}}})",
        )
    return known[name]


def remake(value: Any, **changes: Any) -> Any:
    """A new object like `value`, from the arguments it was made with, some changed; objects inside are made anew too.

    Modules that are not `Configurable` (plain torch ones) are copied, weights and all; everything else is shared.
    """
    if isinstance(value, Configurable):
        arguments = {**value._arguments, **changes}
        return type(value)(**{name: remake(argument) for name, argument in arguments.items()})
    if isinstance(value, tuple) and hasattr(value, "_make"):
        return value._make(remake(item) for item in value)
    if isinstance(value, (list, tuple)):
        return type(value)(remake(item) for item in value)
    if isinstance(value, dict):
        return {key: remake(item) for key, item in value.items()}
    return copy.deepcopy(value) if isinstance(value, torch.nn.Module) else value
