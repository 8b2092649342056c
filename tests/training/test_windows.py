"""Windows of fixed and random length, and sources of rows that are read in them."""

from __future__ import annotations

from itertools import islice
from typing import Any

import numpy as np
import pytest
import torch

from rondeau import Ragged, RandomWindow
from rondeau.errors import ArgumentError, DataError
from rondeau.training.data import make_source
from rondeau.training.steps import cut_in_time, joined_in_time
from rondeau.training.windows import RowWindows, Window, as_window

ROWS = [list(range(10 * i, 10 * i + n)) for i, n in enumerate((3, 7, 0, 5))]


def source(window: Any = 2, **options: Any) -> RowWindows:
    made = make_source(ROWS, ROWS, window=window, **{"batch_size": 2, **options})
    assert isinstance(made, RowWindows)
    return made


@pytest.mark.parametrize("shuffle", [False, True])
def test_every_step_comes_once_and_rows_continue(shuffle: bool) -> None:
    made = source(shuffle=shuffle)
    rows: list[list[int]] = []
    for batch in made.batches(1, 0, 5):
        if batch.begins:
            rows += [[] for _ in range(len(batch.x))]
        for row, x, y in zip(rows[-len(batch.x) :], batch.x.rows(), batch.y.rows(), strict=True):
            assert torch.equal(x, y)
            row += x.tolist()
    assert sorted(rows) == sorted(ROWS)
    assert (rows == ROWS) != shuffle


def test_batches_go_on_from_any_place() -> None:
    for window in (2, RandomWindow(3, std=1.0)):
        made = source(window, shuffle=True)
        whole = list(made.batches(2, 0, 7))
        for start in range(len(whole) + 1):
            rest = list(made.batches(2, start, 7))
            assert [(b.begins, b.rate, b.x.values.tolist()) for b in rest] == [
                (b.begins, b.rate, b.x.values.tolist()) for b in whole[start:]
            ]


def test_how_many_there_are_is_known_where_it_can_be() -> None:
    assert len(source()) == source().count() == len(list(source().batches(0, 0, 0))) == 4 + 3
    assert source(shuffle=True).count() is None
    assert source(RandomWindow(3)).count() is None
    assert source(shuffle=True, batch_size=9).count() == 4


def test_random_lengths_are_as_the_paper_says() -> None:
    """20,000 draws: means and shares within five standard errors."""
    drawn = np.array(list(islice(RandomWindow(70, std=5.0).sizes(3), 20_000)))
    half = drawn < 52
    assert half.mean() == pytest.approx(0.05, abs=5 * np.sqrt(0.05 * 0.95 / 20_000))
    assert drawn[~half].mean() == pytest.approx(70, abs=5 * 5 / np.sqrt(19_000))
    assert drawn[half].mean() == pytest.approx(35, abs=5 * 5 / np.sqrt(1_000))
    assert drawn[~half].std() == pytest.approx(5, rel=0.05)
    assert min(islice(RandomWindow(6, std=20.0).sizes(0), 500)) == 5
    assert set(islice(RandomWindow(3, std=0.0, full=1.0).sizes(0), 50)) == {3}
    assert RandomWindow(70).rate(35) == 0.5
    assert list(islice(RandomWindow(70).sizes(1), 9)) == list(islice(RandomWindow(70).sizes(1), 9))


@pytest.mark.parametrize(
    "given", [{"steps": 0}, {"steps": 2.5}, {"std": -1}, {"std": "5"}, {"full": 1.5}, {"full": True}, {"least": 0}]
)
def test_random_windows_are_checked(given: dict[str, Any]) -> None:
    with pytest.raises(ArgumentError, match="RandomWindow: "):
        RandomWindow(**{"steps": 70, **given})


def test_windows_are_values() -> None:
    assert as_window(5) == Window(5) != Window(6)
    assert as_window(RandomWindow(5)) == RandomWindow(5)
    assert RandomWindow(5).fixed == Window(5)


@pytest.mark.parametrize(
    ("x", "y", "weight", "message"),
    [
        (np.zeros(5), np.zeros(5), None, "x has no steps"),
        (np.zeros((5, 4)), np.zeros((4, 4)), None, "another number of rows"),
        (np.zeros((5, 4)), np.zeros((5, 3)), None, "y has not as many steps as x.*expected 4, got 3"),
        (ROWS, [row[:-1] for row in ROWS], None, r"y has not .* \(at row 0\): expected 3, got 2"),
        (ROWS, np.zeros((4, 6)), None, r"y has not .* \(at row 1\): expected 7, got 6"),
        (np.zeros((5, 4)), np.zeros((5, 4)), np.zeros((5, 3)), "sample_weight has not as many steps"),
        ((np.zeros((5, 4)), np.zeros((5, 3))), None, None, "an input has not as many steps"),
        (np.zeros((0, 4)), None, None, "there is no data"),
    ],
)
def test_data_that_do_not_fit(x: Any, y: Any, weight: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        make_source(x, y, weight, window=2)


def test_padded_targets_beside_ragged_rows() -> None:
    padded = np.arange(4 * 9).reshape(4, 9)
    for batch in make_source(ROWS, padded, window=2, batch_size=2).batches(0, 0, 0):
        assert torch.equal(batch.y.lengths, batch.x.lengths)
        assert torch.equal(batch.y.values % 9, batch.x.values % 10)


def test_rows_of_several_types_keep_one() -> None:
    made = make_source([[1, 2], [0.5, 1.5, 2.5]], window=2)
    assert {batch.x.dtype for batch in made.batches(0, 0, 0)} == {torch.float32}


def test_cut_and_joined_again() -> None:
    r = Ragged.from_rows(ROWS)
    parts = [cut_in_time(r, b, e) for b, e in ((0, 1), (1, 1), (1, 6), (6, 99))]
    again = joined_in_time(parts)
    assert torch.equal(again.values, r.values)
    assert torch.equal(again.lengths, r.lengths)
