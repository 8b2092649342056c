"""What is taken to be constant, what is known to change by itself, and what cannot change at all."""

from __future__ import annotations

import datetime
import decimal
import fractions
import inspect
import logging
import os
import pathlib
import re
import sys
import sysconfig
import types
import typing
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import torch

# Guarded by identity where user code reaches them; their own code is not read.
_LIBRARIES = {"beartype", "einops", "functorch", "jaxtyping", "numpy", "torch", "torchgen", "typing_extensions"}
# Of Rondeau itself: what stands under every cell and is not for a user to change.
_FOUNDATIONS = (
    "rondeau.cells.base",
    "rondeau.cells.cudnn",
    "rondeau.cells.naming",
    "rondeau.cells.vendor",
    "rondeau.config",
    "rondeau.errors",
    "rondeau.init",
    "rondeau.module",
    "rondeau.recurrence",
    "rondeau.regularizers",
    "rondeau.sequence",
)
# The standard library's modules whose functions give the same for the same arguments, and whose values do not change.
_PURE = {
    *("abc", "bisect", "builtins", "cmath", "collections", "contextlib", "copy", "copyreg", "dataclasses", "enum"),
    *("fractions", "functools", "heapq", "inspect", "itertools", "json", "keyword", "logging", "math", "numbers"),
    *("operator", "re", "sre", "statistics", "string", "struct", "textwrap", "types", "typing", "warnings"),
    *("__future__", "annotationlib", "reprlib", "traceback"),
}
# Names by which pure modules, and torch and numpy, give something that may differ from call to call. What the kernel's
# key holds anyway (gradient mode, autocast, the default type) is not among them, nor what draws tensors at random.
_CHANGING = {
    "builtins": {"input", "open", "eval", "exec", "compile", "globals", "locals", "id", "__import__", "breakpoint"},
    "inspect": {"currentframe", "stack", "trace", "getframeinfo"},
    "torch": {
        *("are_deterministic_algorithms_enabled", "backends", "cuda", "distributed", "get_deterministic_debug_mode"),
        *("get_default_device", "get_float32_matmul_precision", "get_num_interop_threads", "get_num_threads"),
        *("get_rng_state", "hub", "initial_seed", "is_anomaly_enabled", "is_inference_mode_enabled", "load"),
        *("is_deterministic_algorithms_warn_only_enabled", "is_warn_always_enabled", "mps", "random", "seed", "xpu"),
    },
    "numpy": {"random", "fromfile", "genfromtxt", "geterr", "getbufsize", "get_printoptions", "load", "loadtxt"},
}
_SYS = {"byteorder", "float_info", "hexversion", "implementation", "int_info", "maxsize", "platform", "version_info"}
# Attributes that lead to variables nobody named.
HIDDEN_PATHS = {"__globals__", "__subclasses__", "cr_frame", "f_back", "f_globals", "f_locals", "gi_frame", "tb_frame"}
# Functions that read whatever attributes an object has.
_READING = {
    "builtins": {"delattr", "dir", "getattr", "hasattr", "setattr", "type", "vars"},
    "copy": {"copy", "deepcopy", "replace"},
    "dataclasses": {"asdict", "astuple", "fields", "replace"},
    "inspect": {"getattr_static", "getmembers", "getmembers_static"},
    "operator": {"attrgetter", "methodcaller"},
}

# Types whose instances cannot change.
LEAVES: frozenset[type] = frozenset(
    {
        *(type(None), type(...), type(NotImplemented), bool, int, float, complex, str, bytes, object),
        *(torch.dtype, torch.device, torch.layout, torch.memory_format, torch.finfo, torch.iinfo, torch.Size),
        *(types.CodeType, types.GetSetDescriptorType, types.MemberDescriptorType, types.WrapperDescriptorType),
        *(types.MethodDescriptorType, types.ClassMethodDescriptorType, types.MethodWrapperType, types.GenericAlias),
        *(datetime.date, datetime.datetime, datetime.time, datetime.timedelta, datetime.timezone),
        *(decimal.Decimal, fractions.Fraction, pathlib.PosixPath, pathlib.WindowsPath, pathlib.PurePosixPath),
        *(re.Pattern, inspect.Signature, np.ufunc, typing.TypeVar, type(typing.Any), type(int | str)),
        *(type(typing.List[int]), type(typing.Callable[[int], int])),  # noqa: UP006
        type(NamedTuple("_", [("a", int)]).a),  # type: ignore[attr-defined]
        logging.Logger,  # what it says is no part of a kernel
    }
)

_ROOTS = tuple(
    os.path.join(os.path.normcase(os.path.realpath(sysconfig.get_path(name))), "") for name in ("stdlib", "platstdlib")
)


@lru_cache(maxsize=4096)
def _origin(module: str, file: str | None) -> str:
    if any(module == name or module.startswith(name + ".") for name in _FOUNDATIONS):
        return "foundation"
    top = module.partition(".")[0]
    if top in _LIBRARIES or module.startswith("namedtuple_"):
        return "library"
    if top not in sys.stdlib_module_names and top not in sys.builtin_module_names:
        return "user"
    place = os.path.normcase(os.path.realpath(file)) if file else _ROOTS[0]  # frozen or built in
    if not place.startswith(_ROOTS) or "site-packages" in place or "dist-packages" in place:
        return "user"  # a script called code.py, say
    return "library"


def origin(names: dict[str, Any]) -> str:
    """Where the module of these globals comes from: "user", "library" (constant), or "foundation" (Rondeau's own)."""
    name, file = names.get("__name__"), names.get("__file__")
    return _origin(name if isinstance(name, str) else "", file if isinstance(file, str) else None)


def origin_of(module: Any) -> str:
    """The same for a module's name, as classes have it."""
    if not isinstance(module, str):
        return "user"
    found = sys.modules.get(module)
    return _origin(module, getattr(found, "__file__", None) if type(found) is types.ModuleType else None)


def changes(module: str | None, name: str) -> bool:
    """Whether `name` of a library's module may give something else at the next call."""
    parts = (module or "builtins").split(".")
    top = parts[0] if parts[0] == "__future__" else parts[0].lstrip("_")
    if top == "sys":
        return name not in _SYS
    if top in sys.stdlib_module_names and top not in _PURE:
        return True
    changing = _CHANGING.get(top, ())
    return name in changing or any(part in changing for part in parts[1:])


def changing_names(module: str) -> set[str] | None:
    """Which of a library module's names change; None: all might."""
    top = module.partition(".")[0]
    if changes(module, ""):
        return None
    return _CHANGING.get(top, set())


def reads_all(module: str | None, name: str | None = None) -> bool:
    """Whether this library function (None: some function of the module) reads attributes by names nobody spelt out."""
    reading = _READING.get((module or "").partition(".")[0].lstrip("_"), set())
    return bool(reading) if name is None else name in reading
