"""Columns as numbers of their words, in parts as at once."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("pandas")

from rondeau.data.disk import mapped
from rondeau.data.tables.coding import MISSING, Coder, distinct, parts_of
from rondeau.data.tables.kinds import STAMPS, Kind
from rondeau.data.tables.table import Column

COLUMNS = {
    "number": [3.0, np.nan, -0.0, 0.0, 1e300, 3.0, np.nan, 2.5],
    "time": np.array(["2024-01-02", "NaT", "2024-01-01", "2024-01-02", "NaT", "1969-12-31", "NaT", "NaT"], STAMPS),
}


def column(kind: Kind, values: object, labels: tuple[str, ...] = ()) -> Column:
    return Column("x", kind, "", np.asarray(values), labels)


@pytest.mark.parametrize("kind", ["number", "time"])
@pytest.mark.parametrize("block", [1, 3, 100])
def test_in_parts_as_at_once(monkeypatch: pytest.MonkeyPatch, kind: Kind, block: int) -> None:
    monkeypatch.setattr(mapped, "BLOCK", block)
    one = column(kind, COLUMNS[kind])
    values, first, codes = np.unique(one.values, return_index=True, return_inverse=True)
    found = distinct(parts_of([one]))
    np.testing.assert_array_equal(found.values, values)
    assert found.rows.tolist() == first.tolist()
    coder = Coder(one)
    assert coder.codes(one.values).tolist() == codes.reshape(-1).tolist()
    assert coder.words == tuple(word or MISSING for word in one.words(first))


@pytest.mark.parametrize("block", [1, 3, 100])
def test_rows_without_what_is_needed_are_not_looked_at(monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    monkeypatch.setattr(mapped, "BLOCK", block)
    needed = column("category", np.int32([0, -1, 0, 0, -1]), ("a",))
    words = column("category", np.int32([1, -1, 0, 1, -1]), ("u", "v"))
    numbers = column("number", [5.0, 1.0, 7.0, 5.0, np.nan])
    assert np.concatenate([part.rows for part in parts_of([words], [needed])]).tolist() == [0, 2, 3]
    assert Coder(words, [needed]).words == ("u", "v")
    assert Coder(words).words == ("u", "v", MISSING)
    assert Coder(numbers, [needed]).words == ("5", "7")


def test_of_many_values_some_more_than_asked_for_are_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mapped, "BLOCK", 4)
    assert len(distinct(parts_of([column("number", np.arange(100.0))]), most=5).values) == 8
