"""The files of a table, chunk by chunk: CSV of any delimiter, Parquet, JSON lines; each packed with gzip or not.

Longer than most: three kinds of file, and how each tells where it is broken.
"""

from __future__ import annotations

import codecs
import csv
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rondeau.data.faults import Faults
from rondeau.data.tables.kinds import MISSING, recognise
from rondeau.data.tables.opening import (
    CSV,
    JSON,
    PARQUET,
    check_names,
    delimiter_of,
    empty,
    json_object,
    open_parquet,
    tell_ragged,
)
from rondeau.data.texts.text_lines import suffix_of
from rondeau.errors import DataError, MissingExtraError

SUFFIXES = (*CSV, *PARQUET, *JSON)
HEAD = 1 << 16  # bytes in which delimiter and header are recognised
_LINES = 20_000  # JSON lines in a chunk


class Chunk(NamedTuple):
    """Some rows: an Arrow array a column, and of each row its line, or row in a file without lines, from 1 on."""

    columns: dict[str, Any]
    lines: NDArray[np.int64]


@dataclass(frozen=True)
class Dialect:
    """How a CSV file is written: its delimiter, the names of its columns, whether the first line holds them."""

    delimiter: str
    names: tuple[str, ...]
    header: bool


def arrow() -> Any:
    """The pyarrow package. Raises `MissingExtraError` where pyarrow or pandas is not installed."""
    try:
        import pandas as pd  # noqa: F401
        import pyarrow as pa
        import pyarrow.csv
        import pyarrow.parquet
    except ImportError as error:
        fix = "Install it: pip install 'rondeau[table]'"
        raise MissingExtraError(f"tables need the {error.name} library", fix=fix) from error
    return pa


def table_files(path: Path) -> list[Path]:
    """The file, or all tables below a folder by name. Raises `DataError` where there is none."""
    wanted = "a table (.csv, .tsv, .parquet, .jsonl), or a folder of them"
    if not path.exists():
        raise DataError("no such file or folder", expected=wanted, got=str(path))
    if path.is_file():
        return [path]
    found = sorted(
        p
        for p in path.rglob("*")
        if p.is_file()
        and suffix_of(p) in SUFFIXES
        and not any(part.startswith(".") for part in p.relative_to(path).parts)
    )
    if not found:
        raise DataError("there is no table in the folder", expected=wanted, where=path)
    return found


def chunks(path: Path, faults: Faults, delimiter: str | None, encoding: str, size: int) -> Iterator[Chunk]:
    """The rows of a file in chunks of about `size` bytes. Raises `DataError` for what is no table."""
    kind = suffix_of(path)
    try:
        if kind in PARQUET:
            yield from _parquet(path, size)
        elif kind in JSON:
            yield from _json_lines(path, faults, encoding)
        else:
            yield from _csv(path, faults, delimiter, encoding, size)
    except OSError as error:
        raise DataError("unreadable file", got=error.strerror or str(error), where=path) from error


def _csv(path: Path, faults: Faults, delimiter: str | None, encoding: str, size: int) -> Iterator[Chunk]:
    pa = arrow()
    dialect = dialect_of(path, delimiter, encoding)
    ragged: deque[Any] = deque()

    def invalid(row: Any) -> str:
        ragged.append(row)
        return "skip"

    reader = _open(pa, path, dialect, encoding, size, invalid)
    row, inside = (2 if dialect.header else 1), 0  # row: the next one; inside: line breaks within cells so far
    while True:
        try:
            batch = reader.read_next_batch()
        except StopIteration:
            break
        except pa.ArrowInvalid as error:
            raise _broken(path, error) from error
        columns = {name: batch.column(i) for i, name in enumerate(dialect.names)}
        breaks = _inner_breaks(pa, columns, batch.num_rows)
        lines = np.empty(batch.num_rows, np.int64)
        at = 0
        while at < batch.num_rows:  # from one row that was left out to the next
            while ragged and ragged[0].number == row:
                _report(faults, ragged.popleft(), inside + int(breaks[:at].sum()), path, len(dialect.names))
                row += 1
            end = min(batch.num_rows, at + ragged[0].number - row) if ragged else batch.num_rows
            lines[at:end] = np.arange(row, row + end - at)
            row, at = row + end - at, end
        lines += inside
        lines[1:] += breaks[:-1].cumsum()
        inside += int(breaks.sum())
        yield Chunk(columns, lines)
    for left in ragged:
        _report(faults, left, inside, path, len(dialect.names))


def _report(faults: Faults, row: Any, inside: int, path: Path, columns: int) -> None:
    if row.text.strip():
        where = f"{path.name}, line {row.number + inside:,}"
        tell_ragged(faults, where, columns, f"{row.actual_columns} in {row.text[:60]!r}")


def _open(pa: Any, path: Path, dialect: Dialect, encoding: str, size: int, invalid: Any) -> Any:
    options = pa.csv.ReadOptions(
        use_threads=False,
        block_size=size,
        column_names=list(dialect.names),
        skip_rows=int(dialect.header),
        encoding=encoding,
    )
    parse = pa.csv.ParseOptions(
        delimiter=dialect.delimiter,
        newlines_in_values=True,
        ignore_empty_lines=False,
        invalid_row_handler=invalid,
    )
    # as bytes: what is no text is found by its line, not by its chunk
    convert = pa.csv.ConvertOptions(column_types=dict.fromkeys(dialect.names, pa.binary()))
    try:
        return pa.csv.open_csv(path, read_options=options, parse_options=parse, convert_options=convert)
    except pa.ArrowInvalid as error:
        raise _broken(path, error) from error


def _broken(path: Path, error: Exception) -> DataError:
    text = str(error).splitlines()[0]
    fix = "A quote that is opened and never closed does this"
    if "straddl" not in text and "out of sync" not in text:
        fix = "Is it a table, in the encoding that was said?"
    return DataError("the file cannot be read as a table", got=text, where=path, fix=fix)


def _inner_breaks(pa: Any, columns: dict[str, Any], rows: int) -> NDArray[np.int64]:
    """How many line breaks stand inside each row's cells, `(rows,)`."""
    import pyarrow.compute as pc

    total = np.zeros(rows, np.int64)
    for column in columns.values():
        if pc.any(pc.match_substring(column, "\n")).as_py():
            total += pc.fill_null(pc.count_substring(column, "\n"), 0).to_numpy(zero_copy_only=False)
    return total


def dialect_of(path: Path, delimiter: str | None, encoding: str) -> Dialect:
    """How a CSV file is written, from its beginning. Raises `DataError` for what is no table."""
    rows = _first_rows(path, delimiter, encoding)
    delimiter, cells = rows
    head, rest = cells[0], [row for row in cells[1:] if any(row)]
    header = _is_header(head, rest)
    names = [name.strip() for name in head] if header else []
    names = [name or f"column_{i}" for i, name in enumerate(names, 1)] if header else []
    names = names or [f"column_{i}" for i in range(1, len(head) + 1)]
    check_names(names, path)
    return Dialect(delimiter, tuple(names), header)


def _first_rows(path: Path, delimiter: str | None, encoding: str) -> tuple[str, list[list[str]]]:
    pa = arrow()
    with pa.input_stream(str(path)) as stream:
        head = stream.read(HEAD)
    if not head.strip():
        raise empty(path)
    if encoding.lower().replace("-", "") in ("utf8", "latin1") and b"\0" in head:
        what = "UTF-16 text" if head[:2] in (b"\xff\xfe", b"\xfe\xff") else "binary data"
        fix = "Say so: encoding utf-16" if "16" in what else None
        raise DataError("the file is no table in this encoding", expected=encoding, got=what, where=path, fix=fix)
    try:
        text = head.decode(encoding, "replace" if len(head) == HEAD else "strict").removeprefix("\ufeff")
        if "\ufffd" in text.lstrip().partition("\n")[0]:  # a row may be skipped, but not what names the columns
            codecs.getincrementaldecoder(encoding)().decode(head)  # the last character may be cut off
    except LookupError as error:
        raise DataError("there is no such encoding", got=repr(encoding)) from error
    except UnicodeDecodeError as error:
        raise wrong_encoding(path, head.count(b"\n", 0, error.start) + 1, encoding, head[error.start]) from error
    lines = text.splitlines(keepends=True)
    lines = lines[:-1] if len(head) == HEAD and len(lines) > 1 else lines
    best = delimiter or delimiter_of(lines, suffix_of(path))
    rows = [row for row in csv.reader(lines, delimiter=best) if row]
    return best, rows


def wrong_encoding(path: Path, line: int, encoding: str, byte: int | None = None) -> DataError:
    """The error for text that is not in the encoding said."""
    fix = "Say its encoding, such as latin-1 or cp1252, or convert the file with iconv -t UTF-8"
    got = None if byte is None else f"byte 0x{byte:02x}"
    where = f"{path}, line {line:,}"
    return DataError(f"a text is not {encoding}", expected=encoding, got=got, where=where, fix=fix)


def _is_header(head: Sequence[str], rest: Sequence[Sequence[str]]) -> bool:
    """Whether the first row names the columns: none of its cells is a number or time stamp, or empty throughout."""
    kinds = [recognise("", [cell]).kind for cell in head if cell.strip()]
    if not kinds or any(kind != "category" for kind in kinds):
        return False
    below = [[row[i] for row in rest if i < len(row)] for i in range(len(head))]
    if any(recognise("", cells).kind != "category" for cells in below if cells):
        return True
    return all(cell not in cells for cell, cells in zip(head, below, strict=True))  # of words, one that comes again


def _parquet(path: Path, size: int) -> Iterator[Chunk]:
    file, line = open_parquet(path), 1
    rows = max(size // (16 * max(len(file.schema_arrow.names), 1)), 1000)
    with file:
        for batch in file.iter_batches(rows):
            names = batch.schema.names
            lines = np.arange(line, line + batch.num_rows)
            line += batch.num_rows
            yield Chunk({name: batch.column(i) for i, name in enumerate(names)}, lines)


def _json_lines(path: Path, faults: Faults, encoding: str) -> Iterator[Chunk]:
    """Objects a line; values as text, so that they are recognised as those of a CSV are."""
    pa = arrow()
    names: dict[str, None] = {}
    records: list[dict[str, str | None]] = []
    lines: list[int] = []

    def packed() -> Chunk:
        columns = {name: pa.array([record.get(name) for record in records], pa.string()) for name in names}
        return Chunk(columns, np.asarray(lines, np.int64))

    with pa.input_stream(str(path)) as stream:
        for number, raw in enumerate(_raw_lines(stream), 1):
            if not raw.strip():
                continue
            where = f"{path.name}, line {number:,}"
            try:
                found = json_object(raw.decode(encoding), faults, where)
            except UnicodeDecodeError as error:
                faults.add(f"a text is not {encoding}", where=where, expected=encoding, got=error.reason)
                continue
            if found is None:
                continue
            nested = next((name for name, value in found.items() if isinstance(value, (dict, list))), None)
            if nested is not None:
                got = f"a {type(found[nested]).__name__} in {nested!r}"
                faults.add("a value is neither number nor text", where=where, got=got)
                continue
            record = {name: _cell(value) for name, value in found.items()}
            names.update(dict.fromkeys(record))
            records.append(record)
            lines.append(number)
            if len(records) >= _LINES:
                yield packed()
                records, lines = [], []
    if records:
        yield packed()


def _raw_lines(stream: Any) -> Iterator[bytes]:
    left = b""
    while part := stream.read(1 << 20):
        *whole, left = (left + part).split(b"\n")
        yield from whole
    if left:
        yield left


def _cell(value: Any) -> str | None:
    if value is None:
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str) else repr(value)


__all__ = ["MISSING", "SUFFIXES", "Chunk", "Dialect", "chunks", "dialect_of", "table_files"]
