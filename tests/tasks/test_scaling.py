"""Numbers scaled by the training part."""

from __future__ import annotations

import numpy as np
import pytest

from rondeau.errors import CheckpointError
from rondeau.tasks.scaling import Scale, Seen


def test_mean_and_deviation_of_the_known_values() -> None:
    scale = Scale.fit([1.0, np.nan, 3.0])
    assert scale == Scale(2.0, 1.0, False, True)
    np.testing.assert_array_equal(scale.apply([4.0, np.nan]), np.float32([[2, 0], [0, 1]]))
    assert Scale.fit([1.0, 3.0]).apply([np.nan]).tolist() == [[0.0]]  # unseen in training: the mean


def test_heavy_tails_are_taken_by_the_logarithm() -> None:
    rng = np.random.default_rng(0)
    heavy = rng.lognormal(3, 1.5, 2000)
    assert Scale.fit(heavy).log
    assert not Scale.fit(rng.normal(50, 3, 2000)).log
    assert Scale.fit(rng.standard_t(2, 5000)).log
    assert not Scale.fit(heavy, log=False).log
    assert abs(float(Scale.fit(heavy).apply(heavy).mean())) < 1e-5
    assert float(Scale.fit(heavy).apply(heavy).std()) == pytest.approx(1, abs=1e-5)


def test_constant_and_absent_columns_do_not_divide_by_zero() -> None:
    assert Scale.fit([5.0, 5.0]).apply([5.0, 6.0]).tolist() == [[0.0], [1.0]]
    assert np.isfinite(Scale.fit([np.nan, np.nan]).apply([np.nan, 1.0])).all()


def test_json_there_and_back() -> None:
    scale = Scale.fit([1.0, np.nan, 3.0])
    assert Scale.from_json(scale.to_json()) == scale
    with pytest.raises(CheckpointError, match="scale is damaged"):
        Scale.from_json({"mean": 1})


@pytest.mark.parametrize("kind", ["normal", "lognormal", "student"])
def test_in_parts_as_at_once(kind: str) -> None:
    rng = np.random.default_rng(0)
    values = {"normal": rng.normal(5, 2, 3000), "lognormal": rng.lognormal(3, 1.5, 3000)}.get(kind)
    values = rng.standard_t(2, 3000) if values is None else values
    values[::50] = np.nan
    known = values[~np.isnan(values)]
    seen = Seen()
    for part in np.array_split(values, 7):
        seen.update(part)
    whole, found = Scale.fit(values), seen.scale()
    assert (found.log, found.missing) == (whole.log, True)
    standard = (known - known.mean()) / known.std()
    near = {"rel": 64 * np.finfo(np.float64).eps * len(known) ** 0.5}  # sums in another order
    assert found.mean == pytest.approx(whole.mean, **near)
    assert found.deviation == pytest.approx(whole.deviation, **near)
    spread = seen.plain.deviation * seen.plain.count ** (1 / 3), seen.plain.deviation * seen.plain.count ** (1 / 4)
    size = np.abs(standard) ** 3
    assert seen.plain.cubes / spread[0] ** 3 == pytest.approx((standard**3).mean(), abs=near["rel"] * size.mean())
    assert seen.plain.fourths / spread[1] ** 4 == pytest.approx((standard**4).mean(), **near)
