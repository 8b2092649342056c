"""Predictions as a file or on standard output: JSON lines, or CSV."""

from __future__ import annotations

import csv
import json
import shlex
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from rondeau.errors import ArgumentError, DataError


def write_records(records: Iterable[dict[str, Any]], out: Path | None) -> int:
    """Write records as they come, and say how many; CSV where `out` ends in .csv, standard output where it is None.

    In CSV a column is a key of the first record, and what is no text or number stands as JSON. Raises `DataError` for a
    later record with another key.
    """
    with _opened(out) as file:
        if out is not None and out.suffix.lower() == ".csv":
            return _write_csv(records, file, out)
        count = 0
        for record in records:
            file.write(json.dumps(record, ensure_ascii=False) + "\n")
            file.flush()
            count += 1
        return count


def _write_csv(records: Iterable[dict[str, Any]], file: IO[str], out: Path) -> int:
    count, writer = 0, None
    for record in records:
        if writer is None:
            writer = csv.DictWriter(file, list(record), extrasaction="raise")
            writer.writeheader()
        strange = set(record) - set(writer.fieldnames)
        if strange:
            fix = "Write JSON lines instead: --out predictions.jsonl"
            raise DataError("a prediction has other columns", got=sorted(strange), where=f"{out}, row {count}", fix=fix)
        writer.writerow({key: _cell(value) for key, value in record.items()})
        count += 1
    return count


def _cell(value: Any) -> Any:
    return value if isinstance(value, (str, int, float)) or value is None else json.dumps(value, ensure_ascii=False)


@contextmanager
def _opened(out: Path | None) -> Iterator[IO[str]]:
    if out is None:
        yield sys.stdout
        return
    if not out.parent.is_dir():
        fix = f"Make it first: mkdir -p {shlex.quote(str(out.parent))}"
        raise ArgumentError("--out: there is no such folder", got=str(out.parent), fix=fix)
    with out.open("w", encoding="utf-8", newline="") as file:
        yield file
