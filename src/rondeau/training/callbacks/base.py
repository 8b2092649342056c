"""What a callback may do, and the list of them that `fit` speaks to."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from torch import Tensor

from rondeau.config import serialize
from rondeau.errors import ArgumentError, NumericsError

if TYPE_CHECKING:
    from rondeau.training.loop import Loop

Logs = dict[str, Any]


class Callback:
    """Is told what happens in `fit`, `evaluate` and `predict`; a subclass overrides what it wants to hear.

    Attributes, set before the first call: `model`; `params` (`epochs`, `steps`, `verbose`); `loop`, the training loop,
    whose `epoch` and `batch` say where it is. `logs` holds the running means of loss and metrics; what a callback adds
    to it the later ones see. Set `model.stop_training = True` to end after the current batch.

    `turn` orders those that hear of one event: lower ones first, within a turn as they were listed. `History` has 1, so
    that it sees what the others put into `logs`; `BackupAndRestore` has 2, so that it keeps what all of them remember.
    """

    turn: int = 0
    model: Any = None
    loop: Loop
    params: dict[str, Any]

    def set_model(self, model: Any) -> None:
        self.model = model

    def set_params(self, params: dict[str, Any]) -> None:
        self.params = params

    def on_train_begin(self, logs: Logs) -> None: ...

    def on_train_end(self, logs: Logs) -> None: ...

    def on_epoch_begin(self, epoch: int, logs: Logs) -> None: ...

    def on_epoch_end(self, epoch: int, logs: Logs) -> None: ...

    def on_train_batch_begin(self, batch: int, logs: Logs) -> None:
        self.on_batch_begin(batch, logs)

    def on_before_update(self, batch: int, logs: Logs) -> None:
        """An update comes next: gradients are there, finite and not yet clipped. `logs` has this batch's own loss."""

    def on_train_batch_end(self, batch: int, logs: Logs) -> None:
        self.on_batch_end(batch, logs)

    def on_batch_begin(self, batch: int, logs: Logs) -> None:
        """Keras's other name for `on_train_batch_begin`."""

    def on_batch_end(self, batch: int, logs: Logs) -> None:
        """Keras's other name for `on_train_batch_end`."""

    def on_test_begin(self, logs: Logs) -> None: ...

    def on_test_batch_end(self, batch: int, logs: Logs) -> None: ...

    def on_test_end(self, logs: Logs) -> None: ...

    def close(self) -> None:
        """Let go of what is held (files, the terminal): called once `fit` is over, also where it ends in an error."""

    def on_numerics_error(self, error: NumericsError, logs: Logs) -> bool:
        """The loss or a gradient is not finite; true if this callback has dealt with it, else `fit` raises it.

        `loop.given` is the batch; weights and states are what they were before it. What a callback finds out it may add
        to the error's parts.
        """
        return False

    def state(self) -> dict[str, Any]:
        """What this callback must remember for a resumed run to go on as if never interrupted, in JSON's types."""
        return {}

    def restore(self, state: dict[str, Any]) -> None:
        """Take back what `state` gave; called after every callback's `on_train_begin`."""

    def tensors(self) -> dict[str, Tensor]:
        """Tensors that must be remembered beside `state`, such as the best weights so far."""
        return {}

    def restore_tensors(self, tensors: dict[str, Tensor]) -> None:
        """Take back what `tensors` gave, on the CPU; called after `restore`."""


class CallbackList:
    """Calls each callback in turn."""

    def __init__(self, callbacks: Iterable[Callback], model: Any, params: dict[str, Any]) -> None:
        self.callbacks = list(callbacks)
        for callback in self.callbacks:
            if not isinstance(callback, Callback):
                got = type(callback).__name__
                raise ArgumentError("callbacks", expected="instances of rondeau.callbacks.Callback", got=got)
            callback.set_model(model)
            callback.set_params(params)
        self.callbacks.sort(key=lambda callback: callback.turn)

    def call(self, event: str, *args: Any) -> None:
        """Call `event`, for example 'on_epoch_end', on each."""
        for callback in self.callbacks:
            getattr(callback, event)(*args)


class History(Callback):
    """What `fit` returns: `epoch`, a list of epoch numbers, and `history`, a list of values by name in the logs."""

    turn = 1

    def __init__(self) -> None:
        self.epoch: list[int] = []
        self.history: dict[str, list[Any]] = {}

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        self.epoch.append(epoch)
        for name, value in logs.items():
            self.history.setdefault(name, []).append(value)

    def state(self) -> dict[str, Any]:
        history = {name: serialize(values, f"history[{name!r}]") for name, values in self.history.items()}
        return {"epoch": self.epoch, "history": history}

    def restore(self, state: dict[str, Any]) -> None:
        self.epoch, self.history = list(state["epoch"]), {k: list(v) for k, v in state["history"].items()}


class LambdaCallback(Callback):
    """Functions as a callback: `LambdaCallback(on_epoch_end=lambda epoch, logs: ...)`."""

    def __init__(self, **functions: Any) -> None:
        for event, function in functions.items():
            if not event.startswith("on_") or not hasattr(Callback, event):
                known = ", ".join(name for name in dir(Callback) if name.startswith("on_"))
                raise ArgumentError(f"LambdaCallback: there is no event {event!r}", expected=f"one of {known}")
            setattr(self, event, function)
