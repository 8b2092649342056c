"""Events part by part: as if sorted in memory at once."""

from __future__ import annotations

from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rondeau.data.disk import mapped
from rondeau.data.tables import grouped
from rondeau.data.tables.event_sorter import EventSorter, sorted_events
from rondeau.data.tables.events import Coded, Events
from rondeau.errors import DataError


@given(rows=st.integers(1, 40), block=st.sampled_from([1, 3, 100]), parts=st.integers(1, 4), seed=st.integers(0, 5))
@settings(deadline=None, max_examples=40)
def test_parts_come_by_entity_and_time(rows: int, block: int, parts: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    entity, times = rng.integers(0, 5, rows), rng.integers(0, 6, rows).astype(float)
    shop, amount, label = rng.integers(0, 3, rows), rng.normal(size=rows), rng.integers(-1, 2, rows)
    with mock.patch.object(mapped, "BLOCK", block), mock.patch.object(grouped, "_BLOCK", block):
        sorter = EventSorter(tuple("abcde"), {"shop": ("x", "y", "z")}, ["amount"], True, tuple("ABCDE"))
        with sorter:
            for part in np.array_split(np.arange(rows), parts):
                features = {"shop": shop[part]}, {"amount": amount[part]}
                sorter.add(entity[part], times[part], *features, label[part], entity[part], part + 2)
        events = sorter.result
        order = np.lexsort((np.arange(rows), times, entity))
        present = np.unique(entity)
        assert events.entities == tuple("abcde"[i] for i in present)
        assert events.groups == tuple("ABCDE"[i] for i in present)
        np.testing.assert_array_equal(events.times, times[order])
        np.testing.assert_array_equal(events.categories["shop"].codes, shop[order])
        np.testing.assert_array_equal(events.numbers["amount"], amount[order].astype(np.float32))
        assert events.labels is not None
        np.testing.assert_array_equal(events.labels, label[order])
        np.testing.assert_array_equal(events.lines, order + 2)
        np.testing.assert_array_equal(present[events.owners], entity[order])
        same = np.diff(entity[order]) == 0
        counts = int((same & (np.diff(order) < 0)).sum()), int((same & (np.diff(times[order]) == 0)).sum())
        assert [int(note.split()[0]) for note in events.notes] == [count for count in counts if count]
        gaps = np.diff(times[order], prepend=0) * np.append(False, same)
        np.testing.assert_array_equal(events.gaps, gaps)
        np.testing.assert_array_equal(events.gaps_of(np.arange(rows)[::-1]), gaps[::-1])
        blocks = list(events.blocks())
        assert [first for first, _ in blocks] == [0, *(last for _, last in blocks[:-1])]
        assert blocks[-1][1] == len(present)
        joined = [events.part(*one) for one in blocks]
        assert [digest for part in joined for digest in part.digests()] == events.digests()
        np.testing.assert_array_equal(np.concatenate([part.gaps for part in joined]), gaps)


def made() -> Events:
    return sorted_events(Coded.of(["a", "b", "a"]), [1.0, 2.0, 0.0], {}, {"x": [1, 2, 3]})


def test_the_file_goes_with_the_events() -> None:
    events = made()
    path = events.kept.path
    assert path.is_dir()
    first = events.part(0, 1)
    del events
    assert not path.exists()
    assert first.numbers["x"].tolist() == [3, 1]


def test_an_error_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with pytest.raises(DataError, match="no events"), EventSorter(("a",), {}, []):
        pass
    with pytest.raises(DataError, match=r"has no time \(at event 1\)"), EventSorter(("a",), {}, []) as sorter:
        sorter.add([0, 0], [1.0, np.inf], {}, {})
    del sorter
    with pytest.raises(DataError, match=r"several groups.*entity 'a'"), EventSorter(("a",), {}, [], groups="xy") as one:
        one.add([0, 0], [1.0, 2.0], {}, {}, None, [0, 1])
    del one
    assert not list(tmp_path.iterdir())
