from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import rondeau
from rondeau import Ragged, layers
from rondeau.errors import ArgumentError, DataError, ShapeError

rng = np.random.default_rng(0)
X = rng.normal(size=(6, 4, 3)).astype("float32")
Z = rng.normal(size=(6, 4, 3)).astype("float32")


def reload(model: Any, folder: Path) -> Any:
    model.save(folder)
    return rondeau.load(folder)


def same(one: Any, other: Any) -> bool:
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    return np.array_equal(one, other)


def shared() -> Any:
    a, b = layers.Input((4, 3), name="a"), layers.Input((4, 3), name="b")
    encoder = layers.LSTM(4)
    return rondeau.Model([a, b], layers.Dense(2)(layers.Concatenate()([encoder(a), encoder(b)])))


def nested() -> Any:
    x = layers.Input((4, 3))
    inner = rondeau.Model(x, [layers.LSTM(4)(x), layers.GRU(2)(x)], name="inner")
    stack = rondeau.Sequential([layers.Dense(5), layers.Dense(1)], name="stack")
    a, b = layers.Input((4, 3)), layers.Input((4, 3))
    (u, v), (w, _) = inner(a), inner(b)
    return rondeau.Model([a, b], [stack(layers.Add()([u, w])), v])


def twice() -> Any:
    x = layers.Input((4, 3))
    dense = layers.Dense(3)
    return rondeau.Model(x, [dense(x), dense(dense(x))])


def named() -> Any:
    first, second = layers.Input((4, 3)), layers.Input((4, 3))
    states = layers.LSTM(2, return_state=True)(first)
    return rondeau.Model({"u": first, "v": second}, {"h": states[1], "sum": layers.Add()([first, second])})


def coder() -> Any:
    source, target = layers.Input((None,), dtype="int32"), layers.Input((None,), dtype="int64")
    _, h, c = layers.LSTM(4, return_state=True)(layers.Embedding(9, 3, mask_zero=True)(source))
    decoder = layers.LSTM(4, return_sequences=True, return_state=True)
    outputs, *_ = decoder(layers.Embedding(9, 3)(target), initial_state=[h, c])
    return rondeau.Model([source, target], layers.Dense(9, activation="softmax")(outputs), name="coder")


IDS = [rng.integers(0, 9, (6, 5)), rng.integers(0, 9, (6, 3))]
MODELS = {"shared": (shared, [X, Z]), "nested": (nested, [X, Z]), "twice": (twice, X), "coder": (coder, IDS)}
MODELS["named"] = (named, {"u": X, "v": Z})


@pytest.mark.parametrize("kind", MODELS)
def test_every_graph_can_be_saved_and_loaded(kind: str, tmp_path: Path) -> None:
    make, x = MODELS[kind]
    model = make()
    loaded = reload(model, tmp_path)
    assert same(loaded.predict(x), model.predict(x))
    assert loaded.name == model.name
    assert [layer.name for layer in loaded.layers] == [layer.name for layer in model.layers]
    assert list(loaded.state_dict()) == list(model.state_dict())
    assert loaded.output_names == model.output_names
    assert loaded.count_params() == model.count_params()


def test_a_shared_layer_has_one_set_of_weights_that_learns_from_both_calls() -> None:
    model = shared()
    assert model.count_params() == 4 * 4 * (3 + 4 + 1) + 18
    assert [layer.name for layer in model.layers] == ["a", "b", "lstm", "concatenate", "dense"]
    outputs = model([torch.as_tensor(X), torch.as_tensor(Z)])
    outputs.sum().backward()
    together = model.layers[2].cell.kernel.grad.clone()
    apart = torch.zeros_like(together)
    for stopped in (0, 1):
        model.zero_grad()
        encoded = [model.layers[2](torch.as_tensor(x)) for x in (X, Z)]
        encoded[stopped] = encoded[stopped].detach()
        model.layers[4](torch.cat(encoded, 1)).sum().backward()
        apart += model.layers[2].cell.kernel.grad
    torch.testing.assert_close(together, apart)


def test_inputs_by_list_tuple_and_name() -> None:
    model = shared()
    expected = model.predict([X, Z])
    for x in ((X, Z), {"a": X, "b": Z}, {"b": Z, "a": X}):
        assert np.array_equal(model.predict(x), expected)
    assert np.array_equal(model([X, Z]).detach().numpy(), expected)
    assert np.array_equal(model({"b": torch.as_tensor(Z), "a": torch.as_tensor(X)}).detach().numpy(), expected)


@pytest.mark.parametrize(
    ("x", "error", "words"),
    [
        ([X], DataError, "expected 2 arrays, got 1"),
        (X, DataError, "expected 2 arrays, got ndarray"),
        ({"a": X, "c": X}, DataError, r"expected \['a', 'b'\], got \['a', 'c'\]"),
        ([X, Z[:3]], DataError, "the inputs differ in rows"),
        ([X, Z[:, :2]], ShapeError, r"at input b.: expected \(None, 4, 3\), got \(\d, 2, 3\)"),
        ([X, Z[:, 0]], ShapeError, "at input b"),
    ],
)
def test_inputs_that_do_not_fit(x: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        shared().predict(x)


def test_the_wrong_number_of_inputs_in_a_call() -> None:
    with pytest.raises(DataError, match=r"another number of inputs: expected 2: a, b, got 1"):
        shared()(torch.as_tensor(X))


def test_a_last_axis_of_one_comes_and_goes() -> None:
    x = layers.Input((1,))
    model = rondeau.Model(x, layers.Dense(2)(x))
    assert np.array_equal(model.predict(X[:, 0, 0]), model.predict(X[:, 0, :1]))
    ids = layers.Input((None,))
    tagger = rondeau.Model(ids, layers.Embedding(9, 2)(ids))
    assert np.array_equal(tagger.predict(IDS[0][..., None]), tagger.predict(IDS[0]))
    steps = layers.Input((None, 1))
    reader = rondeau.Model(steps, layers.LSTM(2)(steps))
    assert reader.predict([[1.0, 2.0], [3.0]]).shape == (2, 2)


def test_the_type_an_input_asks_for(tmp_path: Path) -> None:
    seen = []

    class Look(layers.Layer):
        def forward(self, x: Any) -> Any:
            seen.append(x.dtype)
            return x

    x = layers.Input((3,), dtype="int32")
    model = rondeau.Model(x, Look()(x))
    model.predict(np.array([[1.0, 2.0, 3.0]]))
    model.save(tmp_path)
    rondeau.load(tmp_path, {"Look": Look}).predict(np.array([[1.0, 2.0, 3.0]]))
    assert seen == [torch.int32, torch.int32]


def test_output_names_and_targets_by_name() -> None:
    x = layers.Input((4, 3))
    h = layers.LSTM(4)(x)
    model = rondeau.Model(x, {"kind": layers.Dense(3)(h), "size": layers.Dense(1)(h)})
    model.compile("adam", "mse")
    history = model.fit(X, {"size": np.zeros(6), "kind": np.zeros((6, 3))}, verbose=0).history
    assert list(history) == ["loss", "kind_loss", "size_loss"]
    assert set(model.predict(X)) == {"kind", "size"}
    assert twice().output_names == ["dense", "dense_2"]
    assert nested().output_names == ["stack", "inner"]


def test_lengths_go_through_the_graph() -> None:
    x = layers.Input((None, 3))
    h = layers.LSTM(2, return_sequences=True)(x)
    model = rondeau.Model(x, [layers.Dense(1)(h), layers.GRU(2)(h)])
    rows = [X[0, :2], X[1, :4], X[2, :1]]
    steps, last = model.predict(rows)
    assert [row.shape for row in steps] == [(2, 1), (4, 1), (1, 1)]
    np.testing.assert_allclose(last[1], model.predict(X[1:2])[1][0], rtol=1e-5, atol=1e-7)
    assert isinstance(model(Ragged.from_rows(rows))[0], Ragged)


def test_training_the_classic_encoder_and_decoder() -> None:
    model = coder()
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    history = model.fit(IDS, rng.integers(0, 9, (6, 3)), epochs=3, verbose=0).history
    assert history["loss"][2] < history["loss"][0]


def test_a_part_of_a_model_makes_another() -> None:
    model = shared()
    joined = next(node.outputs for node in model.nodes if node.layer.name == "concatenate")
    part = rondeau.Model(model.inputs, joined)
    assert part.predict([X, Z]).shape == (6, 8)
    one = layers.Input((4, 3))
    assert rondeau.Model(one, model.get_layer("lstm")(one)).predict(X).shape == (6, 4)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda a, b: (a, layers.Add()([a, b])), "depend on an input that was not given: got input_layer"),
        (lambda a, b: (layers.Dense(1)(a), layers.Dense(1)(a)), "an input was not made by Input"),
        (lambda a, b: ([], a), "expected symbolic inputs and outputs, got 0 inputs, 1 outputs"),
        (lambda a, b: (a, torch.zeros(1)), "got 1 inputs, 0 outputs"),
        (lambda a, b: ([a, b], [layers.Dense(1, name="x")(a), layers.Dense(1, name="x")(b)]), "have one name"),
    ],
)
def test_graphs_that_are_none(make: Any, words: str) -> None:
    with pytest.raises(ArgumentError, match=words):
        rondeau.Model(*make(layers.Input((4, 3)), layers.Input((4, 3))))


def test_inputs_and_outputs_may_be_given_by_name_and_be_the_same() -> None:
    x = layers.Input((4, 3))
    assert np.array_equal(rondeau.Model(inputs=x, outputs=x, name="same").predict(X), X)
    unused = layers.Input((2,))
    assert rondeau.Model([x, unused], layers.Dense(1)(x)).predict([X, X[:, 0, :2]]).shape == (6, 4, 1)


def test_long_chains() -> None:
    x = h = layers.Input((3,))
    for _ in range(300):
        h = layers.Activation("linear")(h)
    assert np.array_equal(rondeau.Model(x, h).predict(X[:, 0]), X[:, 0])


def test_layers_stand_in_kerass_order() -> None:
    keras = pytest.importorskip("keras")

    def make(library: Any, kinds: Any) -> Any:
        a, b, c = (kinds.Input((4, 3), name=name) for name in "abc")
        shared = kinds.LSTM(2, name="shared", return_sequences=True)
        deep = kinds.Dense(3, name="deep")(kinds.Dense(2, name="deeper")(shared(b)))
        late = kinds.Add(name="add")([deep, kinds.Dense(3, name="side")(a)])
        again = shared(late)
        tail = kinds.Concatenate(name="join")([again, kinds.LSTM(2, name="other", return_sequences=True)(c), late])
        return library.Model([a, b, c], [kinds.Dense(1, name="last")(tail), kinds.GRU(1, name="early")(deep)])

    def uneven(library: Any, kinds: Any) -> Any:
        a, b = (kinds.Input((3,), name=name) for name in "ab")
        shared = kinds.Dense(3, name="shared")
        near = shared(kinds.Dense(3, name="before")(a))
        far = kinds.Dense(1, name="third")(kinds.Dense(2, name="second")(kinds.Dense(2, name="first")(shared(b))))
        return library.Model([a, b], [near, far])

    for build in (make, uneven):
        names = [[layer.name for layer in build(*pair).layers] for pair in ((rondeau, layers), (keras, keras.layers))]
        assert names[0] == names[1]
