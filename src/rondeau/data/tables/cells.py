"""A column's cells as values: from Arrow arrays of text, bytes or types of their own."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from rondeau.data.faults import Faults
from rondeau.data.tables.kinds import MISSING, STAMPS, Form, to_stamps

_WHAT = {
    "number": "a number is corrupt or infinite",
    "time": "a time stamp is corrupt",
}


def missing(kind: str, values: NDArray[Any]) -> NDArray[np.bool_]:
    """Which values of a column of a kind are missing."""
    found: NDArray[np.bool_] = (
        values < 0 if kind == "category" else np.isnat(values) if kind == "time" else np.isnan(values)
    )
    return found


class Reader:
    """Turns the chunks of one column into values; categories are numbered as they come.

    Args:
        name, form: of the column. comma: whether a comma is the decimal point. encoding: of text, for messages.
    """

    def __init__(self, name: str, form: Form, comma: bool, encoding: str) -> None:
        self.name, self.form, self.comma, self.encoding = name, form, comma, encoding
        self.labels: dict[str, int] = {}

    @staticmethod
    def sample(column: Any, rows: int, encoding: str) -> list[str] | Form:
        """The first cells as text; or the form, where the file says what the column holds."""
        import pyarrow as pa

        kind = column.type
        if pa.types.is_dictionary(kind):
            kind = kind.value_type
        if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
            return Form("time", "the file says so", "arrow")
        if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
            return Form("number", "the file says so", "arrow")
        if pa.types.is_boolean(kind):
            return Form("category", "the file says that it holds true and false", "arrow")
        first = column.slice(0, rows).to_pylist()
        return ["" if c is None else c.decode("utf-8", "replace") if isinstance(c, bytes) else str(c) for c in first]

    def read(self, column: Any) -> tuple[NDArray[Any], NDArray[np.int64]]:
        """The values of a chunk `(rows,)`, and the rows that hold none."""
        import pyarrow as pa
        import pyarrow.compute as pc

        if pa.types.is_dictionary(column.type):
            column = column.dictionary_decode()
        text, bad = _decoded(column)
        if self.form.kind == "category":
            return self._categories(text), bad
        if pa.types.is_string(text.type):
            text = pc.if_else(pc.is_in(text, pa.array(MISSING)), pa.scalar(None, pa.string()), text)
        unknown = text.is_null().to_numpy(zero_copy_only=False)
        values = self._numbers(text) if self.form.kind == "number" else self._stamps(text)
        empty = ~np.isfinite(values) if self.form.kind == "number" else np.isnat(values)
        if self.form.kind == "number" and not pa.types.is_string(text.type):
            unknown |= np.isnan(values)  # Parquet has both NaN and nothing
        return values, np.union1d(bad, np.flatnonzero(empty & ~unknown)).astype(np.int64)

    def _categories(self, text: Any) -> NDArray[Any]:
        import pyarrow as pa
        import pyarrow.compute as pc

        if not pa.types.is_string(text.type):
            text = pc.cast(text, pa.string())
        packed = text.dictionary_encode()
        words = [word.strip() for word in packed.dictionary.to_pylist()]
        numbers = [-1 if word in MISSING else self.labels.setdefault(word, len(self.labels)) for word in words]
        codes = pc.fill_null(packed.indices, len(numbers)).to_numpy(zero_copy_only=False)
        table: NDArray[Any] = np.asarray([*numbers, -1], np.int32)
        values: NDArray[Any] = table[codes]
        return values

    def _numbers(self, text: Any) -> NDArray[Any]:
        import pandas as pd
        import pyarrow as pa
        import pyarrow.compute as pc

        if pa.types.is_string(text.type):
            if self.comma:
                text = pc.replace_substring(text, ",", ".")
            try:
                numbers = pc.cast(text, pa.float64())
            except pa.ArrowInvalid:  # some cell is none: which?
                cells = pd.Series(pc.utf8_trim_whitespace(text).to_pylist(), dtype=object)
                cells[cells.isin(MISSING)] = None
                return np.asarray(pd.to_numeric(cells, errors="coerce"), np.float64)
        else:
            numbers = pc.cast(text, pa.float64(), safe=False)
        return np.array(pc.fill_null(numbers, np.nan).to_numpy(zero_copy_only=False), np.float64)

    def _stamps(self, text: Any) -> NDArray[Any]:
        import pyarrow as pa
        import pyarrow.compute as pc

        if not pa.types.is_string(text.type):
            if pa.types.is_integer(text.type) or pa.types.is_floating(text.type):
                return to_stamps(text.to_numpy(zero_copy_only=False), self.form.format.replace("arrow", "s"))
            return np.asarray(pc.cast(text, pa.timestamp("us"), safe=False).to_numpy(zero_copy_only=False), STAMPS)
        if self.form.format == "iso":
            try:
                return np.asarray(pc.cast(text, pa.timestamp("us")).to_numpy(zero_copy_only=False), STAMPS)
            except pa.ArrowInvalid:  # a zone, a month without a day, or a corrupt one
                pass
        cells = np.asarray(pc.utf8_trim_whitespace(text).to_pylist(), object)
        return to_stamps(cells, self.form.format)

    def report(self, faults: Faults, column: Any, row: int, where: str, expected: str) -> None:
        """Tell of a bad cell."""
        cell = column[row].as_py()
        try:
            shown = cell.decode() if isinstance(cell, bytes) else str(cell)
        except UnicodeDecodeError as error:
            byte = f"byte 0x{error.object[error.start]:02x} in column {self.name!r}"
            fix = "Say its encoding, such as latin-1 or cp1252, or convert the file with iconv -t UTF-8"
            faults.add(f"a text is not {self.encoding}", where=where, expected=self.encoding, got=byte, fix=fix)
            return
        wanted = {"number": "a number", "time": "a time stamp"}[expected]
        got = f"{shown[:40]!r} in column {self.name!r}"
        faults.add(_WHAT[expected], where=where, expected=wanted, got=got)


def _decoded(column: Any) -> tuple[Any, NDArray[np.int64]]:
    """Bytes as text, and the rows that are none."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if not (pa.types.is_binary(column.type) or pa.types.is_large_binary(column.type)):
        text = pc.cast(column, pa.string()) if pa.types.is_large_string(column.type) else column
        return text, np.zeros(0, np.int64)
    try:
        return pc.cast(column, pa.string()), np.zeros(0, np.int64)
    except pa.ArrowInvalid:
        cells: list[str | None] = []
        bad = []
        for row, cell in enumerate(column.to_pylist()):
            try:
                cells.append(None if cell is None else cell.decode())
            except UnicodeDecodeError:
                cells.append(None)
                bad.append(row)
        return pa.array(cells, pa.string()), np.asarray(bad, np.int64)
