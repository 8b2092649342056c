"""Standard input as a file, so that it is read as any other: what it holds shows in its first bytes."""

from __future__ import annotations

import csv
import itertools
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rondeau.errors import RondeauError

NAME = "standard input"


@contextmanager
def standard_input(first: bytes | None = None, suffix: str | None = None) -> Iterator[Path]:
    """All of standard input in a file called `standard input`, which goes when the block is left.

    Args:
        first: what has been read of it already; default: nothing.
        suffix: of the file; default: that of what it looks like, see `suffix_of_bytes`.
    """
    head = sys.stdin.buffer.readline() if first is None else first
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / f"{NAME}{suffix_of_bytes(head) if suffix is None else suffix}"
        with file.open("wb") as copy:
            copy.write(head)
            shutil.copyfileobj(sys.stdin.buffer, copy)
        try:
            yield file
        except RondeauError as error:  # where the file lies for a moment helps nobody
            if error.where is not None:
                error.where = str(error.where).replace(f"{folder}{os.sep}", "")
            raise


def first_line() -> tuple[bytes, Iterator[bytes]]:
    """The first line of standard input, and all lines, that one among them."""
    source = sys.stdin.buffer
    line = source.readline()
    return line, itertools.chain([line] if line else [], source)


def suffix_of_bytes(head: bytes) -> str:
    """`.jsonl`, `.parquet`, `.ts`, else `.csv`, as the first bytes of a table or of series have it.

    >>> [suffix_of_bytes(head) for head in (b'{"a": 1}', b"PAR1", b"@problemName Toy", b"a,b")]
    ['.jsonl', '.parquet', '.ts', '.csv']
    """
    start = head[:100].removeprefix(b"\xef\xbb\xbf").lstrip()
    if start.startswith(b"PAR1"):
        return ".parquet"
    if start.startswith(b"{"):
        return ".jsonl"
    return ".ts" if start.startswith((b"@", b"#", b"%")) else ".csv"


def table_of_texts(line: str, column: str | None) -> str | None:
    """The suffix of the table that begins with a line: a JSON object, or a header with the column; None for a text.

    >>> [table_of_texts(line, "body") for line in ('{"body": "x"}', "n;body", "body", "somebody came, and went")]
    ['.jsonl', '.csv', '.csv', None]
    """
    line = line.lstrip("\ufeff ").rstrip("\r\n")
    if line.startswith("{"):
        try:
            return ".jsonl" if isinstance(json.loads(line), dict) else None
        except ValueError:
            return None
    if column is None:
        return None
    heads = (next(csv.reader([line], delimiter=delimiter), []) for delimiter in ",;\t|")
    return ".csv" if any(column in (field.strip() for field in head) for head in heads) else None
