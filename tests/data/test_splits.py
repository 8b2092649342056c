from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rondeau.data.splits import cuts_in_time, shared, split_in_time, split_rows
from rondeau.errors import ArgumentError, DataError


@given(
    keys=st.lists(st.integers(0, 30), min_size=40, max_size=120).filter(lambda keys: len(set(keys)) > 5),
    validation=st.floats(0.05, 0.3),
    test=st.floats(0.05, 0.3),
    seed=st.integers(0, 5),
)
def test_every_row_is_in_one_part_and_no_key_in_two(keys: list[int], validation: float, test: float, seed: int) -> None:
    parts = split_rows(keys, validation, test, seed)
    assert sorted(np.concatenate(parts).tolist()) == list(range(len(keys)))
    inside = [{keys[row] for row in part} for part in parts]
    assert not inside[0] & inside[1]
    assert not inside[0] & inside[2]
    assert not inside[1] & inside[2]
    assert all(len(part) for part in parts)


def test_shares_are_met_and_the_draw_is_the_keys_own() -> None:
    keys = [f"document {i}" for i in range(1000)]
    parts = split_rows(keys, 0.1, 0.2)
    assert [len(part) for part in parts] == [700, 100, 200]
    again = split_rows(keys[::-1], 0.1, 0.2)
    assert {keys[row] for row in parts.test} == {keys[::-1][row] for row in again.test}
    assert {keys[row] for row in parts.test} != {keys[row] for row in split_rows(keys, 0.1, 0.2, seed=1).test}


def test_the_draw_is_the_same_on_every_machine() -> None:
    """Written down once: a hash that changed would divide the data of every run that is resumed anew."""
    assert split_rows(range(20), 0.1, 0.2).test.tolist() == [7, 10, 14, 15]


def test_classes_keep_their_shares() -> None:
    labels = ["rare"] * 30 + ["common"] * 970
    parts = split_rows(range(1000), 0.1, 0.1, labels=labels)
    assert [Counter(labels[row] for row in part)["rare"] for part in parts] == [24, 3, 3]


def test_two_keys_cannot_make_three_parts() -> None:
    with pytest.raises(DataError, match="too few different records"):
        split_rows("aabb")
    with pytest.raises(ArgumentError, match="leave nothing to train on"):
        split_rows("abcdef", 0.5, 0.5)


def test_a_share_smaller_than_any_key_gets_the_smallest() -> None:
    parts = split_rows("a" * 50 + "b" * 40 + "c" * 5 + "d" * 6, 0.01, 0.01)
    assert sorted(len(part) for part in parts[1:]) == [5, 6]


def test_the_last_moments_are_the_test_and_one_moment_is_in_one_part() -> None:
    order = [0, 1, 2, 3, 4, 4, 4, 5, 6, 7]
    parts = split_in_time(order, 0.2, 0.3)
    moments = [{order[row] for row in part} for part in parts]
    assert max(moments[0]) < min(moments[1]) <= max(moments[1]) < min(moments[2])
    assert parts.test.tolist() == [7, 8, 9]
    with pytest.raises(DataError, match="too few moments"):
        split_in_time([1, 1, 1, 1])


def test_what_is_in_two_parts_is_named() -> None:
    assert shared(["a", "b", "c"], ["d", "c", "b", "c"]) == ["c", "b"]


@given(
    moments=st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=3, max_size=40),
    validation=st.sampled_from([0.0, 0.2, 0.4]),
    test=st.sampled_from([0.0, 0.1, 0.5]),
)
def test_cuts_are_those_of_the_sorted_moments(moments: list[float], validation: float, test: float) -> None:
    parts = np.array_split(np.array(moments), 3)
    rising = [*sorted(moments), np.inf]
    places = [round(len(moments) * (1 - validation - test)), round(len(moments) * (1 - test))]
    wanted = tuple(rising[min(place, len(moments))] for place in places)
    try:
        assert cuts_in_time(lambda: parts, validation, test) == wanted
    except DataError:  # one of the parts would be empty
        sizes = np.bincount(np.searchsorted(wanted, moments, "right"), minlength=3)
        assert (sizes == 0).any()
