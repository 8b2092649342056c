"""Records in a file without a name."""

from __future__ import annotations

import gc

import pytest

from rondeau.data.disk.stored import Stored
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
