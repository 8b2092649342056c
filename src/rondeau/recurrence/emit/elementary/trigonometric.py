"""sin, cos and tan: x = q π/2 + r, |r| <= π/4, and polynomials in r, chosen and signed by q."""

from __future__ import annotations

import math
from collections.abc import Callable

from rondeau.recurrence.emit.elementary.huge import reduce_huge
from rondeau.recurrence.emit.elementary.terms import DOUBLE, Term, both, choose, copy_sign, fma, magnitude, polynomial
from rondeau.recurrence.emit.llvm import Function, Value, element_of, integer, lanes_of

# (sin(r) / r - 1) / r² by powers of r², for |r| <= π/4; relative errors of sin 3.9e-9 and 3.8e-18.
_SIN = {
    "float": (-0.16666654327386105, 0.008332142702908678, -0.00019512800258759947),
    "double": (
        -0.1666666666666663, 0.008333333333321702, -0.00019841269829242402, 2.75573134968252e-06,
        -2.5050727652421026e-08, 1.5895031342561544e-10,
    ),
}  # fmt: skip

# (cos(r) - 1 + r²/2) / r⁴ by powers of r²; relative errors of cos 1.2e-10 and 5.9e-20.
_COS = {
    "float": (0.0416666451889302, -0.0013887291830762332, 2.4430325290087877e-05),
    "double": (
        0.04166666666666659, -0.0013888888888872449, 2.4801587288462567e-05, -2.7557314064203036e-07,
        2.087568485130164e-09, -1.1357691512330667e-11,
    ),
}  # fmt: skip

# π/2 in three parts, each rounded down: that all are positive keeps the sign of x = -0.
_HALF_PI = {
    "float": (1.570796251296997, 7.549789415861596e-08, 5.390302529957765e-15),
    "double": (1.5707963267948966, 6.123233995736765e-17, 1.0828566739219139e-32),
}

# Up to here q has few enough digits for three parts to leave r right to its last place.
_LIMIT = {"float": 2.0**17, "double": 2.0**30}

# A formula's last step: sin(r), cos(r), q -> value.
Pick = Callable[[Term, Term, Term], Term]


def _pick_sin(sin: Term, cos: Term, quadrant: Term) -> Term:
    value = choose((quadrant & 1).equals(0), sin, cos)
    return (value.as_integer() ^ ((quadrant & 2) << (quadrant.real.bits - 2))).as_real()


def _pick_cos(sin: Term, cos: Term, quadrant: Term) -> Term:
    return _pick_sin(sin, cos, quadrant + 1)


def _pick_tan(sin: Term, cos: Term, quadrant: Term) -> Term:
    even = (quadrant & 1).equals(0)
    quotient = choose(even, sin, cos) / choose(even, cos, sin)
    return (quotient.as_integer() ^ (quadrant << (quadrant.real.bits - 1))).as_real()


def _evaluate(r: Term, quadrant: Term, pick: Pick) -> Term:
    element = r.real.element
    z = r * r
    sin = copy_sign(fma(r * z, polynomial(z, _SIN[element]), r), r)
    cos = fma(z * z, polynomial(z, _COS[element]), fma(z, -0.5, 1.0))
    return pick(sin, cos, quadrant)


def _reduce(x: Term) -> tuple[Term, Term]:
    """r and q, for |x| up to the limit. The first product cancels exactly, so the parts are as good as their sum."""
    biased = fma(x, 2.0 / math.pi, x.real.magic)
    n = biased - x.real.magic
    first, second, third = _HALF_PI[x.real.element]
    return fma(n, -third, fma(n, -second, fma(n, -first, x))), biased.as_integer()


def _huge_lane(x: Term, name: str, pick: Pick) -> Value:
    """The value at one huge double, by a call: code this seldom run should not be in anyone's loop."""
    module, symbol = x.function.module, f"{name}.huge"
    if symbol not in module.functions:
        inner = Function(module, symbol, [("x", "double")], "double", attributes="noinline cold")
        inner.ret(_evaluate(*reduce_huge(Term(inner, inner.arguments[0])), pick).value)
    return x.function.call(symbol, "double", x.value)


def _huge_lanes(module_function: Function, name: str, type: str, pick: Pick) -> str:
    """Writes (and names) a function of x and of the values that are right for lanes that are not huge."""
    module, element = module_function.module, element_of(type)
    symbol = f"{name}.huge.{type.strip('<>').replace(' ', '')}"
    if symbol in module.functions:
        return symbol
    f = Function(module, symbol, [("x", type), ("y", type)], type, attributes="noinline cold")
    places = [f.allocate(type) for _ in f.arguments]
    for place, value in zip(places, f.arguments, strict=True):
        f.store(value, place)

    def lane(i: Value) -> None:
        x = Term(f, f.load(element, f.offset(places[0], i, element)))
        wide = x if x.real is DOUBLE else x.extend()

        def replace() -> None:
            value = Term(f, _huge_lane(wide, name, pick))
            f.store((value if x.real is DOUBLE else value.truncate()).value, f.offset(places[1], i, element))

        f.when(_is_huge(x).value, replace)

    f.loop(integer(0), integer(lanes_of(type)), lane)
    f.ret(f.load(type, places[1]))
    return symbol


def _is_huge(x: Term) -> Term:
    size = magnitude(x)
    return both(size > _LIMIT[x.real.element], size < float("inf"))


def _trigonometric(name: str, pick: Pick) -> Callable[[Term], Term]:
    def formula(x: Term) -> Term:
        f, type = x.function, x.value.type
        usual = _evaluate(*_reduce(x), pick).value
        huge = _is_huge(x).value
        some = f.intrinsic("vector.reduce.or", huge, result="i1") if lanes_of(type) > 1 else huge
        before, rare, after = f.block, f.label("huge"), f.label("done")
        f.branch_if(some, rare, after)
        f.begin(rare)
        replaced = f.call(_huge_lanes(f, name, type, pick), type, x.value, usual)
        f.branch(after)
        f.begin(after)
        return Term(f, f.emit(type, f"phi {type} [ {usual}, %{before} ], [ {replaced}, %{rare} ]"))

    return formula


FORMULAS = {
    "sin": _trigonometric("sin", _pick_sin),
    "cos": _trigonometric("cos", _pick_cos),
    "tan": _trigonometric("tan", _pick_tan),
}
