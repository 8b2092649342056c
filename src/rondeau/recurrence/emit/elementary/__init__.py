"""Elementary functions as straight-line vector code, each within 4 ulp over its whole range, in float and in double.

Every function is written once per module and type as an internal `alwaysinline` function, without a branch but
for huge arguments of sin, cos and tan. Infinities,
NaN, subnormal numbers and the sign of zero are right, as nothing assumes fast-math. Lanes agree bit for bit whatever
their number.

The coefficients are minimax fits in 40 digits, found by Lawson's iteration on Chebyshev points (C. L. Lawson,
*Contributions to the theory of linear least maximum approximation*, 1961) and then rounded to the format. Reductions of
the argument follow J.-M. Muller, *Elementary Functions*, 3rd edition, 2016.
"""

from __future__ import annotations

from collections.abc import Callable

from rondeau.recurrence.emit.elementary import arc, error, exponential, logarithm, power, trigonometric
from rondeau.recurrence.emit.elementary.terms import Term
from rondeau.recurrence.emit.llvm import Function, Value

Formula = Callable[..., Term]

FORMULAS: dict[str, Formula] = {
    **exponential.FORMULAS,
    **logarithm.FORMULAS,
    **error.FORMULAS,
    **trigonometric.FORMULAS,
    **power.FORMULAS,
    **arc.FORMULAS,
}


def elementary(f: Function, name: str, *arguments: Value) -> Value:
    """`name` of the arguments, which share one type: float or double, or a vector of them.

    The names are the keys of `FORMULAS`; `softplus(x)` is log(1 + exp x), `log_sigmoid(x)` is −softplus(−x).
    """
    type = arguments[0].type
    symbol = f"{name}.{type.strip('<>').replace(' ', '')}"
    if symbol not in f.module.functions:
        parameters = [(f"x{i}", a.type) for i, a in enumerate(arguments)]
        inner = Function(f.module, symbol, parameters, type, attributes="alwaysinline")
        inner.ret(FORMULAS[name](*(Term(inner, a) for a in inner.arguments)).value)
    return f.call(symbol, type, *arguments)
