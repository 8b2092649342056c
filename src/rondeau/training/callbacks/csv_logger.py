"""`CSVLogger`: the values of each epoch as a row of a CSV file."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from rondeau.errors import ArgumentError, DataError
from rondeau.training.callbacks.base import Callback, Logs
from rondeau.training.files import write_atomically


class CSVLogger(Callback):
    """Writes `epoch` (from 0) and what is in the logs, a row an epoch; the file is whole at every moment.

    Args:
        filename: the file; folders above it are made.
        separator: what stands between two values, one character (default ',').
        append: go on after the rows that are there (default false: begin anew with each `fit`).

    Columns are sorted, and are there for validation too where there is none; a value an epoch does not have is `NA`, as
    in Keras. A value that first comes in a later epoch gets a column at the end. A run taken up by `BackupAndRestore`
    goes on with the rows it had.

    Raises `DataError` where it is to append to a file that is no such table.
    """

    def __init__(self, filename: str | os.PathLike[str], separator: str = ",", append: bool = False) -> None:
        if not isinstance(separator, str) or len(separator) != 1 or separator in '"\r\n':
            raise ArgumentError("CSVLogger: separator", expected="one character", got=repr(separator))
        self.filename, self.separator, self.append = Path(filename), separator, append
        self.columns: list[str] = []
        self.rows: list[dict[str, str]] = []

    def on_train_begin(self, logs: Logs) -> None:
        self.columns, self.rows = [], []
        if self.append and self.filename.exists():
            self._read()

    def _read(self) -> None:
        with self.filename.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file, delimiter=self.separator)
            self.columns = list(reader.fieldnames or [])
            self.rows = list(reader)
        ragged = any(None in row or None in row.values() for row in self.rows)
        if ragged or self.columns[:1] not in ([], ["epoch"]):
            what, expected = "CSVLogger cannot append to this file", f"a table, separated by {self.separator!r}"
            got = "a row of another length" if ragged else f"columns {self.columns}, epoch not first"
            raise DataError(what, expected=expected, got=got, where=self.filename)

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        if not self.columns:
            names = sorted(logs)
            if not any(name.startswith("val_") for name in names):
                names += [f"val_{name}" for name in names]
            self.columns = ["epoch", *names]
        self.columns += [name for name in logs if name not in self.columns]
        self.rows.append({"epoch": str(epoch)} | {name: _text(value) for name, value in logs.items()})
        self._write()

    def _write(self) -> None:
        text = io.StringIO()
        writer = csv.DictWriter(text, self.columns, restval="NA", delimiter=self.separator)
        writer.writeheader()
        writer.writerows(self.rows)
        self.filename.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(self.filename, text.getvalue().encode())

    def state(self) -> dict[str, Any]:
        return {"columns": self.columns, "rows": self.rows}

    def restore(self, state: dict[str, Any]) -> None:
        self.columns, self.rows = list(state["columns"]), [dict(row) for row in state["rows"]]


def _text(value: Any) -> str:
    if isinstance(value, (np.generic, np.ndarray, torch.Tensor)):
        value = value.tolist()
    if isinstance(value, Iterable) and not isinstance(value, str):
        return f'"[{", ".join(map(str, value))}]"'
    return str(value)
