"""Windows: every step in one of them, after those its row makes before, and none with more than it should have."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rondeau.recurrence.cuts import Cuts


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(0, 9), max_size=9), st.booleans(), st.integers(1, 10), st.integers(1, 9))
def test_every_step_is_in_one_window(lengths: list[int], reverse: bool, every: int, most: int) -> None:
    cuts = Cuts(torch.tensor(lengths, dtype=torch.int64), reverse, every, torch.device("cpu"), most)
    order = sorted(range(len(lengths)), key=lambda i: -lengths[i])
    starts = [sum(lengths[:i]) for i in range(len(lengths))]
    made = [0] * len(lengths)
    seen: list[int] = []
    windows = list(cuts)
    assert [w.index.tolist() for w in reversed(cuts)] == [w.index.tolist() for w in windows[::-1]]
    for window in windows:
        assert 0 < len(window.index) <= most * every
        rows = order[window.here]
        offset = 0
        for k, (row, length) in enumerate(zip(rows, window.lengths.tolist(), strict=True)):
            assert made[row] == window.first
            steps = range(made[row], made[row] + length)
            places = [starts[row] + (lengths[row] - 1 - t if reverse else t) for t in steps]
            assert window.index[offset : offset + length].tolist() == sorted(places)
            assert int(window.index[window.last[k]]) == places[-1]
            made[row] += length
            assert (made[row] < lengths[row]) == (k < window.going)
            offset += length
        seen += window.index.tolist()
    assert made == lengths
    assert sorted(seen) == list(range(sum(lengths)))
    assert cuts.index.tolist() == seen if windows else not seen
    rows_of = torch.arange(len(lengths))
    assert cuts.sort(rows_of).tolist() == order
    assert cuts.unsort(cuts.sort(rows_of)).tolist() == rows_of.tolist()
    kept, count = cuts.boundaries()
    assert count == sum(w.rows for w in windows if w.first)
    assert len(kept) == sum(w.first > 0 for w in windows)
