"""LLVM values as terms of a formula: `a * b + 1.0` writes the instructions, the same in every lane.

Integers have the width of the numbers they came from, and wrap. Nothing is reassociated and nothing is contracted: an
`fma` stands where one is written, so that a lane's bits do not depend on the number of lanes; nor on the machine, but
for polynomials, which a machine without `fma` rounds twice.
"""

from __future__ import annotations

from collections.abc import Sequence

from rondeau.recurrence.emit.llvm import Function, Value, element_of, everywhere, number


class Real:
    """What the formulas need to know of a format."""

    def __init__(self, element: str, bits: int, mantissa: int) -> None:
        self.element, self.bits, self.mantissa = element, bits, mantissa
        self.integer = f"i{bits}"
        self.bias = (1 << (bits - mantissa - 2)) - 1
        #: Added to a small number, it leaves the nearest integer in the lowest bits of the sum.
        self.magic = 1.5 * 2.0**mantissa
        self.tiny = 2.0 ** (1 - self.bias)

    def power_bits(self, exponent: int) -> int:
        """The bits of 2**exponent."""
        return (self.bias + exponent) << self.mantissa


FLOAT, DOUBLE = Real("float", 32, 23), Real("double", 64, 52)


class Term:
    """A value inside `function`; operators emit, comparisons give terms of booleans."""

    def __init__(self, function: Function, value: Value) -> None:
        self.function, self.value = function, value

    @property
    def real(self) -> Real:
        return DOUBLE if element_of(self.value.type) in ("double", "i64") else FLOAT

    @property
    def _whole(self) -> bool:
        return element_of(self.value.type).startswith("i")

    def _lift(self, other: Term | float) -> Value:
        if isinstance(other, Term):
            return other.value
        if self._whole:
            bits = self.real.bits
            wrapped = (int(other) + (1 << (bits - 1))) % (1 << bits) - (1 << (bits - 1))
            return everywhere(str(wrapped), self.value.type)
        return number(other, self.value.type)

    def _binary(self, op: str, a: Value, b: Value) -> Term:
        return Term(self.function, self.function.binary(op if self._whole else "f" + op, a, b))

    def constant(self, value: float) -> Term:
        return Term(self.function, self._lift(value))

    def __add__(self, other: Term | float) -> Term:
        return self._binary("add", self.value, self._lift(other))

    def __radd__(self, other: float) -> Term:
        return self._binary("add", self._lift(other), self.value)

    def __sub__(self, other: Term | float) -> Term:
        return self._binary("sub", self.value, self._lift(other))

    def __rsub__(self, other: float) -> Term:
        return self._binary("sub", self._lift(other), self.value)

    def __mul__(self, other: Term | float) -> Term:
        return self._binary("mul", self.value, self._lift(other))

    def __rmul__(self, other: float) -> Term:
        return self._binary("mul", self._lift(other), self.value)

    def __truediv__(self, other: Term | float) -> Term:
        return self._binary("div", self.value, self._lift(other))

    def __rtruediv__(self, other: float) -> Term:
        return self._binary("div", self._lift(other), self.value)

    def __neg__(self) -> Term:
        return Term(self.function, self.function.fneg(self.value))

    def _bitwise(self, op: str, other: Term | int) -> Term:
        return Term(self.function, self.function.binary(op, self.value, self._lift(other)))

    def __and__(self, other: Term | int) -> Term:
        return self._bitwise("and", other)

    def __or__(self, other: Term | int) -> Term:
        return self._bitwise("or", other)

    def __xor__(self, other: Term | int) -> Term:
        return self._bitwise("xor", other)

    def __lshift__(self, count: int) -> Term:
        return self._bitwise("shl", count)

    def __rshift__(self, count: int) -> Term:
        """Shifts zeros in, also into a negative number."""
        return self._bitwise("lshr", count)

    def _compare(self, op: str, other: Term | float) -> Term:
        kind = ("s" if op not in ("eq", "ne") else "") + op if self._whole else "o" + op
        return Term(self.function, self.function.compare(kind, self.value, self._lift(other)))

    def __lt__(self, other: Term | float) -> Term:
        return self._compare("lt", other)

    def __gt__(self, other: Term | float) -> Term:
        return self._compare("gt", other)

    def __le__(self, other: Term | float) -> Term:
        return self._compare("le", other)

    def __ge__(self, other: Term | float) -> Term:
        return self._compare("ge", other)

    def equals(self, other: Term | float) -> Term:
        return self._compare("eq", other)

    def is_nan(self) -> Term:
        return Term(self.function, self.function.compare("uno", self.value, self.value))

    def as_integer(self) -> Term:
        """The same bits, as an integer."""
        return Term(self.function, self.function.cast("bitcast", self.value, self.real.integer))

    def as_real(self) -> Term:
        """The same bits, as a number."""
        return Term(self.function, self.function.cast("bitcast", self.value, self.real.element))

    def extend(self) -> Term:
        return Term(self.function, self.function.cast("fpext", self.value, "double"))

    def truncate(self) -> Term:
        return Term(self.function, self.function.cast("fptrunc", self.value, "float"))

    def times_plus(self, factor: Term | float, summand: Term | float) -> Term:
        """self * factor + summand, rounded once or twice."""
        return Term(self.function, self.function.fma(self.value, self._lift(factor), self._lift(summand)))

    def intrinsic(self, name: str, *others: Term) -> Term:
        return Term(self.function, self.function.intrinsic(name, self.value, *(o.value for o in others)))


def fma(a: Term, b: Term | float, c: Term | float) -> Term:
    """a * b + c, rounded once.

    Without such an instruction float takes the way through double, where the product is exact, and double calls the C
    library.
    """
    function = a.function
    if function.module.fma or a.real is DOUBLE:
        return Term(function, function.intrinsic("fma", a.value, a._lift(b), a._lift(c)))
    x, y, z = (Term(function, a._lift(v)).extend() for v in (a, b, c))
    return (x * y + z).truncate()


def fms(a: Term, b: Term | float, c: Term) -> Term:
    """a * b - c, rounded once."""
    return fma(a, b, -c)


def choose(condition: Term, a: Term | float, b: Term | float) -> Term:
    """`a` where the condition holds, else `b`; at least one of them is a term."""
    term = a if isinstance(a, Term) else b
    assert isinstance(term, Term)
    return Term(term.function, term.function.select(condition.value, term._lift(a), term._lift(b)))


def both(a: Term, b: Term) -> Term:
    """Where both conditions hold."""
    return Term(a.function, a.function.binary("and", a.value, b.value))


def at_least(low: float, x: Term) -> Term:
    """max(low, x), NaN where x is NaN; in this order of operands it is one instruction on x86."""
    bound = x.constant(low)
    return choose(bound > x, bound, x)


def at_most(high: float, x: Term) -> Term:
    """min(high, x), NaN where x is NaN."""
    bound = x.constant(high)
    return choose(bound < x, bound, x)


def polynomial(x: Term, coefficients: Sequence[float]) -> Term:
    """Horner's rule, the constant term first."""
    *rest, last = coefficients
    result: Term | float = last
    for c in reversed(rest):
        result = x.times_plus(result, c)
    assert isinstance(result, Term)
    return result


def magnitude(x: Term) -> Term:
    """|x|."""
    return x.intrinsic("fabs")


def copy_sign(x: Term, sign: Term) -> Term:
    """|x| with the sign of `sign`."""
    return x.intrinsic("copysign", sign)
