"""Ids to vectors."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from rondeau.errors import DataError, ShapeError
from rondeau.layers.base import Layer, each_step
from rondeau.layers.graph import Shape
from rondeau.module import positive
from rondeau.sequence import Ragged


class Embedding(Layer):
    """A row of a table `(input_dim, output_dim)` for each integer id.

    Args:
        input_dim: number of ids.
        output_dim: features of a row.
        embeddings_initializer: default 'uniform' (±0.05), as in Keras.
        embeddings_regularizer: a penalty on the table (default None).
        mask_zero: id 0 is padding (default false): for ids `(batch, time)` the layer gives a `Ragged` of the other
            steps. In a `Ragged` every step is real.

    Ids `(batch, ...)`, integers or whole floats, -> `(batch, ..., output_dim)`. Raises `DataError` for an id outside
    the table, naming it and its position.

    >>> Embedding(10, 4)(torch.tensor([[1, 2, 3]])).shape
    torch.Size([1, 3, 4])
    >>> Embedding(10, 4, mask_zero=True)(torch.tensor([[1, 2, 0]])).lengths
    tensor([2])
    """

    def __init__(
        self,
        input_dim: int,
        output_dim: int,
        embeddings_initializer: Any = "uniform",
        embeddings_regularizer: Any = None,
        mask_zero: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.input_dim, self.output_dim = (
            positive("Embedding", "input_dim", input_dim),
            positive("Embedding", "output_dim", output_dim),
        )
        self.mask_zero = mask_zero
        # the table's shape is known from the start, so the layer is built at once
        self.embeddings = self.add_weight(
            "embeddings", (self.input_dim, self.output_dim), embeddings_initializer, embeddings_regularizer
        )
        if not self._trainable:
            self.requires_grad_(False)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return (*input_shape, self.output_dim)

    def forward(self, ids: Any) -> Any:
        known = each_step(ids, lambda values: self._checked(ids, values))
        if self.mask_zero and isinstance(known, Tensor):
            if known.ndim != 2:
                what = f"layer {self.name}: with mask_zero, ids"
                raise ShapeError(what, expected="(batch, time)", got=tuple(known.shape))
            known = Ragged.compress(known, known != 0)
        return each_step(known, lambda values: F.embedding(values, self.embeddings))

    def _checked(self, ids: Any, values: Tensor) -> Tensor:
        if values.is_floating_point():
            whole = values.long()
            if not torch.equal(whole.to(values.dtype), values):
                at = (whole != values).nonzero()[0].tolist()
                where, got = _place(ids, at), values[tuple(at)].item()
                raise DataError(
                    f"layer {self.name}: an id is no whole number", expected="integers", got=got, where=where
                )
            values = whole
        if values.numel() and (int(values.min()) < 0 or int(values.max()) >= self.input_dim):
            at = ((values < 0) | (values >= self.input_dim)).nonzero()[0].tolist()
            token = int(values[tuple(at)])
            raise DataError(
                f"layer {self.name}: token id {token} is outside the table",
                expected=f"0 to {self.input_dim - 1} (input_dim={self.input_dim})",
                got=token,
                where=_place(ids, at),
                fix="Raise input_dim, or map unknown tokens to an id of their own",
            )
        return values.long()


def _place(ids: Any, at: list[int]) -> str:
    """Where in the batch an id stands, given its index in the values."""
    if isinstance(ids, Ragged):
        row = int(ids.row_index[at[0]])
        at = [row, at[0] - int(ids.offsets[row]), *at[1:]]
    return f"position {tuple(at)} of the batch"
