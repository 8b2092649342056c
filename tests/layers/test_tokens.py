"""Distinct steps computed once, and words hidden in training."""

from __future__ import annotations

import pytest
import torch

import rondeau
from rondeau import Sequential, layers
from rondeau.errors import ArgumentError, DataError
from rondeau.layers import Distinct, TimeDistributed, TokenDropout
from rondeau.layers.tokens import distinct_rows
from rondeau.sequence import Ragged


def spelled() -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 4, (3, 20, 3), generator=generator)


def speller() -> Sequential:
    torch.manual_seed(0)
    return Sequential([layers.Embedding(4, 5, mask_zero=True), layers.Bidirectional(layers.GRU(6))])


def test_rows_come_back_from_the_distinct_ones():
    rows = spelled().flatten(0, 1)
    found, inverse = distinct_rows(rows)
    assert torch.equal(found[inverse], rows)
    assert len(found) == len({tuple(row) for row in rows.tolist()}) < len(rows)
    assert [len(part) for part in distinct_rows(rows[:0])] == [0, 0]


def test_distinct_is_time_distributed_and_runs_each_once():
    x = spelled()
    inner = speller()
    every, once = TimeDistributed(inner), Distinct(inner)
    expected = every(x)
    seen = []
    inner.register_forward_pre_hook(lambda _, args: seen.append(len(args[0])))
    assert torch.allclose(once(x), expected, atol=1e-6)
    assert seen == [len({tuple(row) for row in x.flatten(0, 1).tolist()})]
    ragged = once(Ragged.from_padded(x, [20, 3, 0]))
    assert torch.allclose(ragged.values[:20], expected[0], atol=1e-6)
    gradients = []
    for layer in (every, once):
        inner.zero_grad()
        layer(x).square().sum().backward()
        gradients.append(inner.layers[0].embeddings.grad.clone())
    assert torch.allclose(*gradients, rtol=1e-4, atol=1e-5)
    with pytest.raises(DataError, match="integers"):
        once(x.float())


def test_saved_in_a_model(tmp_path):
    x = spelled()
    model = Sequential([layers.Input((None, 3), dtype="int64"), Distinct(speller()), TokenDropout(0.5)])
    model.save(tmp_path / "model")
    assert (rondeau.load(tmp_path / "model").predict(x) == model.predict(x)).all()


def test_token_dropout_hides_a_share_of_the_words_in_training_only():
    ids = torch.full((100, 100), 7)
    ids[:, 0] = 0
    layer = TokenDropout(0.3, seed=0)
    hidden = layer(ids)
    assert bool((hidden[:, 0] == 0).all())
    assert set(hidden[:, 1:].unique().tolist()) == {1, 7}
    assert 0.28 < float((hidden == 1).float().mean()) / 0.99 < 0.32
    assert torch.equal(layer.eval()(ids), ids)
    assert layer.train()(Ragged.full(ids)).lengths.tolist() == [100] * 100
    with pytest.raises(ArgumentError, match="rate"):
        TokenDropout(1.0)
