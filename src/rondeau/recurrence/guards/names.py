"""What a function's code can read beyond its arguments: global names, attributes, imports."""

from __future__ import annotations

import dis
import re
from functools import lru_cache
from types import CodeType
from typing import Any, NamedTuple


class Names(NamedTuple):
    """Of one code object and all that are nested in it.

    Attributes:
        chains: a global's name and the attributes read straight from it: `math.pi` gives ("math", "pi").
        attributes: every name that may stand behind a dot, those in strings included ("scale" in getattr(x, "scale")).
        imports: (name, level) of every import statement.
        dynamic: whether attributes are read by names that the code does not spell out.
    """

    chains: frozenset[tuple[str, ...]]
    attributes: frozenset[str]
    imports: frozenset[tuple[str, int]]
    dynamic: bool


_GLOBAL = {"LOAD_GLOBAL", "LOAD_NAME", "STORE_GLOBAL", "DELETE_GLOBAL", "LOAD_FROM_DICT_OR_GLOBALS"}
_ATTRIBUTE = {"LOAD_ATTR", "LOAD_METHOD"}
_NOTHING = {"PUSH_NULL", "CACHE", "EXTENDED_ARG", "NOP"}
_BY_NAME = {"getattr", "hasattr", "setattr", "delattr"}
_WHOLE = {"vars", "dir"}
_LOADS = ("LOAD_FAST", "LOAD_DEREF", "LOAD_GLOBAL")
_CALLS = ("PRECALL", "CALL")
_REFLECTION = {"__dict__", "__getattribute__", "__getattr__", "__slots__"}


@lru_cache(maxsize=4096)
def names_of(code: CodeType, context: str | None = None) -> Names:
    """The names in `code`. `context`: the variable that holds the step's context, which is not guarded."""
    instructions = [i for i in dis.get_instructions(code) if i.opname not in _NOTHING]
    if any(i.opname.startswith("STORE") and context in _variables(i) for i in instructions):
        context = None
    chains: list[list[str]] = []
    attributes: set[str] = set()
    imports: set[tuple[str, int]] = set()
    dynamic, chained = False, False
    for place, (name, opcode, argument) in enumerate((i.opname, i.opcode, i.argval) for i in instructions):
        if name in _GLOBAL:
            chains.append([argument])
            dynamic = dynamic or _reads_unknown(argument, instructions[place + 1 :], context)
        elif name == "IMPORT_NAME":
            level = instructions[place - 2].argval
            imports.add((argument, level if isinstance(level, int) else 0))
        elif opcode in dis.hasname:
            attributes.add(argument)
            if chained and name in _ATTRIBUTE:
                chains[-1].append(argument)
        dynamic = dynamic or name == "MATCH_CLASS"  # reads what the class's __match_args__ name
        chained = name == "LOAD_GLOBAL" or (chained and name in _ATTRIBUTE)
    inner = [c for c in code.co_consts if isinstance(c, CodeType)]
    nested = [names_of(c, context if context in c.co_freevars else None) for c in inner]
    attributes.update(*map(_words, code.co_consts), *(n.attributes for n in nested))
    return Names(
        frozenset(map(tuple, chains)).union(*(n.chains for n in nested)),
        frozenset(attributes),
        frozenset(imports).union(*(n.imports for n in nested)),
        dynamic or bool(attributes & _REFLECTION) or any(n.dynamic for n in nested),
    )


def _variables(instruction: dis.Instruction) -> tuple[Any, ...]:
    """The variables an instruction names; some name two at once."""
    argument = instruction.argval
    return argument if isinstance(argument, tuple) else (argument,)


def _words(constant: Any) -> set[str]:
    """Names a constant may give to getattr, a class pattern, or "{0.a}".format."""
    if isinstance(constant, str):
        if "{" in constant:
            return set(re.findall(r"[^\W\d]\w*", constant))
        return {constant} if constant.isidentifier() else set()
    if isinstance(constant, (tuple, frozenset)):
        return {word for part in constant for word in _words(part)}
    return set()


def _reads_unknown(function: str, following: list[dis.Instruction], context: str | None) -> bool:
    """Whether the call of `function` (getattr, say) that begins here reads attributes whose names are not written out.

    Understood are `getattr(a.b, "name")` and anything asked of the context; all else counts as unknown.
    """
    if function not in _BY_NAME | _WHOLE or _is_variable(following, context):
        return False
    if function in _WHOLE:
        return True
    for place, i in enumerate(following):
        if isinstance(i.argval, tuple):  # two variables at once: the second is the name
            return True
        if i.opname in _ATTRIBUTE or i.opname.startswith(_LOADS):
            continue
        return not (i.opname.startswith("LOAD_CONST") and isinstance(i.argval, str) and _ends(following[place + 1 :]))
    return True


def _ends(following: list[dis.Instruction]) -> bool:
    """Whether the arguments end here, or after one more that is a plain value: getattr(x, "name", None)."""
    if following and following[0].opname.startswith((*_LOADS, "LOAD_CONST", "LOAD_SMALL_INT")):
        following = following[1:]
    return bool(following) and following[0].opname.startswith(_CALLS)


def _is_variable(following: list[dis.Instruction], name: str | None) -> bool:
    if not following or name is None or not following[0].opname.startswith(("LOAD_FAST", "LOAD_DEREF")):
        return False
    loaded, *more = _variables(following[0])
    if more:
        return bool(loaded == name)
    after = following[1].opname if len(following) > 1 else ""  # not `context or self`, nor `context.attribute`
    return bool(loaded == name) and after.startswith(("LOAD", *_CALLS)) and after not in _ATTRIBUTE
