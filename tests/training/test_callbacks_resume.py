"""A run that was killed and taken up again ends as one that was not, bit for bit, with callbacks that remember."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import rondeau
from rondeau import callbacks, layers
from rondeau.training.files import load_tensors

BATCHES, EPOCHS = 4, 12


class Killed(Exception):
    """Stands for `kill -9`: nothing gets to clean up."""


class Kill(callbacks.Callback):
    """Dies before a batch, or where an epoch has ended and all has been saved."""

    turn = 3

    def __init__(self, epoch: int, batch: int | None) -> None:
        self.place = (epoch, batch)

    def on_train_batch_begin(self, batch: int, logs: dict[str, Any]) -> None:
        if (self.loop.epoch, batch) == self.place:
            raise Killed

    def on_epoch_end(self, epoch: int, logs: dict[str, Any]) -> None:
        if (epoch, None) == self.place:
            raise Killed


def _data() -> tuple[Any, Any]:
    draw = np.random.default_rng(0)
    x = draw.normal(size=(48, 5, 2)).astype(np.float32)
    return x, (x.sum((1, 2))[:, None] / 4 + draw.normal(size=(48, 1)) / 2).astype(np.float32)


def _model() -> Any:
    torch.manual_seed(1)
    stack = [layers.Input((5, 2)), layers.LSTM(4, dropout=0.25), layers.Dropout(0.25), layers.Dense(1)]
    model = rondeau.Sequential(stack)
    model.compile(rondeau.optimizers.Adam(0.0625), "mse", metrics=["mae"], device="cpu")
    return model


def _callbacks(folder: Path, patience: int) -> list[Any]:
    return [
        callbacks.BackupAndRestore(folder / "run", save_freq=3),  # wherever it is listed, it comes last
        callbacks.EarlyStopping(patience=patience, restore_best_weights=True),
        callbacks.ReduceLROnPlateau(patience=1, cooldown=2, factor=0.5),
        callbacks.ModelCheckpoint(folder / "best", save_best_only=True),
        callbacks.ModelCheckpoint(folder / "{epoch}-{batch}", save_weights_only=True, save_freq=5),
        callbacks.CSVLogger(folder / "log.csv"),
    ]


def _train(folder: Path, patience: int, *more: Any) -> tuple[Any, list[Any]]:
    x, y = _data()
    model, given = _model(), _callbacks(folder, patience)
    options = {"batch_size": 8, "epochs": EPOCHS, "validation_data": (x[32:], y[32:]), "verbose": 0}
    model.fit(x[:32], y[:32], callbacks=[*given, *more], **options)
    return model, given


def _result(folder: Path, patience: int, kills: Sequence[tuple[int, int | None]]) -> dict[str, Any]:
    """All that is left of a run that was killed at these places."""
    for place in kills:
        torch.manual_seed(99)  # a new process; what comes of it must not depend on its random numbers
        with pytest.raises(Killed):
            _train(folder, patience, Kill(*place))
    model, given = _train(folder, patience)
    files = {str(path.relative_to(folder)): _content(path) for path in folder.rglob("*") if path.is_file()}
    return {
        "weights": [weight.tobytes() for weight in model.get_weights()],
        "rate": model.optimizer.learning_rate,
        "epochs": model.history.epoch,
        "history": model.history.history,
        "states": [callback.state() for callback in given],
        "files": files,
    }


def _content(path: Path) -> Any:
    """A file's bytes; of one with weights what is in it, for safetensors writes its header in any order."""
    if path.suffix in (".json", ".csv"):
        return path.read_bytes()
    tensors, meta = load_tensors(path, "weights")
    return {name: tensor.numpy().tobytes() for name, tensor in tensors.items()}, meta


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> dict[int, dict[str, Any]]:
    return {patience: _result(tmp_path_factory.mktemp("whole"), patience, []) for patience in (2, 20)}


def test_the_run_is_one_in_which_all_callbacks_act(uninterrupted: dict[int, dict[str, Any]]) -> None:
    stopped, whole = uninterrupted[2], uninterrupted[20]
    assert 3 < len(stopped["epochs"]) < EPOCHS == len(whole["epochs"])
    losses = stopped["history"]["val_loss"]
    assert 0 < losses.index(min(losses)) < len(losses) - 1  # the best epoch is neither the first nor the last
    assert len(set(whole["history"]["learning_rate"])) > 3
    assert {"best/config.json", "best/weights.safetensors", "log.csv", "2-1"} <= stopped["files"].keys()
    assert "run" not in stopped["files"]


@pytest.mark.parametrize("patience", [2, 20])
@pytest.mark.parametrize(
    "kills",
    [
        [(0, 0)],
        [(0, 2)],
        [(1, 0)],
        [(2, 3)],
        [(3, None)],
        [(5, None)],
        [(epoch, None) for epoch in range(6)],
        [(1, 3), (1, 3), (2, 1), (3, 0)],
    ],
    ids=str,
)
def test_a_run_killed_in_the_middle_ends_the_same(
    patience: int, kills: list[tuple[int, int | None]], uninterrupted: dict[int, dict[str, Any]], tmp_path: Path
) -> None:
    assert _result(tmp_path, patience, kills) == uninterrupted[patience]


def test_a_run_killed_right_after_it_was_stopped_stays_stopped(
    uninterrupted: dict[int, dict[str, Any]], tmp_path: Path
) -> None:
    last = uninterrupted[2]["epochs"][-1]
    assert _result(tmp_path, 2, [(last, None)]) == uninterrupted[2]


def test_the_best_weights_are_in_the_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(Killed):
        _train(tmp_path, 20, Kill(3, 0))
    tensors, meta = load_tensors(tmp_path / "run", "checkpoint")
    kinds = [saved["kind"] for saved in meta["callbacks"]]
    prefix = f"callbacks/{kinds.index('EarlyStopping')}/"
    kept = {name.removeprefix(prefix) for name in tensors if name.startswith("callbacks/")}
    assert kept == {name.removeprefix("model/") for name in tensors if name.startswith("model/")}
