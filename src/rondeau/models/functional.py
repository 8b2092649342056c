"""The functional model: a graph of layer calls from `Input`s to outputs."""

from __future__ import annotations

from typing import Any

import torch

from rondeau.errors import ArgumentError, DataError, ShapeError
from rondeau.layers import InputLayer, Layer
from rondeau.layers.graph import SymbolicTensor, map_leaves, symbolic_leaves
from rondeau.models.graph import describe_graph, ordered_nodes, rebuild_graph, value_of
from rondeau.models.model import Model
from rondeau.models.naming import give_names


class Functional(Model):
    """Made by `Model(inputs, outputs)`: symbolic tensors, alone or in a list; outputs may be a dict too."""

    def __init__(self, inputs: Any, outputs: Any, name: str | None = None) -> None:
        super().__init__(name=name)
        self._inputs, self._outputs = inputs, outputs
        self.inputs, self.outputs = symbolic_leaves(inputs), symbolic_leaves(outputs)
        for tensor in self.inputs:
            if not isinstance(tensor.node.layer, InputLayer):
                raise ArgumentError("Model: an input was not made by Input", got=tensor, fix="Begin with layers.Input(shape)")
        if not self.inputs or not self.outputs:
            got = f"{len(self.inputs)} inputs, {len(self.outputs)} outputs"
            raise ArgumentError("Model", expected="symbolic inputs and outputs", got=got, fix="Begin with layers.Input(shape)")
        self.nodes = ordered_nodes(self.inputs, self.outputs)
        found: list[Layer] = []
        for node in self.nodes:
            if not any(node.layer is layer for layer in found):
                found.append(node.layer)
        give_names(found)
        self.graph = torch.nn.ModuleDict({layer.name: layer for layer in found})
        self._output_count = len(self.outputs)

    def get_config(self) -> dict[str, Any]:
        return describe_graph(self)

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Functional:
        return cls(*rebuild_graph(config), name=config["name"])

    @property
    def layers(self) -> list[Layer]:
        return list(self.graph.values())  # type: ignore[arg-type]

    @property
    def input_count(self) -> int:
        return len(self.inputs)

    @property
    def output_names(self) -> list[str]:
        if isinstance(self._outputs, dict):
            return list(self._outputs)
        names: list[str] = []
        for tensor in self.outputs:  # a layer called twice gives its second output a number
            base = tensor.node.layer.name
            names.append(base if base not in names else f"{base}_{names.count(base) + 1}")
        return names

    def check_shape(self, shape: Any) -> None:
        """The layers check for themselves, by name."""

    def compute_output_shape(self, input_shape: Any) -> Any:
        shapes = [tensor.shape for tensor in self.outputs]
        return shapes[0] if len(shapes) == 1 else shapes

    def forward(self, x: Any) -> Any:
        made: dict[int, Any] = {}
        for tensor, value in zip(self.inputs, self._given(x), strict=True):
            self._check_input(tensor, value)
            made[id(tensor.node)] = value
        for node in self.nodes:
            if id(node) not in made:
                args, kwargs = map_leaves(lambda leaf: value_of(leaf, made), (node.args, node.kwargs))
                options = {"expand": False} if isinstance(node.layer, Model) else {}
                made[id(node)] = node.layer(*args, **kwargs, **options)
        return map_leaves(lambda leaf: value_of(leaf, made), self._outputs)

    def _given(self, x: Any) -> list[Any]:
        names = [tensor.node.layer.name for tensor in self.inputs]
        if isinstance(x, dict):
            if set(x) != set(names):
                raise DataError("the inputs' names differ", expected=names, got=sorted(x))
            return [x[name] for name in names]
        given = list(x) if isinstance(x, (list, tuple)) else [x]
        if len(given) != len(names):
            raise DataError("another number of inputs", expected=f"{len(names)}: {', '.join(names)}", got=len(given))
        return given

    def _check_input(self, tensor: SymbolicTensor, value: Any) -> None:
        shape = tuple(value.shape)
        fits = len(shape) == len(tensor.shape) and all(
            a is None or b is None or a == b for a, b in zip(tensor.shape[1:], shape[1:], strict=True)
        )
        if not fits:
            where = f"input {tensor.node.layer.name}"
            raise ShapeError("an input does not fit", expected=tensor.shape, got=shape, where=where)
