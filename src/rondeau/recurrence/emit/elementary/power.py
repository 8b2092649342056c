"""pow. In double the logarithm is a sum of two numbers, as its error is multiplied by up to 745: after T. J. Dekker,
*A floating-point technique for extending the available precision*, 1971, with fma for his splitting of factors."""

from __future__ import annotations

from rondeau.recurrence.emit.elementary.exponential import exp, exp_of_sum
from rondeau.recurrence.emit.elementary.logarithm import log_as_sum, log_positive
from rondeau.recurrence.emit.elementary.terms import FLOAT, Term, both, choose, fms, magnitude

_INFINITY = float("inf")


def pow(x: Term, y: Term) -> Term:
    """x**y as in IEEE 754: 1 for y = 0 or x = 1 whatever the other, NaN for finite x < 0 and y no integer."""
    size = magnitude(x)
    result = _size_float(size, y) if x.real is FLOAT else _size_double(size, y)
    # To an infinite power, where the product with the logarithm is NaN; -1 to NaN is no whole power and NaN below.
    result = choose(size.equals(1.0), x.constant(1.0), result)
    whole = y.intrinsic("rint").equals(y)
    half = y * 0.5
    even = half.intrinsic("rint").equals(half)
    sign = x.as_integer() & (1 << (x.real.bits - 1))
    odd = choose(even, sign.constant(0), choose(whole, sign, 0))
    result = (result.as_integer() ^ odd).as_real()
    below = both(x < 0.0, x > -_INFINITY)
    result = choose(below, choose(whole, result, float("nan")), result)
    return choose(y.equals(0.0), x.constant(1.0), choose(x.equals(1.0), x.constant(1.0), result))


def _size_float(x: Term, y: Term) -> Term:
    """In double, where a plain logarithm is good enough."""
    return exp(y.extend() * _with_ends(x.extend(), log_positive(x.extend()))).truncate()


def _size_double(x: Term, y: Term) -> Term:
    high, low = log_as_sum(x)
    high = _with_ends(x, high)
    power = y * high
    return exp_of_sum(power, fms(y, high, power) + y * low)


def _with_ends(x: Term, log: Term) -> Term:
    """The logarithm also of 0, infinity and NaN, for x that is not negative."""
    return choose(x > 0.0, choose(x < _INFINITY, log, x), choose(x.equals(0.0), x.constant(-_INFINITY), x))


FORMULAS = {"pow": pow}
