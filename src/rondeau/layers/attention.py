"""Attention: each query step takes a weighted mean of the values, the weights by how well its query fits their keys."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from rondeau.errors import ArgumentError, ShapeError
from rondeau.layers.base import Layer
from rondeau.layers.core import Dropout, known_features
from rondeau.layers.graph import Shape, shape_of
from rondeau.sequence import Ragged, to_tensor


class _Attention(Layer):
    """Masks, softmax and mean, whatever the scores.

    Called with `[query, value]` or `[query, value, key]`, each `(batch, time, features)` or `Ragged` (default key: the
    value), and

        mask: `[query_mask, value_mask]`, each `(batch, time)`, true where a step is real, or None; a `Ragged` has its
            own.
        return_attention_scores: give the weights too, `(batch, query time, value time)` (default false).
        use_causal_mask: step i sees values 0..i (default false).

    Output `(batch, query time, value features)`, a `Ragged` where the query was one. A query that sees no value gets
    zeros; a masked query's output is zero.
    """

    def __init__(self, dropout: float = 0.0, seed: int | None = None, **options: Any) -> None:
        super().__init__(**options)
        self.seed = seed
        self.drop = Dropout(dropout, seed=seed)

    def check_shape(self, shape: Any) -> None:
        if not isinstance(shape, list) or len(shape) not in (2, 3) or any(len(s) != 3 for s in shape):
            expected = "[query, value] or [query, value, key], each (batch, time, features)"
            raise ShapeError(f"layer {self.name}: the inputs", expected=expected, got=shape)
        query, value, key = (*shape, shape[1])[:3]
        for what, a, b in (
            ("batches", query[0], value[0]),
            ("batches", query[0], key[0]),
            ("steps of value and key", value[1], key[1]),
            ("features of query and key", query[2], key[2]),
        ):
            if None not in (a, b) and a != b:
                raise ShapeError(f"layer {self.name}: the {what} differ", expected=a, got=b)

    def compute_output_shape(self, input_shape: list[Shape]) -> Shape:
        query, value = input_shape[:2]
        return (*query[:2], value[-1])

    def output_shape_of_call(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        output = super().output_shape_of_call(args, kwargs)
        wanted = args[2] if len(args) > 2 else kwargs.get("return_attention_scores", False)
        inputs = shape_of(args[0] if args else kwargs["inputs"])
        return [output, (*output[:2], inputs[1][1])] if wanted else output

    def scores(
        self, query: Float[Tensor, "batch queries features"], key: Float[Tensor, "batch keys features"]
    ) -> Float[Tensor, "batch queries keys"]:
        """How well each query fits each key."""
        raise NotImplementedError(type(self).__name__)  # abstract

    def forward(
        self,
        inputs: list[Any],
        mask: Any = None,
        return_attention_scores: bool = False,
        use_causal_mask: bool = False,
    ) -> Any:
        query, value = inputs[:2]
        key = inputs[2] if len(inputs) == 3 else value
        masks = [None, None] if mask is None else [*mask, None, None]
        real_queries, dense_query = self._dense(query, masks[0], "query")
        real_values, dense_value = self._dense(value, masks[1], "value")
        real_keys, dense_key = self._dense(key, None, "key") if key is not value else (real_values, dense_value)
        visible = real_keys if real_values is None else real_values
        if visible is not None:
            visible = visible[:, None, :]
        if use_causal_mask:
            causal = torch.ones(dense_query.shape[1], dense_value.shape[1], device=dense_value.device).tril().bool()
            visible = causal[None] if visible is None else visible & causal
        weights = self.drop(masked_softmax(self.scores(dense_query, dense_key), visible))
        result: Any = weights @ dense_value
        if isinstance(query, Ragged):
            result = query.with_values(Ragged.from_padded(result, query.lengths).values)
        elif real_queries is not None:
            result = result * real_queries.to(result.dtype)[..., None]
        return (result, weights) if return_attention_scores else result

    def _dense(self, x: Any, mask: Any, what: str) -> tuple[Tensor | None, Tensor]:
        """Which steps are real, `(batch, time)` or None for all of them, and x padded."""
        if isinstance(x, Ragged):
            if mask is not None:
                fix = "Leave the mask out: every step of a Ragged is real"
                raise ArgumentError(f"layer {self.name}: a mask beside a Ragged {what}", fix=fix)
            padded = x.pad()
            return (torch.arange(padded.shape[1]) < x.lengths[:, None]).to(x.device), padded
        if mask is None:
            return None, x
        mask = to_tensor(mask, f"the {what}'s mask")
        if mask.shape != x.shape[:2]:
            what = f"layer {self.name}: the {what}'s mask does not fit"
            raise ShapeError(what, expected=tuple(x.shape[:2]), got=tuple(mask.shape))
        return mask.bool().to(x.device), x


class Attention(_Attention):
    """Each query's mean of the values, by `softmax(query . key)` (Luong et al. 2015, arXiv 1508.04025).

    Args:
        use_scale: whether the scores are multiplied by a learned number, from 1 (default false).
        score_mode: 'dot' (default), or 'concat': `sum tanh(query + key)` times a learned number, as in Keras.
        dropout: share of the weights zeroed in training (default 0); `seed` is the draw's.

    Called with `[query, value]` or `[query, value, key]`, each `(batch, time, features)` or `Ragged` (default key: the
    value), and `mask=[query_mask, value_mask]`, `return_attention_scores`, `use_causal_mask` (step i sees values 0..i).
    Output `(batch, query time, value features)`, a `Ragged` where the query was one; zeros for a query that sees no
    value.

    >>> Attention()([torch.zeros(2, 5, 3), torch.ones(2, 7, 3)]).shape
    torch.Size([2, 5, 3])
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

    def scores(
        self, query: Float[Tensor, "batch queries features"], key: Float[Tensor, "batch keys features"]
    ) -> Float[Tensor, "batch queries keys"]:
        if self.concat_score_weight is None:
            scores = query @ key.transpose(1, 2)
            return scores if self.scale is None else scores * self.scale
        summed = query[:, :, None] + key[:, None]
        if self.scale is not None:
            summed = summed * self.scale
        return self.concat_score_weight * torch.tanh(summed).sum(-1)


class AdditiveAttention(_Attention):
    """Each query's mean of the values, by `softmax(sum scale tanh(query + key))` (Bahdanau 2015, arXiv 1409.0473).

    Args:
        use_scale: whether `scale`, `(features,)`, is learned (default true) or all ones.
        dropout: share of the weights zeroed in training (default 0); `seed` is the draw's.

    Called as `Attention` is, with the same masks; its output has the same shape.
    """

    def __init__(self, use_scale: bool = True, **options: Any) -> None:
        super().__init__(**options)
        self.use_scale = use_scale

    def build(self, input_shape: list[Shape]) -> None:
        features = known_features(self, input_shape[0])
        self.scale: Tensor | None = self.add_weight("scale", (features,)) if self.use_scale else None

    def scores(
        self, query: Float[Tensor, "batch queries features"], key: Float[Tensor, "batch keys features"]
    ) -> Float[Tensor, "batch queries keys"]:
        fit = torch.tanh(query[:, :, None] + key[:, None])
        return fit.sum(-1) if self.scale is None else fit @ self.scale


def masked_softmax(
    scores: Float[Tensor, "batch queries keys"], visible: Bool[Tensor, "#batch #queries keys"] | None
) -> Float[Tensor, "batch queries keys"]:
    """Softmax over the last axis where `visible`; zeros in a row that sees nothing."""
    if visible is None:
        return torch.softmax(scores, -1)
    weights = torch.softmax(scores.masked_fill(~visible, torch.finfo(scores.dtype).min), -1)
    return weights * visible
