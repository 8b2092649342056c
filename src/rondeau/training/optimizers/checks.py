"""What a hyperparameter may be: each check gives the value back or raises `ArgumentError`."""

from __future__ import annotations

import math
from numbers import Real
from typing import Any

from rondeau.errors import ArgumentError


def number(where: str, name: str, value: Any, fix: str | None = None) -> float:
    """`value` as a finite float; NumPy's scalars are numbers too, `True` and `False` are not."""
    if isinstance(value, bool) or not isinstance(value, Real):
        raise ArgumentError(f"{name} is not a number", expected="a float", got=repr(value), where=where, fix=fix)
    result = float(value)
    if not math.isfinite(result):
        raise ArgumentError(f"{name} is not finite", expected="a finite number", got=result, where=where, fix=fix)
    return result


def not_negative(where: str, name: str, value: Any) -> float:
    """A number of zero or more."""
    result = number(where, name, value)
    if result < 0:
        raise ArgumentError(f"{name} is negative", expected="zero or more", got=result, where=where)
    return result


def positive(where: str, name: str, value: Any, fix: str | None = None) -> float:
    """A number above zero."""
    result = number(where, name, value)
    if result <= 0:
        raise ArgumentError(f"{name} is not positive", expected="a number above 0", got=result, where=where, fix=fix)
    return result


def fraction(where: str, name: str, value: Any) -> float:
    """The share of an average that stays at each step: 0 keeps nothing; 1 would never learn."""
    result = number(where, name, value)
    if not 0 <= result < 1:
        raise ArgumentError(f"{name} is out of range", expected="0 or more, below 1", got=result, where=where)
    return result
