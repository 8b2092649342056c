"""Problems of any length: their answers are right by another way of counting, and follow from the seed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from rondeau.data.made.synthetic import LEVELS, PROBLEMS, SYMBOLS, WORD, bracket_depth, copy_memory, running_sum
from rondeau.errors import ArgumentError


def test_what_was_said_at_the_start_is_said_at_the_end() -> None:
    for length in (9, 10, 57):
        p = copy_memory(20, length, seed=1)
        assert np.array_equal(p.x[:, :WORD], p.y[:, -WORD:])
        assert (p.x[:, -WORD - 1] == SYMBOLS + 1).all()
        assert not p.x[:, WORD : -WORD - 1].any()
        assert not p.x[:, -WORD:].any()
        assert not p.y[:, :-WORD].any()
        assert (p.counted.sum(1) == WORD).all()
        assert set(np.unique(p.y)) <= set(range(p.classes))
        assert p.x.max() == p.ids - 1


def test_brackets_are_balanced_and_counted() -> None:
    p = bracket_depth(50, 200, seed=1)
    assert np.array_equal(p.y, np.cumsum(1 - 2 * p.x, 1))
    assert (p.y.min(), p.y.max()) == (0, LEVELS)
    assert p.counted.all()


def test_sums() -> None:
    p = running_sum(4, 30, seed=1)
    assert [sum(row[: i + 1]) % 5 for row in p.x.tolist() for i in range(30)] == p.y.flatten().tolist()


@pytest.mark.parametrize("make", PROBLEMS.values())
def test_they_follow_from_the_seed_and_refuse_what_is_no_size(make: Any) -> None:
    one, same, other = (make(3, 40, seed=seed) for seed in (1, 1, 2))
    assert np.array_equal(one.x, same.x)
    assert not np.array_equal(one.x, other.x)
    for sizes in ((0, 40), (3, 0), (3, 4.5)):
        with pytest.raises(ArgumentError, match="a whole number"):
            make(*sizes)
