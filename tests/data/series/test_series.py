"""Series from tables: what columns mean, the beat of time stamps, and what is wrong with them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rondeau.data.faults import Faults
from rondeau.data.made.shops import demo_table
from rondeau.data.series.beat import Step, calendar, step_of
from rondeau.data.series.series import SeriesSet, extended, read_series, taken
from rondeau.data.series.shape import shape_of
from rondeau.data.tables.kinds import STAMPS
from rondeau.data.tables.table import Table, read_table
from rondeau.errors import DataError

pytest.importorskip("pandas")
pytest.importorskip("pyarrow")


def table_of(folder: Path, text: str, **options: Any) -> Table:
    file = folder / "a.csv"
    file.write_text(text)
    return read_table(file, **options)


def series_of(folder: Path, text: str, on_error: str = "fail", **columns: Any) -> tuple[SeriesSet, Faults]:
    faults = Faults(on_error)
    table = table_of(folder, text)
    return read_series(table, shape_of(table, **columns), faults), faults


def days(*numbers: int) -> list[str]:
    return [f"2024-01-{number:02d}" for number in numbers]


LONG = "date,shop,y\n" + "".join(f"{day},{shop},{i}\n" for i, day in enumerate(days(1, 2, 3)) for shop in "ab")


def test_a_long_table_has_a_series_for_each_word(tmp_path: Path) -> None:
    series, faults = series_of(tmp_path, LONG)
    assert series.names == ["a", "b"]
    assert series.lengths.tolist() == [3, 3]
    assert series.part(1, 0, 3).tolist() == [0, 1, 2]
    assert series.step == Step("time", 86_400e6)
    assert any("each 'shop' is a series" in note for note in series.notes)
    assert not faults.total


def test_a_moment_that_comes_twice_makes_no_series_of_a_category(tmp_path: Path) -> None:
    days = [f"2024-01-{day:02d}" for day in range(1, 29)] + [f"2024-02-{day:02d}" for day in range(1, 29)]
    rows = [f"{day},{i},{('open', 'shut')[i % 2]}" for i, day in enumerate([days[0], *days])]
    file = tmp_path / "valve.csv"
    file.write_text("\n".join(["day,level,valve", *rows]) + "\n")
    table = read_table(file)
    assert shape_of(table).entity is None
    with pytest.raises(DataError, match="a time stamp comes twice"):
        read_series(table, shape_of(table))


def test_a_switch_is_no_target(tmp_path: Path) -> None:
    rows = [f"2024-01-{day:02d},{shop},{day},{day % 2}" for day in range(1, 9) for shop in "ab"]
    file = tmp_path / "sales.csv"
    file.write_text("\n".join(["day,shop,gain,promo", *rows]) + "\n")
    shape = shape_of(read_table(file))
    assert (shape.entity, shape.targets) == ("shop", ("gain",))
    assert "the target is 'gain', the only other column of more than two numbers" in shape.notes


def test_a_wide_table_has_a_series_for_each_column_of_numbers(tmp_path: Path) -> None:
    text = "month,north,south\n" + "".join(f"2024-{m:02d},{m},{10 * m}\n" for m in range(1, 7))
    series, _ = series_of(tmp_path, text)
    assert series.names == ["north", "south"]
    assert series.part(1, 0, 6).tolist() == [10, 20, 30, 40, 50, 60]
    assert series.step == Step("months", 1.0)
    assert series.stamps[5] == np.datetime64("2024-06-01") == series.stamps[11]


def test_a_series_that_begins_later_lacks_nothing(tmp_path: Path) -> None:
    text = "month,north,south\n" + "".join(f"2024-{m:02d},{m},{m if m > 2 else ''}\n" for m in range(1, 7))
    series, faults = series_of(tmp_path, text)
    assert not faults.total
    np.testing.assert_array_equal(series.part(1, 0, 6), [np.nan, np.nan, 3, 4, 5, 6])


def test_files_of_a_folder_are_series_where_nothing_else_tells_them_apart(tmp_path: Path) -> None:
    for name, first in (("x.csv", 1), ("y.csv", 5)):
        rows = "".join(f"{day},{first + i}\n" for i, day in enumerate(days(1, 2, 3, 4)))
        (tmp_path / name).write_text("date,value\n" + rows)
    table = read_table(tmp_path)
    series = read_series(table, shape_of(table))
    assert series.names == ["x.csv", "y.csv"]
    assert series.part(1, 0, 4).tolist() == [5, 6, 7, 8]


@pytest.mark.parametrize(
    ("stamps", "step", "words"),
    [
        (["2024-01-31", "2024-02-29", "2024-03-31", "2024-04-30"], Step("months", 1.0), "every month"),
        (["2024-02-29", "2024-03-31", "2024-04-30", "2024-05-31"], Step("months", 1.0), "every month"),
        (["2023-01", "2023-04", "2023-07", "2023-10"], Step("months", 3.0), "every 3 months"),
        (["2024-01-01", "2024-01-08", "2024-01-15"], Step("time", 7 * 86_400e6), "every week"),
        (["2024-01-01T00:00", "2024-01-01T00:15", "2024-01-01T00:30"], Step("time", 900e6), "every 15 minutes"),
        (
            ["2024-01-01T00:00", "2024-01-01T00:07", "2024-01-01T01:00", "2024-01-01T01:01:10"],
            Step("irregular", 420e6),
            "at irregular times, usually 7 minutes apart",
        ),
    ],
)
def test_the_beat_is_recognised_and_goes_on(stamps: list[str], step: Step, words: str) -> None:
    given = np.asarray(stamps, STAMPS)
    found = step_of(given, np.zeros(len(given), np.int64))
    assert (found, found.describe()) == (step, words)
    if step.unit != "irregular":
        np.testing.assert_array_equal(found.stamp(given[0], np.arange(len(given))), given)
        np.testing.assert_array_equal(found.places(given, given[0]), np.arange(len(given)))


def test_stamps_off_the_beat_are_moved_to_the_nearest_step_and_none_is_lost(tmp_path: Path) -> None:
    text = "time,y\n" + "\n".join(
        f"{np.datetime64('2024-01-01T00:00') + np.timedelta64(60 * i, 'm')},{i}" for i in range(200)
    )
    text = text.replace("2024-01-03T01:00,", "2024-01-03T00:10,")
    series, faults = series_of(tmp_path, text + "\n")
    assert not faults.total
    assert series.values.tolist() == list(range(200))
    assert any("1 stamps are off the beat" in note for note in series.notes)


def test_working_days() -> None:
    every = np.arange("2024-01-01", "2024-03-01", dtype="datetime64[D]")
    given = every[np.is_busday(every)].astype(STAMPS)
    found = step_of(given, np.zeros(len(given), np.int64))
    assert found == Step("working days", 1.0)
    np.testing.assert_array_equal(found.stamp(given[0], np.arange(len(given))), given)
    np.testing.assert_array_equal(found.places(given, given[0]), np.arange(len(given)))
    assert found.seasons() == [5, 260]


def test_the_calendar_has_what_a_step_is_short_enough_for() -> None:
    hours = np.datetime64("2024-01-01", "us") + np.arange(48).astype("timedelta64[h]")
    values, names = calendar(hours, Step("time", 3600e6))
    assert {name.split()[0] for name in names} == {"day", "week", "year"}
    assert values.shape == (48, len(names))
    daily = names.index("day sin 1")
    np.testing.assert_allclose(values[:24, daily], values[24:, daily], atol=1e-6)
    months = np.arange("2024-01", "2026-01", dtype="datetime64[M]").astype(STAMPS)
    values, names = calendar(months, Step("months", 1.0))
    assert {name.split()[0] for name in names} == {"year"}
    np.testing.assert_allclose(values[:12], values[12:], atol=1e-6)
    assert calendar(np.arange(5), Step("number", 1.0))[0].shape == (5, 0)


BAD = [
    ("date,y\n2024-01-01,1\n2024-01-02,2\n2024-01-03,\n2024-01-04,4\n", "values are missing", "a.csv, line 4"),
    (
        "date,y\n2024-01-01,1\n2024-01-02,2\n2024-01-03,3\n2024-01-05,5\n",
        "values are missing",
        r"a.csv, line 4, behind it",
    ),
    ("date,y\n2024-01-01,1\n2024-01-02,2\n2024-01-02,9\n2024-01-03,3\n", "a time stamp comes twice", "a.csv, line 4"),
    ("date,y\n2024-01-01,1\n2024-01-03,3\n2024-01-02,2\n2024-01-04,4\n", "stamps are not in order", "a.csv, line 4"),
    ("date,y\n2024-01-01,1\n2024-01-02,2\n,3\n2024-01-03,4\n", "a time stamp is missing", "a.csv, line 4"),
]


@pytest.mark.parametrize(("text", "what", "where"), BAD)
def test_what_is_wrong_in_time_is_named_by_its_line_or_left_out(
    tmp_path: Path, text: str, what: str, where: str
) -> None:
    with pytest.raises(DataError, match=what) as caught:
        series_of(tmp_path, text)
    assert caught.value.where == where
    series, faults = series_of(tmp_path, text, "skip")
    assert faults.total == 1
    kept = series.values[~np.isnan(series.values)]
    assert (np.diff(kept) > 0).all()
    assert (np.diff(series.stamps).astype(np.int64) == 86_400e6).all()


def test_a_row_without_its_series_and_a_wild_stamp(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"a row does not say its series \(at a.csv, line 8\)"):
        series_of(tmp_path, LONG + "2024-01-04,,7\n", entity="shop")
    with pytest.raises(DataError, match=r"leave far more steps out than they give.*Is one of its time stamps wrong"):
        series_of(tmp_path, "date,y\n" + "".join(f"{d},1\n" for d in days(1, 2, 3, 4)) + "2924-01-01,2\n", "skip")


def test_columns_that_cannot_be(tmp_path: Path) -> None:
    table = table_of(tmp_path, "date,shop,a,b\n" + "".join(f"{d},{s},1,2\n" for d in days(1, 2) for s in "xy"))
    with pytest.raises(DataError, match=r"several columns could be the target.*a, b.*--target"):
        shape_of(table)
    with pytest.raises(DataError, match="the target 'shop' holds no numbers"):
        shape_of(table, target="shop")
    with pytest.raises(DataError, match="among the covariates"):
        shape_of(table, target="a", known=("a",))
    with pytest.raises(DataError, match="no such column"):
        shape_of(table, target="c")
    with pytest.raises(DataError, match="holds no time stamps"):
        shape_of(table, time="shop", target="a")
    with pytest.raises(DataError, match="no column holds numbers"):
        shape_of(table_of(tmp_path, "date,w\n2024-01-01,x\n2024-01-02,y\n"))


FUTURE = "date,y,promo,kind\n" + "".join(
    f"{day},{i if i < 4 else ''},{i % 2},{'uv'[i % 2]}\n" for i, day in enumerate(days(1, 2, 3, 4, 5, 6))
)


def test_rows_with_covariates_alone_are_the_future(tmp_path: Path) -> None:
    series, faults = series_of(tmp_path, FUTURE, target="y", known=("promo", "kind"))
    assert not faults.total
    assert series.lengths.tolist() == [4]
    assert series.future.tolist() == [2]
    ahead = extended(series, 2)
    assert ahead.lengths.tolist() == [4]
    assert ahead.numbers["promo"].tolist() == [0, 1, 0, 1, 0, 1]
    assert ahead.words["kind"].texts() == list("uvuvuv")
    assert np.isnan(ahead.values[4:]).all()
    with pytest.raises(DataError, match=r"covariates of the steps to forecast are missing.*3 steps.*2 in series"):
        extended(series, 3)


def test_series_go_on_without_covariates(tmp_path: Path) -> None:
    series, _ = series_of(tmp_path, LONG)
    ahead = extended(series, 2)
    assert ahead.stamps[-1] == np.datetime64("2024-01-05")
    assert ahead.lengths.tolist() == [3, 3]
    assert np.diff(ahead.offsets).tolist() == [5, 5]
    one = taken(ahead, np.array([1]))
    assert one.names == ["b"]
    assert one.part(0, 0, 3).tolist() == [0, 1, 2]


def test_the_embedded_sales_are_the_same_for_a_seed() -> None:
    table, again, other = demo_table(1, 3, 40), demo_table(1, 3, 40), demo_table(2, 3, 40)
    np.testing.assert_array_equal(table["sales"].values, again["sales"].values)
    assert (table["sales"].values != other["sales"].values).any()
    assert (table["sales"].values >= 0).all()
    series = read_series(table, shape_of(table, "sales", known=("discount", "holiday")))
    assert len(series) == 3
    assert series.lengths.tolist() == [40] * 3
