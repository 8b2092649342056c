"""The other strand of DNA."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from rondeau.errors import ArgumentError, DataError
from rondeau.layers.base import Layer
from rondeau.sequence import Ragged


class ReverseComplement(Layer):
    """Each row's steps, the last first, its ids exchanged for those of the other strand.

    Args:
        ids: of each id its complement; for whole numbers `(batch, time)`. None (default): values stay.
        features: where each of a step's features comes from, `(batch, time, features)`, such as the tags of one strand
            from those of the other. None (default): they stay.

    A layer without weights: a network called on x and on `ReverseComplement(...)(x)` reads both strands with one set
    of weights (Shrikumar, Greenside & Kundaje 2017, Reverse-complement parameter sharing improves deep learning models
    for genomics). Raises `ArgumentError` where both are given or one is no exchange, `DataError` for an id outside.

    >>> ReverseComplement(ids=[3, 2, 1, 0])(torch.tensor([[0, 0, 1]])).tolist()
    [[2, 3, 3]]
    """

    def __init__(self, ids: Sequence[int] | None = None, features: Sequence[int] | None = None, **options: Any) -> None:
        super().__init__(**options)
        for name, given in (("ids", ids), ("features", features)):
            if given is not None and sorted(given) != list(range(len(given))):
                expected = f"each of 0 to {len(given) - 1} once"
                raise ArgumentError(f"ReverseComplement: {name}", expected=expected, got=list(given)[:12])
        if ids is not None and features is not None:
            raise ArgumentError("ReverseComplement", expected="ids or features", got="both")
        self.ids = None if ids is None else [int(i) for i in ids]
        self.features = None if features is None else [int(i) for i in features]

    def forward(self, x: Any) -> Any:
        flipped: Any = x.reverse() if isinstance(x, Ragged) else x.flip(1)
        if self.ids is None and self.features is None:
            return flipped
        return flipped.with_values(self._renamed(flipped.values)) if isinstance(x, Ragged) else self._renamed(flipped)

    def _renamed(self, values: Tensor) -> Tensor:
        if self.features is not None:
            return values[..., torch.tensor(self.features, device=values.device)]
        table = torch.tensor(self.ids, device=values.device)
        if values.numel() and not 0 <= int(values.min()) <= int(values.max()) < len(table):
            got = f"{int(values.min())} to {int(values.max())}"
            raise DataError(f"layer {self.name}: an id has no complement", expected=f"0 to {len(table) - 1}", got=got)
        return table[values.long()]
