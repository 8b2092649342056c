from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from rondeau.errors import ArgumentError
from rondeau.tasks.bootstrap import block_interval, intervals


def test_it_holds_the_true_mean_as_often_as_it_says() -> None:
    generator = np.random.default_rng(1)
    inside = 0
    for trial in range(200):
        values = generator.normal(3.0, 1.0, 80)
        low, high = intervals(lambda rows, v=values: {"mean": v[rows].mean()}, 80, draws=300, seed=trial)["mean"]
        inside += low <= 3.0 <= high
    assert 175 <= inside <= 200  # 190 expected; binomial, five standard deviations


def test_rows_of_a_group_are_drawn_together() -> None:
    """Ten equal rows of each of ten groups say no more than ten rows do."""
    values = np.repeat(np.random.default_rng(0).normal(size=10), 10)
    groups = np.repeat(np.arange(10), 10)

    def width(**options: Any) -> float:
        low, high = intervals(lambda rows: {"mean": values[rows].mean()}, 100, **options)["mean"]
        return high - low

    assert width(groups=groups) > 2 * width()


def test_a_figure_that_some_draws_lack_is_of_the_others() -> None:
    values = np.array([1.0] + [0.0] * 9)

    def statistic(rows: Any) -> dict[str, float]:
        return {"share": values[rows].mean(), "never": math.nan, **({"some": 1.0} if values[rows].any() else {})}

    found = intervals(statistic, 10)
    assert found["some"] == (1.0, 1.0)
    assert "never" not in found


def test_seeds_repeat_and_mistakes_are_named() -> None:
    values = np.arange(30.0)
    statistic = lambda rows: {"mean": values[rows].mean()}  # noqa: E731
    assert intervals(statistic, 30, seed=4) == intervals(statistic, 30, seed=4) != intervals(statistic, 30, seed=5)
    with pytest.raises(ArgumentError, match="level between 0 and 1"):
        intervals(statistic, 30, level=95)
    with pytest.raises(ArgumentError, match="0 rows"):
        intervals(statistic, 0)


def test_stretches_hold_the_mean_of_what_depends_on_its_past_where_single_values_do_not() -> None:
    """An autoregression of 0.9 has a mean that varies 19 times as much as that of as many free values."""
    series = np.random.default_rng(2).normal(size=(4000, 120))
    for i in range(1, 4000):
        series[i] += 0.9 * series[i - 1]
    inside = {1: 0, 100: 0}
    for trial in range(120):
        for block in inside:
            low, high = block_interval(series[:, trial], block, draws=200, seed=trial)
            inside[block] += low <= 0 <= high
    assert inside[100] >= 101  # 114 expected of 95 %; a little less, as a stretch is not endless
    assert inside[1] < 60  # about a third


def test_the_same_stretches_are_drawn_of_series_of_one_length() -> None:
    values = np.random.default_rng(0).normal(size=500)
    low, high = block_interval(values, 20, seed=3)
    again = block_interval(values + 5, 20, seed=3)
    assert again == pytest.approx((low + 5, high + 5), abs=1e-12)
    assert block_interval(values, 20, seed=4) != (low, high)


def test_stretches_of_one_value_are_the_plain_bootstrap_and_short_series_have_shorter_ones() -> None:
    values = np.random.default_rng(0).normal(size=2000)
    plain = intervals(lambda rows: {"mean": values[rows].mean()}, 2000)["mean"]
    assert block_interval(values, 1) == pytest.approx(plain, abs=0.1 * (plain[1] - plain[0]))
    few = values[:40]
    assert block_interval(few, 1000) == block_interval(few, 4)
    assert block_interval(few[:1], 1000) == (few[0], few[0])
    with pytest.raises(ArgumentError, match="0 values"):
        block_interval(values[:0], 10)
    with pytest.raises(ArgumentError, match="a block of 1 or more"):
        block_interval(values, 0)


def test_groups_as_numbers_are_drawn_like_groups_by_name() -> None:
    groups = np.array([7, 7, 2, 9, 2, 7, 9, 9])
    values = np.arange(8.0)

    def mean(rows: Any) -> dict[str, float]:
        return {"mean": values[rows].mean()}

    assert intervals(mean, 8, groups, draws=50) == intervals(mean, 8, groups.tolist(), draws=50)
