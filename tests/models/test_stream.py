"""A model step by step against the same model over the whole sequence."""

from __future__ import annotations

import copy
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from rondeau import Cell, HiddenState, Model, Sequential, layers
from rondeau.cells.base import Context
from rondeau.errors import (
    ArgumentError,
    CheckpointError,
    DataError,
    EngineError,
    NotBuiltError,
    ShapeError,
    StateError,
)
from rondeau.models.stream import Stream
from rondeau.recurrence.engine import use_engine
from rondeau.recurrence.runtime import jit

Array = npt.NDArray[Any]


def steps(stream: Stream, x: Array) -> Array:
    """All steps of x `(rows, time, ...)`, one by one."""
    return np.stack([stream(np.ascontiguousarray(x[:, t])) for t in range(x.shape[1])], 1)


def whole(model: Model, x: Array, dtype: torch.dtype) -> Array:
    """The outputs over the whole sequence, by the reference loop."""
    twin = copy.deepcopy(model).to(dtype).eval()
    given = torch.from_numpy(x)
    with torch.no_grad(), use_engine("reference"):
        result: Array = twin(given.to(dtype) if given.is_floating_point() else given).double().numpy()
    return result


def scrambled(model: Model) -> Model:
    """With weights that let every part be seen: no zero bias, no gain of one."""
    g = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.3 * torch.randn(weight.shape, generator=g).to(weight.dtype))
    return model


def stack(kind: Any, **options: Any) -> Model:
    return Sequential(
        [
            layers.Input((None, 9)),
            kind(33, return_sequences=True, **options),
            layers.Dropout(0.5),
            layers.LayerNormalization(),
            kind(17, return_sequences=True, **options),
            layers.TimeDistributed(layers.Dense(12, activation="relu")),
            layers.Activation("tanh"),
            layers.Dense(5, activation="softmax"),
        ]
    )


def residual() -> Model:
    x = layers.Input((None, 8))
    y = layers.LSTM(8, return_sequences=True)(x)
    y = layers.Add()([x, y])
    z = layers.GRU(6, return_sequences=True)(y)
    model: Model = Model(x, layers.Dense(3)(layers.Concatenate()([y, z, layers.Multiply()([z, z])])))
    return model


def nested() -> Model:
    inner = Sequential([layers.GRU(5, return_sequences=True), layers.Dense(4)], name="inner")
    return Sequential([layers.Input((None, 6)), inner, layers.SimpleRNN(7, return_sequences=True)])


def stacked_cells() -> Model:
    cells = [layers.LSTMCell(6), layers.GRUCell(7), layers.SimpleRNNCell(3)]
    return Sequential([layers.Input((None, 4)), layers.RNN(cells, return_sequences=True)])


MODELS: dict[str, Any] = {
    "LSTM": lambda: stack(layers.LSTM),
    "GRU": lambda: stack(layers.GRU),
    "GRU, reset before": lambda: stack(layers.GRU, reset_after=False),
    "SimpleRNN": lambda: stack(layers.SimpleRNN),
    "residual": residual,
    "nested": nested,
    "stacked cells": stacked_cells,
}


@pytest.mark.parametrize("name", MODELS)
def test_steps_give_what_the_whole_sequence_gives(name: str) -> None:
    model = scrambled(MODELS[name]())
    features = model.layers[0].input_shape[-1] if isinstance(model, Sequential) else 8
    x = np.random.default_rng(0).standard_normal((3, 20, features)).astype(np.float32)
    exact = whole(model, x, torch.float64)
    theirs = np.abs(whole(model, x, torch.float32) - exact).max()
    ours = np.abs(steps(model.stream(3), x) - exact).max()
    assert ours <= 2 * theirs
    wide = steps(copy.deepcopy(model).double().stream(3), x.astype(np.float64))
    assert np.abs(wide - exact).max() < 1e-13


KINDS = {"LSTM": layers.LSTM, "GRU": layers.GRU, "SimpleRNN": layers.SimpleRNN}


@settings(max_examples=12)
@given(
    kinds=st.lists(st.sampled_from(sorted(KINDS)), min_size=1, max_size=3),
    units=st.integers(1, 19),
    features=st.integers(1, 9),
    rows=st.integers(1, 9),
    time=st.integers(1, 12),
    seed=st.integers(0, 2**16),
)
def test_any_stack_streams_what_it_computes(
    kinds: list[str], units: int, features: int, rows: int, time: int, seed: int
) -> None:
    torch.manual_seed(seed)
    parts = [KINDS[kind](units + place, return_sequences=True) for place, kind in enumerate(kinds)]
    model = scrambled(Sequential([layers.Input((None, features)), *parts, layers.Dense(3)])).double()
    x = np.random.default_rng(seed).standard_normal((rows, time, features))
    assert np.abs(steps(model.stream(rows), x) - whole(model, x, torch.float64)).max() < 1e-13


@pytest.mark.parametrize("rows", [1, 2, 7, 33])
@pytest.mark.parametrize("name", ["LSTM", "GRU", "residual"])
def test_a_row_has_the_same_bits_whatever_else_is_in_the_batch(name: str, rows: int) -> None:
    model = scrambled(MODELS[name]())
    features = 8 if name == "residual" else 9
    x = np.random.default_rng(0).standard_normal((rows, 6, features)).astype(np.float32)
    together = steps(model.stream(rows), x)
    for row in {0, rows // 2, rows - 1}:
        assert np.array_equal(steps(model.stream(), x[row : row + 1])[0], together[row])


def language_model(mask_zero: bool = False) -> Model:
    model = Sequential([layers.Embedding(11, 6, mask_zero=mask_zero), layers.LSTM(7, return_sequences=True)])
    model.add(layers.Dense(11))
    return scrambled(model)


def test_ids_are_looked_up_in_the_step() -> None:
    model = language_model()
    ids = np.random.default_rng(0).integers(0, 11, (4, 30))
    exact, near = whole(model, ids, torch.float64), whole(model, ids, torch.float32)
    got = steps(model.stream(4), ids)
    assert np.abs(got - exact).max() <= 2 * np.abs(near - exact).max()
    one = model.stream()
    for t in range(5):
        y = one(int(ids[2, t]) if t % 2 else ids[2:3, t].astype(np.uint8))
        assert np.array_equal(y.reshape(-1), got[2, t])
        assert y.shape == ((11,) if t % 2 else (1, 11))


@pytest.mark.parametrize("wrong", [-1, 11, 1 << 40])
def test_an_id_outside_the_table_is_refused(wrong: int) -> None:
    stream = language_model().stream(2)
    before = stream.state
    with pytest.raises(DataError, match=rf"an id outside the table: expected 0 to 10, got {wrong}"):
        stream(np.array([3, wrong]))
    assert all(np.array_equal(stream.state[name], array) for name, array in before.items())
    with pytest.raises(DataError, match="expected integers, got float64"):
        stream(np.array([3.0, 1.0]))
    with pytest.raises(DataError, match=r"expected 1 to 10, got 0. 0 is padding"):
        language_model(mask_zero=True).stream()(0)


def test_the_running_answer_of_a_last_output() -> None:
    model = scrambled(Sequential([layers.Input((None, 4)), layers.LSTM(5), layers.Dense(2)]))
    x = np.random.default_rng(0).standard_normal((2, 6, 4)).astype(np.float32)
    stream = model.stream(2)
    for t in range(6):
        got = stream(x[:, t])
        assert got.shape == (2, 2)
        assert np.abs(got - model.predict(x[:, : t + 1])).max() < 1e-6


class Counted(NamedTuple):
    total: Any
    pair: Any


class Clock(Cell):
    """Reads the index, and has a state of two axes."""

    def __init__(self, start: float = 0.0) -> None:
        super().__init__()
        self.state_size, self.output_size = Counted(total=3, pair=(2, 3)), 3
        self.start = start

    def initial_state(self, batch: int, *, dtype: Any = None, device: Any = None) -> Any:
        return Counted(torch.full((batch, 3), self.start, dtype=dtype), torch.ones(batch, 2, 3, dtype=dtype))

    def build(self, features: int) -> None:
        self.kernel = self.add_weight("kernel", (features, 3))

    def step(self, x: Tensor, state: Counted, context: Context) -> tuple[Tensor, Counted]:
        total = state.total + x @ self.kernel * torch.cos(context.index * 0.5)
        pair = 0.5 * state.pair + torch.stack([total, torch.sin(total)], 1)
        return pair.sum(1), Counted(total, pair)


@pytest.mark.parametrize("stacked", [False, True])
def test_a_cell_of_ones_own_with_an_index_and_a_start(stacked: bool) -> None:
    cell: Any = [layers.GRUCell(4), Clock(0.5)] if stacked else Clock(0.5)
    model = Sequential([layers.Input((None, 4)), layers.RNN(cell, return_sequences=True)])
    x = np.random.default_rng(0).standard_normal((2, 9, 4)).astype(np.float32)
    exact = whole(model, x, torch.float64)
    stream = model.stream(2)
    assert np.abs(steps(stream, x) - exact).max() < 1e-5
    names = ["rnn.0.h", "rnn.1.total", "rnn.1.pair"] if stacked else ["rnn.total", "rnn.pair"]
    assert list(stream.state) == [*names, "steps"]
    assert stream.state["steps"].tolist() == [9, 9]
    stream.reset(1)
    assert stream.state["steps"].tolist() == [9, 0]
    again = stream(x[:, 0])
    assert np.abs(again[1] - exact[1, 0]).max() < 1e-6
    assert not np.allclose(again[0], exact[0, 0], atol=1e-3)


def test_states_are_read_set_reset_and_copied() -> None:
    model = stack(layers.LSTM)
    x = np.random.default_rng(0).standard_normal((3, 8, 9)).astype(np.float32)
    stream = model.stream(3)
    first = stream.state
    assert list(first) == ["lstm.h", "lstm.c", "lstm_1.h", "lstm_1.c"]
    assert all(not array.any() for array in first.values())
    steps(stream, x[:, :4])
    middle = stream.state
    rest = steps(stream, x[:, 4:])
    for array in stream.state.values():
        array[...] = np.nan  # a copy: nothing happens to the stream
    stream.state = middle
    assert np.array_equal(steps(stream, x[:, 4:]), rest)
    stream.reset([2, 0])
    name = next(iter(first))
    assert stream.state[name].any(1).tolist() == [False, True, False]
    stream.state = {name: middle[name]}  # the others stay
    assert np.array_equal(stream.state[name], middle[name])
    stream.reset()
    assert np.array_equal(steps(stream, x), steps(model.stream(3), x))
    stream.reset([])
    with pytest.raises(ArgumentError, match=r"numbers from 0 to 2, got \[0, 3\]"):
        stream.reset([0, 3])
    with pytest.raises(ArgumentError, match="numbers from 0 to 2"):
        stream.reset(0.5)


def test_a_state_of_another_stream_is_refused() -> None:
    stream = Sequential([layers.Input((None, 2)), layers.GRU(3)]).stream(2)
    with pytest.raises(StateError, match=r"no such state: expected gru.h, got lstm.h"):
        stream.state = {"lstm.h": np.zeros((2, 3), np.float32)}
    with pytest.raises(StateError, match=r"gru.h does not fit: expected \(2, 3\) float32, got \(1, 3\) float32"):
        stream.state = {"gru.h": np.zeros((1, 3), np.float32)}
    with pytest.raises(StateError, match=r"got .* float64"):
        stream.state = {"gru.h": np.zeros((2, 3))}


def test_a_stream_goes_on_in_another_process(tmp_path: Path) -> None:
    model = stack(layers.GRU)
    x = np.random.default_rng(0).standard_normal((2, 8, 9)).astype(np.float32)
    stream = model.stream(2)
    steps(stream, x[:, :5])
    stream.save(tmp_path / "state")
    expected = steps(stream, x[:, 5:])
    other = model.stream(2)
    other.restore(tmp_path / "state")
    assert np.array_equal(steps(other, x[:, 5:]), expected)
    with pytest.raises(CheckpointError, match="of another stream"):
        model.stream(3).restore(tmp_path / "state")
    (tmp_path / "state").write_bytes(b"nothing")
    with pytest.raises(CheckpointError):
        other.restore(tmp_path / "state")
    with pytest.raises(CheckpointError):
        other.restore(tmp_path / "missing")


def test_weights_are_those_of_the_last_refresh() -> None:
    model = scrambled(MODELS["LSTM"]())
    x = np.random.default_rng(0).standard_normal((1, 6, 9)).astype(np.float32)
    stream = model.stream()
    before = steps(stream, x)
    scrambled(model)
    stream.reset()
    assert np.array_equal(steps(stream, x[:, :3]), before[:, :3])  # biases and gains too
    state = stream.state
    stream.refresh()
    assert all(np.array_equal(stream.state[n], a) for n, a in state.items())
    twin = model.stream()
    twin.state = state
    after = steps(twin, x[:, 3:])
    assert np.array_equal(steps(stream, x[:, 3:]), after)
    assert not np.allclose(after, before[:, 3:], atol=1e-3)


def test_streams_share_nothing_and_leave_the_model_as_it_was() -> None:
    model = scrambled(stack(layers.LSTM, stateful=True)).train()
    x = np.random.default_rng(0).standard_normal((2, 6, 9)).astype(np.float32)
    random = torch.get_rng_state()
    one, two = model.stream(), model.stream()
    assert torch.equal(torch.get_rng_state(), random)
    assert all(m.training for m in model.modules())
    assert model.states() == {}
    ys = [(one(x[:1, t]), two(x[1:, t])) for t in range(6)]
    together = steps(model.stream(2), x)
    assert np.array_equal(np.stack([np.concatenate(pair) for pair in ys], 1), together)
    kept = ys[0][0].copy()
    one(x[:1, 0])
    assert np.array_equal(kept, ys[0][0])  # an output is the caller's own


def test_threads_with_a_stream_each() -> None:
    model = scrambled(MODELS["GRU"]())
    x = np.random.default_rng(0).standard_normal((4, 40, 9)).astype(np.float32)
    expected = steps(model.stream(4), x)
    got: dict[int, Array] = {}

    def work(row: int) -> None:
        got[row] = steps(model.stream(), x[row : row + 1])

    workers = [threading.Thread(target=work, args=(row,)) for row in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert all(np.array_equal(got[row][0], expected[row]) for row in range(4))


def test_the_number_of_rows_does_not_compile_anew() -> None:
    model = MODELS["residual"]()
    model.stream(1)
    count = jit.compilations()
    for rows in (2, 5, 40):
        model.stream(rows)
    assert jit.compilations() == count


@pytest.mark.parametrize(
    ("x", "kind", "said"),
    [
        (np.zeros((2, 4), np.float32), ShapeError, r"expected \(2, 3\), got \(2, 4\)"),
        (np.zeros(3, np.float32), ShapeError, r"expected \(2, 3\), got \(3,\)"),
        (np.zeros((2, 3)), DataError, "expected float32, got float64. Convert it with astype"),
        (np.zeros((2, 3), np.int64), DataError, "expected float32, got int64"),
        ([[0.0] * 3] * 2, DataError, "expected a NumPy array, got list"),
        (torch.zeros(2, 3), DataError, "expected a NumPy array, got Tensor"),
    ],
)
def test_inputs_that_do_not_fit(x: Any, kind: type[Exception], said: str) -> None:
    stream = Sequential([layers.Input((None, 3)), layers.GRU(4)]).stream(2)
    with pytest.raises(kind, match=said):
        stream(x)
    stream(np.zeros((3, 2), np.float32).T)  # strides do not matter


def test_one_row_may_come_without_its_axis() -> None:
    stream = Sequential([layers.Input((None, 3)), layers.GRU(4)]).stream()
    assert stream(np.zeros(3, np.float32)).shape == (4,)
    assert stream(np.zeros((1, 3), np.float32)).shape == (1, 4)


def functional(*middle: Any, features: int = 4) -> Model:
    x = y = layers.Input((None, features))
    for layer in middle:
        y = layer(y)
    model: Model = Model(x, y)
    return model


class Backwards(layers.Layer):
    def forward(self, x: Tensor) -> Tensor:
        return x.flip(1)


class Pool(layers.Layer):
    def forward(self, x: Tensor) -> Tensor:
        return x.mean(1)

    def compute_output_shape(self, input_shape: Any) -> Any:
        return (input_shape[0], input_shape[2])


class Own(layers.GRU):
    def forward(self, x: Any, initial_state: Any = None, mask: Any = None) -> Any:
        return super().forward(x.flip(1), initial_state, mask)


def attended() -> Model:
    x = layers.Input((None, 4))
    y = layers.GRU(4, return_sequences=True)(x)
    model: Model = Model(x, layers.Attention()([y, y]))
    return model


def handed_over() -> Model:
    x = layers.Input((None, 4))
    _, h = layers.GRU(4, return_state=True, name="encoder")(x)
    model: Model = Model(x, layers.GRU(4, return_sequences=True, name="decoder")(x, initial_state=[h]))
    return model


def two_inputs() -> Model:
    a, b = layers.Input((None, 4)), layers.Input((None, 4))
    model: Model = Model([a, b], layers.Add()([a, b]))
    return model


REFUSED: dict[str, tuple[Any, str]] = {
    "both": (lambda: functional(layers.Bidirectional(layers.LSTM(3), name="both")), "reads the sequence from its end"),
    "back": (lambda: functional(layers.LSTM(3, go_backwards=True, name="back")), "go_backwards"),
    "mean": (lambda: functional(layers.GlobalAveragePooling1D(name="mean")), "pools over time"),
    "most": (lambda: functional(layers.GlobalMaxPooling1D(name="most")), "pools over time"),
    "pool": (lambda: functional(layers.MaxPooling1D(name="pool")), "pools over time"),
    "attention": (attended, "looks at other steps"),
    "conv": (lambda: functional(layers.Conv1D(3, 2, padding="causal", name="conv")), "looks at other steps"),
    "repeat": (lambda: functional(layers.LSTM(3), layers.RepeatVector(2, name="repeat")), "makes steps of its own"),
    "mine": (lambda: functional(Backwards(name="mine")), "on a whole sequence it gives something else"),
    "average": (lambda: functional(Pool(name="average")), "does not give one result for each step"),
    "own": (lambda: functional(Own(3, name="own")), "a forward of its own"),
    "softmax": (
        lambda: functional(layers.Activation(lambda x: torch.softmax(x, 1), name="softmax")),
        "on a whole sequence it gives something else",
    ),
    "decoder": (handed_over, "called with initial_state"),
    "inner.both": (
        lambda: functional(Sequential([layers.Bidirectional(layers.GRU(3), name="both")], name="inner")),
        "from its end",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_needs_more_than_one_step_is_refused_by_name(name: str) -> None:
    make, said = REFUSED[name]
    with pytest.raises(ArgumentError, match=rf"layer {name} cannot run step by step: .*{said}"):
        make().stream()


def test_models_that_have_no_stream() -> None:
    class Free(Model):
        def forward(self, x: Any) -> Any:
            return x

    with pytest.raises(ArgumentError, match="only its own forward knows"):
        Free().stream()
    with pytest.raises(ArgumentError, match="one input"):
        two_inputs().stream()
    with pytest.raises(ShapeError, match="needs an input with a time axis"):
        Sequential([layers.Input((3,)), layers.Dense(2)]).stream()
    with pytest.raises(NotBuiltError):
        Sequential([layers.LSTM(3)]).stream()
    for rows in (0, 1.5, True):
        with pytest.raises(ArgumentError, match="rows"):
            Sequential([layers.Input((None, 3)), layers.GRU(2)]).stream(rows)  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="float32 or float64"):
        Sequential([layers.Input((None, 3)), layers.GRU(2)]).bfloat16().stream()


class Peeking(Cell):
    def __init__(self) -> None:
        super().__init__()
        self.state_size, self.output_size = HiddenState(h=3), 3

    def step(self, x: Tensor, state: HiddenState) -> tuple[Tensor, HiddenState]:
        h = state.h + x if bool(x.sum() > 0) else state.h
        return h, HiddenState(h)


def test_a_step_that_cannot_be_compiled_is_named() -> None:
    model = functional(layers.RNN(Peeking(), name="peeking"), features=3)
    with pytest.raises(EngineError, match=r"layer peeking cannot be compiled: .* reads a tensor's value .*x.sum"):
        model.stream()


def test_a_model_without_recurrent_layers() -> None:
    model = scrambled(Sequential([layers.Embedding(5, 3), layers.Dense(2)]))
    stream = model.stream(2)
    assert stream.state == {}
    assert np.allclose(stream(np.array([4, 1])), model.predict(np.array([[4], [1]]))[:, 0], atol=1e-6)


ALONE = """
import sys
import numpy as np
from rondeau import Sequential, layers
model = Sequential([layers.Embedding(9, 4), layers.LSTM(5, return_sequences=True), layers.Dense(9)])
stream = model.stream(2)
assert stream(np.array([1, 2])).shape == (2, 9)
stream.refresh()
stream.reset()
heavy = [name for name in ("torch._dynamo", "torch._inductor", "torch._functorch.aot_autograd") if name in sys.modules]
assert not heavy, heavy
"""


def test_streaming_never_imports_the_compiler_of_torch() -> None:
    subprocess.run([sys.executable, "-c", ALONE], check=True, timeout=120)
