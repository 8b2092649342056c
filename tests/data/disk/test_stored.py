"""Records in a file without a name."""

from __future__ import annotations

import gc

import numpy as np
import pytest
import torch

from rondeau.data.disk import mapped
from rondeau.data.disk.rows_of_ids import StoredIds
from rondeau.data.disk.stored import Stored, Words
from rondeau.errors import StateError


def test_records_by_number() -> None:
    given = [bytes([i % 256]) * (i % 7) for i in range(1000)]
    records = Stored(given)
    assert len(records) == 1000
    assert list(records) == given
    assert records[-1] == given[-1]
    assert records[10:20:3] == given[10:20:3]
    assert records.sizes.tolist() == list(map(len, given))
    for number in (1000, -1001):
        with pytest.raises(IndexError, match=f"record {number} of 1000"):
            records[number]


def test_nothing_is_added_once_it_is_read() -> None:
    records = Stored([b"a"])
    records.add(b"b")
    assert records[1] == b"b"
    with pytest.raises(StateError, match="Add all of them first"):
        records.add(b"c")


def test_none_and_empty_ones() -> None:
    assert list(Stored()) == []
    assert list(Stored([b"", b""])) == [b"", b""]
    gc.collect()  # an open file would warn


def test_words_take_four_bytes_each_and_come_back() -> None:
    words = Words()
    given = ["b", None, "a", "b", "b"]
    for word in given:
        words.append(word)
    assert list(words) == given
    assert (words[1], words[-1], words[1:3]) == (None, "b", [None, "a"])
    assert (len(words), words.codes.tolist(), words.codes.dtype) == (5, [0, 1, 2, 0, 0], np.int32)
    assert words.counts() == {"b": 3, None: 1, "a": 1}


def test_records_are_read_again_after_their_pages_were_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mapped, "_HELD", 1)
    records = Stored(bytes([i]) * 5000 for i in range(100))
    assert all(records[i] == bytes([i]) * 5000 for i in (*range(100), *range(99, -1, -1)))


def test_rows_of_ids_are_those_that_were_given() -> None:
    given = [np.array([5, 6, 7]), np.zeros(0, np.int64), np.array([2**31 - 1])]
    ids = StoredIds(given)
    assert (len(ids), ids.lengths.tolist()) == (3, [3, 0, 1])
    assert [row.tolist() for row in ids] == [row.tolist() for row in given] == [row.tolist() for row in ids[:]]
    batch = ids.batch([2, 0, 1])
    assert (batch.values.tolist(), batch.lengths.tolist()) == ([2**31 - 1, 5, 6, 7], [1, 3, 0])
    assert batch.values.dtype == torch.int64
