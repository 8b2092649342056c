"""The instruction of each pointwise node."""

from __future__ import annotations

from rondeau.recurrence.emit.elementary import FORMULAS, elementary
from rondeau.recurrence.emit.llvm import I64, Function, Value, element_of, everywhere, number
from rondeau.recurrence.ir import Node

_PLAIN = {"add": "fadd", "sub": "fsub", "mul": "fmul", "div": "fdiv", "fmod": "frem"}
_PLAIN_INT = {"add": "add", "sub": "sub", "mul": "mul"}
_INTRINSIC = {"abs": "fabs", "floor": "floor", "ceil": "ceil", "trunc": "trunc", "round": "roundeven", "sqrt": "sqrt",
              "maximum": "maximum", "minimum": "minimum"}  # fmt: skip
_ORDER = {"lt": "olt", "le": "ole", "gt": "ogt", "ge": "oge", "eq": "oeq", "ne": "une"}
_ORDER_INT = {"lt": "slt", "le": "sle", "gt": "sgt", "ge": "sge", "eq": "eq", "ne": "ne"}
_LOGIC = {"and": "and", "or": "or", "xor": "xor"}


def apply(f: Function, node: Node, args: list[Value]) -> Value:
    """The value of a pointwise node, its arguments given as vectors."""
    op, a = node.op, args[0]
    whole = element_of(a.type) == I64
    if op in _PLAIN and not whole:
        return f.binary(_PLAIN[op], *args)
    if op in _PLAIN_INT and whole:
        return f.emit(a.type, f"{_PLAIN_INT[op]} {a.type} {a}, {args[1]}")
    if op in _INTRINSIC and not whole:
        return f.intrinsic(_INTRINSIC[op], *args)
    if op in _ORDER:
        truth = element_of(a.type) == "i1"
        return f.compare((_ORDER_INT if whole or truth else _ORDER)[op], *args)
    if op in _LOGIC:
        return f.binary(_LOGIC[op], *args)
    if op in FORMULAS:
        return elementary(f, op, *args)
    if whole and op in WHOLE:
        return _whole(f, op, args)
    return _composed(f, op, args, whole)


# what whole numbers can do besides; a divisor is a constant that is not 0
WHOLE = {"abs", "sign", "maximum", "minimum", "floor", "ceil", "round", "trunc", "fmod", "remainder"}


def _whole(f: Function, op: str, args: list[Value]) -> Value:
    a, zero, one = args[0], everywhere("0", args[0].type), everywhere("1", args[0].type)

    def two(instruction: str, x: Value, y: Value) -> Value:
        return f.emit(x.type, f"{instruction} {x.type} {x}, {y}")

    if op in ("maximum", "minimum"):
        return f.select(f.compare("sgt" if op == "maximum" else "slt", a, args[1]), a, args[1])
    if op == "abs":
        return f.select(f.compare("slt", a, zero), two("sub", zero, a), a)
    if op == "sign":
        return f.select(
            f.compare("slt", a, zero), two("sub", zero, one), f.select(f.compare("sgt", a, zero), one, zero)
        )
    if op not in ("fmod", "remainder"):
        return a  # whole already
    rest = two("srem", a, args[1])
    if op == "fmod":
        return rest
    signs = two("xor", rest, args[1])
    other = f.binary("and", f.compare("ne", rest, zero), f.compare("slt", signs, zero))
    return f.select(other, two("add", rest, args[1]), rest)


def _composed(f: Function, op: str, args: list[Value], whole: bool) -> Value:
    a = args[0]
    element = element_of(a.type)
    if op == "where":
        return f.select(*args)
    if op == "neg":
        return f.emit(a.type, f"sub {a.type} zeroinitializer, {a}") if whole else f.fneg(a)
    if op == "not":
        return f.emit(a.type, f"xor {a.type} {a}, {everywhere('true', a.type)}")
    if op == "reciprocal":
        return f.fdiv(number(1.0, a.type), a)
    if op == "rsqrt":
        return f.fdiv(number(1.0, a.type), f.intrinsic("sqrt", a))
    if op == "sign":
        zero, one = number(0.0, a.type), number(1.0, a.type)
        below = f.select(f.compare("olt", a, zero), number(-1.0, a.type), zero)
        return f.select(f.compare("ogt", a, zero), one, below)
    if op == "remainder":
        return _remainder(f, *args)
    if op == "to_float":
        return f.cast("uitofp" if element == "i1" else "sitofp", a, f.module.element)
    if op == "to_single":
        return a if element == "float" else f.cast("fpext", f.cast("fptrunc", a, "float"), element)
    if op == "to_int":
        return f.cast("zext" if element == "i1" else "fptosi", a, I64)
    if op == "to_bool":
        return f.compare("ne", a, everywhere("0", a.type)) if whole else f.compare("une", a, number(0.0, a.type))
    raise ValueError(f"no instruction for {op}")


def _remainder(f: Function, a: Value, b: Value) -> Value:
    """With the divisor's sign, as Python's."""
    rest = f.binary("frem", a, b)
    zero = number(0.0, a.type)
    other = f.compare("one", rest, zero)
    signs = f.emit(other.type, f"xor {other.type} {f.compare('olt', rest, zero)}, {f.compare('olt', b, zero)}")
    return f.select(f.binary("and", other, signs), f.fadd(rest, b), rest)
