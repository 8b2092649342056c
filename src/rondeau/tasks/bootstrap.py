"""How far a figure would move had other rows been held out: the bootstrap (Efron 1979), of stretches (Künsch 1989)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rondeau.data.progress import progress
from rondeau.errors import ArgumentError

Rows = NDArray[np.int64]


def intervals(
    statistic: Callable[[Rows], Mapping[str, float]],
    rows: int,
    groups: Sequence[Any] | NDArray[Any] | None = None,
    draws: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> dict[str, tuple[float, float]]:
    """The interval of each figure between the outer percentiles over rows drawn anew with replacement.

    Args:
        statistic: the figures of some rows, by name, given their numbers (each as often as it was drawn); a figure
            that these rows do not give is left out or NaN, and not counted.
        rows: how many rows there are.
        groups: of each row what it belongs to; then whole groups are drawn, since rows of one are not independent.
        draws: how often (default 1000); level: the share of draws within (default 0.95); seed: of the draws.

    Raises `ArgumentError` for no rows or a level outside 0 to 1. The percentile method of "Bootstrap Methods: Another
    Look at the Jackknife", Annals of Statistics 7(1). It knows of the test rows alone: another training seed, or other
    training data, moves a figure too.

    >>> import numpy as np
    >>> right = np.array([1.0] * 90 + [0.0] * 10)
    >>> low, high = intervals(lambda rows: {"accuracy": right[rows].mean()}, 100)["accuracy"]
    >>> bool(0.80 < low < 0.90 < high < 0.98)
    True
    """
    if rows < 1 or not 0 < level < 1:
        raise ArgumentError("intervals", expected="rows, and a level between 0 and 1", got=f"{rows} rows, {level}")
    generator = np.random.default_rng(seed)
    members = _members(groups) if groups is not None else None
    found: dict[str, list[float]] = {}
    for _ in progress(range(draws), "drawing rows anew", unit="draws"):
        if members is None:
            drawn = generator.integers(0, rows, rows)
        else:
            drawn = np.concatenate([members[i] for i in generator.integers(0, len(members), len(members))])
        for name, value in statistic(drawn).items():
            found.setdefault(name, []).append(float(value))
    outside = 100 * (1 - level) / 2
    ends: dict[str, tuple[float, float]] = {}
    for name, values in found.items():
        known = [value for value in values if value == value]
        if known:
            low, high = np.percentile(known, [outside, 100 - outside])
            ends[name] = float(low), float(high)
    return ends


def block_interval(
    values: NDArray[Any], block: int, draws: int = 1000, level: float = 0.95, seed: int = 0
) -> tuple[float, float]:
    """The interval of the mean of values that follow each other, such as the bits of a text's characters.

    Neighbours depend on each other, so that single values drawn anew would make it too narrow. Drawn are stretches of
    `block` values, beginning anywhere, as many as make up the whole: the moving-block bootstrap of Künsch 1989, "The
    Jackknife and the Bootstrap for General Stationary Observations", Annals of Statistics 17(3). Where there are fewer
    than ten stretches in all, each is a tenth of the values, and the interval rather too narrow.

    Args:
        values: `(steps,)`, in order. Series of equal length are drawn at the same places by the same `seed`.
        block: values of a stretch; draws, level: as in `intervals`.

    Raises `ArgumentError` for no values, a block below 1 or a level outside 0 to 1.

    >>> import numpy as np
    >>> waves = np.sin(np.arange(10_000) / 100)
    >>> single, stretches = block_interval(waves, 1), block_interval(waves, 1000)
    >>> stretches[1] - stretches[0] > 4 * (single[1] - single[0])
    True
    """
    if len(values) < 1 or block < 1 or not 0 < level < 1:
        expected = "values, a block of 1 or more, and a level between 0 and 1"
        raise ArgumentError("block_interval", expected=expected, got=f"{len(values)} values, {block}, {level}")
    block = max(1, min(block, len(values) // 10))
    sums = np.concatenate([[0.0], np.cumsum(values, dtype=np.float64)])
    stretches = (sums[block:] - sums[:-block]) / block  # the mean of each
    generator = np.random.default_rng(seed)
    count = -(-len(values) // block)
    means = [stretches[generator.integers(0, len(stretches), count)].mean() for _ in range(draws)]
    outside = 100 * (1 - level) / 2
    low, high = np.percentile(means, [outside, 100 - outside])
    return float(low), float(high)


def _members(groups: Sequence[Any] | NDArray[Any]) -> list[Rows]:
    """The rows of each group, in the order in which they first come."""
    if isinstance(groups, np.ndarray):
        first, numbers, sizes = np.unique(groups, return_index=True, return_inverse=True, return_counts=True)[1:]
        rows = np.split(np.argsort(numbers.reshape(-1), kind="stable"), sizes.cumsum()[:-1])
        return [rows[i] for i in np.argsort(first).tolist()]
    by_group: dict[Any, list[int]] = {}
    for row, group in enumerate(groups):
        by_group.setdefault(group, []).append(row)
    return [np.asarray(rows, np.int64) for rows in by_group.values()]
