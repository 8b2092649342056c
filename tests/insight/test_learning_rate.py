"""The learning-rate range test: what it reads from curves, that it leaves no trace, and that its suggestion is good."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from rondeau import Ragged, Sequential, layers
from rondeau import optimizers as rates
from rondeau.callbacks import Callback
from rondeau.errors import ArgumentError, NotCompiledError, RondeauError, ShapeError
from rondeau.insight import LearningRates, find_learning_rate
from rondeau.insight.learning_rate import judge
from rondeau.models import Model

RATES = [10 ** (-6 + 7 * i / 99) for i in range(100)]


def curve(fall: float = 0.6, at: float = 1e-2, up: float = 0.5, noise: float = 0.0) -> list[float]:
    """A loss of 1 that falls by `fall` over the two decades before `at` and explodes at `up`."""
    draw = np.random.default_rng(0)
    found = []
    for rate in RATES:
        way = min(max(math.log10(rate / at) / 2 + 1, 0), 1)
        found.append(1 - fall * (3 * way**2 - 2 * way**3) + noise * draw.normal() + max(rate / up - 1, 0) ** 2)
    return found


def test_a_clear_curve_is_read_as_one_would() -> None:
    found = judge(RATES, curve())
    assert found.steepest == pytest.approx(1e-3, rel=0.3)  # half way
    assert found.suggestion is not None
    assert 3e-3 < found.suggestion < 1e-2  # nearly down
    assert found.diverged == pytest.approx(1.1, rel=0.3)
    assert found.ceiling == pytest.approx(found.diverged / 10)
    for rate in (found.suggestion, found.steepest, found.diverged):
        assert f"{rate:.2g}" in found.reason


@pytest.mark.parametrize("noise", [0.02, 0.1])
def test_noise_does_not_move_the_suggestion_far(noise: float) -> None:
    found = judge(RATES, curve(noise=noise))
    assert found.suggestion is not None
    assert 1.5e-3 < found.suggestion < 2e-2


def test_a_fall_that_drowns_in_noise_leaves_the_ceiling() -> None:
    found = judge(RATES, curve(fall=0.01, noise=0.1))
    assert found.steepest is None
    assert found.suggestion == found.ceiling
    assert found.ceiling is not None
    assert 0.02 < found.ceiling < 0.1  # smoothing sees the explosion from 0.5 on a little early
    assert "noise" in found.reason


def test_an_explosion_does_not_spread_to_lower_rates() -> None:
    losses = curve(up=1e9)
    losses[-1] = 1e12
    found = judge(RATES, losses)
    assert found.diverged is None or found.diverged >= RATES[-4]
    losses[-1] = math.inf
    assert judge(RATES, losses).diverged == RATES[-1]
    assert judge(RATES[:-1], losses[:-1], over=True).diverged == RATES[-2]


def test_nothing_learnt_is_said() -> None:
    found = judge(RATES, [1.0] * 100)
    assert (found.suggestion, found.steepest, found.ceiling, found.diverged) == (None, None, None, None)
    assert "higher ones" in found.reason
    found = judge(RATES[:30], [*np.linspace(1, 3, 29).tolist(), math.inf])
    assert found.suggestion is None or found.suggestion < 1e-5
    found = judge(RATES[:2], [math.inf, math.inf])
    assert found.suggestion is None
    assert "lower ones" in found.reason


def test_a_suggestion_is_no_higher_than_the_ceiling() -> None:
    found = judge(RATES, curve(at=0.5, up=0.5))
    assert found.suggestion == found.ceiling


def test_losses_below_zero_do_too() -> None:
    below = judge(RATES, [loss - 50 for loss in curve()])
    assert below.suggestion == judge(RATES, curve()).suggestion


# On models


def data(rows: int = 64, steps: int = 6) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(rows, steps, 2, generator=generator)
    return x, x.sum((1, 2))[:, None]


def model(optimizer: Any = None, **options: Any) -> Any:
    made = Sequential([layers.Input((None, 2)), layers.LSTM(8, **options), layers.Dropout(0.1), layers.Dense(1)])
    made.compile(optimizer or rates.Adam(), "mse", metrics=["mae"], device="cpu")
    return made


def everything(made: Any) -> dict[str, Any]:
    """All that a sweep might change."""
    optimizer = made.optimizer.state_dict()
    flat = {"torch": repr(optimizer)} if "param_groups" in optimizer else dict(optimizer)
    return {
        "weights": {name: value.tolist() for name, value in made.state_dict().items()},
        "gradients": [None if w.grad is None else w.grad.tolist() for w in made.parameters()],
        "optimizer": {name: v.tolist() if isinstance(v, Tensor) else v for name, v in flat.items()},
        "states": {name: state.tolist() for name, state in made.states().items()},
        "random": torch.get_rng_state().tolist(),
        "modes": [module.training for module in made.modules()],
        "metrics": {name: v.tolist() for name, v in made.trainer.objective.state_dict().items()},
        "history": made.history,
        "stop": made.stop_training,
    }


@pytest.mark.parametrize(
    "make",
    [
        lambda: model(),
        lambda: model(rates.SGD(rates.schedules.ExponentialDecay(0.1, 10, 0.9), momentum=0.9)),
        lambda: model(stateful=True),
        lambda: model(rates.AdamW(weight_decay=0.1)),
    ],
)
def test_a_sweep_leaves_no_trace(make: Any) -> None:
    torch.manual_seed(0)
    made = make()
    x, y = data()
    made.fit(x, y, epochs=1, verbose=0, batch_size=32)
    before, optimizer = everything(made), made.optimizer
    found = find_learning_rate(made, x, y, steps=30, batch_size=32)
    assert len(found.losses) >= 20
    assert everything(made) == before
    assert made.optimizer is optimizer
    with pytest.raises(ShapeError):
        find_learning_rate(made, Endless(x, y), steps=30)
    assert everything(made) == before


class Endless:
    """Batches of which a late one is damaged."""

    def __init__(self, x: Tensor, y: Tensor) -> None:
        self.batches = [(x[:32], y[:32]), (x[:32], y[:32]), (x[:32], y[:31])]

    def __iter__(self) -> Iterator[Any]:
        return iter(self.batches)


def test_training_goes_on_bit_for_bit() -> None:
    x, y = data()
    ends = []
    for sweep in (False, True):
        torch.manual_seed(0)
        made = model()
        made.fit(x, y, epochs=2, verbose=0)
        if sweep:
            find_learning_rate(made, x, y, steps=25)
        made.fit(x, y, epochs=2, verbose=0)
        ends.append([weight.tolist() for weight in made.parameters()])
    assert ends[0] == ends[1]


def test_torchs_optimiser_and_its_groups() -> None:
    torch.manual_seed(0)
    made = Sequential([layers.Input((None, 2)), layers.GRU(8), layers.Dense(1)])
    first, *rest = made.parameters()
    torchs = torch.optim.Adam([{"params": [first], "lr": 1e-3}, {"params": rest, "lr": 1e-4}])
    made.compile(torchs, "mse", device="cpu")
    x, y = data()
    made.fit(x, y, epochs=1, verbose=0)
    seen: list[tuple[float, ...]] = []
    step = torchs.step
    torchs.step = lambda *a, **o: (seen.append(tuple(g["lr"] for g in torchs.param_groups)), step(*a, **o))[1]  # type: ignore[method-assign]
    before = everything(made)
    find_learning_rate(made, x, y, steps=20)
    assert everything(made) == before
    assert all(a == pytest.approx(10 * b) for a, b in seen)
    assert seen[0][0] == pytest.approx(1e-6)


def test_an_unbuilt_model_gets_its_weights() -> None:
    made = Sequential([layers.LSTM(4), layers.Dense(1)])
    made.compile(rates.Adam(), "mse", device="cpu")
    x, y = data()
    found = find_learning_rate(made, x, y, steps=20)
    assert found.rates == pytest.approx([1e-6 * 1e7 ** (i / 19) for i in range(len(found.rates))])
    made.fit(x, y, verbose=0)


def loader() -> Any:
    return torch.utils.data.DataLoader(torch.utils.data.TensorDataset(*data()), batch_size=16, shuffle=True)


@pytest.mark.parametrize(
    ("x", "y", "options"),
    [
        (*(part.numpy() for part in data()), {}),
        (Ragged.from_rows([torch.randn(n, 2) for n in (3, 5, 4, 2)]), torch.randn(4, 1), {"batch_size": 2}),
        (loader(), None, {}),
        ([data(), data()], None, {}),
        (*data(), {"sample_weight": torch.ones(64)}),
    ],
)
def test_it_takes_the_data_that_fit_takes(x: Any, y: Any, options: dict[str, Any]) -> None:
    x = iter_again(x) if isinstance(x, list) else x
    found = find_learning_rate(model(), x, y, steps=20, **options)
    assert len(found.rates) == len(found.losses) == len(found.smoothed) > 5


class iter_again:
    """Batches that can be begun again."""

    def __init__(self, batches: list[Any]) -> None:
        self.batches = batches

    def __iter__(self) -> Iterator[Any]:
        return iter(self.batches)


def test_windows() -> None:
    torch.manual_seed(0)
    made = Sequential([layers.Input((None, 2)), layers.LSTM(6, return_sequences=True), layers.Dense(1)])
    made.compile(rates.Adam(), "mse", device="cpu")
    x, _ = data(8, 20)
    found = find_learning_rate(made, x, x.sum(-1, keepdim=True), steps=20, window=5)
    assert len(found.losses) > 5
    assert made.states() == {}


def test_a_loader_of_one_s_own_generator_goes_on_as_before() -> None:
    generator = torch.Generator().manual_seed(3)
    rows = torch.utils.data.TensorDataset(*data())
    own = torch.utils.data.DataLoader(rows, batch_size=16, shuffle=True, generator=generator)
    before = generator.get_state()
    find_learning_rate(model(), own, steps=20)
    assert torch.equal(generator.get_state(), before)


def test_data_that_are_not_finite_leave_no_curve() -> None:
    x, y = data()
    made = model()
    found = find_learning_rate(made, torch.full_like(x, torch.nan), y, steps=20)
    assert (found.losses, found.suggestion) == ([], None)
    assert "before any update" in found.reason
    assert all(bool(torch.isfinite(weight).all()) for weight in made.parameters())


# A plain torch module


def test_a_closure() -> None:
    torch.manual_seed(0)
    module = torch.nn.Sequential(torch.nn.Linear(3, 8), torch.nn.BatchNorm1d(8), torch.nn.Linear(8, 1)).eval()
    optimizer = torch.optim.SGD(module.parameters(), 0.5, momentum=0.9)
    x = torch.randn(32, 3)

    def closure() -> Tensor:
        assert module.training
        optimizer.zero_grad()
        loss = (module(x) - x.sum(1, keepdim=True)).square().mean() + 0 * torch.rand(())
        loss.backward()
        return loss

    module[1].weight.grad = torch.full((8,), 3.0)
    before = (
        {k: v.tolist() for k, v in module.state_dict().items()},
        repr(optimizer.state_dict()),
        torch.get_rng_state(),
    )
    found = find_learning_rate(module, optimizer=optimizer, closure=closure, high=100.0)
    assert found.suggestion is not None
    assert 1e-3 < found.suggestion < 1
    assert found.losses[0] == pytest.approx(float(closure_of(module, x)), rel=0.5)
    after = (
        {k: v.tolist() for k, v in module.state_dict().items()},
        repr(optimizer.state_dict()),
        torch.get_rng_state(),
    )
    assert after[:2] == before[:2]
    assert torch.equal(after[2], before[2])
    assert not module.training
    assert module[1].weight.grad.tolist() == [3.0] * 8
    assert module[0].weight.grad is None


def closure_of(module: Any, x: Tensor) -> Tensor:
    with torch.no_grad():
        return (module(x) - x.sum(1, keepdim=True)).square().mean()


# Errors


@pytest.mark.parametrize(
    ("options", "kind", "words"),
    [
        ({"low": 0}, ArgumentError, "0 < low < high"),
        ({"low": 1, "high": 1}, ArgumentError, "low=1, high=1"),
        ({"high": math.inf}, ArgumentError, "0 < low < high"),
        ({"steps": 10}, ArgumentError, "at least 20"),
        ({"epochs": 3}, ArgumentError, "batch_size"),
        ({"closure": float}, ArgumentError, "plain torch"),
        ({"x": iter([data()]), "y": None}, ArgumentError, "only once"),
    ],
)
def test_errors(options: dict[str, Any], kind: type[RondeauError], words: str) -> None:
    x, y = data()
    with pytest.raises(kind) as error:
        find_learning_rate(model(), **{"x": x, "y": y, **options})
    assert words in str(error.value)


def test_errors_of_models() -> None:
    x, y = data()
    with pytest.raises(NotCompiledError):
        find_learning_rate(Sequential([layers.Dense(1)]), x, y)
    module = torch.nn.Linear(2, 1)
    optimizer = torch.optim.SGD(module.parameters(), 0.1)
    with pytest.raises(ArgumentError, match="closure reads the data"):
        find_learning_rate(module, x, y, optimizer=optimizer, closure=lambda: 1.0)
    with pytest.raises(ArgumentError, match="a torch optimiser, and a function"):
        find_learning_rate(module)
    with pytest.raises(ArgumentError, match="return loss"):
        find_learning_rate(module, optimizer=optimizer, closure=lambda: None)
    with pytest.raises(ArgumentError, match=r"torch\.nn\.Module"):
        find_learning_rate(len)


# Whether the suggestion is any good


class Losses(Callback):
    """Every batch's loss; a training that falls apart ends with infinity."""

    def __init__(self) -> None:
        self.found: list[float] = []

    def on_before_update(self, batch: int, logs: dict[str, Any]) -> None:
        self.found.append(logs["loss"])

    def on_numerics_error(self, error: Any, logs: dict[str, Any]) -> bool:
        self.found.append(math.inf)
        self.model.stop_training = True
        return True


def problem(seed: int) -> tuple[Any, Tensor, Tensor]:
    """A model on a task, both drawn; `make(rate)` gives it with the same weights each time."""
    draw = np.random.default_rng(seed)
    torch.manual_seed(seed)
    kind = [layers.LSTM, layers.GRU, layers.SimpleRNN][draw.integers(3)]
    optimizer = [rates.Adam, rates.RMSprop, rates.SGD][draw.integers(3)]
    units, steps, features = int(draw.choice([8, 16, 24])), int(draw.choice([4, 8, 12])), int(draw.integers(1, 4))
    x = torch.randn(128, steps, features) * float(draw.choice([0.3, 1, 3]))
    classes = bool(draw.integers(2))
    y = (x.sum((1, 2)) > 0).long() if classes else x.mean(1)[:, :1] * float(draw.choice([0.5, 2]))

    def make(rate: float | None = None) -> Model:
        torch.manual_seed(seed)
        last = layers.Dense(2, activation="softmax") if classes else layers.Dense(1)
        made = Sequential([layers.Input((None, features)), kind(units), last])
        loss = "sparse_categorical_crossentropy" if classes else "mse"
        made.compile(optimizer() if rate is None else optimizer(rate), loss, device="cpu")
        return made

    return make, x, y


def end(make: Any, x: Tensor, y: Tensor, rate: float) -> float:
    """The mean loss of the last epoch of 100 updates."""
    losses = Losses()
    torch.manual_seed(1)
    make(rate).fit(x, y, batch_size=16, epochs=13, verbose=0, callbacks=losses)
    mean = float(np.mean(losses.found[-8:]))
    return mean if math.isfinite(mean) else math.inf


def better(seed: int) -> bool:
    make, x, y = problem(seed)
    found: LearningRates = find_learning_rate(make(), x, y, batch_size=16)
    if found.suggestion is None:
        return False
    here, above, below = (end(make, x, y, found.suggestion * factor) for factor in (1, 30, 1 / 30))
    return here < above and here < below


def test_training_at_the_suggestion_beats_thirty_times_more_and_less() -> None:
    assert sum(better(seed) for seed in range(2)) == 2


@pytest.mark.slow
def test_it_does_on_twenty_problems() -> None:
    won = [better(seed) for seed in range(100, 120)]
    assert sum(won) >= 18
