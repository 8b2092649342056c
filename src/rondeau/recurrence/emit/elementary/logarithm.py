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

# For pow: the series without its first term, which is 1/12 as a sum of two; and log(2) in a part of 42 bits, whose
# product with an exponent is exact, and the rest.
_LOG_TAIL = (
    0.012500000000000736, 0.0022321428570352166, 0.0004340277837697006, 8.877823993701115e-05, 1.8782711119721164e-05,
    4.045368218931069e-06, 1.0074980294352867e-06,
)  # fmt: skip
_TWELFTH = (0.08333333333333333, 4.625929269271485e-18)
_LN2_SHORT = (0.6931471805598903, 5.497923018708371e-14)

# 1 / log(10) rounded to the format, and what is left of it.
_PER_LN10 = {
    "float": (0.4342944920063019, -1.0103050052231683e-08),
    "double": (0.4342944819032518, 1.098319650216765e-17),
}

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


def _parts(x: Term) -> tuple[Term, Term]:
    """-e and m - 1 of a positive x; subnormal numbers are scaled up first."""
    real = x.real
    small = x < real.tiny
    steps = real.mantissa + 1
    y = choose(small, x * 2.0**steps, x)
    negated = _split(y)
    f = (y.as_integer() + negated).as_real() - 1.0
    return _exponent(negated) + choose(small, x.constant(float(steps)), 0.0), f


def log_positive(x: Term) -> Term:
    """log of what is positive and finite."""
    n, f = _parts(x)
    return fma(n, -_LN2, _log_near_one(f))


def log(x: Term) -> Term:
    """log_positive, and its ends."""
    return _ends(x, log_positive(x), 0.0)


def log2(x: Term) -> Term:
    """Exact at powers of two."""
    n, f = _parts(x)
    return _ends(x, fma(_log_near_one(f), 1.0 / _LN2, -n), 0.0)


def log10(x: Term) -> Term:
    """The two parts of log times 1 / log(10)."""
    n, f = _parts(x)
    near = _log_near_one(f)
    high, low = _PER_LN10[x.real.element]
    return _ends(x, fma(n, -math.log10(2.0), fma(near, high, near * low)), 0.0)


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


def log_as_sum(x: Term) -> tuple[Term, Term]:
    """log of a positive finite double as a sum of two, with an error of about 2**-64 of it.

    s, its square and the first term of the series are sums of two; what follows is less than 2**-12 of them.
    """
    n, f = _parts(x)
    d = fma(f, 0.5, 1.0)
    inverse = 1.0 / d
    s = f * inverse
    s_low = (fma(s, -d, f) - s * fma(f, 0.5, 1.0 - d)) * inverse
    z = s * s
    z_low = fma(s, s, -z) + 2.0 * s * s_low
    tail = z * polynomial(z, _LOG_TAIL)
    k = tail + _TWELFTH[0]
    k_low = (_TWELFTH[0] - k) + tail + _TWELFTH[1]
    t = z * k
    t_low = fma(z, k, -t) + fma(z, k_low, z_low * k)
    v = s * t
    v_low = fma(s, t, -v) + fma(s, t_low, s_low * t)
    near = s + v
    near_low = (s - near) + v + (s_low + v_low)
    exponent = n * -_LN2_SHORT[0]
    high = exponent + near
    return high, (exponent - high) + near + fma(n, -_LN2_SHORT[1], near_low)


FORMULAS = {"log": log, "log10": log10, "log1p": log1p, "log2": log2}
