"""What a column of a table holds, found in its first values: time stamps, numbers or categories; and its conversion."""

from __future__ import annotations

import re
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rondeau.errors import ArgumentError

Kind = Literal["time", "number", "category"]
KINDS: tuple[Kind, ...] = ("time", "number", "category")
MISSING = ("", "NA", "N/A", "NaN", "nan", "null", "NULL", "None", "none", "-", "?")
"""Cells that mean that nothing is known."""

STAMPS = np.dtype("datetime64[us]")
_MOST = 0.95  # of the first values, or all but one: a corrupt one does not make words of a column of numbers
_CODE = re.compile(r"(^|[_ .-])(id|ids|code|zip|zipcode|postcode)$|[a-z](Id|ID|Code)$", re.IGNORECASE)
_TIME = re.compile(r"date|time|stamp|month|year|^(t|ts|ds|day|hour|week)$", re.IGNORECASE)
_ISO = re.compile(r"\d{4}-?\d{2}(-?\d{2})?([T ]\d{1,2}(:?\d{2}(:?\d{2}([.,]\d+)?)?)?(Z|[+-]\d{2}:?\d{2})?)?$")
_FIELDS = re.compile(r"(\d{1,4})([./-])(\d{1,2})\2(\d{1,4})([ T]+\d{1,2}:\d{2}(:\d{2}(\.\d+)?)?)?$")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$")
_COMMA = re.compile(r"[+-]?\d*,\d+$")
_EPOCHS = ((1e8, 5e9, "s"), (1e11, 5e12, "ms"), (1e14, 5e15, "us"), (1e17, 5e18, "ns"))


class Form(NamedTuple):
    """How a column's cells are read: `kind`, why (`reason`), and for time stamps their `format` (see `to_stamps`)."""

    kind: Kind
    reason: str
    format: str = ""


def recognise(name: str, cells: list[str], comma: bool = False) -> Form:
    """The form of a column from its name and first cells, missing ones among them.

    Args:
        comma: whether a comma is the decimal point.
    """
    known = [cell.strip() for cell in cells if cell.strip() not in MISSING]
    if not known:
        return Form("category", "its first values are all missing")
    stamps = _stamps(name, known)
    if stamps is not None:
        return stamps
    numbers = sum(bool(_NUMBER.match(cell.replace(",", ".") if comma else cell)) for cell in known)
    if _most(numbers, len(known)):
        if _CODE.search(name):
            return Form("category", f"numbers, but the name {name!r} says that they only tell one thing from another")
        return Form("number", "its values are numbers" + (" with a decimal comma" if comma else ""))
    return Form("category", f"its values are words, such as {known[0][:30]!r}")


def given(name: str, kind: str, cells: list[str], comma: bool = False) -> Form:
    """The form of a column whose kind the user says. Raises `ArgumentError` for a kind there is not."""
    if kind not in KINDS:
        raise ArgumentError(f"the kind of column {name!r}", expected=", ".join(map(repr, KINDS)), got=repr(kind))
    found = recognise(name, cells, comma)
    format = found.format or _numeric_format([c.strip() for c in cells if c.strip() not in MISSING]) or "iso"
    return Form(kind, "it was asked for", format if kind == "time" else "")


def decimal_comma(columns: list[list[str]]) -> bool:
    """Whether numbers have a decimal comma: some cells look so, and none has a point."""
    cells = [cell.strip() for column in columns for cell in column]
    return any(map(_COMMA.match, cells)) and not any(_NUMBER.match(cell) and "." in cell for cell in cells)


def _most(good: int, all_of_them: int) -> bool:
    return good >= _MOST * all_of_them or (all_of_them >= 4 and good == all_of_them - 1)


def _stamps(name: str, known: list[str]) -> Form | None:
    shown = f"such as {known[0][:30]!r}"
    for pattern in (_ISO, _FIELDS):
        if _most(sum(bool(pattern.match(cell)) for cell in known), len(known)):
            if pattern is _ISO and all(cell.isdigit() for cell in known) and not _TIME.search(name):
                return None  # 20190101 may be a number; its name would say that it is none
            format = "iso" if pattern is _ISO else _order(known)
            words = {"iso": "time stamps", "dmy": "day first", "mdy": "month first", "ymd": "year first"}
            return Form("time", f"{words[format]}, {shown}", format)
    numeric = _numeric_format(known) if _TIME.search(name) else None
    if numeric is None:
        return None
    what = "years" if numeric == "year" else f"time since 1970 in {numeric}"
    return Form("time", f"{what} by name and size, {shown}", numeric)


def _numeric_format(known: list[str]) -> str | None:
    """'year', or the unit of a time since 1970; None where the cells are neither."""
    good = [float(cell) for cell in known if _NUMBER.match(cell)]
    if not good or not _most(len(good), len(known)):
        return None
    low, high = min(good), max(good)
    if low >= 1700 and high <= 2200 and all(value == int(value) for value in good):
        return "year"
    return next((unit for least, most, unit in _EPOCHS if least <= low and high <= most), None)


def _order(known: list[str]) -> str:
    """'ymd', 'dmy' or 'mdy': which fields of a date exceed 12; where none does, a point or dash means day first."""
    first, third, separators = set(), set(), set()
    for cell in known:
        match = _FIELDS.match(cell)
        if match:
            if len(match[1]) > 2:
                return "ymd"
            first.add(int(match[1]))
            third.add(int(match[3]))
            separators.add(match[2])
    if max(first, default=0) > 12:
        return "dmy"
    return "mdy" if max(third, default=0) > 12 or separators == {"/"} else "dmy"


def to_stamps(cells: NDArray[Any], format: str) -> NDArray[Any]:
    """Text as stamps of microseconds, UTC where a zone is given; NaT for what is none.

    Args:
        format: 'iso'; 'dmy', 'mdy' or 'ymd': fields of a date, then perhaps a time; 'year'; or 's', 'ms', 'us', 'ns':
            numbers since 1970.
    """
    import pandas as pd

    if format == "year":
        return np.asarray(pd.to_datetime(pd.Series(cells), format="%Y", errors="coerce"), STAMPS)
    if format in ("s", "ms", "us", "ns"):
        numbers = pd.to_numeric(pd.Series(cells), errors="coerce").to_numpy(np.float64)
        per = {"s": 1e6, "ms": 1e3, "us": 1.0, "ns": 1e-3}[format]
        stamps = np.where(np.isfinite(numbers), numbers * per, 0).astype(np.int64).astype(STAMPS)
        stamps[~np.isfinite(numbers)] = np.datetime64("NaT")
        return stamps
    if format == "iso":
        found = pd.to_datetime(pd.Series(cells), format="ISO8601", errors="coerce", utc=True)
        return np.asarray(found.dt.tz_localize(None), STAMPS)
    text = pd.Series(cells).str.replace(r"[./-]", "/", n=2, regex=True).str.replace("T", " ", n=1)
    date = {"dmy": "%d/%m/%Y", "mdy": "%m/%d/%Y", "ymd": "%Y/%m/%d"}[format]
    stamps = np.full(len(cells), np.datetime64("NaT"), STAMPS)
    for clock in ("", " %H:%M:%S", " %H:%M", " %H:%M:%S.%f"):
        left = np.isnat(stamps)
        if left.any():
            part = text[left]
            stamps[left] = np.asarray(pd.to_datetime(part, format=date + clock, errors="coerce"), STAMPS)
    return stamps
