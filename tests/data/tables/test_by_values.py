"""Roles of columns whose names say nothing: by what stands in them."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

pytest.importorskip("pandas")

from rondeau.data.tables.by_values import (
    class_by_values,
    entity_by_values,
    label_by_values,
    on_a_beat,
    time_by_values,
)
from rondeau.data.tables.roles import Roles, find_roles
from rondeau.data.tables.table import Table, read_table
from rondeau.errors import DataError


def table_of(folder: Path, heads: str, own: bool = True, entity: str = "k{}", seed: int = 0) -> Table:
    """Columns: whom, when (rising numbers), how much, what kind (4 words), whether (0 or 1, of each row or of all)."""
    draw = random.Random(seed)
    rows = []
    for k in range(30):
        when = draw.randrange(1000)
        for _ in range(12):
            when += draw.randint(1, 50)
            told = int(draw.random() < 0.2) if own else k % 2
            rows.append((when, f"{entity.format(k)},{when},{draw.randint(1, 400)},{draw.choice('abcd')},{told}"))
    file = folder / "rows.csv"
    file.write_text("\n".join([heads, *(row for _, row in sorted(rows))]) + "\n")
    return read_table(file)


@pytest.mark.parametrize("heads", ["Konto,Uhr,Betrag,Art,Betrug", "a,b,c,d,e"])
@pytest.mark.parametrize("entity", ["k{}", "10{:03d}", "{}"])
def test_roles_in_any_language(tmp_path: Path, heads: str, entity: str) -> None:
    names = heads.split(",")
    assert find_roles(table_of(tmp_path, heads, entity=entity)) == Roles(names[0], names[1], names[4])


def test_a_value_for_all_rows_of_an_entity_is_a_class(tmp_path: Path) -> None:
    table = table_of(tmp_path, "a,b,c,d,e", own=False)
    assert find_roles(table) == Roles("a", "b", "e")
    assert (label_by_values(table, "a"), class_by_values(table, "a")) == (None, "e")


def test_amounts_and_few_kinds_are_no_entities(tmp_path: Path) -> None:
    table = table_of(tmp_path, "a,b,c,d,e")
    assert entity_by_values(table) == "a"
    assert entity_by_values(table, {"a"}) is None  # amounts have from one to three digits, and there are four kinds
    assert time_by_values(table, "a") == "b"
    assert time_by_values(table, "a", {"b"}) is None


def test_a_feature_called_like_a_label_does_not_hide_the_label(tmp_path: Path) -> None:
    assert find_roles(table_of(tmp_path, "card,time,amount,category,betrug")).label == "betrug"
    # what is called fraud is meant, though it has too many values
    assert find_roles(table_of(tmp_path, "card,time,amount,fraud,other")).label == "fraud"


def test_two_columns_that_could_be_told_are_left_to_the_user(tmp_path: Path) -> None:
    table_of(tmp_path, "a,b,c,d,e")
    file = tmp_path / "rows.csv"
    lines = file.read_text().splitlines()
    file.write_text("\n".join([lines[0] + ",f", *(f"{line},{i % 2}" for i, line in enumerate(lines[1:]))]))
    table = read_table(file)
    assert label_by_values(table, "a") is None
    with pytest.raises(DataError, match=r"no column says what is to be told.*--label"):
        find_roles(table)


def test_data_to_be_answered_decide_nothing_by_their_values(tmp_path: Path) -> None:
    table = table_of(tmp_path, "a,b,c,d,e")
    assert find_roles(table, "a", "b", labelled=False) == Roles("a", "b", None)
    with pytest.raises(DataError, match="no column says whom a row is about"):
        find_roles(table, labelled=False)


def test_events_come_when_they_come_and_steps_on_a_beat(tmp_path: Path) -> None:
    assert not on_a_beat(table_of(tmp_path, "a,b,c,d,e"), "a", "b")
    file = tmp_path / "steps.csv"
    file.write_text("\n".join(["a,b", *(f"k{i % 7},{10 * (i // 7) + (i == 60)}" for i in range(140))]))
    assert on_a_beat(read_table(file), "a", "b")
