"""The monitor inside a training loop: which steps, which names, and that training does not notice."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import rondeau
from rondeau import layers
from rondeau.errors import ArgumentError
from rondeau.insight import Monitor, watch
from rondeau.insight.records import Decay, Flow, Sample, ScanSample, sample_from_json, to_json


class Net(nn.Module):
    """A recurrent module of torch.nn or of Rondeau, and a linear read-out of its last step."""

    def __init__(self, core: nn.Module, units: int) -> None:
        super().__init__()
        self.core, self.head = core, nn.Linear(units, 1)

    def forward(self, x: Tensor) -> Tensor:
        outputs = self.core(x)
        return self.head((outputs[0] if isinstance(outputs, tuple) else outputs)[:, -1])


def train(model: nn.Module, steps: int, every: int | None, **options: Any) -> list[Sample]:
    """Some steps of Adam on noise, watched if `every` is given."""
    generator = torch.Generator().manual_seed(1)
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    watched = None if every is None else watch(model, optimizer, every=every, **options)
    for _ in range(steps):
        x, y = torch.randn(6, 12, 3, generator=generator), torch.randn(6, 1, generator=generator)
        optimizer.zero_grad()
        (model(x) - y).square().mean().backward()
        optimizer.step()
    if watched is None:
        return []
    watched.stop()
    return watched.samples


def sample_of(model: nn.Module, x: Any) -> Sample:
    """One step, sampled; the loss is the mean square of everything that comes out."""
    monitor = Monitor(model)
    monitor.begin()
    outputs = model(x)
    while isinstance(outputs, (tuple, list)):
        outputs = outputs[0]
    values = outputs.values if isinstance(outputs, rondeau.Ragged) else outputs
    values.square().mean().backward()
    monitor.before_update()
    sample = monitor.after_update()
    assert sample is not None
    return sample


def test_which_steps_are_sampled() -> None:
    model = Net(nn.GRU(3, 4, batch_first=True), 4)
    samples = train(model, 25, every=10)
    assert [sample.step for sample in samples] == [0, 1, 2, 4, 8, 10, 20]
    assert samples[0].rows == 6
    assert samples[0].lengths == (12, 12, 12)
    assert samples[0].rate == 1e-2
    assert samples[0].seconds > 0


@pytest.mark.parametrize("kind", [layers.LSTM, layers.GRU, layers.SimpleRNN])
def test_training_is_the_same_bit_for_bit(kind: Any) -> None:
    torch.manual_seed(0)
    model = Net(kind(5, return_sequences=True, dropout=0.2), 5)
    model(torch.zeros(1, 1, 3))
    other = copy.deepcopy(model)
    torch.manual_seed(3)
    train(model, 6, every=None)
    torch.manual_seed(3)
    assert len(train(other, 6, every=2)) == 4
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), other.parameters(), strict=True))


def test_modules_of_torchs_train_the_same_within_rounding() -> None:
    torch.manual_seed(0)
    model = Net(nn.LSTM(3, 5, batch_first=True).double(), 5).double()
    other = copy.deepcopy(model)
    x = torch.randn(6, 12, 3, dtype=torch.float64)
    for net, every in ((model, None), (other, 1)):
        optimizer = torch.optim.SGD(net.parameters(), 0.1)
        watched = None if every is None else watch(net, optimizer, every=every)
        for _ in range(5):
            optimizer.zero_grad()
            net(x).square().mean().backward()
            optimizer.step()
        assert watched is None or len(watched.samples) == 5
    assert type(other.core) is nn.LSTM  # put back after each sampled step
    for a, b in zip(model.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)


def test_names_of_torchs_layers_and_directions() -> None:
    model = nn.ModuleDict({"rnn": nn.LSTM(3, 4, 2, bidirectional=True, batch_first=True)})
    monitor = Monitor(model)
    monitor.begin()
    model["rnn"](torch.randn(2, 5, 3))[0].sum().backward()
    monitor.before_update()
    sample = monitor.after_update()
    assert sample is not None
    assert [(s.name, s.backward) for s in sample.scans] == [
        ("rnn.l0", False),
        ("rnn.l0_reverse", True),
        ("rnn.l1", False),
        ("rnn.l1_reverse", True),
    ]


def test_names_where_the_module_is_the_model() -> None:
    model = nn.GRU(3, 4, 2, batch_first=True)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    watched = watch(model, optimizer, every=1)
    for _ in range(2):
        model(torch.randn(2, 5, 3))[0].sum().backward()
        optimizer.step()
    assert [[scan.name for scan in sample.scans] for sample in watched.samples] == [["l0", "l1"]] * 2
    watched.stop()
    assert type(model) is nn.GRU


def test_names_and_directions_of_layers() -> None:
    model = rondeau.Sequential(
        [
            layers.Embedding(9, 4, mask_zero=True),
            layers.Bidirectional(layers.LSTM(4, return_sequences=True), name="both"),
            layers.RNN([layers.GRUCell(3), layers.LSTMCell(3)], name="stack"),
        ]
    )
    sample = sample_of(model, torch.tensor([[1, 2, 3, 0], [4, 5, 0, 0]]))
    names = [(s.name, s.cell, s.backward) for s in sample.scans]
    forward, backward = (f"both.{way}_layer" for way in ("forward", "backward"))
    assert [name for name, _, _ in names] == [forward, backward, "stack"]
    assert [cell for _, cell, _ in names] == ["LSTMCell", "LSTMCell", "StackedRNNCells"]
    assert [back for _, _, back in names] == [False, True, False]
    assert sample.lengths == (2, 2, 3)
    assert sample.rows == 2
    assert set(sample.scans[0].flow) == {"h", "c"}
    assert set(sample.scans[2].flow) == {"0.h", "1.h", "1.c"}
    assert set(sample.scans[0].gates) == {"forget_gate", "input_gate", "candidate", "output_gate"}
    assert sample.scans[0].time_constants is not None


def test_a_layer_called_twice() -> None:
    layer = layers.GRU(3, return_sequences=True)

    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.gru = layer

        def forward(self, x: Tensor) -> Tensor:
            return self.gru(self.gru(x))

    assert [s.name for s in sample_of(Twice(), torch.randn(2, 4, 3)).scans] == ["gru", "gru (call 2)"]


def test_a_layer_no_gradient_reaches_is_left_out() -> None:
    class Side(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.used, self.unused = layers.GRU(3), layers.LSTM(3)

        def forward(self, x: Tensor) -> Tensor:
            self.unused(x)
            return self.used(x)

    assert [s.name for s in sample_of(Side(), torch.randn(2, 4, 3)).scans] == ["used"]


def test_what_cannot_be_measured_is_named() -> None:
    class Mixed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.step, self.low = nn.GRUCell(3, 3), nn.GRU(3, 3, batch_first=True, dtype=torch.bfloat16)
            self.never_called = nn.LSTMCell(3, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.low(torch.stack([self.step(x[:, t]) for t in range(4)], 1).bfloat16())[0]

    sample = sample_of(Mixed(), torch.randn(2, 4, 3))
    assert sample.scans == []
    assert list(sample.left) == ["step", "low"]
    assert "one step at a time" in sample.left["step"]
    assert "bfloat16" in sample.left["low"]
    assert sample_of(nn.GRU(3, 4), torch.randn(5, 2, 3)).left == {}
    assert sample_of(rondeau.nn.GRU(3, 4), torch.randn(5, 2, 3)).left == {}


def test_how_far_back_a_dependency_can_be_learnt() -> None:
    flow = {"h": Flow([0], [1.0], [1.0])}
    for memory, cut, expected in ((8, None, 7), (None, None, 99), (None, 20, 19), (8, 20, 7)):
        assert ScanSample("gru", "GRUCell", False, cut, flow, Decay(0.5, memory, 99)).horizon == expected


def test_a_model_without_recurrence_has_no_scans() -> None:
    sample = sample_of(nn.Linear(3, 2), torch.randn(2, 3))
    assert sample.scans == []
    assert sample.rows == 0
    assert sample.lengths == (0, 0, 0)


def test_where_gradients_are_accumulated_the_last_call_counts() -> None:
    model = Net(layers.GRU(3, return_sequences=True), 3)
    model(torch.zeros(1, 1, 3))
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    watched = watch(model, optimizer)
    for steps in (5, 9):
        model(torch.randn(2, steps, 3)).sum().backward()
    optimizer.step()
    (sample,) = watched.samples
    assert sample.lengths == (9, 9, 9)
    assert len(sample.scans) == 1


def test_evaluation_in_between_is_not_measured() -> None:
    model = Net(layers.GRU(3, return_sequences=True), 3)
    model(torch.zeros(1, 1, 3))
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    watched = watch(model, optimizer)
    model(torch.randn(2, 5, 3)).sum().backward()
    with torch.no_grad():
        model.eval()(torch.randn(2, 7, 3))
    optimizer.step()
    assert watched.samples[0].lengths == (5, 5, 5)
    watched.stop()
    model.train()(torch.randn(2, 5, 3)).sum().backward()
    optimizer.step()
    assert len(watched.samples) == 1


@pytest.mark.parametrize("name", ["every", "rows", "steps"])
@pytest.mark.parametrize("value", [0, -1, 1.5, True])
def test_numbers_are_checked(name: str, value: Any) -> None:
    with pytest.raises(ArgumentError, match=name):
        Monitor(nn.Linear(1, 1), **{name: value})


@pytest.mark.parametrize("value", [-0.1, "often", True, float("nan")])
def test_the_share_of_dynamics_is_checked(value: Any) -> None:
    with pytest.raises(ArgumentError, match="dynamics"):
        Monitor(nn.Linear(1, 1), dynamics=value)


@pytest.mark.parametrize(("share", "expected"), [(0.0, 0), (1e-9, 0), (float("inf"), 2)])
def test_dynamics_take_the_share_of_time_they_may(share: float, expected: int) -> None:
    samples = train(Net(nn.GRU(3, 4, batch_first=True), 4), 2, every=1, dynamics=share)
    found = [sample for sample in samples if sample.dynamics]
    assert len(found) == expected
    for sample in found:
        (dynamics,) = sample.dynamics
        assert dynamics.name == "core"
        assert dynamics.radius is not None
        assert len(dynamics.largest) == 12
        assert len(dynamics.exponents) == 4


def test_updates_are_measured() -> None:
    torch.manual_seed(0)
    model = Net(layers.GRU(4, return_sequences=True), 4)
    model(torch.zeros(1, 1, 3))
    before = {name: float(p.detach().norm()) for name, p in model.named_parameters()}
    (sample, *_) = train(model, 1, every=1)
    assert {weight.name: weight.weight for weight in sample.weights} == pytest.approx(before)
    assert all(weight.update and weight.gradient for weight in sample.weights if "head" in weight.name)
    assert sample.gradient == pytest.approx(sum(weight.gradient**2 for weight in sample.weights) ** 0.5)
    assert sample.clipped is False


def test_watch_wants_torchs_module_and_optimiser() -> None:
    with pytest.raises(ArgumentError, match=r"torch optimiser.*Insight"):
        watch(nn.Linear(1, 1), rondeau.optimizers.Adam())  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="model"):
        watch("model", None)  # type: ignore[arg-type]


def test_samples_survive_json() -> None:
    sample = sample_of(layers.LSTM(3), torch.randn(2, 4, 3))
    assert sample_from_json(to_json(sample)) == sample
