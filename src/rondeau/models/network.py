"""`Network`: layers as a whole: to find one, to make their weights, to keep the states of the stateful."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from rondeau.cells.base import check_state, state_leaves
from rondeau.errors import ArgumentError, CheckpointError
from rondeau.layers import Layer
from rondeau.layers.recurrent import RNN
from rondeau.sequence import Ragged
from rondeau.training.batch import map_data, take
from rondeau.training.trainer import flat_outputs, in_mode, model_dtype


class Network(Layer):
    """A layer made of layers; what the training loop asks of a model, and no training itself."""

    _output_count: int | None = None  # None while unknown: a subclassed model shows it when it first runs
    _output_keys: list[str] | None = None

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
        row = map_data(lambda leaf: take(leaf, torch.arange(min(1, len(leaf)))), x)
        kept = self.states()
        self.reset_states()
        self.to("cpu")
        with in_mode(self, training=False), torch.no_grad():
            outputs = self(row, expand=False)
        self._output_count = len(flat_outputs(outputs))
        self._output_keys = list(outputs) if isinstance(outputs, dict) else None
        self.reset_states()
        self.load_states(kept)

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

    def _stateful(self) -> Iterator[tuple[str, RNN]]:
        return ((name, m) for name, m in self.named_modules() if isinstance(m, RNN) and m.stateful)

    def reset_states(self) -> None:
        """Forget the states that `stateful` layers keep between batches."""
        for _, layer in self._stateful():
            layer.reset_states()

    reset_state = reset_states

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
