"""Which thread steps which rows, and where each row's steps are."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

BLOCK = 8  # rows whose products are computed together
FIRST = 0.45  # of the time of a step of so many rows, what one alone takes
CACHE = 3 << 18  # bytes of scratch memory that stay beside the weights in a core's own cache
ALONE = 1_000_000  # operations of one step below which a second thread costs more than it brings


@dataclass(frozen=True)
class Dealt:
    """Rows in parts, each with its longest row first.

    `shares`: how many threads the parts are for, each as many of them, one after the other.
    `table`: one array of `parts + 1` starts, then each row's first token, its length, and its number in the batch;
    `places`: where in the table those three begin. `direction`: from one step's token to the next one's. `most`: rows
    of the largest part. `tokens`: steps of all rows.
    """

    parts: int
    shares: int
    most: int
    direction: int
    table: NDArray[np.int64]
    places: tuple[int, int, int]
    tokens: int


_KNOWN: dict[tuple[bytes, bool, int, int], Dealt] = {}


def deal(lengths: Tensor, reverse: bool, parts: int, limit: int) -> Dealt:
    """Rows sorted by length and cut into parts of about the same work.

    Long rows stay together: at the end of a batch few are left, and a step of one row takes nearly as long as one of
    eight. `parts`: how many at most, before those of more than `limit` rows are
    divided again, all into as many, so that what a part works on stays in the cache.
    """
    array = lengths.numpy()
    key = (array.tobytes(), reverse, parts, limit)
    found = _KNOWN.get(key)
    if found is None:
        if len(_KNOWN) > 64:
            _KNOWN.clear()
        found = _KNOWN[key] = _deal(array, reverse, parts, limit)
    return found


def _deal(lengths: NDArray[np.int64], reverse: bool, parts: int, limit: int) -> Dealt:
    batch = len(lengths)
    order = np.argsort(-lengths, kind="stable")
    starts = _cut(lengths[order], max(1, min(parts, batch)))
    shares = len(starts) - 1
    starts = _divide(starts, limit)
    parts = len(starts) - 1
    first = lengths.cumsum() - lengths
    if reverse:
        first = first + lengths - 1
    table = np.concatenate([starts, first[order], lengths[order], order]).astype(np.int64)
    places = (parts + 1, parts + 1 + batch, parts + 1 + 2 * batch)
    most = int(np.diff(starts).max())
    return Dealt(parts, shares, most, -1 if reverse else 1, table, places, int(lengths.sum()))


def _divide(starts: NDArray[np.int64], limit: int) -> NDArray[np.int64]:
    """Each part in as many, of whole blocks; the last of a part may be empty."""
    times = -(-int(np.diff(starts).max()) // limit)
    if times <= 1:
        return starts
    found = [0]
    for start, end in itertools.pairwise(starts):
        each = BLOCK * math.ceil((end - start) / (times * BLOCK))
        found += [min(int(start) + each * (i + 1), int(end)) for i in range(times - 1)] + [int(end)]
    return np.array(found)


def rows_in_cache(row: int) -> int:
    """How many rows a part may have, of so many bytes of scratch memory each."""
    return max(2 * BLOCK, CACHE // max(row, 1) // BLOCK * BLOCK)


def _cut(lengths: NDArray[np.int64], parts: int) -> NDArray[np.int64]:
    """Where each of at most `parts` parts begins, and the end; `lengths` fall."""
    count = len(lengths)
    if parts == 1:
        return np.array([0, count])
    # work[p][i]: of the rows before the i-th, where blocks begin at rows p, p + BLOCK, ...
    place = (np.arange(count) - np.arange(BLOCK)[:, None]) % BLOCK
    work = np.zeros((BLOCK, count + 1))
    np.cumsum(np.where(place == 0, FIRST, (1 - FIRST) / (BLOCK - 1)) * lengths, axis=1, out=work[:, 1:])
    low, high = 0.0, float(work[0, -1])
    best = [0, count]
    for _ in range(12):  # to a part in some thousands
        most = (low + high) / 2
        found = [0]
        while found[-1] < count and len(found) <= parts:
            start = found[-1]
            sums = work[start % BLOCK]
            end = int(np.searchsorted(sums, sums[start] + most, side="right")) - 1
            if end == start:
                break
            found.append(end)
        if found[-1] == count:
            high, best = most, found
        else:
            low = most
    return np.array(best)


def parts_for(batch: int, macs: int, pointwise: int) -> int:
    """One part for each of torch's threads, or one alone where a step is too little to share."""
    work = batch * (2 * macs + 10 * pointwise)
    return 1 if work < ALONE else min(torch.get_num_threads(), batch)
