"""asin, acos and atan."""

from __future__ import annotations

import math

from rondeau.recurrence.emit.elementary.terms import Term, choose, copy_sign, fma, magnitude, polynomial

# (atan(t) / t - 1) / t² by powers of t², for |t| <= tan(π/8); relative errors 6.7e-10 and 1.3e-18.
_ATAN = {
    "float": (
        -0.33333315149206455, 0.19998469219695028, -0.14243490210250107, 0.10593489624173778, -0.06077377981378596,
    ),
    "double": (
        -0.3333333333333319, 0.19999999999952944, -0.1428571428013731, 0.11111110780663613, -0.09090897680947858,
        0.07692058906178599, -0.06663089782792755, 0.05847789762520278, -0.05038874795247664, 0.03805409742990822,
        -0.017896238410239098,
    ),
}  # fmt: skip

# (asin(t) / t - 1) / t² by powers of t², for |t| <= 1/2; relative errors 4.8e-9 and 9.3e-19.
_ASIN = {
    "float": (0.1666675247193926, 0.07495297352307652, 0.045470460284924866, 0.024178973809578473, 0.04216732722657917),
    "double": (
        0.16666666666666757, 0.07499999999971386, 0.04464285717410975, 0.03038194272964546, 0.022372214421854046,
        0.01735162145768706, 0.013980714263028732, 0.011399735844745651, 0.010775847770944235, 0.0037223869219104684,
        0.02166991367504105, -0.02094754997964473, 0.03259726301884075,
    ),
}  # fmt: skip


def atan(x: Term) -> Term:
    """π/2 - atan(1/x), π/4 + atan((x - 1) / (x + 1)) or itself, by size: one quotient of chosen parts serves all."""
    size = magnitude(x)
    high, middle = size > math.tan(3 * math.pi / 8), size > math.tan(math.pi / 8)
    above = choose(high, x.constant(-1.0), choose(middle, size - 1.0, size))
    below = choose(high, size, choose(middle, size + 1.0, 1.0))
    offset = choose(high, x.constant(math.pi / 2), choose(middle, x.constant(math.pi / 4), 0.0))
    t = above / below
    z = t * t
    return copy_sign(offset + t * fma(z, polynomial(z, _ATAN[x.real.element]), 1.0), x)


def _asin_parts(x: Term) -> tuple[Term, Term, Term]:
    """|x| <= 1/2; then asin(|x|) there, and asin(√((1 - |x|) / 2)) elsewhere, as t and what is to be added to it."""
    size = magnitude(x)
    small = size <= 0.5
    z = choose(small, size * size, fma(size, -0.5, 0.5))
    t = choose(small, size, z.intrinsic("sqrt"))
    return small, t, t * z * polynomial(z, _ASIN[x.real.element])


def asin(x: Term) -> Term:
    """π/2 - 2 asin(√((1 - x) / 2)) beyond 1/2."""
    small, t, rest = _asin_parts(x)
    value = t + rest
    return copy_sign(choose(small, value, fma(value, -2.0, math.pi / 2)), x)


def acos(x: Term) -> Term:
    """π/2 - asin(x); beyond 1/2, 2 asin(√((1 - x) / 2)), or what that is short of π."""
    small, t, rest = _asin_parts(x)
    value = t + rest
    signed = copy_sign(value, x)
    twice = value + value
    return choose(small, math.pi / 2 - signed, choose(x < 0.0, math.pi - twice, twice))


FORMULAS = {"acos": acos, "asin": asin, "atan": atan}
