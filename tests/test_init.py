from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from rondeau import init
from rondeau.errors import ArgumentError, ShapeError

BIG = (300, 200)
N = BIG[0] * BIG[1]
KINDS = [kind for kind in vars(init).values() if inspect.isclass(kind) and issubclass(kind, init.Initializer)]
DRAWING = [kind for kind in KINDS if "seed" in inspect.signature(kind).parameters and kind is not init.Chrono]

# shape, deviation, and furthest value from the mean: sqrt(3) deviations if uniform, 2 / 0.8796 if cut off at two
UNIFORM, TRUNCATED = math.sqrt(3), 2 / 0.87962566103423978


@pytest.mark.parametrize(
    ("name", "fan", "scale", "reach"),
    [
        ("glorot_uniform", 250, 1, UNIFORM),
        ("glorot_normal", 250, 1, TRUNCATED),
        ("he_uniform", 300, 2, UNIFORM),
        ("he_normal", 300, 2, TRUNCATED),
        ("lecun_uniform", 300, 1, UNIFORM),
        ("lecun_normal", 300, 1, TRUNCATED),
    ],
)
def test_variance_is_scale_over_fan(name: str, fan: float, scale: float, reach: float) -> None:
    deviation = math.sqrt(scale / fan)
    check(init.get(name)(BIG), 0.0, deviation, reach * deviation)


def check(x: Tensor, mean: float, deviation: float, reach: float) -> None:
    """Mean and deviation within five standard errors of N draws, and values that fill ±reach without leaving it."""
    assert float(x.mean()) == pytest.approx(mean, abs=5 * deviation / math.sqrt(N))
    assert float(x.std()) == pytest.approx(deviation, rel=5 / math.sqrt(2 * N))
    if math.isfinite(reach):
        furthest = float((x - mean).abs().max())
        assert 0.98 * reach < furthest <= reach * (1 + 1e-6)


@pytest.mark.parametrize(
    ("made", "mean", "deviation", "reach"),
    [
        (init.RandomNormal(), 0.0, 0.05, math.inf),
        (init.RandomNormal(1.0, 2.0), 1.0, 2.0, math.inf),
        (init.TruncatedNormal(), 0.0, 0.05 * 0.87962566, 0.1),
        (init.TruncatedNormal(5.0, 0.5), 5.0, 0.5 * 0.87962566, 1.0),
        (init.RandomUniform(), 0.0, 0.05 / UNIFORM, 0.05),
        (init.RandomUniform(1.0, 3.0), 2.0, 1 / UNIFORM, 1.0),
        (init.VarianceScaling(3.0, "fan_out", "untruncated_normal"), 0.0, math.sqrt(3 / 200), math.inf),
        (init.VarianceScaling(), 0.0, math.sqrt(1 / 300), TRUNCATED * math.sqrt(1 / 300)),
        (init.VarianceScaling(3.0, "fan_avg", "uniform"), 0.0, math.sqrt(3 / 250), UNIFORM * math.sqrt(3 / 250)),
    ],
)
def test_distributions(made: init.Initializer, mean: float, deviation: float, reach: float) -> None:
    check(made(BIG), mean, deviation, reach)


@pytest.mark.parametrize("shape", [(7, 7), (5, 20), (20, 5), (3, 4, 10), (1, 1), (1, 6)])
def test_orthogonal_rows_or_columns(shape: tuple[int, ...]) -> None:
    q = init.Orthogonal(gain=3.0)(shape).reshape(-1, shape[-1]).double() / 3
    small = q @ q.T if q.shape[0] <= q.shape[1] else q.T @ q
    assert torch.allclose(small, torch.eye(len(small), dtype=torch.float64), atol=1e-6)


def test_orthogonal_matrices_are_drawn_from_all_of_them() -> None:
    """Haar's measure: every entry has mean 0 and variance 1 / n; without the signs the diagonal would lean."""
    draws = torch.stack([init.Orthogonal()((3, 3)) for _ in range(2000)])
    assert float(draws.mean(0).abs().max()) < 5 * math.sqrt(1 / 3 / 2000)
    assert torch.allclose(draws.var(0), torch.full((3, 3), 1 / 3), atol=0.05)


def test_plain_values() -> None:
    assert init.Zeros()((2, 3)).tolist() == [[0, 0, 0], [0, 0, 0]]
    assert init.Ones()((2,)).tolist() == [1, 1]
    assert init.Constant(2.5)((2,)).tolist() == [2.5, 2.5]
    assert init.Identity(2.0)((2, 3)).tolist() == [[2, 0, 0], [0, 2, 0]]
    assert init.Constant(3.0)(()).item() == 3


@pytest.mark.parametrize("kind", DRAWING)
def test_a_seed_draws_the_same_every_time(kind: Callable[..., init.Initializer]) -> None:
    one = kind(seed=5)
    assert torch.equal(one((6, 4)), one((6, 4)))
    assert torch.equal(one((6, 4)), kind(seed=5)((6, 4)))
    assert not torch.equal(one((6, 4)), kind(seed=6)((6, 4)))


@pytest.mark.parametrize("kind", DRAWING)
def test_without_a_seed_the_global_generator_draws(kind: Callable[..., init.Initializer]) -> None:
    torch.manual_seed(3)
    first, second = kind()((6, 4)), kind()((6, 4))
    assert not torch.equal(first, second)
    torch.manual_seed(3)
    assert torch.equal(kind()((6, 4)), first)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_values_take_the_default_type(dtype: torch.dtype) -> None:
    try:
        torch.set_default_dtype(dtype)
        for name in ("orthogonal", "glorot_uniform", "truncated_normal", "identity", "ones"):
            values = init.get(name)((4, 3))
            assert values.dtype == dtype
            assert bool(values.isfinite().all())
    finally:
        torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize(
    ("shape", "fans"),
    [((), (1, 1)), ((5,), (5, 5)), ((5, 3), (5, 3)), ((2, 5, 3), (10, 6)), ((2, 2, 5, 3), (20, 12))],
)
def test_fans_of_kernels(shape: tuple[int, ...], fans: tuple[int, int]) -> None:
    assert init.fans(shape) == fans


def test_names_classes_and_callables() -> None:
    for name in ("glorot_uniform", "GlorotUniform", "glorotuniform", "GLOROT_UNIFORM"):
        assert type(init.get(name)) is init.GlorotUniform
    assert type(init.get(init.HeNormal)) is init.HeNormal
    made = init.Constant(2.0)
    assert init.get(made) is made

    def ours(shape: tuple[int, ...]) -> Tensor:
        return torch.full(shape, 7.0)

    assert init.get(ours) is ours


def test_every_name_is_keras_name_for_the_same() -> None:
    keras = pytest.importorskip("keras")
    for name, kind in init._BY_NAME.items():
        if kind is init.Chrono:  # Keras has none
            continue
        theirs = getattr(keras.initializers, kind.__name__)
        assert (
            name == "constant" or type(keras.initializers.get(name)) is theirs
        )  # Keras cannot make a constant by name
        own, other = (
            [(p.name, p.default) for p in inspect.signature(one).parameters.values()] for one in (kind, theirs)
        )
        assert own == other[: len(own)]


@pytest.mark.parametrize("kind", DRAWING)
def test_configurations_make_the_like(kind: Any) -> None:
    one = kind(seed=2)
    assert torch.equal(type(one).from_config(one.get_config())((5, 4)), one((5, 4)))


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: init.get("glorot_unifrom"), r"Did you mean 'glorot_uniform'\?"),
        (lambda: init.get("nothing like it at all"), "expected one of zeros, ones"),
        (lambda: init.get(3), "expected a name or a callable shape -> tensor, got 3"),
        (lambda: init.get(dict), "got <class 'dict'>"),
        (lambda: init.VarianceScaling(mode="fan"), "mode: expected one of fan_in, fan_out, fan_avg, got 'fan'"),
        (lambda: init.VarianceScaling(distribution="normal"), "distribution: .*truncated_normal"),
        (lambda: init.VarianceScaling(scale=0.0), "scale: expected above 0"),
        (lambda: init.RandomNormal(stddev=-1.0), "stddev: expected 0 or more, got -1"),
        (lambda: init.RandomUniform(1.0, 0.0), "minval <= maxval, got 1.0, 0.0"),
    ],
)
def test_wrong_arguments(make: Callable[[], Any], said: str) -> None:
    with pytest.raises(ArgumentError, match=said):
        make()


def test_wrong_shapes() -> None:
    with pytest.raises(ShapeError, match=r"expected 2 axes, got \(3,\)"):
        init.Orthogonal()((3,))
    with pytest.raises(ShapeError, match=r"expected 2 axes, got \(2, 3, 3\)"):
        init.Identity()((2, 3, 3))
