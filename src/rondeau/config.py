"""How an object is written down and made again: by its constructor's arguments, as JSON, without pickle."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import numpy as np

from rondeau.errors import CheckpointError, SaveError


class Configurable:
    """Remembers the arguments it was made with.

    Layers, cells, initialisers, regularisers, optimisers, losses are `Configurable`: `get_config()` gives the arguments in
    JSON's types, and `from_config` makes the like of it. A class whose arguments are not plain values or other
    `Configurable` objects writes its own `get_config`.
    """

    _arguments: dict[str, Any]

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        self = super().__new__(cls)
        signature = inspect.signature(cls.__init__)
        try:
            bound = signature.bind(self, *args, **kwargs).arguments
        except TypeError:  # __init__ raises it again, with the class's name; copying calls __new__ without arguments
            bound = {}
        arguments: dict[str, Any] = {}
        for name, value in list(bound.items())[1:]:
            if signature.parameters[name].kind is inspect.Parameter.VAR_KEYWORD:
                arguments.update(value)
            else:
                arguments[name] = value
        object.__setattr__(self, "_arguments", arguments)
        return self

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments in JSON's types. Raises `SaveError` for a value that has none."""
        owner = type(self).__name__
        return {name: serialize(value, f"{owner}({name}=...)") for name, value in self._arguments.items()}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Any:
        """The object that `get_config` described; nested objects have been made already."""
        return cls(**config)


def serialize(value: Any, where: str = "value") -> Any:
    """`value` in JSON's types; objects become `{"class": name, "config": {...}}`, functions `{"function": name}`."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, Configurable):
        return {"class": type(value).__name__, "config": value.get_config()}
    if isinstance(value, (list, tuple)):
        return [serialize(item, f"{where}[{i}]") for i, item in enumerate(value)]
    if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
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

    Raises `CheckpointError` when the name is not in `known`.
    """
    if isinstance(data, list):
        return [deserialize(item, known, f"{where}[{i}]") for i, item in enumerate(data)]
    if isinstance(data, dict) and data.keys() == {"class", "config"}:
        kind = _lookup(data["class"], known, where)
        config = {k: deserialize(v, known, f"{where}.{data['class']}.{k}") for k, v in data["config"].items()}
        return kind.from_config(config)
    if isinstance(data, dict) and data.keys() == {"function"}:
        return _lookup(data["function"], known, where)
    if isinstance(data, dict):
        return {key: deserialize(item, known, f"{where}.{key}") for key, item in data.items()}
    return data


def _lookup(name: str, known: Mapping[str, Any], where: str) -> Any:
    if name not in known:
        raise CheckpointError(
            f"the saved model uses {name!r}, which Rondeau does not have",
            where=where,
            fix=f"pass it: rondeau.load(path, custom_objects={{{name!r}: {name}}})",
        )
    return known[name]


def remake(value: Any, **changes: Any) -> Any:
    """A new object like `value`, from the arguments it was made with, some of them changed; objects inside are remade too."""
    if isinstance(value, Configurable):
        arguments = {**value._arguments, **changes}
        return type(value)(**{name: remake(argument) for name, argument in arguments.items()})
    if isinstance(value, list):
        return [remake(item) for item in value]
    return value
