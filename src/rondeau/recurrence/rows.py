"""Which thread steps which rows, and where each row's steps are."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

ALONE = 1_000_000  # operations of one step below which a second thread costs more than it brings


@dataclass(frozen=True)
class Dealt:
    """Rows in parts, each with its longest row first.

    `table`: one array of `parts + 1` starts, then each row's first token, its length, and its number in the batch;
    `places`: where in the table those three begin. `direction`: from one step's token to the next one's. `most`: rows of
    the largest part. `owners`: for each token the row it belongs to.
    """

    parts: int
    most: int
    direction: int
    table: Tensor
    places: tuple[int, int, int]
    lengths: Tensor

    @property
    def owners(self) -> Tensor:
        return torch.repeat_interleave(torch.arange(len(self.lengths)), self.lengths)


def deal(lengths: Tensor, reverse: bool, parts: int) -> Dealt:
    """Rows sorted by length and dealt to and fro, so that every part has about as much to do at any time."""
    batch = len(lengths)
    parts = max(1, min(parts, batch))
    order = torch.argsort(lengths, descending=True, stable=True)
    turn = torch.arange(batch) % (2 * parts)
    owner = torch.minimum(turn, 2 * parts - 1 - turn)
    by_part = order[torch.argsort(owner, stable=True)]
    counts = torch.bincount(owner, minlength=parts)
    starts = torch.cat([torch.zeros(1, dtype=torch.int64), counts.cumsum(0)])
    first = lengths.cumsum(0) - lengths
    if reverse:
        first = first + lengths - 1
    table = torch.cat([starts, first[by_part], lengths[by_part], by_part])
    places = (parts + 1, parts + 1 + batch, parts + 1 + 2 * batch)
    return Dealt(parts, int(counts.max()) if batch else 0, -1 if reverse else 1, table, places, lengths)


def parts_for(batch: int, macs: int, pointwise: int) -> int:
    """One part for each of torch's threads, or one alone where a step is too little to share."""
    work = batch * (2 * macs + 10 * pointwise)
    return 1 if work < ALONE else min(torch.get_num_threads(), batch)
