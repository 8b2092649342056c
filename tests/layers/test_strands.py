"""The other strand as a layer."""

from __future__ import annotations

import pytest
import torch

from rondeau import Ragged, layers
from rondeau.errors import ArgumentError, DataError


def test_each_row_is_turned_alone() -> None:
    layer = layers.ReverseComplement(ids=[3, 2, 1, 0])
    given = Ragged.from_rows([[0, 0, 1], [2]])
    assert [row.tolist() for row in layer(given).rows()] == [[2, 3, 3], [1]]
    assert [row.tolist() for row in layer(layer(given)).rows()] == [[0, 0, 1], [2]]


def test_features_change_places() -> None:
    layer = layers.ReverseComplement(features=[0, 2, 1])
    assert layer(torch.tensor([[[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]])).tolist() == [[[4.0, 6.0, 5.0], [1.0, 3.0, 2.0]]]
    assert layers.ReverseComplement()(torch.tensor([[1.0, 2.0]])).tolist() == [[2.0, 1.0]]


def test_what_is_no_exchange_is_refused() -> None:
    with pytest.raises(ArgumentError, match="each of 0 to 2 once"):
        layers.ReverseComplement(ids=[0, 0, 1])
    with pytest.raises(ArgumentError, match="ids or features"):
        layers.ReverseComplement(ids=[0], features=[0])
    with pytest.raises(DataError, match="no complement"):
        layers.ReverseComplement(ids=[1, 0])(torch.tensor([[0, 2]]))
