"""Windows: one update each, states carried, results those of whole sequences, and what cannot run in them is named."""

from __future__ import annotations

import copy
import pickle
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import rondeau
from rondeau import Ragged, RandomWindow, callbacks, layers, optimizers
from rondeau.errors import ArgumentError, DataError
from rondeau.training.checkpoint import BackupAndRestore

rng = np.random.default_rng(5)
ROWS, TIME = 7, 19
X = rng.normal(size=(ROWS, TIME, 3)).astype("float32")
Y = rng.normal(size=(ROWS, TIME, 2)).astype("float32")
LENGTHS = [6, 0, 19, 13, 1, 12, 12]
LISTED = [X[i, :n] for i, n in enumerate(LENGTHS)]
TARGETS = [Y[i, :n] for i, n in enumerate(LENGTHS)]
IDS = rng.integers(1, 9, size=(ROWS, TIME))
IDS[0, 5:] = 0  # padding behind
IDS[1] = 0  # nothing but padding
IDS[2, :8] = 0  # in front
IDS[3, 4:14] = 0  # in the middle, for whole windows
LABELS = rng.integers(0, 4, size=(ROWS, TIME))
EPSILON = float(np.finfo("float32").eps)


def plain(optimizer: Any = "sgd", **options: Any) -> Any:
    torch.manual_seed(3)
    model = rondeau.Sequential(
        [
            layers.Input((None, 3)),
            layers.LSTM(5, return_sequences=True, **options),
            layers.GRU(4, return_sequences=True),
            layers.Dense(2),
        ]
    )
    model.compile(optimizer, "mse", metrics=["mae"])
    return model


def masked() -> Any:
    torch.manual_seed(4)
    model = rondeau.Sequential(
        [
            layers.Embedding(9, 4, mask_zero=True),
            layers.LSTM(5, return_sequences=True),
            layers.SimpleRNN(4, return_sequences=True),
            layers.Dense(4),
        ]
    )
    loss = rondeau.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizers.Adam(0.05), loss, metrics=["sparse_categorical_accuracy"])
    return model


def same(one: Any, other: Any) -> bool:
    return all(map(np.array_equal, one.get_weights(), other.get_weights()))


# Training


@pytest.mark.parametrize("window", [TIME, 1000])
@pytest.mark.parametrize("shuffle", [False, True])
def test_a_window_as_long_as_the_rows_makes_the_updates_of_whole_sequences(window: int, shuffle: bool) -> None:
    def train(data: tuple[Any, Any], **options: Any) -> Any:
        model = plain("adam", dropout=0.2, recurrent_dropout=0.1)
        torch.manual_seed(9)
        history = model.fit(*data, batch_size=3, epochs=2, shuffle=shuffle, verbose=0, **options)
        return model, history.history["loss"]

    for data in ((X, Y), (LISTED, TARGETS)):
        (whole, expected), (windowed, losses) = train(data), train(data, window=window)
        assert same(whole, windowed)
        assert losses == expected


def by_hand(model: Any, rows: list[np.ndarray[Any, Any]], targets: list[np.ndarray[Any, Any]], window: int) -> None:
    """Truncated backpropagation as PyTorch programs write it, one batch of dense or finished rows."""
    lstm, gru, dense = model.layers
    rate, longest = 0.1, max(map(len, rows))
    states: tuple[Any, Any] = (None, None)
    for begin in range(0, longest, window):
        x = Ragged.from_rows([row[begin : begin + window] for row in rows])
        y = torch.cat([torch.as_tensor(row[begin : begin + window]) for row in targets])
        h, states_lstm = rondeau.scan(lstm.cell, x, states[0])
        h, states_gru = rondeau.scan(gru.cell, h, states[1])
        loss = ((dense(h).values - y) ** 2).mean()
        grads = torch.autograd.grad(loss, list(model.parameters()))
        with torch.no_grad():
            for weight, grad in zip(model.parameters(), grads, strict=True):
                weight -= rate * grad
        states = tuple(type(s)(*(part.detach() for part in s)) for s in (states_lstm, states_gru))  # type: ignore[assignment]


@pytest.mark.parametrize("window", [1, 4, 7])
@pytest.mark.parametrize("kind", ["equal", "unequal"])
def test_the_updates_are_those_of_a_loop_with_detach(window: int, kind: str) -> None:
    filled = [i for i, n in enumerate(LENGTHS) if n]
    rows, targets = (X, Y) if kind == "equal" else ([LISTED[i] for i in filled], [TARGETS[i] for i in filled])
    model, other = plain(optimizers.SGD(0.1)), plain()
    model.fit(rows, targets, batch_size=ROWS, shuffle=False, window=window, verbose=0)
    by_hand(other, list(rows), list(targets), window)
    for weight, expected in zip(model.get_weights(), other.get_weights(), strict=True):
        assert np.allclose(weight, expected, rtol=0, atol=64 * EPSILON)
    fresh = plain()
    assert not same(model, fresh)


def test_one_update_a_window_and_states_begin_anew_with_the_next_rows() -> None:
    model = plain()
    begun: list[bool] = []
    windows = callbacks.LambdaCallback(
        on_train_batch_begin=lambda batch, logs: begun.append(not model.states()),
    )
    model.fit(X, Y, batch_size=4, window=8, epochs=2, verbose=0, callbacks=windows)
    assert begun == [True, False, False] * 4  # two batches of rows in each of two epochs
    assert model.optimizer.iterations == 12
    assert model.states() == {}
    assert not any(layer.stateful for layer in model.layers[:2])


def test_a_stateful_layer_stays_so_and_keeps_its_state() -> None:
    model = plain(stateful=True)
    model.fit(X, Y, batch_size=ROWS, window=8, verbose=0)
    assert [layer.stateful for layer in model.layers[:2]] == [True, False]
    assert list(model.states()) == ["lstm.h", "lstm.c"]


def test_an_error_leaves_layers_as_they_were() -> None:
    model = plain()

    def fail(batch: int, logs: Any) -> None:
        raise KeyError(batch)

    with pytest.raises(KeyError):
        model.fit(X, Y, window=8, verbose=0, callbacks=callbacks.LambdaCallback(on_train_batch_end=fail))
    assert not any(layer.stateful or layer.state is not None for layer in model.layers[:2])


def test_rows_that_have_ended_change_nothing() -> None:
    """Beside a long row, a short one contributes its own steps' gradients, and nothing once it is over."""
    one, two = plain(optimizers.Adam(0.01)), plain(optimizers.Adam(0.01))
    one.fit([X[0], X[1, :0]], [Y[0], Y[1, :0]], window=5, shuffle=False, verbose=0)
    two.fit([X[0]], [Y[0]], window=5, shuffle=False, verbose=0)
    for weight, expected in zip(one.get_weights(), two.get_weights(), strict=True):
        assert np.allclose(weight, expected, rtol=0, atol=16 * EPSILON)


def test_a_window_without_a_real_step_makes_no_update() -> None:
    ids = IDS.copy()
    ids[:, 8:] = 0
    cut, long = masked(), masked()
    cut.fit(ids[:, :8], LABELS[:, :8], window=4, shuffle=False, verbose=0)
    long.fit(ids, LABELS, window=4, shuffle=False, verbose=0)
    assert same(cut, long)  # Adam's momentum would have moved the weights on
    assert cut.optimizer.iterations == long.optimizer.iterations == 2


def test_validation_reads_windows_too_and_disturbs_nothing() -> None:
    model, alone = plain(), plain()
    windows: list[int] = []
    count = callbacks.LambdaCallback(on_test_batch_end=lambda batch, logs: windows.append(batch))
    given = {"validation_data": (LISTED, TARGETS), "callbacks": count}
    torch.manual_seed(0)
    history = model.fit(X, Y, window=6, epochs=2, batch_size=3, verbose=0, **given).history
    assert windows == [*range(4 + 3 + 2)] * 2  # of rows of up to 19, 13 and 12 steps
    torch.manual_seed(0)
    alone.fit(X, Y, window=6, epochs=2, batch_size=3, verbose=0)
    assert same(model, alone)
    expected = model.evaluate(LISTED, TARGETS, batch_size=3, verbose=0)
    assert [history["val_loss"][-1], history["val_mae"][-1]] == pytest.approx(expected, rel=16 * EPSILON)
    split = model.fit(X, Y, window=6, verbose=0, validation_split=0.4).history
    assert split["val_loss"][0] == pytest.approx(model.evaluate(X[4:], Y[4:], verbose=0)[0], rel=16 * EPSILON)


def test_validation_data_that_come_in_whole_batches_carry_no_states() -> None:
    model = plain()
    whole = [(X[:2], Y[:2]), (X[2:], Y[2:])]
    history = model.fit(X, Y, window=6, verbose=0, validation_data=iter(whole)).history
    assert history["val_loss"][0] == pytest.approx(model.evaluate(X, Y, verbose=0)[0], rel=16 * EPSILON)


def test_weights_of_steps_and_of_rows() -> None:
    for weight in (rng.uniform(size=(ROWS, TIME)).astype("float32"), rng.uniform(size=ROWS).astype("float32")):
        one, other = plain(), plain()
        one.fit(X, Y, sample_weight=weight, batch_size=3, shuffle=False, verbose=0)
        other.fit(X, Y, sample_weight=weight, batch_size=3, shuffle=False, verbose=0, window=TIME)
        assert same(one, other)
        losses = [one.evaluate(X, Y, sample_weight=weight, verbose=0, window=w)[0] for w in (None, 5)]
        assert losses[0] == pytest.approx(losses[1], rel=32 * EPSILON)


def test_callbacks_may_predict_evaluate_and_save_on_the_way(tmp_path: Path) -> None:
    """What they see is a model whose layers carry nothing, and what they do leaves no trace."""
    seen: list[Any] = []

    def look(batch: int, logs: Any) -> None:
        whole = model.predict(X), model.predict(X, window=4), model.predict(X, batch_size=2)
        seen.append(whole)
        model.save(tmp_path / "model", include_optimizer=False)

    model, alone = plain(), plain()
    model.fit(X, Y, window=8, shuffle=False, verbose=0, callbacks=callbacks.LambdaCallback(on_train_batch_end=look))
    alone.fit(X, Y, window=8, shuffle=False, verbose=0)
    assert same(model, alone)
    assert all(np.allclose(a, other, atol=16 * EPSILON) for a, *others in seen for other in others)
    loaded = rondeau.load(tmp_path / "model")
    assert not any(layer.stateful for layer in loaded.layers[:2])


# Random windows


def test_random_windows_scale_the_learning_rate_with_their_length() -> None:
    lengths: list[int] = []
    rates: list[float] = []
    model = plain(optimizers.SGD(0.5))
    forward, step = model.forward, model.optimizer.update
    model.forward = lambda x: (lengths.append(x.shape[1]) if model.training else None, forward(x))[1]
    model.optimizer.update = lambda *args: (rates.append(args[3]), step(*args))[1]
    model.fit(X, Y, window=RandomWindow(6, std=2.0), epochs=3, verbose=0)
    assert rates == pytest.approx([0.5 * n / 6 for n in lengths])
    assert len(set(lengths)) > 2
    ends = np.cumsum(lengths)
    assert all(end in ends for end in (TIME, 2 * TIME, 3 * TIME))


def test_a_torch_optimiser_s_rate_is_scaled_for_the_step_alone() -> None:
    lengths: list[int] = []
    rates: list[float] = []
    model = plain()
    sgd = torch.optim.SGD(model.parameters(), lr=0.5)
    forward, step = model.forward, sgd.step
    model.forward = lambda x: (lengths.append(x.shape[1]) if model.training else None, forward(x))[1]
    sgd.step = lambda *a: (rates.append(sgd.param_groups[0]["lr"]), step(*a))[1]  # type: ignore[method-assign]
    model.compile(sgd, "mse")
    model.fit(X, Y, window=RandomWindow(6, std=2.0), epochs=2, verbose=0)
    assert rates == pytest.approx([0.5 * n / 6 for n in lengths])
    assert len(set(lengths)) > 1
    assert sgd.param_groups[0]["lr"] == 0.5


def test_random_windows_follow_from_the_seed() -> None:
    def train(seed: int) -> Any:
        model = plain()
        torch.manual_seed(seed)
        model.fit(X, Y, window=RandomWindow(6, std=2.0), epochs=2, batch_size=3, shuffle=False, verbose=0)
        return model

    assert same(train(1), train(1))
    assert not same(train(1), train(2))


# Taking up a run


class Stop(callbacks.Callback):
    """Leaves training after so many updates."""

    def __init__(self, after: int) -> None:
        self.left = after

    def on_train_batch_end(self, batch: int, logs: Any) -> None:
        self.left -= 1
        self.loop.interrupted |= self.left == 0


@pytest.mark.parametrize("after", [1, 5, 8, 11])
@pytest.mark.parametrize("window", [4, RandomWindow(5, std=2.0)], ids=["fixed", "random"])
def test_an_interrupted_run_ends_as_if_never_interrupted(window: Any, after: int, tmp_path: Path) -> None:
    def run(path: Path, seed: int, *more: Any) -> Any:
        torch.manual_seed(seed)
        model = plain("adam", dropout=0.2)
        torch.manual_seed(seed)
        backup = BackupAndRestore(path, save_freq=1, delete_checkpoint=False)
        data = {"x": LISTED, "y": TARGETS, "batch_size": 3, "validation_data": (X[:2], Y[:2])}
        history = model.fit(**data, epochs=3, window=window, verbose=0, callbacks=[backup, *more])
        return model, history.history

    whole, expected = run(tmp_path / "whole", 8)
    _, broken = run(tmp_path / "broken", 8, Stop(after))
    assert len(broken.get("loss", [])) < 3
    resumed, history = run(tmp_path / "broken", 99)
    assert same(whole, resumed)
    assert history == expected
    assert (tmp_path / "broken").read_bytes() == (tmp_path / "whole").read_bytes()


def test_another_window_than_the_run_began_with_is_refused(tmp_path: Path) -> None:
    def backup() -> Any:
        return BackupAndRestore(tmp_path / "f", save_freq=1)

    plain().fit(X, Y, window=4, verbose=0, callbacks=[backup(), Stop(2)])
    with pytest.raises(rondeau.errors.CheckpointError, match=r"another window: expected \[4.0\], got \[5.0\]"):
        plain().fit(X, Y, window=5, verbose=0, callbacks=[backup()])


# Evaluation and prediction

WINDOWS = st.integers(1, TIME + 3)
ROW_ORDERS = st.permutations(range(ROWS))
few = settings(max_examples=6)
once = cache(lambda make: make())  # a model for all examples of a property


@few
@given(window=WINDOWS, batch=st.integers(3, ROWS))
def test_windows_of_any_size_give_the_same_outputs(window: int, batch: int) -> None:
    """16 epsilons: a product over steps may be summed in another order when there are fewer of them."""
    model = once(plain)
    assert np.allclose(model.predict(X, window=window, batch_size=batch), model.predict(X), atol=16 * EPSILON)
    for row, whole in zip(model.predict(LISTED, window=window, batch_size=batch), model.predict(LISTED), strict=True):
        assert row.shape == whole.shape
        assert np.allclose(row, whole, atol=16 * EPSILON)


@few
@given(window=WINDOWS, batch=st.integers(3, ROWS))
def test_masked_steps_repeat_the_last_value_across_windows(window: int, batch: int) -> None:
    model = once(masked)
    model(torch.as_tensor(IDS))
    whole = model.predict(IDS)
    assert not whole[1].any()
    assert np.array_equal(whole[3, 13], whole[3, 3])
    assert np.allclose(model.predict(IDS, window=window, batch_size=batch), whole, atol=16 * EPSILON)


@few
@given(window=WINDOWS, batch=st.integers(3, ROWS))
def test_windows_of_any_size_give_the_same_losses_and_metrics(window: int, batch: int) -> None:
    for model, data in ((once(plain), (X, Y)), (once(plain), (LISTED, TARGETS)), (once(masked), (IDS, LABELS))):
        whole = model.evaluate(*data, verbose=0)
        assert model.evaluate(*data, window=window, batch_size=batch, verbose=0) == pytest.approx(
            whole, rel=64 * EPSILON
        )


@few
@given(order=ROW_ORDERS, window=WINDOWS)
def test_permuted_rows_give_permuted_results(order: list[int], window: int) -> None:
    model = once(plain)
    there = model.predict([LISTED[i] for i in order], window=window, batch_size=3)
    here = model.predict(LISTED, window=window, batch_size=3)
    assert all(np.allclose(row, here[i], atol=16 * EPSILON) for row, i in zip(there, order, strict=True))


def test_a_batch_of_rows_without_steps_is_one_empty_window() -> None:
    model = plain()
    empty = [X[0, :0], X[1, :0], X[2]]
    rows = model.predict(empty, window=4, batch_size=2)
    assert [row.shape for row in rows] == [(0, 2), (0, 2), (TIME, 2)]
    model.fit(empty, [Y[0, :0], Y[1, :0], Y[2]], window=4, batch_size=2, shuffle=False, verbose=0)
    assert model.optimizer.iterations == 5


def test_states_of_stateful_layers_are_not_touched() -> None:
    model = plain(stateful=True)
    model.predict(X)
    kept = model.states()
    model.predict(X, window=4)
    model.evaluate(X[:2], Y[:2], window=4, verbose=0)
    assert all(map(torch.equal, kept.values(), model.states().values()))


def test_several_inputs_and_outputs() -> None:
    torch.manual_seed(0)
    a, b = layers.Input((None, 3), name="a"), layers.Input((None, 2), name="b")
    h = layers.GRU(4, return_sequences=True)(layers.Concatenate()([a, b]))
    model = rondeau.Model({"a": a, "b": b}, {"p": layers.Dense(2)(h), "q": layers.TimeDistributed(layers.Dense(1))(h)})
    model.compile("sgd", "mse")
    x, y = {"a": X, "b": Y}, {"p": Y, "q": Y[..., :1]}
    model.fit(x, y, window=5, verbose=0)
    parts, whole = model.predict(x, window=5), model.predict(x)
    assert parts.keys() == whole.keys() == {"p", "q"}
    assert all(np.allclose(parts[name], whole[name], atol=16 * EPSILON) for name in parts)
    assert model.evaluate(x, y, window=5, verbose=0) == pytest.approx(model.evaluate(x, y, verbose=0), rel=64 * EPSILON)


def test_a_layer_inside_time_distributed_reads_a_sequence_of_its_own_at_every_step() -> None:
    words = rng.normal(size=(3, 10, 4, 3)).astype("float32")
    torch.manual_seed(0)
    model = rondeau.Sequential(
        [layers.Input((None, 4, 3)), layers.TimeDistributed(layers.LSTM(3)), layers.GRU(2, return_sequences=True)]
    )
    model.compile("sgd", "mse")
    assert np.allclose(model.predict(words, window=3), model.predict(words), atol=16 * EPSILON)
    model.fit(words, np.zeros((3, 10, 2), "float32"), window=4, verbose=0)


def test_a_subclassed_model() -> None:
    class Tagger(rondeau.Model):
        def __init__(self) -> None:
            super().__init__()
            self.rnn, self.out = layers.LSTM(4, return_sequences=True), layers.Dense(2)

        def forward(self, x: Any) -> Any:
            return self.out(self.rnn(x))

    model = Tagger()
    model.compile("adam", "mse")
    model.fit(X, Y, window=5, verbose=0)
    assert np.allclose(model.predict(X, window=5), model.predict(X), atol=16 * EPSILON)


# What cannot run in windows


class Smooth(layers.Layer):
    """The mean of a step and the one before it."""

    def forward(self, x: Any) -> Any:
        before = torch.cat([torch.zeros_like(x[:, :1]), x[:, :-1]], 1)
        return (x + before) / 2


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (lambda: layers.Bidirectional(layers.LSTM(3, return_sequences=True)), "layer bidirectional .* from its end"),
        (lambda: layers.GRU(3, return_sequences=True, go_backwards=True), "layer gru .*go_backwards"),
        (lambda: layers.GRU(3), "layer gru .*one output for the whole sequence.*return_sequences=True"),
        (lambda: layers.GlobalAveragePooling1D(), "layer global_average_pooling1d .*pools over time"),
        (lambda: layers.MaxPooling1D(), "layer max_pooling1d .*pools over time"),
        (lambda: layers.Conv1D(3, 2, padding="causal"), "layer conv1d .*looks at other steps"),
        (Smooth, "layer smooth .*something else than on its windows"),
    ],
)
@pytest.mark.parametrize("job", ["fit", "evaluate", "predict"])
def test_a_layer_that_needs_more_than_a_window_is_named(layer: Any, message: str, job: str) -> None:
    model = rondeau.Sequential([layers.Input((None, 3)), layer(), layers.Dense(2)])
    model.compile("sgd", "mse")
    given = (X,) if job == "predict" else (X, Y)
    with pytest.raises(ArgumentError, match=rf"(?s){message}.*eave window out"):
        getattr(model, job)(*given, window=5, verbose=0)
    model.predict(X)  # and without, it runs


def test_a_convolution_of_one_step_is_none() -> None:
    model = rondeau.Sequential([layers.Input((None, 3)), layers.Conv1D(2, 1), layers.GRU(2, return_sequences=True)])
    assert np.allclose(model.predict(X, window=4), model.predict(X), atol=16 * EPSILON)


def test_what_a_graph_shows() -> None:
    x = layers.Input((None, 3))
    gru = layers.GRU(3, return_sequences=True)
    with pytest.raises(ArgumentError, match=r"layer gru .*called twice"):
        rondeau.Model(x, gru(gru(x))).predict(X, window=4)
    x = layers.Input((TIME, 3), name="signal")
    with pytest.raises(ArgumentError, match=rf"input signal takes sequences of {TIME} steps.*Input\(\(None, 3\)\)"):
        rondeau.Model(x, layers.GRU(3, return_sequences=True)(x)).predict(X, window=4)
    x = layers.Input((None, 3))
    sequence, state = layers.GRU(3, return_sequences=True, return_state=True)(x)
    with pytest.raises(ArgumentError, match=r"layer gru_1 .*initial_state"):
        rondeau.Model(x, layers.GRU(3, return_sequences=True)(sequence, initial_state=state)).predict(X, window=4)


@pytest.mark.parametrize("y", [Y[:, 0, 0], Y[:, 0], Y[:, :-1]], ids=["one", "vector", "short"])
def test_targets_that_are_not_per_step_are_refused_with_the_way_out(y: Any) -> None:
    with pytest.raises(DataError, match=r"(?s)y has .*train without window, with gradient=Recompute"):
        plain().fit(X, y, window=5, verbose=0)


@pytest.mark.parametrize("window", [0, -3, 2.5, "8", True])
def test_a_window_is_a_number_of_steps(window: Any) -> None:
    with pytest.raises(ArgumentError, match="window: expected a positive number of steps, or a RandomWindow"):
        plain().fit(X, Y, window=window, verbose=0)


def test_a_ragged_with_a_mask_is_refused_with_the_way_out() -> None:
    holes = Ragged.compress(torch.as_tensor(X), torch.as_tensor(IDS != 0))
    with pytest.raises(DataError, match=r"x is a Ragged with a mask.*padded array"):
        plain().predict(holes, window=4)


def test_batches_made_elsewhere_are_refused() -> None:
    with pytest.raises(ArgumentError, match="batches of a list_iterator cannot be walked through"):
        plain().fit(iter([(X, Y)]), window=5, verbose=0)
    translator = rondeau.EncoderDecoder(9, 9, units=4)
    translator.compile("sgd")
    with pytest.raises(ArgumentError, match="window has no meaning"):
        translator.fit([[1, 2]], [[3]], window=5, verbose=0)


@pytest.mark.parametrize("asks", ["rows", "state", "other rows", "predict in windows"])
def test_a_callback_that_calls_the_model_changes_nothing(asks: str) -> None:
    class Asks(callbacks.Callback):
        def on_train_batch_end(self, batch: int, logs: Any) -> None:
            assert self.model is not None
            if asks == "predict in windows":
                found = self.model.predict(X, window=4)
                np.testing.assert_allclose(found, self.model(X).detach(), rtol=0, atol=1e-6)
            else:
                self.model(X[:2] if asks == "other rows" else X, return_state=asks == "state")

    found = []
    for listed in ([], [Asks()]):
        rondeau.utils.set_random_seed(1)
        made = [layers.Input((None, 3)), layers.GRU(4, return_sequences=True), layers.Dense(2)]
        model = rondeau.Sequential(made)
        model.compile("sgd", "mse")
        model.fit(X, Y, window=5, verbose=0, callbacks=listed)
        found.append(model.get_weights())
    for a, b in zip(*found, strict=True):
        np.testing.assert_array_equal(a, b)


def test_numbers_of_numpy_are_numbers() -> None:
    model = rondeau.Sequential([layers.Input((None, 3)), layers.GRU(4, return_sequences=True)])
    np.testing.assert_array_equal(model.predict(X, window=np.int64(5)), model.predict(X, window=5))
    assert model.stream(np.int64(2)).rows == 2


@pytest.mark.parametrize("copying", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_a_copy_made_in_the_middle_carries_nothing(copying: Any) -> None:
    inner = rondeau.Sequential([layers.Input((None, 3)), layers.GRU(4, return_sequences=True)])
    kept = layers.GRU(2, return_sequences=True, stateful=True)
    model = rondeau.Sequential([inner, kept])
    with model.carrying(True):
        model(X)
        model.between = True
        copied = copying(model)
        model.between = False
    assert [layer.stateful for _, layer in copied.recurrent_layers()] == [False, True]
    assert len(copied.states()) == 1
    copied.reset_states()
    assert copied(X[:2]).shape == (2, TIME, 2)
    assert [layer.stateful for _, layer in model.recurrent_layers()] == [False, True]
