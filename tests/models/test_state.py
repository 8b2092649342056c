"""The state of a model as a value: given, returned, selected, stacked, saved."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rondeau import Model, Ragged, Sequential, layers
from rondeau.errors import ArgumentError, CheckpointError, DataError, StateError
from rondeau.models import State

FEATURES = 3


def stacked(**options):
    torch.manual_seed(0)
    inner = Sequential([layers.GRU(3, return_sequences=True)], name="inner")
    return Sequential(
        [layers.Input((None, FEATURES)), layers.LSTM(4, return_sequences=True, **options), inner, layers.Dense(2)]
    ).double()


def encoder_decoder():
    torch.manual_seed(0)
    source, target = layers.Input((None, FEATURES)), layers.Input((None, 2))
    _, h, c = layers.LSTM(4, return_state=True, name="reader")(source)
    written = layers.LSTM(4, return_sequences=True, name="writer")(target, initial_state=[h, c])
    return Model([source, target], layers.GRU(2, return_sequences=True, name="last")(written)).double()


def inputs(rows=3, time=7):
    return torch.randn(rows, time, FEATURES, dtype=torch.float64)


@pytest.fixture(scope="module")
def whole_model():
    return stacked().eval()


@settings(deadline=None, max_examples=30)
@given(st.lists(st.integers(0, 4), min_size=1, max_size=5), st.booleans())
def test_chunk_by_chunk_is_the_whole(whole_model, chunks, ragged):
    model = whole_model
    x = inputs(2, sum(chunks))
    lengths = torch.tensor([sum(chunks), 0])  # a row without steps keeps its state through all of it
    whole, end = model(Ragged.from_padded(x, lengths) if ragged else x, return_state=True)
    state, start, parts = model.initial_state(2), 0, []
    for length in chunks:
        part = x[:, start : start + length]
        if ragged:
            part = Ragged.from_padded(part, torch.tensor([length, 0]))
        y, state = model(part, initial_state=state, return_state=True)
        parts.append(y.values if ragged else y)
        start += length
    torch.testing.assert_close(torch.cat(parts, 0 if ragged else 1), whole.values if ragged else whole)
    assert list(state) == list(end) == ["lstm.h", "lstm.c", "inner.gru.h"]
    for name in state:
        torch.testing.assert_close(state[name], end[name])


def test_gradients_flow_through_a_state_until_it_is_detached():
    model, x = stacked(), inputs()
    _, state = model(x[:, :3], return_state=True)
    wanted = torch.autograd.grad(model(x)[:, 3:].sum(), list(model.parameters()))
    through = torch.autograd.grad(model(x[:, 3:], initial_state=state).sum(), list(model.parameters()))
    torch.testing.assert_close(through, wanted)
    _, state = model(x[:, :3], return_state=True)
    assert not any(t.requires_grad for t in state.detach().values())
    apart = torch.autograd.grad(model(x[:, 3:], initial_state=state.detach()).sum(), list(model.parameters()))
    assert not torch.allclose(apart[0], wanted[0])


def test_the_first_state_is_what_a_call_without_one_begins_with():
    for model, data in ((stacked(), inputs()), (encoder_decoder(), [inputs(), inputs()[..., :2]])):
        state = model.initial_state(3)
        assert torch.equal(model(data), model(data, initial_state=state))
        assert not any(t.any() for t in state.values())
        assert {t.dtype for t in state.values()} == {torch.float64}


def test_a_layer_that_gets_its_state_from_another_is_no_part_of_it():
    model, data = encoder_decoder(), [inputs(), inputs()[..., :2]]
    assert list(model.initial_state(3)) == ["reader.h", "reader.c", "last.h"]
    _, state = model(data, return_state=True)
    assert list(state) == ["reader.h", "reader.c", "last.h"]
    foreign = State({**state, "writer.h": state["reader.h"], "writer.c": state["reader.c"]})
    with pytest.raises(StateError, match=r"gives layer writer its initial_state itself.*got writer.h, writer.c"):
        model(data, initial_state=foreign)


def test_a_layer_called_twice_has_two_states():
    torch.manual_seed(0)
    x = layers.Input((None, FEATURES))
    gru = layers.GRU(FEATURES, return_sequences=True)
    model = Model(x, gru(gru(x))).double()
    assert list(model.initial_state(1)) == ["gru.h", "gru_2.h"]
    data = inputs(1)
    y, state = model(data[:, :4], return_state=True)
    rest = model(data[:, 4:], initial_state=state)
    torch.testing.assert_close(torch.cat([y, rest], 1), model(data))


def test_bidirectional_and_layers_over_single_steps():
    inner = layers.TimeDistributed(layers.LSTM(2))
    both = layers.Bidirectional(layers.GRU(2, return_sequences=True))
    model = Sequential([layers.Input((None, FEATURES)), both])
    names = ["bidirectional.forward_layer.h", "bidirectional.backward_layer.h"]
    assert list(model.initial_state(2)) == names
    _, state = model(inputs().float(), return_state=True)
    assert list(state) == names
    frames = Sequential([layers.Input((None, 5, FEATURES)), inner, layers.GRU(2)])
    assert list(frames.initial_state(2)) == ["gru.h"]
    _, state = frames(torch.zeros(2, 4, 5, FEATURES), return_state=True)
    assert list(state) == ["gru.h"]


def test_a_subclassed_model():
    class Own(Model):
        def __init__(self):
            super().__init__()
            self.first, self.rest = layers.LSTM(4, return_sequences=True), torch.nn.ModuleList([layers.GRU(2)])

        def forward(self, x):
            return self.rest[0](self.first(x))

    model, x = Own(), inputs().float()
    y, state = model(x, return_state=True)  # its weights are made on the way
    assert list(state) == ["first.h", "first.c", "rest.0.h"]
    _, begun = model(x[:, :3], return_state=True)
    torch.testing.assert_close(model(x[:, 3:], initial_state=begun), y)


def test_what_is_given_goes_before_what_a_stateful_layer_keeps():
    model, x = stacked(stateful=True).eval(), inputs()
    first = model(x)
    zero = model.initial_state(3)
    assert not torch.allclose(model(x), first)
    assert torch.equal(model(x, initial_state=zero), first)


def test_select_stack_clone_to():
    model, x = stacked().eval(), inputs()
    _, state = model(x, return_state=True)
    again = State.stack([state.select([2]), state.select([-3, 1])])
    assert again.rows == 3
    after = model(x, initial_state=state)
    torch.testing.assert_close(model(x[[2, 0, 1]], initial_state=again), after[[2, 0, 1]])
    assert state.select([1, 1]).rows == 2
    assert state.select([]).rows == 0
    copied = state.clone()
    assert copied["lstm.h"].data_ptr() != state["lstm.h"].data_ptr()
    assert state.to(torch.float32)["lstm.h"].dtype == torch.float32
    assert state.to("meta")["lstm.h"].device.type == "meta"
    for other in (copy.deepcopy(state.detach()), pickle.loads(pickle.dumps(state.detach()))):
        assert torch.equal(other["lstm.c"], state["lstm.c"])
        assert other.rows == 3


def test_saved_and_loaded(tmp_path):
    _, state = stacked()(inputs(), return_state=True)
    state.save(tmp_path / "state.safetensors")
    found = State.load(tmp_path / "state.safetensors")
    assert list(found) == list(state)
    for name in state:
        assert torch.equal(found[name], state[name])
        assert not found[name].requires_grad
    (tmp_path / "state.safetensors").write_bytes(b"nothing of the kind")
    with pytest.raises(CheckpointError, match="truncated or damaged"):
        State.load(tmp_path / "state.safetensors")


def test_a_stream_goes_on_from_it_and_it_from_a_stream():
    model, x = stacked().float().eval(), inputs().float()
    with torch.no_grad():
        _, state = model(x[:, :4], return_state=True)
        stream = model.stream(rows=3)
        stream.state = state
        np.testing.assert_allclose(stream(x[:, 4].numpy()), model(x)[:, 4].numpy(), atol=1e-6)
        after = model(x[:, 5:], initial_state=stream.state)
        torch.testing.assert_close(after, model(x)[:, 5:], atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize(
    ("attempt", "error", "message"),
    [
        (lambda m, x, s: m(x, initial_state=s.select([0])), StateError, r"expected \(3, 4\), got \(1, 4\)"),
        (lambda m, x, s: m(x, initial_state={"lstm.h": s["lstm.h"]}), StateError, "a part of the state is missing"),
        (lambda m, x, s: m(x, initial_state={"gru.h": s["lstm.h"]}), StateError, "does not run: .*got gru.h"),
        (lambda m, x, s: m(x, initial_state=s["lstm.h"]), StateError, "expected a State, by name, got Tensor"),
        (lambda m, x, s: m(x, initial_state=s.to(torch.float32)), StateError, "another type than the inputs"),
        (lambda m, x, s: s.select([3]), DataError, "no such row: expected -3 to 2, got 3"),
        (lambda m, x, s: s.select([True]), DataError, "rows are selected by their indices"),
        (lambda m, x, s: State.stack([]), ArgumentError, "at least one state"),
        (lambda m, x, s: State.stack([s, State({"lstm.h": s["lstm.h"]})]), StateError, "state 1 is another model's"),
        (lambda m, x, s: State({"a": torch.zeros(2), "b": torch.zeros(3)}), StateError, "differ in rows"),
        (lambda m, x, s: State({"a": "b"}), DataError, "the state a"),
        (lambda m, x, s: m.initial_state(-1), ArgumentError, "expected a whole number, 0 or more, got -1"),
        (lambda m, x, s: m(layers.Input((None, FEATURES)), return_state=True), ArgumentError, "inside another"),
    ],
)
def test_what_does_not_fit_is_said(attempt, error, message):
    model, x = stacked(), inputs()
    with pytest.raises(error, match=message):
        attempt(model, x, model.initial_state(3))


def test_after_an_error_the_next_call_begins_as_always():
    model, x = stacked(), inputs()
    expected = model(x)
    with pytest.raises(StateError):
        model(x, initial_state=model.initial_state(2))
    assert torch.equal(model(x), expected)


def test_a_call_that_fails_leaves_the_states_of_stateful_layers():
    model = stacked(stateful=True)
    model(inputs())
    before = model.states()
    for wrong in ({"lstm.h": torch.zeros(1, 4)}, {"inner.gru.h": torch.zeros(1, 3)}, {"other.h": torch.zeros(3, 4)}):
        with pytest.raises(StateError):
            model(inputs(), initial_state={name: tensor.double() for name, tensor in wrong.items()})
        assert all(torch.equal(before[name], tensor) for name, tensor in model.states().items())


def test_a_state_given_replaces_the_one_kept_of_another_batch_size():
    model, x = stacked(stateful=True), inputs(2)
    model(inputs(3))
    torch.testing.assert_close(model(x, initial_state=model.initial_state(np.int64(2))), stacked()(x))


@pytest.mark.parametrize("dtype", [torch.int64, torch.complex128])
def test_a_state_of_whole_or_complex_numbers_is_named(dtype):
    model = stacked()
    with pytest.raises(StateError, match="another type"):
        model(inputs(), initial_state=model.initial_state(3).to(dtype))


@pytest.mark.parametrize("wrong", [None, [], 3])
def test_a_state_is_made_of_names_and_tensors(wrong):
    with pytest.raises(StateError, match="by name"):
        State(wrong)


class Asks(Model):
    """A model that asks the one inside it for its state."""

    def __init__(self, begins=None):
        super().__init__()
        self.inside, self.behind, self.begins = stacked(), layers.GRU(3, return_sequences=True).double(), begins
        self.behind.build_for((None, None, 2))
        self.behind.double()

    def forward(self, x):
        y, self.seen = self.inside(x, initial_state=self.begins, return_state=True)
        return self.behind(y)


def test_a_model_that_asks_the_one_inside_it_for_its_state_has_part_in_it():
    model, x = Asks(), inputs()
    whole, end = model(x, return_state=True)
    assert set(end) == set(model.initial_state(3)) == {*(f"inside.{name}" for name in model.seen), "behind.h"}
    first, state = model(x[:, :3], return_state=True)
    rest, state = model(x[:, 3:], initial_state=state, return_state=True)
    torch.testing.assert_close(torch.cat([first, rest], 1), whole)
    assert all(torch.equal(model.seen[name], state[f"inside.{name}"]) for name in model.seen)


def test_a_state_that_a_model_gives_to_the_one_inside_it_is_its_own():
    model = Asks(stacked().initial_state(3))
    _, end = model(inputs(), return_state=True)
    assert set(end) == {"behind.h"}
    with pytest.raises(StateError, match=r"gives layer inside\.lstm its initial_state itself"):
        model(inputs(), initial_state=model.initial_state(3))


def test_states_are_carried_where_torch_compile_runs_the_model():
    model, x = stacked(), inputs()
    whole, end = model(x, return_state=True)
    compiled = torch.compile(model, backend="eager")
    _, state = compiled(x[:, :3], return_state=True)
    rest, state = compiled(x[:, 3:], initial_state=state, return_state=True)
    torch.testing.assert_close(rest, whole[:, 3:])
    assert list(state) == list(end)


def test_streams_take_a_state_with_gradients_behind_it_and_are_not_copied():
    model, x = stacked(), inputs(1)
    _, state = model(x[:, :6], return_state=True)
    stream, sessions = model.stream(), model.sessions()
    stream.state = state
    sessions.join("one", state)
    last = model(x)[:, 6].detach().numpy()
    np.testing.assert_allclose(stream(x[:, 6].numpy()), last, atol=1e-12)
    np.testing.assert_allclose(sessions(iter(["one"]), x[:, 6].numpy()), last, atol=1e-12)
    for copying in (copy.deepcopy, pickle.dumps):
        with pytest.raises(ArgumentError, match="machine code"):
            copying(sessions)
    with pytest.raises(StateError, match="by name"):
        sessions.join("two", [1])


def test_a_state_on_another_device_is_named():
    model = stacked()
    with pytest.raises(StateError, match="another device"):
        model(inputs(), initial_state=model.initial_state(3).to("meta"))


def test_states_are_equal_where_their_tensors_are():
    state = stacked().initial_state(3)
    assert state == state.clone()
    assert state != State({name: tensor + 1 for name, tensor in state.items()})
    assert state != state.to(torch.float32)
    assert state != state.select([0])
    assert state != dict(state)
