"""`fit` and `evaluate`: states, modes, determinism, errors that lose nothing, events in their order."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import rondeau
from rondeau import Ragged, callbacks, layers, optimizers
from rondeau.errors import ArgumentError, DataError, NumericsError, ShapeError, StateError
from rondeau.training.loop import evaluate
from rondeau.training.trainer import flat_outputs, in_mode, model_dtype, resolve_device

rng = np.random.default_rng(2)
X = rng.normal(size=(12, 4, 3)).astype("float32")
Y = rng.normal(size=(12, 2)).astype("float32")


def lstm(**options: Any) -> Any:
    model = rondeau.Sequential([layers.LSTM(4, **options), layers.Dense(2)])
    model.compile("adam", "mse")
    return model


def equal(one: list[Any], other: list[Any]) -> bool:
    return len(one) == len(other) and all(map(np.array_equal, one, other))


# The same seed gives the same weights


@pytest.mark.parametrize("seed", [None, 7], ids=["global", "own"])
def test_the_same_seed_gives_the_same_weights_bit_for_bit(seed: int | None) -> None:
    def train(start: int) -> Any:
        torch.manual_seed(start)
        model = rondeau.Sequential(
            [
                layers.Bidirectional(
                    layers.LSTM(3, dropout=0.3, recurrent_dropout=0.2, seed=seed, return_sequences=True)
                ),
                layers.Dropout(0.2, seed=seed),
                layers.GRU(4, dropout=0.1, recurrent_dropout=0.2, seed=seed),
                layers.Dense(2),
            ]
        )
        model.compile("adam", "mse", metrics=["mae"])
        history = model.fit(X, Y, batch_size=5, epochs=3, verbose=0, validation_split=0.2)
        return model.get_weights(), history.history

    weights, history = train(1)
    again, same = train(1)
    assert equal(weights, again)
    assert history == same
    assert not equal(weights, train(2)[0])


def test_shuffling_is_seeded_and_can_be_left_out() -> None:
    def orders(seed: int, shuffle: bool) -> list[float]:
        torch.manual_seed(seed)
        model = lstm()
        seen: list[float] = []
        forward = model.forward
        model.forward = lambda x: (seen.extend(x[:, 0, 0].tolist()) if model.training else None, forward(x))[1]
        model.fit(X, Y, batch_size=5, epochs=2, shuffle=shuffle, verbose=0)
        return seen

    plain = X[:, 0, 0].tolist()
    assert orders(0, False) == plain + plain
    one = orders(0, True)
    assert one == orders(0, True) != orders(1, True)
    assert one[:12] != one[12:]
    assert sorted(one[:12]) == sorted(one[12:]) == sorted(plain)


# Events and modes


def test_events_in_their_order() -> None:
    heard: list[str] = []

    class Listener(callbacks.Callback):
        def __getattribute__(self, name: str) -> Any:
            if name.startswith("on_") or name == "close":
                heard.append(name)
            return super().__getattribute__(name)

    lstm().fit(X[:4], Y[:4], batch_size=2, verbose=0, validation_data=(X[:2], Y[:2]), callbacks=Listener())
    batch = ["on_train_batch_begin", "on_batch_begin", "on_before_update", "on_train_batch_end", "on_batch_end"]
    validation = ["on_test_begin", "on_test_batch_end", "on_test_end"]
    expected = [
        "close",
        "on_train_begin",
        "on_epoch_begin",
        *batch,
        *batch,
        *validation,
        "on_epoch_end",
        "on_train_end",
    ]
    assert heard == expected  # close is asked for at the start, and called at the end


def test_logs() -> None:
    logged: dict[str, Any] = {}

    def keep(event: str) -> Any:
        return lambda place, logs: logged.__setitem__(event, (place, sorted(logs)))

    listener = callbacks.LambdaCallback(
        on_train_batch_end=keep("batch"), on_epoch_end=keep("epoch"), on_test_batch_end=keep("test")
    )
    lstm().fit(X, Y, batch_size=5, epochs=2, verbose=0, validation_split=0.5, callbacks=listener)
    assert logged == {"batch": (1, ["loss"]), "epoch": (1, ["loss", "val_loss"]), "test": (1, ["loss"])}


def test_validation_only_every_so_many_epochs() -> None:
    history = lstm().fit(X, Y, epochs=5, verbose=0, validation_split=0.5, validation_freq=2).history
    assert (len(history["loss"]), len(history["val_loss"])) == (5, 2)


def test_stopping_ends_the_epoch_early_and_begins_anew() -> None:
    model = lstm()

    def stop(batch: int, logs: Any) -> None:
        model.stop_training = batch == 1

    listener = callbacks.LambdaCallback(on_train_batch_end=stop)
    assert model.fit(X, Y, batch_size=2, epochs=3, verbose=0, callbacks=listener).epoch == [0]
    assert model.optimizer.iterations == 2
    assert model.fit(X, Y, epochs=3, verbose=0).epoch == [0, 1, 2]


def test_epochs_are_counted_from_the_initial_one() -> None:
    model = lstm()
    assert model.fit(X, Y, epochs=5, initial_epoch=3, verbose=0).epoch == [3, 4]
    assert model.fit(X, Y, epochs=2, initial_epoch=3, verbose=0).epoch == []
    assert model.fit(X, Y, epochs=0, verbose=0).history == {}
    assert model.built


def test_modes_are_put_back() -> None:
    model = lstm(dropout=0.5)
    model.fit(X, Y, verbose=0)
    assert not model.training
    model.train()
    model.layers[1].eval()
    for call in (model.evaluate, lambda x, y, **_: model.predict(x), lambda x, y, **_: model(x, training=False)):
        call(X, Y, verbose=0)
        assert [model.training, model.layers[0].training, model.layers[1].training] == [True, True, False]
    with pytest.raises(ShapeError):
        model.evaluate(X[:, 0], Y, verbose=0)
    assert model.training
    assert not model.layers[1].training
    with pytest.raises(KeyError), in_mode(model, training=False):
        raise KeyError
    assert model.training


# States


def stateful(**options: Any) -> Any:
    model = rondeau.Sequential([layers.LSTM(4, stateful=True, **options), layers.Dense(2)])
    model.compile("sgd", "mse")
    return model


def test_states_go_on_from_batch_to_batch_as_one_long_sequence() -> None:
    model = stateful(return_sequences=True)
    parts = [model.predict(X[:, :2]), model.predict(X[:, 2:])]
    model.reset_states()
    np.testing.assert_allclose(np.concatenate(parts, 1), model.predict(X), rtol=1e-6, atol=1e-7)


def test_states_come_and_go_by_name() -> None:
    model = stateful()
    assert model.states() == {}
    first = model.predict(X)
    states = model.states()
    assert list(states) == ["lstm.h", "lstm.c"]
    assert states["lstm.h"].shape == (12, 4)
    second = model.predict(X)
    model.load_states(states)
    assert np.array_equal(model.predict(X), second)
    model.reset_states()
    assert np.array_equal(model.predict(X), first)


def test_another_batch_size_says_what_to_do() -> None:
    model = stateful()
    with pytest.raises(StateError, match=r"expected 5 rows, got 2 rows. Call reset_states\(\)"):
        model.fit(X, Y, batch_size=5, verbose=0)


def test_validation_does_not_touch_the_states_of_training() -> None:
    def train(**options: Any) -> Any:
        torch.manual_seed(0)
        model = stateful()
        model.fit(X, Y, batch_size=6, epochs=3, shuffle=False, verbose=0, **options)
        return model

    plain, validated = train(), train(validation_data=(X[:5], Y[:5]))
    assert equal(plain.get_weights(), validated.get_weights())
    assert all(map(torch.equal, plain.states().values(), validated.states().values()))


def test_batches_that_carry_states_begin_anew_with_each_epoch() -> None:
    class Windows(rondeau.training.data.Source):
        carries_state = True

        def __init__(self, x: Any = X) -> None:
            self.x = x

        def __len__(self) -> int:
            return 2

        def batches(self, epoch: int, start: int, seed: int) -> Any:
            for i in range(start, 2):
                yield rondeau.training.data.Batch(torch.as_tensor(self.x[:, 2 * i : 2 * i + 2]), torch.as_tensor(Y))

    model = stateful()
    model.compile(optimizers.SGD(0.0), "mse")
    history = model.fit(Windows(), epochs=3, verbose=0, validation_data=Windows()).history
    assert len(set(history["loss"])) == 1
    assert history["val_loss"][0] == pytest.approx(history["loss"][0])
    kept = model.states()
    loss = model.evaluate(Windows(), verbose=0)
    assert loss == pytest.approx(history["loss"][0])
    assert model.evaluate(Windows(X[::-1].copy()), verbose=0) != loss
    assert all(map(torch.equal, kept.values(), model.states().values()))


def test_states_of_other_layers_are_refused() -> None:
    model = stateful()
    model.predict(X)
    with pytest.raises(rondeau.errors.CheckpointError, match="states of layers that are not here"):
        model.load_states({"lstm_9.h": torch.zeros(1, 4)})
    with pytest.raises(StateError):
        model.load_states({"lstm.h": torch.zeros(1, 4)})
    assert model.states()  # nothing was changed


# Numbers that are not finite


def test_a_loss_that_is_not_finite_says_where_and_changes_nothing() -> None:
    spoilt = X.copy()
    spoilt[7] = np.inf
    model = stateful()
    model.predict(X[:3])
    model.reset_states()
    before = model.get_weights()
    seen: list[Any] = []
    keep = callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: seen.append(
            (model.get_weights(), model.states(), model.optimizer.iterations)
        )
    )
    where = r"its gradient is lost in layer dense \(bias\) \(at epoch 1, batch 3\)"
    words = rf"the loss is not finite; {where}: got loss nan.*own x"
    with pytest.raises(NumericsError, match=words):
        model.fit(spoilt, Y, batch_size=3, shuffle=False, verbose=0, callbacks=keep)
    weights, states, iterations = seen[-1]
    assert len(seen) == iterations == model.optimizer.iterations == 2
    assert equal(weights, model.get_weights())
    assert not equal(weights, before)
    assert all(map(torch.equal, states.values(), model.states().values()))
    assert all(parameter.grad is None for parameter in model.parameters())
    assert not model.training


class Exploding(layers.Layer):
    """Passes its input on; its gradient is not finite."""

    def forward(self, x: Any) -> Any:
        return Infinite.apply(x)


class Infinite(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, x: Any) -> Any:
        return x.clone()

    @staticmethod
    def backward(context: Any, gradient: Any) -> Any:
        return gradient * float("inf")


def test_a_gradient_that_is_not_finite_names_the_layer_where_it_is_lost() -> None:
    model = rondeau.Sequential(
        [layers.Dense(3, name="early"), layers.Dense(3, name="late"), Exploding(), layers.Dense(2)]
    )
    model.compile("sgd", "mse")
    with pytest.raises(
        NumericsError, match=r"a gradient is not finite; its gradient is lost in layer late \(bias\).*4 of 6"
    ):
        model.fit(X[:, 0], Y, verbose=0)


def test_huge_gradients_are_finite() -> None:
    model = rondeau.Sequential([layers.Dense(2)])
    model.compile(optimizers.SGD(1e-30, clipvalue=1.0), lambda y, p: (y - p).square().sum(-1) * 1e25)
    model.fit(X[:, 0], Y, verbose=0)


def test_a_callback_may_deal_with_it() -> None:
    class Skip(callbacks.Callback):
        def __init__(self) -> None:
            self.places: list[Any] = []

        def on_numerics_error(self, error: NumericsError, logs: Any) -> bool:
            self.places.append(error.where)
            return True

    spoilt = X.copy()
    spoilt[4] = np.nan
    skip = Skip()
    history = lstm().fit(spoilt, Y, batch_size=3, epochs=2, shuffle=False, verbose=0, callbacks=skip).history
    assert skip.places == ["epoch 1, batch 2", "epoch 2, batch 2"]
    assert np.isfinite(history["loss"]).all()  # of the other batches


# What does not fit


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"epochs": -1}, "epochs: expected a whole number, 0 or more"),
        ({"epochs": 1.5}, "epochs"),
        ({"epochs": 2, "initial_epoch": -1}, "initial_epoch"),
        ({"validation_split": 0.5, "validation_freq": 0}, "validation_freq"),
        ({"validation_data": (X, Y, Y, Y)}, "validation_data"),
        ({"validation_split": 1.0}, "validation_split"),
        ({"batch_size": 0}, "batch_size"),
        ({"steps_per_epoch": 3}, "steps is for data that comes batch by batch"),
        ({"verbose": 9}, "verbose"),
        ({"callbacks": [print]}, "callbacks: expected instances"),
    ],
)
def test_arguments_of_fit(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ArgumentError, match=words):
        lstm().fit(X, Y, **{"verbose": 0, **options})


@pytest.mark.parametrize(
    ("x", "y", "error", "words"),
    [
        (X, None, DataError, "there are no targets: expected x and y, got x alone"),
        (X, Y[:5], DataError, "y has another number of rows than x: expected 12, got 5"),
        (X[:0], Y[:0], DataError, "there is no data"),
        (X, Y[:, :1], ShapeError, r"expected \(12, 2\), got \(12, 1\)"),
        (X[..., 0], Y, ShapeError, "layer lstm: the input has the wrong number of axes"),
        (iter([]), None, DataError, "there is no data"),
        (X, {"other": Y}, DataError, "y names an output there is not"),
        (X, [Ragged.from_rows([[1.0]] * 12)] * 1, DataError, "y"),
    ],
)
def test_data_that_does_not_fit(x: Any, y: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        lstm().fit(x, y, verbose=0)


def test_other_features_than_before() -> None:
    model = lstm()
    model.fit(X, Y, verbose=0)
    with pytest.raises(ShapeError, match="layer lstm: the input has another number of features"):
        model.fit(X[..., :2], Y, verbose=0)


def test_targets_with_steps_for_an_output_without() -> None:
    with pytest.raises(ShapeError, match="return_sequences=True"):
        lstm().fit([[[1.0, 2, 3]], [[1.0, 2, 3]] * 2], [[[1.0, 2]], [[1.0, 2]] * 2], verbose=0)


def test_nothing_to_train() -> None:
    model = lstm()
    model.predict(X)
    model.trainable = False
    with pytest.raises(ArgumentError, match="the loss depends on no trainable weight"):
        model.fit(X, Y, verbose=0)


def test_layers_added_since_the_optimizer_was_made() -> None:
    model = lstm()
    model.fit(X, Y, verbose=0)
    model.add(layers.Dense(2))
    with pytest.raises(ArgumentError, match="the optimiser was built for other parameters"):
        model.fit(X, Y, verbose=0)
    model.compile("sgd", "mse")
    model.fit(X, Y, verbose=0)


def test_evaluating_nothing() -> None:
    model = lstm()
    model.fit(X, Y, verbose=0)
    with pytest.raises(DataError, match="there is no data to evaluate on"):
        model.evaluate(iter([]), verbose=0)
    with pytest.raises(DataError, match="there is no data to predict from"):
        model.predict(iter([]))
    with pytest.raises(DataError, match=r"an epoch without a batch .at epoch 2."):
        model.fit(iter([(X, Y)]), epochs=2, verbose=0)


# Masks and lengths


def test_padded_masked_and_ragged_data_train_alike() -> None:
    rows = [rng.integers(1, 6, rng.integers(1, 7)).tolist() for _ in range(9)]
    targets = [[float(token) for token in row] for row in rows]
    padded, padded_targets = np.zeros((9, 6), int), np.zeros((9, 6))
    for i, row in enumerate(rows):
        padded[i, : len(row)] = row
        padded_targets[i, : len(row)] = targets[i]

    def train(x: Any, y: Any) -> Any:
        torch.manual_seed(0)
        kinds = [layers.Embedding(6, 2, mask_zero=True), layers.GRU(3, return_sequences=True), layers.Dense(1)]
        model = rondeau.Sequential(kinds)
        model.compile("adam", "mse", metrics=["mae"])
        history = model.fit(x, y, batch_size=4, epochs=2, shuffle=False, verbose=0).history
        return model.get_weights(), history

    ragged = train(rows, targets)
    for x, y in [(padded, padded_targets), (padded, padded_targets[..., None]), (rows, padded_targets)]:
        weights, history = train(x, y)
        assert history == ragged[1]
        assert equal(weights, ragged[0])


def test_a_batch_of_nothing_but_padding_changes_nothing() -> None:
    model = rondeau.Sequential(
        [layers.Embedding(6, 2, mask_zero=True), layers.GRU(3, return_sequences=True), layers.Dense(1)]
    )
    model.compile("sgd", "mse", metrics=["mae"])
    before = model.get_weights()
    history = model.fit(np.zeros((4, 3), int), np.ones((4, 3)), verbose=0).history
    assert history == {"loss": [0.0], "mae": [0.0]}
    assert equal(model.get_weights(), before)


# Types and places


@pytest.mark.parametrize("dtype", ["uint8", "int32", "int64", "float16", "float64", "bool"])
def test_inputs_of_every_type(dtype: str) -> None:
    model = lstm()
    model.fit((np.abs(X) * 3).astype(dtype), Y.astype("float64"), verbose=0)
    assert model.predict(X.astype("float64")).dtype == np.float32


def test_a_model_in_double_precision_keeps_it() -> None:
    model = lstm()
    model.fit(X, Y, verbose=0)
    model.to(torch.float64)
    fine = X.astype("float64") + 1e-12
    assert not np.array_equal(model.predict(fine), model.predict(X))
    model.fit(fine, Y, verbose=0)
    assert model_dtype(model) == torch.float64
    assert all(slot.dtype == torch.float64 for name, slot in model.optimizer.state_dict().items() if "/" in name)


def test_devices() -> None:
    assert resolve_device("cpu") == torch.device("cpu")
    assert resolve_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
    for wrong in ("gpu", "tpu:0", 3.5):
        with pytest.raises(ArgumentError, match="device: expected 'auto', 'cpu' or 'cuda'"):
            resolve_device(wrong)


def test_no_cuda_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ArgumentError, match="there is no CUDA device here"):
        lstm().compile("adam", "mse", device="cuda")


def test_outputs_as_a_list() -> None:
    assert flat_outputs({"a": 1, "b": 2}) == flat_outputs((1, 2)) == flat_outputs([1, 2]) == [1, 2]
    assert flat_outputs(3) == [3]


def test_evaluate_prepares_a_model_by_itself() -> None:
    model = lstm()
    assert set(evaluate(model.trainer, model._source(X, Y))) == {"loss"}


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_training_on_cuda(tmp_path: Any) -> None:
    model = stateful(dropout=0.1, seed=3)
    model.compile("adam", "mse", metrics=["mae"], device="cuda")
    options: dict[str, Any] = {"batch_size": 6, "epochs": 2, "verbose": 0}
    backup = callbacks.BackupAndRestore(tmp_path / "f", delete_checkpoint=False)
    model.fit(X, Y, validation_data=(X, Y), callbacks=backup, **options)
    assert next(model.parameters()).is_cuda
    model.reset_states()
    assert model.predict(X).shape == (12, 2)
    model.fit(X, Y, callbacks=[backup], **{**options, "epochs": 3})
    model.save(tmp_path / "m")
    assert next(rondeau.load(tmp_path / "m").parameters()).device.type == "cpu"
