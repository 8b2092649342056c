"""Tables as a stream of records: CSV, TSV, JSON lines, Parquet; in constant memory."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from rondeau.data.faults import Faults
from rondeau.data.tables.opening import LINES, check_names, delimiter_of, empty, json_object, open_parquet, tell_ragged
from rondeau.data.texts.text_lines import Line, read_lines, suffix_of
from rondeau.errors import DataError

TABLES = (".csv", ".tsv", ".jsonl", ".ndjson", ".parquet")
_HEAD = 200  # records by which columns are judged


class Record(NamedTuple):
    """A record's values by column, and the place it stands at."""

    values: dict[str, Any]
    where: str


class Head(NamedTuple):
    """A table's columns, and its first records."""

    columns: list[str]
    records: list[Record]


def read_head(path: str | os.PathLike[str], encoding: str = "utf-8") -> Head:
    """The columns and up to 200 records, of which bad ones are left out. Raises `DataError` for a table without any."""
    records = list(islice(read_rows(path, encoding, Faults("skip")), _HEAD))
    if suffix_of(path) == ".parquet":
        columns = list(open_parquet(Path(path)).schema_arrow.names)
    elif suffix_of(path) in (".csv", ".tsv"):
        columns = _header(path, encoding)[0]
    else:
        columns = list(dict.fromkeys(name for record in records for name in record.values))
    if not columns:
        raise DataError("the table has no columns", expected="a first line with their names", where=path)
    return Head(columns, records)


def read_rows(
    path: str | os.PathLike[str],
    encoding: str = "utf-8",
    faults: Faults | None = None,
    columns: Sequence[str] | None = None,
) -> Iterator[Record]:
    """The records of a table, one at a time; of Parquet only the named `columns` are read.

    Faults: a CSV's row with more or fewer fields than its header, a line that is no JSON object, a line that cannot be
    decoded. Raises `DataError` for a file that is not what its suffix says, `MissingExtraError` for Parquet without
    pyarrow.
    """
    faults = Faults() if faults is None else faults
    suffix = suffix_of(path)
    if suffix in (".csv", ".tsv"):
        yield from _read_csv(path, encoding, faults)
    elif suffix in (".jsonl", ".ndjson"):
        yield from _read_json(path, encoding, faults)
    elif suffix == ".parquet":
        yield from _read_parquet(path, columns)
    else:
        raise DataError("not a table", expected=", ".join(TABLES), got=suffix or "no suffix", where=path)


def _header(path: str | os.PathLike[str], encoding: str) -> tuple[list[str], str]:
    """The columns of a CSV, and what parts its fields."""
    next(read_lines(path, encoding), None)  # raises where even the first line is of another encoding
    lines = [line.text for line in islice(read_lines(path, encoding, Faults("skip")), LINES) if line.text.strip()]
    delimiter = delimiter_of(lines, suffix_of(path))
    names = [name.strip() for name in next(csv.reader(lines, delimiter=delimiter), [])]
    if not names:
        raise empty(path)
    check_names(names, path)
    return names, delimiter


def _read_csv(path: str | os.PathLike[str], encoding: str, faults: Faults) -> Iterator[Record]:
    names, delimiter = _header(path, encoding)
    counter = _Counter(read_lines(path, encoding, faults))
    reader = csv.reader(counter, delimiter=delimiter)
    header = True
    while True:
        first = counter.number + 1
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            faults.add("a row is no CSV", where=_place(path, first, counter.number), got=error)
            continue
        if not row:
            continue
        if header:
            header = False
            continue
        where = _place(path, first, counter.number)
        if len(row) != len(names):
            tell_ragged(faults, where, len(names), len(row))
            continue
        yield Record(dict(zip(names, row, strict=True)), where)


class _Counter:
    """Lines as the csv module wants them, with the number of the last one: bad ones are not handed out."""

    def __init__(self, lines: Iterator[Line]) -> None:
        self.lines, self.number = lines, 0

    def __iter__(self) -> Iterator[str]:
        for line in self.lines:
            self.number = line.number
            yield line.text


def _place(path: str | os.PathLike[str], first: int, last: int) -> str:
    return f"{path}, line {first:,}" if first >= last else f"{path}, lines {first:,} to {last:,}"


def _read_json(path: str | os.PathLike[str], encoding: str, faults: Faults) -> Iterator[Record]:
    for line in read_lines(path, encoding, faults):
        if not line.text.strip():
            continue
        where = f"{path}, line {line.number:,}"
        value = json_object(line.text, faults, where)
        if value is not None:
            yield Record(value, where)


def _read_parquet(path: str | os.PathLike[str], columns: Sequence[str] | None) -> Iterator[Record]:
    row = 0
    for batch in open_parquet(Path(path)).iter_batches(
        batch_size=4096, columns=None if columns is None else list(columns)
    ):
        for values in batch.to_pylist():
            row += 1
            yield Record(values, f"{path}, row {row:,}")
