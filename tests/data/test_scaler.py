"""Scalers: one pass over parts gives what all of it at once gives, missing numbers aside."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rondeau.data.scaler import Scaler
from rondeau.errors import CheckpointError, DataError, NotBuiltError, ShapeError

EPS = np.finfo(np.float64).eps


@given(sizes=st.lists(st.integers(0, 30), min_size=1, max_size=6), shift=st.sampled_from([0.0, 1e6]))
def test_parts_give_what_the_whole_gives(sizes: list[int], shift: float) -> None:
    rng = np.random.default_rng(sum(sizes))
    rows = rng.normal(size=(sum(sizes) + 2, 3)) * [1, 10, 0.1] + shift
    parts = np.split(rows, np.cumsum(sizes))
    scaler = Scaler.fit(parts)
    np.testing.assert_allclose(scaler.mean, rows.mean(0), rtol=0, atol=16 * EPS * (shift + 10))
    # the variance of rounded numbers is uncertain by their spacing, eps * shift, against their spread of 0.1 at least
    np.testing.assert_allclose(scaler.deviation, rows.std(0), rtol=64 * EPS * (1 + shift / 0.1))
    scaled = scaler.transform(rows)
    assert scaled.dtype == np.float32
    assert abs(scaled.mean()) < 1e-3
    back = scaler.inverse(scaled)
    np.testing.assert_allclose(back, rows, rtol=0, atol=8 * np.finfo(np.float32).eps * np.abs(scaled).max() * 10 + 1e-9)


def test_missing_numbers_have_no_say_and_stay_missing() -> None:
    scaler = Scaler().update([[1.0, np.nan], [3.0, np.nan]]).update([[np.nan, 4.0]])
    assert scaler.count.tolist() == [2, 1]
    assert scaler.mean.tolist() == [2, 4]
    assert scaler.deviation.tolist() == [1, 1]
    assert np.isnan(scaler.transform([[np.nan, 4.0]])).tolist() == [[True, False]]


def test_a_column_of_equal_numbers_is_only_shifted() -> None:
    scaler = Scaler.fit([np.full((n, 1), 0.1) for n in (3, 5, 1000)])
    assert scaler.deviation.tolist() == [1]
    assert abs(scaler.transform([[0.1]]).item()) < 1e-12


def test_one_column_may_come_as_a_row() -> None:
    scaler = Scaler().update([1.0, 2.0, 3.0])
    assert scaler.transform([2.0, 3.0]).shape == (2,)


def test_it_is_written_and_made_again() -> None:
    scaler = Scaler().update([[1.0, 7.0], [2.5, 9.0]])
    again = Scaler.from_json(scaler.to_json())
    assert (again.mean.tolist(), again.deviation.tolist()) == (scaler.mean.tolist(), scaler.deviation.tolist())
    for damaged in ({}, {**scaler.to_json(), "mean": [1.0]}, {**scaler.to_json(), "count": "many"}):
        with pytest.raises(CheckpointError, match="a scaler is damaged"):
            Scaler.from_json(damaged)


def test_what_cannot_be_scaled_is_named() -> None:
    with pytest.raises(DataError, match=r"infinite \(at row 1, column 0\)"):
        Scaler().update([[1.0], [np.inf]])
    with pytest.raises(ShapeError, match="numbers to scale"):
        Scaler().update([[1.0]]).update([[1.0, 2.0]])
    with pytest.raises(NotBuiltError, match="not seen any numbers"):
        Scaler().transform([1.0])
    with pytest.raises(DataError, match="no numbers to learn"):
        Scaler.fit([])
