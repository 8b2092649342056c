"""Tables of events and of series: roles recognised, features chosen, what does not fit said."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("pandas")

from rondeau.data.faults import Faults
from rondeau.data.series.labelled import series_of
from rondeau.data.tables.event_table import choose_columns, events_of
from rondeau.data.tables.roles import find_roles, one_label_each
from rondeau.data.tables.table import Table, read_table
from rondeau.errors import ArgumentError, DataError

EVENTS = """id,card_id,when,shop,amount,is_fraud
t1,a,2024-01-03,food,3.5,0
t2,b,2024-01-01,fuel,40,0
t3,a,2024-01-01,food,9,1
t4,b,2024-01-02,food,,0
t5,a,2024-01-02,fuel,7,0
"""
SERIES = """recording,step,x,y,label
r1,1,0.1,1,walk
r1,0,0.2,2,walk
r2,0,0.3,3,run
r2,1,0.4,4,run
"""


def table_of(folder: Path, text: str) -> Table:
    file = folder / "table.csv"
    file.write_text(text)
    return read_table(file)


def test_events_are_sorted_by_entity_and_time(tmp_path: Path) -> None:
    table = table_of(tmp_path, EVENTS)
    columns, notes = choose_columns(table)
    assert any("'id' is left out" in note for note in notes)
    assert columns.roles == ("card_id", "when", "is_fraud")
    assert (columns.categories, columns.numbers, columns.positive) == (["shop"], ["amount"], "1")
    events = events_of(table, columns)
    assert events.entities == ("a", "b")
    assert events.offsets.tolist() == [0, 3, 5]
    assert events.labels is not None
    assert events.labels.tolist() == [1, 0, 0, 0, 0]
    np.testing.assert_array_equal(events.numbers["amount"], np.float32([9, 7, 3.5, 40, np.nan]))
    assert events.gaps.tolist() == [0, 86400, 86400, 0, 86400]
    assert events.lines.tolist() == [4, 6, 2, 3, 5]
    assert any("1 events came before" in note for note in events.notes)


def test_two_events_of_one_moment_are_told(tmp_path: Path) -> None:
    table = table_of(tmp_path, EVENTS.replace("2024-01-03", "2024-01-02"))
    events = events_of(table, choose_columns(table)[0])
    assert any("1 events share entity and time" in note for note in events.notes)


def test_the_label_among_the_features_is_refused(tmp_path: Path) -> None:
    table = table_of(tmp_path, EVENTS)
    with pytest.raises(ArgumentError, match=r"label is among the features.*is_fraud"):
        choose_columns(table, numbers=["amount", "is_fraud"])


def test_a_copy_of_the_label_is_found(tmp_path: Path) -> None:
    lines = EVENTS.splitlines()
    copied = [lines[0] + ",refunded"] + [line + (",yes" if line.endswith("1") else ",no") for line in lines[1:]]
    table = table_of(tmp_path, "\n".join(copied) + "\n")
    with pytest.raises(DataError, match=r"says the same as the label.*--leave-out refunded"):
        choose_columns(table)
    assert choose_columns(table, leave_out=["refunded"])[0].categories == ["shop"]


@pytest.mark.parametrize(
    ("change", "options", "what"),
    [
        (("0.4,", "0.4,"), {"label": "frau"}, "no such column"),
        ((",1\n", ",0\n"), {}, "one value only"),
        (("3.5,0", "3.5,2"), {}, "more than two values"),
        (("", ""), {"positive": "maybe"}, "positive"),
        (("card_id", "what"), {}, "whom a row is about"),
        (("is_fraud", "flag"), {}, "what is to be told"),
        (("", ""), {"numbers": ["shop"]}, "no numbers"),
        (("", ""), {"group": "shop"}, "several groups"),
    ],
)
def test_what_does_not_fit_is_said(tmp_path: Path, change: tuple[str, str], options: dict, what: str) -> None:
    table = table_of(tmp_path, EVENTS.replace(*change) if change[0] else EVENTS)
    group = options.get("group")
    with pytest.raises((DataError, ArgumentError), match=what):
        events_of(table, choose_columns(table, **options)[0], group)


def test_an_event_without_a_time_is_a_fault(tmp_path: Path) -> None:
    table = table_of(tmp_path, EVENTS.replace("a,2024-01-02", "a,"))
    columns = choose_columns(table)[0]
    with pytest.raises(DataError, match=r"no time.*line 6"):
        events_of(table, columns)
    faults = Faults("skip")
    events = events_of(table, columns, faults=faults)
    assert events.lines.tolist() == [4, 2, 3, 5]
    assert faults.total == 1


def test_series_of_a_long_table(tmp_path: Path) -> None:
    table = table_of(tmp_path, SERIES)
    found = series_of(table)
    assert (found.names, found.channels) == (["r1", "r2"], ["x", "y"])
    assert [one.label for one in found.series] == ["walk", "run"]
    np.testing.assert_allclose(found.series[0].values, [[0.2, 2], [0.1, 1]], rtol=1e-6)
    assert one_label_each(table, "recording", "label") is True


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (("0.4,4,run", "0.4,4,walk"), "several labels"),
        (("r2,1", "r2,0"), "one moment"),
        (("0.3,3,run\nr2,1,0.4,4,run", "0.3,3,\nr2,1,0.4,4,"), "no label"),
    ],
)
def test_a_series_that_does_not_fit_is_a_fault(tmp_path: Path, change: tuple[str, str], what: str) -> None:
    table = table_of(tmp_path, SERIES.replace(*change))
    with pytest.raises(DataError, match=f"{what}.*'r2'"):
        series_of(table)
    faults = Faults("skip")
    assert series_of(table, faults).names == ["r1"]
    assert faults.total == 1


def test_roles_by_name_and_a_near_name_where_there_is_none(tmp_path: Path) -> None:
    table = table_of(tmp_path, EVENTS)
    assert find_roles(table) == ("card_id", "when", "is_fraud")
    with pytest.raises(DataError, match="'card_id'"):
        find_roles(table, entity="card")
    assert one_label_each(table, "card_id", "is_fraud") is False
