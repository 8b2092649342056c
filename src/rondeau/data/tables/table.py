"""Tables from CSV, Parquet and JSON lines: named columns of time stamps, numbers and categories.

Read chunk by chunk; columns that do not fit into memory lie in files that vanish with the process.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rondeau.data.disk.growing import Growing
from rondeau.data.faults import Faults
from rondeau.data.progress import Meter
from rondeau.data.standard_input import standard_input
from rondeau.data.tables.cells import Reader, missing
from rondeau.data.tables.files import Chunk, arrow, chunks, table_files
from rondeau.data.tables.kinds import MISSING, STAMPS, Form, Kind, decimal_comma, given, recognise
from rondeau.errors import ArgumentError, DataError

_SAMPLE = 1000  # rows in which columns are recognised
_CHUNK = 1 << 22  # bytes of a CSV file read at once
TYPES = {"time": STAMPS, "number": np.dtype(np.float64), "category": np.dtype(np.int32)}


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes:
        name: its own.
        kind: 'time', 'number' or 'category'; reason: why it is taken for that, in words.
        values: `(rows,)`: datetime64[us], NaT where missing; float64, NaN where missing; or for categories int32
            numbers into `labels`, -1 where missing.
        labels: the categories in the order in which they first came.
    """

    name: str
    kind: Kind
    reason: str
    values: NDArray[Any]
    labels: tuple[str, ...] = ()

    @property
    def missing(self) -> NDArray[np.bool_]:
        """Which values are missing, `(rows,)`."""
        return self.lacks(self.values)

    def lacks(self, values: NDArray[Any]) -> NDArray[np.bool_]:
        """Which of some of its values are missing."""
        return missing(self.kind, values)

    def words(self, rows: NDArray[np.int64]) -> list[str]:
        """Some rows as words, whole numbers without a point; "" where missing."""
        if self.kind == "category":
            return self.texts(rows)
        values = self.values[rows]
        number = self.kind == "number"
        shown = [f"{value:.15g}" for value in values.tolist()] if number else [str(value) for value in values]
        return ["" if gone else word for word, gone in zip(shown, self.lacks(values).tolist(), strict=True)]

    def texts(self, rows: Any = slice(None)) -> list[str]:
        """The categories of some rows as words, "" where missing."""
        return [self.labels[i] if i >= 0 else "" for i in self.values[rows].tolist()]


@dataclass(frozen=True)
class Table:
    """Rows of named columns.

    Attributes:
        path: what was read; rows: how many there are.
        columns: by name, in the files' order.
        notes: what was recognised, a sentence each.
        places: for `where`: row at which a stretch begins, file, and the line of its first row.
    """

    path: Path
    rows: int
    columns: dict[str, Column]
    notes: list[str] = field(default_factory=list)
    places: list[tuple[int, str, int]] = field(default_factory=list)

    def __getitem__(self, name: str) -> Column:
        """A column. Raises `DataError` where there is none of the name, with the nearest there is."""
        if name not in self.columns:
            raise no_column(name, self.columns, self.path)
        return self.columns[name]

    def __contains__(self, name: object) -> bool:
        return name in self.columns

    def __len__(self) -> int:
        return self.rows

    def of_kind(self, kind: Kind) -> list[str]:
        """The names of the columns of a kind."""
        return [column.name for column in self.columns.values() if column.kind == kind]

    def where(self, row: int) -> str:
        """File and line of a row, for messages: `sales.csv, line 17`."""
        starts = [place[0] for place in self.places]
        begin, name, line = self.places[int(np.searchsorted(starts, row, "right")) - 1]
        return f"{name}, line {line + int(row) - begin:,}"

    def lines(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Of each of some rows its line in its file."""
        begins, first = (np.array([place[i] for place in self.places], np.int64) for i in (0, 2))
        held = np.searchsorted(begins, rows, "right") - 1
        found: NDArray[np.int64] = first[held] + rows - begins[held]
        return found

    def file(self, row: int) -> str:
        """The name of the file that a row is from."""
        return self.where(row).rpartition(", line")[0]

    def take(self, rows: NDArray[Any]) -> Table:
        """Some rows, by their numbers or as booleans; places in files are kept."""
        numbers = np.flatnonzero(rows) if rows.dtype == np.bool_ else rows
        columns = {c.name: Column(c.name, c.kind, c.reason, c.values[numbers], c.labels) for c in self.columns.values()}
        starts = np.asarray([place[0] for place in self.places])
        held = np.searchsorted(starts, numbers, "right") - 1
        lines = np.asarray([place[2] for place in self.places])[held] + numbers - starts[held]
        places = list(_stretches(lines, held, 0, [place[1] for place in self.places]))
        return Table(self.path, len(numbers), columns, self.notes, places)


def no_column(name: str, known: Any, path: Any) -> DataError:
    """The error for a column that is not there."""
    near = difflib.get_close_matches(name, list(known), 1, 0.5)
    fix = f"Did you mean {near[0]!r}?" if near else None
    return DataError("there is no such column", expected=", ".join(known), got=repr(name), where=path, fix=fix)


def read_table(
    path: str | os.PathLike[str],
    faults: Faults | None = None,
    *,
    columns: Sequence[str] | None = None,
    kinds: Mapping[str, str] | None = None,
    delimiter: str | None = None,
    encoding: str = "utf-8",
    rows: int | None = None,
) -> Table:
    """The table in a file, or in all files of a folder, one after another.

    Args:
        path: `.csv`, `.tsv`, `.parquet`, `.jsonl` (any but Parquet also as `.gz`), or a folder of them; a file of
            another suffix is read as CSV; "-" is standard input, JSON lines where it begins with a brace, else CSV.
        faults: what becomes of bad rows, see `Faults`; default: the first one ends the reading.
        columns: the only ones to read; default: all.
        kinds: by column 'time', 'number' or 'category', where what is recognised would be wrong.
        delimiter: of CSV; default: recognised, as the header is.
        encoding: of CSV and JSON lines.
        rows: read so many at most; default: all.

    A column's kind shows in the first thousand rows: values that are dates, or numbers whose name and size say that
    they are times; numbers; all else is a category. Empty cells, NA, NaN, null, None, - and ? are missing.

    Raises `DataError` (through `faults` where a row alone is bad) naming file and line: a row of another number of
    cells, a corrupt number or time stamp, an infinite number, text in another encoding, a line that is no JSON object;
    columns that one file has and another lacks, columns that are not there, files that are empty or no table.
    `MissingExtraError` without pandas or pyarrow.

    >>> import pathlib, tempfile
    >>> folder = tempfile.TemporaryDirectory()
    >>> file = pathlib.Path(folder.name) / "sales.csv"
    >>> _ = file.write_text("day;shop;sold\\n2024-01-01;north;3,5\\n2024-01-02;south;4,0\\n")
    >>> table = read_table(file)
    >>> [(column.name, column.kind) for column in table.columns.values()]
    [('day', 'time'), ('shop', 'category'), ('sold', 'number')]
    >>> table["sold"].values, table["shop"].texts(), table.where(1)
    (array([3.5, 4. ]), ['north', 'south'], 'sales.csv, line 3')
    >>> folder.cleanup()
    """
    arrow()
    faults = faults or Faults()
    if os.fspath(path) == "-":
        with standard_input() as file:
            told = {"columns": columns, "kinds": kinds, "delimiter": delimiter, "encoding": encoding, "rows": rows}
            return read_table(file, faults, **told)  # type: ignore[arg-type]
    root = Path(path)
    readers: dict[str, Reader] = {}
    stored: dict[str, Growing] = {}
    places: list[tuple[int, str, int]] = []
    total = 0
    with Meter(f"reading {root.name}", unit="rows") as meter:
        for file in table_files(root):
            name = file.name if file == root else file.relative_to(root).as_posix()
            for number, chunk in enumerate(chunks(file, faults, delimiter, encoding, _CHUNK)):
                if not readers:
                    readers = _readers(chunk, columns, kinds or {}, root, encoding)
                    stored = {column: Growing(TYPES[reader.form.kind]) for column, reader in readers.items()}
                if number == 0:
                    _same_columns(chunk, readers, columns is None, file)
                values, lines = _converted(chunk, readers, faults, name)
                lines = lines if rows is None else lines[: rows - total]
                for column, part in values.items():
                    stored[column].add(part[: len(lines)])
                places += _stretches(lines, np.zeros(len(lines), np.int64), total, [name])
                total += len(lines)
                meter.advance(len(lines))
                if rows is not None and total >= rows:
                    break
            if rows is not None and total >= rows:
                break
    if not total:
        raise DataError("the table has no rows", where=root)
    done = {n: Column(n, r.form.kind, r.form.reason, stored[n].array(), tuple(r.labels)) for n, r in readers.items()}
    notes = [f"column {column.name!r} is taken for {_a(column.kind)}: {column.reason}" for column in done.values()]
    return Table(root, total, done, notes, _merged(places))


def glance(path: str | os.PathLike[str], rows: int = 200, encoding: str = "utf-8") -> Table:
    """The first rows of the first file, to see what kind of table it is; bad rows are left out."""
    return read_table(table_files(Path(path))[0], Faults("skip"), rows=rows, encoding=encoding)


def _a(kind: str) -> str:
    return {"time": "time stamps", "number": "a number", "category": "a category"}[kind]


def _readers(
    chunk: Chunk, columns: Sequence[str] | None, kinds: Mapping[str, str], path: Path, encoding: str
) -> dict[str, Reader]:
    names = list(chunk.columns) if columns is None else list(dict.fromkeys(columns))
    for name in (*names, *kinds):
        if name not in chunk.columns:
            raise no_column(name, chunk.columns, path)
    samples = {name: Reader.sample(chunk.columns[name], _SAMPLE, encoding) for name in names}
    comma = decimal_comma([cells for cells in samples.values() if isinstance(cells, list)])
    readers = {}
    for name, cells in samples.items():
        if isinstance(cells, Form):  # the file itself says what it holds
            form = cells if name not in kinds else cells._replace(kind=_checked(kinds[name]), reason="it was asked for")
        else:
            form = given(name, kinds[name], cells, comma) if name in kinds else recognise(name, cells, comma)
        readers[name] = Reader(name, form, comma, encoding)
    return readers


def _checked(kind: str) -> Any:
    if kind not in TYPES:
        raise ArgumentError("a column's kind", expected=", ".join(map(repr, TYPES)), got=repr(kind))
    return kind


def _same_columns(chunk: Chunk, readers: dict[str, Reader], all_of_them: bool, file: Path) -> None:
    for name in readers:
        if name not in chunk.columns:
            raise no_column(name, chunk.columns, file)
    new = [name for name in chunk.columns if name not in readers]
    if all_of_them and new:
        what = "a file has a column that the first one lacks"
        raise DataError(what, expected=", ".join(readers), got=repr(new[0]), where=file)


def _converted(
    chunk: Chunk, readers: dict[str, Reader], faults: Faults, name: str
) -> tuple[dict[str, NDArray[Any]], NDArray[np.int64]]:
    """The values of a chunk's good rows by column, and their lines."""
    values, bad = {}, np.zeros(len(chunk.lines), bool)
    blank = np.ones(len(chunk.lines), bool)
    for column, reader in readers.items():
        part = chunk.columns.get(column)
        if part is None:  # JSON lines whose objects all lack it
            part = arrow().nulls(len(chunk.lines), arrow().string())
        values[column], wrong = reader.read(part)
        blank &= missing(reader.form.kind, values[column])
        for row in wrong:
            if not bad[row]:
                bad[row] = True
                expected = "" if reader.form.kind == "category" else reader.form.kind
                reader.report(faults, part, int(row), f"{name}, line {chunk.lines[row]:,}", expected)
    keep = ~(bad | (blank & ~bad))
    if keep.all():
        return values, chunk.lines
    return {column: part[keep] for column, part in values.items()}, chunk.lines[keep]


def _stretches(
    lines: NDArray[np.int64], files: NDArray[Any], first: int, names: Sequence[str]
) -> Iterator[tuple[int, str, int]]:
    """Where lines do not follow each other: row, file, line."""
    if len(lines):
        steps = (np.diff(lines) != 1) | (np.diff(files) != 0)
        for at in (0, *(np.flatnonzero(steps) + 1).tolist()):
            yield first + at, names[int(files[at])], int(lines[at])


def _merged(places: list[tuple[int, str, int]]) -> list[tuple[int, str, int]]:
    """Without those stretches that only go on with the one before."""
    kept: list[tuple[int, str, int]] = []
    for row, name, line in places:
        if not kept or kept[-1][1] != name or kept[-1][2] + row - kept[-1][0] != line:
            kept.append((row, name, line))
    return kept


__all__ = ["MISSING", "Column", "Table", "glance", "read_table"]
