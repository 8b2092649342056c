"""A huge number modulo π/2: M. Payne and R. Hanek, *Radian reduction for trigonometric functions*, 1983."""

from __future__ import annotations

import math
from itertools import pairwise

from rondeau.recurrence.emit.elementary.terms import DOUBLE, Term, fma
from rondeau.recurrence.emit.llvm import I64, PTR, Value, integer

_I128 = "i128"

# 2/π in binary, 64 digits after the point to a word; the word of zeros lets a window begin before the point.
_WORDS = (
    0,
    0xA2F9836E4E441529, 0xFC2757D1F534DDC0, 0xDB6295993C439041, 0xFE5163ABDEBBC561,
    0xB7246E3A424DD2E0, 0x06492EEA09D1921C, 0xFE1DEB1CB129A73E, 0xE88235F52EBB4484,
    0xE99C7026B45F7E41, 0x3991D639835339F4, 0x9C845F8BBDF9283B, 0x1FF897FFDE05980F,
    0xEF2F118B5A0A6D1F, 0x6D367ECF27CB09B7, 0x4F463F669E5FEA2D, 0x7527BAC7EBE5F17B,
    0x3D0739F78A5292EA, 0x6BFB5FB11F8D5D08, 0x56033046FC7B6BAB,
)  # fmt: skip


def reduce_huge(x: Term) -> tuple[Term, Term]:
    """r and q, x = q π/2 + r with |r| <= π/4 and q modulo 4, of one finite double |x| >= 1.

    With |x| = m 2**e, m an integer, the digits of 2/π whose product with 2**e is a multiple of 4 do not matter; the
    next 192 do. The product of m and these, modulo 2**192, has q in its two first bits, then the fraction of a quarter
    turn.
    """
    f = x.function
    bits = x.as_integer()
    exponent = (bits >> 52) & 0x7FF
    mantissa = (bits & ((1 << 52) - 1)) | (1 << 52)
    product = _product(mantissa, exponent - 1013)

    half = f.binary("and", f.binary("lshr", product, integer(125, _I128)), integer(1, _I128))
    quadrant = f.cast("trunc", f.binary("add", f.binary("lshr", product, integer(126, _I128)), half), I64)
    fraction = f.binary("shl", product, integer(2, _I128))
    below = f.compare("slt", fraction, integer(0, _I128))
    size = f.select(below, f.binary("sub", integer(0, _I128), fraction), fraction)

    negative = f.compare("slt", bits.value, integer(0))
    r = _quarter_turns(Term(f, size))
    r = Term(f, f.select(f.binary("xor", below, negative), (-r).value, r.value))
    return r, Term(f, f.select(negative, f.binary("sub", integer(0), quadrant), quadrant))


def _product(mantissa: Term, start: Term) -> Value:
    """The first 128 of 192 bits of mantissa * window, modulo 2**192, for the window whose first digit is `start`."""
    f = mantissa.function
    f.module.declarations["two_over_pi"] = (
        f"@two_over_pi = internal unnamed_addr constant [{len(_WORDS)} x i64] [{', '.join(f'i64 {w}' for w in _WORDS)}]"
    )
    table, first, shift = Value("@two_over_pi", PTR), start >> 6, start & 63
    words = [f.load(I64, f.offset(table, (first + i).value, I64)) for i in range(4)]
    high, middle, low = (f.intrinsic("fshl", a, b, shift.value) for a, b in pairwise(words))

    def times(word: Value) -> Value:
        return f.binary("mul", f.cast("zext", mantissa.value, _I128), f.cast("zext", word, _I128))

    carried = f.binary("add", times(middle), f.binary("lshr", times(low), integer(64, _I128)))
    return f.binary("add", f.binary("shl", times(high), integer(64, _I128)), carried)


def _quarter_turns(fraction: Term) -> Term:
    """fraction 2**-128 π/2, of a positive 128-bit integer."""
    f = fraction.function
    f.module.declare("llvm.ctlz.i128", _I128, [_I128, "i1"])
    zeros = f.call("llvm.ctlz.i128", _I128, fraction.value, integer(0, "i1"))
    first = f.binary("lshr", f.binary("shl", fraction.value, zeros), integer(64, _I128))
    digits = Term(f, f.cast("trunc", first, I64))
    head, tail = (Term(f, f.cast("uitofp", d.value, "double")) for d in (digits & -(1 << 11), digits & ((1 << 11) - 1)))
    turned = fma(head, math.pi / 2, tail * (math.pi / 2))
    scale = (DOUBLE.power_bits(-64) - (Term(f, f.cast("trunc", zeros, I64)) << 52)).as_real()
    return turned * scale
