"""Sessions: live sequences that come and go, each the same bits as in a stream of its own."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rondeau import Cell, HiddenState, Sequential, layers
from rondeau.errors import ArgumentError, DataError, ShapeError, StateError

FEATURES = 3


class Counting(Cell):
    """Its output tells how many steps the row has made."""

    def __init__(self):
        super().__init__()
        self.state_size, self.output_size = HiddenState(h=2), 2

    def build(self, features):
        self.kernel = self.add_weight("kernel", (features, 2))

    def step(self, x, state, context):
        h = state.h + torch.tanh(x @ self.kernel) + context.index
        return h, HiddenState(h)


def make_model(units=4, *more):
    torch.manual_seed(0)
    inside = [layers.LSTM(units, return_sequences=True), *more, layers.GRU(units)]
    return Sequential([layers.Input((None, FEATURES)), *inside, layers.Dense(2)])


@pytest.fixture(scope="module")
def counting():
    return make_model(5, layers.RNN(Counting(), return_sequences=True))


def row(rng, count=1):
    return rng.standard_normal((count, FEATURES)).astype(np.float32)


@settings(deadline=None, max_examples=20)
@given(st.integers(1, 12), st.lists(st.tuples(st.integers(0, 14), st.integers(2, 4)), min_size=3, max_size=12))
def test_whoever_else_is_there_a_session_is_a_stream_of_its_own(counting, count, events):
    rng = np.random.default_rng(0)
    sessions, alone = counting.sessions(), {}

    def join(key):
        sessions.join(key)
        alone[key] = counting.stream()

    for key in range(count):
        join(key)
    for number, (key, left_out) in enumerate(events):
        if key in alone and len(alone) > 1:
            state, own = sessions.leave(key), alone.pop(key).state
            assert state.keys() == own.keys()
            for name, array in state.items():
                np.testing.assert_array_equal(array, own[name][0])
        elif key not in alone:
            join(key)
        chosen = [k for k in alone if (k + number) % left_out]
        x = row(rng, len(chosen))
        y = sessions(chosen, x)
        assert y.shape == (len(chosen), 2)
        for i, k in enumerate(chosen):
            np.testing.assert_array_equal(y[i], alone[k](x[i]))
        assert sessions.keys == list(alone)
        assert len(sessions) == len(alone)


def test_several_threads_step_as_one_does():
    torch.set_num_threads(2)
    try:
        model = make_model(160)
        x = row(np.random.default_rng(1), 70)
        sessions = model.sessions()
        for key in range(70):
            sessions.join(key)
        assert sessions._stream._step._dealt.parts > 1
        first, second = sessions(range(3, 70, 2), x[3::2]), sessions(range(70), x)
    finally:
        torch.set_num_threads(1)
    alone = model.stream()
    for key in range(70):
        alone.reset()
        if key >= 3 and key % 2:
            np.testing.assert_array_equal(first[(key - 3) // 2], alone(x[key]))
        np.testing.assert_array_equal(second[key], alone(x[key]))


def test_a_session_goes_on_where_it_left(counting):
    rng = np.random.default_rng(2)
    x = row(rng, 6)
    sessions, alone = counting.sessions(), counting.stream()
    sessions.join("a")
    for t in range(3):
        sessions(["a"], x[t : t + 1])
        alone(x[t])
    state = sessions.leave("a")
    assert "a" not in sessions
    other = counting.sessions()
    other.join("b")
    other.join("a", state)
    np.testing.assert_array_equal(other(["a"], x[3:4])[0], alone(x[3]))
    np.testing.assert_array_equal(state["steps"], 3)


def test_a_row_that_is_free_again_begins_anew(counting):
    rng = np.random.default_rng(3)
    x = row(rng)
    sessions = counting.sessions()
    sessions.join("a")
    first = sessions(["a"], x)
    sessions.leave("a")
    sessions.join("b")
    np.testing.assert_array_equal(sessions(["b"], x), first)


def test_weights_are_those_of_the_moment_also_when_more_join(counting):
    model = make_model()
    rng = np.random.default_rng(4)
    x = row(rng)
    sessions = model.sessions()
    sessions.join(0)
    before = sessions([0], x)
    with torch.no_grad():
        for p in model.parameters():
            p.add_(1.0)
    for key in range(1, 30):
        sessions.join(key)
    np.testing.assert_array_equal(sessions([29], x), before)


def test_goes_on_from_a_models_state():
    model = make_model()
    x = torch.randn(2, 5, FEATURES)
    _, state = model(x[:, :4], return_state=True)
    sessions = model.sessions()
    sessions.join("second", state.select([1]).detach())
    got = sessions(["second"], x[1:, 4].numpy())
    with torch.no_grad():
        np.testing.assert_allclose(got, model(x)[1:].numpy(), atol=1e-6)


def test_ids():
    model = Sequential([layers.Embedding(9, 4, mask_zero=True), layers.GRU(3, return_sequences=True)])
    sessions = model.sessions()
    sessions.join("a")
    assert sessions(["a"], np.array([3])).shape == (1, 3)
    with pytest.raises(DataError, match="outside the table: expected 1 to 8, got 0"):
        sessions(["a"], np.array([0]))


@pytest.mark.parametrize(
    ("attempt", "error", "message"),
    [
        (lambda s, x: s.join("a"), ArgumentError, "there is such a session: got 'a'"),
        (lambda s, x: s(["z"], x), ArgumentError, "no such session: expected 'a', 'b', got 'z'"),
        (lambda s, x: s.leave("z"), ArgumentError, "no such session"),
        (lambda s, x: s(["a", "a"], np.repeat(x, 2, 0)), ArgumentError, "stands there twice: got 'a'"),
        (lambda s, x: s(["a", "b"], x), ShapeError, r"expected \(2, 3\), got \(1, 3\)"),
        (lambda s, x: s(["a"], x[0]), ShapeError, r"expected \(1, 3\), got \(3,\)"),
        (lambda s, x: s(["a"], x.astype(np.float64)), DataError, "expected float32, got float64"),
        (lambda s, x: s(["a"], x.tolist()), DataError, "expected a NumPy array, got list"),
        (lambda s, x: s.join("c", {"lstm.x": x}), StateError, r"no such state: expected lstm.h, .*got lstm.x"),
        (lambda s, x: s.join("c", {"lstm.h": x}), StateError, r"expected \(4,\) float32, got \(1, 3\)"),
    ],
)
def test_what_does_not_fit_is_said_and_nothing_is_stepped(attempt, error, message):
    sessions = make_model().sessions()
    sessions.join("a")
    sessions.join("b")
    x = row(np.random.default_rng(0))
    sessions(["a"], x)
    before = sessions.state("a")
    with pytest.raises(error, match=message):
        attempt(sessions, x)
    assert sessions.keys == ["a", "b"]
    for name, array in sessions.state("a").items():
        np.testing.assert_array_equal(array, before[name])


def test_no_session_is_a_step_too():
    assert make_model().sessions()([], np.zeros((0, FEATURES), np.float32)).shape == (0, 2)
