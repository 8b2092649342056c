"""Names stand where a Keras program looks for them, and the program runs with nothing but the import changed."""

from __future__ import annotations

import importlib
import subprocess
import sys
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import rondeau

# The import lines of Keras programs, with the name changed
LINES = """
from rondeau import Input, Model, Sequential, layers, losses, metrics, optimizers
from rondeau.activations import sigmoid, softmax, tanh
from rondeau.callbacks import BackupAndRestore, Callback, CSVLogger, EarlyStopping, History, LambdaCallback
from rondeau.callbacks import LearningRateScheduler, ModelCheckpoint, ReduceLROnPlateau, TensorBoard, TerminateOnNaN
from rondeau.initializers import Constant, GlorotUniform, HeNormal, Initializer, Orthogonal, RandomNormal, Zeros
from rondeau.layers import GRU, LSTM, RNN, Bidirectional, Dense, Dropout, Embedding, SimpleRNN, TimeDistributed
from rondeau.losses import BinaryCrossentropy, Huber, Loss, MeanSquaredError, SparseCategoricalCrossentropy
from rondeau.metrics import AUC, BinaryAccuracy, MeanAbsoluteError, Metric, Precision, Recall
from rondeau.models import Model, Sequential, load_model
from rondeau.optimizers import SGD, Adam, AdamW, Nadam, Optimizer, RMSprop
from rondeau.optimizers.schedules import CosineDecay, ExponentialDecay, LearningRateSchedule, PiecewiseConstantDecay
from rondeau.regularizers import L1, L1L2, L2
from rondeau.utils import pad_sequences, set_random_seed, timeseries_dataset_from_array, to_categorical
import rondeau.optimizers.schedules
"""
DOORS = ("activations", "callbacks", "initializers", "layers", "losses", "metrics", "models", "optimizers",
         "regularizers", "utils")  # fmt: skip
# Slow to import, and needed by few
LATE = ("keras", "matplotlib", "tensorboard", "torch._dynamo", "torch.utils.tensorboard", "torchmetrics")


@pytest.mark.parametrize("line", [line for line in LINES.splitlines() if line])
def test_keras_s_import_lines_work_with_the_name_changed(line: str) -> None:
    exec(line, {})


@pytest.mark.parametrize("line", [line for line in LINES.splitlines() if line])
def test_they_are_keras_s_import_lines(line: str) -> None:
    pytest.importorskip("keras")
    exec(line.replace("rondeau", "keras"), {})


@pytest.mark.parametrize("name", DOORS)
def test_doors_stand_open_in_the_package_and_hold_what_they_say(name: str) -> None:
    door = importlib.import_module(f"rondeau.{name}")
    assert getattr(rondeau, name) is door
    assert name in rondeau.__all__
    for exported in getattr(door, "__all__", ()):
        assert hasattr(door, exported), exported


@pytest.mark.parametrize("name", ["callbacks", "losses", "metrics", "optimizers"])
def test_doors_hold_all_of_their_room(name: str) -> None:
    door, room = (importlib.import_module(f"{place}.{name}") for place in ("rondeau", "rondeau.training"))
    for exported in room.__all__:
        if not isinstance(getattr(door, exported), ModuleType):  # schedules are a door of their own
            assert getattr(door, exported) is getattr(room, exported)


def test_every_initialiser_and_schedule_is_at_its_door() -> None:
    def classes(module: ModuleType) -> set[type]:
        return {value for value in vars(module).values() if isinstance(value, type)}

    from rondeau import init, initializers
    from rondeau.optimizers import schedules as door
    from rondeau.training.optimizers import schedules as room

    for place, base, found in ((init, init.Initializer, initializers), (room, room.LearningRateSchedule, door)):
        assert {kind for kind in classes(place) if issubclass(kind, base)} == classes(found)


def test_the_saved_name_of_load_is_there() -> None:
    assert rondeau.models.load_model is rondeau.load


def test_the_doors_open_without_what_is_slow_to_import() -> None:
    lines = LINES.strip().replace("\n", "; ")
    program = f"import sys, numpy, torch; before = set(sys.modules); {lines}; print(*set(sys.modules) - before)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert {"rondeau.callbacks", "rondeau.utils", "rondeau.training.callbacks.tensorboard"} <= loaded
    assert not [name for name in loaded if name.startswith(LATE)]


# A whole program: the reviews' classifier of Keras's guide, small

PROGRAM = """
import numpy as np
import keras
from keras import layers
from keras.callbacks import EarlyStopping
from keras.models import Sequential
from keras.utils import pad_sequences

vocabulary, longest = 50, 12

def reviews(count, draw):
    rows = [draw.integers(1, vocabulary, draw.integers(3, 20)) for _ in range(count)]
    labels = np.array([int((row < 15).sum() > 0.3 * len(row)) for row in rows])
    return pad_sequences(rows, maxlen=longest), labels

draw = np.random.default_rng(0)
(x_train, y_train), (x_val, y_val) = reviews(96, draw), reviews(40, draw)

model = Sequential(
    [
        keras.Input((longest,), dtype="int32"),
        layers.Embedding(vocabulary, 8, mask_zero=masked),
        layers.LSTM(16, dropout=dropout),
        layers.Dense(1, activation="sigmoid"),
    ]
)
weights = prepare(model)
model.compile("adam", "binary_crossentropy", metrics=["accuracy"])
history = model.fit(
    x_train, y_train, batch_size=16, epochs=4, validation_data=(x_val, y_val), shuffle=False, verbose=0,
    callbacks=[EarlyStopping(monitor="val_loss", patience=9)],
)
loss, accuracy = model.evaluate(x_val, y_val, verbose=0)
predictions = model.predict(x_val, verbose=0)
"""


def _run(library: str, weights: Any, **settings: Any) -> dict[str, Any]:
    """The program's variables after it has run with this library, from these weights, or its own if None."""

    def prepare(model: Any) -> Any:
        if weights is not None:
            model.set_weights(weights)
        return model.get_weights()

    program = PROGRAM.replace("import keras\n", f"import {library} as keras\n").replace("from keras", f"from {library}")
    variables: dict[str, Any] = {"prepare": prepare, **settings}
    exec(program, variables)
    return variables


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # Keras's torch backend, NumPy 2
@pytest.mark.parametrize("masked", [False, True])
def test_a_keras_program_gives_keras_s_numbers(masked: bool) -> None:
    pytest.importorskip("keras")
    ours = _run("rondeau", None, dropout=0.0, masked=masked)
    theirs = _run("keras", ours["weights"], dropout=0.0, masked=masked)
    for name, values in theirs["history"].history.items():
        assert ours["history"].history[name] == pytest.approx(values, rel=0, abs=1e-4), name
    assert ours["history"].history.keys() == theirs["history"].history.keys()
    assert ours["history"].epoch == theirs["history"].epoch
    assert (ours["loss"], ours["accuracy"]) == pytest.approx((theirs["loss"], theirs["accuracy"]), rel=0, abs=1e-4)
    assert ours["predictions"].shape == theirs["predictions"].shape
    assert np.abs(ours["predictions"] - theirs["predictions"]).max() < 1e-4
    # four epochs have moved the model far more than that
    losses = ours["history"].history["loss"]
    assert losses[0] - losses[-1] > 1e-2


def test_with_dropout_the_program_learns_too() -> None:
    losses = _run("rondeau", None, dropout=0.2, masked=False)["history"].history["loss"]
    assert losses[-1] < losses[0]
    assert losses != _run("rondeau", None, dropout=0.0, masked=False)["history"].history["loss"]
