"""Optimisers apart from their rules: what they are built over, their state, their configuration, and every error."""

from __future__ import annotations

import doctest
import importlib
import json
import math
import re
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch

from rondeau.config import deserialize, serialize
from rondeau.errors import ArgumentError, CheckpointError, NotBuiltError, RondeauError
from rondeau.training import optimizers
from rondeau.training.optimizers import OBJECTS, SGD, Adam, AdamW, Ftrl, Lion, Nadam, RMSprop, get, schedules

VARIANTS: list[tuple[str, dict[str, Any]]] = [
    ("SGD", {}),
    ("SGD", {"momentum": 0.9, "nesterov": True, "clipnorm": 0.5}),
    ("RMSprop", {"momentum": 0.5, "centered": True}),
    ("Adam", {"amsgrad": True, "global_clipnorm": 0.5}),
    ("AdamW", {"learning_rate": schedules.CosineDecay(0.01, 15, warmup_target=0.1, warmup_steps=7)}),
    ("Adagrad", {"clipvalue": 0.1}),
    ("Adadelta", {"learning_rate": 1.0}),
    ("Adamax", {}),
    ("Nadam", {"learning_rate": 0.1 + 0.2}),
    ("Lion", {"weight_decay": 0.1}),
    ("Ftrl", {"l1_regularization_strength": 0.1}),
]


def _parameters() -> dict[str, torch.nn.Parameter]:
    generator = torch.Generator().manual_seed(0)
    shapes = {"kernel": (7, 5), "bias": (5,), "scale": ()}
    return {name: torch.nn.Parameter(torch.randn(shape, generator=generator)) for name, shape in shapes.items()}


def _built(name: str = "Adam", **options: Any) -> tuple[Any, dict[str, torch.nn.Parameter]]:
    optimizer, parameters = getattr(optimizers, name)(**options), _parameters()
    optimizer.build(parameters.items())
    return optimizer, parameters


def _train(optimizer: Any, parameters: dict[str, torch.nn.Parameter], steps: range) -> None:
    for step in steps:
        generator = torch.Generator().manual_seed(step)
        for parameter in parameters.values():
            parameter.grad = torch.randn(parameter.shape, generator=generator)
        optimizer.step()


def _fill(parameters: dict[str, torch.nn.Parameter]) -> None:
    for parameter in parameters.values():
        parameter.grad = torch.ones_like(parameter)


@pytest.mark.parametrize(("name", "options"), VARIANTS, ids=[name for name, _ in VARIANTS])
def test_resumed_run_has_the_same_bits(name: str, options: dict[str, Any]) -> None:
    whole, right = _built(name, **options)
    _train(whole, right, range(20))

    first, begun = _built(name, **options)
    _train(first, begun, range(11))
    saved = safetensors.torch.load(safetensors.torch.save(first.state_dict()))
    described = json.loads(json.dumps(serialize(first)))
    resumed = deserialize(described, OBJECTS)
    resumed.build(begun.items())
    resumed.load_state_dict(saved)
    assert resumed.iterations == 11
    assert resumed.learning_rate == first.learning_rate
    _train(resumed, begun, range(11, 20))

    assert all(torch.equal(begun[key], right[key]) for key in right)
    final, wanted = resumed.state_dict(), whole.state_dict()
    assert final.keys() == wanted.keys()
    assert all(torch.equal(final[key], wanted[key]) for key in wanted)


@pytest.mark.parametrize(("name", "options"), VARIANTS, ids=[name for name, _ in VARIANTS])
def test_same_run_twice_has_the_same_bits(name: str, options: dict[str, Any]) -> None:
    runs = []
    for _ in range(2):
        optimizer, parameters = _built(name, **options)
        _train(optimizer, parameters, range(5))
        runs.append(parameters)
    assert all(torch.equal(runs[0][key], runs[1][key]) for key in runs[0])
    assert not any(torch.equal(runs[0][key], value) for key, value in _parameters().items())


def test_state_is_flat_and_a_copy() -> None:
    optimizer, parameters = _built("Adam", learning_rate=0.1 + 0.2)
    _train(optimizer, parameters, range(1))
    state = optimizer.state_dict()
    names = {f"{name}/{slot}" for name in parameters for slot in ("momentum", "velocity")}
    assert state.keys() == names | {"iterations", "learning_rate"}
    assert state["learning_rate"].dtype is torch.float64
    assert state["learning_rate"].item() == 0.1 + 0.2
    assert (state["iterations"].dtype, state["iterations"].shape) == (torch.int64, ())
    before = state["kernel/momentum"].clone()
    _train(optimizer, parameters, range(1, 2))
    assert torch.equal(state["kernel/momentum"], before)


def test_state_of_a_strided_parameter_is_contiguous() -> None:
    optimizer = Adam()
    optimizer.build([("kernel", torch.nn.Parameter(torch.ones(3, 5).t()))])
    assert optimizer.state_dict()["kernel/momentum"].is_contiguous()


def test_learning_rate_set_by_a_callback() -> None:
    optimizer, parameters = _built("SGD", learning_rate=0.5)
    _fill(parameters)
    optimizer.learning_rate = np.float32(0.25)
    assert type(optimizer.learning_rate) is float
    before = parameters["bias"].detach().clone()
    optimizer.step()
    assert torch.equal(parameters["bias"], before - 0.25)
    assert optimizer.get_config()["learning_rate"] == 0.25
    optimizer.learning_rate = schedules.InverseTimeDecay(1.0, 1, 1.0)
    assert optimizer.learning_rate == 0.5
    with pytest.raises(ArgumentError, match="follows InverseTimeDecay"):
        optimizer.learning_rate = 0.1


def test_loading_brings_the_learning_rate_back() -> None:
    """To the last bit, unless a schedule gives it."""
    source, _ = _built("SGD", learning_rate=0.5)
    source.learning_rate = 0.1 + 0.2
    plain, _ = _built("SGD", learning_rate=0.5)
    plain.load_state_dict(source.state_dict())
    assert plain.learning_rate == 0.1 + 0.2
    scheduled, _ = _built("SGD", learning_rate=schedules.InverseTimeDecay(1.0, 1, 1.0))
    scheduled.load_state_dict(source.state_dict() | {"iterations": torch.tensor(3)})
    assert scheduled.learning_rate == 0.25


def test_frozen_and_unreached_parameters_stay() -> None:
    optimizer, parameters = _built("AdamW", weight_decay=0.5)
    _fill(parameters)
    parameters["bias"].requires_grad_(False)
    parameters["scale"].grad = None
    optimizer.step()
    original = _parameters()
    assert torch.equal(parameters["bias"], original["bias"])
    assert torch.equal(parameters["scale"], original["scale"])
    assert not torch.equal(parameters["kernel"], original["kernel"])
    state = optimizer.state_dict()
    assert state["bias/momentum"].count_nonzero() == 0
    assert state["kernel/momentum"].count_nonzero() == 35
    parameters["bias"].requires_grad_(True)
    optimizer.step()
    assert not torch.equal(parameters["bias"], original["bias"])


def test_nothing_trainable_is_no_step() -> None:
    optimizer, parameters = _built()
    for parameter in parameters.values():
        parameter.requires_grad_(False)
    optimizer.step()
    assert optimizer.iterations == 0


@pytest.mark.parametrize("limit", ["clipnorm", "clipvalue", "global_clipnorm"])
def test_clipping_leaves_the_gradients_as_they_were(limit: str) -> None:
    optimizer, parameters = _built("SGD", **{limit: 0.25})
    _fill(parameters)
    optimizer.step()
    assert all(torch.equal(parameter.grad, torch.ones_like(parameter)) for parameter in parameters.values())


def test_clipping_by_hand() -> None:
    gradients = [torch.tensor([3.0, 4.0]), torch.tensor([12.0])]
    clipping = importlib.import_module("rondeau.training.optimizers.clipping")
    each = clipping.clip_each_norm(gradients, 10.0)
    assert torch.equal(each[0], gradients[0])
    assert torch.equal(each[1], torch.tensor([10.0]))
    together = clipping.clip_global_norm(gradients, 6.5)  # the norm is 13
    assert torch.equal(together[0], torch.tensor([1.5, 2.0]))
    assert torch.equal(together[1], torch.tensor([6.0]))
    assert torch.equal(clipping.clip_global_norm([torch.zeros(2)], 1.0)[0], torch.zeros(2))
    assert torch.equal(clipping.clip_value(gradients, 3.5)[0], torch.tensor([3.0, 3.5]))
    assert torch.equal(clipping.clip_value([-gradients[0]], 3.5)[0], torch.tensor([-3.0, -3.5]))


def test_broken_gradient_shows() -> None:
    optimizer, parameters = _built("SGD", global_clipnorm=1.0)
    _fill(parameters)
    parameters["scale"].grad.fill_(math.inf)
    optimizer.step()
    assert all(parameter.isnan().all() for parameter in parameters.values())


def test_slots_follow_a_moved_parameter() -> None:
    optimizer, parameters = _built("Adam")
    _train(optimizer, parameters, range(2))
    before = optimizer.state_dict()["kernel/momentum"]
    for parameter in parameters.values():
        parameter.grad = None
        parameter.data = parameter.data.double()
    after = optimizer.state_dict()["kernel/momentum"]
    assert after.dtype is torch.float64
    assert torch.equal(after, before.double())
    for parameter in parameters.values():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    assert optimizer.iterations == 3


def test_zero_grad() -> None:
    optimizer, parameters = _built()
    _fill(parameters)
    optimizer.zero_grad()
    assert all(parameter.grad is None for parameter in parameters.values())


def test_adam_in_bfloat16_moves_by_the_rate() -> None:
    """Bias corrections in bfloat16 would be zero: it has no number between 0.996 and 1."""
    parameter = torch.nn.Parameter(torch.zeros(4, dtype=torch.bfloat16))
    optimizer = Adam(learning_rate=0.125)
    optimizer.build([("weight", parameter)])
    parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    torch.testing.assert_close(parameter, torch.full_like(parameter, -0.125), rtol=2 * 2**-8, atol=0)


def test_centred_rmsprop_survives_constant_gradients() -> None:
    optimizer, parameters = _built("RMSprop", centered=True)
    for _ in range(500):
        for parameter in parameters.values():
            parameter.grad = torch.linspace(0.5, 10, parameter.numel()).reshape(parameter.shape)
        optimizer.step()
    assert all(parameter.isfinite().all() for parameter in parameters.values())


def test_ftrl_from_nothing_is_zero_where_there_was_no_gradient() -> None:
    optimizer = Ftrl(initial_accumulator_value=0.0)
    parameter = torch.nn.Parameter(torch.ones(2))
    optimizer.build([("weight", parameter)])
    parameter.grad = torch.tensor([0.0, 1.0])
    optimizer.step()
    assert parameter[0].item() == 0
    assert parameter[1].isfinite()


def test_nadam_steps_backwards_after_loading_an_earlier_state() -> None:
    """The product of momenta is made again, not left from the later step."""
    optimizer, parameters = _built("Nadam")
    early = optimizer.state_dict()
    _train(optimizer, parameters, range(5))
    for parameter, value in zip(parameters.values(), _parameters().values(), strict=True):
        parameter.data.copy_(value)
    optimizer.load_state_dict(early)
    _train(optimizer, parameters, range(5))
    _, right = fresh = _built("Nadam")
    _train(*fresh, range(5))
    assert all(torch.equal(parameters[key], right[key]) for key in right)


class Halving(optimizers.Optimizer):
    """A user's own rule, without slots."""

    def slots(self) -> dict[str, float]:
        return {}

    def update(self, parameters: Any, gradients: Any, slots: Any, rate: float, step: int) -> None:
        torch._foreach_mul_(parameters, 0.5)


def test_own_rule() -> None:
    optimizer, parameters = Halving(0.1), _parameters()
    optimizer.build(parameters.items())
    _fill(parameters)
    optimizer.step()
    assert torch.equal(parameters["kernel"], _parameters()["kernel"] / 2)
    assert optimizer.state_dict().keys() == {"iterations", "learning_rate"}


# --- configuration and get


def test_config_keeps_the_excluded_names_and_the_schedule() -> None:
    rate = schedules.PiecewiseConstantDecay([2], [0.5, 0.25])
    optimizer = AdamW(rate, weight_decay=0.1, clipnorm=1.0)
    optimizer.exclude_from_weight_decay(["bias"])
    again = deserialize(json.loads(json.dumps(serialize(optimizer))), OBJECTS)
    assert type(again) is AdamW
    assert again.get_config() == optimizer.get_config()
    assert (again.weight_decay, again.clipnorm, again.learning_rate) == (0.1, 1.0, 0.5)
    again.build(_parameters().items())
    plain, spared = again._parameters[0].detach().clone(), again._parameters[1].detach().clone()
    for parameter in again._parameters:
        parameter.grad = torch.zeros_like(parameter)
    again.step()
    assert torch.equal(again._parameters[1], spared)
    assert not torch.equal(again._parameters[0], plain)


def test_get() -> None:
    assert type(get("adam")) is Adam
    assert type(get("RMSprop")) is RMSprop
    optimizer = Lion()
    assert get(optimizer) is optimizer
    assert type(get(serialize(Nadam(beta_1=0.5)))) is Nadam
    theirs = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=0.1)
    assert get(theirs) is theirs


def test_get_knows_every_class() -> None:
    names = ["SGD", "RMSprop", "Adam", "AdamW", "Adagrad", "Adadelta", "Adamax", "Nadam", "Lion", "Ftrl"]
    assert [type(get(name.lower())).__name__ for name in names] == names
    assert all(get(name).name == name.lower() for name in names)


@pytest.mark.parametrize("module", ["base", "schedules", ""])
def test_examples_in_docstrings(module: str) -> None:
    name = f"rondeau.training.optimizers.{module}".rstrip(".")
    failed, tried = doctest.testmod(importlib.import_module(name), extraglobs={"torch": torch, "SGD": SGD})
    assert tried
    assert not failed


# --- errors


def _lazy() -> Any:
    return torch.nn.LazyLinear(3).named_parameters()


def _twice() -> Any:
    parameter = torch.nn.Parameter(torch.ones(1))
    return [("a", parameter), ("b", parameter)]


@pytest.mark.parametrize(
    ("pairs", "error", "words"),
    [
        (_lazy, NotBuiltError, "'weight'.*call the model once.*Input layer"),
        (_twice, ArgumentError, "'b' and 'a' are the same"),
        (lambda: [("a", torch.nn.Parameter(torch.ones(1)))] * 2, ArgumentError, "two parameters are called 'a'"),
        (lambda: torch.nn.Linear(2, 2).parameters(), ArgumentError, "named_parameters"),
        (lambda: [("a", torch.ones(1))], ArgumentError, "'a' is not a parameter.*got Tensor"),
    ],
)
def test_build_errors(pairs: Any, error: type[RondeauError], words: str) -> None:
    optimizer = Adam()
    with pytest.raises(error, match=words):
        optimizer.build(pairs())
    assert not optimizer.built


def test_building_twice() -> None:
    optimizer, parameters = _built()
    _train(optimizer, parameters, range(1))
    optimizer.build(parameters.items())
    assert optimizer.state_dict()["kernel/momentum"].count_nonzero()
    for others in (_parameters(), {"kernel": parameters["kernel"]}, {f"x{k}": v for k, v in parameters.items()}):
        with pytest.raises(ArgumentError, match="other parameters"):
            optimizer.build(others.items())


@pytest.mark.parametrize("action", ["step", "zero_grad", "state_dict", "load_state_dict"])
def test_before_build(action: str) -> None:
    with pytest.raises(NotBuiltError, match=rf"Adam\.{action} was called before build.*named_parameters"):
        getattr(Adam(), action)(*([{}] if action == "load_state_dict" else []))


def test_step_without_gradients() -> None:
    optimizer, _ = _built()
    with pytest.raises(ArgumentError, match=r"none of the 3 trainable.*backward"):
        optimizer.step()


def test_sparse_gradient() -> None:
    layer = torch.nn.Embedding(4, 2, sparse=True)
    optimizer = Adam()
    optimizer.build(layer.named_parameters())
    layer(torch.tensor([1])).sum().backward()
    with pytest.raises(ArgumentError, match=r"'weight' is sparse.*sparse=False"):
        optimizer.step()


def test_ftrl_at_a_zero_rate() -> None:
    optimizer, parameters = _built(
        "Ftrl", learning_rate=schedules.CosineDecay(0.0, 5, warmup_target=0.1, warmup_steps=2)
    )
    _fill(parameters)
    with pytest.raises(ArgumentError, match=r"Ftrl, step 1"):
        optimizer.step()
    assert all(torch.equal(parameters[key], value) for key, value in _parameters().items())


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Adam(clipnorm=1.0, clipvalue=1.0), "one way only.*: got clipnorm and clipvalue"),
        (lambda: Adam(clipvalue=1.0, global_clipnorm=1.0), "one way only"),
        (lambda: Adam(clipnorm=0.0), "clipnorm is not positive.*leave clipnorm out"),
        (lambda: Adam(clipvalue=-1.0), "clipvalue is not positive"),
        (lambda: Adam(global_clipnorm="1"), "global_clipnorm is not a number"),
        (lambda: Adam(learning_rate=-0.1), "learning_rate is negative"),
        (lambda: Adam(learning_rate=math.nan), "learning_rate is not finite"),
        (lambda: Adam(learning_rate="0.1"), "learning_rate is not a number"),
        (lambda: Adam(learning_rate=True), "learning_rate is not a number"),
        (lambda: Adam(learning_rate=lambda step: 0.1), "LearningRateSchedule"),
        (lambda: Adam(weight_decay=-1.0), "weight_decay is negative"),
        (lambda: Adam(beta_1=1.0), "beta_1 is out of range"),
        (lambda: Adam(beta_2=-0.1), "beta_2 is out of range"),
        (lambda: Adam(epsilon=-1.0), "epsilon is negative"),
        (lambda: AdamW(weight_decay=None), "AdamW needs its weight_decay.*use Adam"),
        (lambda: SGD(momentum=1.5), "momentum is out of range"),
        (lambda: RMSprop(rho=1.0), "rho is out of range"),
        (lambda: Lion(beta_1=0.0), "beta_1 is out of range"),
        (lambda: Ftrl(learning_rate_power=0.5), "learning_rate_power is positive"),
        (lambda: Ftrl(l1_regularization_strength=-1.0), "l1_regularization_strength is negative"),
        (lambda: Ftrl(l2_regularization_strength=-1.0), "l2_regularization_strength is negative"),
        (lambda: Ftrl(l2_shrinkage_regularization_strength=-1.0), "l2_shrinkage_regularization_strength is negative"),
        (lambda: Ftrl(initial_accumulator_value=-1.0), "initial_accumulator_value is negative"),
        (lambda: Adam(use_ema=True), "'use_ema'.*average of the weights"),
        (lambda: Adam(gradient_accumulation_steps=4), "backward on several batches"),
        (lambda: Adam(loss_scale_factor=2.0), "no loss scaling"),
        (lambda: SGD(lr=0.1), "write learning_rate"),
        (lambda: SGD(decay=0.1), "InverseTimeDecay"),
        (lambda: SGD().exclude_from_weight_decay("bias"), "names is a string"),
        (lambda: schedules.ExponentialDecay(0.1, 0, 0.9), "decay_steps is not positive"),
        (lambda: schedules.InverseTimeDecay(0.1, -1, 0.9), "decay_steps is not positive"),
        (lambda: schedules.PolynomialDecay(0.1, 0), "decay_steps is not positive"),
        (lambda: schedules.CosineDecay(0.1, 0), "decay_steps is not positive"),
        (lambda: schedules.CosineDecay("0.1", 5), "initial_learning_rate is not a number"),
        (lambda: schedules.PiecewiseConstantDecay([1, 2], [0.1, 0.2]), "expected 3 values for 2 boundaries, got 2"),
        (lambda: schedules.PiecewiseConstantDecay([2, 1], [0.1, 0.2, 0.3]), "do not rise"),
        (lambda: get("adm"), "no such optimiser: got 'adm'. Did you mean 'adam'.*adadelta, adagrad, adam, adamw"),
        (lambda: get("zzz"), "The names are adadelta"),
        (lambda: get(None), "not an optimiser"),
        (lambda: get(Adam), r"make it first: Adam\(\)"),
        (lambda: get({"learning_rate": 0.1}), "not an optimiser"),
    ],
)
def test_argument_errors(make: Any, words: str) -> None:
    with pytest.raises(ArgumentError, match=words):
        make()


def _without(state: dict[str, torch.Tensor], key: str) -> dict[str, Any]:
    return {name: value for name, value in state.items() if name != key}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda s: _without(s, "bias/momentum"), "lacks 'bias/momentum'"),
        (lambda s: _without(s, "iterations"), "lacks 'iterations'"),
        (lambda s: {}, "and 3 more"),
        (lambda s: s | {"gate/momentum": torch.ones(1)}, "has unexpected 'gate/momentum'"),
        (lambda s: s | {"kernel/velocity": torch.ones(5, 7)}, r"'kernel/velocity' does not fit.*\(7, 5\).*\(5, 7\)"),
        (lambda s: s | {"bias/velocity": torch.ones(5, dtype=torch.float64)}, r"'bias/velocity'.*float32.*float64"),
        (lambda s: s | {"iterations": torch.tensor(3.0)}, "'iterations' does not fit"),
        (lambda s: s | {"iterations": torch.tensor(-1)}, "'iterations' is out of range"),
        (
            lambda s: s | {"learning_rate": torch.tensor(math.nan, dtype=torch.float64)},
            "'learning_rate' is out of range",
        ),
        (lambda s: s | {"iterations": 3}, "'iterations' is not a tensor"),
    ],
)
def test_load_errors_change_nothing(change: Any, words: str) -> None:
    source, parameters = _built()
    _train(source, parameters, range(3))
    optimizer, _ = _built()
    with pytest.raises(CheckpointError, match=words) as caught:
        optimizer.load_state_dict(change(source.state_dict()))
    assert re.search("Adam", str(caught.value))
    assert optimizer.iterations == 0
    assert optimizer.state_dict()["kernel/momentum"].count_nonzero() == 0
