from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from rondeau import Ragged, layers
from rondeau.errors import ArgumentError, DataError, ShapeError

IDS = torch.tensor([[1, 2, 3, 0, 0], [4, 0, 5, 0, 6], [0, 0, 0, 0, 0], [0, 0, 7, 8, 9]])


def test_rows_of_the_table(judge: Any) -> None:
    ours, theirs = judge.twins(layers.Embedding(10, 3), judge.keras.layers.Embedding(10, 3), (4, 5))
    judge.same(ours, theirs, [IDS])
    judge.same(ours, theirs, [IDS[0]])
    judge.same(ours, theirs, [IDS[None]])
    assert torch.equal(ours(IDS.to(torch.int16)), ours(IDS))
    assert torch.equal(ours(IDS.float()), ours(IDS))
    assert torch.equal(ours(np.asarray(IDS, np.float64)), ours(IDS))


def test_the_table_is_there_at_once() -> None:
    layer = layers.Embedding(10, 3, embeddings_initializer="ones", embeddings_regularizer="l1")
    assert layer.built
    assert layer.count_params() == 30
    assert sum(layer.losses).item() == pytest.approx(0.3)  # type: ignore[union-attr]
    assert float(layers.Embedding(1000, 3).embeddings.abs().max().detach()) <= 0.05


def test_zero_is_no_step() -> None:
    layer = layers.Embedding(10, 3, mask_zero=True)
    y = layer(IDS)
    assert isinstance(y, Ragged)
    assert y.lengths.tolist() == [3, 3, 0, 3]
    assert torch.equal(y.values, layer.embeddings[[1, 2, 3, 4, 5, 6, 7, 8, 9]])
    assert y.mask is not None
    assert torch.equal(y.mask, IDS != 0)
    zeros = Ragged.from_rows([[0, 1], [0]])
    assert layer(zeros).lengths.tolist() == [2, 1]  # in a Ragged every step is real


@pytest.mark.parametrize("go_backwards", [False, True])
@pytest.mark.parametrize("depth", [1, 2])
def test_masks_reach_the_layers_behind(judge: Any, go_backwards: bool, depth: int) -> None:
    keras = judge.keras

    def made(one: Any) -> list[Any]:
        deep = [one.LSTM(3, return_sequences=True), one.Dense(3, activation="tanh")] if depth == 2 else []
        return [
            one.Embedding(10, 4, mask_zero=True),
            *deep,
            one.Bidirectional(one.GRU(3, return_sequences=True), merge_mode="sum"),
            one.LSTM(2, go_backwards=go_backwards),
        ]

    ours, theirs = made(layers), keras.Sequential(made(keras.layers))
    x: Any = IDS
    for layer in ours:
        x = layer(x)
    theirs.build((4, 5))
    for own, other in zip(ours, theirs.layers, strict=True):
        own.set_weights([weight.value for weight in other.weights])
    x = IDS
    for layer in ours:
        x = layer(x)
    assert torch.allclose(x, theirs(IDS), rtol=0, atol=1e-5)


def test_masking_reaches_the_layer_behind(judge: Any) -> None:
    keras = judge.keras
    ours, theirs = judge.twins(layers.GRU(3), keras.layers.GRU(3), (4, 5, 2))
    x = torch.randn(4, 5, 2)
    x[IDS == 0] = -1.0
    want = keras.Sequential([keras.layers.Masking(-1.0), theirs])(x)
    assert torch.allclose(ours(layers.Masking(-1.0)(x)), want, rtol=0, atol=1e-5)


@pytest.mark.parametrize("mask_zero", [False, True])
@pytest.mark.parametrize(
    ("ids", "token", "place"),
    [
        (torch.tensor([[1, 0, 2], [0, 10, 3]]), 10, (1, 1)),
        (torch.tensor([[1, 0, 2], [0, -1, 3]]), -1, (1, 1)),
        (torch.tensor([[1.0, 0, 12.0], [0, 0, 3]]), 12, (0, 2)),
        (Ragged.from_rows([[1, 2], [], [3, 4, 11]]), 11, (2, 2)),
    ],
)
def test_an_id_outside_the_table_is_named_with_its_place(ids: Any, token: int, place: Any, mask_zero: bool) -> None:
    layer = layers.Embedding(10, 3, mask_zero=mask_zero, name="words")
    with pytest.raises(DataError) as caught:
        layer(ids)
    error = caught.value
    assert error.what == f"layer words: token id {token} is outside the table"
    assert error.where == f"position {place} of the batch"
    assert error.expected == "0 to 9 (input_dim=10)"
    assert error.fix is not None


def test_ids_that_are_none() -> None:
    layer = layers.Embedding(10, 3)
    with pytest.raises(
        DataError, match=r"no whole number \(at position \(0, 1\) of the batch\): expected integers, got 1.5"
    ):
        layer(torch.tensor([[1.0, 1.5]]))
    with pytest.raises(DataError, match=r"position \(1, 0\) of the batch\): expected integers, got nan"):
        layer(Ragged.from_rows([[1.0], [float("nan")]]))
    with pytest.raises(ShapeError, match=r"with mask_zero, ids: expected \(batch, time\), got \(2,\)"):
        layers.Embedding(10, 3, mask_zero=True)(torch.tensor([1, 2]))
    assert layer(torch.zeros(2, 0, dtype=torch.int64)).shape == (2, 0, 3)
    for options in ({"input_dim": 0}, {"output_dim": -1}):
        with pytest.raises(ArgumentError, match=f"Embedding: {next(iter(options))}: expected a positive integer"):
            layers.Embedding(**{"input_dim": 5, "output_dim": 5, **options})
    with pytest.raises(ArgumentError, match="input_length has no meaning here: the time axis may have any length"):
        layers.Embedding(5, 5, input_length=10)
