"""Rows of ids on disk, as a model reads them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, overload

import numpy as np
import torch
from numpy.typing import NDArray

from rondeau.data.disk.stored import Stored
from rondeau.sequence import Ragged

_IDS = np.dtype("<i4")


class StoredIds(Sequence[Any]):
    """Rows of ids, four bytes each, in a `Stored` file: `ids[i]` is a row, int64; `batch` gives some as a `Ragged`.

    Attributes: `lengths`, ids of each row, `(rows,)`.

    >>> ids = StoredIds([np.array([3, 1]), np.array([2])])
    >>> ids[0].tolist(), ids.lengths.tolist(), ids.batch([1, 0]).values.tolist()
    ([3, 1], [2, 1], [2, 3, 1])
    """

    def __init__(self, rows: Iterable[NDArray[np.int64]]) -> None:
        self._records = Stored(row.astype(_IDS).tobytes() for row in rows)
        self.lengths: NDArray[np.int64] = self._records.sizes // _IDS.itemsize

    def __len__(self) -> int:
        return len(self.lengths)

    @overload
    def __getitem__(self, number: int) -> NDArray[np.int64]: ...
    @overload
    def __getitem__(self, number: slice) -> list[NDArray[np.int64]]: ...
    def __getitem__(self, number: Any) -> Any:
        if isinstance(number, slice):
            return [self[i] for i in range(*number.indices(len(self)))]
        return np.frombuffer(self._records[number], _IDS).astype(np.int64)

    def __iter__(self) -> Iterator[NDArray[np.int64]]:
        return (self[i] for i in range(len(self)))

    def batch(self, rows: Iterable[int]) -> Ragged:
        """Some rows in the order given."""
        chosen = list(rows)
        ids = np.frombuffer(b"".join(self._records[i] for i in chosen), _IDS).astype(np.int64)
        return Ragged(torch.from_numpy(ids), torch.from_numpy(self.lengths[chosen]))
