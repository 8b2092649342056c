"""A long text as batches for language models: windows that continue each other, or contexts on their own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from rondeau.errors import DataError
from rondeau.training.data import Batch, Source, shuffled
from rondeau.training.steps import Joined
from rondeau.training.windows import RowWindows, Window, as_window


class TextWindows(RowWindows):
    """A text cut into `rows` parts that are read side by side, `window` tokens at a time; the target is the next token.

    Row r of a batch goes on where row r of the batch before ended, so the model sees each part as one sequence. Every
    token but the first is a target exactly once an epoch: the last batch is shorter, and ragged where the parts are
    uneven.

    Args:
        ids: the text's tokens, whole numbers `(tokens,)`; of a memory map a window at a time is read.
        rows: how many parts.
        window: tokens in a window, or a `RandomWindow`; default: `fit(window=...)` says it.
        name: what an error calls the text.

    Raises `DataError` for a text that has no window for every row.

    >>> text = TextWindows(np.arange(7), rows=2, window=2)
    >>> [(batch.x.tolist(), batch.y.tolist()) for batch in text.batches(0, 0, 0)][0]
    ([[0, 1], [3, 4]], [[1, 2], [4, 5]])
    """

    def __init__(
        self, ids: np.ndarray[Any, Any], rows: int, window: int | Window | None = None, name: str = "the text"
    ) -> None:
        if len(ids) < rows + 1:
            expected = f"at least {rows + 1} tokens, one to predict in each of {rows} rows"
            raise DataError(
                f"{name} is too short", expected=expected, got=len(ids), fix="Give more text, or fewer rows"
            )
        targets = len(ids) - 1
        lengths = torch.full((rows,), targets // rows)
        lengths[: targets % rows] += 1
        starts = lengths.cumsum(0) - lengths
        read, next_ones = (Joined(ids, starts + shift, lengths, dense=True, dtype=torch.int64) for shift in (0, 1))
        self.rows = rows
        super().__init__(Batch(read, next_ones), None if window is None else as_window(window), rows, shuffle=False)


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
