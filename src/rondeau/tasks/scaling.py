"""Numbers scaled by what the training part shows: mean 0 and deviation 1, of heavy tails the logarithm."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rondeau.errors import CheckpointError

HEAVY = 2.0  # skewness or, for values of both signs, a tenth of the excess kurtosis, from which on a tail is heavy


@dataclass(frozen=True)
class Scale:
    """How one column of numbers is scaled.

    `mean`, `deviation`: of the training part's known values, after the logarithm where `log`: sign(x) ln(1 + |x|).
    `missing`: whether some were missing there; then a second column says where one is.
    """

    mean: float
    deviation: float
    log: bool = False
    missing: bool = False

    @classmethod
    def fit(cls, values: ArrayLike, log: bool | None = None) -> Scale:
        """From the training part's values, NaN where missing; `log`: None decides by the tails.

        >>> Scale.fit([1.0, 3.0]), Scale.fit([1.0, 2.0, 3.0, 4.0, 5000.0]).log
        (Scale(mean=2.0, deviation=1.0, log=False, missing=False), False)
        """
        given = np.asarray(values, np.float64)
        known = given[~np.isnan(given)]
        if not len(known):
            return cls(0.0, 1.0, False, bool(len(given)))
        log = _heavy(known) if log is None else log
        seen = _logarithm(known) if log else known
        deviation = float(seen.std())
        return cls(float(seen.mean()), deviation if deviation > 1e-12 else 1.0, log, len(known) < len(given))

    def apply(self, values: ArrayLike) -> NDArray[np.float32]:
        """`(rows,)` -> `(rows, 1)`, or `(rows, 2)` where values may be missing; a missing one is the mean."""
        given = np.asarray(values, np.float64)
        scaled = ((_logarithm(given) if self.log else given) - self.mean) / self.deviation
        absent = np.isnan(given)
        columns = [np.where(absent, 0.0, scaled), *([absent] if self.missing else [])]
        return np.stack(columns, axis=-1).astype(np.float32)

    @property
    def width(self) -> int:
        """Columns that `apply` makes."""
        return 2 if self.missing else 1

    def to_json(self) -> dict[str, Any]:
        """As `from_json` takes it."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Scale:
        """What `to_json` gave. Raises `CheckpointError` for anything else."""
        try:
            return cls(float(data["mean"]), float(data["deviation"]), bool(data["log"]), bool(data["missing"]))
        except (KeyError, TypeError, ValueError) as error:
            raise CheckpointError("a scale is damaged", expected="mean, deviation, log, missing", got=data) from error


def _logarithm(values: NDArray[np.float64]) -> NDArray[np.float64]:
    logarithm: NDArray[np.float64] = np.sign(values) * np.log1p(np.abs(values))
    return logarithm


def _heavy(known: NDArray[np.float64]) -> bool:
    if len(known) < 20:  # too few to tell
        return False
    deviation = known.std()
    if deviation <= 1e-12:
        return False
    standard = (known - known.mean()) / deviation
    if known.min() >= 0:
        return bool((standard**3).mean() > HEAVY)
    return bool((standard**4).mean() - 3 > 10 * HEAVY)
