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
        return Seen().update(values).scale(log)

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


class Seen:
    """Numbers that are seen once, a part at a time, and the scale that fits them.

    Moments of a part are joined with those before it (Pébay 2008, "Formulas for robust, one-pass parallel computation
    of covariances and arbitrary-order statistical moments", eq. 2.1 to 3.1).

    >>> Seen().update([1.0, 2.0]).update([3.0, np.nan]).scale()
    Scale(mean=2.0, deviation=0.816496580927726, log=False, missing=True)
    """

    def __init__(self) -> None:
        self.plain, self.log = _Moments(), _Moments()
        self.least, self.missing = np.inf, False

    def update(self, values: ArrayLike) -> Seen:
        """More numbers, NaN where missing."""
        given = np.asarray(values, np.float64)
        known = given[~np.isnan(given)]
        self.missing |= len(known) < len(given)
        if len(known):
            self.plain.update(known)
            self.log.update(_logarithm(known))
            self.least = min(self.least, float(known.min()))
        return self

    def scale(self, log: bool | None = None) -> Scale:
        """What takes them to mean 0 and deviation 1; `log`: None decides by the tails."""
        if not self.plain.count:
            return Scale(0.0, 1.0, False, self.missing)
        log = self._heavy() if log is None else log
        seen = self.log if log else self.plain
        deviation = seen.deviation
        return Scale(seen.mean, deviation if deviation > 1e-12 else 1.0, log, self.missing)

    def _heavy(self) -> bool:
        seen = self.plain
        if seen.count < 20 or seen.deviation <= 1e-12:  # too few to tell, or all the same
            return False
        if self.least >= 0:
            return seen.cubes / seen.count / seen.deviation**3 > HEAVY
        return seen.fourths / seen.count / seen.deviation**4 - 3 > 10 * HEAVY


class _Moments:
    """Count, mean, and sums of powers of the distances from the mean."""

    def __init__(self) -> None:
        self.count, self.mean, self.squares, self.cubes, self.fourths = 0, 0.0, 0.0, 0.0, 0.0

    @property
    def deviation(self) -> float:
        return float(np.sqrt(self.squares / self.count))

    def update(self, known: NDArray[np.float64]) -> None:
        n, mean = len(known), float(known.mean())
        apart = known - mean
        square = apart * apart
        s2, s3, s4 = float(square.sum()), float((square * apart).sum()), float((square * square).sum())
        if not self.count:
            self.count, self.mean, self.squares, self.cubes, self.fourths = n, mean, s2, s3, s4
            return
        m, total, d = self.count, self.count + n, mean - self.mean
        fourths = self.fourths + s4 + d**4 * m * n * (m * m - m * n + n * n) / total**3
        fourths += 6 * d**2 * (m * m * s2 + n * n * self.squares) / total**2 + 4 * d * (m * s3 - n * self.cubes) / total
        cubes = self.cubes + s3 + d**3 * m * n * (m - n) / total**2 + 3 * d * (m * s2 - n * self.squares) / total
        self.fourths, self.cubes = fourths, cubes
        self.squares += s2 + d**2 * m * n / total
        self.mean += d * n / total
        self.count = total
