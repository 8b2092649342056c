"""The gradient through time against closed forms and a loop written by hand."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor

from rondeau import Cell, HiddenState, Truncated
from rondeau.cells import GRUCell, LSTMCell
from rondeau.insight import Monitor, hidden_states
from rondeau.insight.dynamics import dynamics_of_call
from rondeau.insight.flow import MOST, chosen_lags, fit_decay, measure_flow
from rondeau.insight.monitor import measure
from rondeau.insight.records import Decay, Flow
from rondeau.insight.replay import Watched, replay
from rondeau.recurrence import Keep, scan
from rondeau.recurrence.watch import Call, watching
from rondeau.sequence import Ragged


class Decaying(Cell):
    """h' = factor * h + x: the gradient by h falls by the factor at every step."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.state_size, self.output_size, self.factor = HiddenState(h=3), 3, factor

    def step(self, x: Tensor, state: HiddenState) -> tuple[Tensor, HiddenState]:
        h = self.factor * state.h + x
        return h, HiddenState(h)


def watched(run: object) -> Watched:
    """The only scan that `run` makes, after the backward pass of the loss it gives."""
    seen: list[Watched] = []
    with watching(lambda call: seen.append(Watched(call))):
        loss = run()
    loss.backward()
    (only,) = seen
    return only


def flow_of(seen: Watched, rows: int = 8, steps: int = 1000) -> tuple[dict[str, Flow], Decay]:
    found = replay(seen, rows, steps)
    assert found is not None
    return measure_flow(found, Keep(states=True, cotangents=True))


def inputs(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, requires_grad=True)


@pytest.mark.parametrize("factor", [0.5, 0.9, 1.0, 1.1])
@pytest.mark.parametrize("engine", ["native", "reference"])
def test_a_linear_cell_decays_by_its_factor(factor: float, engine: str) -> None:
    x = inputs(4, 40, 3)
    seen = watched(lambda: scan(Decaying(factor), x, engine=engine)[0][:, -1].sum())
    flow, decay = flow_of(seen)
    assert list(flow) == ["h"]
    assert flow["h"].lags == list(range(40))
    expected = [math.sqrt(3) * factor**lag for lag in range(40)]
    assert flow["h"].last == pytest.approx(expected, rel=1e-12)
    assert flow["h"].loss == pytest.approx(expected, rel=1e-12)  # the loss is of the last step alone
    assert decay.factor == pytest.approx(factor, rel=1e-9)
    memory = math.ceil(math.log(0.01) / math.log(factor)) if factor < 1 else None
    assert decay.memory == (memory if memory is not None and memory < 40 else None)
    assert decay.reach == 39


def test_where_every_step_has_a_loss_only_the_last_one_shows_the_memory() -> None:
    x = inputs(2, 30, 3)
    flow, decay = flow_of(watched(lambda: scan(Decaying(0.5), x)[0].sum()))
    assert flow["h"].loss[-1] == pytest.approx(2 * math.sqrt(3), rel=1e-6)  # 1 + 1/2 + 1/4 + ...
    assert flow["h"].last[-1] == pytest.approx(math.sqrt(3) * 0.5**29)
    assert decay.factor == pytest.approx(0.5)


def by_hand(cell: Cell, x: Tensor, weight: Tensor) -> tuple[list[list[Tensor]], Tensor]:
    """States of each step and the loss, of one row, step after step."""
    state = type(cell.initial_state(1))(*(s.double().requires_grad_() for s in cell.initial_state(1)))
    states, outputs = [], []
    for step in x:
        output, state = cell(step[None], state)
        for part in state:
            part.retain_grad()
        states.append(list(state))
        outputs.append(output)
    return states, (torch.cat(outputs) * weight).sum()


@pytest.mark.parametrize("kind", [LSTMCell, GRUCell])
@pytest.mark.parametrize("reverse", [False, True])
def test_the_whole_loss_by_the_states_is_what_autograd_gives(kind: type[Cell], reverse: bool) -> None:
    lengths = [7, 3, 5]
    rows = [torch.randn(length, 3, dtype=torch.float64) for length in lengths]
    weights = [torch.randn(length, 4, dtype=torch.float64) for length in lengths]
    cell = kind(4)
    cell.build_for(3)
    cell.double()
    ragged, weight = Ragged.from_rows(rows), torch.cat(weights)
    flow, _ = flow_of(watched(lambda: (scan(cell, ragged, reverse=reverse)[0].values * weight).sum()))
    squares: dict[str, dict[int, list[float]]] = {name: {} for name in flow}
    for row, weight in zip(rows, weights, strict=True):
        states, loss = by_hand(cell, row.flip(0) if reverse else row, weight.flip(0) if reverse else weight)
        loss.backward()
        for name, parts in zip(flow, zip(*states, strict=True), strict=True):
            for lag, part in enumerate(reversed(parts)):
                squares[name].setdefault(lag, []).append(float(part.grad.square().sum()))
    for name, found in flow.items():
        expected = [math.sqrt(sum(squares[name][lag]) / len(squares[name][lag])) for lag in range(7)]
        assert found.loss == pytest.approx(expected, rel=1e-9)


def test_truncation_shows_in_the_loss_and_not_in_the_memory() -> None:
    x = inputs(2, 20, 3)
    seen = watched(lambda: scan(Decaying(0.9), x, gradient=Truncated(6))[0][:, -1].sum())
    flow, decay = flow_of(seen)
    assert flow["h"].loss[1] > 0  # windows of 6, 6, 6 and 2 steps
    assert flow["h"].loss[2:] == [0.0] * 18
    assert flow["h"].last[19] == pytest.approx(math.sqrt(3) * 0.9**19)
    assert decay.factor == pytest.approx(0.9)


def test_a_gradient_by_the_final_state_alone() -> None:
    x = inputs(2, 12, 3)
    flow, decay = flow_of(watched(lambda: scan(Decaying(0.8), x)[1].h.sum()))
    assert flow["h"].last == pytest.approx([math.sqrt(3) * 0.8**lag for lag in range(12)])
    assert decay.factor == pytest.approx(0.8)


def test_only_the_last_outputs_were_kept() -> None:
    x = inputs(3, 12, 3)
    seen = watched(lambda: scan(Decaying(0.8), x, lengths=[12, 0, 5], keep=Keep(outputs="last"))[0].sum())
    flow, _ = flow_of(seen)
    assert flow["h"].loss == pytest.approx([math.sqrt(3) * 0.8**lag for lag in range(12)])


def test_a_loss_that_takes_nothing_from_the_last_step_still_shows_the_decay() -> None:
    x = inputs(2, 12, 3)
    flow, decay = flow_of(watched(lambda: scan(Decaying(0.7), x)[0][:, 0].sum()))
    assert flow["h"].loss[:11] == [0.0] * 11
    assert decay.factor == pytest.approx(0.7)


def test_a_few_rows_and_the_last_steps_measure_what_all_do() -> None:
    cell = LSTMCell(4).double()
    x = inputs(1, 50, 3).expand(20, 50, 3)
    seen = watched(lambda: scan(cell, x)[0][:, -1].square().sum())
    whole, _ = flow_of(seen, rows=20)
    some, _ = flow_of(seen, rows=3)
    late, decay = flow_of(seen, rows=3, steps=10)
    for name in ("h", "c"):
        assert some[name].last == pytest.approx(whole[name].last, rel=1e-9)
        assert late[name].last == pytest.approx(whole[name].last[:10], rel=1e-9)
    assert decay.reach == 9


def test_resets_divide_rows() -> None:
    x, resets = inputs(1, 10, 3), torch.zeros(1, 10, dtype=torch.bool)
    resets[0, 6] = True
    seen = watched(lambda: scan(Decaying(0.9), x, resets=resets)[0].sum())
    assert seen.call.inputs.lengths.tolist() == [6, 4]
    assert flow_of(seen)[1].reach == 5


def test_weights_and_training_are_left_alone() -> None:
    cell = LSTMCell(4, dropout=0.5, recurrent_dropout=0.3)
    cell.build_for(3)
    cell.train()
    x = torch.randn(4, 9, 3)
    seen = watched(lambda: scan(cell, x)[0].sum())
    gradients = [p.grad.clone() for p in cell.parameters()]
    random = torch.get_rng_state()
    flow_of(seen)
    assert all(torch.equal(p.grad, before) for p, before in zip(cell.parameters(), gradients, strict=True))
    assert torch.equal(torch.get_rng_state(), random)


def test_lags_are_all_of_a_short_row_and_spread_over_a_long_one() -> None:
    assert chosen_lags(5) == [0, 1, 2, 3, 4]
    lags = chosen_lags(1000)
    assert lags[:60] == list(range(60))
    assert lags[-1] == 999
    assert len(lags) <= MOST
    assert lags == sorted(set(lags))


def test_a_decay_that_cannot_be_fitted_says_so() -> None:
    assert fit_decay([]) == Decay(None, None, 0)
    assert fit_decay([0.0, 0.0]) == Decay(None, None, 1)
    assert fit_decay([1.0, 0.5]) == Decay(None, None, 1)
    assert fit_decay([1.0, float("nan"), 1.0, 1.0]) == Decay(None, None, 3)
    assert fit_decay([1.0, 0.0, 0.0, 0.0, 0.0]) == Decay(None, 1, 4)  # a cell without memory


def test_memory_ends_where_it_ends_for_good() -> None:
    assert fit_decay([1.0, 0.001, 0.5, 0.001, 0.001]).memory == 3


def test_half_lives() -> None:
    assert Decay(0.5, None, 9).half_life == pytest.approx(1.0)
    assert Decay(1.2, None, 9).half_life is None
    assert Decay(None, None, 9).half_life is None


def test_a_scan_is_told_of_only_inside() -> None:
    seen: list[Call] = []
    with watching(seen.append):
        scan(Decaying(0.5), torch.zeros(1, 2, 3))
        with watching(None):
            scan(Decaying(0.5), torch.zeros(1, 2, 3))
    scan(Decaying(0.5), torch.zeros(1, 2, 3))
    assert len(seen) == 1


class Counted(NamedTuple):
    """A state of floats, of one number each, and of whole numbers."""

    h: object
    level: object
    count: object


class Counting(Cell):
    """h as in `Decaying`, a mean of it, and the number of steps made."""

    def __init__(self) -> None:
        super().__init__()
        self.state_size, self.output_size = Counted(3, (), ()), 3

    def initial_state(self, batch: int, **kind: Any) -> Counted:
        zeros = super().initial_state(batch, **kind)
        return zeros._replace(count=zeros.count.long())

    def step(self, x: Tensor, state: Counted) -> tuple[Tensor, Counted]:
        h = 0.5 * state.h + x
        return h + state.level[:, None], Counted(h, 0.5 * state.level + h.mean(1), state.count + 1)


class Slowly(torch.nn.Module):
    def __init__(self, cell: Cell) -> None:
        super().__init__()
        self.cell, self.weight = cell, torch.nn.Parameter(torch.zeros(1, dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        return scan(self.cell, x, engine="reference")[0]


def test_a_state_of_single_and_of_whole_numbers() -> None:
    x = inputs(2, 9, 3)
    seen = watched(lambda: scan(Counting(), x, engine="reference")[0][:, -1].sum())
    sample = measure("counting", seen, 8, 1000)
    assert sample is not None
    assert list(sample.flow) == list(sample.states) == ["h", "level"]
    assert sample.flow["level"].last == pytest.approx([0] + [3 * 0.5**lag for lag in range(8)], rel=1e-12)
    layer = Slowly(Counting())
    assert [len(dynamics_of_call(seen.call).largest), len(hidden_states(layer, x[:1].detach())[1].values)] == [9, 1]


class Parity(Cell):
    """A state of whole numbers alone."""

    def __init__(self) -> None:
        super().__init__()
        self.state_size, self.output_size = HiddenState(h=()), 3

    def initial_state(self, batch: int, **kind: Any) -> HiddenState:
        return HiddenState(torch.zeros(batch, dtype=torch.int64))

    def step(self, x: Tensor, state: HiddenState) -> tuple[Tensor, HiddenState]:
        return x * (state.h % 2)[:, None], HiddenState(state.h + 1)


def test_a_state_of_whole_numbers_alone_is_left_out() -> None:
    x = inputs(2, 9, 3)
    monitor = Monitor(torch.nn.Identity(), dynamics=math.inf)
    monitor.begin()
    scan(Parity(), x, engine="reference")[0].sum().backward()
    monitor.before_update()
    sample = monitor.after_update()
    assert sample is not None
    assert sample.scans == sample.dynamics == []


@pytest.mark.parametrize("steps", [3, 5, 20, 24])
@pytest.mark.parametrize("cut", [4, 7, 19])
def test_cuts_stay_where_they_are_when_early_steps_are_left_out(steps: int, cut: int) -> None:
    rows = [torch.randn(length, 2, dtype=torch.float64) for length in (23, 11, 4)]
    cell = LSTMCell(3).double()
    seen = watched(lambda: scan(cell, Ragged.from_rows(rows), gradient=Truncated(cut))[0].values.square().sum())
    (whole, _), (part, decay) = flow_of(seen), flow_of(seen, steps=steps)
    assert decay.reach == min(steps, 23) - 1
    for name in ("h", "c"):
        assert part[name].loss == pytest.approx(whole[name].loss[: decay.reach + 1], rel=1e-9)
