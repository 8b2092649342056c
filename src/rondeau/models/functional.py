"""The functional model: a graph of layer calls from `Input`s to outputs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rondeau.errors import ArgumentError, DataError, ShapeError
from rondeau.layers import InputLayer, Layer
from rondeau.layers.base import each_step
from rondeau.layers.graph import Node, SymbolicTensor, map_leaves, symbolic_leaves
from rondeau.layers.recurrent import RNN
from rondeau.models.graph import describe_graph, ordered_layers, ordered_nodes, rebuild_graph, value_of
from rondeau.models.model import Model
from rondeau.models.naming import give_names, named_modules


class Functional(Model):
    """Made by `Model(inputs, outputs)`.

    Args:
        inputs: what `Input` gave: one, a list of several, or a dict of them.
        outputs: symbolic tensors that follow from the inputs; one, a list, or a dict, whose keys name the outputs.

    Raises `ArgumentError` where an output depends on an input that is not among the inputs.
    """

    chain_name = "graph"

    def __init__(self, inputs: Any, outputs: Any, name: str | None = None) -> None:
        super().__init__(name=name)
        self._inputs, self._outputs = inputs, outputs
        self.inputs, self.outputs = symbolic_leaves(inputs), symbolic_leaves(outputs)
        if not self.inputs or not self.outputs:
            got = f"{len(self.inputs)} inputs, {len(self.outputs)} outputs"
            fix = "Begin with layers.Input(shape)"
            raise ArgumentError("Model", expected="symbolic inputs and outputs", got=got, fix=fix)
        for tensor in self.inputs:
            if not isinstance(tensor.node.layer, InputLayer):
                fix = "Begin with layers.Input(shape)"
                raise ArgumentError("Model: an input was not made by Input", got=tensor, fix=fix)
        self.nodes = ordered_nodes(self.inputs, self.outputs)
        found = ordered_layers(self.nodes, self.outputs)
        give_names(found)
        self.graph = named_modules(found)
        self._output_count = len(self.outputs)
        self._output_keys = self._names()

    def _names(self) -> list[str]:
        if isinstance(self._outputs, Mapping):
            return list(self._outputs)
        names: list[str] = []
        for tensor in self.outputs:  # a layer called twice gives its second output a number
            base = tensor.node.layer.name
            same = sum(tensor.node.layer is other.node.layer for other in self.outputs[: len(names)])
            names.append(f"{base}_{same + 1}" if same else base)
        return names

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

    def _calls_of(self, layers: dict[str, RNN]) -> Iterator[tuple[str, RNN]]:
        for name, layer in layers.items():
            inside = self.graph[name.split(".")[0]]
            calls = [n for n in self.nodes if n.layer is inside and not _given_state(n)]
            for number in range(1, len(calls) + 1):
                yield name if number == 1 else f"{name}_{number}", layer

    def check_shape(self, shape: Any) -> None:
        """The layers check for themselves, by name."""

    def compute_output_shape(self, input_shape: Any) -> Any:
        shapes = [tensor.shape for tensor in self.outputs]
        return shapes[0] if isinstance(self._outputs, SymbolicTensor) else shapes

    def forward(self, x: Any) -> Any:
        made = {
            id(tensor.node): _fitted(tensor, value) for tensor, value in zip(self.inputs, self._given(x), strict=True)
        }
        for node in self.nodes:
            if id(node) not in made:
                args, kwargs = map_leaves(lambda leaf: value_of(leaf, made), (node.args, node.kwargs))
                made[id(node)] = self.run_layer(node.layer, *args, **kwargs)
        return map_leaves(lambda leaf: value_of(leaf, made), self._outputs)

    def _given(self, x: Any) -> list[Any]:
        """One value for each input, from one alone, a list, or a dict by name."""
        own = self._inputs if isinstance(self._inputs, Mapping) else {}
        names = list(own) or [tensor.node.layer.name for tensor in self.inputs]
        if isinstance(x, Mapping):
            if set(x) != set(names):
                raise DataError("the inputs have other names", expected=names, got=list(x))
            return [x[name] for name in names]
        given = list(x) if isinstance(x, (list, tuple)) else [x]
        if len(given) != len(names):
            raise DataError("another number of inputs", expected=f"{len(names)}: {', '.join(names)}", got=len(given))
        return given


def _given_state(node: Node) -> bool:
    return len(node.args) > 1 or node.kwargs.get("initial_state") is not None


def _fitted(tensor: SymbolicTensor, value: Any) -> Any:
    """The value of an input, in the type it asks for; as in Keras a last axis of one may be left out, or too many."""
    shape, got = tensor.shape, tuple(value.shape)
    if len(got) + 1 == len(shape) and shape[-1] == 1:
        value = each_step(value, lambda values: values.unsqueeze(-1))
    elif len(got) - 1 == len(shape) and got[-1] == 1:
        value = each_step(value, lambda values: values.squeeze(-1))
    got = tuple(value.shape)
    sizes = zip(shape[1:], got[1:], strict=False)
    if len(got) != len(shape) or any(a is not None and b is not None and a != b for a, b in sizes):
        where = f"input {tensor.node.layer.name}"
        raise ShapeError("an input does not fit", expected=shape, got=got, where=where)
    return value if tensor.dtype in (None, value.dtype) else value.to(tensor.dtype)
