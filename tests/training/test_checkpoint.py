"""A run that was interrupted, killed or out of space goes on to the very same end."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

import rondeau
from rondeau import callbacks, layers, metrics, optimizers
from rondeau.errors import ArgumentError, CheckpointError, NumericsError
from rondeau.training.checkpoint import BackupAndRestore, capture

rng = np.random.default_rng(1)
X = rng.normal(size=(23, 6, 3)).astype("float32")
Y = (X.sum((1, 2)) > 0).astype("float32")
STEPS = np.cumsum(X.sum(-1), 1)


class Stop(callbacks.Callback):
    """Leaves training after so many batches of the run, as Ctrl-C would."""

    def __init__(self, after: int, raising: bool = False) -> None:
        self.left, self.raising = after, raising

    def on_train_batch_end(self, batch: int, logs: Any) -> None:
        self.left -= 1
        if self.left == 0 and self.raising:
            raise KeyboardInterrupt
        self.loop.interrupted |= self.left == 0


def noisy() -> Any:
    """Dropout from the global generator and from seeds, penalties, clipping, momentum, a curve, a schedule."""
    model = rondeau.Sequential(
        [
            layers.Bidirectional(layers.LSTM(3, dropout=0.2, recurrent_dropout=0.1, return_sequences=True)),
            layers.Dropout(0.1, seed=4),
            layers.GRU(4, recurrent_dropout=0.2, seed=5, kernel_regularizer="l2"),
            layers.Dense(1, activation="sigmoid"),
        ]
    )
    rate = optimizers.schedules.CosineDecay(0.01, 30)
    model.compile(optimizers.Adam(rate, global_clipnorm=1.0), "bce", metrics=["accuracy", metrics.AUC(), "precision"])
    return model


def stateful() -> Any:
    model = rondeau.Sequential(
        [
            layers.LSTM(4, stateful=True, dropout=0.1, return_sequences=True),
            layers.GRU(3, stateful=True),
            layers.Dense(1),
        ]
    )
    model.compile("rmsprop", "mse", metrics=["mae"])
    return model


def arrays(**more: Any) -> dict[str, Any]:
    return {"x": X, "y": Y, "batch_size": 5, "validation_split": 0.2, **more}


def loader() -> dict[str, Any]:
    data = TensorDataset(torch.as_tensor(X), torch.as_tensor(Y))
    return {"x": DataLoader(data, batch_size=5, shuffle=True), "validation_data": (X[:6], Y[:6])}


def endless() -> dict[str, Any]:
    def generate() -> Any:
        while True:
            rows = torch.randint(23, (5,))
            yield X[rows], Y[rows]

    return {"x": generate(), "steps_per_epoch": 4, "validation_data": generate(), "validation_steps": 2}


def same_size() -> dict[str, Any]:
    return {"x": X[:20], "y": STEPS[:20, -1:], "batch_size": 5, "validation_data": (X[:3], STEPS[:3, -1:])}


def run(make: Any, data: Any, path: Path, *more: Any, epochs: int = 3, **options: Any) -> tuple[Any, Any]:
    """A model after training with a checkpoint; gives it and the History."""
    torch.manual_seed(options.pop("seed", 8))
    model = make()
    backup = BackupAndRestore(path, save_freq=options.pop("save_freq", 1), delete_checkpoint=False)
    extra = options.pop("callbacks", [])
    history = model.fit(**data(), epochs=epochs, verbose=0, callbacks=[backup, *extra, *more], **options)
    return model, history


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


KINDS = {
    "arrays": (noisy, arrays),
    "loader": (noisy, loader),
    "generator": (noisy, endless),
    "stateful": (stateful, same_size),
}
# four batches an epoch: within, at and after an epoch's end
QUICK = {("arrays", 1), ("arrays", 4), ("loader", 6), ("generator", 6), ("stateful", 6), ("stateful", 8)}
CASES = [
    pytest.param(*KINDS[kind], after, id=f"{kind}-{after}", marks=[] if (kind, after) in QUICK else pytest.mark.slow)
    for kind in KINDS
    for after in (1, 3, 4, 5, 6, 8, 9, 11)
]


@pytest.mark.parametrize(("make", "data", "after"), CASES)
def test_an_interrupted_run_ends_as_if_never_interrupted(make: Any, data: Any, after: int, tmp_path: Path) -> None:
    whole, expected = run(make, data, tmp_path / "whole")
    _, broken = run(make, data, tmp_path / "broken", Stop(after))
    assert len(broken.epoch) < 3
    (tmp_path / ".broken.left.aside").write_bytes(b"half")  # by a process that was killed
    resumed, history = run(make, data, tmp_path / "broken", seed=99)  # another process stands elsewhere
    assert sorted(os.listdir(tmp_path)) == ["broken", "whole"]
    assert same(resumed.state_dict(), whole.state_dict())
    assert same(resumed.optimizer.state_dict(), whole.optimizer.state_dict())
    assert same(resumed.states(), whole.states())
    assert history.history == expected.history
    assert history.epoch == expected.epoch == [0, 1, 2]
    assert (tmp_path / "broken").read_bytes() == (tmp_path / "whole").read_bytes()


def test_interrupted_again_and_again(tmp_path: Path) -> None:
    whole, expected = run(noisy, arrays, tmp_path / "whole")
    for _ in range(5):
        run(noisy, arrays, tmp_path / "broken", Stop(2))
    resumed, history = run(noisy, arrays, tmp_path / "broken")
    assert same(resumed.state_dict(), whole.state_dict())
    assert history.history == expected.history


def test_an_interrupt_in_the_middle_of_a_batch_goes_back_to_the_last_checkpoint(tmp_path: Path) -> None:
    whole, expected = run(noisy, arrays, tmp_path / "whole", save_freq="epoch")
    with pytest.raises(KeyboardInterrupt):
        run(noisy, arrays, tmp_path / "broken", Stop(6, raising=True), save_freq="epoch")
    resumed, history = run(noisy, arrays, tmp_path / "broken", save_freq="epoch")
    assert same(resumed.state_dict(), whole.state_dict())
    assert history.history == expected.history


def test_early_stopping_and_rates_are_remembered(tmp_path: Path) -> None:
    def listed() -> dict[str, Any]:
        stop = callbacks.EarlyStopping("val_loss", patience=1, min_delta=1.0, restore_best_weights=True)
        return {"callbacks": [stop, callbacks.ReduceLROnPlateau("val_loss", patience=0, min_delta=1.0)]}

    def plain() -> Any:
        model = stateful()
        model.compile("sgd", "mse")
        return model

    whole, expected = run(plain, same_size, tmp_path / "whole", epochs=9, **listed())
    assert len(expected.epoch) < 9
    for after in (5, 8):
        path = tmp_path / f"broken {after}"
        run(plain, same_size, path, Stop(after), epochs=9, **listed())
        resumed, history = run(plain, same_size, path, epochs=9, **listed())
        assert same(resumed.state_dict(), whole.state_dict())
        assert history.history == expected.history
    again, history = run(plain, same_size, tmp_path / "whole", epochs=9, **listed())  # it had stopped: nothing to do
    assert history.history == expected.history
    assert same(again.state_dict(), whole.state_dict())


def test_weights_frozen_on_the_way_stay_frozen(tmp_path: Path) -> None:
    def listed() -> list[Any]:
        def freeze(epoch: int, logs: Any) -> None:
            if epoch == 0:
                model_of[0].layers[0].trainable = False

        one = callbacks.LambdaCallback(on_epoch_end=freeze)
        model_of[0] = None
        one.set_model = lambda model: model_of.__setitem__(0, model)  # type: ignore[method-assign]
        return [one]

    model_of: dict[int, Any] = {}
    whole, _ = run(noisy, arrays, tmp_path / "whole", callbacks=listed())
    run(noisy, arrays, tmp_path / "broken", Stop(6), callbacks=listed())
    resumed, _ = run(noisy, arrays, tmp_path / "broken", callbacks=listed())
    assert same(resumed.state_dict(), whole.state_dict())


def test_the_file_goes_when_training_is_over_unless_it_shall_stay(tmp_path: Path) -> None:
    model = noisy()
    model.fit(**arrays(), epochs=2, verbose=0, callbacks=BackupAndRestore(tmp_path / "a" / "b" / "file"))
    assert os.listdir(tmp_path / "a" / "b") == []
    kept = BackupAndRestore(tmp_path / "file", delete_checkpoint=False)
    model.fit(**arrays(), epochs=2, verbose=0, callbacks=kept)
    assert sorted(os.listdir(tmp_path)) == ["a", "file"]
    before = model.get_weights()
    model.fit(**arrays(), epochs=2, verbose=0, callbacks=kept)  # there is nothing left to do
    assert all(map(np.array_equal, before, model.get_weights()))


def test_more_epochs_may_be_asked_for(tmp_path: Path) -> None:
    whole, expected = run(noisy, arrays, tmp_path / "whole", epochs=4)
    run(noisy, arrays, tmp_path / "part", epochs=2)
    resumed, history = run(noisy, arrays, tmp_path / "part", epochs=4)
    assert same(resumed.state_dict(), whole.state_dict())
    assert history.history == expected.history


@pytest.mark.parametrize(
    ("options", "saves"), [({"save_freq": "epoch"}, 2), ({"save_freq": 3}, 4), ({"seconds": 0}, 10)]
)
def test_how_often(options: dict[str, Any], saves: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    counted = []
    monkeypatch.setattr(BackupAndRestore, "save", lambda self: counted.append(self.loop.batch))
    noisy().fit(**arrays(), epochs=2, verbose=0, callbacks=BackupAndRestore(tmp_path / "f", **options))
    assert len(counted) == saves


@pytest.mark.parametrize("save_freq", [0, -1, "batch", 2.5])
def test_how_often_is_checked(save_freq: Any, tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match="save_freq"):
        BackupAndRestore(tmp_path / "f", save_freq)


# What does not fit


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    run(noisy, arrays, tmp_path / "f", Stop(2))
    return tmp_path / "f"


def test_another_model(broken: Path) -> None:
    def other() -> Any:
        model = rondeau.Sequential([layers.LSTM(3), layers.Dense(1)])
        model.compile("adam", "mse")
        return model

    with pytest.raises(CheckpointError, match="of another model"):
        run(other, arrays, broken)


def test_another_optimizer_or_other_metrics(broken: Path) -> None:
    def recompiled(optimizer: str, watched: list[str]) -> Any:
        model = noisy()
        model.compile(optimizer, "bce", metrics=watched)
        return model

    with pytest.raises(CheckpointError, match="optimiser's saved state"):
        run(lambda: recompiled("sgd", ["accuracy", "AUC", "precision"]), arrays, broken)
    with pytest.raises(CheckpointError, match="the state is of other metrics"):
        run(lambda: recompiled("adam", []), arrays, broken)


def test_other_callbacks(broken: Path) -> None:
    with pytest.raises(CheckpointError, match=r"the run had other callbacks.*Resume with the callbacks"):
        run(noisy, arrays, broken, callbacks=[callbacks.EarlyStopping("loss")])


def test_a_damaged_one(broken: Path) -> None:
    content = broken.read_bytes()
    for damaged in (content[:-1], content[:100], b"", content[:5000] + bytes([content[5000] ^ 1]) + content[5001:]):
        broken.write_bytes(damaged)
        with pytest.raises(CheckpointError, match=r"damaged|altered"):
            run(noisy, arrays, broken)


def test_weights_are_no_checkpoint(tmp_path: Path) -> None:
    model, _ = run(noisy, arrays, tmp_path / "f")
    model.save_weights(tmp_path / "f")
    with pytest.raises(CheckpointError, match=r"something else .*expected checkpoint, got weights"):
        run(noisy, arrays, tmp_path / "f")


def test_a_torch_optimizer_is_refused_with_the_way_out(tmp_path: Path) -> None:
    model = rondeau.Sequential([layers.Input((6, 3)), layers.LSTM(3), layers.Dense(1)])
    model.compile(torch.optim.Adam(model.parameters()), "mse")
    with pytest.raises(ArgumentError, match=r"without pickle.*rondeau.optimizers"):
        model.fit(**arrays(), verbose=0, callbacks=BackupAndRestore(tmp_path / "f"))


def test_a_run_from_another_device(broken: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def elsewhere(*args: Any) -> Any:
        tensors, meta = capture(*args)
        tensors["random/global/cuda:0"] = torch.zeros(16, dtype=torch.uint8)
        return tensors, meta

    monkeypatch.setattr("rondeau.training.checkpoint.capture", elsewhere)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    broken.unlink()
    run(noisy, arrays, broken, Stop(1))
    with pytest.raises(CheckpointError, match="on a device that is not here: got cuda:0"):
        run(noisy, arrays, broken)


# Nothing is lost


def test_a_full_disk_stops_training_and_leaves_the_last_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, expected = run(noisy, arrays, tmp_path / "whole")
    synced, calls = os.fsync, []

    def full(handle: int) -> None:
        calls.append(handle)
        if len(calls) == 13:  # twice for each checkpoint: the file, and its folder
            raise OSError(errno.ENOSPC, "No space left on device")
        synced(handle)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        run(noisy, arrays, tmp_path / "f")
    monkeypatch.undo()
    assert sorted(os.listdir(tmp_path)) == ["f", "whole"]
    resumed, history = run(noisy, arrays, tmp_path / "f")
    assert same(resumed.state_dict(), whole.state_dict())
    assert history.history == expected.history


def test_a_loss_that_is_not_finite_leaves_a_good_checkpoint(tmp_path: Path) -> None:
    spoilt = X.copy()
    spoilt[12] = np.nan
    data = {"x": spoilt, "y": Y, "batch_size": 5, "shuffle": False}
    with pytest.raises(NumericsError, match="epoch 1, batch 3"):
        run(noisy, lambda: data, tmp_path / "f")
    model, history = run(noisy, lambda: {**data, "x": X}, tmp_path / "f")
    assert np.isfinite(model.predict(X)).all()
    assert np.isfinite(history.history["loss"]).all()


PROGRAM = """
import os, signal, sys
sys.path.insert(0, sys.argv[1])
import torch
torch.set_num_threads(int(sys.argv[2]))
import test_checkpoint as t

class Kill(t.callbacks.Callback):
    def on_train_batch_begin(self, batch, logs):
        if self.loop.epoch * 4 + batch == int(sys.argv[4]):
            os.kill(os.getpid(), signal.SIGKILL)

model, history = t.run(t.noisy, t.arrays, t.Path(sys.argv[3]), Kill(), save_freq=3)
model.save_weights(sys.argv[3] + ".weights")
print(history.history)
"""


def test_a_killed_process_is_taken_up_by_another(tmp_path: Path) -> None:
    whole, expected = run(noisy, arrays, tmp_path / "whole", save_freq=3)
    whole.save_weights(tmp_path / "whole.weights")

    def process(kill_at: int) -> Any:
        given = [Path(__file__).parent, torch.get_num_threads(), tmp_path / "killed", kill_at]
        command = [sys.executable, "-c", PROGRAM, *map(str, given)]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    killed = process(int(np.random.default_rng().integers(3, 12)))
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    resumed = process(-1)
    assert resumed.stdout == f"{expected.history}\n", resumed.stderr
    for ending in ("", ".weights"):
        files = [(tmp_path / f"{name}{ending}").read_bytes() for name in ("whole", "killed")]
        assert files[0] == files[1]
