"""Which thread steps which rows, and where each row's steps are."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

ALONE = 1_000_000  # operations of one step below which a second thread costs more than it brings


@dataclass(frozen=True)
class Dealt:
    """Rows in parts, each with its longest row first.

    `table`: one array of `parts + 1` starts, then each row's first token, its length, and its number in the batch;
    `places`: where in the table those three begin. `direction`: from one step's token to the next one's. `most`: rows of
    the largest part. `tokens`: steps of all rows.
    """

    parts: int
    most: int
    direction: int
    table: NDArray[np.int64]
    places: tuple[int, int, int]
    tokens: int


_KNOWN: dict[tuple[bytes, bool, int], Dealt] = {}


def deal(lengths: Tensor, reverse: bool, parts: int) -> Dealt:
    """Rows sorted by length and dealt to and fro, so that every part has about as much to do at any time."""
    array = lengths.numpy()
    key = (array.tobytes(), reverse, parts)
    found = _KNOWN.get(key)
    if found is None:
        if len(_KNOWN) > 64:
            _KNOWN.clear()
        found = _KNOWN[key] = _deal(array, reverse, parts)
    return found


def _deal(lengths: NDArray[np.int64], reverse: bool, parts: int) -> Dealt:
    batch = len(lengths)
    parts = max(1, min(parts, batch))
    order = np.argsort(-lengths, kind="stable")
    turn = np.arange(batch) % (2 * parts)
    owner = np.minimum(turn, 2 * parts - 1 - turn)
    by_part = order[np.argsort(owner, kind="stable")]
    counts = np.bincount(owner, minlength=parts)
    starts = np.concatenate([[0], counts.cumsum()])
    first = lengths.cumsum() - lengths
    if reverse:
        first = first + lengths - 1
    table = np.concatenate([starts, first[by_part], lengths[by_part], by_part]).astype(np.int64)
    places = (parts + 1, parts + 1 + batch, parts + 1 + 2 * batch)
    most = int(counts.max()) if batch else 0
    return Dealt(parts, most, -1 if reverse else 1, table, places, int(lengths.sum()))


def parts_for(batch: int, macs: int, pointwise: int) -> int:
    """One part for each of torch's threads, or one alone where a step is too little to share."""
    work = batch * (2 * macs + 10 * pointwise)
    return 1 if work < ALONE else min(torch.get_num_threads(), batch)
