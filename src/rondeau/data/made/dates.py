"""Dates as people write them and in ISO's form, made from a seed: a small translation that turns the order round."""

from __future__ import annotations

import random
from datetime import date, timedelta

from rondeau.data.texts.pairs import Pair

# not the calendar module's: those are in the machine's language
_MONTHS, _UNITS, _TENS = (
    line.split()
    for line in (
        "January February March April May June July August September October November December",
        "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen"
        " seventeen eighteen nineteen",
        "twenty thirty forty fifty sixty seventy eighty ninety",
    )
)
_DAYS_OF_WEEK = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_ORDINALS = {"one": "first", "two": "second", "three": "third", "five": "fifth", "eight": "eighth", "nine": "ninth"}
_ORDINALS["twelve"] = "twelfth"
_FIRST, _DAYS = date(1900, 1, 1), 73_000  # two centuries


def dates(seed: int = 0, rows: int = 6000) -> list[Pair]:
    """Different dates in words, in one of several ways each, beside `1998-03-25`.

    >>> len({pair.target for pair in dates(0, 100)})
    100
    """
    generator = random.Random(seed)
    found = []
    for number, days in enumerate(generator.sample(range(_DAYS), rows)):
        day = _FIRST + timedelta(days)
        found.append(Pair(_said(day, generator), day.isoformat(), f"date {number + 1}"))
    return found


def _said(day: date, generator: random.Random) -> str:
    month, year = _MONTHS[day.month - 1], _year(day.year)
    ways = (
        f"{_ordinal(day.day)} of {month} {year}",
        f"{month} the {_ordinal(day.day)}, {year}",
        f"{_DAYS_OF_WEEK[day.weekday()]}, {month} {day.day}, {day.year}",
        f"{day.day} {month} {day.year}",
        f"{day.day} {month[:3]} {day.year % 100:02}" if day.year >= 2000 else f"{month[:3]} {day.day} {day.year}",
    )
    return generator.choice(ways)


def _number(n: int) -> str:
    if n < 20:
        return _UNITS[n]
    return _TENS[n // 10 - 2] + (f"-{_UNITS[n % 10]}" if n % 10 else "")


def _ordinal(n: int) -> str:
    head, dash, last = _number(n).rpartition("-")
    if last not in _ORDINALS:
        last = f"{last[:-1]}ieth" if last.endswith("y") else f"{last}th"
    return head + dash + _ORDINALS.get(last, last)


def _year(n: int) -> str:
    if 2000 <= n < 2010:
        return "two thousand" + (f" and {_number(n % 100)}" if n % 100 else "")
    high, low = divmod(n, 100)
    return f"{_number(high)} " + ("hundred" if low == 0 else f"oh {_number(low)}" if low < 10 else _number(low))
