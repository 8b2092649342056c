"""The error function."""

from __future__ import annotations

from rondeau.recurrence.emit.elementary.exponential import decay
from rondeau.recurrence.emit.elementary.terms import Term, at_most, choose, copy_sign, magnitude, polynomial

# erf(x) / x by powers of x², for |x| <= 1; relative errors 3.9e-8 and 7.3e-18.
_SMALL = {
    "float": (
        1.1283791224378654, -0.3761232614399596, 0.11280180741990259, -0.026711346556952068, 0.004917606061346032,
        -0.0005631684133970878,
    ),
    "double": (
        1.1283791670955126, -0.3761263890318352, 0.1128379167094418, -0.02686617064311116, 0.00522397760611734,
        -0.0008548325929280484, 0.00012055293576102864, -1.4924712288569333e-05, 1.6447131418494212e-06,
        -1.6206312656220692e-07, 1.3710975856930577e-08, -7.779460366635076e-10,
    ),
}  # fmt: skip

# -log(1 - erf(x)) by powers of x, for 1 <= x <= 4 and <= 6; errors of erf 1.6e-8 and 3.0e-17.
_LARGE = {
    "float": (
        0.002620201897753478, 1.1176179156285035, 0.6542442894109229, 0.08879716084201945, -0.014831113058774395,
        0.001157143588682144,
    ),
    "double": (
        1.0711604458051048e-06, 1.1283686439247735, 0.6366678635369541, 0.10263692105867654, -0.01886410362653144,
        -0.0005857033025374714, 0.002100356482597567, -0.0009211163422176202, 0.00023132397973544763,
        -2.830143545677412e-05, -3.50549013563852e-06, 2.6449134292129976e-06, -6.82139009973598e-07,
        1.0740532498220651e-07, -1.0822090786929671e-08, 6.468553301752874e-10, -1.756450233908567e-11,
    ),
}  # fmt: skip

# From here on, erf is 1.
_END = {"float": 4.0, "double": 6.0}


def erf(x: Term) -> Term:
    """x S(x²), or 1 - exp(-L(|x|))."""
    element = x.real.element
    size = magnitude(x)
    y = at_most(_END[element], size)
    large = 1.0 - decay(polynomial(y, _LARGE[element]))
    small = x * polynomial(y * y, _SMALL[element])
    return choose(size < 1.0, small, copy_sign(large, x))


FORMULAS = {"erf": erf}
