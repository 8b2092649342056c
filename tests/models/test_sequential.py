from __future__ import annotations

import copy
import io
import pickle
from typing import Any

import numpy as np
import pytest
import torch

import rondeau
import rondeau as keras
from rondeau import layers
from rondeau.errors import ArgumentError, DataError, NotBuiltError, NotCompiledError, ShapeError

X = np.random.default_rng(0).normal(size=(6, 4, 3)).astype("float32")
Y = np.arange(6) % 3


def classifier(**options: Any) -> Any:
    model = rondeau.Sequential([layers.LSTM(4, **options), layers.Dense(3, activation="softmax")])
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def test_the_articles_program(capsys: pytest.CaptureFixture[str]) -> None:
    model = keras.Sequential()
    model.add(layers.Embedding(input_dim=1000, output_dim=64))
    model.add(layers.LSTM(128))
    model.add(layers.Dense(10))
    model.summary()
    assert capsys.readouterr().out.splitlines() == [
        'Model: "sequential"',
        "------------------------------------------------",
        "Layer (type)           Output Shape      Param #",
        "------------------------------------------------",
        "embedding (Embedding)  (None, None, 64)    64000",
        "lstm (LSTM)            (None, 128)         98816",
        "dense (Dense)          (None, 10)           1290",
        "------------------------------------------------",
        "Total params: 164,106",
        "Trainable params: 164,106",
        "Non-trainable params: 0",
    ]
    torch.optim.SGD(model.parameters(), lr=0.1)
    assert model(torch.zeros(2, 5, dtype=torch.int64)).shape == (2, 10)


def test_an_optimizer_over_what_is_not_there_yet_raises() -> None:
    model = keras.Sequential([layers.LSTM(128), layers.Dense(10)])
    for optimizer in (torch.optim.SGD, torch.optim.Adam):
        with pytest.raises(NotBuiltError, match="LSTM has no weights yet"):
            optimizer(model.parameters(), lr=0.1)
    with pytest.raises(NotBuiltError):
        rondeau.optimizers.Adam().build(model.named_parameters())
    model(torch.zeros(1, 2, 3))
    torch.optim.SGD(model.parameters(), lr=0.1)


def test_shapes_are_known_as_soon_as_they_can_be() -> None:
    model = rondeau.Sequential([layers.LSTM(4), layers.Dense(2)])
    assert model.output_shape is None
    with_input = rondeau.Sequential([layers.Input((None, 3)), layers.LSTM(4), layers.Dense(2)])
    assert with_input.output_shape == (None, 2)
    assert with_input.count_params() == 4 * (4 * (3 + 4 + 1)) + 10
    model.build((None, 7, 3))
    assert model.output_shape == (None, 2)
    assert rondeau.Sequential([layers.Embedding(5, 2)]).output_shape == (None, None, 2)


def test_layers_can_be_taken_off_and_put_on() -> None:
    model = classifier()
    model.fit(X, Y, verbose=0)
    dense = model.pop()
    assert dense.name == "dense"
    assert model.output_shape == (None, 4)
    model.add(layers.Dense(5))
    assert model.predict(X).shape == (6, 5)
    while model.layers:
        model.pop()
    assert model.output_shape is None
    with pytest.raises(ArgumentError, match="there are no layers"):
        model.pop()
    model.add(layers.Dense(2))
    assert model.predict(X).shape == (6, 4, 2)


def test_names() -> None:
    model = rondeau.Sequential([layers.Dense(1), layers.Dense(2, name="dense_1"), layers.Dense(3), layers.LSTM(1)])
    assert [layer.name for layer in model.layers] == ["dense", "dense_1", "dense_2", "lstm"]
    assert model.get_layer("lstm") is model.get_layer(index=-1) is model.layers[3]
    assert model.output_names == ["lstm"]
    for wrong in ({"name": "gru"}, {"index": 9}):
        with pytest.raises(ArgumentError, match="expected one of dense, dense_1, dense_2, lstm"):
            model.get_layer(**wrong)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (
            lambda: [layers.Dense(1, name="a"), layers.Dense(1, name="a")],
            "two layers of a model have one name: got 'a'",
        ),
        (lambda: [layers.Dense(1, name="a.b")], "a text without a dot"),
        (lambda: [layers.Dense(1, name="values")], "taken by torch: got 'values'. Use 'values_layer'"),
        (lambda: [layers.Dense(1), layers.Input((3,))], "Input must come first"),
        (lambda: [layers.Input((3,)), layers.Input((3,))], "Input must come first"),
        (lambda: [layers.LSTM], "Make an instance"),
        (lambda: [torch.nn.Linear(1, 1)], "expected a layer"),
        (lambda: [layers.Dense(1)] * 2, "in the model already"),
        (lambda: [layers.Input((4, 3)), layers.LSTM(2, return_state=True)], "layer lstm has 3 outputs"),
    ],
)
def test_what_cannot_be_stacked(make: Any, words: str) -> None:
    with pytest.raises(ArgumentError, match=words):
        rondeau.Sequential(make())


def test_a_layer_that_does_not_fit_the_one_before() -> None:
    with pytest.raises(ShapeError, match="layer lstm_1"):
        rondeau.Sequential([layers.Input((4, 3)), layers.LSTM(2), layers.LSTM(2)])
    model = rondeau.Sequential([layers.LSTM(2, return_state=True)])
    model.compile("sgd", "mse")
    with pytest.raises(ShapeError, match="expected 1, got 3"):
        model.fit(X, X[:, 0, :2], verbose=0)


def test_models_stack_too() -> None:
    inner = rondeau.Sequential([layers.Dense(3), layers.LSTM(4, return_sequences=True)], name="inner")
    model = rondeau.Sequential([inner, layers.GRU(2)])
    assert model(torch.as_tensor(X)).shape == (6, 2)
    assert [layer.name for layer in model.layers] == ["inner", "gru"]


def test_data_in_python_lists() -> None:
    model = classifier()
    assert model(X.tolist()).shape == (6, 3)
    assert model([[[1.0, 2.0, 3.0]], [[1.0, 2.0, 3.0]] * 2]).shape == (2, 3)


@pytest.mark.parametrize("call", ["fit", "evaluate", "train_on_batch", "test_on_batch"])
def test_not_compiled(call: str) -> None:
    with pytest.raises(NotCompiledError, match=r"Sequential is not compiled. Call compile\(optimizer, loss\) first"):
        getattr(rondeau.Sequential([layers.Dense(1)]), call)(X, Y)
    with pytest.raises(NotCompiledError):
        _ = rondeau.Sequential().optimizer


@pytest.mark.parametrize("option", ["run_eagerly", "steps_per_execution", "jit_compile", "auto_scale_loss"])
def test_arguments_of_compile_without_a_meaning(option: str) -> None:
    with pytest.raises(ArgumentError, match=f"{option} has no meaning here"):
        rondeau.Sequential().compile("sgd", "mse", **{option: True})


@pytest.mark.parametrize("given", [{"optimizer": "adamm"}, {"loss": "msee"}, {"metrics": ["acccc"]}, {"others": 1}])
def test_wrong_names_in_compile(given: dict[str, Any]) -> None:
    with pytest.raises(ArgumentError):
        rondeau.Sequential().compile(**{"optimizer": "sgd", "loss": "mse", **given})


# Weights and copies


def test_weights_in_and_out() -> None:
    model, other = classifier(), classifier()
    for made in (model, other):
        made.predict(X)
    other.set_weights(model.get_weights())
    assert np.array_equal(model.predict(X), other.predict(X))
    other.load_state_dict({name: weight * 2 for name, weight in model.state_dict().items()})
    assert np.array_equal(other.get_weights()[0], model.get_weights()[0] * 2)
    with pytest.raises(ShapeError):
        model.set_weights(model.get_weights()[:-1])


def roundtrip(model: Any) -> Any:
    buffer = io.BytesIO()
    torch.save(model, buffer)
    buffer.seek(0)
    return torch.load(buffer, weights_only=False)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m)), roundtrip])
@pytest.mark.parametrize("trained", [False, True])
def test_a_copy_trains_like_the_original_and_apart_from_it(copied: Any, trained: bool) -> None:
    model = classifier(dropout=0.2, recurrent_dropout=0.1, seed=3)
    if trained:
        model.fit(X, Y, epochs=2, verbose=0)
    twin = copied(model)
    before = model.get_weights() if trained else []
    histories = []
    for made in (twin, model):
        torch.manual_seed(0)
        histories.append(made.fit(X, Y, epochs=2, shuffle=False, verbose=0).history)
        assert made is model or not trained or all(map(np.array_equal, before, model.get_weights()))
    assert histories[0] == histories[1]
    assert all(map(np.array_equal, model.get_weights(), twin.get_weights()))


def test_a_trained_model_does_not_keep_its_data() -> None:
    model = classifier()
    model.fit(np.zeros((2000, 4, 3)), np.zeros(2000), validation_split=0.5, verbose=0)
    assert len(pickle.dumps(model)) < 60_000


@pytest.mark.native
def test_other_precisions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rondeau.recurrence.engine._warned", set())  # it is said once in a process
    model = classifier()
    model.predict(X)
    assert model.to(torch.float64).predict(X).dtype == np.float64
    with pytest.warns(RuntimeWarning, match="loops compute in float32 and float64"):
        assert model.to(torch.bfloat16).predict(X).dtype == np.float32  # NumPy has no bfloat16


def test_hooks_are_called() -> None:
    model, seen = classifier(), []
    model.predict(X)
    model.register_forward_hook(lambda module, args, output: seen.append(output.shape))
    model.layers[0].register_forward_hook(lambda module, args, output: seen.append(output.shape))
    model.predict(X)
    assert seen == [(6, 4), (6, 3)]


def test_the_training_flag() -> None:
    model = rondeau.Sequential([layers.Input((4, 3)), layers.Dropout(0.5)])
    x = torch.ones(6, 4, 3)
    model.eval()
    assert torch.equal(model(x), x)
    assert set(model(x, training=True).unique().tolist()) == {0.0, 2.0}
    assert not model.training
    model.train()
    assert torch.equal(model(x, training=False), x)
    assert model.training


# Predictions


def test_masked_outputs_come_back_padded_and_ragged_ones_as_rows() -> None:
    model = rondeau.Sequential([layers.Embedding(5, 2, mask_zero=True), layers.LSTM(3, return_sequences=True)])
    padded = np.array([[1, 2, 0], [0, 0, 3]])
    out = model.predict(padded)
    assert out.shape == (2, 3, 3)
    assert np.array_equal(out[0, 2], out[0, 1])
    assert not out[1, :2].any()
    rows = model.predict([[1, 2], [3]])
    assert [row.shape for row in rows] == [(2, 3), (1, 3)]
    np.testing.assert_allclose(rows[0], out[0, :2], rtol=1e-6)
    assert len(model.predict([[1, 2], [3], [4, 4, 4]], batch_size=1)) == 3
    assert model(torch.as_tensor(padded), expand=False).lengths.tolist() == [2, 1]


def test_batches_of_unequal_padding_make_no_array() -> None:
    model = rondeau.Sequential([layers.LSTM(2, return_sequences=True)])
    batches = [np.zeros((2, time, 3)) for time in (4, 5)]
    with pytest.raises(ShapeError, match="unequal shapes"):
        model.predict(iter(batches))
    assert [model.predict_on_batch(batch).shape for batch in batches] == [(2, 4, 2), (2, 5, 2)]


def test_a_progress_bar_for_predictions(capsys: pytest.CaptureFixture[str]) -> None:
    classifier().predict(X, verbose=1)
    assert "predicting" in capsys.readouterr().out
    model = classifier()
    model.evaluate(X, Y, verbose=1)
    assert capsys.readouterr().out.startswith("loss 1.")
    model.evaluate(X, Y)
    model.predict(X)
    assert capsys.readouterr().out == ""


def test_one_batch_must_be_one() -> None:
    with pytest.raises(ArgumentError, match="a batch: expected arrays"):
        classifier().train_on_batch(iter([(X, Y)]))
    with pytest.raises(DataError):
        classifier().train_on_batch(X[:0], Y[:0])


def test_metrics_names() -> None:
    model = classifier()
    assert model.metrics_names == []
    model.fit(X, Y, verbose=0)
    assert model.metrics_names == ["loss", "accuracy"]
    assert len(model.evaluate(X, Y)) == 2
    assert list(model.evaluate(X, Y, return_dict=True)) == model.metrics_names
    model.compile("sgd", "mse")
    assert isinstance(model.evaluate(X, np.zeros((6, 3))), float)


@pytest.mark.parametrize(
    ("loss", "words"),
    [
        ("sparse_categorical_crossentropy", "a label outside the 3 classes"),
        ("categorical_crossentropy", "labels?|shape"),
    ],
)
def test_labels_that_do_not_fit(loss: str, words: str) -> None:
    model = classifier()
    model.compile("sgd", loss)
    with pytest.raises((DataError, ShapeError), match=words):
        model.fit(X, Y + 1, verbose=0)
