"""What callbacks write: CSV tables as Keras's, saved models, TensorBoard events; and TerminateOnNaN."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import rondeau
from rondeau import callbacks, layers
from rondeau.errors import ArgumentError, CheckpointError, DataError, MissingExtraError, NumericsError

X, Y = np.linspace(-1, 1, 12, dtype=np.float32).reshape(6, 2), np.ones((6, 1), np.float32)


def _model() -> Any:
    model = rondeau.Sequential([layers.Input((2,)), layers.Dense(3), layers.Dense(1)])
    model.compile(rondeau.optimizers.SGD(0.125), "mse", metrics=["mae"], device="cpu")
    return model


def _fit(*given: Any, model: Any = None, **options: Any) -> Any:
    options = {"batch_size": 2, "epochs": 2, "shuffle": False, "verbose": 0} | options
    return (model or _model()).fit(X, Y, callbacks=list(given), **options)


# CSVLogger

LOGS = [
    {"loss": 0.1, "b": 1 / 3, "a": 1e-20},
    {"loss": 2.0, "a": float("nan"), "b": np.array([1, 2])},
    {"loss": 3, "a": "a, b", "b": [0.5, 1.5]},
]


def _log(logger: Any, logs: list[dict[str, Any]], first: int = 0) -> None:
    logger.on_train_begin({})
    for epoch, log in enumerate(logs, first):
        logger.on_epoch_end(epoch, dict(log))
    logger.on_train_end({})


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("validated", [False, True])
@pytest.mark.parametrize("append", [False, True])
def test_tables_are_keras_s_byte_for_byte(separator: str, validated: bool, append: bool, tmp_path: Path) -> None:
    keras = pytest.importorskip("keras")
    logs = [log | ({"val_loss": 0.5} if validated else {}) for log in LOGS]
    for library in (rondeau, keras):
        file = str(tmp_path / f"{library.__name__}.csv")
        _log(library.callbacks.CSVLogger(file, separator, append), logs)
        _log(library.callbacks.CSVLogger(file, separator, append), logs[:2], 3)
    table = (tmp_path / "rondeau.csv").read_bytes()
    assert table == (tmp_path / "keras.csv").read_bytes()
    assert table.count(b"\n") == (6 if append else 3)


def test_the_table_is_whole_after_each_epoch(tmp_path: Path) -> None:
    file = tmp_path / "a" / "log.csv"
    lines: list[int] = []
    watch = callbacks.LambdaCallback(on_epoch_end=lambda *_: lines.append(len(file.read_text("utf-8").splitlines())))
    _fit(callbacks.CSVLogger(file), watch, epochs=3, validation_data=(X, Y))
    assert lines == [2, 3, 4]
    assert file.read_text("utf-8").splitlines()[0] == "epoch,loss,mae,val_loss,val_mae"


def test_a_value_that_comes_late_gets_a_column(tmp_path: Path) -> None:
    file = tmp_path / "log.csv"
    _log(callbacks.CSVLogger(file), [{"loss": 1.0}, {"loss": 2.0, "f1": 0.5}])
    assert file.read_text("utf-8").split() == ["epoch,loss,val_loss,f1", "0,1.0,NA,NA", "1,2.0,NA,0.5"]


@pytest.mark.parametrize("content", ["loss,acc\n1,2\n", "epoch,loss\n0,1,2\n", "epoch,loss\n0\n", "epoch;loss\n0;1\n"])
def test_nothing_is_appended_to_another_kind_of_file(content: str, tmp_path: Path) -> None:
    file = tmp_path / "log.csv"
    file.write_text(content, "utf-8")
    with pytest.raises(DataError, match=r"cannot append to this file.*log.csv.*a table, separated by ','"):
        _fit(callbacks.CSVLogger(file, append=True))
    assert file.read_text("utf-8") == content


@pytest.mark.parametrize("separator", ["", ", ", "\n", '"', 1])
def test_separators_are_one_character(separator: Any) -> None:
    with pytest.raises(ArgumentError, match=r"separator.*one character"):
        callbacks.CSVLogger("x.csv", separator)


# ModelCheckpoint


def test_saved_models_and_weights_can_be_loaded(tmp_path: Path) -> None:
    model = _model()
    whole = callbacks.ModelCheckpoint(tmp_path / "runs" / "{epoch:02d}.keras")
    path = str(tmp_path / "weights" / "{epoch}-{batch}-{loss:.1f}")
    weights = callbacks.ModelCheckpoint(path, save_weights_only=True, save_freq=4)
    _fit(whole, weights, model=model, epochs=4)
    assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == [f"{i:02d}.keras" for i in range(1, 5)]
    assert sorted(path.name.rsplit("-", 1)[0] for path in (tmp_path / "weights").iterdir()) == ["2-1", "3-2", "4-3"]
    loaded = rondeau.load(tmp_path / "runs" / "04.keras")
    assert np.array_equal(loaded.predict(X), model.predict(X))
    other = _model()
    other.load_weights(next((tmp_path / "weights").glob("4-3-*")))
    assert np.array_equal(other.predict(X), model.predict(X))  # the twelfth batch was the last


def test_the_best_model_outlives_worse_ones(tmp_path: Path) -> None:
    model, best = _model(), callbacks.ModelCheckpoint(tmp_path / "best", "score", save_best_only=True, mode="max")
    scores, kept = [1.0, 3.0, 2.0], []

    class Score(callbacks.Callback):
        def on_epoch_end(self, epoch: int, logs: dict[str, Any]) -> None:
            logs["score"] = scores[epoch]
            kept.append(model.predict(X))

    _fit(Score(), best, model=model, epochs=3)
    assert np.array_equal(rondeau.load(tmp_path / "best").predict(X), kept[1])
    assert not np.array_equal(kept[1], kept[2])
    assert best.best == 3.0


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("{epoch}-{val_loss}", "KeyError 'val_loss'.*of names loss, mae, epoch"),
        ("{epoch}-{batch}", "KeyError 'batch'.*save_freq is a number of batches"),
        ("{epoch:.2q}", "cannot be filled in: ValueError"),
        ("{}", "cannot be filled in: IndexError"),
    ],
)
def test_a_path_that_cannot_be_filled_in_says_which_names_there_are(path: str, message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        _fit(callbacks.ModelCheckpoint(path))


def test_files_and_folders_do_not_take_each_other_s_place(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine", "utf-8")
    with pytest.raises(ArgumentError, match=r"expected a folder, got a file, .*file"):
        _fit(callbacks.ModelCheckpoint(tmp_path / "file"))
    with pytest.raises(ArgumentError, match="expected a file, got a folder"):
        _fit(callbacks.ModelCheckpoint(tmp_path, save_weights_only=True))
    assert (tmp_path / "file").read_text("utf-8") == "mine"


# TerminateOnNaN


def _spoiled(batch: int) -> Any:
    """Rows of which one in this batch of two is NaN."""
    x = X.copy()
    x[2 * batch] = np.nan
    return x


@pytest.mark.parametrize("batch", [0, 2])
def test_a_nan_ends_training_and_says_where(batch: int, capsys: pytest.CaptureFixture[str]) -> None:
    model, kept = _model(), []
    keep = callbacks.LambdaCallback(on_train_batch_begin=lambda *_: kept.append(model.get_weights()))
    options = {"batch_size": 2, "shuffle": False, "epochs": 4, "verbose": 0}
    best = callbacks.EarlyStopping("loss", patience=9)
    history = model.fit(_spoiled(batch), Y, callbacks=[best, keep, callbacks.TerminateOnNaN()], **options)
    said = capsys.readouterr().out
    assert "TerminateOnNaN ends training: the loss is not finite" in said
    assert f"epoch 1, batch {batch + 1}" in said
    assert history.epoch == [0]
    assert np.isnan(history.history["loss"][0])  # not the mean of the batches before it, nor 0 where there were none
    assert best.best is None
    assert len(kept) == batch + 1
    assert all(np.array_equal(a, b) for a, b in zip(kept[-1], model.get_weights(), strict=True))


@pytest.mark.parametrize("given", [[], [callbacks.TerminateOnNaN(raise_error=True)]])
def test_otherwise_a_nan_is_an_error(given: list[Any], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(NumericsError, match="epoch 1, batch 2"):
        _model().fit(_spoiled(1), Y, batch_size=2, shuffle=False, callbacks=given, verbose=0)
    assert capsys.readouterr().out == ""


# TensorBoard


def _events(folder: Path) -> dict[str, Any]:
    """Tag to steps and values of the scalars, and the tags of the other kinds."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = EventAccumulator(str(folder), {"scalars": 0, "histograms": 0})  # 0: all of them
    found.Reload()
    tags = found.Tags()
    scalars = {tag: [(event.step, event.value) for event in found.Scalars(tag)] for tag in tags["scalars"]}
    histograms = {tag: [event.step for event in found.Histograms(tag)] for tag in tags["histograms"]}
    return scalars | {"histograms": histograms, "images": tags["images"]}


def _close(found: list[tuple[int, float]], steps: list[int], values: list[float]) -> bool:
    """Event files hold float32."""
    return found == [(step, float(np.float32(value))) for step, value in zip(steps, values, strict=True)]


@pytest.mark.filterwarnings("ignore::DeprecationWarning:tensorboard")
def test_tensorboard_gets_losses_metrics_rates_and_weights(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    batches: list[float] = []
    watch = callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: batches.append(logs["loss"]))
    board = callbacks.TensorBoard(tmp_path, 2, write_images=True, write_steps_per_second=True, update_freq=2)
    history = _fit(board, watch, epochs=3, validation_data=(X, Y)).history
    train, validation = _events(tmp_path / "train"), _events(tmp_path / "validation")
    assert _close(train["epoch_loss"], [0, 1, 2], history["loss"])
    assert _close(train["epoch_mae"], [0, 1, 2], history["mae"])
    assert _close(train["epoch_learning_rate"], [0, 1, 2], [0.125] * 3)
    assert _close(train["batch_loss"], [2, 4, 6, 8], batches[1:8:2])
    assert len(train["epoch_steps_per_second"]) == 3
    assert len(train["batch_steps_per_second"]) == 4
    assert _close(validation["epoch_loss"], [0, 1, 2], history["val_loss"])
    assert _close(validation["evaluation_loss_vs_iterations"], [3, 6, 9], history["val_loss"])
    weights = ["chain/dense/kernel", "chain/dense/bias", "chain/dense_1/kernel", "chain/dense_1/bias"]
    assert train["histograms"] == {f"{weight}/histogram": [0, 2] for weight in weights}
    # a weight of one number is no picture
    assert sorted(train["images"]) == sorted(f"{weight}/image" for weight in weights[:3])


@pytest.mark.filterwarnings("ignore::DeprecationWarning:tensorboard")
def test_tensorboard_hears_evaluate_too_and_writes_no_batches_unless_asked(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    model, board = _model(), callbacks.TensorBoard(tmp_path)
    _fit(board, model=model)
    loss, _ = model.evaluate(X, Y, callbacks=[board], verbose=0)
    assert "batch_loss" not in _events(tmp_path / "train")
    assert _close(_events(tmp_path / "validation")["evaluation_loss_vs_iterations"], [6], [loss])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"write_graph": True}, "write_graph has no meaning here: there is no graph.*summary"),
        ({"profile_batch": 2}, "profile_batch has no meaning here.*torch.profiler"),
        ({"embeddings_freq": 1}, "embeddings_freq has no meaning here"),
        ({"embeddings_metadata": "x"}, "embeddings_metadata has no meaning here"),
        ({"update_freq": 0}, "update_freq"),
        ({"update_freq": "step"}, "update_freq, if not 'epoch' or 'batch'"),
        ({"histogram_freq": -1}, "histogram_freq"),
    ],
)
def test_tensorboard_refuses_what_it_would_not_do(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        callbacks.TensorBoard("x", **arguments)


def test_without_the_package_tensorboard_names_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'rondeau\[tensorboard\]'"):
        callbacks.TensorBoard()


# The callbacks together


def test_history_sees_what_the_others_log_and_batches_have_keras_s_other_name(tmp_path: Path) -> None:
    class Mine(callbacks.Callback):
        def __init__(self) -> None:
            self.batches: list[int] = []

        def on_batch_end(self, batch: int, logs: dict[str, Any]) -> None:
            self.batches.append(batch)

        def on_epoch_end(self, epoch: int, logs: dict[str, Any]) -> None:
            logs["mine"] = np.float32(epoch)

    mine = Mine()
    assert _fit(mine, callbacks.BackupAndRestore(tmp_path / "run")).history["mine"] == [0.0, 1.0]
    assert mine.batches == [0, 1, 2, 0, 1, 2]


def test_checkpoints_of_runs_with_other_callbacks_are_refused(tmp_path: Path) -> None:
    def backup() -> Any:
        return callbacks.BackupAndRestore(tmp_path / "run", delete_checkpoint=False)

    _fit(callbacks.EarlyStopping("loss"), backup())
    with pytest.raises(CheckpointError, match=r"other callbacks.*EarlyStopping.*Resume with the callbacks"):
        _fit(backup())
