"""Rows of documents laid end to end: layers begin anew at each reset, whatever is masked, in either direction."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rondeau import Model, Ragged, layers
from rondeau.errors import ShapeError

FEATURES = 2


@pytest.fixture(scope="module", params=["forwards", "backwards", "both"])
def layer(request):
    torch.manual_seed(0)
    inside = layers.LSTM(3, return_sequences=True, go_backwards=request.param == "backwards")
    made = layers.Bidirectional(inside) if request.param == "both" else inside
    made.build_for((None, None, FEATURES))
    return made.double()


def in_place(layer, y):
    """Outputs where their inputs were."""
    return y.flip(-2) if getattr(layer, "go_backwards", False) else y


@settings(deadline=None, max_examples=40)
@given(st.data())
def test_each_document_is_alone(layer, data):
    lengths = data.draw(st.lists(st.integers(1, 4), min_size=1, max_size=4))
    time = sum(lengths)
    real = torch.tensor(data.draw(st.lists(st.booleans(), min_size=time, max_size=time)))
    x = torch.randn(1, time, FEATURES, dtype=torch.float64)
    starts = np.cumsum([0, *lengths[:-1]])
    resets = torch.zeros(1, time, dtype=torch.bool)
    resets[0, starts] = True
    y = in_place(layer, layer(x, mask=real[None], resets=resets))[0]
    for start, length in zip(starts, lengths, strict=True):
        document = slice(start, start + length)
        kept = real[document]
        if not kept.any():
            continue
        alone = in_place(layer, layer(x[:, document][:, kept]))[0]
        torch.testing.assert_close(y[document][kept], alone)


def test_a_reset_on_a_masked_step_moves_to_the_next_real_one():
    layer = layers.GRU(3, return_sequences=True)
    x = torch.randn(1, 5, FEATURES)
    mask = torch.tensor([[True, True, False, True, True]])
    resets = torch.tensor([[False, False, True, False, False]])
    y = layer(x, mask=mask, resets=resets)
    torch.testing.assert_close(y[:, 3:], layer(x[:, 3:]))
    torch.testing.assert_close(y[:, 2], layer(x[:, :2])[:, -1])


def test_the_last_output_is_that_of_the_last_document():
    layer = layers.LSTM(3)
    x = torch.randn(1, 5, FEATURES)
    resets = torch.tensor([[False, False, False, True, False]])
    torch.testing.assert_close(layer(x, resets=resets), layer(x[:, 3:]))


def test_as_an_input_of_a_model():
    steps, resets = layers.Input((None,), name="ids"), layers.Input((None,), name="resets")
    vectors = layers.Embedding(9, 4, mask_zero=True)(steps)
    model = Model([steps, resets], layers.GRU(3, return_sequences=True)(vectors, resets=resets))
    ids = np.array([[1, 2, 3, 4], [5, 6, 0, 0]])
    apart = np.array([[0, 0, 1, 0], [0, 0, 0, 0]], np.float32)
    y = model.predict([ids, apart])
    zero = np.zeros((1, 2), np.float32)
    np.testing.assert_allclose(y[0, 2:], model.predict([ids[:1, 2:], zero])[0], atol=1e-6)
    np.testing.assert_allclose(y[1, :2], model.predict([ids[1:, :2], zero])[0], atol=1e-6)


def test_what_does_not_fit_is_said():
    layer = layers.GRU(3)
    with pytest.raises(ShapeError, match=r"expected \(2, 5\), got \(2, 4\)"):
        layer(torch.zeros(2, 5, FEATURES), resets=torch.zeros(2, 4))
    rows = Ragged.from_rows([torch.zeros(3, FEATURES)])
    with pytest.raises(ShapeError, match=r"other lengths than the inputs: expected \[3\], got \[2\]"):
        layer(rows, resets=Ragged.from_rows([[True, False]]))


@pytest.mark.parametrize("window", [1, 3, 5])
def test_windows_and_states_carry_a_reset_that_waits_for_a_real_step(window):
    torch.manual_seed(1)
    x, starts = layers.Input((None, FEATURES)), layers.Input((None,))
    y = layers.LSTM(3, return_sequences=True)(layers.Masking()(x), resets=starts)
    model = Model([x, starts], y).double()
    data, resets = torch.randn(4, 15, FEATURES, dtype=torch.float64), (torch.rand(4, 15) < 0.3).double()
    data[torch.rand(4, 15) < 0.5] = 0
    whole = model([data, resets])
    parts = model.predict([data.numpy(), resets.numpy()], window=window)
    torch.testing.assert_close(torch.from_numpy(parts)[data.any(-1)], whole.detach()[data.any(-1)])
    state, kept = model.initial_state(4), []
    for t in range(0, 15, window):
        here = slice(t, t + window)
        out, state = model([data[:, here], resets[:, here]], initial_state=state, return_state=True)
        kept.append(out)
    torch.testing.assert_close(torch.cat(kept, 1)[data.any(-1)], whole[data.any(-1)])
