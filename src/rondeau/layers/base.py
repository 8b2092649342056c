"""`Layer`: a torch module with Keras's manners: a name, weights made when the input's shape is known, symbolic calls."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rondeau.errors import ArgumentError, NotBuiltError, ShapeError
from rondeau.layers.graph import Shape, SymbolicTensor, map_leaves, record, shape_of, symbolic_leaves
from rondeau.module import BuildableModule
from rondeau.sequence import Ragged

_MEANINGLESS = {
    "use_cudnn": "the fastest path is chosen by itself",
    "unroll": "the loop is never unrolled, compiled or not",
    "implementation": "there is one definition of each cell",
    "time_major": "inputs are (batch, time, features); strides may be any",
    "autocast": "use torch.autocast around the call",
    "dtype": "weights take torch's default type; use model.to(dtype) or torch.set_default_dtype",
    "activity_regularizer": "a layer's output is not a weight; add the penalty in your own loss or training step",
    "weights": "build the layer and call set_weights",
    "input_shape": "put an Input(shape) in front",
    "input_length": "the time axis may have any length",
    "batch_input_shape": "put an Input(shape, batch_size) in front",
}


def refuse(owner: str, options: dict[str, Any]) -> None:
    """Raise `ArgumentError` for arguments that have no meaning here, saying why and what to use."""
    for name in options:
        if name.endswith("_constraint"):
            fix = "Use a regulariser, weight_decay in the optimiser, or torch.nn.utils.parametrizations"
            raise ArgumentError(f"{owner}: {name} is not supported", fix=fix)
        if name in _MEANINGLESS:
            raise ArgumentError(f"{owner}: {name} has no meaning here: {_MEANINGLESS[name]}", fix="Leave it out")
        raise ArgumentError(f"{owner} has no argument {name!r}", fix=f"See help(rondeau.layers.{owner})")


class Layer(BuildableModule):
    """A layer; base of Rondeau's and of yours.

    A layer defines `forward`, and, if it has weights, `build(input_shape)` which makes them with `add_weight`. In a model
    it meets tensors `(batch, ...)` and, where sequences have lengths or masks, `Ragged`. Where its output has another shape
    than its input it defines `compute_output_shape`.

    Args:
        name: default: the class's name in snake case, numbered by the model.
        trainable: whether its weights take gradients (default true).

    Attributes:
        input_rank: axes that inputs must have, batch included; `None` for any.
        fixed_features: whether the last axis must keep the size the layer was built for.
    """

    input_rank: int | None = None
    fixed_features = False
    build: Callable[[Any], None]

    def __init__(self, name: str | None = None, trainable: bool = True, **options: Any) -> None:
        super().__init__()
        refuse(type(self).__name__, options)
        self._name = name
        self._trainable = trainable
        self.input_shape: Any = None

    @property
    def name(self) -> str:
        return self._name or snake_case(type(self).__name__)

    @name.setter
    def name(self, value: str) -> None:
        self._name = value

    @property
    def named_by_user(self) -> bool:
        return self._name is not None

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        if self._name is not None:  # a model may have given it since
            config["name"] = self._name
        if not self._trainable:
            config["trainable"] = False
        return config

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Any:
        """The layer that `get_config` described; name and trainable are set from outside, no class need take them."""
        config = dict(config)
        name, trainable = config.pop("name", None), config.pop("trainable", True)
        layer = cls(**config)
        layer._name = name
        if not trainable:
            layer.trainable = False
        return layer

    def compute_output_shape(self, input_shape: Any) -> Any:
        """The output's shape, sizes unknown as None; a list of shapes for several outputs. Default: the input's."""
        return input_shape

    def build_for(self, input_shape: Any) -> None:
        """Make the weights for inputs of this shape, if they do not exist yet, and check the shape."""
        self.check_shape(input_shape)
        if not self.built:
            self.build(input_shape)
            self.mark_built()
        if self.input_shape is None:
            self.input_shape = input_shape

    def check_shape(self, shape: Any) -> None:
        """Raise `ShapeError` for an input of another rank, or of other features than the layer was built for."""
        if not isinstance(shape, tuple):
            return
        if self.input_rank is not None and len(shape) != self.input_rank:
            axes = {2: "(batch, features)", 3: "(batch, time, features)"}[self.input_rank]
            raise ShapeError("the input has the wrong number of axes", expected=axes, got=shape, where=f"layer {self.name}")
        if self.fixed_features and isinstance(self.input_shape, tuple):
            expected = self.input_shape[-1]
            if expected is not None and shape[-1] is not None and shape[-1] != expected:
                where = f"layer {self.name}"
                raise ShapeError("the input has other features", expected=expected, got=shape[-1], where=where)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        args = tuple(_to_tensors(arg) for arg in args)
        if args or kwargs:
            first = args[0] if args else next(iter(kwargs.values()))
            self.build_for(shape_of(first))
        if symbolic_leaves((args, kwargs)):
            return record(self, args, kwargs)
        return super().__call__(*args, **kwargs)

    def get_weights(self) -> list[np.ndarray[Any, Any]]:
        """Copies of the weights in Keras's order."""
        self._must_be_built()
        return [weight.detach().cpu().numpy().copy() for weight in self.weights]

    def set_weights(self, weights: list[Any]) -> None:
        """Copy `weights`, in Keras's order, into the layer. Raises `ShapeError` for another number or other shapes."""
        self._must_be_built()
        own = self.weights
        if len(weights) != len(own):
            where = f"layer {self.name}"
            raise ShapeError("another number of weights", expected=len(own), got=len(weights), where=where)
        for i, (weight, value) in enumerate(zip(own, weights, strict=True)):
            if tuple(weight.shape) != tuple(np.shape(value)):
                where = f"weight {i} of layer {self.name}"
                raise ShapeError("a weight has another shape", expected=tuple(weight.shape), got=np.shape(value), where=where)
        with torch.no_grad():
            for weight, value in zip(own, weights, strict=True):
                weight.copy_(torch.as_tensor(np.asarray(value)))

    @property
    def weights(self) -> list[Tensor]:
        """Parameters in the order they were made."""
        return list(self.parameters())

    def count_params(self) -> int:
        """Number of weights."""
        self._must_be_built()
        return sum(weight.numel() for weight in self.weights)

    def _must_be_built(self) -> None:
        for module in self.modules():
            if isinstance(module, BuildableModule) and not module.built:
                name = getattr(module, "name", type(module).__name__)
                raise NotBuiltError(f"layer {name} has no weights yet", fix="Call it once, or put an Input in front")


def each_step(x: Any, function: Callable[[Tensor], Tensor]) -> Any:
    """`function` of a tensor, or of a `Ragged`'s values: for layers that treat every step alike."""
    return x.with_values(function(x.values)) if isinstance(x, Ragged) else function(x)


def snake_case(name: str) -> str:
    """`LayerNormalization` -> `layer_normalization`, `LSTM` -> `lstm`."""
    name = re.sub(r"(.)([A-Z][a-z0-9]+)", r"\1_\2", name)
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower()


def _to_tensors(value: Any) -> Any:
    def convert(leaf: Any) -> Any:
        if not isinstance(leaf, np.ndarray):
            return leaf
        tensor = torch.as_tensor(leaf)
        return tensor.to(torch.get_default_dtype()) if tensor.is_floating_point() else tensor

    if isinstance(value, (SymbolicTensor, Tensor, Ragged)):
        return value
    return map_leaves(convert, value)
