"""An array that grows beyond memory."""

from __future__ import annotations

import tempfile
from typing import Any

import numpy as np
from numpy.typing import NDArray

_HELD = 1 << 20  # rows that are held in memory before they go to a file


class Growing:
    """An array that grows: in memory, and beyond a million rows in a file that vanishes with the process.

    >>> values = Growing(np.float64)
    >>> values.add(np.ones(2)); values.add(np.zeros(1)); values.array()
    array([1., 1., 0.])
    """

    def __init__(self, dtype: Any, held: int | None = None) -> None:
        self.dtype, self.held = np.dtype(dtype), held or _HELD
        self.parts: list[NDArray[Any]] = []
        self.rows = self._unwritten = 0
        self._file: Any = None

    def add(self, values: NDArray[Any]) -> None:
        """More values at the end."""
        self.parts.append(np.ascontiguousarray(values, self.dtype))
        self.rows += len(values)
        self._unwritten += len(values)
        if self._unwritten > self.held:
            self._write()

    def _write(self) -> None:
        if self._file is None:
            self._file = tempfile.TemporaryFile()  # noqa: SIM115  # the map below outlives any block
        for part in self.parts:
            self._file.write(part.view(np.uint8).data)
        self.parts, self._unwritten = [], 0

    def array(self) -> NDArray[Any]:
        """All values, `(rows,)`; nothing can be added after."""
        if self._file is None:
            return np.concatenate([np.empty(0, self.dtype), *self.parts])
        self._write()
        self._file.flush()
        raw = np.memmap(self._file, np.uint8, "r+", shape=(self.rows * self.dtype.itemsize,))
        self._file.close()  # the map holds on to it
        values: NDArray[Any] = raw.view(self.dtype)
        return values
