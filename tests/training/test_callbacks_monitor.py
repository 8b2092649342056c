"""EarlyStopping, ReduceLROnPlateau and ModelCheckpoint do what Keras 3's do, told the same sequences of logs."""

from __future__ import annotations

import inspect
import random
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

import rondeau
from rondeau import callbacks, layers, metrics
from rondeau.errors import ArgumentError, DataError

keras = pytest.importorskip("keras")
# Keras hands torch tensors to NumPy in a way that NumPy 2 warns about; our code has no part in it.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
EPOCHS = 24


def _values(seed: int) -> list[float]:
    """A noisy fall in eighths: ties come up, and float32, in which Keras compares, holds each exactly."""
    draw = random.Random(seed)
    return [4 - epoch / 8 + draw.randint(-12, 12) / 8 for epoch in range(EPOCHS)]


def _model(rate: float = 1.0) -> Any:
    model = rondeau.Sequential([layers.Input((1,)), layers.Dense(1, use_bias=False)])
    model.compile(rondeau.optimizers.SGD(rate), "mse", device="cpu")
    return model


def _keras_model(rate: float = 1.0) -> Any:
    model = keras.Sequential([keras.layers.Input((1,)), keras.layers.Dense(1, use_bias=False)])
    model.compile(keras.optimizers.SGD(rate), "mse")
    model.stop_training = False
    return model


def _set(callback: Any, model: Any) -> Any:
    callback.set_model(model)
    callback.set_params({"epochs": EPOCHS, "steps": 3, "verbose": 0})
    callback.loop = SimpleNamespace(epoch=0, batch=0, interrupted=False)
    callback.on_train_begin({})
    return callback


def _run(callback: Any, model: Any, values: list[float], name: str, look: Any) -> list[Any]:
    """What `look` sees after each epoch, and after training; the weight is the number of the epoch."""
    _set(callback, model)
    seen = []
    for epoch, value in enumerate(values):
        model.set_weights([torch.full((1, 1), float(epoch)).numpy()])
        callback.on_epoch_begin(epoch, {})
        callback.on_epoch_end(epoch, {"loss": 1.0, name: value})
        seen.append(look(callback, model))
        if model.stop_training:
            break
    callback.on_train_end({})
    return [*seen, model.get_weights()[0].item()]


OPTIONS: list[dict[str, Any]] = [
    {},
    {"patience": 1},
    {"patience": 3},
    {"patience": 3, "min_delta": 0.25},
    {"patience": 3, "min_delta": -0.25},
    {"patience": 2, "restore_best_weights": True},
    {"patience": 4, "baseline": 3.0, "restore_best_weights": True},
    {"patience": 2, "baseline": 0.0, "restore_best_weights": True},
    {"patience": 2, "start_from_epoch": 5, "restore_best_weights": True},
    {"patience": 2, "start_from_epoch": 5, "mode": "max", "min_delta": 0.5, "restore_best_weights": True},
    {"patience": 50, "restore_best_weights": True},
    {"patience": 4, "mode": "max", "baseline": 3.5},
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("seed", range(4))
def test_early_stopping_stops_where_keras_does(options: dict[str, Any], seed: int) -> None:
    def look(callback: Any, model: Any) -> Any:
        return (callback.wait, callback.stopped_epoch, callback.best, callback.best_epoch, model.stop_training)

    def seen(library: Any, model: Any) -> list[Any]:
        return _run(library.callbacks.EarlyStopping(**options), model, _values(seed), "val_loss", look)

    assert seen(rondeau, _model()) == seen(keras, _keras_model())


@pytest.mark.parametrize(
    "options",
    [
        {"patience": 1, "factor": 0.5},
        {"patience": 0, "factor": 0.5},
        {"patience": 2, "factor": 0.25, "min_lr": 0.125},
        {"patience": 1, "factor": 0.5, "cooldown": 2},
        {"patience": 1, "factor": 0.5, "cooldown": 1, "min_delta": 0.5},
        {"patience": 2, "factor": 0.5, "mode": "max", "min_delta": -0.25},
        {"factor": 0.5},
    ],
    ids=str,
)
@pytest.mark.parametrize("seed", range(4))
def test_plateaus_reduce_the_rate_where_keras_does(options: dict[str, Any], seed: int) -> None:
    def look(callback: Any, model: Any) -> Any:
        rate = float(model.optimizer.learning_rate)
        return (callback.wait, callback.cooldown_counter, callback.best, callback.in_cooldown(), rate)

    def seen(library: Any, model: Any) -> list[Any]:
        return _run(library.callbacks.ReduceLROnPlateau(**options), model, _values(seed), "val_loss", look)

    assert seen(rondeau, _model()) == seen(keras, _keras_model())


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"save_best_only": True},
        {"save_best_only": True, "mode": "max"},
        {"save_best_only": True, "initial_value_threshold": 2.5},
        {"save_weights_only": True, "save_freq": 2},
        {"save_weights_only": True, "save_freq": 7},
    ],
    ids=str,
)
@pytest.mark.parametrize("seed", range(2))
def test_models_are_saved_when_and_where_keras_saves_them(options: dict[str, Any], seed: int, tmp_path: Path) -> None:
    ending = ".weights.h5" if options.get("save_weights_only") else ".keras"
    batch = "{batch:03d}-" if "save_freq" in options else ""
    template = str(tmp_path / "run" / ("{epoch:02d}-" + batch + "{val_loss:.2f}" + ending))

    def saved(library: Any, model: Any) -> list[str]:
        paths: list[str] = []
        model.save = lambda path, **_: paths.append(str(path))
        model.save_weights = lambda path, **_: paths.append(str(path) + " weights")
        callback = _set(library.callbacks.ModelCheckpoint(template, **options), model)
        for epoch, value in enumerate(_values(seed)):
            callback.loop.epoch = epoch
            callback.on_epoch_begin(epoch, {})
            for number in range(3):
                callback.on_train_batch_end(number, {"loss": 1.0, "val_loss": value})
            callback.on_epoch_end(epoch, {"loss": 1.0, "val_loss": value})
        return paths

    found = saved(rondeau, _model())
    assert found == saved(keras, _keras_model())
    assert found


@pytest.mark.parametrize("name", ["EarlyStopping", "ReduceLROnPlateau", "ModelCheckpoint", "LearningRateScheduler",
                                  "CSVLogger", "TerminateOnNaN"])  # fmt: skip
def test_arguments_and_defaults_are_keras_s(name: str) -> None:
    def arguments(library: Any) -> dict[str, Any]:
        given = inspect.signature(getattr(library.callbacks, name).__init__).parameters.values()
        return {p.name: p.default for p in given if p.kind is not p.VAR_KEYWORD}

    assert arguments(rondeau) == arguments(keras)


def test_auto_knows_every_metric_that_keras_knows() -> None:
    known = 0
    for name in sorted(metrics.NAMES):
        if name.lower() in ("accuracy", "acc"):
            theirs = "up"
        elif name.lower() in ("cosinesimilarity", "cosine_similarity"):
            theirs = "down"  # ours is the loss of that name; Keras's metric has the other sign
        else:
            try:
                theirs = getattr(keras.metrics.get(name), "_direction", None)
            except ValueError:
                theirs = None
        if theirs is None:
            continue
        known += 1
        model = _model()
        model.compile("sgd", "mse", metrics=[name], device="cpu")
        model.trainer.objective.bind(["dense"])
        callback = _set(callbacks.EarlyStopping(f"val_{name}"), model)
        assert callback.improves(2.0, 1.0) == (theirs == "up"), name
    assert known > 30


# What Keras warns of or passes over is refused here


def test_auto_refuses_to_guess() -> None:
    def gap(y_true: torch.Tensor, y_pred: torch.Tensor) -> torch.Tensor:
        return (y_true - y_pred).abs()

    model = _model()
    model.compile("sgd", "mse", metrics=[gap], device="cpu")
    model.trainer.objective.bind(["dense"])
    callback = _set(callbacks.EarlyStopping("gap"), model)
    with pytest.raises(ArgumentError, match=r"cannot tell whether more gap is better.*EarlyStopping.*mode='min'"):
        callback.on_epoch_end(0, {"gap": 1.0})
    _set(callbacks.EarlyStopping("gap", mode="min"), model).on_epoch_end(0, {"gap": 1.0})


@pytest.mark.parametrize(
    ("make", "logs", "message"),
    [
        (lambda: callbacks.EarlyStopping(), {"loss": 1.0}, "no 'val_loss'.*one of loss.*validation_data"),
        (lambda: callbacks.EarlyStopping("val_f1"), {"loss": 1.0, "val_loss": 1.0}, "no 'val_f1'.*loss, val_loss"),
        (lambda: callbacks.EarlyStopping(start_from_epoch=3), {"loss": 1.0}, "no 'val_loss'"),
        (lambda: callbacks.ReduceLROnPlateau("acc"), {"loss": 1.0}, "no 'acc'.*loss, learning_rate"),
        (lambda: callbacks.ModelCheckpoint("x", save_best_only=True), {"loss": 1.0}, "no 'val_loss'"),
    ],
)
def test_a_name_the_logs_do_not_have_is_an_error_that_says_what_they_have(make: Any, logs: Any, message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        _set(make(), _model()).on_epoch_end(0, logs)


def test_a_value_of_several_numbers_is_refused() -> None:
    with pytest.raises(DataError, match=r"val_loss is not one number.*\(2,\)"):
        _set(callbacks.EarlyStopping(), _model()).on_epoch_end(0, {"val_loss": [1.0, 2.0]})


@pytest.mark.parametrize(
    ("kind", "arguments", "message"),
    [
        ("EarlyStopping", {"mode": "mean"}, "mode.*'auto', 'min' or 'max', got 'mean'"),
        ("EarlyStopping", {"monitor": None}, "monitor.*a name in the logs"),
        ("EarlyStopping", {"patience": -1}, "patience.*0 or more, got -1"),
        ("EarlyStopping", {"patience": 1.5}, "patience.*an integer"),
        ("EarlyStopping", {"baseline": "0.9"}, "baseline is not a number"),
        ("EarlyStopping", {"min_delta": float("nan")}, "min_delta is not finite"),
        ("EarlyStopping", {"start_from_epoch": True}, "start_from_epoch.*an integer"),
        ("ReduceLROnPlateau", {"factor": 1.0}, "factor would not reduce.*below 1"),
        ("ReduceLROnPlateau", {"factor": -0.5}, "factor is negative"),
        ("ReduceLROnPlateau", {"cooldown": -1}, "cooldown"),
        ("ReduceLROnPlateau", {"min_lr": -1e-5}, "min_lr is negative"),
        ("ModelCheckpoint", {"filepath": "x", "save_freq": "batch"}, "save_freq, if not 'epoch'"),
        ("ModelCheckpoint", {"filepath": "x", "save_freq": 0}, "save_freq"),
        ("ModelCheckpoint", {"filepath": "x", "initial_value_threshold": 1.0}, "save_best_only=True"),
    ],
)
def test_arguments_out_of_range_are_refused(kind: str, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        getattr(callbacks, kind)(**arguments)


def test_a_nan_is_never_the_best() -> None:
    callback = _set(callbacks.EarlyStopping(patience=3), _model())
    seen = []
    for epoch, value in enumerate((float("nan"), 2.0, float("nan"), 1.0)):
        callback.on_epoch_end(epoch, {"val_loss": value})
        seen.append((callback.best, callback.wait))
    assert seen == [(None, 1), (2.0, 0), (2.0, 1), (1.0, 0)]


def test_where_there_are_only_nans_the_first_weights_come_back() -> None:
    callback = callbacks.EarlyStopping(patience=3, restore_best_weights=True)
    *seen, weight = _run(callback, _model(), [float("nan")] * 9, "val_loss", lambda callback, _: callback.wait)
    assert (seen, weight) == ([1, 2, 3], 0.0)


def test_what_is_done_is_said_when_asked(capsys: pytest.CaptureFixture[str]) -> None:
    stop = callbacks.EarlyStopping(patience=1, verbose=1, restore_best_weights=True)
    reduce = callbacks.ReduceLROnPlateau(patience=1, verbose=1)
    for callback in (stop, reduce):
        _run(callback, _model(), [1.0, 2.0], "val_loss", lambda *_: None)
    said = capsys.readouterr().out
    assert "Epoch 2: early stopping" in said
    assert "best epoch: 1" in said
    assert "Epoch 2: ReduceLROnPlateau reducing learning rate to 0.1." in said


def test_an_interrupted_run_keeps_the_weights_it_has() -> None:
    callback, model = callbacks.EarlyStopping(restore_best_weights=True), _model()
    _set(callback, model)
    for epoch, value in enumerate((1.0, 2.0)):
        model.set_weights([torch.full((1, 1), float(epoch)).numpy()])
        callback.on_epoch_end(epoch, {"val_loss": value})
    callback.loop.interrupted = True
    callback.on_train_end({})
    assert model.get_weights()[0].item() == 1.0
