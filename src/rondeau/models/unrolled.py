"""A model's single step: its layers' calls in order, the states of its recurrent layers side by side, as one cell."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from rondeau.cells.base import Cell, Context, HiddenState, begin, state_leaves
from rondeau.errors import ArgumentError, ShapeError
from rondeau.layers import (
    RNN,
    Dropout,
    Embedding,
    InputLayer,
    Layer,
    Masking,
    RepeatVector,
    TimeDistributed,
)
from rondeau.layers.graph import symbolic_leaves
from rondeau.models.functional import Functional
from rondeau.models.network import Network, trial
from rondeau.models.sequential import Sequential
from rondeau.models.whole import NEEDS_MORE
from rondeau.sequence import Ragged

_TRIED = 3  # steps


@dataclass(frozen=True)
class Value:
    """What a call gives: its place in a list, and whether it has an entry for each step, or one for the sequence."""

    place: int
    steps: bool


@dataclass
class Call:
    """One layer's call. `state`: the place of its state, for a recurrent layer."""

    layer: Layer
    name: str
    inputs: list[Value]
    several: bool
    outputs: list[Value]
    state: int | None = None


@dataclass
class Plan:
    """The calls of a model in order; `ids`: whether its input is whole numbers; `shape` of one row of it."""

    shape: tuple[int, ...]
    ids: bool
    calls: list[Call] = field(default_factory=list)
    states: dict[str, Cell] = field(default_factory=dict)
    count: int = 1  # values so far; the first is the input

    @property
    def limits(self) -> list[tuple[int, int]]:
        """The lowest and the highest id that each table takes."""
        tables = [c.layer for c in self.calls if isinstance(c.layer, Embedding) and c.inputs[0].place == 0]
        return [(int(t.mask_zero), t.input_dim - 1) for t in tables]

    def value(self, steps: bool) -> Value:
        self.count += 1
        return Value(self.count - 1, steps)


def refused(name: str, why: str, fix: str | None = None) -> ArgumentError:
    """The error for a layer that needs more than one step at a time."""
    return ArgumentError(f"layer {name} cannot run step by step: {why}", fix=fix)


def plan_of(model: Network) -> tuple[Plan, Value]:
    """The calls, and the value that is the output. Raises `ArgumentError` for a model that cannot run step by step."""
    if not isinstance(model, (Sequential, Functional)):
        what = f"{type(model).__name__} cannot run step by step: only its own forward knows what follows what"
        raise ArgumentError(what, fix="Make it a Sequential, or a functional Model(inputs, outputs)")
    shape, first = _input(model)
    ids = isinstance(first, Embedding)
    steps = 2  # axes of batch and time
    if len(shape) < steps + (not ids):
        raise ShapeError("a stream needs an input with a time axis", expected="(batch, time, features)", got=shape)
    if None in shape[steps:]:
        raise ShapeError("a stream needs to know the features of its input", got=shape)
    plan = Plan(tuple(shape[steps:]), ids)
    output = _follow(plan, model, Value(0, True), "")
    return plan, output


def _input(model: Network) -> tuple[tuple[Any, ...], Layer | None]:
    """The shape of the input with batch and time, and the layer that reads it first."""
    if isinstance(model, Functional):
        if len(model.inputs) != 1:
            raise ArgumentError("a stream takes one input", got=f"{len(model.inputs)}")
        source = model.inputs[0]
        readers = [n.layer for n in model.nodes if any(s.node is source.node for s in n.parents)]
        shape = source.shape
        first = next((r for r in readers if isinstance(r, Embedding)), readers[0])
    else:
        if not model.layers:
            raise ArgumentError("a stream of a model without layers")
        first = model.layers[0]
        known = model._input.batch_shape if isinstance(model, Sequential) and model._input else model.input_shape
        if known is None:
            known = first.input_shape or ((None, None) if isinstance(first, Embedding) else None)
        if known is None:
            raise ArgumentError("the model's input is not known yet", fix="Call it once, or give it an Input")
        shape = known
    if isinstance(first, (Sequential, Functional)):
        return shape, _input(first)[1]
    return shape, first


def _follow(plan: Plan, model: Network, x: Value, prefix: str) -> Value:
    if isinstance(model, Sequential) and type(model).forward is Sequential.forward:
        for layer in model.layers:
            (x,) = _call(plan, layer, [x], False, prefix)[:1]
        return x
    if not isinstance(model, Functional) or type(model).forward is not Functional.forward:
        raise refused(prefix + model.name, "it has a forward of its own")
    if len(model.inputs) != 1 or len(model.outputs) != 1:
        got = f"{len(model.inputs)} inputs and {len(model.outputs)} outputs"
        raise ArgumentError(f"a stream has one input and one output, model {model.name} has others", got=got)
    made: dict[int, list[Value]] = {}
    for node in model.nodes:
        if isinstance(node.layer, InputLayer):
            made[id(node)] = [x]
            continue
        if node.kwargs or len(node.args) != 1:
            given = ", ".join(node.kwargs) or "several arguments"
            raise refused(prefix + node.layer.name, f"it is called with {given}")
        several = isinstance(node.args[0], (list, tuple))
        inputs = [made[id(s.node)][s.position or 0] for s in symbolic_leaves(node.args)]
        made[id(node)] = _call(plan, node.layer, inputs, several, prefix)
    last = model.outputs[0]
    return made[id(last.node)][last.position or 0]


def _call(plan: Plan, layer: Any, inputs: list[Value], several: bool, prefix: str) -> list[Value]:
    name = prefix + layer.name
    if isinstance(layer, (Sequential, Functional)):
        return [_follow(plan, layer, inputs[0], name + ".")]
    steps = inputs[0].steps
    if any(v.steps != steps for v in inputs):
        raise refused(name, "it joins what has steps with what has none")
    inner = layer.layer if isinstance(layer, TimeDistributed) else layer
    for kind, why in NEEDS_MORE.items():
        if isinstance(layer, kind) and (steps or kind is RepeatVector):
            raise refused(name, why)
    if any(isinstance(m, (RNN, Cell)) for m in inner.modules()) and not isinstance(layer, RNN):
        raise refused(name, "it holds a recurrent layer, and only its own forward knows how it runs")
    call = Call(layer, name, inputs, several, [])
    if isinstance(layer, RNN):
        _recurrent(plan, layer, call)
    call.outputs.insert(0, plan.value(steps and (not isinstance(layer, RNN) or layer.return_sequences)))
    plan.calls.append(call)
    return call.outputs


def _recurrent(plan: Plan, layer: RNN, call: Call) -> None:
    if type(layer).forward is not RNN.forward:
        raise refused(call.name, "it has a forward of its own")
    if layer.go_backwards:
        raise refused(call.name, "it reads the sequence from its end (go_backwards), which a stream does not know")
    call.state = len(plan.states)
    name, again = call.name, 1
    while name in plan.states:  # a layer called twice has a state for each call
        again += 1
        name = f"{call.name}_{again}"
    plan.states[name] = layer.cell
    if layer.return_state:
        call.outputs += [plan.value(False) for _ in state_leaves(layer.cell.state_size)]


class Unrolled(Cell):
    """A model's step as a cell: x `(rows, *shape)`, its output laid flat, a tuple of its recurrent layers' states.

    Made of a model in `eval` mode. Each layer is tried on a few random steps, at once and one by one; `ArgumentError`
    for one that gives something else then.
    """

    def __init__(self, model: Network) -> None:
        super().__init__()
        self.model = model
        self.plan, self.result = plan_of(model)
        cells = list(self.plan.states.values())
        self.state_size = tuple(c.state_size for c in cells) or HiddenState(h=1)  # a loop has at least one state
        self.at: str | None = None  # the layer that runs
        self.dtype = next((p.dtype for p in model.parameters() if p.is_floating_point()), torch.get_default_dtype())
        self.output_shape = self._try()
        self.output_size = self.output_shape.numel()
        self.mark_built()

    @property
    def names(self) -> list[str]:
        """Of the states, one for each tensor."""
        found = []
        for name, cell in self.plan.states.items():
            found += [f"{name}.{leaf}" if leaf else name for leaf, _ in state_leaves(cell.state_size)]
        return found

    def initial_state(self, batch: int, *, dtype: Any = None, device: Any = None) -> Any:
        if not self.plan.states:
            return super().initial_state(batch, dtype=dtype, device=device)
        return tuple(c.initial_state(batch, dtype=dtype, device=device) for c in self.plan.states.values())

    def step(self, x: Tensor, state: Any, context: Context) -> tuple[Tensor, Any]:
        values: list[Any] = [None] * self.plan.count
        values[0] = x
        after = list(state)
        for call in self.plan.calls:
            self._run(call, values, after, context)
        output = values[self.result.place]
        return output.flatten(1) if output.ndim != 2 else output, self._as_state(state, after)

    def _as_state(self, state: Any, after: list[Any]) -> Any:
        return tuple(after) if self.plan.states else state

    def _run(self, call: Call, values: list[Any], states: list[Any], context: Context) -> None:
        self.at = call.name
        given = [values[v.place] for v in call.inputs]
        if call.state is not None:
            cell: Any = call.layer.cell
            more = (Context(cell, {}, context.index),) if cell.takes_context else ()
            output, states[call.state] = cell.step(given[0], states[call.state], *more)
            found = [output, *(t for _, t in state_leaves(states[call.state]))]
            for v, tensor in zip(call.outputs, found, strict=False):
                values[v.place] = tensor
        else:
            values[call.outputs[0].place] = _applied(call, given)
        self.at = None

    @torch.no_grad()
    def _try(self) -> torch.Size:
        """Every layer on a few steps at once, and step by step, must give the same. The shape of the output's rows."""
        g = torch.Generator().manual_seed(0)
        shape = (2, _TRIED, *self.plan.shape)
        if self.plan.ids:
            low, high = max(low for low, _ in self.plan.limits), min(high for _, high in self.plan.limits)
            x = torch.randint(low, high + 1, shape, generator=g)
        else:
            x = torch.randn(shape, generator=g, dtype=self.dtype)
        whole: list[Any] = [None] * self.plan.count
        each: list[list[Any]] = [[None] * self.plan.count for _ in range(_TRIED)]
        whole[0] = x
        for t, values in enumerate(each):
            values[0] = x[:, t]
        state = list(begin(self, None, x.to(self.dtype), "the state"))
        for call in self.plan.calls:
            for t, values in enumerate(each):
                self._run(call, values, state, Context(self, {}, torch.tensor(t)))
            for v in call.outputs:
                parts = [values[v.place] for values in each]
                whole[v.place] = torch.stack(parts, 1) if v.steps else parts[-1]
            if call.state is None:
                given = [whole[v.place] for v in call.inputs]
                made = trial(call.layer, given if call.several else given[0])
                made = made.expand() if isinstance(made, Ragged) else made
                if not _alike(made, whole[call.outputs[0].place]):
                    raise refused(call.name, "on a whole sequence it gives something else than on its steps one by one")
        output: Tensor = each[0][self.result.place]
        return output.shape[1:]


def _applied(call: Call, given: list[Tensor]) -> Tensor:
    """A layer that has no state, on one step."""
    layer, x = call.layer, given[0]
    if isinstance(layer, Embedding):
        return F.embedding(x, layer.embeddings)
    if isinstance(layer, (Masking, Dropout)):
        return x
    if isinstance(layer, TimeDistributed):
        return layer.layer(x)  # type: ignore[no-any-return]
    if not call.inputs[0].steps:
        return layer(given if call.several else x)  # type: ignore[no-any-return]
    one = [v.unsqueeze(1) for v in given]
    result = layer(one if call.several else one[0])
    if not isinstance(result, Tensor) or result.ndim < 2 or result.shape[1] != 1:
        raise refused(call.name, "it does not give one result for each step")
    return result.squeeze(1)


def _alike(made: Any, expected: Tensor) -> bool:
    if not isinstance(made, Tensor) or made.shape != expected.shape or made.dtype != expected.dtype:
        return False
    scale = float(expected.abs().nan_to_num().max()) if expected.numel() else 0.0
    return torch.allclose(made, expected, rtol=0, atol=1e-3 * scale, equal_nan=True)
