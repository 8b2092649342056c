"""The graph behind a functional model: its order, and its form in JSON."""

from __future__ import annotations

from typing import Any

import torch

from rondeau.config import serialize
from rondeau.errors import ArgumentError
from rondeau.layers import InputLayer, Layer
from rondeau.layers.graph import Node, SymbolicTensor, map_leaves


def ordered_nodes(inputs: list[SymbolicTensor], outputs: list[SymbolicTensor]) -> list[Node]:
    """All calls between inputs and outputs, each after those it depends on. `ArgumentError` for a loose input."""
    order: list[Node] = [tensor.node for tensor in inputs]
    seen = {id(node) for node in order}
    stack = [(tensor.node, False) for tensor in reversed(outputs)]
    while stack:
        node, ready = stack.pop()
        if id(node) in seen:
            continue
        if ready:
            seen.add(id(node))
            order.append(node)
        elif isinstance(node.layer, InputLayer):
            raise ArgumentError("Model: the outputs depend on an input that was not given", got=node.layer.name)
        else:
            stack.append((node, True))
            stack.extend((parent.node, False) for parent in reversed(node.parents))
    return order


def ordered_layers(nodes: list[Node], outputs: list[SymbolicTensor]) -> list[Layer]:
    """The layers of `nodes` (in an order that can run) as Keras lists them, so that `get_weights` is in its order.

    The farther a layer is from the outputs, by its longest way there, the earlier it comes; among equals the one
    that is met first on the way back from the outputs.
    """
    distance: dict[int, int] = {}  # of a call
    farthest: dict[int, int] = {}  # of a layer, over its calls
    for node in reversed(nodes):
        mine = max(distance.get(id(node), 0), farthest.get(id(node.layer), 0))
        distance[id(node)] = farthest[id(node.layer)] = mine
        for parent in node.parents:
            distance[id(parent.node)] = max(distance.get(id(parent.node), 0), mine + 1)
    met: dict[int, int] = {}
    stack = [tensor.node for tensor in reversed(outputs)]
    seen: set[int] = set()
    while stack:
        node = stack.pop()
        if id(node) not in seen:
            seen.add(id(node))
            met.setdefault(id(node.layer), len(met))
            stack.extend(parent.node for parent in reversed(node.parents))
    layers = {id(node.layer): node.layer for node in nodes}
    order = sorted(layers, key=lambda key: (-farthest[key], met.get(key, -1)))
    return [layers[key] for key in order]


def value_of(leaf: Any, made: dict[int, Any]) -> Any:
    """What has been computed for a symbolic tensor; anything else is itself. `made`: id of a node -> its outputs."""
    if not isinstance(leaf, SymbolicTensor):
        return leaf
    value = made[id(leaf.node)]
    if leaf.position is None:
        return value
    return list(value.values())[leaf.position] if isinstance(value, dict) else value[leaf.position]


def describe_graph(model: Any) -> dict[str, Any]:
    """Layers, and the calls between them; a symbolic tensor is `{"made_by": call, "position": of the output}`."""
    number = {id(node): i for i, node in enumerate(model.nodes)}

    def refer(leaf: Any) -> Any:
        if isinstance(leaf, SymbolicTensor):
            return {"made_by": number[id(leaf.node)], "position": leaf.position}
        return serialize(leaf, "an argument of a layer's call")

    calls = [
        {"layer": node.layer.name, "args": map_leaves(refer, node.args), "kwargs": map_leaves(refer, node.kwargs)}
        for node in model.nodes
    ]
    ends = {"inputs": map_leaves(refer, model._inputs), "outputs": map_leaves(refer, model._outputs)}
    layers = {layer.name: serialize(layer) for layer in model.layers}
    return {"name": model._name, "layers": layers, "calls": calls, **ends}


def rebuild_graph(config: dict[str, Any]) -> tuple[Any, Any]:
    """Symbolic inputs and outputs, from what `describe_graph` gave, its layers made already."""
    made: dict[int, Any] = {}

    def find(data: Any) -> Any:
        if isinstance(data, dict) and data.keys() == {"made_by", "position"}:
            outputs = made[data["made_by"]]
            return outputs if data["position"] is None else outputs[data["position"]]
        if isinstance(data, dict):
            return {key: find(value) for key, value in data.items()}
        return [find(value) for value in data] if isinstance(data, (list, tuple)) else data

    for i, call in enumerate(config["calls"]):
        layer = config["layers"][call["layer"]]
        if isinstance(layer, InputLayer):
            node = Node(layer, (), {})
            dtype = getattr(torch, layer.dtype) if layer.dtype else None
            made[i] = node.outputs = SymbolicTensor(layer.batch_shape, dtype, node, None)
        else:
            made[i] = layer(*find(call["args"]), **find(call["kwargs"]))
    return find(config["inputs"]), find(config["outputs"])
