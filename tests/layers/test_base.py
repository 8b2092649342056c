"""What every layer shares: building, weights, shapes, names, symbolic calls, configurations."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import torch

from rondeau import Ragged, layers
from rondeau.config import deserialize, serialize
from rondeau.errors import ArgumentError, NotBuiltError, ShapeError
from rondeau.layers.base import snake_case
from rondeau.layers.graph import SymbolicTensor, shape_of

SEQUENCE, VECTOR = (2, 7, 4), (2, 4)

# every layer, and shapes of inputs it takes
ALL: list[tuple[str, Any, Any]] = [
    ("dense", lambda: layers.Dense(3), VECTOR),
    ("dense over time", lambda: layers.Dense(3), SEQUENCE),
    ("activation", lambda: layers.Activation("relu"), SEQUENCE),
    ("dropout", lambda: layers.Dropout(0.5), SEQUENCE),
    ("flatten", layers.Flatten, SEQUENCE),
    ("flatten a vector", layers.Flatten, VECTOR),
    ("normalization", layers.LayerNormalization, SEQUENCE),
    ("rnn", lambda: layers.SimpleRNN(3), SEQUENCE),
    ("lstm", lambda: layers.LSTM(3, return_sequences=True), SEQUENCE),
    ("lstm with state", lambda: layers.LSTM(3, return_state=True), SEQUENCE),
    ("lstm, both", lambda: layers.LSTM(3, return_state=True, return_sequences=True), SEQUENCE),
    ("gru", lambda: layers.GRU(3, reset_after=False, go_backwards=True), SEQUENCE),
    ("stack", lambda: layers.RNN([layers.LSTMCell(3), layers.GRUCell(5)], return_state=True), SEQUENCE),
    ("both ways", lambda: layers.Bidirectional(layers.LSTM(3)), SEQUENCE),
    ("both ways, sum", lambda: layers.Bidirectional(layers.GRU(3, return_sequences=True), "sum"), SEQUENCE),
    ("both ways, state", lambda: layers.Bidirectional(layers.LSTM(3, return_state=True)), SEQUENCE),
    ("both ways, apart", lambda: layers.Bidirectional(layers.GRU(3, return_state=True), None), SEQUENCE),
    ("distributed", lambda: layers.TimeDistributed(layers.Dense(3)), SEQUENCE),
    ("repeat", lambda: layers.RepeatVector(6), VECTOR),
    ("convolution", lambda: layers.Conv1D(3, 2), SEQUENCE),
    ("convolution, same", lambda: layers.Conv1D(3, 3, strides=2, padding="same"), SEQUENCE),
    ("convolution, causal", lambda: layers.Conv1D(3, 3, strides=2, padding="causal", dilation_rate=2), SEQUENCE),
    ("convolution, wide", lambda: layers.Conv1D(3, 3, strides=3, dilation_rate=3), SEQUENCE),
    ("maximum", layers.MaxPooling1D, SEQUENCE),
    ("maximum, same", lambda: layers.MaxPooling1D(3, 2, "same"), SEQUENCE),
    ("global mean", layers.GlobalAveragePooling1D, SEQUENCE),
    ("global maximum", lambda: layers.GlobalMaxPooling1D(keepdims=True), SEQUENCE),
    ("attention", lambda: layers.Attention(use_scale=True), [(2, 5, 4), SEQUENCE]),
    ("attention with keys", layers.AdditiveAttention, [(2, 5, 4), (2, 7, 6), SEQUENCE]),
    ("add", layers.Add, [SEQUENCE, SEQUENCE]),
    ("multiply", layers.Multiply, [VECTOR, VECTOR]),
    ("average", layers.Average, [SEQUENCE, (2, 1, 4)]),
    ("concatenate", layers.Concatenate, [SEQUENCE, (2, 7, 5)]),
    ("concatenate in time", lambda: layers.Concatenate(axis=1), [SEQUENCE, (2, 3, 4)]),
]
NAMES = [name for name, _, _ in ALL]


def random(shape: Any) -> Any:
    return [torch.randn(one) for one in shape] if isinstance(shape, list) else torch.randn(shape)


def unknown(shape: Any) -> Any:
    """The shape with batch and time unknown."""
    if isinstance(shape, list):
        return [unknown(one) for one in shape]
    return (None, None, *shape[2:]) if len(shape) == 3 else (None, *shape[1:])


def agree(symbol: Any, real: Any) -> bool:
    if isinstance(real, list):
        return isinstance(symbol, list) and len(symbol) == len(real) and all(map(agree, symbol, real))
    return len(symbol) == len(real) and all(a is None or a == b for a, b in zip(symbol, real, strict=True))


@pytest.mark.parametrize(("name", "make", "shape"), ALL, ids=NAMES)
def test_shapes_are_known_before_anything_runs(name: str, make: Any, shape: Any) -> None:
    layer = make()
    if name == "flatten":  # of an unknown time it cannot say more than that
        assert layer.compute_output_shape(unknown(shape)) == (None, None)
    real = shape_of(layer(random(shape)))
    assert layer.compute_output_shape(shape) == real
    assert agree(layer.compute_output_shape(unknown(shape)), real)

    def symbols(one: Any) -> Any:
        return [symbols(part) for part in one] if isinstance(one, list) else layers.Input(one[1:], batch_size=one[0])

    again = make()
    outputs = again(symbols(shape))
    assert shape_of(outputs) == real
    assert again.built
    assert [w.shape for w in again.weights] == [w.shape for w in layer.weights]
    if isinstance(outputs, list):
        assert [symbol.position for symbol in outputs] == list(range(len(outputs)))
        assert all(isinstance(symbol, SymbolicTensor) and symbol.node is outputs[0].node for symbol in outputs)
    else:
        assert outputs.position is None


@pytest.mark.parametrize(("name", "make", "shape"), ALL, ids=NAMES)
def test_a_configuration_makes_the_like(name: str, make: Any, shape: Any) -> None:
    layer = make()
    data = json.loads(json.dumps(serialize(layer)))
    again = deserialize(data, vars(layers))
    assert type(again) is type(layer)
    assert serialize(again) == data
    x = random(shape)
    layer.build_for(shape_of(x))
    again.build_for(shape_of(x))
    again.set_weights(layer.get_weights())
    for a, b in zip(flat(layer.eval()(x)), flat(again.eval()(x)), strict=True):
        assert torch.equal(a, b)


def flat(value: Any) -> list[Any]:
    return [leaf for part in value for leaf in flat(part)] if isinstance(value, (list, tuple)) else [value]


@pytest.mark.parametrize(("name", "make", "shape"), ALL, ids=NAMES)
def test_gradients_reach_every_weight_and_input(name: str, make: Any, shape: Any) -> None:
    layer = make()
    x = random(shape)
    for part in flat(x):
        part.requires_grad_()
    sum(y.square().sum() for y in flat(layer(x))).backward()
    assert all(part.grad is not None and part.grad.abs().sum() > 0 for part in flat(x))
    assert all(w.grad is not None for w in layer.weights)


def test_weights_go_in_and_out_as_arrays() -> None:
    layer = layers.LSTM(3)
    with pytest.raises(NotBuiltError, match="layer lstm has no weights yet"):
        layer.get_weights()
    with pytest.raises(NotBuiltError, match="layer lstm has no weights yet"):
        layer.set_weights([])
    with pytest.raises(NotBuiltError, match="layer dense has no weights yet"):
        layers.Dense(3).count_params()
    layer.build_for((None, None, 4))
    assert layer.count_params() == 4 * 3 * (4 + 3 + 1)
    weights = layer.get_weights()
    assert [w.shape for w in weights] == [(4, 12), (3, 12), (12,)]
    weights[0][:] = 7  # copies
    assert not (layer.get_weights()[0] == 7).any()
    layer.set_weights([weights[0], weights[1].astype(np.float64)[::-1], torch.zeros(12)])
    assert (layer.get_weights()[0] == 7).all()
    assert (layer.get_weights()[1] == weights[1][::-1]).all()
    weights[0][:] = 8
    assert (layer.get_weights()[0] == 7).all()  # copied, into the weights' own type
    assert {w.dtype for w in layer.weights} == {torch.float32}
    assert all(w.requires_grad for w in layer.weights)
    with pytest.raises(ShapeError, match=r"another number of weights \(at layer lstm\): expected 3, got 2"):
        layer.set_weights(weights[:2])
    with pytest.raises(ShapeError, match=r"weight 1 of layer lstm\): expected \(3, 12\), got \(4, 12\)"):
        layer.set_weights([weights[0], weights[0], weights[2]])
    assert (layer.get_weights()[0] == 7).all()  # nothing was changed


def test_names() -> None:
    assert layers.LSTM(3).name == "lstm"
    assert not layers.LSTM(3).named_by_user
    layer = layers.Dense(3, name="head")
    assert (layer.name, layer.named_by_user) == ("head", True)
    for name, snake in {
        "LayerNormalization": "layer_normalization",
        "Conv1D": "conv1d",
        "GlobalAveragePooling1D": "global_average_pooling1d",
        "SimpleRNN": "simple_rnn",
        "RNN": "rnn",
        "TimeDistributed": "time_distributed",
    }.items():
        assert snake_case(name) == snake


def test_names_are_keras(judge: Any) -> None:
    to_snake = judge.keras.src.utils.naming.to_snake_case
    for name in layers.__all__:
        assert snake_case(name) == to_snake(name)


class Own(layers.Layer):
    """A user's layer, with a Ragged for an input as well."""

    input_rank = 3
    fixed_features = True

    def __init__(self, size: int, **options: Any) -> None:
        super().__init__(**options)
        self.size = size

    def build(self, input_shape: Any) -> None:
        self.kernel = self.add_weight("kernel", (input_shape[-1], self.size), regularizer="l2")

    def forward(self, x: Any, training: bool = False) -> Any:
        self.last_training = training
        return x.with_values(x.values @ self.kernel) if isinstance(x, Ragged) else x @ self.kernel

    def compute_output_shape(self, input_shape: Any) -> Any:
        return (*input_shape[:-1], self.size)


def test_a_layer_of_ones_own() -> None:
    layer = Own(3, name="mine", trainable=False)
    assert layer(layers.Input((None, 4))).shape == (None, None, 3)
    assert layer(torch.randn(2, 5, 4)).shape == (2, 5, 3)
    assert layer(x=torch.randn(2, 5, 4), training=True).shape == (2, 5, 3)
    assert layer.last_training
    assert layer(Ragged.from_rows([torch.zeros(2, 4)])).values.shape == (2, 3)
    assert not layer.kernel.requires_grad
    assert layer.get_config() == {"size": 3, "name": "mine", "trainable": False}
    again = Own.from_config(layer.get_config())
    assert (again.name, again.trainable, again.size) == ("mine", False, 3)
    assert Own.from_config({"size": 3}).trainable
    with pytest.raises(ShapeError, match=r"layer mine: .* expected 4, got 5"):
        layer(torch.randn(2, 5, 5))
    assert Own(3)(torch.randn(1, 1, 1)).shape == (1, 1, 3)


def test_an_input_of_another_rank_says_which_axes() -> None:
    with pytest.raises(ShapeError, match=r"expected \(batch, features\), got \(2, 3, 4\)"):
        layers.RepeatVector(2)(torch.zeros(2, 3, 4))

    class Four(layers.Layer):
        input_rank = 4

    with pytest.raises(ShapeError, match="expected 4 axes, got"):
        Four()(torch.zeros(2, 3, 4))


@pytest.mark.parametrize("value", [[[1.0, 2.0]], 3.0, "text", None])
def test_a_layer_says_that_it_takes_tensors(value: Any) -> None:
    with pytest.raises(ArgumentError, match=r"expected tensors or arrays, got .*Make an array of it first"):
        layers.Dense(2)(value)


def test_an_input_may_give_all_its_sizes() -> None:
    assert layers.Input(batch_shape=(4, None, 3)).shape == (4, None, 3)
    with pytest.raises(ArgumentError, match="or batch_shape alone"):
        layers.Input((3,), batch_shape=(4, 3))
    with pytest.raises(ArgumentError, match="expected shape"):
        layers.Input()
