"""`Model`: layers as a whole, with Keras's `compile`, `fit`, `evaluate`, `predict`, `summary`, `save`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rondeau.cells.base import check_state, state_leaves
from rondeau.errors import ArgumentError, CheckpointError, NotBuiltError, NotCompiledError
from rondeau.layers import Layer
from rondeau.layers.graph import map_leaves
from rondeau.layers.recurrent import RNN
from rondeau.models import saving
from rondeau.models.summary import print_summary
from rondeau.sequence import Ragged
from rondeau.training.class_weight import ClassWeighted, weigh_classes
from rondeau.training.callbacks.base import Callback, CallbackList, History
from rondeau.training.data import ArraySource, Batch, Source, data_leaves, make_source, map_data, take, to_data
from rondeau.training.loop import Loop, evaluate
from rondeau.training.objective import Objective
from rondeau.training.progress import progress_callback
from rondeau.training.trainer import Trainer, flat_outputs


class Model(Layer):
    """A network of layers. `Model(inputs, outputs)` makes one from symbolic tensors; a subclass defines `forward`.

    >>> from rondeau import layers
    >>> x = layers.Input((None, 3))
    >>> model = Model(x, layers.Dense(2)(layers.LSTM(4)(x)))
    >>> model(torch.zeros(5, 7, 3)).shape
    torch.Size([5, 2])
    """

    stop_training = False
    trainer: Trainer | None = None
    history: History | None = None

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        if cls is Model and (args or "inputs" in kwargs):
            from rondeau.models.functional import Functional  # it is a Model itself

            return Functional.__new__(Functional, *args, **kwargs)
        return super().__new__(cls, *args, **kwargs)

    def __call__(self, *args: Any, training: bool | None = None, expand: bool = True, **kwargs: Any) -> Any:
        """Run the model.

        Args:
            training: True or False for this call; default: the mode set by `train()` and `eval()` (`fit` ends in `eval`).
            expand: outputs whose padding was masked inside come back padded, a masked step repeating the last value
                (zero before the first); False gives them as `Ragged`. A `Ragged` input's outputs stay `Ragged`.
        """
        before = self.training
        if training is not None and training != before:
            self.train(training)
        try:
            outputs = super().__call__(*args, **kwargs)
        finally:
            if self.training != before:
                self.train(before)
        return map_leaves(_expanded, outputs) if expand else outputs

    # what the training loop asks of a model

    @property
    def output_names(self) -> list[str]:
        """Names of the outputs; of a subclassed model with several, `output_1`, `output_2`, ..."""
        count = getattr(self, "_output_count", 1)
        return ["output"] if count == 1 else [f"output_{i + 1}" for i in range(count)]

    @property
    def input_count(self) -> int:
        return 1

    def build_on(self, x: Any, device: torch.device) -> None:
        """Make the weights by running one row of x, if they do not exist yet, and move them to `device`."""
        if self._unbuilt() or not hasattr(self, "_output_count"):
            training = self.training
            self.eval()  # so that nothing is drawn
            row = map_data(lambda leaf: take(leaf, torch.arange(min(1, len(leaf)))).to("cpu"), x)
            kept = self.states()
            self.reset_states()
            self.to("cpu")
            with torch.no_grad():
                outputs = self(row, expand=False)
            self._output_count = len(flat_outputs(outputs))
            self._output_keys = list(outputs) if isinstance(outputs, dict) else None
            self.reset_states()
            self.load_states(kept)
            self.train(training)
        self.to(device)

    def _unbuilt(self) -> bool:
        return any(isinstance(m, torch.nn.Module) and not getattr(m, "built", True) for m in self.modules())

    @property
    def layers(self) -> list[Layer]:
        """The layers directly inside."""
        return [child for child in self.children() if isinstance(child, Layer)]

    def get_layer(self, name: str | None = None, index: int | None = None) -> Layer:
        """A layer by its name or place. Raises `ArgumentError` where there is none."""
        found = self.layers[index : index + 1 or None] if index is not None else [x for x in self.layers if x.name == name]
        if not found:
            expected = ", ".join(layer.name for layer in self.layers)
            raise ArgumentError("there is no such layer", expected=f"one of {expected}", got=name if name else index)
        return found[0]

    def layer_of(self, parameter: str) -> str:
        """The name of the layer that owns a parameter, and the parameter's: `lstm (recurrent_kernel)`."""
        path = parameter.split(".")
        module: Any = self
        name = self.name
        for part in path[:-1]:
            module = getattr(module, part)
            name = module.name if isinstance(module, Layer) else name
        return f"{name} ({path[-1]})"

    # recurrent state kept between batches

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
        """Put back what `states` gave."""
        self.reset_states()
        known = set()
        for name, layer in self._stateful():
            names = [f"{name}.{part}" for part, _ in state_leaves(layer.cell.state_size)]
            leaves = [states[one] for one in names if one in states]
            if leaves:
                layer.state = check_state(layer.cell, leaves, len(leaves[0]), f"layer {name}")
                known.update(names)
        if set(states) - known:
            raise CheckpointError("states of layers that are not here", got=sorted(set(states) - known))

    # Keras's methods

    def compile(  # type: ignore[override]  # torch's Module.compile is another thing
        self,
        optimizer: Any = "rmsprop",
        loss: Any = None,
        metrics: Any = None,
        loss_weights: Any = None,
        weighted_metrics: Any = None,
        device: Any = "auto",
    ) -> None:
        """Choose how to train.

        Args:
            optimizer: a name ('adam', 'sgd', ...), an optimiser of `rondeau.optimizers`, or a torch optimiser.
            loss: a name, `Loss`, or function (y_true, y_pred) -> values; a list or dict of them for several outputs.
            metrics: names, `Metric` objects, or functions; for several outputs a list of lists or a dict.
            loss_weights: how much each output's loss counts.
            weighted_metrics: metrics that take sample weights into account.
            device: 'auto' (CUDA where there is one), 'cpu', 'cuda'.
        """
        self.trainer = Trainer(self, optimizer, Objective(loss, metrics, weighted_metrics, loss_weights), device)

    @property
    def optimizer(self) -> Any:
        return self._compiled().optimizer

    def fit(
        self,
        x: Any,
        y: Any = None,
        batch_size: int | None = None,
        epochs: int = 1,
        verbose: Any = "auto",
        callbacks: Any = None,
        validation_split: float = 0.0,
        validation_data: Any = None,
        shuffle: bool = True,
        class_weight: dict[int, float] | None = None,
        sample_weight: Any = None,
        initial_epoch: int = 0,
        steps_per_epoch: int | None = None,
        validation_batch_size: int | None = None,
        validation_steps: int | None = None,
    ) -> History:
        """Train.

        Args:
            x, y: NumPy arrays, tensors, lists of sequences (unequal lengths become `Ragged`), or for several inputs and
                outputs lists or dicts of them; or in x alone: a torch `Dataset`, `DataLoader`, or iterable of (x, y) or
                (x, y, sample_weight).
            batch_size: rows in a batch (default 32).
            epochs: train until this epoch; initial_epoch: begin with this one (default 0).
            verbose: 'auto' (1 on a terminal, else 2), 0 silent, 1 a live view, 2 a line an epoch.
            callbacks: a list of `rondeau.callbacks.Callback`.
            validation_split: hold out this fraction, the last rows as given; validation_data: (x, y[, weight]) or batches.
            shuffle: new order of the rows each epoch.
            class_weight: weight of each class, for integer or one-hot y; multiplies sample_weight.
            sample_weight: `(rows,)`, or `(rows, time)` for outputs at every step.
            steps_per_epoch: batches an epoch takes from an iterable; validation_steps likewise.

        Returns a `History`. Afterwards the model is in `eval` mode. Raises `NotCompiledError`, `DataError`, `ShapeError`,
        and `NumericsError` when loss or gradients are no longer finite (weights stay as they were before that batch).
        """
        trainer = self._compiled()
        parts: dict[str, Any] = {"inputs": self.input_count, "outputs": len(self.output_names)}
        source = make_source(
            x, y, sample_weight, batch_size=batch_size, shuffle=shuffle, steps=steps_per_epoch, **parts
        )
        validation: Source | None = None
        if validation_data is not None:
            given = validation_data if isinstance(validation_data, tuple) else (validation_data,)
            size = validation_batch_size or (batch_size if len(given) > 1 else None)
            validation = make_source(*given, batch_size=size, steps=validation_steps, **parts)
        elif validation_split:
            if not isinstance(source, ArraySource):
                raise ArgumentError("validation_split needs data in memory", fix="Give validation_data instead")
            source, validation = source.split(validation_split)
        if class_weight is not None:
            source = ClassWeighted(source, class_weight)
        loop = Loop(trainer, source, validation, epochs, initial_epoch)
        view = progress_callback(verbose)
        self.history = loop.run([*(callbacks or []), *view], verbose if isinstance(verbose, int) else 1)
        return self.history

    def evaluate(
        self,
        x: Any,
        y: Any = None,
        batch_size: int | None = None,
        verbose: Any = "auto",
        sample_weight: Any = None,
        steps: int | None = None,
        return_dict: bool = False,
        callbacks: list[Callback] | None = None,
    ) -> Any:
        """Loss and metrics over x and y: one number, a list, or with `return_dict` a dict. Arguments as in `fit`."""
        trainer = self._compiled()
        parts: dict[str, Any] = {"inputs": self.input_count, "outputs": len(self.output_names)}
        source = make_source(x, y, sample_weight, batch_size=batch_size, steps=steps, **parts)
        results = evaluate(trainer, source, CallbackList(callbacks or [], self, {}))
        if verbose == 2 or verbose == 1:
            print(" - ".join(f"{name}: {value:.4f}" for name, value in results.items()))
        if return_dict:
            return results
        return next(iter(results.values())) if len(results) == 1 else list(results.values())

    def predict(self, x: Any, batch_size: int | None = None, verbose: Any = 0, steps: int | None = None) -> Any:
        """The outputs for x as NumPy arrays, one or a list or dict of them; for `Ragged` outputs a list of rows."""
        source = make_source(x, batch_size=batch_size, steps=steps, inputs=self.input_count)
        training = self.training
        self.eval()
        device = self.trainer.device if self.trainer else next((p.device for p in self.parameters()), torch.device("cpu"))
        collected: list[Any] = []
        with torch.no_grad():
            for batch in source.batches(0, 0, 0):
                inputs = map_data(lambda leaf: leaf.to(device), batch.x)
                collected.append(self(inputs))
        self.train(training)
        return _joined(collected)

    def train_on_batch(
        self,
        x: Any,
        y: Any = None,
        sample_weight: Any = None,
        class_weight: dict[int, float] | None = None,
        return_dict: bool = False,
    ) -> Any:
        """One update on one batch; gives its loss, and metrics since `reset_metrics`."""
        batch = self._one_batch(x, y, sample_weight)
        if class_weight is not None:
            batch = weigh_classes(batch, class_weight)
        self.train()
        loss = self._compiled().train_step(batch)
        self.eval()
        return self._results(loss, return_dict)

    def test_on_batch(self, x: Any, y: Any = None, sample_weight: Any = None, return_dict: bool = False) -> Any:
        """Loss and metrics of one batch, without learning from it."""
        batch = self._one_batch(x, y, sample_weight)
        self.eval()
        return self._results(self._compiled().test_step(batch), return_dict)

    def predict_on_batch(self, x: Any) -> Any:
        """`predict` for one batch."""
        return self.predict(x, batch_size=len(data_leaves(to_data(x, self.input_count))[0]))

    def reset_metrics(self) -> None:
        """Begin the running means of loss and metrics anew."""
        self._compiled().objective.reset()

    def _one_batch(self, x: Any, y: Any, weight: Any) -> Batch:
        count = len(self.output_names)
        batch = Batch(to_data(x, self.input_count), to_data(y, count), to_data(weight, count))
        self._compiled().prepare(batch)
        return batch

    def _results(self, loss: float, return_dict: bool) -> Any:
        results = {**self._compiled().objective.results(), "loss": loss}
        if return_dict:
            return results
        return loss if len(results) == 1 else list(results.values())

    def _compiled(self) -> Trainer:
        if self.trainer is None:
            raise NotCompiledError(f"{type(self).__name__} is not compiled", fix="Call compile(optimizer, loss) first")
        return self.trainer

    def summary(self, line_length: int | None = None, print_fn: Any = None) -> None:
        """Print a table of layers, output shapes and numbers of weights; rich on a terminal, plain text when piped."""
        print_summary(self, line_length, print_fn)

    def save(self, path: Any, overwrite: bool = True) -> None:
        """Write `config.json` and `weights.safetensors` into the folder `path`; `rondeau.load(path)` reads them.

        Raises `SaveError` for what has no JSON form, `NotBuiltError` for a model without weights, `CheckpointError` if the
        folder holds a model and `overwrite` is false.
        """
        if self._unbuilt():
            raise NotBuiltError("the model has no weights to save yet", fix="Call it once, or give it an Input")
        saving.save(self, Path(path), overwrite)

    def save_weights(self, path: Any) -> None:
        """Write the weights alone into one safetensors file."""
        self._must_be_built()
        saving.save_weights(self, Path(path))

    def load_weights(self, path: Any) -> None:
        """Read weights that `save_weights` or `save` wrote, into a model of the same make."""
        saving.load_weights(self, Path(path))


def _expanded(leaf: Any) -> Any:
    return leaf.expand() if isinstance(leaf, Ragged) and leaf.mask is not None else leaf


def _joined(parts: list[Any]) -> Any:
    """Batches of outputs as one: arrays one after another, rows of `Ragged` in one list."""
    first = parts[0]
    if isinstance(first, dict):
        return {key: _joined([part[key] for part in parts]) for key in first}
    if isinstance(first, (list, tuple)):
        return [_joined([part[i] for part in parts]) for i in range(len(first))]
    if isinstance(first, Ragged):
        return [row.cpu().numpy() for part in parts for row in part.rows()]
    return np.concatenate([part.cpu().numpy() for part in parts])
