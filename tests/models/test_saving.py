from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import rondeau
from rondeau import Cell, HiddenState, layers, losses, metrics, optimizers
from rondeau.errors import CheckpointError, NotBuiltError, SaveError
from rondeau.models import saving

rng = np.random.default_rng(0)
X = rng.normal(size=(8, 4, 3)).astype("float32")
Y = rng.integers(0, 3, 8)


class Leaky(Cell):
    def __init__(self, units: int, leak: float = 0.5) -> None:
        super().__init__()
        self.units, self.leak = units, leak
        self.state_size, self.output_size = HiddenState(h=units), units

    def build(self, features: int) -> None:
        self.kernel = self.add_weight("kernel", (features, self.units))

    def step(self, x: Any, state: Any) -> Any:
        h = self.leak * state.h + torch.tanh(x @ self.kernel)
        return h, HiddenState(h)


class Negative(layers.Layer):
    def forward(self, x: Any) -> Any:
        return -x


def doubled(x: Any) -> Any:
    return 2 * x


def gap(y_true: Any, y_pred: Any) -> Any:
    return (y_true - y_pred).abs().mean(-1)


CUSTOM: dict[str, Any] = {"Leaky": Leaky, "Negative": Negative, "doubled": doubled, "gap": gap}


def custom() -> Any:
    return rondeau.Sequential([layers.RNN(Leaky(4, leak=0.3)), Negative(), layers.Dense(3, activation=doubled)])


def classifier(**options: Any) -> Any:
    model = rondeau.Sequential([layers.LSTM(4, name="reader", **options), layers.Dense(3, activation="softmax")])
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def trained(**options: Any) -> Any:
    model = classifier(**options)
    model.fit(X, Y, epochs=2, verbose=0)
    return model


# There and back


def test_custom_objects_are_asked_for_and_used(tmp_path: Path) -> None:
    model = custom()
    before = model.predict(X)
    model.save(tmp_path)
    loaded = rondeau.load(tmp_path, CUSTOM)
    assert np.array_equal(loaded.predict(X), before)
    assert loaded.layers[0].cell.leak == 0.3
    for missing, place in [("Leaky", "RNN.cell"), ("Negative", "layers"), ("doubled", "Dense.activation")]:
        given = {name: value for name, value in CUSTOM.items() if name != missing}
        with pytest.raises(CheckpointError, match=rf"uses '{missing}'.*{place}.*custom_objects={{'{missing}'"):
            rondeau.load(tmp_path, given)


def test_every_recurrent_layer(tmp_path: Path) -> None:
    model = rondeau.Sequential(
        [
            layers.Masking(9.0),
            layers.Bidirectional(layers.RNN([layers.LSTMCell(3), layers.GRUCell(2)], return_sequences=True)),
            layers.SimpleRNN(
                3, return_sequences=True, go_backwards=True, kernel_regularizer=rondeau.regularizers.L2(0.1)
            ),
            layers.TimeDistributed(layers.Dense(2)),
            layers.LayerNormalization(),
            layers.GRU(2, reset_after=False, kernel_initializer=rondeau.initializers.Orthogonal(2.0, seed=1)),
        ]
    )
    before = model.predict(X)
    model.save(tmp_path)
    loaded = rondeau.load(tmp_path)
    assert np.array_equal(loaded.predict(X), before)
    assert [loss.item() for loss in loaded.losses] == [loss.item() for loss in model.losses]
    assert loaded.get_config() == model.get_config()


def test_names_flags_and_modes_survive(tmp_path: Path) -> None:
    model = trained(stateful=True)
    model.layers[0].trainable = False
    model.layers[1].bias.requires_grad_(False)
    model.save(tmp_path)
    loaded = rondeau.load(tmp_path)
    assert [layer.name for layer in loaded.layers] == ["reader", "dense"]
    flags = [{name: p.requires_grad for name, p in one.named_parameters()} for one in (model, loaded)]
    assert flags[0] == flags[1]
    assert loaded.layers[0].stateful
    assert not loaded.training
    assert not loaded.layers[0].trainable


def test_a_loaded_model_trains_on_as_if_never_saved(tmp_path: Path) -> None:
    model = rondeau.Sequential([layers.LSTM(4, dropout=0.2), layers.Dense(3)])
    rate = optimizers.schedules.ExponentialDecay(0.01, 5, 0.5)
    loss = losses.SparseCategoricalCrossentropy(from_logits=True)
    curve = metrics.SparseTopKCategoricalAccuracy(2)
    model.compile(
        optimizers.AdamW(rate, clipnorm=1.0), loss, metrics=["accuracy", curve], weighted_metrics=["accuracy"]
    )
    model.fit(X, Y, epochs=3, batch_size=3, verbose=0)
    model.save(tmp_path)
    loaded = rondeau.load(tmp_path)
    histories = []
    for one in (model, loaded):
        torch.manual_seed(1)
        histories.append(one.fit(X, Y, epochs=2, batch_size=3, verbose=0).history)
    assert histories[0] == histories[1]
    assert list(histories[0]) == ["loss", "accuracy", "sparse_top_k_categorical_accuracy", "weighted_accuracy"]
    assert all(map(np.array_equal, model.get_weights(), loaded.get_weights()))
    assert loaded.optimizer.iterations == model.optimizer.iterations == 15
    assert loaded.optimizer.learning_rate == model.optimizer.learning_rate


def test_what_compile_was_given_comes_back(tmp_path: Path) -> None:
    x = layers.Input((4, 3))
    h = layers.LSTM(2)(x)
    model = rondeau.Model(x, {"a": layers.Dense(1, activation="sigmoid")(h), "b": layers.Dense(1)(h)})
    given = {"loss": {"a": "mse", "b": losses.mean_absolute_error}, "loss_weights": {"a": 2.0}}
    model.compile("sgd", **given, metrics={"a": ["mae", metrics.AUC()], "b": metrics.binary_accuracy})
    model.save(tmp_path)  # compiled, not trained yet
    loaded = rondeau.load(tmp_path, device="cpu")
    targets = {"a": np.ones((8, 1)), "b": np.ones((8, 1))}
    assert loaded.trainer.objective.given[0]["b"] is losses.mean_absolute_error
    assert type(loaded.optimizer) is optimizers.SGD
    assert set(loaded.fit(X, targets, verbose=0).history) == {
        "loss", "a_loss", "b_loss", "a_mae", "a_auc", "b_binary_accuracy"
    }  # fmt: skip


def test_custom_losses_and_metrics(tmp_path: Path) -> None:
    model = trained()
    model.compile("sgd", gap, metrics=[gap])
    model.save(tmp_path)
    assert rondeau.load(tmp_path, CUSTOM).trainer.objective.given[:2] == (gap, [gap])
    with pytest.raises(CheckpointError, match=r"uses 'gap'.*compile\(loss=...\)"):
        rondeau.load(tmp_path)
    assert rondeau.load(tmp_path, compile=False).trainer is None


@pytest.mark.parametrize("given", [{"loss": lambda y, p: p}, {"metrics": [lambda y, p: p]}, {"optimizer": "torch"}])
def test_training_that_cannot_be_described(given: dict[str, Any], tmp_path: Path) -> None:
    model = trained()
    if "optimizer" in given:
        given = {"optimizer": torch.optim.SGD(model.parameters(), lr=0.1)}
    model.compile(**{"optimizer": "sgd", "loss": "mse", **given})
    with pytest.raises(SaveError, match=r"compile\(.*include_optimizer=False"):
        model.save(tmp_path)
    assert os.listdir(tmp_path) == []
    model.save(tmp_path, include_optimizer=False)
    loaded = rondeau.load(tmp_path)
    assert loaded.trainer is None
    assert np.array_equal(loaded.predict(X), model.predict(X))


@pytest.mark.parametrize("make", [lambda: layers.Dense(2, activation=lambda x: x), lambda: layers.RNN(Pickled(3))])
def test_models_that_cannot_be_described(make: Any, tmp_path: Path) -> None:
    model = rondeau.Sequential([make()])
    model.predict(X)
    with pytest.raises(SaveError):
        model.save(tmp_path / "m")
    assert not (tmp_path / "m").exists()


class Pickled(Leaky):
    """Has an argument that JSON does not know."""

    def __init__(self, units: int, table: Any = None) -> None:
        super().__init__(units)

    def get_config(self) -> Any:
        raise SaveError("a table has no JSON form")


def test_nothing_named_in_a_file_is_imported(tmp_path: Path) -> None:
    model = custom()
    model.predict(X)
    model.save(tmp_path)
    program = f"""
import sys, rondeau
before = set(sys.modules)
try:
    rondeau.load({str(tmp_path)!r})
except rondeau.errors.CheckpointError as error:
    print(error)
print(sorted(set(sys.modules) - before))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    said, imported = done.stdout.splitlines()
    assert "uses 'Leaky', which Rondeau does not have" in said
    assert imported == "[]"


def test_a_class_that_has_changed(tmp_path: Path) -> None:
    model = custom()
    model.predict(X)
    model.save(tmp_path)

    class Other(Leaky):
        def __init__(self, size: int) -> None:
            super().__init__(size)

    with pytest.raises(CheckpointError, match=r"cannot be made from its saved arguments.*TypeError"):
        rondeau.load(tmp_path, {**CUSTOM, "Leaky": Other})


# Weights alone


def test_weights_alone(tmp_path: Path) -> None:
    model, other = trained(), trained()
    model.save_weights(tmp_path / "w")
    other.load_weights(tmp_path / "w")
    assert np.array_equal(model.predict(X), other.predict(X))
    model.fit(X, Y, verbose=0)
    model.save(tmp_path / "m")
    other.load_weights(tmp_path / "m")
    assert np.array_equal(model.predict(X), other.predict(X))
    assert set(load_file(tmp_path / "w")) == set(model.state_dict())


def test_weights_of_another_model(tmp_path: Path) -> None:
    trained().save_weights(tmp_path / "w")
    other = rondeau.Sequential([layers.Input((4, 3)), layers.LSTM(5, name="reader")])
    with pytest.raises(
        CheckpointError, match=r"of another model .*w.: got chain.dense.bias: absent here, \(3,\) saved"
    ):
        other.load_weights(tmp_path / "w")


def test_what_is_not_built_has_no_weights(tmp_path: Path) -> None:
    model = classifier()
    for save in (model.save, model.save_weights, model.load_weights):
        with pytest.raises(NotBuiltError):
            save(tmp_path / "w")


# Folders


def test_an_existing_model_is_kept_if_asked(tmp_path: Path) -> None:
    model = trained()
    model.save(tmp_path)
    before = (tmp_path / saving.WEIGHTS).read_bytes()
    model.fit(X, Y, verbose=0)
    with pytest.raises(CheckpointError, match="holds a model already"):
        model.save(tmp_path, overwrite=False)
    assert (tmp_path / saving.WEIGHTS).read_bytes() == before
    model.save(tmp_path)
    assert np.array_equal(rondeau.load(tmp_path).predict(X), model.predict(X))
    assert sorted(os.listdir(tmp_path)) == ["config.json", "weights.safetensors"]


def test_the_same_model_gives_the_same_files(tmp_path: Path) -> None:
    model = trained()
    for name in "ab":
        model.save(tmp_path / name)
    for file in (saving.CONFIG, saving.WEIGHTS):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def test_a_file_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "m").touch()
    with pytest.raises(CheckpointError, match="a model is saved as a folder, here is a file"):
        trained().save(tmp_path / "m")


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    trained().save(tmp_path / "m")
    return tmp_path / "m"


def test_what_is_missing(saved: Path, tmp_path: Path) -> None:
    for nothing in (tmp_path, tmp_path / "nothing", saved / saving.CONFIG):
        with pytest.raises(CheckpointError, match=r"there is no saved model .*expected a folder with config.json"):
            rondeau.load(nothing)
    (saved / saving.WEIGHTS).rename(saved / "elsewhere")
    with pytest.raises(CheckpointError, match="there is no such file"):
        rondeau.load(saved)
    (saved / "elsewhere").rename(saved / saving.WEIGHTS)
    (saved / saving.CONFIG).unlink()
    with pytest.raises(CheckpointError, match="do not belong together"):
        rondeau.load(saved)


def test_halves_of_two_models(saved: Path, tmp_path: Path) -> None:
    rondeau.Sequential([layers.Input((4, 3)), layers.LSTM(5)]).save(tmp_path / "other")
    (saved / saving.CONFIG).write_bytes((tmp_path / "other" / saving.CONFIG).read_bytes())
    with pytest.raises(CheckpointError, match="configuration and weights do not belong together"):
        rondeau.load(saved)


def _edit(file: Path, **changes: Any) -> None:
    config = json.loads(file.read_text())
    file.write_text(json.dumps({**config, **changes}, indent=2))


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda file: file.write_bytes(file.read_bytes()[:-20]), "not written by Rondeau"),
        (lambda file: file.write_text("hello"), "not written by Rondeau"),
        (lambda file: file.write_bytes(b"\xff\xfe"), "not written by Rondeau"),
        (lambda file: file.write_text("[1, 2]"), "not written by Rondeau"),
        (lambda file: _edit(file, format="keras"), "not written by Rondeau"),
        (lambda file: _edit(file, version=99), "newer Rondeau .*expected version 1 or older, got 99"),
        (lambda file: _edit(file, frozen=["x"]), "must not be changed by hand"),
    ],
)
def test_a_configuration_that_is_damaged_foreign_or_too_new(saved: Path, spoil: Any, words: str) -> None:
    spoil(saved / saving.CONFIG)
    with pytest.raises(CheckpointError, match=words):
        rondeau.load(saved)


def test_weights_that_are_damaged(saved: Path) -> None:
    file = saved / saving.WEIGHTS
    whole = file.read_bytes()
    for spoilt in (whole[:-1], whole[: len(whole) // 2], b"", whole[:-4] + b"\0\0\0\1"):
        file.write_bytes(spoilt)
        with pytest.raises(CheckpointError, match=r"damaged|altered"):
            rondeau.load(saved)


PROGRAM = """
import os, signal, sys
import rondeau
from rondeau import layers

calls = 0
def die_at(name):
    real = getattr(os, name)
    def wrapped(*args):
        global calls
        calls += 1
        if calls == int(sys.argv[2]):
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*args)
    setattr(os, name, wrapped)

die_at("fsync")
die_at("replace")
rondeau.Sequential([layers.Input((4, 3)), layers.LSTM(5, name="new")]).save(sys.argv[1])
"""


@pytest.mark.parametrize(
    "moment", [pytest.param(n, marks=[] if n in (3, 7) else pytest.mark.slow) for n in range(1, 8)]
)
def test_a_process_that_dies_while_saving_leaves_the_old_model_or_the_new(saved: Path, moment: int) -> None:
    command = [sys.executable, "-c", PROGRAM, str(saved), str(moment)]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    names = [layer.name for layer in rondeau.load(saved).layers]
    # each of two files is synced, renamed, and its folder synced; last the configuration takes its name
    assert names == (["reader", "dense"] if moment <= 5 else ["new"])
    trained().save(saved)
    assert [layer.name for layer in rondeau.load(saved).layers] == ["reader", "dense"]


def test_a_full_disk_leaves_the_old_model(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = rondeau.load(saved).predict(X)
    for failing in (1, 3):
        calls = []

        def full(handle: int, failing: int = failing, calls: list[int] = calls) -> None:
            calls.append(handle)
            if len(calls) == failing:
                raise OSError(28, "No space left on device")

        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space left"):
            trained().save(saved)
        monkeypatch.undo()
        assert np.array_equal(rondeau.load(saved).predict(X), before)
