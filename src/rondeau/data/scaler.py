"""Mean and standard deviation of numbers that are seen once, a part at a time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rondeau.errors import CheckpointError, DataError, NotBuiltError, ShapeError

Floats = NDArray[np.float64]


class Scaler:
    """Takes each column of numbers to mean 0 and standard deviation 1, as learnt in one pass.

    Moments of a part are joined with those before it without loss of digits (Chan, Golub & LeVeque 1983, "Algorithms
    for computing the sample variance", eq. 2.1). NaN counts as missing: it is left out, and `transform` leaves it NaN.
    A column that is the same everywhere is only shifted.

    Attributes:
        count, mean, deviation: of each column, float64 `(columns,)`; count is of the numbers that were there.

    >>> scaler = Scaler().update([[1.0, 5.0], [2.0, 5.0]]).update([[3.0, 5.0]])
    >>> scaler.mean.tolist(), scaler.transform([[2.0, 6.0]]).tolist()
    ([2.0, 5.0], [[0.0, 1.0]])
    """

    def __init__(self) -> None:
        self.count: Floats = np.zeros(0)
        self.mean: Floats = np.zeros(0)
        self._squares: Floats = np.zeros(0)  # sums of squared distances from the mean

    @classmethod
    def fit(cls, parts: Iterable[ArrayLike]) -> Scaler:
        """From all parts, in one pass. Raises `DataError` where there is none."""
        scaler = cls()
        for part in parts:
            scaler.update(part)
        if not len(scaler.count):
            raise DataError("there are no numbers to learn a scale from", expected="at least one row", got=0)
        return scaler

    def update(self, values: ArrayLike) -> Scaler:
        """More rows: `(rows, columns)`, or `(rows,)` of one column. Raises `ShapeError` for other columns.

        Raises `DataError` for an infinite number.
        """
        rows = self._columns(values)
        if not len(rows):
            return self
        there = ~np.isnan(rows)
        if np.isinf(rows).any():
            row, column = np.argwhere(np.isinf(rows))[0]
            raise DataError("a number is infinite", where=f"row {row}, column {column}", fix="Remove or replace it")
        count = there.sum(0).astype(np.float64)
        some = np.maximum(count, 1)
        mean = np.where(there, rows, 0.0).sum(0) / some
        squares = (np.where(there, rows - mean, 0.0) ** 2).sum(0)
        if not len(self.count):
            self.count, self.mean, self._squares = np.zeros((3, rows.shape[1]))
        together = np.maximum(self.count + count, 1)
        apart = mean - self.mean
        self._squares = self._squares + squares + apart**2 * self.count * count / together
        self.mean = self.mean + apart * count / together
        self.count = self.count + count
        return self

    def _columns(self, values: ArrayLike) -> Floats:
        rows = np.asarray(values, np.float64)
        rows = rows[:, None] if rows.ndim == 1 else rows
        known = len(self.count) or None
        if rows.ndim != 2 or (known is not None and rows.shape[1] != known):
            raise ShapeError("numbers to scale", expected=("rows", known or "columns"), got=rows.shape)
        return rows

    @property
    def deviation(self) -> Floats:
        """The standard deviation of each column; 1 where all numbers are the same, or were missing."""
        variance = self._squares / np.maximum(self.count, 1)
        noise = (np.abs(self.mean) * np.finfo(np.float64).eps * 8) ** 2  # what rounding makes of equal numbers
        return np.where(variance > noise, np.sqrt(variance), 1.0)

    def transform(self, values: ArrayLike) -> NDArray[np.float32]:
        """`(values - mean) / deviation`, float32, of the shape that was given."""
        if not len(self.count):
            raise NotBuiltError("the scaler has not seen any numbers", fix="Call update or fit first")
        rows = self._columns(values)
        scaled = ((rows - self.mean) / self.deviation).astype(np.float32)
        return scaled.reshape(np.shape(values))

    def inverse(self, values: ArrayLike) -> Floats:
        """What `transform` was given."""
        return (self._columns(values) * self.deviation + self.mean).reshape(np.shape(values))

    def to_json(self) -> dict[str, Any]:
        """As `from_json` takes it."""
        return {"count": self.count.tolist(), "mean": self.mean.tolist(), "squares": self._squares.tolist()}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Scaler:
        """What `to_json` gave. Raises `CheckpointError` for anything else."""
        scaler = cls()
        try:
            parts = [np.asarray(data[name], np.float64) for name in ("count", "mean", "squares")]
        except (KeyError, TypeError, ValueError) as error:
            raise CheckpointError("a scaler is damaged", expected="count, mean and squares", got=error) from error
        if len({part.shape for part in parts}) != 1 or parts[0].ndim != 1:
            raise CheckpointError("a scaler is damaged", expected="as many numbers in each of its parts")
        scaler.count, scaler.mean, scaler._squares = parts
        return scaler
