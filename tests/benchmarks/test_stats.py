from __future__ import annotations

import pytest

from benchmarks.stats import geometric_mean, median, spread


def test_medians_of_odd_and_even_numbers() -> None:
    assert median([5.0, 1.0, 9.0]) == 5.0
    assert median([5.0, 1.0, 9.0, 6.0]) == 5.5
    assert median([2.0]) == 2.0


def test_one_disturbed_round_moves_neither_median_nor_spread() -> None:
    quiet = [1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0]
    assert median([*quiet[1:], 50.0]) == 1.0
    assert spread([*quiet[1:], 50.0]) == 0.0
    assert spread([0.8, 0.8, 0.8, 1.0, 1.0, 1.0, 1.2, 1.2, 1.2]) == pytest.approx(0.2)


def test_twice_as_fast_and_half_as_fast_make_one() -> None:
    assert geometric_mean([2.0, 0.5]) == pytest.approx(1.0)
    assert geometric_mean([1.0, 8.0, 27.0]) == pytest.approx(6.0)
