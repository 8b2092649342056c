"""Tables: what is recognised, and what becomes of each kind of bad row."""

from __future__ import annotations

import gzip
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rondeau.data.disk.growing import Growing
from rondeau.data.faults import Faults
from rondeau.data.tables.table import Table, glance, read_table
from rondeau.errors import ArgumentError, DataError

pytest.importorskip("pandas")
pytest.importorskip("pyarrow")


def made(folder: Path, text: str | bytes, name: str = "a.csv") -> Path:
    file = folder / name
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return file


def kinds(table: Table) -> dict[str, str]:
    return {column.name: column.kind for column in table.columns.values()}


SALES = "day,shop,sold\n2024-01-01,north,3.5\n2024-01-02,south,NA\n2024-01-03,,-1e2\n"


def test_the_kinds_of_columns_are_found_with_a_reason(tmp_path: Path) -> None:
    table = read_table(made(tmp_path, SALES))
    assert kinds(table) == {"day": "time", "shop": "category", "sold": "number"}
    assert table["shop"].texts() == ["north", "south", ""]
    np.testing.assert_array_equal(table["sold"].values, [3.5, np.nan, -100])
    assert table["day"].values[2] == np.datetime64("2024-01-03")
    assert table["sold"].missing.tolist() == [False, True, False]
    assert "column 'shop' is taken for a category: its values are words, such as 'north'" in table.notes


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("header", [True, False])
def test_delimiter_and_header_are_recognised(tmp_path: Path, delimiter: str, header: bool) -> None:
    lines = SALES.splitlines()[0 if header else 1 :]
    table = read_table(made(tmp_path, "\n".join(lines).replace(",", delimiter)))
    assert list(table.columns) == (["day", "shop", "sold"] if header else ["column_1", "column_2", "column_3"])
    assert table.rows == 3
    assert table.where(0) == f"a.csv, line {2 if header else 1}"


def test_a_decimal_comma(tmp_path: Path) -> None:
    assert read_table(made(tmp_path, "a;b\n1,5;x\n2,25;y\n"))["a"].values.tolist() == [1.5, 2.25]


@pytest.mark.parametrize(
    ("name", "cells", "second"),
    [
        ("month", ["1949-01", "1949-02"], "1949-02-01"),
        ("year", ["1949", "1950"], "1950-01-01"),
        ("when", ["31.01.2024", "01.02.2024"], "2024-02-01"),
        ("when", ["01/31/2024", "02/01/2024"], "2024-02-01"),
        ("when", ["31/01/2024", "01/02/2024"], "2024-02-01"),
        ("when", ["2024/01/31 10:00", "2024/02/01 11:30:10"], "2024-02-01T11:30:10"),
        ("when", ["2024-01-31T10:00:00+02:00", "2024-02-01T00:30:00+02:00"], "2024-01-31T22:30"),
        ("timestamp", ["1700000000", "1700000060"], "2023-11-14T22:14:20"),
        ("time_ms", ["1700000000000", "1700000060000"], "2023-11-14T22:14:20"),
    ],
)
def test_forms_of_time_stamps(tmp_path: Path, name: str, cells: list[str], second: str) -> None:
    column = read_table(made(tmp_path, f"{name};n\n" + "".join(f"{cell};1\n" for cell in cells)))[name]
    assert column.kind == "time"
    assert column.values[1] == np.datetime64(second)


def test_kinds_can_be_said(tmp_path: Path) -> None:
    file = made(tmp_path, "store_id,n\n1,2\n2,3\n")
    assert kinds(read_table(file)) == {"store_id": "category", "n": "number"}
    assert kinds(read_table(file, kinds={"store_id": "number", "n": "category"}))["store_id"] == "number"
    with pytest.raises(ArgumentError, match="'time', 'number', 'category', got 'word'"):
        read_table(file, kinds={"n": "word"})


BAD: list[tuple[str, str, str]] = [
    ("x,n\na,1\nb,2\nc,3,4\nd,5\n", "another number of cells", "line 4"),
    ('x,n\n"a\nb",1\nb,2\nc,3,4\nd,5\n', "another number of cells", "line 5"),
    ("x,n\na,1\n\nb,2\nc,oops\nd,4\n", "a number is corrupt or infinite", "line 5"),
    ("x,n\na,1\nb,2\nc,3\nd,inf\ne,4\n", "a number is corrupt or infinite", "line 5"),
    ("x,n\n2024-01-01,1\n2024-01-02,2\n2024-13-03,3\n2024-01-04,3\n", "a time stamp is corrupt", "line 4"),
]


@pytest.mark.parametrize(("text", "what", "where"), BAD)
def test_a_bad_row_is_named_by_its_line_or_left_out(tmp_path: Path, text: str, what: str, where: str) -> None:
    file = made(tmp_path, text)
    with pytest.raises(DataError, match=what) as caught:
        read_table(file)
    assert caught.value.where == f"a.csv, {where}"
    faults = Faults("skip")
    good = read_table(file, faults)
    assert faults.total == 1
    assert good.rows == len([line for line in text.replace("a\nb", "a").splitlines() if line]) - 2
    assert not good["n"].missing.any()


def test_a_corrupt_line_among_many_is_found_beyond_the_first_chunk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rondeau.data.tables.table._CHUNK", 1 << 12)
    lines = [f"{i},{i / 2},s{i % 7}" for i in range(5000)]
    lines[10] = '10,5.0,"s\n3"'
    lines[3001], lines[4000] = "x,y,z", "1,2"
    faults = Faults("skip")
    table = read_table(made(tmp_path, "a,b,c\n" + "\n".join(lines)), faults)
    assert table.rows == 4998
    assert {place for kind in faults.to_json().values() for place in kind["places"]} == {
        "a.csv, line 3,004",
        "a.csv, line 4,003",
    }
    assert table.where(4997) == "a.csv, line 5,002"
    assert table["c"].texts(np.array([4997])) == [f"s{4999 % 7}"]
    part = table.take(np.array([5, 4997]))
    assert part.where(1) == "a.csv, line 5,002"
    assert part["a"].values.tolist() == [5, 4999]


def test_another_encoding_is_named_and_can_be_said(tmp_path: Path) -> None:
    file = made(tmp_path, "shop,n\nsüd,1\n".encode("latin-1"))
    with pytest.raises(DataError, match=r"a text is not utf-8.*line 2.*got byte 0xfc.*latin-1"):
        read_table(file)
    assert read_table(file, encoding="latin-1")["shop"].labels == ("süd",)
    late = made(tmp_path, b"shop,n\n" + b"a,1\n" * 20_000 + b"s\xfcd,1\n", "late.csv")
    with pytest.raises(DataError, match=r"a text is not utf-8 \(at late.csv, line 20,002\).*column 'shop'"):
        read_table(late)
    with pytest.raises(DataError, match="UTF-16"):
        read_table(made(tmp_path, "a,b\n1,2\n".encode("utf-16"), "wide.csv"))


@pytest.mark.parametrize(
    ("text", "message"),
    [("", "the file is empty"), ("a,b\n", "no rows"), ("a,a\nx,1\n", "two columns have one"), ("a,b\n1,2\0", "binary")],
)
def test_no_table(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_table(made(tmp_path, text))


def test_a_column_that_is_not_there(tmp_path: Path) -> None:
    file = made(tmp_path, SALES)
    with pytest.raises(DataError, match=r"no such column.*day, shop, sold, got 'sodl'.*Did you mean 'sold'"):
        read_table(file, columns=["sodl"])
    with pytest.raises(DataError, match="no such column"):
        read_table(file)["price"]
    with pytest.raises(DataError, match="no such file"):
        read_table(tmp_path / "none.csv")


def test_json_lines(tmp_path: Path) -> None:
    lines = ['{"t": "2024-01-01", "n": 1.5, "c": "a", "ok": true}', "", '{"t": "2024-01-02", "n": null, "late": 3}']
    table = read_table(made(tmp_path, "\n".join(lines), "a.jsonl"))
    assert kinds(table) == {"t": "time", "n": "number", "c": "category", "ok": "category", "late": "number"}
    assert table.where(1) == "a.jsonl, line 3"
    np.testing.assert_array_equal(table["late"].values, [np.nan, 3])
    for bad, what in (("{oops", "no JSON"), ("[1, 2]", "no JSON object"), ('{"n": [1]}', "neither number nor text")):
        file = made(tmp_path, f"{lines[0]}\n{bad}\n", "b.jsonl")
        with pytest.raises(DataError, match=rf"{what} \(at b.jsonl, line 2\)"):
            read_table(file)
        faults = Faults("skip")
        assert read_table(file, faults).rows == 1 == faults.total


def test_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    for text, name in ((SALES, "standard input.csv"), ('{"day": "2024-01-01", "sold": 3.5}\n', "standard input.jsonl")):
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
        table = read_table("-", columns=["day", "sold"])
        assert table["sold"].values[0] == 3.5
        assert table.file(0) == name


def test_parquet_keeps_its_types(tmp_path: Path) -> None:
    import pandas as pd

    frame = pd.DataFrame({"t": pd.date_range("2024-01-01", periods=3), "n": [1.0, None, 3.0], "c": ["a", None, "b"]})
    frame["d"] = frame["c"].astype("category")
    frame["ok"] = [True, False, True]
    frame.to_parquet(tmp_path / "a.parquet")
    table = read_table(tmp_path / "a.parquet")
    assert kinds(table) == {"t": "time", "n": "number", "c": "category", "d": "category", "ok": "category"}
    assert table["d"].texts() == ["a", "", "b"] == table["c"].texts()
    np.testing.assert_array_equal(table["n"].values, [1, np.nan, 3])
    assert table["t"].values[2] == np.datetime64("2024-01-03")
    with pytest.raises(DataError, match="no Parquet"):
        read_table(made(tmp_path, "text", "b.parquet"))


def test_a_folder_is_read_as_one_table(tmp_path: Path) -> None:
    made(tmp_path, SALES, "b.csv")
    (tmp_path / "a").mkdir()
    with gzip.open(tmp_path / "a" / "a.csv.gz", "wt") as file:
        file.write(SALES)
    made(tmp_path, "notes", "readme.md")
    table = read_table(tmp_path)
    assert table.rows == 6
    assert [table.where(row) for row in (2, 3)] == ["a/a.csv.gz, line 4", "b.csv, line 2"]
    assert table.file(5) == "b.csv"
    assert glance(tmp_path, rows=2).rows == 2
    made(tmp_path, "day,shop\n2024-01-01,x\n", "c.csv")
    with pytest.raises(DataError, match=r"no such column \(at .*c.csv\).*got 'sold'"):
        read_table(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no table in the folder"):
        read_table(tmp_path / "empty")


def test_a_column_that_grows_beyond_memory_goes_on_in_a_file() -> None:
    values: Any = Growing(np.int32, held=10)
    parts = [np.arange(i, i + 7, dtype=np.int32) for i in range(0, 70, 7)]
    for part in parts:
        values.add(part)
    assert values._file is not None
    np.testing.assert_array_equal(values.array(), np.arange(70))
