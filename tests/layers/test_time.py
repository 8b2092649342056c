"""TimeDistributed, RepeatVector, Masking, LayerNormalization."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from rondeau import Ragged, layers
from rondeau.errors import ArgumentError, ShapeError

X = torch.randn(3, 5, 4, generator=torch.Generator().manual_seed(1))
MASK = torch.tensor([[1, 1, 0, 1, 0], [0] * 5, [1] * 5]).bool()


def test_a_layer_for_each_step_is_keras(judge: Any) -> None:
    keras = judge.keras
    ours, theirs = judge.twins(
        layers.TimeDistributed(layers.Dense(2)), keras.layers.TimeDistributed(keras.layers.Dense(2)), (3, 5, 4)
    )
    judge.same(ours, theirs, [X])
    deep = torch.randn(2, 3, 6, 4)
    ours, theirs = judge.twins(
        layers.TimeDistributed(layers.LSTM(2)), keras.layers.TimeDistributed(keras.layers.LSTM(2)), (2, 3, 6, 4)
    )
    judge.same(ours, theirs, [deep])


def test_only_real_steps_reach_the_layer() -> None:
    seen: list[int] = []

    class Counting(torch.nn.Linear):
        def forward(self, x: Any) -> Any:
            seen.append(len(x))
            return super().forward(x)

    layer = layers.TimeDistributed(Counting(4, 2))
    y = layer(X, mask=MASK)
    assert seen == [8]
    assert torch.allclose(y[MASK], layer.layer(X[MASK]))
    assert not y[~MASK].any()
    r = layer(Ragged.compress(X, MASK))
    assert isinstance(r, Ragged)
    assert torch.equal(r.expand(zeros=True), y)
    inner = layers.TimeDistributed(layers.GRU(2))
    deep = torch.randn(3, 5, 6, 4)
    assert torch.allclose(inner(Ragged.compress(deep, MASK)).rows()[0][2], inner(deep)[0, 3], atol=1e-6)
    assert layer(Ragged.from_padded(X, [0, 0, 0])).values.shape == (0, 2)


def test_a_step_that_needs_features_of_its_own() -> None:
    layer = layers.TimeDistributed(layers.Dense(2))
    with pytest.raises(ShapeError, match=r"expected \(batch, time, ...\), got \(3, 4\)"):
        layer(X[:, 0])
    with pytest.raises(ArgumentError, match="expected a layer, got int"):
        layers.TimeDistributed(3)
    with pytest.raises(ShapeError, match=r"the mask does not fit the input: expected \(3, 5\), got \(3, 4\)"):
        layer(X, mask=MASK[:, :4])
    with pytest.raises(ArgumentError, match="a mask beside a Ragged"):
        layer(Ragged.compress(X, MASK), mask=MASK)


def test_repeating_is_keras(judge: Any) -> None:
    judge.same(layers.RepeatVector(3), judge.keras.layers.RepeatVector(3), [X[:, 0]])
    with pytest.raises(ShapeError, match=r"expected \(batch, features\), got \(3, 5, 4\)"):
        layers.RepeatVector(3)(X)
    with pytest.raises(ArgumentError, match="RepeatVector: n: expected a positive integer, got 0"):
        layers.RepeatVector(0)


def test_masking_drops_steps_that_are_all_one_value() -> None:
    x = X.clone()
    x[0, 1] = 0
    x[2] = 0
    x[1, 3, 0] = 0  # not the whole step
    r = layers.Masking()(x)
    assert r.lengths.tolist() == [4, 5, 0]
    assert torch.equal(r.expand(zeros=True), x)
    assert layers.Masking()(r) is r
    assert layers.Masking(0.5)(torch.full((1, 2, 3), 0.5)).lengths.tolist() == [0]
    with pytest.raises(ShapeError, match=r"expected \(batch, time, features\), got \(3, 4\)"):
        layers.Masking()(X[:, 0])


@pytest.mark.parametrize(
    "options", [{}, {"center": False}, {"scale": False}, {"epsilon": 0.1}, {"center": False, "scale": False}]
)
def test_normalisation_is_keras(judge: Any, options: dict[str, Any]) -> None:
    for shape in ((3, 4), (3, 5, 4)):
        ours, theirs = judge.twins(
            layers.LayerNormalization(**options), judge.keras.layers.LayerNormalization(**options), shape
        )
        judge.same(ours, theirs, [3 * torch.randn(shape) + 1])


def test_normalisation_is_over_the_last_axis() -> None:
    with pytest.raises(ArgumentError, match="LayerNormalization: axis: expected -1, the last one, got 1"):
        layers.LayerNormalization(axis=1)


def test_a_module_that_gives_more_than_a_tensor_is_named():
    layer = layers.TimeDistributed(torch.nn.GRU(3, 4, batch_first=True))
    with pytest.raises(ArgumentError, match="got tuple from GRU"):
        layer(torch.zeros(2, 4, 5, 3))
