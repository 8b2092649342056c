"""`Network`: layers as a whole: to find one, to make their weights, to keep the states of the stateful."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from numbers import Integral
from typing import Any

import torch
from torch import Tensor

from rondeau.cells.base import check_state, state_leaves
from rondeau.errors import ArgumentError, CheckpointError
from rondeau.layers import Layer
from rondeau.layers.carried import nothing_carried
from rondeau.layers.graph import shape_of
from rondeau.layers.recurrent import RNN
from rondeau.layers.time import TimeDistributed
from rondeau.models.state import State
from rondeau.sequence import Ragged
from rondeau.training.batch import map_data, take
from rondeau.training.trainer import flat_outputs, in_mode, model_dtype


class Network(Layer):
    """A layer made of layers; what the training loop asks of a model, and no training itself.

    `chain_name`: the attribute that holds the layers, where it is no part of their names.
    """

    chain_name: str | None = None

    _output_count: int | None = None  # None while unknown: a subclassed model shows it when it first runs
    _output_keys: list[str] | None = None
    _declared: dict[RNN, bool] | None = None  # inside `carrying`: which layers were made `stateful`
    between = False  # two batches of `carrying`, where callbacks run, whose calls are no part of what is carried

    @property
    def output_names(self) -> list[str]:
        """Names of the outputs; of a subclassed model its dict's keys, or `output_1`, `output_2`, ..."""
        if self._output_keys is not None:
            return self._output_keys
        count = self._output_count or 1
        return ["output"] if count == 1 else [f"output_{i + 1}" for i in range(count)]

    @property
    def input_count(self) -> int:
        """How many inputs it takes; a subclassed model takes one, or a tuple or dict as it comes."""
        return 1

    @property
    def ready(self) -> bool:
        """Whether all weights exist, and the number of outputs is known."""
        return self._output_count is not None and not self._unbuilt()

    @staticmethod
    def run_layer(layer: Layer, x: Any, *args: Any, **kwargs: Any) -> Any:
        """Call a layer inside the model: outputs of models stay `Ragged`, and whole numbers become what weights are.

        Pixels and counts may come as integers, as in Keras; a layer by itself asks for the type of its weights.
        """
        if isinstance(layer, Network):
            return layer(x, *args, **kwargs, expand=False)
        if layer.fixed_features and isinstance(x, (Tensor, Ragged)) and not x.dtype.is_floating_point:
            x = x.to(model_dtype(layer))
        return layer(x, *args, **kwargs)

    def _unbuilt(self) -> bool:
        return any(not getattr(module, "built", True) for module in self.modules())

    def build_on(self, x: Any) -> None:
        """Make the weights by running one row of x, on the CPU; nothing is drawn but the weights."""
        self.to("cpu")
        outputs = trial(self, map_data(lambda leaf: take(leaf, torch.arange(min(1, len(leaf)))), x))
        self._output_count = len(flat_outputs(outputs))
        self._output_keys = list(outputs) if isinstance(outputs, dict) else None

    def compute_output_shape(self, input_shape: Any) -> Any:
        """The output's shape, found by running on zeros; the weights are made on the way.

        Raises `ArgumentError` where that fails: a subclass that takes other inputs defines this method itself.
        """
        shape = shape_by_trial(self, input_shape)
        if shape is None:
            fix = "Define compute_output_shape(input_shape)"
            raise ArgumentError(f"{type(self).__name__}: what it makes of {input_shape} is not known", fix=fix)
        return list(shape.values()) if isinstance(shape, dict) else shape

    @property
    def layers(self) -> list[Layer]:
        """The layers directly inside."""
        return [child for child in self.children() if isinstance(child, Layer)]

    def get_layer(self, name: str | None = None, index: int | None = None) -> Layer:
        """A layer by its name or place. Raises `ArgumentError` where there is none."""
        found = [layer for layer in self.layers if layer.name == name]
        if index is not None:
            found = self.layers[index : index + 1 or None]
        if not found:
            expected = ", ".join(layer.name for layer in self.layers)
            got = name if index is None else index
            raise ArgumentError("there is no such layer", expected=f"one of {expected}", got=got)
        return found[0]

    def layer_of(self, parameter: str) -> str:
        """The name of the layer that owns a parameter, and the parameter's: `lstm (recurrent_kernel)`."""
        *path, last = parameter.split(".")
        module: torch.nn.Module = self
        name = self.name
        for part in path:
            module = module._modules[part]  # type: ignore[assignment]
            name = module.name if isinstance(module, Layer) else name
        return f"{name} ({last})"

    def recurrent_layers(self) -> Iterator[tuple[str, RNN]]:
        """All recurrent layers, also those inside other layers, by name: `lstm`, `bidirectional.forward_layer`."""
        for path, module in self.named_modules():
            if isinstance(module, RNN):
                names, owner = [], self
                for part in path.split("."):
                    if getattr(owner, "chain_name", None) != part:
                        names.append(part)
                    owner = owner._modules[part]  # type: ignore[assignment]
                yield ".".join(names), module

    def _stateful(self) -> Iterator[tuple[str, RNN]]:
        return ((name, layer) for name, layer in self.recurrent_layers() if layer.stateful)

    def initial_state(self, rows: int) -> State:
        """The state before the first step of `rows` sequences, for `model(x, initial_state=state)`.

        It holds no state of a layer that the model itself gives one, as a decoder may get it from an encoder. Raises
        `ArgumentError` for a number of rows below 0.
        """
        if not isinstance(rows, Integral) or isinstance(rows, bool) or rows < 0:
            raise ArgumentError("initial_state: rows", expected="a whole number, 0 or more", got=repr(rows))
        rows = int(rows)
        device = next((p.device for p in self.parameters()), torch.device("cpu"))
        tensors: dict[str, Tensor] = {}
        for name, layer in self._calls_of(self.carrying_layers()):
            begun = layer.cell.initial_state(rows, dtype=model_dtype(self), device=device)
            tensors |= {f"{name}.{part}" if part else name: leaf for part, leaf in state_leaves(begun)}
        return State(tensors)

    def carrying_layers(self) -> dict[str, RNN]:
        """The recurrent layers whose rows are the model's, by name; not those that see each step by itself."""
        apart = {id(m) for t in self.modules() if isinstance(t, TimeDistributed) for m in t.modules()}
        return {name: layer for name, layer in self.recurrent_layers() if id(layer) not in apart}

    def _calls_of(self, layers: dict[str, RNN]) -> Iterator[tuple[str, RNN]]:
        """Each layer once for each state that a call of the model begins with."""
        yield from layers.items()

    def reset_states(self) -> None:
        """Forget the states that `stateful` layers keep between batches."""
        for _, layer in self._stateful():
            layer.reset_states()

    reset_state = reset_states

    @contextmanager
    def carrying(self, carry: bool) -> Iterator[None]:
        """Inside `with`, all recurrent layers carry their states from batch to batch, or only the `stateful` ones.

        Those inside a `TimeDistributed` are left alone: each step is a sequence of its own to them.
        """
        outer = self._declared
        layers = list(self.carrying_layers().values())
        before = [(layer, layer.stateful) for layer in layers]
        self._declared = dict(before) if outer is None else outer
        between, self.between = self.between, False
        for layer in layers:
            layer.stateful = carry or self._declared.get(layer, layer.stateful)
        try:
            yield
        finally:
            for layer, stateful in before:
                layer.stateful = stateful
                if not stateful:
                    layer.reset_states()
            self._declared, self.between = outer, between

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Of a copy made inside `carrying`, which is as if made outside of it."""
        super().__setstate__(state)  # type: ignore[no-untyped-call]
        declared, self._declared, self.between = self._declared, None, False
        for layer, stateful in (declared or {}).items():
            layer.stateful = stateful
            if not stateful:
                layer.reset_states()

    def check_windows(self, x: Any) -> None:
        """Raise `ArgumentError`, naming the layer, where the model needs more of x than a window at a time."""
        from rondeau.models.window_check import check_windows  # it knows the models that are made of this

        check_windows(self, x)

    def states(self) -> dict[str, Tensor]:
        """The states that `stateful` layers keep, by layer and name: `lstm.h`, `lstm.c`; empty after `reset_states`."""
        kept = [(name, layer) for name, layer in self._stateful() if layer.state is not None]
        return {f"{name}.{part}": leaf for name, layer in kept for part, leaf in state_leaves(layer.state)}

    def load_states(self, states: dict[str, Tensor]) -> None:
        """Put back what `states` gave. Raises `CheckpointError` for other layers' states, `StateError` for sizes."""
        chosen: list[tuple[RNN, Any]] = []
        unknown = set(states)
        for name, layer in self._stateful():
            parts = [f"{name}.{part}" for part, _ in state_leaves(layer.cell.state_size)]
            leaves = [states[part] for part in parts if part in states]
            unknown -= set(parts)
            if leaves:
                chosen.append((layer, check_state(layer.cell, leaves, len(leaves[0]), f"layer {layer.name}")))
        if unknown:
            raise CheckpointError("states of layers that are not here", got=sorted(unknown))
        self.reset_states()
        for layer, state in chosen:
            layer.state = state


def trial(layer: Layer, x: Any) -> Any:
    """What a layer makes of x, run so that nothing comes of it but weights: no mode, state or gradient changes."""
    kept = [(m, m.state) for m in layer.modules() if isinstance(m, RNN) and m.stateful]
    for module, _ in kept:
        module.reset_states()
    try:
        with in_mode(layer, training=False), torch.no_grad(), nothing_carried():
            return Network.run_layer(layer, x)
    finally:
        for module, state in kept:
            module.state = state


def shape_by_trial(layer: Layer, shape: Any) -> Any:
    """The shape of what a layer makes of zeros, None where it cannot run on them.

    Two trials with other sizes for those unknown tell which of the output's follow from them, and are unknown too.
    """
    try:
        one, other = (shape_of(trial(layer, _zeros(shape, size))) for size in (2, 3))
    except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError):
        return None  # the layer wants something else than zeros; data will show
    return _common(one, other)


def _zeros(shape: Any, size: int) -> Any:
    if isinstance(shape, dict):
        return {name: _zeros(part, size) for name, part in shape.items()}
    if isinstance(shape, list):
        return [_zeros(part, size) for part in shape]
    return torch.zeros([size if known is None else known for known in shape])


def _common(one: Any, other: Any) -> Any:
    if isinstance(one, dict):
        return {name: _common(part, other[name]) for name, part in one.items()}
    if isinstance(one, list):
        return [_common(*parts) for parts in zip(one, other, strict=True)]
    return tuple(a if a == b else None for a, b in zip(one, other, strict=True))
