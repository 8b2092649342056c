"""The exponential and what is made of it: exp, expm1, sigmoid, softplus, log_sigmoid, tanh."""

from __future__ import annotations

import math

from rondeau.recurrence.emit.elementary.terms import (
    FLOAT,
    Real,
    Term,
    at_least,
    at_most,
    choose,
    copy_sign,
    fma,
    fms,
    magnitude,
    polynomial,
)

# (exp(r) - 1) / r for |r| <= log(2) / 2; relative errors 1.3e-8 and 1.8e-17.
_EXPM1 = {
    "float": (
        1.0, 0.49999998131331136, 0.1666654266183314, 0.04166720449966466, 0.008366648949969673, 0.0013882457715561909,
    ),
    "double": (
        1.0, 0.5000000000000006, 0.1666666666666659, 0.04166666666657535, 0.00833333333338872, 0.0013888888932064307,
        0.00019841269721815303, 2.4801504638653722e-05, 2.7557404169182894e-06, 2.76263021154898e-07,
        2.5055113362781268e-08,
    ),
}  # fmt: skip

# (2 atanh(s / 2) / s - 1) / s² by powers of s², for s <= 2/3; relative errors 1.1e-10 and 1.3e-18.
_LOG1P_UNIT = {
    "float": (
        0.08333334453487093, 0.0124996491056075, 0.00223569559115767, 0.00041850453550290953, 0.00011866141683017126,
    ),
    "double": (
        0.08333333333333288, 0.012500000000049196, 0.0022321428552991474, 0.0004340278119405026, 8.877804621641893e-05,
        1.8782423399381365e-05, 4.059129501336283e-06, 9.236323245305371e-07, 1.5906216351426616e-07,
        8.115691443515564e-08,
    ),
}  # fmt: skip

# log(2) rounded to the format, and what is left of it.
_LN2 = {"float": (0.693147182464599609375, -1.904654299957767e-09), "double": (math.log(2.0), 2.3190468138462996e-17)}

# exp(x) is 0 below the first and infinite above the second, and 2**n of the latter is the format's last power.
_RANGE = {"float": (-104.0, 88.9), "double": (-745.2, 709.9)}

# By so much more may sinh and cosh go: it is more than log(2) and adds no more than 1 to n.
_BEYOND = 0.8


def _reduce(x: Term, factor: float = 1.0, *, fine: bool = True) -> tuple[Term, Term]:
    """n + magic, and r with factor * x = n log(2) + factor * r and |factor * r| <= log(2) / 2.

    `fine`: log(2) to twice the digits, so that r's error is relative to r; else it is relative to x.
    """
    real = x.real
    high, low = _LN2[real.element]
    biased = fma(x, factor / math.log(2.0), real.magic)
    n = biased - real.magic
    r = fma(n, -high / factor, x)
    return biased, fma(n, -low / factor, r) if fine else r


def _expm1_over(r: Term, factor: float = 1.0) -> Term:
    """expm1(factor * r) / r; factor is a power of two."""
    return polynomial(r, [c * factor ** (i + 1) for i, c in enumerate(_EXPM1[r.real.element])])


def _power_of_two(biased: Term, real: Real, scale: int = 0) -> Term:
    """2**(n + scale), of n + magic: n is in the lowest bits, and survives being shifted up to the exponent's place."""
    return ((biased.as_integer() << real.mantissa) + real.power_bits(scale)).as_real()


def _times_power_of_two(x: Term, n: Term) -> Term:
    """x 2**n over the whole range, in two steps of which only the last may round."""
    real = x.real
    biased = fma(n, 0.5, real.magic)
    rest = n - (biased - real.magic)
    return x * _power_of_two(biased, real) * _power_of_two(rest + real.magic, real)


def _scaled_exp(x: Term, factor: float, scale: int) -> Term:
    """exp(factor * x) * 2**scale, where that is a normal number."""
    biased, r = _reduce(x, factor)
    return fma(r, _expm1_over(r, factor), 1.0) * _power_of_two(biased, x.real, scale)


def exp(x: Term) -> Term:
    """exp(x / 2)²: the root is always a normal number, hence its square overflows or turns subnormal correctly."""
    low, high = _RANGE[x.real.element]
    root = _scaled_exp(at_least(low, at_most(high, x)), 0.5, 0)
    return root * root


def exp_of_sum(x: Term, low: Term) -> Term:
    """exp(x + low), |low| far smaller than |x|; it does not matter what it is where x is beyond exp's range."""
    least, most = _RANGE[x.real.element]
    within = at_least(least, at_most(most, x))
    biased, r = _reduce(within)
    r = r + choose(within.equals(x), low, 0.0)
    return _times_power_of_two(fma(r, _expm1_over(r), 1.0), biased - x.real.magic)


def exp2(x: Term) -> Term:
    """Exact at integers: x = n + r."""
    real = x.real
    y = at_least(-float(real.bias + real.mantissa + 2), at_most(real.bias + 1.0, x))
    n = (y + real.magic) - real.magic
    r = (y - n) * math.log(2.0)
    return _times_power_of_two(fma(r, _expm1_over(r), 1.0), n)


def decay(x: Term) -> Term:
    """exp(-x) for x >= 0 within exp's range: scaled up until the last product, which alone may be subnormal."""
    scale = x.real.mantissa + 1
    return _scaled_exp(x, -1.0, scale) * 2.0**-scale


def sigmoid(x: Term) -> Term:
    """1 / (1 + exp(-x)) = c / (c + c exp(-x)): c < 1 keeps the denominator finite as long as the result is not 0."""
    low, _ = _RANGE[x.real.element]
    scale = -20 if x.real is FLOAT else -40
    root = _scaled_exp(at_least(low, at_most(-low, x)), -0.5, scale)
    return 2.0 ** (2 * scale) / fma(root, root, 2.0 ** (2 * scale))


def _log1p_decay(x: Term) -> Term:
    """log(1 + t), t = exp(-|x|), as 2 atanh(s / 2)."""
    low, _ = _RANGE[x.real.element]
    t = decay(at_most(-low, magnitude(x)))
    s = t / fma(t, 0.5, 1.0)
    z = s * s
    return fma(s * z, polynomial(z, _LOG1P_UNIT[x.real.element]), s)


def softplus(x: Term) -> Term:
    """log(1 + exp(x)) = max(x, 0) + log(1 + exp(-|x|)): both are positive, and no digit is lost in either tail."""
    return at_least(0.0, x) + _log1p_decay(x)


def log_sigmoid(x: Term) -> Term:
    """-softplus(-x)."""
    return at_most(0.0, x) - _log1p_decay(x)


def _expm1(x: Term, factor: float = 1.0, scale: int = 0, *, fine: bool = True) -> Term:
    """expm1(factor * x) * 2**scale, as 2**n expm1(r) - (1 - 2**n): the order in which -0 gives -0."""
    biased, r = _reduce(x, factor, fine=fine)
    power = _power_of_two(biased, x.real, scale)
    return fms(power, r * _expm1_over(r, factor), 2.0**scale - power)


def expm1(x: Term) -> Term:
    """Half of it comes first, lest its power of two overflow; subnormal numbers, often without a half, are returned."""
    _, high = _RANGE[x.real.element]
    half = _expm1(at_least(-60.0, at_most(high, x)), scale=-1)
    return choose(magnitude(x) < x.real.tiny * 4, x, half + half)


def tanh(x: Term) -> Term:
    """m / (m + 2), m = expm1(2 x), up to where it is 1. A relative error of x is no greater a one of tanh(x)."""
    end = 10.0 if x.real is FLOAT else 20.0
    m = _expm1(at_least(-end, at_most(end, x)), 2.0, fine=False)
    return m / (m + 2.0)


def sinh(x: Term) -> Term:
    """m + m / (m + 1) over 2, m = expm1(|x|): from a quarter of m, lest its power of two overflow."""
    real = x.real
    size = magnitude(x)
    quarter = _expm1(at_most(_RANGE[real.element][1] + _BEYOND, size), scale=-2)
    result = quarter + quarter / fma(quarter, 4.0, 1.0)
    return choose(size < real.tiny * 8, x, copy_sign(result + result, x))


def cosh(x: Term) -> Term:
    """h + 1 / (4 h), h = exp(|x|) / 2."""
    root = _scaled_exp(at_most(_RANGE[x.real.element][1] + _BEYOND, magnitude(x)), 0.5, 0)
    half = root * 0.5 * root
    return half + 0.25 / half


FORMULAS = {
    "cosh": cosh,
    "exp": exp,
    "exp2": exp2,
    "expm1": expm1,
    "sigmoid": sigmoid,
    "sinh": sinh,
    "softplus": softplus,
    "log_sigmoid": log_sigmoid,
    "tanh": tanh,
}
