"""`Stream`: a model one step at a time, from a NumPy row to a NumPy row, its states kept in between."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from rondeau.cells.base import state_leaves
from rondeau.errors import ArgumentError, CheckpointError, DataError, EngineError, ShapeError, StateError
from rondeau.models.network import Network
from rondeau.models.unrolled import Unrolled
from rondeau.module import positive
from rondeau.recurrence.stream import NUMPY, CompiledStep
from rondeau.recurrence.trace.forms import Declined
from rondeau.training.files import load_tensors, save_tensors
from rondeau.training.trainer import in_mode

Array = npt.NDArray[Any]
COUNTS = "steps"  # the name under which the number of steps made is kept, where a cell asks for it
_making = threading.Lock()  # making one sets the model's mode for a moment


class Stream:
    """A model, step by step; made by `model.stream(rows)`.

    Calling it with one step's input `(rows, features)`, or ids `(rows,)`, gives the step's output `(rows, ...)`, an
    array of its own. Of one row the axis of rows may be left out: `(features,)`, or an int for an id. After a recurrent
    layer with `return_sequences=False` the output is the answer for the sequence so far.

    Weights are those of the moment it was made, or of the last `refresh()`. Several streams of one model share nothing;
    one stream is for one thread at a time.

    Attributes:
        rows: how many sequences it steps side by side; none has a part in another's results.
    """

    def __init__(self, model: Network, rows: int = 1) -> None:
        self.model, self.rows = model, positive("stream", "rows", rows)
        self._make()
        self.reset()

    def __reduce_ex__(self, protocol: Any) -> Any:
        fix = "Copy the model, make a stream or sessions of it, and set their states"
        raise ArgumentError("a stream is machine code in this process, and cannot be copied or pickled", fix=fix)

    def refresh(self) -> None:
        """Take the model as it is now: its weights, and whatever else its layers read. The states stay."""
        before = self.state
        self._make()
        self.state = before

    def _make(self) -> None:
        for name, tensor in (*self.model.named_parameters(), *self.model.named_buffers()):
            if tensor.device.type != "cpu":
                raise ArgumentError(
                    "a stream runs on the CPU", got=f"{name} on {tensor.device}", fix="Use model.to('cpu')"
                )
        with _making, in_mode(self.model, training=False):
            cell = Unrolled(self.model)
            if cell.dtype not in NUMPY:
                fix = "Convert the model with to(torch.float32)"
                raise ArgumentError("a stream computes in float32 or float64", got=cell.dtype, fix=fix)
            try:
                step = CompiledStep(cell, cell.plan.shape, cell.plan.ids, cell.dtype, self.rows)
            except Declined as declined:
                at = f"layer {cell.at} cannot be compiled" if cell.at else "the model cannot be compiled"
                raise EngineError(f"stream: {at}: {declined.reason}", where=declined.where) from declined
            with torch.no_grad():
                initial = cell.initial_state(self.rows, dtype=cell.dtype)
        self._initial = [t.detach().numpy().copy() for _, t in state_leaves(initial)]
        self._names, self._ids, self._output = cell.names, cell.plan.ids, cell.output_shape
        limits = cell.plan.limits
        self._low = max((low for low, _ in limits), default=None)
        self._high = min((high for _, high in limits), default=None)
        self._take(step)

    def _take(self, step: CompiledStep) -> None:
        self._step = step
        self._x: Array = step.x
        self._y: Array = step.y.reshape(self.rows, *self._output)
        self._shape, self._dtype = step.x.shape, step.x.dtype
        # what a call needs, in one place; ids have to be looked at, so their type is never the usual one
        self._usual = None if self._ids else self._dtype, self._shape, self._x, step.run, self._y.copy

    def __call__(self, x: Any) -> Array:
        """One step. Raises `ShapeError` or `DataError` for an input of another shape or type, or an unknown id."""
        dtype, shape, buffer, run, copy = self._usual
        try:
            usual = x.dtype is dtype and x.shape == shape
        except AttributeError:
            usual = False
        if not usual:
            return self._unusual(x)
        buffer[...] = x
        run()
        y: Array = copy()
        return y

    def _unusual(self, x: Any) -> Array:
        """As `__call__`, for ids, and for one row without its axis."""
        if self._ids and isinstance(x, (int, np.integer)):
            x = np.asarray(x)
        if not isinstance(x, np.ndarray):
            raise DataError("stream: the input", expected="a NumPy array", got=type(x).__name__)
        bare = self.rows == 1 and x.shape == self._shape[1:]
        if x.shape != self._shape and not bare:
            raise ShapeError("stream: the input", expected=self._shape, got=x.shape)
        self._check_values(x)
        self._x[...] = x
        self._step.run()
        y: Array = self._y[0].copy() if bare else self._y.copy()
        return y

    def _check_values(self, x: Array) -> None:
        if self._ids:
            self._check_ids(x)
        elif x.dtype != self._dtype:
            raise DataError("stream: the input's type", expected=self._dtype, got=x.dtype, fix="Convert it with astype")

    def _check_ids(self, x: Array) -> None:
        if x.dtype.kind not in "iu":
            raise DataError("stream: the input's type", expected="integers", got=x.dtype)
        if self._low is None or self._high is None:
            return
        wrong = (x < self._low) | (x > self._high)
        if wrong.any():
            got = x[wrong].flat[0]
            fix = "0 is padding (mask_zero): give real steps only" if got == 0 else None
            raise DataError(
                "stream: an id outside the table", expected=f"{self._low} to {self._high}", got=got, fix=fix
            )

    @property
    def state(self) -> dict[str, Array]:
        """The states after the last step by layer and name, `lstm.h`: copies, `(rows, size)`.

        Set it to go on from other states; those left out stay as they are. Raises `StateError` for names, shapes or
        types of another stream.
        """
        return {name: array.copy() for name, array in self._arrays().items()}

    @state.setter
    def state(self, states: Mapping[str, Any]) -> None:
        own = self._arrays()
        given = _arrays_of(states)
        for name, array in given.items():
            if name not in own:
                raise StateError("stream: no such state", expected=", ".join(own) or "none", got=name)
            if array.shape != own[name].shape or array.dtype != own[name].dtype:
                expected, got = f"{own[name].shape} {own[name].dtype}", f"{array.shape} {array.dtype}"
                raise StateError(f"stream: the state {name} does not fit", expected=expected, got=got)
        for name, array in given.items():
            own[name][...] = array

    def reset(self, rows: Any = None) -> None:
        """Begin anew.

        Args:
            rows: the numbers of the rows that do, or one number; default: all.
        """
        which: Any = slice(None) if rows is None else self._numbers(rows)
        for array, initial in zip(self._step.states, self._initial, strict=True):
            array[which] = initial[which]
        if self._step.counts is not None:
            self._step.counts[which] = 0

    # for `Sessions`

    def widen(self, rows: int) -> None:
        """Make room for more rows; weights stay those of the moment it was made, new rows begin anew."""
        before, self.rows = self.rows, rows
        self._take(self._step.wider(rows))
        self._initial = [np.resize(a[:1], (rows, *a.shape[1:])) for a in self._initial]
        self.reset(np.arange(before, rows))

    def step_rows(self, rows: Array, x: Any) -> Array:
        """One step of some rows, `(n,)` numbers, each once: x `(n, ...)` -> `(n, ...)`."""
        if not isinstance(x, np.ndarray):
            raise DataError("stream: the input", expected="a NumPy array", got=type(x).__name__)
        shape = (len(rows), *self._shape[1:])
        if x.shape != shape:
            raise ShapeError("stream: the input", expected=shape, got=x.shape)
        self._check_values(x)
        count = len(rows)
        if count:
            self._x[:count] = x
            self._step.run_some(rows)
        y: Array = self._y[:count].copy()
        return y

    def row(self, row: int) -> dict[str, Array]:
        """The states of one row, `(size,)` each: copies."""
        return {name: array[row].copy() for name, array in self._arrays().items()}

    def put_row(self, row: int, states: Mapping[str, Any]) -> None:
        """Set the states of one row, each `(size,)` or `(1, size)`. Raises `StateError` for what does not fit."""
        own = self._arrays()
        given = _arrays_of(states)
        for name, array in given.items():
            if name not in own:
                raise StateError("stream: no such state", expected=", ".join(own) or "none", got=name)
            shape = own[name].shape[1:]
            if array.shape not in (shape, (1, *shape)) or array.dtype != own[name].dtype:
                expected, got = f"{shape} {own[name].dtype}", f"{array.shape} {array.dtype}"
                raise StateError(f"stream: the state {name} does not fit", expected=expected, got=got)
        for name, array in given.items():
            own[name][row] = array.reshape(own[name].shape[1:])

    def _arrays(self) -> dict[str, Array]:
        """The states by name, where the step reads and writes them."""
        own: dict[str, Array] = dict(zip(self._names, self._step.states, strict=False))
        if self._step.counts is not None:
            own[COUNTS] = self._step.counts
        return own

    def _numbers(self, rows: Any) -> Array:
        numbers = np.atleast_1d(np.asarray(rows))
        if numbers.size == 0:
            numbers = numbers.astype(np.int64)
        if numbers.dtype.kind not in "iu" or numbers.ndim != 1 or (numbers < 0).any() or (numbers >= self.rows).any():
            raise ArgumentError("stream.reset: rows", expected=f"numbers from 0 to {self.rows - 1}", got=rows)
        return numbers

    def save(self, path: Any) -> None:
        """Write the states into one safetensors file, whole or not at all."""
        save_tensors(Path(path), "stream", {n: torch.from_numpy(a) for n, a in self.state.items()}, {"rows": self.rows})

    def restore(self, path: Any) -> None:
        """Go on from the states that `save` wrote, for a stream of the same model and as many rows.

        Raises `CheckpointError` for a file that is missing, damaged, or of another stream.
        """
        found = {name: t.numpy() for name, t in load_tensors(Path(path), "stream")[0].items()}
        own = {name: array.shape for name, array in self.state.items()}
        saved = {name: array.shape for name, array in found.items()}
        if own != saved:
            raise CheckpointError("the states are of another stream", expected=own, got=saved, where=path)
        self.state = found


def _arrays_of(states: Any) -> dict[str, Array]:
    """States as arrays, those of a model's `State` too, whatever gradients there are behind it."""
    if not isinstance(states, Mapping):
        raise StateError("stream: the states", expected="arrays by name", got=type(states).__name__)
    return {n: np.asarray(v.detach().cpu() if isinstance(v, torch.Tensor) else v) for n, v in states.items()}
