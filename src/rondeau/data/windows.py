"""A long text as batches for language models: windows that continue each other, or contexts on their own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from rondeau.errors import DataError
from rondeau.sequence import Ragged
from rondeau.training.data import Batch, Source, shuffled


class TextWindows(Source):
    """A text cut into `rows` parts that are read side by side, `window` tokens at a time; the target is the next token.

    Row r of a batch goes on where row r of the batch before ended, so a stateful model sees each part as one sequence.
    Every token but the first is a target exactly once an epoch: the last batch is shorter, and ragged where the parts
    are uneven.

    Raises `DataError` for a text that has no window for every row.
    """

    carries_state = True

    def __init__(self, ids: np.ndarray[Any, Any], rows: int, window: int, name: str = "the text") -> None:
        if len(ids) < rows + 1:
            expected = f"at least {rows + 1} tokens, one to predict in each of {rows} rows"
            raise DataError(
                f"{name} is too short", expected=expected, got=len(ids), fix="Give more text, or fewer rows"
            )
        self.ids = torch.as_tensor(np.asarray(ids, dtype=np.int64))
        self.rows, self.window = rows, window
        targets = len(ids) - 1
        self.lengths = torch.full((rows,), targets // rows)
        self.lengths[: targets % rows] += 1
        self.starts = self.lengths.cumsum(0) - self.lengths

    def __len__(self) -> int:
        return -(-int(self.lengths.max()) // self.window)

    def batches(self, epoch: int, start: int, seed: int) -> Iterator[Batch]:
        for number in range(start, len(self)):
            begin = number * self.window
            lengths = (self.lengths - begin).clamp(0, self.window)
            if int(lengths.min()) == int(lengths.max()):
                index = (self.starts + begin)[:, None] + torch.arange(int(lengths[0]))
                yield Batch(self.ids[index], self.ids[index + 1])
            else:
                ends = (self.starts + begin).tolist()
                index = torch.cat([torch.arange(s, s + n) for s, n in zip(ends, lengths.tolist(), strict=True)])
                yield Batch(Ragged(self.ids[index], lengths), Ragged(self.ids[index + 1], lengths))


class Contexts(Source):
    """Every token but the first with the `context` tokens before it: `(batch, context)` -> `(batch,)`.

    Where the text has just begun, `padding` stands for what is not there.
    """

    def __init__(
        self, ids: np.ndarray[Any, Any], context: int, batch_size: int, shuffle: bool = True, padding: int = 0
    ) -> None:
        ids = np.concatenate([np.full(context - 1, padding, np.int64), np.asarray(ids, np.int64)])
        self.ids = torch.as_tensor(ids)
        self.windows = self.ids.unfold(0, context, 1)[:-1]
        self.targets = self.ids[context:]
        self.batch_size, self.shuffle = batch_size, shuffle

    def __len__(self) -> int:
        return -(-len(self.targets) // self.batch_size)

    def batches(self, epoch: int, start: int, seed: int) -> Iterator[Batch]:
        rows = len(self.targets)
        order = shuffled(rows, epoch, seed) if self.shuffle else torch.arange(rows)
        for part in torch.split(order, self.batch_size)[start:]:
            yield Batch(self.windows[part], self.targets[part])
