"""Two readers of the same files: they find the same delimiters, and say the same where something is wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("pandas")
pytest.importorskip("pyarrow")

from rondeau.data.faults import Faults
from rondeau.data.tables.opening import delimiter_of
from rondeau.data.tables.rows import read_head, read_rows
from rondeau.data.tables.table import read_table
from rondeau.errors import DataError

GOOD = [
    ("a.csv", 'text;label\n"a, b, c; d";x\nb, c, d;y\n', ["text", "label"]),
    ("a.tsv", "text\tlabel\na, b\tx\nb, c\ty\n", ["text", "label"]),
    ("a.tsv", "text,label\na,x\nb,y\n", ["text", "label"]),
    ("a.csv", "text|label\na|x\n", ["text", "label"]),
    ("a.csv", "text\none\ntwo\none\n", ["text"]),
]
BAD = [
    ("a.csv", b"a,b\nx,1\ny,2,3\nz,3\n", "a row has another number of cells than the table has columns"),
    ("a.csv", b"a,a\nx,1\n", "two columns have one name"),
    ("a.csv", b"", "the file is empty"),
    ("a.csv", b"a,b\nx,1\ns\xfc,2\n", "a text is not utf-8"),
    ("a.jsonl", b'{"a": 1}\n{"a"\n', "a line is no JSON"),
    ("a.jsonl", b'{"a": 1}\n[1]\n', "a line is no JSON object"),
    ("a.jsonl", b'{"a": "x"}\n{"a": "s\xfc"}\n', "a text is not utf-8"),
    ("a.parquet", b"text", "the file is no Parquet"),
]


def said(read: Any) -> str:
    with pytest.raises(DataError) as caught:
        read()
    return str(caught.value).partition(" (at ")[0].partition(":")[0]


@pytest.mark.parametrize(("name", "text", "columns"), GOOD)
def test_both_find_the_same_columns(tmp_path: Path, name: str, text: str, columns: list[str]) -> None:
    file = tmp_path / name
    file.write_text(text)
    assert list(read_table(file).columns) == columns == read_head(file).columns
    assert read_table(file)[columns[0]].texts() == [record.values[columns[0]] for record in read_rows(file)]


@pytest.mark.parametrize(("name", "content", "what"), BAD)
def test_both_say_the_same_of_what_is_wrong(tmp_path: Path, name: str, content: bytes, what: str) -> None:
    file = tmp_path / name
    file.write_bytes(content)
    assert what == said(lambda: read_table(file)) == said(lambda: list(read_rows(file)))
    if what.startswith("a "):
        counts = Faults("skip"), Faults("skip")
        good = read_table(file, counts[0]).rows if "utf" not in what or name != "a.csv" else None
        rows = list(read_rows(file, faults=counts[1]))
        assert good in (None, len(rows))
        assert counts[1].total == 1 >= counts[0].total


def test_a_quote_that_is_never_closed_decides_nothing() -> None:
    assert delimiter_of(["a,b", 'c,"' + "x" * 200_000, "d,e"]) == ","
