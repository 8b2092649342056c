"""A step as text and back, exact, and read without running anything: what a program carries into other processes.

The text is JSON: the nodes in their order, each `[op, arguments, shape, dtype, rows, attrs]`, an argument being the
place of an earlier node; which nodes are the results and the gradients; and of the captured tensors what they are like.
"""

from __future__ import annotations

import json
from typing import Any

import torch

from rondeau.errors import CheckpointError, SaveError
from rondeau.recurrence.extent import Extent
from rondeau.recurrence.ir import Graph, Node
from rondeau.recurrence.legal import Illegal, check
from rondeau.recurrence.trace.step import Step

VERSION = 1
_MOST_NODES = 1_000_000


def write(step: Step) -> str:
    """The step as text, without what the captured tensors hold; `read` makes the same graph of it, node for node.

    Raises `SaveError` for a step that holds something else than numbers and names.
    """
    content = {
        "rondeau step": VERSION,
        "nodes": [
            [n.op, [a.index for a in n.args], _plain(n.shape), n.dtype, int(n.rows), _plain(n.attrs)]
            for n in step.graph.nodes
        ],
        "output": step.output.index,
        "states": [s.index for s in step.states],
        "gradients": [[name, None if node is None else node.index] for name, node in step.gradients.items()],
        "captured": [[list(t.shape), str(t.dtype).removeprefix("torch.")] for t in step.captured],
    }
    return json.dumps(content, separators=(",", ":"))


def _plain(value: Any) -> Any:
    """Nested tuples of numbers and names as lists; the length of a memory as an object."""
    if isinstance(value, tuple):
        return [_plain(v) for v in value]
    if isinstance(value, Extent):
        return {"value": int(value), "base": value.base, "terms": [list(t) for t in value.terms]}
    if value is None or type(value) in (bool, int, float, str):
        return value
    fix = "Compute what it is made of outside the step, or in torch operations"
    raise SaveError("a step that cannot be written down", expected="numbers and names", got=repr(value), fix=fix)


def read(text: str) -> Step:
    """The step that `write` wrote; its captured tensors are `meta` ones, of the right shapes and types.

    Raises `CheckpointError` for text that is damaged, foreign or newer, or that describes no legal graph.
    """
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _damaged("no JSON") from error
    if not isinstance(content, dict) or "rondeau step" not in content:
        raise _damaged("no step")
    version = content["rondeau step"]
    if version != VERSION:
        fix = "Export the program again with this version"
        raise CheckpointError("a step written in another form", expected=f"version {VERSION}", got=version, fix=fix)
    try:
        return _step(content)
    except Illegal as error:
        raise _damaged(str(error)) from error
    except (TypeError, ValueError, KeyError, IndexError, AttributeError, OverflowError, RecursionError) as error:
        raise _damaged(f"{type(error).__name__}: {error}") from error


def _damaged(why: str) -> CheckpointError:
    fix = "Export the program again; it was cut short, changed, or not written by rondeau"
    return CheckpointError(f"what should be the text of a step is damaged: {why}", fix=fix)


def _step(content: dict[str, Any]) -> Step:
    graph = Graph()
    listed = _list(content["nodes"])
    if len(listed) > _MOST_NODES:
        raise Illegal(f"{len(listed)} nodes")
    for place, entry in enumerate(listed):
        op, args, shape, dtype, rows, attrs = entry
        if rows not in (0, 1) or not isinstance(op, str) or dtype not in ("float", "int", "bool", "several"):
            raise Illegal(f"node {place} is of no known kind")
        arguments = [_node(graph, a) for a in _list(args)]
        if graph.make(op, arguments, _back(_list(shape)), dtype, _back(attrs), bool(rows)).index != place:
            raise Illegal(f"node {place} is there twice")
    check(graph.nodes)
    gradients = {_text(name): None if at is None else _node(graph, at) for name, at in _list(content["gradients"])}
    states = [_node(graph, s) for s in _list(content["states"])]
    captured = [_like(shape, dtype) for shape, dtype in _list(content["captured"])]
    step = Step(graph, _node(graph, content["output"]), states, gradients, captured)
    _check_results(step)
    return step


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise Illegal(f"{value!r} where a list belongs")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise Illegal(f"{value!r} where a name belongs")
    return value


def _node(graph: Graph, place: Any) -> Node:
    if type(place) is not int or not 0 <= place < len(graph.nodes):
        raise Illegal(f"{place!r} is no node before")
    return graph.nodes[place]


def _back(value: Any) -> Any:
    if isinstance(value, list):
        return tuple(_back(v) for v in value)
    if isinstance(value, dict):
        terms = tuple((_text(name), _whole(factor)) for name, factor in value["terms"])
        return Extent(_whole(value["value"]), _whole(value["base"]), terms)
    return value


def _whole(value: Any) -> int:
    if type(value) is not int:
        raise Illegal(f"{value!r} where a whole number belongs")
    return value


def _like(shape: Any, dtype: Any) -> torch.Tensor:
    kind = getattr(torch, _text(dtype), None)
    if not isinstance(kind, torch.dtype) or any(_whole(n) < 0 for n in _list(shape)):
        raise Illegal(f"no tensor is {shape} of {dtype}")
    return torch.empty(shape, dtype=kind, device="meta")


def _check_results(step: Step) -> None:
    """What is computed is what loops can give, and the gradients are those of the inputs."""
    inputs = {n.attrs: n for n in step.graph.nodes if n.op == "input"}
    for i, state in enumerate(step.states):
        before = inputs.get(("state", str(i)))
        if before is not None and before.shape != state.shape:
            raise Illegal(f"state {i} changes its shape")
    for kind, name in inputs:
        if kind in ("state", "state_cotangent") and not 0 <= int(name) < len(step.states):
            raise Illegal(f"there is no state {name}")
        if kind == "param" and (not 0 <= int(name) < len(step.captured)):
            raise Illegal(f"there is no parameter {name}")
        if kind == "param" and inputs[kind, name].shape != tuple(step.captured[int(name)].shape):
            raise Illegal(f"parameter {name} has two shapes")
    for result in (step.output, *step.states):
        if result.op != "const" and not result.rows:
            raise Illegal("a result has no rows")
    for name, node in step.gradients.items():
        kind, _, place = name.partition(".")
        source = inputs.get((kind, place)) or inputs.get(("step", name)) or inputs.get(("row", name))
        if node is not None and source is not None and node.op != "const" and node.shape != source.shape:
            raise Illegal(f"the gradient of {name} has another shape than {name}")
