"""Attention: each query step takes a weighted mean of the values, the weights by how well its query fits their keys."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from rondeau.errors import ArgumentError, ShapeError
from rondeau.layers.base import Layer
from rondeau.layers.core import Dropout, known_features
from rondeau.layers.graph import Shape
from rondeau.sequence import Ragged


class _Attention(Layer):
    """Called with `[query, value]` or `[query, value, key]`, each `(batch, time, features)` or `Ragged` (key: the value).

    Call arguments: `mask=[query_mask, value_mask]` (values to look away from; a `Ragged` masks itself),
    `return_attention_scores`, `use_causal_mask` (step i sees values 0..i). Output: `(batch, query time, value features)`,
    as `Ragged` where the query was one. A query whose every value is masked gets zeros.
    """

    def __init__(self, dropout: float = 0.0, seed: int | None = None, **options: Any) -> None:
        super().__init__(**options)
        self.seed = seed
        self.drop = Dropout(dropout, seed=seed)

    def check_shape(self, shape: Any) -> None:
        if not isinstance(shape, list) or len(shape) not in (2, 3) or any(len(s) != 3 for s in shape):
            expected = "[query, value] or [query, value, key], each (batch, time, features)"
            raise ShapeError("attention", expected=expected, got=shape, where=f"layer {self.name}")

    def compute_output_shape(self, input_shape: list[Shape]) -> Shape:
        query, value = input_shape[:2]
        return (*query[:2], value[-1])

    def scores(self, query: Tensor, key: Tensor) -> Tensor:
        """How well each query fits each key: `(batch, query time, key time)`."""
        raise NotImplementedError(type(self).__name__)  # abstract

    def forward(
        self,
        inputs: list[Any],
        mask: Any = None,
        return_attention_scores: bool = False,
        use_causal_mask: bool = False,
    ) -> Any:
        query_mask, value_mask = (list(mask) + [None, None])[:2] if mask is not None else (None, None)
        query, value = inputs[:2]
        key = inputs[2] if len(inputs) == 3 else value
        if isinstance(value, Ragged):
            value_mask = torch.arange(int(value.lengths.max())) < value.lengths[:, None]
        dense_query, dense_value, dense_key = (x.pad() if isinstance(x, Ragged) else x for x in (query, value, key))
        visible = None
        if value_mask is not None:
            visible = value_mask.bool().to(dense_value.device)[:, None, :]
        if use_causal_mask:
            causal = torch.ones(dense_query.shape[1], dense_value.shape[1], device=dense_value.device).tril().bool()
            visible = causal[None] if visible is None else visible & causal
        scores = self.scores(dense_query, dense_key)
        weights = self.drop(masked_softmax(scores, visible))
        result = weights @ dense_value
        if query_mask is not None:
            result = result * query_mask.to(result)[..., None]
        if isinstance(query, Ragged):
            result = query.with_values(Ragged.from_padded(result, query.lengths).values)
        return (result, weights) if return_attention_scores else result


class Attention(_Attention):
    """Scores by product (Luong et al. 2015, arXiv 1508.04025): `query . key`, times a learned number if `use_scale`.

    With `score_mode='concat'`, `sum tanh(query + key)` times a learned number, as in Keras.
    """

    def __init__(self, use_scale: bool = False, score_mode: str = "dot", **options: Any) -> None:
        super().__init__(**options)
        if score_mode not in ("dot", "concat"):
            raise ArgumentError("Attention: score_mode", expected="'dot' or 'concat'", got=repr(score_mode))
        self.use_scale, self.score_mode = use_scale, score_mode

    def build(self, input_shape: list[Shape]) -> None:
        self.scale: Tensor | None = self.add_weight("scale", (), "ones") if self.use_scale else None
        self.concat_score_weight: Tensor | None = None
        if self.score_mode == "concat":
            self.concat_score_weight = self.add_weight("concat_score_weight", (), "ones")

    def scores(self, query: Tensor, key: Tensor) -> Tensor:
        if self.concat_score_weight is None:
            scores = query @ key.transpose(1, 2)
            return scores if self.scale is None else scores * self.scale
        summed = query[:, :, None] + key[:, None]
        if self.scale is not None:
            summed = summed * self.scale
        return self.concat_score_weight * torch.tanh(summed).sum(-1)


class AdditiveAttention(_Attention):
    """Scores `sum scale tanh(query + key)` (Bahdanau et al. 2015, arXiv 1409.0473), `scale` learned if `use_scale`."""

    def __init__(self, use_scale: bool = True, **options: Any) -> None:
        super().__init__(**options)
        self.use_scale = use_scale

    def build(self, input_shape: list[Shape]) -> None:
        features = known_features(self, input_shape[0])
        self.scale: Tensor | None = self.add_weight("scale", (features,)) if self.use_scale else None

    def scores(self, query: Tensor, key: Tensor) -> Tensor:
        fit = torch.tanh(query[:, :, None] + key[:, None])
        return fit.sum(-1) if self.scale is None else fit @ self.scale


def masked_softmax(scores: Tensor, visible: Tensor | None) -> Tensor:
    """Softmax over the last axis where `visible`; zeros in a row that sees nothing."""
    if visible is None:
        return torch.softmax(scores, -1)
    weights = torch.softmax(scores.masked_fill(~visible, torch.finfo(scores.dtype).min), -1)
    return weights * visible
