"""A text as windows: every token is a target once, and each row goes on where it ended."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from rondeau.data.texts.windows import Contexts, TextWindows
from rondeau.errors import DataError
from rondeau.sequence import Ragged


def _streams(source: TextWindows, start: int = 0) -> tuple[list[list[int]], list[list[int]]]:
    xs: list[list[int]] = [[] for _ in range(source.rows)]
    ys: list[list[int]] = [[] for _ in range(source.rows)]
    for batch in source.batches(0, start, 0):
        x, y = (part.rows() if isinstance(part, Ragged) else list(part) for part in (batch.x, batch.y))
        for row in range(source.rows):
            xs[row] += x[row].tolist()
            ys[row] += y[row].tolist()
    return xs, ys


@pytest.mark.parametrize(
    ("tokens", "rows", "window"), [(101, 4, 10), (103, 4, 10), (100, 3, 7), (6, 5, 1), (50, 1, 64)]
)
def test_every_token_but_the_first_is_a_target_once(tokens: int, rows: int, window: int) -> None:
    ids = np.arange(tokens)
    source = TextWindows(ids, rows, window)
    xs, ys = _streams(source)
    assert sorted(token for y in ys for token in y) == list(range(1, tokens))
    for x, y in zip(xs, ys, strict=True):
        assert y == [token + 1 for token in x]  # the next token, in an unbroken line
        assert x == list(range(x[0], x[0] + len(x)))
    assert sum(1 for _ in source.batches(0, 0, 0)) == len(source)


def test_windows_are_no_longer_than_asked_and_go_on_from_any_place() -> None:
    source = TextWindows(np.arange(200), 3, 8)
    whole = [batch.x for batch in source.batches(0, 0, 0)]
    rest = [batch.x for batch in source.batches(0, 5, 0)]
    assert all(x.shape[1] == 8 for x in whole[:-1])
    for a, b in zip(whole[5:], rest, strict=True):
        same = a.values if isinstance(a, Ragged) else a
        assert torch.equal(same, b.values if isinstance(b, Ragged) else b)


def test_a_text_without_a_window_for_every_row_is_refused() -> None:
    with pytest.raises(DataError, match="expected at least"):
        TextWindows(np.arange(8), 8, 4, "the training text")


def test_contexts_hold_what_came_before_each_token() -> None:
    source = Contexts(np.arange(1, 11), 4, 3, shuffle=False, padding=0)
    rows = [(x.tolist(), int(y)) for batch in source.batches(0, 0, 0) for x, y in zip(batch.x, batch.y, strict=True)]
    assert [y for _, y in rows] == list(range(2, 11))
    assert rows[0] == ([0, 0, 0, 1], 2)
    assert rows[-1] == ([6, 7, 8, 9], 10)
    assert len(source) == 3


def test_contexts_are_shuffled_by_epoch_and_seed_alone() -> None:
    source = Contexts(np.arange(50), 2, 7)

    def order(epoch: int, seed: int) -> list[int]:
        return torch.cat([batch.y for batch in source.batches(epoch, 0, seed)]).tolist()

    assert order(1, 3) == order(1, 3)
    assert order(1, 3) != order(2, 3)
    assert order(1, 3) != order(1, 4)
    assert sorted(order(1, 3)) == list(range(1, 50))
