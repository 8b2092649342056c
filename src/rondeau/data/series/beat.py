"""How a series' time stamps follow each other: every so many months, working days, seconds, or irregularly."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rondeau.data.tables.kinds import STAMPS

Stamps = NDArray[Any]
_SECOND = 1_000_000  # in microseconds, the unit of stamps
_DAY = 86_400 * _SECOND
_REGULAR = 0.98  # of the steps between stamps are whole multiples of the usual one


@dataclass(frozen=True)
class Step:
    """The time from one value to the next.

    Attributes:
        unit: 'months', 'working days', 'time' (microseconds), 'number' (of a column that counts), or 'irregular'
            (microseconds, the usual one).
        size: so many of them.
    """

    unit: str
    size: float

    def describe(self) -> str:
        """In words: `every 3 months`."""
        if self.unit == "irregular":
            return f"at irregular times, usually {_duration(self.size)} apart"
        if self.unit == "number":
            return "at every count" if self.size == 1 else f"at every count of {self.size:g}"
        if self.unit == "time":
            return f"every {_duration(self.size)}"
        words = {"months": "month", "working days": "working day"}
        return f"every {words[self.unit]}" if self.size == 1 else f"every {self.size:g} {self.unit}"

    def places(self, stamps: Stamps, first: Any) -> NDArray[np.float64]:
        """How many steps after the stamps `first` the stamps are; not whole where a stamp is off the beat."""
        if self.unit == "months":
            return (_month(stamps) - _month(first)) / self.size
        if self.unit == "working days":
            begin, end = np.asarray(first).astype("datetime64[D]"), stamps.astype("datetime64[D]")
            return np.asarray(np.busday_count(begin, end), np.float64)
        span: NDArray[np.float64] = (stamps - first).astype(np.int64) / self.size
        return span

    def stamp(self, first: Any, places: NDArray[np.int64]) -> Stamps:
        """The stamps so many steps after `first`; both broadcast."""
        first = np.asarray(first, STAMPS)
        if self.unit == "months":
            month = first.astype("datetime64[M]")
            last = (month + 1).astype(STAMPS) - np.timedelta64(1, "D") <= first  # the last day of a month stays that
            beyond = month + (places * int(self.size)).astype("timedelta64[M]")
            length = ((beyond + 1).astype("datetime64[D]") - beyond.astype("datetime64[D]")).astype(np.int64)
            offset = (first - month.astype(STAMPS)).astype(np.int64)
            day = np.where(last, length - 1, np.minimum(offset // _DAY, length - 1))
            within = (day * _DAY + offset % _DAY).astype("timedelta64[us]")
            return np.asarray(beyond.astype(STAMPS) + within)
        if self.unit == "working days":
            day = first.astype("datetime64[D]")
            return np.asarray(np.busday_offset(day, places, roll="forward").astype(STAMPS) + (first - day))
        return np.asarray(first + np.rint(places * self.size).astype(np.int64).astype("timedelta64[us]"))

    def to_json(self) -> dict[str, Any]:
        """As `Step(**...)` takes it."""
        return {"unit": self.unit, "size": self.size}

    def seasons(self) -> list[int]:
        """The steps of a day, a week, a year and the like, where a step is short enough for them to be a season."""
        if self.unit == "months":
            return [int(12 / self.size)] if 12 % self.size == 0 and self.size < 12 else []
        if self.unit == "working days":
            return [5, 260]
        if self.unit != "time":
            return []
        spans = [3600 * _SECOND, _DAY, 7 * _DAY, 365.25 * _DAY]
        found = [span / self.size for span in spans]
        return [round(n) for n in found if n >= 2 and (abs(n - round(n)) < 1e-9 or n > 50)]


def step_of(stamps: Stamps, series: NDArray[np.int64], counted: bool = False) -> Step:
    """The usual step of series, rows sorted by series and stamp.

    Args:
        stamps: `(rows,)`; series: of each row its number; counted: whether the stamps are a column of numbers.
    """
    within = np.diff(series) == 0
    gaps = np.diff(stamps).astype(np.int64)[within]
    gaps = gaps[gaps > 0]
    if not len(gaps):
        return Step("number" if counted else "time", 1.0 if counted else float(_DAY))
    sizes, counts = np.unique(gaps, return_counts=True)
    usual = float(sizes[counts.argmax()])
    if counted:
        return Step("number", usual) if _multiples(gaps / usual) else Step("irregular", float(np.median(gaps)))
    months = np.diff(_month(stamps))[within]
    months = months[months > 0]
    if len(months) == len(gaps) and _same_day(stamps):
        least, often = np.unique(months, return_counts=True)
        step = float(least[often.argmax()])
        if _multiples(months / step):
            return Step("months", step)
    days = stamps.astype("datetime64[D]")
    if usual == _DAY and not np.is_busday(days[: len(gaps)]).min():
        return _fixed(gaps, usual)
    if usual == _DAY and len(gaps) > 7 and (gaps == 3 * _DAY).any():
        return Step("working days", 1.0)
    return _fixed(gaps, usual)


def _fixed(gaps: NDArray[np.int64], usual: float) -> Step:
    return Step("time", usual) if _multiples(gaps / usual) else Step("irregular", float(np.median(gaps)))


def _multiples(ratios: NDArray[Any]) -> bool:
    whole = (np.abs(ratios - np.rint(ratios)) < 1e-6) & (ratios > 0.5)
    return bool(whole.mean() >= _REGULAR)


def _month(stamps: Any) -> NDArray[np.float64]:
    return np.asarray(stamps).astype("datetime64[M]").astype(np.int64).astype(np.float64)


def _same_day(stamps: Stamps) -> bool:
    """Whether all stand on one day of the month at one time of day, or all on the month's last day."""
    month = stamps.astype("datetime64[M]")
    offset = (stamps - month.astype(STAMPS)).astype(np.int64)
    if (offset == offset[0]).all():
        return True
    left = ((month + 1).astype(STAMPS) - stamps).astype(np.int64)
    return bool((left == left[0]).all() and 0 < left[0] <= _DAY)


def _duration(microseconds: float) -> str:
    for size, word in ((7 * _DAY, "week"), (_DAY, "day"), (3600 * _SECOND, "hour"), (60 * _SECOND, "minute")):
        if microseconds >= size and microseconds % size == 0:
            count = int(microseconds // size)
            return word if count == 1 else f"{count} {word}s"
    return f"{microseconds / _SECOND:g} seconds"


CYCLES = {"hour": 3600 * _SECOND, "day": _DAY, "week": 7 * _DAY, "year": 365 * _DAY}
"""What a calendar repeats, in microseconds."""


def cycles_within(stamps: Stamps, step: Step) -> tuple[str, ...]:
    """The cycles that the stamps go through once and a half at least: of the others nothing can be learnt."""
    if step.unit == "number" or not len(stamps):
        return ()
    span = int((stamps.max() - stamps.min()).astype(np.int64))
    return tuple(name for name, length in CYCLES.items() if span >= 1.5 * length)


def calendar(
    stamps: Stamps, step: Step, cycles: tuple[str, ...] = tuple(CYCLES)
) -> tuple[NDArray[np.float32], list[str]]:
    """Where stamps stand in the hour, day, week and year: sine and cosine of each that a step is short enough for.

    `cycles`: only those. Returns `(..., features)` and their names; none of stamps that only count. Three waves for
    hours and week days, two for the year: what comes once a year lasts weeks rather than hours.
    """
    if step.unit == "number":
        return np.zeros((*stamps.shape, 0), np.float32), []
    length = {"months": 30.0 * _DAY * step.size, "working days": float(_DAY)}.get(step.unit, step.size)
    micro = stamps.astype(np.int64)
    year = stamps.astype("datetime64[Y]")
    in_year = (stamps - year.astype(STAMPS)).astype(np.int64) / (365.25 * _DAY)
    if step.unit == "months":
        in_year = (_month(stamps) % 12) / 12
    shares = {
        "hour": (micro % (3600 * _SECOND) / (3600 * _SECOND), 2),
        "day": (micro % _DAY / _DAY, 3),
        "week": ((micro + 3 * _DAY) % (7 * _DAY) / (7 * _DAY), 3),
        "year": (in_year, 2),
    }
    columns, names = [], []
    for name in cycles:
        share, waves = shares[name]
        for wave in range(1, waves + 1):
            if length * 2 * wave <= CYCLES[name]:
                angle = 2 * np.pi * wave * share
                columns += [np.sin(angle), np.cos(angle)]
                names += [f"{name} sin {wave}", f"{name} cos {wave}"]
    if not columns:
        return np.zeros((*stamps.shape, 0), np.float32), []
    return np.stack(columns, -1).astype(np.float32), names


def texts(stamps: Stamps) -> list[Any]:
    """Stamps for JSON: as short as they may be, or the numbers they are."""
    if stamps.dtype.kind != "M":
        return [int(one) for one in stamps]
    return [str(one).removesuffix(".000000").removesuffix("T00:00:00") for one in stamps]
