"""LearningRateScheduler against Keras, and both rate callbacks with torch's optimisers and with schedules."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import rondeau
from rondeau import callbacks, layers
from rondeau.errors import ArgumentError

# Keras hands torch tensors to NumPy in a way that NumPy 2 warns about; our code has no part in it.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
X, Y = np.linspace(-1, 1, 12, dtype=np.float32).reshape(6, 2), np.ones((6, 1), np.float32)


def _model(optimizer: Any) -> Any:
    model = rondeau.Sequential([layers.Input((2,)), layers.Dense(1)])
    model.compile(optimizer(model) if callable(optimizer) else optimizer, "mse", device="cpu")
    return model


def _halve(epoch: int, rate: float) -> float:
    return rate if epoch < 2 else rate / 2


def test_a_scheduler_sets_and_logs_the_rates_that_keras_s_does() -> None:
    keras = pytest.importorskip("keras")

    def rates(model: Any, optimizer: Any, scheduler: Any) -> list[float]:
        model.compile(optimizer(1.0), "mse")
        history = model.fit(X, Y, epochs=5, initial_epoch=1, callbacks=[scheduler(_halve)], verbose=0)
        return [float(rate) for rate in history.history["learning_rate"]]

    dense = keras.Sequential([keras.layers.Input((2,)), keras.layers.Dense(1)])
    theirs = rates(dense, keras.optimizers.SGD, keras.callbacks.LearningRateScheduler)
    ours = rates(_model("sgd"), rondeau.optimizers.SGD, callbacks.LearningRateScheduler)
    assert ours == theirs == [1.0, 0.5, 0.25, 0.125]


def test_the_rate_it_sets_is_the_rate_that_trains() -> None:
    model = _model(rondeau.optimizers.SGD(1.0))
    before = model.get_weights()
    model.fit(X, Y, epochs=3, callbacks=[callbacks.LearningRateScheduler(lambda epoch: 0.0)], verbose=0)
    assert all(np.array_equal(old, new) for old, new in zip(before, model.get_weights(), strict=True))
    model.fit(X, Y, epochs=3, callbacks=[callbacks.LearningRateScheduler(lambda epoch: 0.125)], verbose=0)
    assert not all(np.array_equal(old, new) for old, new in zip(before, model.get_weights(), strict=True))


@pytest.mark.parametrize(
    "schedule",
    [
        lambda epoch: 0.5**epoch,
        lambda epoch, lr=None: 0.5**epoch,
        lambda epoch, lr: np.float32(0.5**epoch),
        lambda epoch, lr: torch.tensor(0.5**epoch),
        lambda *both: 0.5 ** both[0],
    ],
)
def test_schedules_may_take_one_argument_or_two_and_give_any_number(schedule: Any) -> None:
    history = _model("sgd").fit(X, Y, epochs=3, callbacks=[callbacks.LearningRateScheduler(schedule)], verbose=0)
    assert history.history["learning_rate"] == [1.0, 0.5, 0.25]


@pytest.mark.parametrize("given", ["0.1", None, True, float("nan"), -0.1])
def test_what_is_no_rate_is_refused_with_the_epoch(given: Any) -> None:
    with pytest.raises(ArgumentError, match=r"what schedule gave.*LearningRateScheduler, epoch 1"):
        _model("sgd").fit(X, Y, callbacks=[callbacks.LearningRateScheduler(lambda epoch, lr: given)], verbose=0)


def test_an_error_inside_the_schedule_comes_out_as_it_is() -> None:
    def schedule(epoch: int, rate: float) -> float:
        raise TypeError("mine")

    with pytest.raises(TypeError, match="mine"):  # Keras calls it once more, with one argument
        _model("sgd").fit(X, Y, callbacks=[callbacks.LearningRateScheduler(schedule)], verbose=0)


@pytest.mark.parametrize("schedule", [0.1, lambda: 0.1, lambda a, b, c: 0.1])
def test_what_is_no_schedule_is_refused_at_once(schedule: Any) -> None:
    with pytest.raises(ArgumentError, match=r"a function schedule\(epoch, lr\)"):
        callbacks.LearningRateScheduler(schedule)


def _two_groups(model: Any) -> torch.optim.Optimizer:
    kernel, bias = model.parameters()
    return torch.optim.SGD([{"params": [kernel], "lr": 1.0}, {"params": [bias], "lr": torch.tensor(0.25)}])


def test_torch_optimisers_are_set_group_by_group() -> None:
    model = _model(_two_groups)
    history = model.fit(X, Y, epochs=3, callbacks=[callbacks.LearningRateScheduler(_halve)], verbose=0)
    assert history.history["learning_rate_0"] == [1.0, 1.0, 0.5]
    assert history.history["learning_rate_1"] == [0.25, 0.25, 0.125]
    assert isinstance(model.optimizer.param_groups[1]["lr"], torch.Tensor)


def test_torch_optimisers_are_reduced_group_by_group() -> None:
    model = _model(_two_groups)
    reduce = callbacks.ReduceLROnPlateau("loss", factor=0.5, patience=1, min_delta=1e9, min_lr=0.1875)
    history = model.fit(X, Y, epochs=5, callbacks=[reduce], verbose=0)
    assert history.history["learning_rate_0"] == [1.0, 1.0, 0.5, 0.25, 0.1875]
    assert history.history["learning_rate_1"] == [0.25, 0.25, 0.1875, 0.1875, 0.1875]


def test_one_group_is_logged_under_the_plain_name() -> None:
    model = _model(lambda model: torch.optim.Adam(model.parameters(), lr=0.5))
    history = model.fit(X, Y, epochs=2, callbacks=[callbacks.ReduceLROnPlateau("loss")], verbose=0)
    assert history.history["learning_rate"] == [0.5, 0.5]


@pytest.mark.parametrize("make", [lambda: callbacks.LearningRateScheduler(_halve), callbacks.ReduceLROnPlateau])
def test_two_masters_of_the_rate_are_refused_before_training(make: Any) -> None:
    model = _model(rondeau.optimizers.SGD(rondeau.optimizers.schedules.ExponentialDecay(0.1, 10, 0.5)))
    before = model.get_weights()
    with pytest.raises(ArgumentError, match="follows ExponentialDecay"):
        model.fit(X, Y, validation_data=(X, Y), callbacks=[make()], verbose=0)
    assert np.array_equal(before[0], model.get_weights()[0])
