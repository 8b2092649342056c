"""The fit loop: epochs of batches, with callbacks, that can be taken up again in the middle of an epoch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from rondeau.errors import ArgumentError, DataError, NumericsError
from rondeau.training.callbacks.base import Callback, CallbackList, History, Logs
from rondeau.training.data import Source
from rondeau.training.trainer import Trainer


class Loop:
    """One call of `fit`.

    Attributes:
        epoch, batch: where training stands: the next batch to train on, both from 0.
        seed: what the order of the rows follows from, with the epoch; drawn from torch's global generator.
        callbacks: those the user gave, a `History` first.
        interrupted: set by a callback to leave after the current batch, in the middle of the epoch, to be taken up later.
    """

    def __init__(self, trainer: Trainer, source: Source, validation: Source | None, epochs: int, first: int) -> None:
        if not isinstance(epochs, int) or epochs < 0 or first < 0:
            raise ArgumentError("epochs", expected="a number of epochs, and initial_epoch at least 0", got=(epochs, first))
        self.trainer, self.source, self.validation, self.epochs = trainer, source, validation, epochs
        self.epoch, self.batch = first, 0
        self.seed = int(torch.randint(2**31, ()))
        self.callbacks: list[Callback] = []
        self.interrupted = False

    def run(self, callbacks: Sequence[Callback], verbose: int) -> History:
        """Train until the last epoch or until a callback stops it."""
        model = self.trainer.model
        history = History()
        self.callbacks = [history, *callbacks]
        told = CallbackList(self.callbacks, model, self._params(verbose))
        for callback in self.callbacks:
            callback.loop = self
        model.stop_training = False
        trainer = self.trainer
        first = self.source.peek()
        if first is None:
            raise DataError("there is no data to train on", expected="at least one batch", got=0)
        trainer.prepare(first)
        trainer.objective.reset()
        told.call("on_train_begin", {})  # a callback may move epoch and batch to where an earlier run stood
        logs: Logs = {}
        try:
            while self.epoch < self.epochs and not model.stop_training and not self.interrupted:
                logs = self._run_epoch(told)
        finally:
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
            told.call("on_train_batch_begin", self.batch, {})
            try:
                self.trainer.train_step(batch)
            except NumericsError as error:
                self._not_finite(error)
            logs: Logs = dict(objective.running_results())
            self.batch += 1
            told.call("on_train_batch_end", self.batch - 1, logs)
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

    def _not_finite(self, error: NumericsError) -> None:
        place = f"epoch {self.epoch + 1}, batch {self.batch + 1}"
        placed = NumericsError(error.what, got=error.got, where=place, fix=error.fix)  # type: ignore[attr-defined]
        if not any(callback.on_numerics_error(placed, {}) for callback in self.callbacks):
            raise placed from error

    def _validate(self, told: CallbackList) -> Logs:
        if self.validation is None:
            return {}
        kept = self.trainer.objective.state_dict()
        results = evaluate(self.trainer, self.validation, told)
        self.trainer.objective.load_state_dict(kept)
        return {f"val_{name}": value for name, value in results.items()}


def evaluate(trainer: Trainer, source: Source, told: CallbackList | None = None) -> dict[str, float]:
    """Loss and metrics over a source. The model's mode comes back as it was, and its states where batches carry them."""
    model = trainer.model
    training = model.training
    kept = model.states() if source.carries_state else {}
    if source.carries_state:
        model.reset_states()
    model.eval()
    told = told or CallbackList([], model, {})
    told.call("on_test_begin", {})
    first = source.peek()
    if first is None:
        raise DataError("there is no data to evaluate on", expected="at least one batch", got=0)
    trainer.prepare(first)
    trainer.objective.reset()
    for number, batch in enumerate(source.batches(0, 0, 0)):
        trainer.test_step(batch)
        told.call("on_test_batch_end", number, {})
    results = trainer.objective.results()
    told.call("on_test_end", results)
    model.train(training)
    if source.carries_state:
        model.load_states(kept)
    return results
