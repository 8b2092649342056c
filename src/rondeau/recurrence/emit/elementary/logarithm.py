"""Logarithms: x = 2**e m, √½ <= m < √2, log(m) = 2 atanh(s / 2) with s = 2 (m - 1) / (m + 1)."""

from __future__ import annotations

import math

from rondeau.recurrence.emit.elementary.terms import Term, choose, fma, fms, magnitude, polynomial

# (2 atanh(s / 2) / s - 1) / s² by powers of s², for s² <= 0.1185; relative errors 8.3e-10 and 1.3e-18.
_LOG = {
    "float": (0.08333347316643315, 0.012492889797223601, 0.0023343993302988785),
    "double": (
        0.08333333333333422, 0.012499999999809832, 0.002232142870940312, 0.00043402730366378544, 8.878710484159739e-05,
        1.8692758522464447e-05, 4.518400112159799e-06,
    ),
}  # fmt: skip

_LN2 = math.log(2.0)
_ROOT_HALF_BITS = {"float": 0x3F3504F3, "double": 0x3FE6A09E667F3BCD}
_INFINITY = float("inf")


def _split(u: Term) -> Term:
    """-e in the bits of the exponent, for a positive normal u = 2**e m; the other bits are 0."""
    real = u.real
    top = _ROOT_HALF_BITS[real.element] + (1 << real.mantissa) - 1
    return (top - u.as_integer()) & -(1 << real.mantissa)


def _exponent(negated: Term) -> Term:
    """-e as a number, of what `_split` gave; never -0."""
    real = negated.real
    # Made positive first: a shift of 64-bit lanes that keeps the sign is slow before AVX-512.
    offset = 1 << (real.bits - real.mantissa - 2)
    shifted = ((negated + (offset << real.mantissa)) >> real.mantissa) | _magic_bits(real.magic, real.bits)
    return shifted.as_real() - (real.magic + offset)


def _magic_bits(magic: float, bits: int) -> int:
    return 0x4B400000 if bits == 32 else 0x4338000000000000


def _log_near_one(f: Term) -> Term:
    """log(1 + f) for √½ <= 1 + f < √2."""
    s = f / fma(f, 0.5, 1.0)
    z = s * s
    return fma(s * z, polynomial(z, _LOG[f.real.element]), s)


def _ends(x: Term, result: Term, pole: float) -> Term:
    """`result` where x is finite and above the pole; -inf at the pole, NaN below, infinity and NaN as they are."""
    result = choose(x < _INFINITY, result, x)
    nan = float("nan")
    return choose(x > pole, result, choose(x.equals(pole), x.constant(-_INFINITY), nan))


def log(x: Term) -> Term:
    """Subnormal numbers are scaled up first."""
    real = x.real
    small = x < real.tiny
    steps = real.mantissa + 1
    y = choose(small, x * 2.0**steps, x)
    negated = _split(y)
    f = (y.as_integer() + negated).as_real() - 1.0
    n = _exponent(negated) + choose(small, x.constant(float(steps)), 0.0)
    return _ends(x, fma(n, -_LN2, _log_near_one(f)), 0.0)


def log1p(x: Term) -> Term:
    """With 1 + x = 2**e m only for choosing e, m - 1 = 2**-e x - (1 - 2**-e) is had from x itself, with one rounding.

    A quarter of x and 2**(2 - e) are taken, as 2**-e may be subnormal.
    """
    real = x.real
    negated = _split(x + 1.0)
    power = (negated + real.power_bits(2)).as_real()
    f = fms(power, x * 0.25, fma(power, -0.25, 1.0))
    result = fma(_exponent(negated), -_LN2, _log_near_one(f))
    return choose(magnitude(x) < real.tiny * 4, x, _ends(x, result, -1.0))


FORMULAS = {"log": log, "log1p": log1p}
