"""One rule for masks through a whole model: whatever stands at masked steps, and wherever they are, nothing changes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rondeau import Model, Ragged, layers

WORDS = 7


def tagger(mask_zero=True):
    """Every kind of layer that sees steps, to an answer for each step."""
    ids = layers.Input((None,), dtype="int64")
    x = layers.Embedding(WORDS, 5, mask_zero=mask_zero)(ids)
    first = layers.LSTM(4, return_sequences=True)(x)
    second = layers.GRU(4, return_sequences=True, go_backwards=True)(first)  # stacked, and in another order
    both = layers.Bidirectional(layers.RNN([layers.LSTMCell(3), layers.GRUCell(3)], return_sequences=True))(first)
    each = layers.TimeDistributed(layers.Dense(6))(both)
    looked = layers.Attention()([each, each])
    y = layers.LayerNormalization()(layers.Add()([each, looked]))
    return ids, y, second


@pytest.fixture(scope="module")
def models():
    torch.manual_seed(0)
    made = [both_answers(mask_zero) for mask_zero in (True, False)]
    made[1].set_weights(made[0].get_weights())
    return made


def both_answers(mask_zero):
    """For each step, and for the whole."""
    ids, y, second = tagger(mask_zero)
    pooled = [layers.GlobalAveragePooling1D()(y), layers.GlobalMaxPooling1D()(second), layers.LSTM(2)(y)]
    return Model(ids, [y, layers.Concatenate()(pooled)]).double().eval()


rows = st.lists(st.lists(st.integers(0, WORDS - 1), max_size=6), min_size=1, max_size=4)


@settings(deadline=None, max_examples=20)
@given(rows, st.integers(0, 3), st.randoms(use_true_random=False))
def test_a_row_is_the_row_alone_without_its_masked_steps(models, rows, more, random):
    masked, plain = models
    time = max(map(len, rows)) + more
    padded = torch.zeros(len(rows), time, dtype=torch.int64)
    for i, row in enumerate(rows):  # with zeros in between, in front, and behind
        start = random.randint(0, time - len(row))
        padded[i, start : start + len(row)] = torch.tensor(row, dtype=torch.int64)
    y, summary = masked(padded)
    for i, row in enumerate(rows):
        real = [word for word in row if word]
        if real:  # as a plain tensor, without a mask or lengths anywhere
            expected = [answer[0] for answer in plain(torch.tensor([real]))]
        else:
            expected = [masked(Ragged.from_rows([torch.zeros(0, dtype=torch.int64)]))[i] for i in (0, 1)]
            expected = [expected[0].values, expected[1][0]]
            assert not y[i].any()
        torch.testing.assert_close(y[i][padded[i] != 0], expected[0])
        torch.testing.assert_close(summary[i], expected[1])
    order = torch.tensor(random.sample(range(len(rows)), len(rows)))
    torch.testing.assert_close(masked(padded[order])[1], summary[order])


@settings(deadline=None, max_examples=6)
@given(rows)
def test_gradients_and_losses_do_not_see_padding(rows):
    rows = [[*row, 1] for row in rows]
    ids, y, _ = tagger()
    torch.manual_seed(0)
    model = Model(ids, layers.Dense(1)(y)).double()
    model.compile("sgd", "mse", metrics=["mae"])
    kept = {n: p.detach().clone() for n, p in model.named_parameters()}
    real = [[word for word in row if word] for row in rows]
    targets = [[float(word) for word in row] for row in real]
    seen = []
    for x, t in ((real, targets), padded_by_hand(rows)):
        with torch.no_grad():
            for n, p in model.named_parameters():
                p.copy_(kept[n])
        losses = model.train_on_batch(x, t)
        seen.append((losses, [p.detach().clone() for p in model.parameters()]))
    np.testing.assert_allclose(seen[0][0], seen[1][0], rtol=1e-9)
    for a, b in zip(seen[0][1], seen[1][1], strict=True):
        torch.testing.assert_close(a, b)


def padded_by_hand(rows):
    """Ids where they stand, zeros among them, and targets with rubbish at masked steps."""
    time = max(map(len, rows)) + 2
    x, t = np.zeros((len(rows), time), np.int64), np.full((len(rows), time), 1e6)
    for i, row in enumerate(rows):
        x[i, 1 : 1 + len(row)] = row
        t[i, 1 : 1 + len(row)] = [word or -1e6 for word in row]
    return x, t
