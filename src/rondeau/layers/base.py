"""`Layer`: a torch module with Keras's manners: a name, weights made when the input comes, symbolic calls."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from rondeau.errors import ArgumentError, DataError, NotBuiltError, ShapeError
from rondeau.layers.graph import map_leaves, record, shape_of, symbolic_leaves
from rondeau.module import BuildableModule
from rondeau.sequence import Ragged, to_tensor

_MEANINGLESS = {
    "use_cudnn": "which loop runs a cell is no setting of the layer",
    "unroll": "the loop is never unrolled, compiled or not",
    "implementation": "there is one definition of each cell",
    "time_major": "inputs are (batch, time, features); strides may be any",
    "data_format": "inputs are (batch, time, features)",
    "lora_rank": "weights are trained whole",
    "quantization_config": "weights are floats",
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

    A layer defines `forward`, and, if it has weights, `build(input_shape)`, which makes them with `add_weight`. In a
    model it meets tensors `(batch, ...)` and, where sequences have lengths or masks, `Ragged`. Where its output has
    another shape than its input it defines `compute_output_shape`.

    Args:
        name: default: the class's name in snake case, numbered by the model.
        trainable: whether its weights take gradients (default true).

    Attributes:
        input_rank: axes that inputs must have, batch included; `None` for any.
        fixed_features: whether the last axis must keep the size the layer was built for, in the weights' own type.
        input_shape: what it was first built for: sizes, None where unknown; a list of them for several inputs.

    Calling it makes the weights if need be, turns NumPy arrays into tensors (floats of torch's default type), and gives
    symbolic tensors for symbolic ones. Raises `ShapeError` or `DataError` for inputs that do not fit.

    >>> class Scale(Layer):
    ...     def build(self, input_shape):
    ...         self.factor = self.add_weight("factor", (input_shape[-1],), "ones")
    ...     def forward(self, x):
    ...         return self.factor * x
    >>> Scale()(torch.ones(2, 3)).shape
    torch.Size([2, 3])
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
        """Whether it has a name of its own, not its class's."""
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

    def output_shape_of_call(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """`compute_output_shape` for a call; a layer whose outputs depend on more than the first input refines it."""
        return self.compute_output_shape(shape_of(_first(args, kwargs)))

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
            axes = {2: "(batch, features)", 3: "(batch, time, features)"}.get(
                self.input_rank, f"{self.input_rank} axes"
            )
            what = f"layer {self.name}: the input has the wrong number of axes"
            raise ShapeError(what, expected=axes, got=shape)
        if self.fixed_features and isinstance(self.input_shape, tuple):
            expected = self.input_shape[-1]
            if expected is not None and shape[-1] is not None and shape[-1] != expected:
                what = f"layer {self.name}: the input has another number of features than the layer was built for"
                raise ShapeError(what, expected=expected, got=shape[-1])

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if "training" in kwargs and "training" not in inspect.signature(self.forward).parameters:
            fix = "Use layer.train() and layer.eval(), or call the model with training=..."
            raise ArgumentError("training is no argument of a layer's call", where=f"layer {self.name}", fix=fix)
        args, kwargs = _to_tensors(args), _to_tensors(kwargs)
        if args or kwargs:
            first = _first(args, kwargs)
            self.build_for(shape_of(first))
            self._check_type(first)
        if symbolic_leaves((args, kwargs)):
            return record(self, args, kwargs)
        return super().__call__(*args, **kwargs)

    def _check_type(self, x: Any) -> None:
        weight = next(self.parameters(), None) if self.fixed_features else None
        if weight is None or not isinstance(x, (Tensor, Ragged)) or x.dtype == weight.dtype:
            return
        if not torch.is_autocast_enabled(x.device.type):
            what = f"layer {self.name}: the input has another type than the weights"
            other = f"the weights with to({x.dtype})" if x.dtype.is_floating_point else "ids with an Embedding"
            raise DataError(
                what, expected=weight.dtype, got=x.dtype, fix=f"Convert it with x.to({weight.dtype}), or {other}"
            )

    def get_weights(self) -> list[npt.NDArray[Any]]:
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
        values = [to_tensor(value, f"weight {i} of layer {self.name}") for i, value in enumerate(weights)]
        for i, (weight, value) in enumerate(zip(own, values, strict=True)):
            if weight.shape != value.shape:
                where = f"weight {i} of layer {self.name}"
                expected, got = tuple(weight.shape), tuple(value.shape)
                raise ShapeError("a weight has another shape", expected=expected, got=got, where=where)
        with torch.no_grad():
            for weight, value in zip(own, values, strict=True):
                weight.copy_(value)

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


def real_steps(layer: Layer, x: Any, mask: Any) -> Any:
    """x without its masked steps: a `Ragged` where there is a mask `(batch, time)`; x itself where there is none.

    Raises `ArgumentError` for a mask beside a `Ragged`, `ShapeError` for one of another shape than x's batch and time.
    """
    if mask is None:
        return x
    if isinstance(x, Ragged):
        fix = "Leave the mask out: every step of a Ragged is real"
        raise ArgumentError("a mask beside a Ragged input", where=f"layer {layer.name}", fix=fix)
    mask = to_tensor(mask, f"the mask of layer {layer.name}")
    if tuple(mask.shape) != tuple(x.shape[:2]):
        what = f"layer {layer.name}: the mask does not fit the input"
        raise ShapeError(what, expected=tuple(x.shape[:2]), got=tuple(mask.shape))
    return Ragged.compress(x, mask)


def each_step(x: Any, function: Callable[[Tensor], Tensor]) -> Any:
    """`function` of a tensor, or of a `Ragged`'s values: for layers that treat every step by itself."""
    return x.with_values(function(x.values)) if isinstance(x, Ragged) else function(x)


def snake_case(name: str) -> str:
    """`LayerNormalization` -> `layer_normalization`, `LSTM` -> `lstm`."""
    name = re.sub(r"(.)([A-Z][a-z0-9]+)", r"\1_\2", name)
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower()


def _first(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    return args[0] if args else next(iter(kwargs.values()))


def _to_tensors(value: Any) -> Any:
    def convert(leaf: Any) -> Any:
        if not isinstance(leaf, np.ndarray):
            return leaf
        tensor = to_tensor(leaf)
        return tensor.to(torch.get_default_dtype()) if tensor.is_floating_point() else tensor

    return map_leaves(convert, value)
