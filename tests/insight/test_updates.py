"""Norms of weights, gradients and updates, against the same computed one by one."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

import rondeau
from rondeau import layers, optimizers
from rondeau.errors import ArgumentError
from rondeau.insight.updates import Updates, norms

EPSILON = torch.finfo(torch.float32).eps


def model() -> torch.nn.Module:
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Tanh(), torch.nn.Linear(4, 2))


def step(net: torch.nn.Module, optimizer: Any, scale: float = 1.0, **limits: float) -> tuple[Updates, Any]:
    (scale * net(torch.ones(5, 3)).square().sum()).backward()
    updates = Updates.before(net, optimizer, **limits)
    optimizer.step()
    return updates, updates.after()


def close(value: float | None) -> Any:
    return pytest.approx(value, rel=20 * EPSILON)


def test_each_norm_is_what_it_says() -> None:
    net = model()
    before = {name: p.detach().clone() for name, p in net.named_parameters()}
    updates, found = step(net, torch.optim.SGD(net.parameters(), 0.1))
    assert [w.name for w in found] == ["0.weight", "0.bias", "2.weight", "2.bias"]
    for weight, (name, parameter) in zip(found, net.named_parameters(), strict=True):
        assert parameter.grad is not None
        assert weight.weight == close(float(before[name].norm()))
        assert weight.gradient == close(float(parameter.grad.norm()))
        assert weight.update == close(0.1 * weight.gradient)
        assert weight.ratio == close(weight.update / weight.weight)
    together = math.sqrt(sum(float(p.grad.square().sum()) for p in net.parameters() if p.grad is not None))
    assert updates.gradient == close(together)
    assert updates.clip is None
    assert updates.clipped is None  # whoever clips in a loop of torch's has not said


@pytest.mark.parametrize("name", ["clipnorm", "clipvalue", "global_clipnorm"])
def test_rondeau_s_optimisers_say_when_they_clip(name: str) -> None:
    for limit, clipped in ((1e-3, True), (1e3, False)):
        net = model()
        optimizer = optimizers.SGD(0.1, **{name: limit})
        optimizer.build(net.named_parameters())
        updates, found = step(net, optimizer)
        assert (updates.clip, updates.clipped) == (limit, clipped)
        told, _ = step(model(), torch.optim.SGD(net.parameters(), 0.1), **{name: limit})
        assert (told.clip, told.clipped, told.gradient) == (limit, clipped, updates.gradient)
        if clipped and name == "global_clipnorm":
            rounding = 2 * EPSILON * math.hypot(*[w.weight for w in found])
            assert math.hypot(*[w.update or 0 for w in found]) == pytest.approx(0.1 * limit, abs=rounding)


def test_limits_lie_where_they_are() -> None:
    net = torch.nn.Linear(2, 2, bias=False)
    net.weight.grad = torch.tensor([[3.0, 4.0], [0.0, 0.0]])
    for name, limit in (("clipnorm", 5.0), ("global_clipnorm", 5.0), ("clipvalue", 4.0)):
        assert Updates.before(net, **{name: limit}).clipped is False
        assert Updates.before(net, **{name: limit - 0.01}).clipped is True
    with pytest.raises(ArgumentError, match="in one way"):
        Updates.before(net, clipnorm=1.0, clipvalue=1.0)
    with pytest.raises(ArgumentError, match="in one way"):
        Updates.before(net, optimizers.SGD(clipnorm=1.0), clipvalue=1.0)
    assert Updates.before(net, optimizers.SGD()).clipped is False


def test_tied_frozen_and_gradientless() -> None:
    net = torch.nn.ModuleDict({"a": torch.nn.Linear(3, 3), "b": torch.nn.Linear(3, 3), "c": torch.nn.Linear(3, 3)})
    net["b"].weight = net["a"].weight
    net["a"].bias.requires_grad_(False)
    net["b"](net["a"](torch.ones(1, 3))).sum().backward()
    found = Updates.before(net).after()
    assert [w.name for w in found] == ["a.weight", "b.bias"]
    assert [w.update for w in found] == [0, 0]
    nothing = Updates.before(torch.nn.Linear(2, 2))
    assert nothing.gradient is None
    assert nothing.after() == []


def test_sparse_gradients() -> None:
    net = torch.nn.Embedding(5, 3, sparse=True)
    dense = torch.nn.Embedding.from_pretrained(net.weight.detach().clone(), freeze=False)
    for one in (net, dense):
        one(torch.tensor([1, 1, 4])).square().sum().backward()
    ours = Updates.before(net, clipvalue=0.1)
    other = Updates.before(dense, clipvalue=0.1)
    assert ours.gradient == close(other.gradient)
    assert ours.clipped is other.clipped is True
    torch.optim.SGD(net.parameters(), 0.1).step()
    (weight,) = ours.after()
    assert weight.update == close(0.1 * weight.gradient)


def test_norms_beyond_the_range_of_squares_and_of_nothing() -> None:
    huge, tiny, half = torch.full((4,), 1e25), torch.full((4,), 1e-25), torch.full((4,), 1e-4, dtype=torch.float16)
    broken = torch.tensor([1.0, math.nan])
    found = norms([huge, tiny, torch.zeros(0, 3), torch.zeros(3), half, broken, torch.tensor(2.0)])
    assert found[0] == pytest.approx(2e25, rel=EPSILON)
    assert found[1] == pytest.approx(2e-25, rel=EPSILON)
    assert found[2:4] == [0, 0]
    assert found[4] == pytest.approx(2e-4, rel=torch.finfo(torch.float16).eps)
    assert math.isnan(found[5])
    assert found[6] == 2


def test_of_a_model_of_rondeau_s_names_are_the_user_s() -> None:
    net = rondeau.Sequential([layers.Input((None, 2)), layers.LSTM(3), layers.Dense(1)])
    net(torch.ones(2, 4, 2)).sum().backward()
    names = [w.name for w in Updates.before(net).after()]
    assert names[0] == "lstm.cell.kernel"
    assert len(names) == 5


def test_nothing_is_changed_by_measuring() -> None:
    torch.manual_seed(1)
    results = []
    for measured in (True, False):
        net = model()
        optimizer = optimizers.Adam(0.1, clipnorm=0.5)
        optimizer.build(net.named_parameters())
        for _ in range(3):
            net(torch.ones(5, 3)).square().sum().backward()
            if measured:
                updates = Updates.before(net, optimizer)
            optimizer.step()
            if measured:
                updates.after()
            optimizer.zero_grad()
        results.append([p.detach().clone() for p in net.parameters()])
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))
