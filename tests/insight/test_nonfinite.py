"""Faults put in by hand at a known place are found there."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

import rondeau
from rondeau import Cell, HiddenState, Ragged, layers, losses, named, optimizers
from rondeau.callbacks import Callback
from rondeau.cells import LSTMCell
from rondeau.errors import ArgumentError, NumericsError
from rondeau.insight.nonfinite import NonFinite, trace_batch, trace_nonfinite

ROW, STEP = 1, 7


class At(Cell):
    """Does what it does to an input of zero; of others it keeps half and adds half."""

    def __init__(self, kind: str, units: int = 3) -> None:
        super().__init__()
        self.kind, self.state_size, self.output_size = kind, HiddenState(h=units), units

    def step(self, x: Tensor, state: HiddenState) -> tuple[Tensor, HiddenState]:
        if self.kind == "log":
            gate = named("gate", torch.log(x))
            h = 0.5 * state.h + 0.5 * gate
            return h, HiddenState(h)
        if self.kind == "sqrt":
            root = torch.sqrt(x)
            h = 0.5 * state.h + 0.5 * root
            return h, HiddenState(h)
        if self.kind == "state sqrt":  # of a state that is zero after a step that is told so
            h = state.h.sqrt() + 1.0
            h = h * x
            return h, HiddenState(h)
        h = 0.5 * state.h + x
        output = torch.log(x)  # in the output alone
        return output, HiddenState(h)


class Counted(layers.Layer):
    """Counts its calls, as batch normalisation does."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return x * 1.0


class Doubling(Cell):
    """h' = 2^32 h + x, which overflows float32 at the fourth step after a one."""

    state_size, output_size = HiddenState(h=1), 1

    def step(self, x: Tensor, state: HiddenState) -> tuple[Tensor, HiddenState]:
        h = 2.0**32 * state.h + x
        return h, HiddenState(h)


def inputs(value: float = 0.0, time: int = 12, features: int = 3, rows: int = 3) -> Tensor:
    x = torch.rand(rows, time, features, generator=torch.Generator().manual_seed(0)) + 0.5
    x[ROW, STEP, features - 1] = value
    return x


def mean(output: Any, _: Any) -> Tensor:
    values = output.values if isinstance(output, Ragged) else output
    return values.square().mean()


def plain(cell: Cell | None = None, **options: Any) -> rondeau.Sequential:
    torch.manual_seed(0)
    recurrent = layers.LSTM(4, **options) if cell is None else layers.RNN(cell, name="mine", **options)
    return rondeau.Sequential([layers.Input((None, 3)), recurrent, layers.Dense(2)])


def found(model: torch.nn.Module, x: Any, y: Any = None, loss: Any = mean) -> NonFinite:
    result = trace_nonfinite(model, x, y, loss)
    assert result is not None
    assert result.sentence.endswith(".")
    return result


def test_nothing_is_wrong() -> None:
    assert trace_nonfinite(plain(), inputs(1.0), loss=mean) is None
    assert trace_nonfinite(plain(), inputs(1.0)) is None


# What was there before


@pytest.mark.parametrize(("value", "word"), [(math.inf, "inf"), (-math.inf, "-inf"), (math.nan, "nan")])
@pytest.mark.parametrize("make", [plain, lambda: torch.nn.LSTM(3, 4, batch_first=True)])
def test_an_input(make: Any, value: float, word: str) -> None:
    loss = mean if make is plain else lambda made, _: made[0].mean()
    result = found(make(), inputs(value), loss=loss)
    assert (result.where, result.value, result.row, result.step, result.entry) == ("input", word, ROW, STEP, (2,))


def test_an_input_of_rows_of_unequal_length_or_behind_a_mask() -> None:
    x = inputs(math.nan)
    ragged = Ragged.from_padded(x, [3, 9, 12])
    result = found(plain(), ragged)
    assert (result.where, result.row, result.step) == ("input", ROW, STEP)
    mask = torch.ones(3, 12, dtype=torch.bool)
    mask[:, 2] = mask[0, 5:] = False
    result = found(plain(), Ragged.compress(x, mask))
    assert (result.where, result.row, result.step) == ("input", ROW, STEP)
    mask[ROW, STEP] = False
    assert trace_nonfinite(plain(), Ragged.compress(x, mask), loss=mean) is None


def test_a_target() -> None:
    y = torch.zeros(3, 2)
    y[2, 1] = math.nan
    result = found(plain(), inputs(1.0), y, lambda output, y: (output - y).square().mean())
    assert (result.where, result.value, result.row, result.entry) == ("target", "nan", 2, (1,))


@pytest.mark.parametrize(
    "place", [("lstm.cell.recurrent_kernel", (3, 5)), ("dense.kernel", (1, 1)), ("dense.bias", (0,))]
)
def test_a_weight(place: tuple[str, tuple[int, ...]]) -> None:
    name, entry = place
    model = plain()
    weights = {n.removeprefix("chain."): p for n, p in model.named_parameters()}
    with torch.no_grad():
        weights[name][entry] = math.nan
    result = found(model, inputs(1.0))
    assert (result.where, result.parameter, result.entry, result.value) == ("weight", name, entry, "nan")
    assert result.layer == name.split(".")[0]


def test_a_weight_of_torch_s_own_layers() -> None:
    model = torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.GRU(3, 4, num_layers=2, batch_first=True))
    with torch.no_grad():
        model[1].weight_hh_l1[2, 3] = math.inf
    result = found(model, inputs(1.0), loss=lambda made, _: made[0].mean())
    assert (result.where, result.parameter, result.entry) == ("weight", "1.weight_hh_l1", (2, 3))


# Forwards


@pytest.mark.parametrize("backwards", [False, True])
def test_log_of_zero_inside_a_step(backwards: bool) -> None:
    result = found(plain(At("log"), return_sequences=True, go_backwards=backwards), inputs(0.0))
    assert (result.where, result.layer, result.part, result.value) == ("forward", "mine", "gate", "-inf")
    assert (result.row, result.step, result.entry) == (ROW, STEP, (2,))
    assert result.operation is not None
    assert result.operation.startswith("log (test_nonfinite.py:")
    assert "by the operation log" in result.sentence


def test_in_the_output_alone() -> None:
    result = found(plain(At("output"), return_sequences=True), inputs(0.0))
    assert (result.where, result.part, result.row, result.step) == ("forward", "output", ROW, STEP)


def test_on_rows_of_unequal_length_with_holes() -> None:
    mask = torch.ones(3, 12, dtype=torch.bool)
    mask[:, 3] = mask[0, 2:] = False
    result = found(plain(At("log"), return_sequences=True), Ragged.compress(inputs(0.0), mask))
    assert (result.part, result.row, result.step) == ("gate", ROW, STEP)


def test_an_exploding_cell_overflows_at_the_fourth_step() -> None:
    x = torch.zeros(3, 12, 1)
    x[ROW, 2] = 1
    model = rondeau.Sequential([layers.Input((None, 1)), layers.RNN(Doubling(), name="mine"), layers.Dense(1)])
    result = found(model, x)
    assert (result.where, result.layer, result.part, result.value) == ("forward", "mine", "h", "inf")
    assert (result.row, result.step) == (ROW, 6)  # 2^(32 n) is beyond 2^128 where n is 4
    assert result.operation is not None
    assert result.operation.startswith("mul")


def test_of_two_rows_the_step_that_comes_first() -> None:
    x = inputs(0.0)
    x[2, 4, 0] = 0.0
    assert (found(plain(At("log")), x).row, found(plain(At("log")), x).step) == (2, 4)
    result = found(plain(At("log"), go_backwards=True), x)
    assert (result.row, result.step) == (ROW, STEP)


def test_the_second_layer_and_both_directions() -> None:
    model = rondeau.Sequential(
        [
            layers.Input((None, 3)),
            layers.LSTM(3, return_sequences=True),
            layers.Activation("relu"),
            layers.Bidirectional(layers.RNN(At("log"), return_sequences=True), name="both"),
        ]
    )
    torch.manual_seed(0)
    result = found(model, inputs(1.0))
    assert result.where == "forward"
    assert result.layer is not None
    assert result.layer.startswith("both")
    assert result.part == "gate"


def test_a_layer_that_is_not_recurrent() -> None:
    class Log(torch.nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.log(x - x.min())

    model = torch.nn.Sequential(torch.nn.Identity(), Log(), torch.nn.Linear(3, 2))
    result = found(model, inputs(0.1))
    assert (result.where, result.layer, result.value, result.row, result.step) == ("forward", "1", "-inf", ROW, STEP)


def test_a_loop_of_one_s_own_over_a_cell_of_torch_s() -> None:
    class Loop(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.cell, self.log = torch.nn.GRUCell(3, 3), Log()

        def forward(self, x: Tensor) -> Tensor:
            h = torch.zeros(len(x), 3)
            for t in range(x.shape[1]):
                h = self.cell(self.log(x[:, t]), h)
            return h

    class Log(torch.nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.log(x)

    result = found(Loop(), inputs(0.0))
    assert (result.where, result.layer, result.row) == ("forward", f"log (call {STEP + 1})", ROW)


def test_between_modules() -> None:
    class Between(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.last = torch.nn.Linear(3, 2), torch.nn.Linear(2, 2)

        def forward(self, x: Tensor) -> Tensor:
            made: Tensor = self.last(self.first(x) / 0.0)
            return made

    result = found(Between(), inputs(1.0))
    assert (result.where, result.layer) == ("forward", "what comes before last")


# The loss, and backwards


def test_the_loss_itself() -> None:
    result = found(plain(), inputs(1.0), loss=lambda output, _: (output.mean() * 0).log())
    assert (result.where, result.value) == ("loss", "-inf")


def test_the_loss_s_own_derivative() -> None:
    result = found(plain(), inputs(1.0), loss=lambda output, _: (output * 0).sqrt().sum())
    assert (result.where, result.layer) == ("backward", None)
    assert "derivative" in result.sentence


@pytest.mark.parametrize("backwards", [False, True])
def test_the_square_root_of_a_state_of_zero(backwards: bool) -> None:
    """The state after step 7 is zero in one unit, so that the derivative of the next step's root is not finite."""
    model = plain(At("state sqrt"), return_sequences=True, go_backwards=backwards)
    x = inputs(0.0)

    class Begun(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.mine, self.scale = model.layers[-2], torch.nn.Linear(3, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.mine(self.scale(x) * 0 + x, initial_state=[torch.ones(3, 3)])

    broken = found(Begun(), x)
    assert (broken.where, broken.layer, broken.part, broken.row) == ("backward", "mine", "h", ROW)
    assert broken.step == (STEP - 1 if backwards else STEP + 1)
    assert broken.operation is not None
    assert broken.operation.startswith("sqrt (test_nonfinite.py:")


def test_the_square_root_of_an_input_of_zero() -> None:
    class Model(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = torch.nn.Linear(3, 3)
            self.mine = layers.RNN(At("sqrt"), return_sequences=True)
            with torch.no_grad():
                self.first.weight.copy_(torch.eye(3))
                self.first.bias.zero_()

        def forward(self, x: Tensor) -> Tensor:
            made: Tensor = self.mine(self.first(x))
            return made

    result = found(Model(), inputs(0.0))
    assert (result.where, result.layer, result.part) == ("backward", "mine", "input")
    assert (result.row, result.step) == (ROW, STEP)
    assert result.operation is not None
    assert result.operation.startswith("sqrt")


def test_a_module_s_derivative_that_is_not_recurrent() -> None:
    class Root(torch.nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return (x * 0).sqrt()

    model = torch.nn.Sequential(torch.nn.Linear(3, 2), Root(), torch.nn.Linear(2, 2))
    result = found(model, inputs(1.0))
    assert (result.where, result.layer) == ("backward", "1")


@pytest.mark.parametrize("which", ["forward", "backward"])
def test_of_two_layers_that_read_the_same_the_one_that_does_it(which: str) -> None:
    kinds = {"forward": "plain", "backward": "plain", which: "sqrt"}

    class Half(At):
        def step(self, x: Tensor, state: HiddenState) -> tuple[Tensor, HiddenState]:
            h = 0.5 * state.h + (torch.sqrt(x) if self.kind == "sqrt" else x)
            return h, HiddenState(h)

    class Model(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = torch.nn.Linear(3, 3)
            self.forwards = layers.RNN(Half(kinds["forward"]), return_sequences=True)
            self.backwards = layers.RNN(Half(kinds["backward"]), return_sequences=True, go_backwards=True)
            with torch.no_grad():
                self.first.weight.copy_(torch.eye(3))
                self.first.bias.zero_()

        def forward(self, x: Tensor) -> Tensor:
            x = self.first(x)
            made: Tensor = self.forwards(x) + self.backwards(x)
            return made

    result = found(Model(), inputs(0.0))
    assert (result.where, result.layer, result.row, result.step) == ("backward", f"{which}s", ROW, STEP)


def test_a_weight_s_gradient_alone() -> None:
    class Scale(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = torch.nn.Parameter(torch.zeros(3))

        def forward(self, x: Tensor) -> Tensor:
            return x + self.scale.sqrt()

    result = found(torch.nn.Sequential(torch.nn.Linear(3, 3), Scale(), torch.nn.Linear(3, 1)), inputs(1.0))
    assert (result.where, result.layer, result.parameter) == ("backward", "1", "1.scale")


def test_gradients_that_explode_on_their_way_back() -> None:
    """h' = min(2^32 h, 1) + x: values stay finite, and so do the gradients of the last steps."""

    class Steep(Cell):
        state_size, output_size = HiddenState(h=1), 1

        def step(self, x: Tensor, state: HiddenState) -> tuple[Tensor, HiddenState]:
            h = 2.0**32 * state.h + x
            return h, HiddenState(h)

    class Model(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.mine = torch.nn.Linear(1, 1), layers.RNN(Steep())
            with torch.no_grad():
                self.first.weight.zero_()
                self.first.bias.zero_()

        def forward(self, x: Tensor) -> Tensor:
            made: Tensor = self.mine(self.first(x))
            return made

    result = found(Model(), torch.zeros(2, 10, 1), loss=lambda output, _: output.sum())
    # 1 at the last step, 2^(32 n) n steps before: 2^128 at the sixth of ten, made by the seventh's derivative
    assert (result.where, result.layer, result.part, result.step, result.value) == ("backward", "mine", "h", 6, "inf")


# In training


def test_a_batch_of_a_compiled_model() -> None:
    model = plain(At("log"))
    model.compile(optimizers.Adam(), losses.MeanSquaredError())
    result = found(model, inputs(0.0), torch.zeros(3, 2), None)
    assert (result.where, result.layer, result.row, result.step) == ("forward", "mine", ROW, STEP)


def test_a_callback_finds_it_when_fit_fails() -> None:
    told: list[NonFinite | None] = []

    class Tracer(Callback):
        def on_numerics_error(self, error: NumericsError, logs: Any) -> bool:
            told.append(trace_batch(self.loop.trainer, self.loop.given))
            return False

    model = plain(At("log"))
    model.compile(optimizers.Adam(), losses.MeanSquaredError())
    x = torch.cat([inputs(1.0, rows=4), inputs(0.0, rows=4)])
    with pytest.raises(NumericsError):
        model.fit(x, torch.zeros(8, 2), batch_size=4, shuffle=False, callbacks=[Tracer()], verbose=0)
    (result,) = told
    assert result is not None
    assert (result.row, result.step) == (ROW, STEP)


def test_everything_is_afterwards_what_it_was() -> None:
    torch.manual_seed(0)
    model = rondeau.Sequential(
        [
            layers.Input((None, 3), batch_size=3),
            Counted(),
            layers.Dropout(0.5),
            layers.LSTM(4, stateful=True, dropout=0.5, seed=1),
            layers.Dense(1),
        ]
    )
    model.train()
    model(inputs(1.0))
    model(inputs(1.0)).sum().backward()
    before = {name: t.clone() for name, t in model.state_dict().items()}
    gradients = [p.grad for p in model.parameters()]
    carried = model.layers[-2].state.h.clone()
    drawn, own = torch.random.get_rng_state(), model.layers[-2].cell.generator()
    own_before = None if own is None else own.get_state()
    assert found(model, inputs(math.nan)).where == "input"
    assert all(torch.equal(t, before[name]) for name, t in model.state_dict().items())
    assert all(p.grad is g for p, g in zip(model.parameters(), gradients, strict=True))
    assert torch.equal(model.layers[-2].state.h, carried)
    assert torch.equal(torch.random.get_rng_state(), drawn)
    assert own is None or (own_before is not None and torch.equal(own.get_state(), own_before))
    assert model.training
    assert not any(m._forward_hooks for m in model.modules())


def test_a_cell_s_weights_and_gates_have_their_names() -> None:
    cell = LSTMCell(3, recurrent_activation=lambda z: torch.log(z.abs() * 0))
    result = found(plain(cell), inputs(1.0))
    assert (result.where, result.part, result.row, result.step) == ("forward", "forget_gate", 0, 0)


def test_a_loss_must_be_one_number() -> None:
    with pytest.raises(ArgumentError, match="0-d"):
        trace_nonfinite(plain(), inputs(1.0), loss=lambda output, _: output)


@pytest.mark.parametrize("seed", range(20))
def test_faults_at_random_places_of_random_networks_are_all_found(seed: int) -> None:
    torch.manual_seed(seed)

    def number(most: int) -> int:
        return int(torch.randint(most, ()))

    rows, time, units = 1 + number(4), 2 + number(20), 2 + number(5)
    kinds = [layers.LSTM, layers.GRU, layers.SimpleRNN]
    stack: list[Any] = [kinds[number(3)](units, return_sequences=True) for _ in range(1 + number(2))]
    stack = [layers.Bidirectional(one) if number(3) == 0 else one for one in stack]
    model = rondeau.Sequential([layers.Input((None, 3)), *stack, layers.Dense(2)])
    lengths = torch.randint(1, time + 1, (rows,))
    row = number(rows)
    step = number(int(lengths[row]))
    x = torch.randn(rows, time, 3)
    ragged = Ragged.from_padded(x, lengths)
    assert trace_nonfinite(model, ragged, loss=mean) is None

    entry = number(3)
    broken = x.clone()
    broken[row, step, entry] = (math.nan, math.inf, -math.inf)[number(3)]
    result = found(model, Ragged.from_padded(broken, lengths))
    assert (result.where, result.row, result.step, result.entry) == ("input", row, step, (entry,))

    logs = rondeau.Sequential([layers.Input((None, 3)), layers.RNN(At("log"), return_sequences=True, name="mine")])
    logs.add(layers.Dense(2))
    zero = x.abs() + 0.1
    zero[row, step, entry] = 0.0
    result = found(logs, Ragged.from_padded(zero, lengths))
    assert (result.layer, result.part, result.row, result.step) == ("mine", "gate", row, step)

    names = [name for name, _ in model.named_parameters()]
    name = names[number(len(names))]
    weight = dict(model.named_parameters())[name]
    places = (torch.randint(10**6, (weight.ndim,)) % torch.tensor(weight.shape)).tolist()
    with torch.no_grad():
        weight[tuple(places)] = (math.nan, math.inf)[number(2)]
    result = found(model, ragged)
    assert (result.where, result.parameter, result.entry) == ("weight", name.removeprefix("chain."), tuple(places))
