"""LLVM's text form, written line by line: values that know their type, functions, blocks and loops.

Text, not llvmlite's builder objects: it is as short to write and several times faster to make.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence

VOID, BOOL, I32, I64, PTR = "void", "i1", "i32", "i64", "ptr"


class Value(str):
    """An operand: `%7`, or a literal. `type` is LLVM's name of its type."""

    type: str

    def __new__(cls, text: str, type: str) -> Value:
        self = super().__new__(cls, text)
        self.type = type
        return self


def integer(number: int, type: str = I64) -> Value:
    """A literal."""
    return Value(str(number), type)


def vector_of(element: str, lanes: int) -> str:
    """The type of `lanes` elements; one lane is the bare element."""
    return element if lanes == 1 else f"<{lanes} x {element}>"


def element_of(type: str) -> str:
    """The type of one lane."""
    return type[1:-1].split(" x ")[1] if type.startswith("<") else type


def lanes_of(type: str) -> int:
    """How many lanes a type has; 1 if it is no vector."""
    return int(type[1:].split(" x ")[0]) if type.startswith("<") else 1


def number(value: float, type: str) -> Value:
    """A floating-point literal, the same in every lane of `type`; float's are rounded to float first."""
    element = element_of(type)
    if element == "float":
        try:
            value = struct.unpack("f", struct.pack("f", value))[0]
        except OverflowError:
            value = float("inf") if value > 0 else float("-inf")
    bits = f"0x{struct.unpack('>Q', struct.pack('>d', value))[0]:016X}"
    return everywhere(bits, type)


def everywhere(text: str, type: str) -> Value:
    """A literal repeated in every lane of `type`."""
    lanes = lanes_of(type)
    return Value(text if lanes == 1 else "<" + ", ".join([f"{element_of(type)} {text}"] * lanes) + ">", type)


class Module:
    """Functions and the declarations they need. `element`: the type of the numbers they compute with, float or double.

    `fma`: whether the processor fuses a multiplication and an addition.
    """

    def __init__(self, element: str = "float", fma: bool = True) -> None:
        self.element, self.fma = element, fma
        self.declarations: dict[str, str] = {}
        self.functions: dict[str, Function] = {}

    def declare(self, name: str, result: str, arguments: Sequence[str]) -> None:
        self.declarations[name] = f"declare {result} @{name}({', '.join(arguments)})"

    def text(self) -> str:
        defined = [d for name, d in self.declarations.items() if name not in self.functions]
        return "\n".join([*defined, *(f.text() for f in self.functions.values())]) + "\n"


class Function:
    """A function being written. `parameters`: (name, type) pairs, then found in `self.arguments` in the same order.

    `attributes` are LLVM's function attributes, such as "noinline" or "alwaysinline"; `exported` functions keep their
    name.
    """

    def __init__(
        self,
        module: Module,
        name: str,
        parameters: Sequence[tuple[str, str]],
        result: str = VOID,
        *,
        exported: bool = False,
        attributes: str = "",
        noalias: bool = False,
    ) -> None:
        self.module, self.name, self.result = module, name, result
        self.arguments = [Value(f"%{n}", t) for n, t in parameters]
        hint = " noalias" if noalias else ""
        signature = ", ".join(f"{a.type}{hint if a.type == PTR else ''} {a}" for a in self.arguments)
        linkage = "" if exported else "internal "
        self.header = f"define {linkage}{result} @{name}({signature}) {attributes} {{"
        self.lines: list[str] = []
        self.rooms: list[str] = []
        self.block = "entry"
        self._count = 0
        module.functions[name] = self

    def text(self) -> str:
        return "\n".join([self.header, "entry:", *self.rooms, *self.lines, "}"])

    # -- naming

    def fresh(self, type: str) -> Value:
        self._count += 1
        return Value(f"%v{self._count}", type)

    def label(self, name: str) -> str:
        self._count += 1
        return f"{name}{self._count}"

    def begin(self, label: str) -> None:
        """Start the block `label`; the block before must have ended in a branch."""
        self.lines.append(f"{label}:")
        self.block = label

    def write(self, line: str) -> None:
        self.lines.append("  " + line)

    def emit(self, type: str, text: str) -> Value:
        """An instruction with a result."""
        result = self.fresh(type)
        self.lines.append(f"  {result} = {text}")
        return result

    # -- arithmetic; integer operations on literals are folded here, so that addresses stay short

    def binary(self, op: str, a: Value, b: Value) -> Value:
        return self.emit(a.type, f"{op} {a.type} {a}, {b}")

    def fadd(self, a: Value, b: Value) -> Value:
        return self.binary("fadd", a, b)

    def fsub(self, a: Value, b: Value) -> Value:
        return self.binary("fsub", a, b)

    def fmul(self, a: Value, b: Value) -> Value:
        return self.binary("fmul", a, b)

    def fdiv(self, a: Value, b: Value) -> Value:
        return self.binary("fdiv", a, b)

    def fneg(self, a: Value) -> Value:
        return self.emit(a.type, f"fneg {a.type} {a}")

    def add(self, a: Value, b: Value) -> Value:
        if _literal(a) and _literal(b):
            return integer(int(a) + int(b), a.type)
        if a == "0":
            return b
        return a if b == "0" else self.binary("add", a, b)

    def sub(self, a: Value, b: Value) -> Value:
        if _literal(a) and _literal(b):
            return integer(int(a) - int(b), a.type)
        return a if b == "0" else self.binary("sub", a, b)

    def mul(self, a: Value, b: Value) -> Value:
        if _literal(a) and _literal(b):
            return integer(int(a) * int(b), a.type)
        if a == "0" or b == "1":
            return a
        return b if a == "1" or b == "0" else self.binary("mul", a, b)

    def compare(self, op: str, a: Value, b: Value) -> Value:
        """`op`: icmp's (slt, eq, ...) for integers, fcmp's (olt, une, ...) for numbers."""
        kind = "icmp" if element_of(a.type).startswith("i") or a.type == PTR else "fcmp"
        return self.emit(vector_of(BOOL, lanes_of(a.type)), f"{kind} {op} {a.type} {a}, {b}")

    def select(self, condition: Value, a: Value, b: Value) -> Value:
        return self.emit(a.type, f"select {condition.type} {condition}, {a.type} {a}, {b.type} {b}")

    def cast(self, op: str, a: Value, element: str) -> Value:
        """`op` such as bitcast, sitofp, fptosi, zext, uitofp, fpext; `element`: of the result, lanes stay."""
        type = vector_of(element, lanes_of(a.type))
        return self.emit(type, f"{op} {a.type} {a} to {type}")

    def intrinsic(self, name: str, *arguments: Value, result: str | None = None) -> Value:
        """`llvm.<name>` overloaded on the first argument's type, such as `fma`, `sqrt`, `fabs`, `minnum`."""
        type = arguments[0].type
        lanes, element = lanes_of(type), element_of(type)
        short = {"float": "f32", "double": "f64"}.get(element, element)
        full = f"llvm.{name}.{f'v{lanes}' if lanes > 1 else ''}{short}"
        self.module.declare(full, result or type, [a.type for a in arguments])
        return self.call(full, result or type, *arguments)

    def fma(self, a: Value, b: Value, c: Value) -> Value:
        """a * b + c, rounded once where the processor can do it at once, else twice: never by a call for each lane."""
        return self.intrinsic("fma" if self.module.fma else "fmuladd", a, b, c)

    def splat(self, a: Value, lanes: int) -> Value:
        if lanes == 1:
            return a
        type = vector_of(a.type, lanes)
        if not a.startswith("%"):
            return everywhere(a, type)
        one = self.emit(type, f"insertelement {type} poison, {a.type} {a}, i64 0")
        return self.emit(type, f"shufflevector {type} {one}, {type} poison, <{lanes} x i32> zeroinitializer")

    # -- memory

    def offset(self, pointer: Value, index: Value, element: str) -> Value:
        """The address of `pointer[index]`, counted in `element`s."""
        if index == "0":
            return pointer
        return self.emit(PTR, f"getelementptr {element}, ptr {pointer}, {index.type} {index}")

    def load(self, type: str, pointer: Value, suffix: str = "") -> Value:
        return self.emit(type, f"load {type}, ptr {pointer}, align {_alignment(type)}{suffix}")

    def store(self, value: Value, pointer: Value) -> None:
        self.write(f"store {value.type} {value}, ptr {pointer}, align {_alignment(value.type)}")

    def load_masked(self, type: str, pointer: Value, mask: Value) -> Value:
        """Lanes where `mask` is false are zero and not read."""
        name = f"llvm.masked.load.{_suffix(type)}.p0"
        self.module.declare(name, type, [PTR, I32, mask.type, type])
        align = integer(_alignment(type), I32)
        return self.call(name, type, pointer, align, mask, Value("zeroinitializer", type))

    def store_masked(self, value: Value, pointer: Value, mask: Value) -> None:
        name = f"llvm.masked.store.{_suffix(value.type)}.p0"
        self.module.declare(name, VOID, [value.type, PTR, I32, mask.type])
        self.call(name, VOID, value, pointer, integer(_alignment(value.type), I32), mask)

    def allocate(self, type: str) -> Value:
        """Room for one `type` on the stack, made once at the function's entry; LLVM turns it into a register."""
        room = self.fresh(PTR)
        self.rooms.append(f"  {room} = alloca {type}, align 64")
        return room

    # -- control

    def call(self, name: str, result: str, *arguments: Value) -> Value:
        text = f"call {result} @{name}({', '.join(f'{a.type} {a}' for a in arguments)})"
        if result == VOID:
            self.write(text)
            return Value("", VOID)
        return self.emit(result, text)

    def call_at(self, address: Value, *arguments: Value) -> None:
        """A call of the function, without result, that begins at a number."""
        function = self.emit(PTR, f"inttoptr i64 {address} to ptr")
        self.write(f"call void {function}({', '.join(f'{a.type} {a}' for a in arguments)})")

    def ret(self, value: Value | None = None) -> None:
        self.write("ret void" if value is None else f"ret {value.type} {value}")

    def branch(self, label: str) -> None:
        self.write(f"br label %{label}")

    def branch_if(self, condition: Value, then: str, otherwise: str) -> None:
        self.write(f"br i1 {condition}, label %{then}, label %{otherwise}")

    def loop(
        self,
        start: Value,
        end: Value,
        body: Callable[..., Sequence[Value] | None],
        *,
        step: int = 1,
        carried: Sequence[Value] = (),
    ) -> list[Value]:
        """`for i in range(start, end, step): carried = body(i, *carried)`; returns what is carried out.

        `end` is tested before each turn, so a loop may make none.
        """
        head, inside, after = self.label("head"), self.label("body"), self.label("after")
        before = self.block
        self.branch(head)
        self.begin(head)
        place = len(self.lines)
        index = self.fresh(start.type)
        values = [self.fresh(c.type) for c in carried]
        more = self.compare("slt", index, end)
        self.branch_if(more, inside, after)
        self.begin(inside)
        results = list(body(index, *values) or ())
        if len(results) != len(values):
            raise ValueError(f"a loop carries {len(values)} values, its body gave {len(results)}")
        following = self.add(index, integer(step, index.type))
        latch = self.block
        self.branch(head)
        self.begin(after)
        phis = [(index, start, following), *zip(values, carried, results, strict=True)]
        self.lines[place:place] = [f"  {v} = phi {v.type} [ {a}, %{before} ], [ {b}, %{latch} ]" for v, a, b in phis]
        return values

    def when(self, condition: Value, body: Callable[[], None]) -> None:
        """`if condition: body()`, without values out of it."""
        inside, after = self.label("then"), self.label("endif")
        self.branch_if(condition, inside, after)
        self.begin(inside)
        body()
        self.branch(after)
        self.begin(after)


def _literal(value: Value) -> bool:
    return not value.startswith("%")


def _alignment(type: str) -> int:
    return {"float": 4, "double": 8, "i64": 8, "i32": 4, "ptr": 8, "i1": 1, "i8": 1}[element_of(type)]


def _suffix(type: str) -> str:
    lanes, element = lanes_of(type), element_of(type)
    short = {"float": "f32", "double": "f64"}.get(element, element)
    return f"v{lanes}{short}"
