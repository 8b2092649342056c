"""Layers over ids: each distinct one computed once, and some hidden in training."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from rondeau.errors import DataError
from rondeau.layers.base import Layer, each_step
from rondeau.layers.time import TimeDistributed
from rondeau.module import share


class Distinct(TimeDistributed):
    """`TimeDistributed` for whole numbers that recur: the layer runs once on each distinct step of the batch.

    Args:
        layer: a layer from `(steps, numbers)` to `(steps, features)`, each step by itself.

    `(batch, time, numbers)` -> `(batch, time, features)`: where the numbers are the characters of words, each word is
    spelled once a batch, however often it comes. A layer that draws (dropout) draws once for all places of a word.
    Raises `DataError` for numbers that are not whole.

    >>> from rondeau.layers import Embedding, GlobalMaxPooling1D
    >>> from rondeau import Sequential
    >>> spell = Sequential([Embedding(30, 8, mask_zero=True), GlobalMaxPooling1D()])
    >>> Distinct(spell)(torch.tensor([[[1, 2, 0], [3, 0, 0], [1, 2, 0]]])).shape
    torch.Size([1, 3, 8])
    """

    def _rows(self, steps: Tensor) -> Tensor:
        if steps.is_floating_point():
            fix = "Give ids as integers: Input(shape, dtype='int64')"
            raise DataError(f"layer {self.name}: numbers that recur", expected="integers", got=steps.dtype, fix=fix)
        rows, inverse = distinct_rows(steps)
        return super()._rows(rows).index_select(0, inverse)


def distinct_rows(rows: Tensor) -> tuple[Tensor, Tensor]:
    """The distinct rows of integers `(rows, numbers)`, and for each row which of them it is."""
    flat = rows.flatten(1).long()
    if not flat.numel():
        return _sorted_out(rows)
    # a number a row, to be sorted instead of whole rows; torch's multiplication wraps around at 64 bits
    factor = torch.full((flat.shape[1],), 6364136223846793005, device=flat.device).cumprod(0)
    _, inverse = torch.unique(((flat + 1) * factor).sum(1), return_inverse=True)
    count = int(inverse.max()) + 1
    first = inverse.new_empty(count).scatter_(0, inverse, torch.arange(len(rows), device=rows.device))
    found = rows.index_select(0, first)
    if not torch.equal(found.index_select(0, inverse), rows):  # two rows of one number: next to never
        return _sorted_out(rows)
    return found, inverse


def _sorted_out(rows: Tensor) -> tuple[Tensor, Tensor]:
    found, inverse = torch.unique(rows, dim=0, return_inverse=True)
    return found, inverse


class TokenDropout(Layer):
    """In training a share `rate` of the ids becomes `unknown`, so that a model learns to do without a word.

    Args:
        rate: 0 <= rate < 1.
        unknown: the id of unknown tokens (default 1); `padding`, which stays (default 0).
        seed: None (default) draws from torch's global generator.

    Ids of any shape, or a `Ragged` of them. (Iyyer et al. 2015, "Deep unordered composition", word dropout.)

    >>> TokenDropout(0.5).eval()(torch.tensor([[4, 5, 0]])).tolist()
    [[4, 5, 0]]
    """

    def __init__(
        self, rate: float, unknown: int = 1, padding: int = 0, seed: int | None = None, **options: Any
    ) -> None:
        super().__init__(**options)
        self.rate, self.unknown, self.padding, self.seed = share("TokenDropout", "rate", rate), unknown, padding, seed

    def forward(self, x: Any) -> Any:
        return each_step(x, self._hidden) if self.training and self.rate else x

    def _hidden(self, ids: Tensor) -> Tensor:
        drawn = torch.rand(ids.shape, device=ids.device, generator=self.generator(ids.device))
        return ids.masked_fill((drawn < self.rate) & (ids != self.padding), self.unknown)
