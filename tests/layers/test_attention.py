from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch

from rondeau import Ragged, layers
from rondeau.errors import ArgumentError, ShapeError

Q, V, K = (torch.randn(3, n, 4, generator=torch.Generator().manual_seed(n)) for n in (5, 6, 7))
K = K[:, :6]
Q_MASK = torch.tensor([[1, 1, 1, 0, 0], [1] * 5, [0, 1, 0, 1, 1]]).bool()
V_MASK = torch.tensor([[1, 1, 1, 1, 0, 0], [1, 0, 1, 0, 1, 0], [1] * 6]).bool()  # a row without values is not Keras's

KINDS: list[tuple[str, dict[str, Any]]] = [
    ("Attention", {}),
    ("Attention", {"use_scale": True}),
    ("Attention", {"score_mode": "concat"}),
    ("Attention", {"score_mode": "concat", "use_scale": True}),
    ("AdditiveAttention", {}),
    ("AdditiveAttention", {"use_scale": False}),
]


@pytest.mark.parametrize(("name", "options"), KINDS)
def test_every_mask_is_keras(judge: Any, name: str, options: dict[str, Any]) -> None:
    for inputs in ([Q, V], [Q, V, K]):
        shapes = [tuple(x.shape) for x in inputs]
        ours, theirs = judge.twins(
            getattr(layers, name)(**options), getattr(judge.keras.layers, name)(**options), shapes
        )
        for masks, causal in itertools.product(
            ([None, None], [Q_MASK, V_MASK], [None, V_MASK], [Q_MASK, None]), [False, True]
        ):

            def call(layer: Any, *given: Any, masks: Any = masks, causal: bool = causal) -> Any:
                mask = None if masks == [None, None] else [*masks, None][: len(given)]
                return layer(list(given), mask=mask, return_attention_scores=True, use_causal_mask=causal)

            judge.same(ours, theirs, inputs, call, note=(name, options, len(inputs), causal))
        judge.same(ours, theirs, inputs, lambda layer, *given: layer(list(given)))


@pytest.mark.parametrize(("name", "options"), KINDS)
@pytest.mark.parametrize("causal", [False, True])
def test_each_row_of_a_ragged_attends_alone(name: str, options: dict[str, Any], causal: bool) -> None:
    layer = getattr(layers, name)(**options)
    layer.build_for([tuple(Q.shape), tuple(V.shape)])
    q_lengths, v_lengths = [5, 0, 2], [3, 6, 1]
    y, weights = layer(
        [Ragged.from_padded(Q, q_lengths), Ragged.from_padded(V, v_lengths), Ragged.from_padded(K, v_lengths)],
        return_attention_scores=True,
        use_causal_mask=causal,
    )
    assert isinstance(y, Ragged)
    for i, row in enumerate(y.rows()):
        n, m = q_lengths[i], v_lengths[i]
        want, scores = layer(
            [Q[i : i + 1, :n], V[i : i + 1, :m], K[i : i + 1, :m]], return_attention_scores=True, use_causal_mask=causal
        )
        assert torch.allclose(row, want[0], rtol=0, atol=1e-6)
        assert torch.allclose(weights[i, :n, :m], scores[0], rtol=0, atol=1e-6)
        assert not weights[i, :n, m:].any()
    masked = layer([Q, V, K], mask=[None, torch.arange(6) < torch.tensor(v_lengths)[:, None]])
    for value, key in ((Ragged.from_padded(V, v_lengths), K), (V, Ragged.from_padded(K, v_lengths))):
        assert torch.allclose(layer([Q, value, key]), masked, rtol=0, atol=1e-6)


def test_a_query_that_sees_nothing_gets_zeros() -> None:
    for layer in (layers.Attention(), layers.AdditiveAttention()):
        nothing = torch.zeros(3, 6).bool()
        y, weights = layer([Q, V], mask=[None, nothing], return_attention_scores=True)
        assert not y.any()
        assert not weights.any()
        y = layer([Q.clone().requires_grad_(), V], mask=[None, nothing])
        y.sum().backward()
        assert layer([Q, Ragged.from_padded(V, [0, 2, 0])])[0].count_nonzero() == 0
        assert layer([Q, Ragged.from_padded(V, [0, 0, 0])]).shape == (3, 5, 4)


def test_dropout_acts_on_the_weights_in_training() -> None:
    layer, twin = layers.Attention(dropout=0.5, seed=2), layers.Attention(dropout=0.5, seed=2)
    y, weights = layer([Q, V], return_attention_scores=True)
    assert 0 < int((weights == 0).sum()) < weights.numel()
    assert torch.equal(twin([Q, V]), y)
    y, weights = layer.eval()([Q, V], return_attention_scores=True)
    assert torch.allclose(weights.sum(-1), torch.ones(3, 5))


@pytest.mark.parametrize("kind", [layers.Attention, layers.AdditiveAttention])
@pytest.mark.parametrize(
    ("inputs", "said"),
    [
        ([Q], r"expected \[query, value\] or \[query, value, key\]"),
        ([Q, V, K, K], "the inputs: expected"),
        (Q, "the inputs: expected"),
        ([Q[0], V[0]], "the inputs: expected"),
        ([Q, V[:2]], "the batches differ: expected 3, got 2"),
        ([Q, V, K[:1]], "the batches differ: expected 3, got 1"),
        ([Q, V, K[:, :5]], "the steps of value and key differ: expected 6, got 5"),
        ([Q[..., :3], V], "the features of query and key differ: expected 3, got 4"),
    ],
)
def test_inputs_that_do_not_fit(kind: Any, inputs: Any, said: str) -> None:
    with pytest.raises(ShapeError, match=said):
        kind()(inputs)


def test_masks_that_do_not_fit() -> None:
    layer = layers.Attention()
    with pytest.raises(ShapeError, match=r"the value's mask does not fit: expected \(3, 6\), got \(3, 5\)"):
        layer([Q, V], mask=[None, Q_MASK])
    with pytest.raises(ShapeError, match=r"the query's mask does not fit: expected \(3, 5\), got \(3, 6\)"):
        layer([Q, V], mask=[V_MASK, None])
    with pytest.raises(ArgumentError, match="a mask beside a Ragged value"):
        layer([Q, Ragged.from_padded(V, [1, 2, 3])], mask=[None, V_MASK])
    with pytest.raises(ArgumentError, match="score_mode: expected 'dot' or 'concat', got 'add'"):
        layers.Attention(score_mode="add")


def test_scores_have_a_symbol_of_their_own() -> None:
    q, v = layers.Input((5, 4)), layers.Input((None, 4))
    for layer in (layers.Attention(), layers.AdditiveAttention()):
        y, weights = layer([q, v], return_attention_scores=True)
        assert y.shape == (None, 5, 4)
        assert weights.shape == (None, 5, None)
        assert weights.position == 1
        assert layer([q, v]).shape == (None, 5, 4)
