"""Elementary functions against wider arithmetic: float against double, double against the machine's 80-bit numbers."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pytest

from rondeau.recurrence.emit.elementary import FORMULAS, elementary
from rondeau.recurrence.emit.llvm import I64, PTR, Function, Module, integer, vector_of

llvm = pytest.importorskip("llvmlite.binding")

Array = np.ndarray[Any, Any]
WIDE = np.longdouble
LIMIT = 4.0
TYPES: dict[str, Any] = {"float": np.float32, "double": np.float64}
LANES = {"float": 16, "double": 8}
ONE_ARGUMENT = sorted(set(FORMULAS) - {"pow"})

needs_wide = pytest.mark.skipif(np.finfo(WIDE).nmant < 63, reason="this machine's long double is no wider than double")


@cache
def compiled(name: str, element: str, lanes: int, arity: int = 1) -> Callable[..., Array]:
    """`name` over arrays whose size is a multiple of `lanes`."""
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    module = Module()
    sources = [(f"in{i}", PTR) for i in range(arity)]
    kernel = Function(module, "kernel", [("n", I64), ("out", PTR), *sources], exported=True, noalias=True)
    count, out, *inputs = kernel.arguments
    type = vector_of(element, lanes)

    def body(i: Any) -> None:
        values = [kernel.load(type, kernel.offset(p, i, element)) for p in inputs]
        kernel.store(elementary(kernel, name, *values), kernel.offset(out, i, element))

    kernel.loop(integer(0), count, body, step=lanes)
    kernel.ret()
    parsed = llvm.parse_assembly(module.text())
    parsed.verify()
    features = llvm.get_host_cpu_features().flatten()
    machine = llvm.Target.from_default_triple().create_target_machine(llvm.get_host_cpu_name(), features, opt=2)
    builder = llvm.create_pass_builder(machine, llvm.create_pipeline_tuning_options(speed_level=2))
    builder.getModulePassManager().run(parsed, builder)
    engine = llvm.create_mcjit_compiler(parsed, machine)
    engine.finalize_object()
    address = engine.get_function_address("kernel")
    native = ctypes.CFUNCTYPE(None, ctypes.c_int64, *[ctypes.c_void_p] * (1 + arity))(address)

    def run(*arrays: Array, engine: Any = engine) -> Array:
        assert arrays[0].size % lanes == 0
        arrays = tuple(np.ascontiguousarray(a, TYPES[element]) for a in arrays)
        result = np.full_like(arrays[0], 7)
        native(result.size, result.ctypes.data, *(a.ctypes.data for a in arrays))
        return result

    return run


def apply(name: str, element: str, *arrays: Array) -> Array:
    result: Array = compiled(name, element, LANES[element], len(arrays))(*arrays)
    return result


def erf_series(x: Array) -> Array:
    """erf by the series 2 x exp(-x²) / √π · Σ (2 x²)^k / (2 k + 1)!!, whose terms are all positive."""
    a = np.minimum(np.abs(x), 7)
    total, term = np.zeros_like(a), np.ones_like(a)
    for k in range(200):
        total += term
        term = term * (2 * a * a / (2 * k + 3))
    root_pi = np.sqrt(x.dtype.type("3.14159265358979323846264338327950288"))
    result: Array = np.copysign(2 * a / root_pi * np.exp(-a * a) * total, x)
    return result


def softplus(x: Array) -> Array:
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


EXACT: dict[str, Callable[..., Array]] = {
    "acos": np.arccos,
    "asin": np.arcsin,
    "atan": np.arctan,
    "erf": erf_series,
    "log_sigmoid": lambda x: -softplus(-x),
    "pow": np.power,
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "softplus": softplus,
}


def exact(name: str, element: str, *arrays: Array) -> Array:
    wider = WIDE if element == "double" else np.float64
    function = EXACT.get(name) or getattr(np, name)
    with np.errstate(all="ignore"):
        return np.asarray(function(*(a.astype(wider) for a in arrays)))


def ulps(got: Array, want: Array) -> Array:
    """|got - want| in units of the last place of `want`; infinite where one of the two is NaN or infinite alone."""
    info = np.finfo(got.dtype)
    with np.errstate(all="ignore"):
        rounded = want.astype(got.dtype)
        exponent = np.maximum(np.frexp(want)[1], info.minexp + 1) - 1 - info.nmant
        error = np.abs(got.astype(want.dtype) - want) / np.ldexp(want.dtype.type(1), exponent)
    same = (got == rounded) | (np.isnan(got) & np.isnan(rounded))
    difference: Array = np.where(same, 0, np.where(np.isfinite(error), error, np.inf))
    return difference


def sweep(element: str, count: int) -> Array:
    """Numbers over the whole format, subnormal numbers and both signs, then dense where functions bend."""
    type = TYPES[element]
    bits = type().itemsize * 8
    unsigned: Any = np.uint32 if bits == 32 else np.uint64
    rng = np.random.default_rng(0)
    stride = 2**bits // count
    patterns = np.arange(count, dtype=np.uint64) * np.uint64(stride) + rng.integers(0, stride, count, dtype=np.uint64)
    widths = (1e-3, 0.1, 1, 1.6, 3, 10, 30, 100, 800, 1e4)
    dense = [rng.uniform(-w, w, count // 16).astype(type) for w in widths]
    bends = [
        0.34657,
        0.5,
        0.69315,
        0.70711,
        1,
        1.41421,
        1.5708,
        2,
        3.14159,
        4,
        6,
        9,
        10,
        20,
        87.33,
        88.72,
        103.97,
        709.78,
        745.13,
    ]
    steps = np.arange(-64, 64).astype(unsigned)
    near = [(np.array(s * b, type).view(unsigned) + steps).view(type) for b in bends for s in (-1, 1)]
    values: Array = np.concatenate([patterns.astype(unsigned).view(type), *dense, *near])
    values = values[~np.isnan(values)]
    kept: Array = values[: values.size // 16 * 16]
    return kept


def worst(name: str, element: str, *arrays: Array) -> tuple[float, list[Array]]:
    errors = ulps(apply(name, element, *arrays), exact(name, element, *arrays))
    place = int(np.argmax(errors))
    return float(errors[place]), [a[place] for a in arrays]


@pytest.mark.parametrize("name", ONE_ARGUMENT)
def test_float_is_within_four_ulp_over_its_whole_range(name: str) -> None:
    error, where = worst(name, "float", sweep("float", 2**20 if name != "erf" else 2**15))
    assert error <= LIMIT, where


@needs_wide
@pytest.mark.parametrize("name", ONE_ARGUMENT)
def test_double_is_within_four_ulp_over_its_whole_range(name: str) -> None:
    error, where = worst(name, "double", sweep("double", 2**18 if name != "erf" else 2**14))
    assert error <= LIMIT, where


INF, NAN = float("inf"), float("nan")
SPECIALS: dict[str, dict[float, float]] = {
    "exp": {0.0: 1.0, INF: INF, -INF: 0.0, 1e4: INF, -1e4: 0.0},
    "expm1": {0.0: 0.0, INF: INF, -INF: -1.0, 1e4: INF, -1e4: -1.0},
    "log": {0.0: -INF, 1.0: 0.0, INF: INF, -INF: NAN, -1.0: NAN},
    "log1p": {0.0: 0.0, -1.0: -INF, -2.0: NAN, INF: INF, -INF: NAN},
    "tanh": {0.0: 0.0, INF: 1.0, -INF: -1.0, 30.0: 1.0, -30.0: -1.0},
    "sigmoid": {0.0: 0.5, INF: 1.0, -INF: 0.0, 1e4: 1.0, -1e4: 0.0},
    "softplus": {INF: INF, -INF: 0.0, 1e4: 1e4, -1e4: 0.0},
    "log_sigmoid": {INF: 0.0, -INF: -INF, 1e4: 0.0, -1e4: -1e4},
    "erf": {0.0: 0.0, INF: 1.0, -INF: -1.0, 30.0: 1.0, -30.0: -1.0},
    "sin": {0.0: 0.0, INF: NAN, -INF: NAN},
    "cos": {0.0: 1.0, INF: NAN, -INF: NAN},
    "tan": {0.0: 0.0, INF: NAN, -INF: NAN},
    "asin": {0.0: 0.0, 1.5: NAN, -1.5: NAN, INF: NAN, -INF: NAN},
    "acos": {1.0: 0.0, 1.5: NAN, -1.5: NAN, INF: NAN, -INF: NAN},
    "atan": {0.0: 0.0},
    "sinh": {0.0: 0.0, INF: INF, -INF: -INF, 1e4: INF, -1e4: -INF},
    "cosh": {0.0: 1.0, INF: INF, -INF: INF, 1e4: INF, -1e4: INF},
    "exp2": {0.0: 1.0, 5.0: 32.0, -3.0: 0.125, INF: INF, -INF: 0.0, 1e4: INF, -1e4: 0.0},
    "log2": {0.0: -INF, 1.0: 0.0, 32.0: 5.0, 0.125: -3.0, INF: INF, -1.0: NAN},
    "log10": {0.0: -INF, 1.0: 0.0, INF: INF, -1.0: NAN},
}
ODD = ("asin", "atan", "erf", "expm1", "log1p", "sin", "sinh", "tan", "tanh")


@pytest.mark.parametrize("element", ["float", "double"])
@pytest.mark.parametrize("name", sorted(SPECIALS))
def test_special_values_are_exact(name: str, element: str) -> None:
    points = np.resize(np.array(list(SPECIALS[name]), TYPES[element]), 16)
    want = np.resize(np.array(list(SPECIALS[name].values()), TYPES[element]), 16)
    np.testing.assert_array_equal(apply(name, element, points), want)


@pytest.mark.parametrize("element", ["float", "double"])
@pytest.mark.parametrize("name", ONE_ARGUMENT)
def test_nan_stays_nan_whatever_its_payload(name: str, element: str) -> None:
    payloads = np.random.default_rng(0).integers(0, 2**22, 4096)
    if element == "float":
        values = (payloads | 0x7FC00000).astype(np.uint32).view(np.float32)
    else:
        values = ((payloads << 29 | payloads) | 0x7FF8000000000000).astype(np.uint64).view(np.float64)
    values = np.concatenate([values, -values])
    assert np.isnan(values).all()
    assert np.isnan(apply(name, element, values)).all()


@pytest.mark.parametrize("element", ["float", "double"])
@pytest.mark.parametrize("name", ODD)
def test_zero_keeps_its_sign(name: str, element: str) -> None:
    zeros = np.resize(np.array([0.0, -0.0], TYPES[element]), 16)
    result = apply(name, element, zeros)
    assert (result == 0).all()
    assert (np.signbit(result) == np.signbit(zeros)).all()


@pytest.mark.parametrize("name", ["sin", "cos", "tan"])
@pytest.mark.parametrize("element", ["float", pytest.param("double", marks=needs_wide)])
def test_a_number_next_to_a_multiple_of_a_right_angle_keeps_its_digits(name: str, element: str) -> None:
    turns = np.concatenate([np.arange(1, 4000), 2.0 ** np.arange(12, 100) + 1, 3.0 ** np.arange(8, 64)])
    x = np.concatenate([turns * (np.pi / 2), [6381956970095103 * 2.0**797]])
    x = np.resize(x[x < np.finfo(TYPES[element]).max], 4160).astype(TYPES[element])
    error, where = worst(name, element, np.concatenate([x, -x]))
    assert error <= LIMIT, where


def powers(element: str, count: int) -> list[tuple[Array, Array]]:
    """Bases and exponents: over the range of results, next to one, moderate, negative to whole powers, any bits."""
    type = TYPES[element]
    info, rng = np.finfo(type), np.random.default_rng(0)
    unsigned, bits = (np.uint32, 32) if element == "float" else (np.uint64, 64)

    def spread(x: Array) -> Array:
        logs = np.log(x.astype(WIDE))
        results = rng.uniform(-1.08, 1.02, count) * np.log(WIDE(info.max))
        return np.where(logs == 0, 1, results / np.where(logs == 0, 1, logs)).astype(type)

    def any_bits(top: int) -> Array:
        values: Array = rng.integers(1, top, count, dtype=np.uint64).astype(unsigned).view(type)
        return values

    anywhere = any_bits((1 << (bits - 1)) - (1 << info.nmant))
    near_one = (1 + rng.uniform(-0.9, 0.9, count) * 10.0 ** rng.uniform(-info.precision, 0, count)).astype(type)
    moderate = rng.uniform(0, 10, count).astype(type)
    return [
        (anywhere, spread(anywhere)),
        (near_one, spread(near_one)),
        (moderate, rng.uniform(-20, 20, count).astype(type)),
        (-moderate, rng.integers(-40, 40, count).astype(type)),
        (any_bits(2**bits - 1), any_bits(2**bits - 1)),
    ]


@pytest.mark.parametrize("case", range(5))
@pytest.mark.parametrize("element", ["float", pytest.param("double", marks=needs_wide)])
def test_pow_is_within_one_and_a_half_ulp(element: str, case: int) -> None:
    """Closer than the rest: an error of the logarithm that a fourfold allowance would hide grows with the exponent."""
    error, where = worst("pow", element, *powers(element, 2**15)[case])
    assert error <= 1.5, where


@needs_wide
@pytest.mark.parametrize("name", ["sin", "cos"])
def test_huge_numbers_are_reduced_with_digits_to_spare(name: str) -> None:
    """Within 2 ulp, for the sake of tan, where the errors of sine, cosine and quotient add up."""
    x = 2.0 ** np.random.default_rng(0).uniform(30, 1024, 2**16)
    error, where = worst(name, "double", x)
    assert error <= 2, where


@pytest.mark.parametrize("element", ["float", "double"])
def test_pow_has_the_special_values_of_the_standard(element: str) -> None:
    type = TYPES[element]
    info = np.finfo(type)
    sizes = [0, 1, 2, 0.5, 3, 1.5, INF, NAN, 1e30, info.smallest_subnormal, 2.0**23 + 1, 2.0**24, 2.0**52 + 1, info.max]
    points = np.array([*sizes, *(-s for s in sizes), 4, -4, 0.25, -0.25], type)
    x, y = (np.ascontiguousarray(a.ravel()) for a in np.meshgrid(points, points))
    with np.errstate(all="ignore"):
        want = np.power(x, y)
    got = apply("pow", element, x, y)
    np.testing.assert_allclose(got, want, rtol=LIMIT * info.eps, atol=0)
    exact_ones = np.isfinite(want)
    assert (np.signbit(got) == np.signbit(want))[exact_ones].all()


@pytest.mark.parametrize("element", ["float", "double"])
def test_pow_agrees_bit_for_bit_whatever_the_lanes(element: str) -> None:
    bits = np.uint32 if element == "float" else np.uint64
    for x, y in powers(element, 2**10):
        results = [compiled("pow", element, lanes, 2)(x, y) for lanes in (1, 4, 8, 16)]
        for result in results[1:]:
            same = (result.view(bits) == results[0].view(bits)) | (np.isnan(result) & np.isnan(results[0]))
            assert same.all()


@pytest.mark.parametrize("element", ["float", "double"])
@pytest.mark.parametrize("name", sorted(set(ODD) - {"erf"}))
def test_subnormal_numbers_are_kept_where_the_slope_is_one(name: str, element: str) -> None:
    tiny = np.finfo(TYPES[element]).smallest_subnormal
    x = np.resize(np.array([1, -1, 3, -5, 7, 1001, -999999, 2**20 + 1], TYPES[element]) * tiny, 16)
    np.testing.assert_array_equal(apply(name, element, x), x)


@pytest.mark.parametrize("element", ["float", "double"])
@pytest.mark.parametrize("name", ["cos", "erf", "sigmoid", "sin", "tanh"])
def test_what_is_bounded_by_one_stays_so(name: str, element: str) -> None:
    assert (np.abs(apply(name, element, sweep(element, 2**17))) <= 1).all()


@pytest.mark.parametrize("element", ["float", "double"])
@pytest.mark.parametrize("name", ONE_ARGUMENT)
def test_lanes_agree_bit_for_bit(name: str, element: str) -> None:
    x = sweep(element, 2**12)
    results = [compiled(name, element, lanes)(x) for lanes in (1, 4, 8, 16)]
    bits = np.uint32 if element == "float" else np.uint64
    for result in results[1:]:
        # Which NaN it is does not matter.
        same = (result.view(bits) == results[0].view(bits)) | (np.isnan(result) & np.isnan(results[0]))
        assert same.all()


def test_functions_are_written_once_per_type() -> None:
    module = Module()
    f = Function(module, "f", [("x", "float"), ("y", "<8 x float>")], exported=True)
    for x in (*f.arguments, *f.arguments):
        elementary(f, "tanh", x)
    assert len(module.functions) == 3
