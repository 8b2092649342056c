"""How rows are shared out."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rondeau.recurrence.rows import BLOCK, deal


@given(st.lists(st.integers(0, 40), max_size=70), st.booleans(), st.integers(1, 5), st.integers(16, 64))
def test_every_row_is_in_one_part_and_long_ones_come_first(
    lengths: list[int], reverse: bool, parts: int, limit: int
) -> None:
    dealt = deal(torch.tensor(lengths, dtype=torch.int64), reverse, parts, limit)
    starts, tokens, sizes, rows = np.split(dealt.table, dealt.places)
    assert len(starts) == dealt.parts + 1
    assert dealt.parts % dealt.shares == 0
    assert starts[0] == 0
    assert starts[-1] == len(lengths)
    assert (np.diff(starts) >= 0).all()
    assert dealt.most == np.diff(starts).max() <= max(limit, BLOCK)
    assert sorted(rows.tolist()) == list(range(len(lengths)))
    assert sizes.tolist() == sorted(lengths, reverse=True)
    begin = np.cumsum([0, *lengths])
    expected = [begin[r + 1] - 1 if reverse else begin[r] for r in rows]
    assert tokens.tolist() == expected
    assert dealt.tokens == sum(lengths)


@pytest.mark.parametrize("parts", [2, 3, 4])
def test_parts_have_about_the_same_work(parts: int) -> None:
    generator = torch.Generator().manual_seed(0)
    lengths = torch.randint(1, 60, (200,), generator=generator)
    dealt = deal(lengths, False, parts, 1000)
    starts, _, sizes, _ = np.split(dealt.table, dealt.places)
    steps = [int(sizes[a:b].sum()) for a, b in itertools.pairwise(starts)]
    assert dealt.parts == parts
    assert max(steps) < 1.2 * sum(steps) / parts
