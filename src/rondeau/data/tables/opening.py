"""What the readers of columns (`files`) and of records (`rows`) do alike, and how they say what is wrong."""

from __future__ import annotations

import csv
import importlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rondeau.data.faults import Faults
from rondeau.errors import DataError, MissingExtraError

CSV = (".csv", ".tsv", ".tab")
JSON = (".jsonl", ".ndjson")
PARQUET = (".parquet", ".pq")
DELIMITERS = (",", ";", "\t", "|")
LINES = 200  # in which the delimiter is recognised
_FIELD = 1 << 26  # characters of a CSV's field; Python's own limit of 131,072 is less than a long document


def delimiter_of(lines: Sequence[str], suffix: str = "") -> str:
    """What parts the cells of a CSV: that of which most of the first lines have as many; of a .tsv tabs if there are.

    >>> delimiter_of(["text;label", "a, b; and c;x", "d;y"])
    ';'
    """
    csv.field_size_limit(_FIELD)
    if suffix in (".tsv", ".tab") and any("\t" in line for line in lines):
        return "\t"
    return max(DELIMITERS, key=lambda one: _regularity(lines[:LINES], one))


def _regularity(lines: Sequence[str], delimiter: str) -> tuple[float, int]:
    """How many lines share the usual number of cells, and that number; one cell is none."""
    try:
        counts = [len(row) for row in csv.reader(lines, delimiter=delimiter) if row]
    except csv.Error:
        return 0.0, 0
    usual = max(set(counts), key=counts.count) if counts else 1
    return (0.0, 0) if usual < 2 else (counts.count(usual) / len(counts), usual)


def check_names(names: Sequence[str], path: object) -> None:
    """Raise `DataError` for two columns of one name."""
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise DataError("two columns have one name", got=repr(twice), where=f"{path}, line 1", fix="Rename one")


def empty(path: object) -> DataError:
    """The error for a file with nothing in it."""
    return DataError("the file is empty", expected="a table", where=path)


def tell_ragged(faults: Faults, where: str, columns: int, got: object) -> None:
    """A row of a CSV that does not fit its columns."""
    fix = "Put quotes around a cell that holds the delimiter"
    what = "a row has another number of cells than the table has columns"
    faults.add(what, where=where, expected=columns, got=got, fix=fix)


def json_object(text: str, faults: Faults, where: str) -> dict[str, Any] | None:
    """The object that a line holds; None where it holds none."""
    try:
        value = json.loads(text)
    except ValueError as error:
        faults.add("a line is no JSON", where=where, got=error)
        return None
    if not isinstance(value, dict):
        expected = '{"column": value, ...}'
        faults.add("a line is no JSON object", where=where, expected=expected, got=type(value).__name__)
        return None
    return value


def open_parquet(path: Path) -> Any:
    """The file, as pyarrow reads it. Raises `MissingExtraError` without that, `DataError` for another kind of file."""
    try:
        parquet = importlib.import_module("pyarrow.parquet")
    except ImportError as error:
        fix = "Install it: pip install 'rondeau[table]'"
        raise MissingExtraError("Parquet files need the pyarrow library", fix=fix) from error
    try:
        return parquet.ParquetFile(path)
    except (OSError, ValueError) as error:  # pyarrow's own errors are ValueErrors
        raise DataError("the file is no Parquet", got=str(error).splitlines()[0], where=path) from error
