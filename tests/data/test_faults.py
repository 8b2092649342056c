from __future__ import annotations

import pytest

from rondeau.data.faults import Faults
from rondeau.errors import ArgumentError, DataError


def test_the_first_fault_ends_the_reading_and_says_where_and_how_to_go_on() -> None:
    with pytest.raises(DataError, match=r"no label.*a\.csv, line 7.*expected a word.*Fill it.*--on-error skip"):
        Faults().add("no label", where="a.csv, line 7", expected="a word", got="", fix="Fill it")


def test_skipped_ones_are_counted_by_kind_and_the_first_places_are_kept() -> None:
    faults = Faults("skip")
    for line in range(1, 9):
        faults.add("no label", where=f"a.csv, line {line}")
    faults.add("no text", where="b.csv, line 1")
    assert faults.total == 9
    told = faults.to_json()
    assert (told["no label"]["count"], told["no text"]["count"]) == (8, 1)
    assert told["no label"]["places"] == [f"a.csv, line {line}" for line in range(1, 6)]
    assert faults.describe().startswith("8 no label (a.csv, line 1; a.csv, line 2; a.csv, line 3; ...); 1 no text")


def test_another_policy_is_refused() -> None:
    with pytest.raises(ArgumentError, match="'fail' or 'skip'"):
        Faults("ignore")


def test_a_fix_that_names_the_option_is_said_once() -> None:
    with pytest.raises(DataError) as found:
        Faults().add("values are missing", where="a.csv, line 2", fix="With --on-error skip they stay missing")
    assert str(found.value).count("--on-error") == 1
