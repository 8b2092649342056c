"""The same model, weights, data and order give Keras's losses, metrics and weights, epoch after epoch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import rondeau
from rondeau import layers, losses, metrics, optimizers

keras = pytest.importorskip("keras")
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

RTOL = 2e-5  # float32, summed in another order over a few dozen updates
rng = np.random.default_rng(3)
X = rng.normal(size=(22, 5, 3)).astype("float32")
IDS = rng.integers(1, 9, (22, 6))
for _row, _length in enumerate(rng.integers(1, 7, 22)):
    IDS[_row, _length:] = 0
CLASSES = rng.integers(0, 4, 22)
ONE_HOT = np.eye(4, dtype="float32")[CLASSES]
NUMBERS = rng.normal(size=(22, 2)).astype("float32")
STEPS = rng.normal(size=(22, 6, 2)).astype("float32")
WEIGHTS = rng.uniform(0.2, 2, 22).astype("float32")


def pair(make: Any, seen: Any) -> tuple[Any, Any]:
    """What `make(library, its layers)` gives, ours and theirs, with one set of weights."""
    ours, theirs = make(rondeau, rondeau.layers), make(keras, keras.layers)
    inputs = seen if not isinstance(seen, (list, tuple)) else list(seen)
    theirs(inputs)
    ours.predict(inputs)
    ours.set_weights(theirs.get_weights())
    return ours, theirs


def compare(ours: Any, theirs: Any, x: Any, y: Any, **options: Any) -> dict[str, list[float]]:
    """Fit both; histories and weights must agree. Gives the history."""
    options = {"epochs": 3, "batch_size": 6, "shuffle": False, "verbose": 0, **options}
    got, expected = ours.fit(x, y, **options).history, theirs.fit(x, y, **options).history
    assert set(got) == set(expected)
    for name, values in expected.items():
        np.testing.assert_allclose(got[name], values, rtol=RTOL, atol=2e-6, err_msg=name)
    for one, other in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=3e-5)
    return got


def classifier(library: Any, kinds: Any) -> Any:
    return library.Sequential([kinds.LSTM(4), kinds.Dense(4, activation="softmax")])


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "rmsprop"])
def test_a_classifier(optimizer: str) -> None:
    ours, theirs = pair(classifier, X)
    for model in (ours, theirs):
        model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])
    history = compare(ours, theirs, X, CLASSES, validation_split=0.2)
    assert list(history) == ["loss", "accuracy", "val_loss", "val_accuracy"]


@pytest.mark.parametrize("shape", [(22,), (22, 1)])
def test_integer_labels_of_either_shape(shape: tuple[int, ...]) -> None:
    ours, theirs = pair(classifier, X)
    for model in (ours, theirs):
        model.compile("sgd", "sparse_categorical_crossentropy", metrics=["acc"])
    compare(ours, theirs, X, CLASSES.reshape(shape))


def test_one_hot_labels_with_clipping() -> None:
    ours, theirs = pair(classifier, X)
    for library, model in ((rondeau, ours), (keras, theirs)):
        optimizer = library.optimizers.SGD(0.5, momentum=0.9, global_clipnorm=0.1)
        model.compile(optimizer, "categorical_crossentropy", metrics=["accuracy"])
    compare(ours, theirs, X, ONE_HOT)


def test_sample_weights_and_weighted_validation_data() -> None:
    ours, theirs = pair(classifier, X)
    for model in (ours, theirs):
        model.compile("adam", "sparse_categorical_crossentropy", metrics=["acc"], weighted_metrics=["acc"])
    data = (X[:7], CLASSES[:7], WEIGHTS[:7])
    history = compare(ours, theirs, X, CLASSES, sample_weight=WEIGHTS, validation_data=data)
    assert {"acc", "weighted_acc", "val_weighted_acc"} <= set(history)


@pytest.mark.parametrize("y", [CLASSES, CLASSES[:, None], ONE_HOT], ids=["integers", "column", "one-hot"])
def test_class_weights(y: Any) -> None:
    loss = "categorical_crossentropy" if y is ONE_HOT else "sparse_categorical_crossentropy"
    ours, theirs = pair(classifier, X)
    for model in (ours, theirs):
        model.compile("adam", loss, weighted_metrics=["accuracy"])
    compare(ours, theirs, X, y, class_weight={0: 0.5, 1: 3.0, 2: 0.0}, validation_split=0.3)


def test_class_weights_of_a_single_probability() -> None:
    ours, theirs = pair(lambda k, kinds: k.Sequential([kinds.GRU(3), kinds.Dense(1, activation="sigmoid")]), X)
    for model in (ours, theirs):
        model.compile("adam", "binary_crossentropy", metrics=["accuracy"], weighted_metrics=["accuracy"])
    compare(ours, theirs, X, (CLASSES > 1).astype("float32"), class_weight={0: 0.5, 1: 3.0})


def test_regularisers_are_part_of_the_loss() -> None:
    def make(library: Any, kinds: Any) -> Any:
        penalties = {"kernel_regularizer": library.regularizers.L2(0.1), "recurrent_regularizer": "l1"}
        return library.Sequential([kinds.LSTM(4, **penalties), kinds.Dense(2, bias_regularizer="l2")])

    ours, theirs = pair(make, X)
    for model in (ours, theirs):
        model.compile("adam", "mse", metrics=["mse"])
    history = compare(ours, theirs, X, NUMBERS, validation_split=0.2)
    assert history["loss"][0] > history["mse"][0] + 0.1


def tagger(library: Any, kinds: Any) -> Any:
    stack = [kinds.Embedding(9, 3, mask_zero=True), kinds.LSTM(4, return_sequences=True), kinds.Dense(2)]
    return library.Sequential(stack)


def test_masked_steps_of_an_embedding_do_not_count() -> None:
    ours, theirs = pair(tagger, IDS)
    for model in (ours, theirs):
        model.compile("adam", "mse", metrics=["mae"])
    compare(ours, theirs, IDS, STEPS, batch_size=22)  # one batch: Keras weighs batches by rows, not by real steps


def test_masked_steps_with_a_weight_for_each() -> None:
    ours, theirs = pair(tagger, IDS)
    for model in (ours, theirs):
        model.compile("adam", "mse", metrics=["mae"], weighted_metrics=["mse"])
    weights = rng.uniform(0.2, 2, IDS.shape).astype("float32")
    compare(ours, theirs, IDS, STEPS, sample_weight=weights, batch_size=22)


def test_updates_of_masked_batches_are_kerass_and_the_reported_mean_is_over_steps() -> None:
    ours, theirs = pair(tagger, IDS)
    for model in (ours, theirs):
        model.compile("sgd", "mse")
    got, theirs_loss = ours.evaluate(IDS, STEPS, batch_size=6), theirs.evaluate(IDS, STEPS, batch_size=6, verbose=0)
    real = IDS != 0
    error = np.square(ours.predict(IDS) - STEPS).mean(-1)
    assert got == pytest.approx(error[real].mean(), rel=RTOL)
    by_rows = sum(error[a : a + 6][real[a : a + 6]].mean() * len(error[a : a + 6]) for a in range(0, 22, 6)) / 22
    assert theirs_loss == pytest.approx(by_rows, rel=RTOL)
    options: dict[str, Any] = {"epochs": 2, "batch_size": 6, "shuffle": False, "verbose": 0}
    ours.fit(IDS, STEPS, **options)
    theirs.fit(IDS, STEPS, **options)
    for one, other in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=3e-6)


def test_a_classifier_over_masked_steps() -> None:
    def make(library: Any, kinds: Any) -> Any:
        return library.Sequential([kinds.Embedding(9, 3, mask_zero=True), kinds.GRU(4), kinds.Dense(4)])

    ours, theirs = pair(make, IDS)
    for library, model in ((rondeau, ours), (keras, theirs)):
        loss = library.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile("adam", loss, metrics=["accuracy"])
    compare(ours, theirs, IDS, CLASSES, validation_split=0.2)


def two_outputs(library: Any, kinds: Any) -> Any:
    x = kinds.Input((5, 3))
    h = kinds.LSTM(4)(x)
    classes = kinds.Dense(4, activation="softmax", name="classes")(h)
    numbers = kinds.Dense(2, name="numbers", kernel_regularizer="l2")(h)
    return library.Model(x, [classes, numbers])


@pytest.mark.parametrize("form", ["list", "dict"])
def test_several_outputs(form: str) -> None:
    ours, theirs = pair(two_outputs, X)
    for model in (ours, theirs):
        if form == "list":
            losses_ = ["sparse_categorical_crossentropy", "mse"]
            model.compile("adam", losses_, metrics=[["accuracy"], ["mae"]], loss_weights=[0.5, 2.0])
        else:
            loss = {"numbers": "mse", "classes": "sparse_categorical_crossentropy"}
            named = {"classes": ["accuracy"], "numbers": ["mae"]}
            model.compile("adam", loss, metrics=named, loss_weights={"classes": 0.5, "numbers": 2.0})
    y = [CLASSES, NUMBERS] if form == "list" else {"classes": CLASSES, "numbers": NUMBERS}
    weights = [WEIGHTS, WEIGHTS[::-1].copy()]
    given = weights if form == "list" else None  # Keras takes no dict of weights beside a list of outputs
    history = compare(ours, theirs, X, y, validation_split=0.2, sample_weight=given)
    assert {"classes_loss", "numbers_loss", "classes_accuracy", "val_numbers_mae"} <= set(history)


def test_several_inputs_with_a_shared_layer() -> None:
    def make(library: Any, kinds: Any) -> Any:
        a, b = kinds.Input((5, 3), name="a"), kinds.Input((5, 3), name="b")
        shared = kinds.LSTM(4)
        return library.Model([a, b], kinds.Dense(2)(kinds.Concatenate()([shared(a), shared(b)])))

    other = X[::-1].copy()
    ours, theirs = pair(make, [X, other])
    for model in (ours, theirs):
        model.compile("rmsprop", "mse")
    compare(ours, theirs, [X, other], NUMBERS, validation_split=0.2)
    compare(ours, theirs, {"a": X, "b": other}, NUMBERS)
    np.testing.assert_allclose(ours.predict([X, other]), theirs.predict([X, other], verbose=0), rtol=1e-3, atol=1e-4)


def test_the_classic_encoder_and_decoder() -> None:
    def make(library: Any, kinds: Any) -> Any:
        source, target = kinds.Input((None,), dtype="int32"), kinds.Input((None,), dtype="int32")
        _, h, c = kinds.LSTM(4, return_state=True)(kinds.Embedding(9, 3)(source))
        decoder = kinds.LSTM(4, return_sequences=True, return_state=True)
        outputs, _, _ = decoder(kinds.Embedding(9, 3)(target), initial_state=[h, c])
        return library.Model([source, target], kinds.Dense(9, activation="softmax")(outputs))

    target = rng.integers(0, 9, (22, 4))
    ours, theirs = pair(make, [IDS, target])
    for model in (ours, theirs):
        model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    compare(ours, theirs, [IDS, target], rng.integers(0, 9, (22, 4)), validation_split=0.2)


def test_evaluate_and_the_methods_on_one_batch() -> None:
    ours, theirs = pair(two_outputs, X)
    for model in (ours, theirs):
        model.compile("adam", ["sparse_categorical_crossentropy", "mse"], metrics=[["accuracy"], ["mae"]])
    y = [CLASSES, NUMBERS]
    for method in ("evaluate", "test_on_batch", "train_on_batch", "train_on_batch"):
        options: dict[str, Any] = {"batch_size": 5, "verbose": 0} if method == "evaluate" else {}
        got, expected = (getattr(m, method)(X, y, return_dict=True, **options) for m in (ours, theirs))
        assert set(got) == set(expected)
        for name, value in expected.items():
            assert got[name] == pytest.approx(float(value), rel=RTOL, abs=2e-6), (method, name)
    np.testing.assert_allclose(ours.train_on_batch(X, y), theirs.train_on_batch(X, y), rtol=RTOL)
    np.testing.assert_allclose(ours.test_on_batch(X, y), theirs.test_on_batch(X, y), rtol=RTOL)
    for one, other in zip(ours.predict(X, batch_size=7), theirs.predict(X, batch_size=7, verbose=0), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)


def test_stateful_layers_carry_over_as_in_keras() -> None:
    def make(library: Any, kinds: Any) -> Any:
        x = kinds.Input((5, 3), batch_size=11)
        return library.Model(x, kinds.Dense(2)(kinds.LSTM(4, stateful=True)(x)))

    ours, theirs = make(rondeau, layers), make(keras, keras.layers)
    ours.set_weights(theirs.get_weights())
    for _ in range(2):  # Keras cannot train them on torch: it changes the state in place
        got, expected = ours.predict(X, batch_size=11), theirs.predict(X, batch_size=11, verbose=0)
        np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)
    ours.reset_states()
    assert not np.allclose(ours.predict(X, batch_size=11), got)


def test_area_under_the_curve() -> None:
    ours, theirs = pair(lambda k, kinds: k.Sequential([kinds.LSTM(3), kinds.Dense(1, activation="sigmoid")]), X)
    for library, model in ((rondeau, ours), (keras, theirs)):
        # named, because Keras numbers the metrics of a process through
        named = [library.metrics.AUC(name="auc"), library.metrics.Precision(name="precision"), "recall"]
        model.compile("adam", "bce", metrics=named)
    compare(ours, theirs, X, (CLASSES > 1).astype("float32"), validation_split=0.4)


def test_the_names_are_exported() -> None:
    assert {losses, metrics, optimizers} == {rondeau.losses, rondeau.metrics, rondeau.optimizers}
