"""Rows by key and time, and documents as ids: as if done in memory at once."""

from __future__ import annotations

import logging
from collections import Counter
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rondeau.data.tables import grouped as module
from rondeau.data.tables.grouped import Grouper
from rondeau.data.texts.counting import count_tokens, pack_tokens
from rondeau.data.texts.vocabulary import Vocabulary
from rondeau.errors import DataError, ShapeError


@given(
    keys=st.lists(st.integers(0, 6), max_size=60),
    block=st.sampled_from([1, 4, 100]),
    parts=st.integers(1, 4),
    ordered=st.booleans(),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_rows_come_by_key_and_time(tmp_path: Path, keys: list[int], block: int, parts: int, ordered: bool) -> None:
    rng = np.random.default_rng(len(keys))
    times = rng.integers(0, 9, len(keys))
    times = np.sort(times) if ordered else times
    values = rng.normal(size=(len(keys), 2)).astype(np.float32)
    with mock.patch.object(module, "_BLOCK", block), Grouper(tmp_path / "rows", 2) as grouper:
        for part in np.array_split(np.arange(len(keys)), parts):
            grouper.add(np.array(keys, int)[part], times[part], values[part])
    found = grouper.result
    assert len(found.values) == len(found.times) == max(keys, default=-1) + 1
    for key in range(len(found.values)):
        own = np.flatnonzero(np.array(keys) == key)
        own = own[np.argsort(times[own], kind="stable")]
        np.testing.assert_array_equal(found.values[key], values[own])
        np.testing.assert_array_equal(found.times[key], times[own])
    assert sorted(path.name for path in (tmp_path / "rows").iterdir()) == ["times", "values"]


def test_what_does_not_fit_is_named_and_leaves_nothing(tmp_path: Path) -> None:
    for keys, times, values, error, message in (
        ([0], [1], [[1.0, 2.0]], ShapeError, "rows to group"),
        ([0], [1, 2], [[1.0]], ShapeError, "rows to group"),
        ([-1], [1], [[1.0]], DataError, "whole numbers from 0 on"),
        ([0.5], [1], [[1.0]], DataError, "whole numbers from 0 on"),
        ([0, 0], [1.0, np.nan], [[1.0], [2.0]], DataError, r"a time is missing \(at row 1\)"),
    ):
        with pytest.raises(error, match=message), Grouper(tmp_path / "rows", 1) as grouper:
            grouper.add(keys, times, values)
    assert list(tmp_path.iterdir()) == []


WORDS = [["a", "b", "a"], [], ["c"], ["a", "zz"]]


def test_documents_become_rows_of_ids(tmp_path: Path) -> None:
    counts = count_tokens(iter(WORDS))
    assert counts == Counter({"a": 3, "b": 1, "c": 1, "zz": 1})
    words = Vocabulary.from_counts(counts, size=4)
    with mock.patch("rondeau.data.texts.counting._AT_ONCE", 3):
        rows = pack_tokens(iter(WORDS), words, tmp_path / "rows", about={"of": "words"})
    assert [row.tolist() for row in rows] == [words.encode(row).tolist() for row in WORDS]
    assert rows.dtype == np.uint8
    assert rows.about == {"of": "words"}


def test_counting_forgets_the_rarest_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    documents = [["often", f"rare {i}"] for i in range(1000)]
    with caplog.at_level(logging.WARNING):
        counts = count_tokens(documents, most=100)
    assert len(counts) <= 100
    missed = int(caplog.text.split()[-1])
    assert 1000 - missed <= counts["often"] <= 1000
