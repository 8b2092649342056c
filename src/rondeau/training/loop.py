"""The fit loop: epochs of batches, with callbacks, that can be taken up again in the middle of an epoch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch

from rondeau.errors import ArgumentError, DataError, NumericsError
from rondeau.training.callbacks.base import Callback, CallbackList, History, Logs
from rondeau.training.data import Batch, Source
from rondeau.training.trainer import ClassWeight, Trainer, in_mode
from rondeau.training.windows import WindowSource


class Loop:
    """One call of `fit`.

    Attributes:
        epoch, batch: where training stands: the next batch to train on, both from 0.
        seed: what the order of the rows follows from, with the epoch; drawn from torch's global generator.
        callbacks: those the user gave and a `History`, in the order in which they hear of an event.
        given: the batch of the training step under way, or just over; None before the first.
        interrupted: set by a callback to leave after the current batch, within the epoch, to be taken up later.
    """

    def __init__(
        self,
        trainer: Trainer,
        source: Source,
        validation: Source | None,
        epochs: int,
        first: int,
        class_weight: ClassWeight = None,
        validation_freq: int = 1,
    ) -> None:
        for name, value, least in (
            ("epochs", epochs, 0),
            ("initial_epoch", first, 0),
            ("validation_freq", validation_freq, 1),
        ):
            if not isinstance(value, int) or isinstance(value, bool) or value < least:
                raise ArgumentError(name, expected=f"a whole number, {least} or more", got=repr(value))
        self.trainer, self.source, self.validation, self.epochs = trainer, source, validation, epochs
        self.class_weight, self.validation_freq = class_weight, validation_freq
        self.epoch, self.batch = first, 0
        self.seed = int(torch.randint(2**31, ()))
        self.callbacks: list[Callback] = []
        self.given: Batch | None = None
        self.interrupted = False

    def run(self, callbacks: Sequence[Callback], verbose: int) -> History:
        """Train until the last epoch or until a callback stops it; every callback is closed, whatever happens."""
        model = self.trainer.model
        history = History()
        told = CallbackList([history, *callbacks], model, self._params(verbose))
        self.callbacks = told.callbacks
        model.stop_training = False
        logs: Logs = {}
        with ExitStack() as stack:
            stack.callback(model.eval)
            stack.enter_context(model.carrying(isinstance(self.source, WindowSource)))
            for callback in self.callbacks:
                callback.loop = self
                stack.callback(callback.close)
            prepare(self.trainer, self.source)
            self.trainer.objective.reset()
            told.call("on_train_begin", {})  # a callback may move epoch and batch to where an earlier run stood
            while self.epoch < self.epochs and not model.stop_training and not self.interrupted:
                logs = self._run_epoch(told)
            model.eval()
            told.call("on_train_end", logs)
        return history

    def _params(self, verbose: int) -> dict[str, Any]:
        return {"epochs": self.epochs, "steps": self.source.count(), "verbose": verbose}

    def _run_epoch(self, told: CallbackList) -> Logs:
        model, objective = self.trainer.model, self.trainer.objective
        epoch = self.epoch
        if self.batch == 0:
            objective.reset()
            if self.source.carries_state:
                model.reset_states()
            told.call("on_epoch_begin", epoch, {})
        model.train()
        for batch in self.source.batches(epoch, self.batch, self.seed):
            self.given = batch
            if batch.begins:
                model.reset_states()
            self._tell(told, "on_train_batch_begin", self.batch, {})
            self._train_step(told, batch)
            logs: Logs = dict(objective.running_results())
            self.batch += 1
            self._tell(told, "on_train_batch_end", self.batch - 1, logs)
            if self.interrupted:
                return logs
            if model.stop_training:
                break
        if self.batch == 0:
            raise DataError("an epoch without a batch", where=f"epoch {epoch + 1}", fix="Give data that is not used up")
        logs = {**objective.results(), **self._validate(told)}
        self.epoch, self.batch = epoch + 1, 0
        told.call("on_epoch_end", epoch, logs)
        return logs

    def _tell(self, told: CallbackList, event: str, batch: int, logs: Logs) -> None:
        model = self.trainer.model
        model.between = isinstance(self.source, WindowSource)
        try:
            told.call(event, batch, logs)
        finally:
            model.between = False

    def _train_step(self, told: CallbackList, batch: Batch) -> None:
        def before_update(loss: float) -> None:
            told.call("on_before_update", self.batch, {"loss": loss})

        try:
            self.trainer.train_step(batch, self.class_weight, before_update)
        except NumericsError as error:
            place = f"epoch {self.epoch + 1}, batch {self.batch + 1}"
            placed = NumericsError(error.what, got=error.got, where=place, fix=error.fix)
            handled = [callback.on_numerics_error(placed, {}) for callback in self.callbacks]
            if not any(handled):
                raise placed from error

    def _validate(self, told: CallbackList) -> Logs:
        """Loss and metrics over the validation data; `stateful` layers begin anew for it and then go on as before."""
        if self.validation is None or (self.epoch + 1) % self.validation_freq:
            return {}
        model = self.trainer.model
        states = model.states()
        model.reset_states()
        results = evaluate(self.trainer, self.validation, told)
        model.load_states(states)
        return {f"val_{name}": value for name, value in results.items()}


def evaluate(trainer: Trainer, source: Source, told: CallbackList | None = None) -> dict[str, float]:
    """Loss and metrics over a source, in `eval` mode; the mode comes back as it was.

    Where the source's batches carry states these begin anew, and are put back afterwards.
    """
    model, objective = trainer.model, trainer.objective
    told = told or CallbackList([], model, {})
    prepare(trainer, source)
    objective.reset()
    number = -1
    with in_mode(model, training=False), reading(model, source):
        told.call("on_test_begin", {})
        for number, batch in enumerate(source.batches(0, 0, 0)):
            if batch.begins:
                model.reset_states()
            trainer.test_step(batch)
            told.call("on_test_batch_end", number, objective.running_results())
    if number < 0:
        raise DataError("there is no data to evaluate on", expected="at least one batch", got=0)
    results = objective.results()
    told.call("on_test_end", results)
    return results


def prepare(trainer: Trainer, source: Source) -> None:
    """Make what is not there yet, and see to it that the model can read the source."""
    trainer.prepare(source.peek)
    if isinstance(source, WindowSource):
        first = source.peek()
        if first is not None:
            trainer.model.check_windows(trainer.placed(first).x)


@contextmanager
def reading(model: Any, source: Source) -> Iterator[None]:
    """Inside `with`, recurrent layers carry what the source's batches continue.

    Where they do, states begin anew, and are put back afterwards.
    """
    with model.carrying(isinstance(source, WindowSource)):
        states = model.states()
        if source.carries_state:
            model.reset_states()
        try:
            yield
        finally:
            if source.carries_state:
                model.load_states(states)
