from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from rondeau import Ragged, layers
from rondeau.errors import ArgumentError, DataError, ShapeError

RAGGED = Ragged.from_padded(torch.randn(3, 5, 4), [5, 0, 2])


@pytest.mark.parametrize("shape", [(3, 4), (3, 5, 4), (2, 3, 5, 4)])
@pytest.mark.parametrize("options", [{}, {"activation": "tanh"}, {"use_bias": False, "activation": "softmax"}])
def test_dense_is_keras(judge: Any, shape: tuple[int, ...], options: dict[str, Any]) -> None:
    ours, theirs = judge.twins(layers.Dense(6, **options), judge.keras.layers.Dense(6, **options), shape)
    judge.same(ours, theirs, [torch.randn(shape)])


def test_layers_that_take_steps_by_themselves_take_a_ragged() -> None:
    for layer in (layers.Dense(6), layers.Activation("tanh"), layers.LayerNormalization(), layers.Dropout(0.5).eval()):
        y = layer(RAGGED)
        assert isinstance(y, Ragged)
        assert torch.equal(y.lengths, RAGGED.lengths)
        for row, own in zip(y.rows(), RAGGED.rows(), strict=True):
            assert torch.equal(row, layer(own))


def test_numpy_is_taken_as_torch_would_have_it() -> None:
    layer = layers.Dense(2)
    x = np.random.default_rng(0).normal(size=(3, 4))
    want = layer(torch.tensor(x, dtype=torch.float32))
    assert torch.equal(layer(x), want)
    assert torch.equal(layer(x[::-1])[[2, 1, 0]], want)
    frozen = x.copy()
    frozen.flags.writeable = False
    assert torch.equal(layer(frozen), want)
    assert layers.Embedding(5, 2)(np.array([[1, 2]], np.int32)).shape == (1, 2, 2)


def test_activation_is_keras(judge: Any) -> None:
    for name in ("relu", "softmax", "gelu"):
        judge.same(layers.Activation(name), judge.keras.layers.Activation(name), [torch.randn(2, 3, 4)])
    assert torch.equal(layers.Activation(torch.sin)(RAGGED).values, RAGGED.values.sin())


def test_flatten_is_keras(judge: Any) -> None:
    for shape in ((4,), (4, 3), (4, 3, 2), (4, 3, 2, 5)):
        judge.same(layers.Flatten(), judge.keras.layers.Flatten(), [torch.randn(shape)])
    assert layers.Flatten()(torch.zeros(0, 3, 2)).shape == (0, 6)
    with pytest.raises(ShapeError, match=r"unequal length cannot be flattened.*flatten"):
        layers.Flatten()(RAGGED)


def test_dropout_zeroes_a_share_and_scales_the_rest() -> None:
    layer = layers.Dropout(0.3)
    x = torch.ones(200, 300)
    y = layer(x)
    assert set(y.unique().tolist()) == {0.0, float(torch.tensor(1 / 0.7))}
    assert float(y.count_nonzero()) / y.numel() == pytest.approx(0.7, abs=5 * math.sqrt(0.21 / y.numel()))
    assert not torch.equal(layer(x), y)
    assert layer.eval()(x) is x
    assert layers.Dropout(0.0)(x) is x


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_dropout_scales_as_precisely_as_the_numbers_are(dtype: torch.dtype) -> None:
    y = layers.Dropout(0.3)(torch.ones(20, 30, dtype=dtype))
    assert y.dtype == dtype
    assert set(y.unique().tolist()) == {0.0, float(torch.tensor(1 / 0.7, dtype=dtype))}


def test_dropout_repeats_with_its_seed() -> None:
    one, other = layers.Dropout(0.5, seed=3), layers.Dropout(0.5, seed=3)
    x = torch.ones(4, 50)
    first = one(x)
    torch.manual_seed(12)
    assert torch.equal(other(x), first)
    assert not torch.equal(one(x), first)
    free = layers.Dropout(0.5)
    torch.manual_seed(1)
    a = free(x)
    torch.manual_seed(1)
    assert torch.equal(free(x), a)


def test_dropout_shares_noise_along_axes_of_one() -> None:
    x = torch.ones(40, 6, 30)
    y = layers.Dropout(0.5, noise_shape=(None, 1, None))(x)
    assert (y == y[:, :1]).all()
    assert not (y == y[:1]).all()
    y = layers.Dropout(0.5, noise_shape=(40, 6, 1))(x)
    assert (y == y[:, :, :1]).all()
    r = Ragged.from_padded(x, [6, 0, *[3] * 38])
    shared = layers.Dropout(0.5, noise_shape=(None, 1, None))(r)
    for row in shared.rows():
        assert (row == row[:1]).all()
    assert not torch.equal(shared.rows()[0][:1], shared.rows()[2][:1])
    assert layers.Dropout(0.5, noise_shape=(None, 1, None))(Ragged.from_padded(x[:0], [])).values.shape == (0, 30)


@pytest.mark.parametrize("noise", [(None, 1), (None, 2, None), (1, 1, 1, 1)])
@pytest.mark.parametrize("x", [torch.ones(4, 6, 3), Ragged.from_padded(torch.ones(4, 6, 3), [6, 1, 0, 2])])
def test_noise_that_does_not_fit(noise: Any, x: Any) -> None:
    with pytest.raises(ShapeError, match=r"noise_shape does not fit.*for each axis of \(4, 6, 3\), got"):
        layers.Dropout(0.5, noise_shape=noise)(x)


def test_input_is_a_symbol_with_a_shape() -> None:
    x = layers.Input((None, 8), batch_size=4, dtype="float64", name="speech")
    assert x.shape == (4, None, 8)
    assert x.dtype == torch.float64
    assert x.ndim == 3
    assert "speech" in repr(x)
    assert layers.Input([3]).shape == (None, 3)
    with pytest.raises(ArgumentError, match="no value to test"):
        bool(x)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: layers.Dense(0), "Dense: units: expected a positive integer, got 0"),
        (lambda: layers.Dense(3.5), "got 3.5"),
        (lambda: layers.Dense(3, activation="rely"), "Did you mean 'relu'"),
        (lambda: layers.Dense(3, unit=4), "Dense has no argument 'unit'"),
        (lambda: layers.Dense(3, kernel_constraint="max_norm"), "kernel_constraint is not supported.*weight_decay"),
        (lambda: layers.Dense(3, lora_rank=2), "lora_rank has no meaning here"),
        (lambda: layers.Dropout(1.0), "Dropout: rate: expected 0 <= rate < 1, got 1.0"),
        (lambda: layers.Input(8), r"Input: shape.*got 8. Without the batch: Input\(\(None, 8\)\)"),
        (lambda: layers.Input((None, "x")), r"got \(None, 'x'\)"),
        (lambda: layers.Input((3,), dtype="float31"), "Input: dtype.*got 'float31'"),
        (lambda: layers.Activation("nothing"), "there is no activation 'nothing'"),
    ],
)
def test_wrong_arguments(make: Any, said: str) -> None:
    with pytest.raises(ArgumentError, match=said):
        make()


@pytest.mark.parametrize("kind", [lambda: layers.Dense(2), layers.LayerNormalization, lambda: layers.Conv1D(2, 1)])
def test_inputs_of_other_features_or_types(kind: Any) -> None:
    layer = kind()
    layer(torch.zeros(2, 3, 4))
    with pytest.raises(ShapeError, match="another number of features than the layer was built for: expected 4, got 5"):
        layer(torch.zeros(2, 3, 5))
    with pytest.raises(DataError, match=r"another type than the weights: expected torch.float32, got torch.float64"):
        layer(torch.zeros(2, 3, 4).double())
    with pytest.raises(DataError, match=r"got torch.uint8"):
        layer(torch.zeros(2, 3, 4, dtype=torch.uint8))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        layer(torch.zeros(2, 3, 4, dtype=torch.bfloat16))
    with pytest.raises(ShapeError, match="number of features must be known"):
        kind()(layers.Input((None, None)))
