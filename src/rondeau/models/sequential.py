"""`Sequential`: layers one after another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from rondeau.config import serialize
from rondeau.errors import ArgumentError
from rondeau.layers import Embedding, InputLayer, Layer
from rondeau.layers.graph import Shape, SymbolicTensor
from rondeau.models.model import Model
from rondeau.models.naming import give_names
from rondeau.models.network import Network, shape_by_trial


class Sequential(Model):
    """A stack of layers; each layer's weights are made as soon as its input's shape is known.

    Args:
        layers: the layers, or add them with `add`. The first may be an `Input(shape)`; an `Embedding` first needs none.

    >>> from rondeau import layers
    >>> model = Sequential([layers.Embedding(1000, 64), layers.LSTM(128), layers.Dense(10)])
    >>> model.count_params()
    164106
    """

    chain_name = "chain"

    def __init__(self, layers: Sequence[Any] | None = None, name: str | None = None) -> None:
        super().__init__(name=name)
        self.mark_built()  # it has no weights of its own
        self.chain = torch.nn.ModuleDict()
        self._shape: Any = None  # of the last output, None while unknown
        self._input: InputLayer | None = None
        self._complete = False  # whether all layers have been built for a first input; later ones are built as added
        self._output_count = 1
        for layer in layers or []:
            self.add(layer)

    @property
    def layers(self) -> list[Layer]:
        return list(self.chain.values())  # type: ignore[arg-type]

    @property
    def output_names(self) -> list[str]:
        return [self.layers[-1].name] if self.layers else ["output"]

    @property
    def output_shape(self) -> Any:
        """The output's shape, sizes unknown as None; None while nothing is known."""
        return self._shape

    def add(self, layer: Any) -> None:
        """Put a layer on top. Raises `ArgumentError` for what is no layer, `ShapeError` where it does not fit."""
        if isinstance(layer, SymbolicTensor):
            layer = layer.node.layer
        if isinstance(layer, InputLayer):
            if self.layers or self._input is not None:
                raise ArgumentError("Sequential: Input must come first", got=f"after {len(self.layers)} layers")
            self._input, self._shape = layer, layer.batch_shape
            return
        if not isinstance(layer, Layer):
            fix = "Make an instance, LSTM(64), or wrap a torch module in a Layer subclass"
            raise ArgumentError("Sequential.add", expected="a layer", got=repr(layer), fix=fix)
        if any(layer is own for own in self.layers):
            fix = "Make a second layer, or use the functional form to share one"
            raise ArgumentError("Sequential: the layer is in the model already", got=layer.name, fix=fix)
        if not self.layers and self._shape is None and isinstance(layer, Embedding):
            self._shape = (None, None)  # ids: (batch, time)
        give_names([*self.layers, layer])
        if self._shape is not None:
            layer.build_for(self._shape)
            self._shape = self._single(layer, shape_after(layer, self._shape))
        self.chain[layer.name] = layer

    @staticmethod
    def _single(layer: Layer, shape: Any) -> Any:
        if isinstance(shape, list):
            fix = "Use the functional form, Model(inputs, outputs)"
            raise ArgumentError(f"Sequential: layer {layer.name} has {len(shape)} outputs", expected="one", fix=fix)
        return shape

    def pop(self) -> Layer:
        """Take the last layer off and return it."""
        if not self.layers:
            raise ArgumentError("Sequential.pop: there are no layers")
        layer: Any = self.chain.pop(self.layers[-1].name)
        self._shape = _any_batch(layer.input_shape)  # what went into it comes out now
        if not self.layers:
            self._shape = None if self._input is None else self._input.batch_shape
        return layer  # type: ignore[no-any-return]

    def check_shape(self, shape: Any) -> None:
        """The layers check for themselves, by name."""

    def build_for(self, input_shape: Any) -> None:
        """Make the weights of all layers for inputs of this shape; once they exist each layer checks for itself."""
        if self._complete:
            return
        shape = self.compute_output_shape(input_shape)
        if self._shape is None:
            self._shape = _any_batch(shape)
        self.input_shape = self.input_shape or input_shape
        self._complete = True

    def build(self, input_shape: Shape) -> None:
        """Make the weights of all layers, as Keras's `model.build((None, 10, 8))`."""
        self.build_for(input_shape)

    def compute_output_shape(self, input_shape: Any) -> Any:
        shape = input_shape
        for layer in self.layers:
            if shape is not None:  # else the layer makes its weights when data comes by
                layer.build_for(shape)
                shape = shape_after(layer, shape)
        return shape

    def forward(self, x: Any) -> Any:
        for layer in self.layers:
            x = self.run_layer(layer, x)
        return x

    def get_config(self) -> dict[str, Any]:
        inputs = [] if self._input is None else [self._input]
        return {"name": self._name, "layers": serialize([*inputs, *self.layers])}


def shape_after(layer: Layer, shape: Any) -> Any:
    """The shape of a layer's output; of a layer that does not say, what a trial shows, None where it shows nothing."""
    said = type(layer).compute_output_shape
    ours = type(layer).__module__.startswith("rondeau.")
    if said is Network.compute_output_shape or (said is Layer.compute_output_shape and not ours):
        return shape_by_trial(layer, shape)
    return layer.compute_output_shape(shape)


def _any_batch(shape: Any) -> Any:
    return (None, *shape[1:]) if isinstance(shape, tuple) else shape
