"""`Model`: layers as a whole, with Keras's `compile`, `fit`, `evaluate`, `predict`, `summary`, `save`.

Longer than most: it is the list of what a user can do with a model, each with its arguments, and little else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from rich.progress import track

from rondeau.errors import ArgumentError, DataError, NotBuiltError, NotCompiledError, ShapeError, StateError
from rondeau.layers.carried import Carried, carrying, current, uncompiled
from rondeau.layers.graph import map_leaves, symbolic_leaves
from rondeau.models import saving
from rondeau.models.network import Network
from rondeau.models.state import State
from rondeau.models.summary import print_summary
from rondeau.models.windowed import predicted
from rondeau.sequence import Ragged
from rondeau.training.batch import Batch, data_leaves, is_array, place, to_data
from rondeau.training.callbacks.base import Callback, CallbackList, History
from rondeau.training.class_weight import checked_class_weight
from rondeau.training.data import ArraySource, IterableSource, Source, make_source
from rondeau.training.loop import Loop, evaluate, reading
from rondeau.training.objective import Objective
from rondeau.training.progress import progress_callback
from rondeau.training.steps import Steps
from rondeau.training.trainer import Trainer, in_mode, model_dtype
from rondeau.training.windows import RowWindows, Window, WindowSource, as_window

if TYPE_CHECKING:
    from rondeau.models.sessions import Sessions
    from rondeau.models.stream import Stream

_MEANINGLESS = {
    "run_eagerly": "everything runs eagerly",
    "steps_per_execution": "every batch is one execution",
    "jit_compile": "which loop runs a cell is no setting of the model",
    "auto_scale_loss": "losses are computed in float32 at least",
}


class Model(Network):
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

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "call" in vars(cls) and "forward" not in vars(cls):
            raise ArgumentError(f"{cls.__name__} defines call", fix="Name it forward, as in every torch module")

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        if cls is Model and (args or "inputs" in kwargs):
            from rondeau.models.functional import Functional  # it is a Model itself

            return Functional.__new__(Functional, *args, **kwargs)
        return super().__new__(cls, *args, **kwargs)

    def __call__(
        self,
        *args: Any,
        training: bool | None = None,
        expand: bool = True,
        initial_state: Any = None,
        return_state: bool = False,
        **kwargs: Any,
    ) -> Any:
        """Run the model.

        Args:
            training: True or False for this call; default: the mode set by `train()` and `eval()`. As in torch a new
                model is in `train` mode (in Keras it is not); `fit` leaves it in `eval` mode.
            expand: outputs whose padding was masked inside come back padded, a masked step repeating the last value
                (zero before the first); False gives them as `Ragged`. A `Ragged` input's outputs stay `Ragged`.
            initial_state: a `State`, or a mapping like one: what the recurrent layers begin with; layers of which it
                says nothing begin as they always do.
            return_state: give `(outputs, state)`, the `State` after each row's last step.

        Raises `StateError` for states that do not fit, or of layers that the model does not run.
        """
        if self.between:  # a callback's call, which the windows do not see
            options: dict[str, Any] = {"training": training, "expand": expand}
            with self.carrying(False):
                return self(*args, initial_state=initial_state, return_state=return_state, **options, **kwargs)
        if initial_state is not None or return_state:
            options = {**kwargs, "training": training, "expand": expand}
            return uncompiled(_with_state)(self, initial_state, return_state, args, options)
        if args and isinstance(args[0], list) and not any(is_array(one) or symbolic_leaves(one) for one in args[0]):
            args = (to_data(args[0], self.input_count, "x"), *args[1:])
        if training is None or training == self.training:
            outputs = super().__call__(*args, **kwargs)
        else:
            with in_mode(self, training):
                outputs = super().__call__(*args, **kwargs)
        return map_leaves(_expanded, outputs) if expand else outputs

    def compile(  # torch's Module.compile is another thing
        self,
        optimizer: Any = "rmsprop",
        loss: Any = None,
        loss_weights: Any = None,
        metrics: Any = None,
        weighted_metrics: Any = None,
        device: Any = "auto",
        **options: Any,
    ) -> None:
        """Choose how to train.

        Args:
            optimizer: a name ('adam', 'sgd', ...), an optimiser of `rondeau.optimizers`, or a torch optimiser.
            loss: a name, `Loss`, or function (y_true, y_pred) -> values; a list or dict of them for several outputs.
            metrics: names, `Metric` objects, or functions; for several outputs a list of lists or a dict.
            loss_weights: how much each output's loss counts.
            weighted_metrics: metrics that take sample weights into account.
            device: 'auto' (CUDA where there is one), 'cpu', 'cuda'.

        Keras's other arguments have no meaning here, and are refused.
        """
        for name in options:
            why = (
                f" has no meaning here: {_MEANINGLESS[name]}" if name in _MEANINGLESS else " is no argument of compile"
            )
            raise ArgumentError(name + why, fix="Leave it out")
        self.trainer = Trainer(self, optimizer, Objective(loss, metrics, weighted_metrics, loss_weights), device)

    @property
    def optimizer(self) -> Any:
        """The optimiser that `compile` was given. Raises `NotCompiledError` before."""
        return self._compiled().optimizer

    @property
    def metrics_names(self) -> list[str]:
        """What `evaluate` and `train_on_batch` give, in order; empty before the model has seen data."""
        return list(self._compiled().objective.reported)

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
        validation_steps: int | None = None,
        validation_batch_size: int | None = None,
        validation_freq: int = 1,
        window: int | Window | None = None,
    ) -> History:
        """Train.

        Args:
            x, y: NumPy arrays, tensors, lists of sequences (unequal lengths become `Ragged`), for several inputs or
                outputs tuples or dicts of them; or in x alone: a torch `Dataset` of rows, a `DataLoader`, or an
                iterable of batches (x, y) or (x, y, sample_weight).
            batch_size: rows in a batch (default 32).
            epochs: train until this epoch; initial_epoch: begin with this one (default 0).
            verbose: 'auto' (1 on a terminal, else 2), 0 silent, 1 a live view, 2 a line an epoch.
            callbacks: a list of `rondeau.callbacks.Callback`, or one.
            validation_split: hold out this fraction, the last rows as given.
            validation_data: (x, y), (x, y, sample_weight), or what x may be; `stateful` layers begin anew for it.
            validation_freq: validate after every so many epochs (default 1).
            shuffle: new order of the rows each epoch; batches come as they come.
            class_weight: weight of each class, for integer or one-hot y of one output; multiplies sample_weight.
            sample_weight: `(rows,)`, or `(rows, time)` for outputs at every step; one for all outputs, or a list.
            steps_per_epoch: batches an epoch takes from an iterable; validation_steps likewise.
            window: steps of a window, or a `RandomWindow`: truncated backpropagation through time. Each batch of rows
                is walked through window by window, with one update each; recurrent layers, `stateful` or not, carry
                their state from window to window, and gradients stop there. Targets are per step. Arrays may be memory
                maps, of which a window at a time is read, x may be a `rondeau.data.StepStream`. Validation uses the
                same windows. A layer that needs more than a window is an `ArgumentError`, by name.

        Where rows have lengths or masks, losses and metrics are means over real steps. Returns a `History`. Afterwards
        the model is in `eval` mode. Raises `NotCompiledError`, `DataError`, `ShapeError`, and `NumericsError` when loss
        or gradients are no longer finite (weights stay as they were before that batch).
        """
        trainer = self._compiled()
        sizes = {"batch_size": batch_size, "steps": steps_per_epoch, "window": window}
        source = self._source(x, y, sample_weight, shuffle=shuffle, **sizes)
        validation: Source | None = None
        if validation_data is not None:
            given = tuple(validation_data) if isinstance(validation_data, (tuple, list)) else (validation_data,)
            if len(given) > 3:
                expected = "(x, y) or (x, y, sample_weight)"
                raise ArgumentError("validation_data", expected=expected, got=f"{len(given)} parts")
            size = validation_batch_size or (batch_size if len(given) > 1 else None)
            held_out = _window_for(given[0], window)
            validation = self._source(*given, batch_size=size, steps=validation_steps, window=held_out)
        elif validation_split:
            if not isinstance(source, (ArraySource, RowWindows)):
                raise ArgumentError("validation_split needs data in memory", fix="Give validation_data instead")
            source, validation = source.split(validation_split)
        weights = None if class_weight is None else checked_class_weight(class_weight)
        loop = Loop(trainer, source, validation, epochs, initial_epoch, weights, validation_freq)
        listed = [callbacks] if isinstance(callbacks, Callback) else list(callbacks or [])
        self.history = loop.run([*listed, *progress_callback(verbose)], verbose if isinstance(verbose, int) else 1)
        del self.history.loop  # it holds the data
        return self.history

    def evaluate(
        self,
        x: Any,
        y: Any = None,
        batch_size: int | None = None,
        verbose: Any = "auto",
        sample_weight: Any = None,
        steps: int | None = None,
        callbacks: Sequence[Callback] | None = None,
        return_dict: bool = False,
        window: int | Window | None = None,
    ) -> Any:
        """Loss and metrics over x and y: one number, a list in the order of `metrics_names`, or a dict.

        `verbose` 1 or 2 prints them too; otherwise arguments are as in `fit`. With `window` sequences are read a window
        at a time, which changes memory, not results. States of `stateful` layers are not reset, as in Keras; with
        `window` every row begins anew, and their states are afterwards what they were.
        """
        trainer = self._compiled()
        source = self._source(x, y, sample_weight, batch_size=batch_size, steps=steps, window=window)
        results = evaluate(trainer, source, CallbackList(callbacks or [], self, {}))
        if verbose == 2 or verbose == 1:
            print("  ".join(f"{name} {value:.4f}" for name, value in results.items()), flush=True)
        return _answer(results, return_dict)

    def predict(
        self,
        x: Any,
        batch_size: int | None = None,
        verbose: Any = 0,
        steps: int | None = None,
        window: int | Window | None = None,
    ) -> Any:
        """The outputs for x as NumPy arrays, one or a list or dict of them; for `Ragged` outputs a list of rows.

        Arguments as in `evaluate`; `verbose=1` shows a bar.
        """
        source = self._source(x, batch_size=batch_size, steps=steps, window=window)
        if not self.ready:
            self._make_ready(source)
        placed = next(((p.device, model_dtype(self)) for p in self.parameters()), None)
        device, dtype = placed or (torch.device("cpu"), torch.get_default_dtype())
        if self.trainer is not None:
            device = self.trainer.device
            self.to(device)
        batches = track(source.batches(0, 0, 0), "predicting", total=source.count(), disable=verbose != 1)
        placed_batches = ((batch.begins, place(batch.x, device, dtype)) for batch in batches)
        if isinstance(source, WindowSource):
            first = source.peek()
            if first is not None:
                self.check_windows(place(first.x, device, dtype))
            with reading(self, source):
                collected = [map_leaves(_to_numpy, outputs) for outputs in predicted(self, placed_batches)]
        else:
            with in_mode(self, training=False), torch.no_grad(), self.carrying(False):
                collected = [map_leaves(_to_numpy, self(x)) for _, x in placed_batches]
        if not collected:
            raise DataError("there is no data to predict from", expected="at least one batch", got=0)
        return _joined(collected)

    def train_on_batch(
        self,
        x: Any,
        y: Any = None,
        sample_weight: Any = None,
        class_weight: dict[int, float] | None = None,
        return_dict: bool = False,
    ) -> Any:
        """One update on one batch; gives the batch's loss and metrics, as `evaluate` does."""
        batch = self._one_batch(x, y, sample_weight)
        self.train()
        try:
            self._compiled().train_step(batch, None if class_weight is None else checked_class_weight(class_weight))
        finally:
            self.eval()
        return _answer(self._compiled().objective.results(), return_dict)

    def test_on_batch(self, x: Any, y: Any = None, sample_weight: Any = None, return_dict: bool = False) -> Any:
        """Loss and metrics of one batch, without learning from it."""
        batch = self._one_batch(x, y, sample_weight)
        with in_mode(self, training=False), self.carrying(False):
            self._compiled().test_step(batch)
        return _answer(self._compiled().objective.results(), return_dict)

    def predict_on_batch(self, x: Any) -> Any:
        """`predict` for one batch."""
        return self.predict(x, batch_size=max(1, len(data_leaves(to_data(x, self.input_count))[0])))

    def reset_metrics(self) -> None:
        """Begin the running means of loss and metrics anew."""
        self._compiled().objective.reset()

    def _source(self, x: Any, y: Any = None, weight: Any = None, **options: Any) -> Source:
        inputs = self.input_count
        if self._output_count is None and isinstance(y, (list, tuple)):
            # one output of many rows, or many outputs: a subclassed model shows which when it runs
            self._make_ready(make_source(x, inputs=inputs, window=options.get("window")))
        source = make_source(x, y, weight, inputs=inputs, outputs=len(self.output_names), **options)
        if self._output_count is None and isinstance(source, (IterableSource, WindowSource)):
            self._make_ready(source)
            source.parts = inputs, len(self.output_names)
        return source

    def _make_ready(self, source: Source) -> None:
        first = source.peek()
        if first is None:
            raise DataError("there is no data", expected="at least one batch", got=0)
        self.build_on(place(first.x, torch.device("cpu"), model_dtype(self)))

    def _one_batch(self, x: Any, y: Any, weight: Any) -> Batch:
        source = self._source(x, y, weight)
        if not isinstance(source, ArraySource):
            raise ArgumentError("a batch", expected="arrays, tensors or lists of sequences", got=type(x).__name__)
        self._compiled().prepare(lambda: source.data)
        self.reset_metrics()
        return source.data

    def _compiled(self) -> Trainer:
        if self.trainer is None:
            raise NotCompiledError(f"{type(self).__name__} is not compiled", fix="Call compile(optimizer, loss) first")
        return self.trainer

    def stream(self, rows: int = 1) -> Stream:
        """The model one step at a time: a function of a NumPy row that keeps its state; see `rondeau.models.Stream`.

        Args:
            rows: how many sequences it steps side by side.

        Raises `ArgumentError`, naming the layer, for a model that needs more than one step at a time, and
        `EngineError` for a step that cannot be compiled.

        >>> from rondeau import Sequential, layers
        >>> model = Sequential([layers.Input((None, 3)), layers.LSTM(4, return_sequences=True), layers.Dense(2)])
        >>> stream = model.stream()
        >>> stream(np.zeros((1, 3), np.float32)).shape
        (1, 2)
        """
        from rondeau.models.stream import Stream  # it knows Sequential and Functional, which are Models themselves

        self._must_be_built()
        return Stream(self, rows)

    def sessions(self) -> Sessions:
        """The model over live sequences that come and go, stepped as one batch; see `rondeau.models.Sessions`.

        Raises what `stream` raises.
        """
        from rondeau.models.sessions import Sessions

        self._must_be_built()
        return Sessions(self)

    def summary(self, line_length: int | None = None, print_fn: Any = None) -> None:
        """Print a table of layers, output shapes and numbers of weights; rich on a terminal, plain text when piped."""
        print_summary(self, line_length, print_fn)

    def save(self, path: Any, overwrite: bool = True, include_optimizer: bool = True) -> None:
        """Write `config.json` and `weights.safetensors` into the folder `path`; `rondeau.load(path)` reads them.

        Args:
            overwrite: whether a model that the folder holds may be replaced. A crash leaves the old one or the new.
            include_optimizer: also what `compile` was given, and the optimiser's state, so that the loaded model can be
                trained on as if it had never been saved.

        Raises `SaveError` for what has no JSON form, `NotBuiltError` for a model without weights, `CheckpointError` if
        the folder holds a model and `overwrite` is false.
        """
        if self._unbuilt():
            raise NotBuiltError("the model has no weights to save yet", fix="Call it once, or give it an Input")
        saving.save(self, Path(path), overwrite, include_optimizer)

    def save_weights(self, path: Any) -> None:
        """Write the weights alone into one safetensors file."""
        self._must_be_built()
        saving.save_weights(self, Path(path))

    def load_weights(self, path: Any) -> None:
        """Read weights that `save_weights` or `save` wrote, into a model of the same make."""
        self._must_be_built()
        saving.load_weights(self, Path(path))


def _with_state(model: Model, given: Any, wanted: bool, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
    """A call that begins with the states given, and gives those after it if `wanted`; a failing one changes none."""
    if symbolic_leaves(args):
        fix = "Give the state to the recurrent layer itself: layer(x, initial_state=...)"
        raise ArgumentError("a model inside another takes and gives no state", where=model.name, fix=fix)
    if given is not None and not isinstance(given, Mapping):
        fix = "Make one with model.initial_state(rows)"
        raise StateError("initial_state", expected="a State, by name", got=type(given).__name__, fix=fix)
    names = {id(layer): name for name, layer in model.carrying_layers().items()}
    carried = Carried(names, State({} if given is None else given), current())
    kept = [(layer, layer.state) for _, layer in model.recurrent_layers()]
    try:
        with carrying(carried):
            outputs = model(*args, **options)
    except BaseException:
        for layer, state in kept:
            layer.state = state
        raise
    return (outputs, State(carried.final)) if wanted else outputs


def _window_for(x: Any, window: Any) -> Any:
    """The window that validation data are read in: of random ones the mean; none for what comes in batches."""
    if window is None or not (isinstance(x, (WindowSource, Steps, list, tuple, Mapping)) or is_array(x)):
        return None
    if isinstance(x, WindowSource) and x.window is not None:
        return None
    return as_window(window).fixed


def _expanded(leaf: Any) -> Any:
    return leaf.expand() if isinstance(leaf, Ragged) and leaf.mask is not None else leaf


def _answer(results: dict[str, float], return_dict: bool) -> Any:
    if return_dict:
        return results
    return next(iter(results.values())) if len(results) == 1 else list(results.values())


def _to_numpy(leaf: Any) -> Any:
    """A tensor as an array, a `Ragged` as a list of them, one a row; NumPy has no bfloat16."""
    if isinstance(leaf, Ragged):
        return _Rows(_to_numpy(row) for row in leaf.rows())
    return (leaf.float() if leaf.dtype == torch.bfloat16 else leaf).cpu().numpy()


class _Rows(list[Any]):
    """Rows of one output; a plain list holds several outputs."""


def _joined(parts: list[Any]) -> Any:
    """Batches of outputs as one: arrays one after another, rows of `Ragged` in one list."""
    first = parts[0]
    if isinstance(first, dict):
        return {key: _joined([part[key] for part in parts]) for key in first}
    if isinstance(first, _Rows):
        return [row for part in parts for row in part]
    if isinstance(first, (list, tuple)):
        return [_joined([part[i] for part in parts]) for i in range(len(first))]
    if len({part.shape[1:] for part in parts}) > 1:
        fix = "Pad all batches to one length, give x as a list of sequences, or use predict_on_batch"
        got = sorted({part.shape[1:] for part in parts})
        raise ShapeError("the batches' outputs have unequal shapes, which one array cannot hold", got=got, fix=fix)
    return np.concatenate(parts)
