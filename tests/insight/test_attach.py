"""`watch` in training loops as people write them, and what it leaves behind."""

from __future__ import annotations

import copy
import io
import weakref
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from rondeau import layers
from rondeau.insight import Monitor, watch
from rondeau.recurrence.watch import watcher


class Net(nn.Module):
    def __init__(self, core: nn.Module) -> None:
        super().__init__()
        self.core, self.head = core, nn.Linear(4, 1)

    def forward(self, x: Tensor) -> Tensor:
        outputs = self.core(x)
        return self.head((outputs[0] if isinstance(outputs, tuple) else outputs)[:, -1])


def net(kind: str = "rondeau") -> Net:
    model = Net(nn.LSTM(3, 4, batch_first=True) if kind == "torch" else layers.LSTM(4, return_sequences=True))
    model(torch.zeros(1, 1, 3))
    return model


@pytest.mark.parametrize("kind", ["torch", "rondeau"])
def test_nothing_of_a_step_stays_in_memory(kind: str) -> None:
    model = net(kind)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    watched = watch(model, optimizer, every=1)
    model(torch.randn(2, 5, 3)).sum().backward()
    held = [weakref.ref(one.call.outputs) for _, one in watched.monitor._watched]
    optimizer.step()
    assert len(watched.samples[0].scans) == len(held) == 1
    assert held[0]() is None


def test_two_watch_the_same_model() -> None:
    model = net()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    both = [watch(model, optimizer, every=1) for _ in range(2)]
    for _ in range(2):
        model(torch.randn(2, 5, 3)).sum().backward()
        optimizer.step()
    assert [[len(sample.scans) for sample in one.samples] for one in both] == [[1, 1], [1, 1]]
    assert watcher() is None


def test_gradients_of_several_backward_passes_add_up() -> None:
    def flow(two: bool) -> list[float]:
        torch.manual_seed(0)
        model = net()
        monitor = Monitor(model)
        monitor.begin()
        y = model(torch.randn(2, 5, 3)).sum()
        if two:
            (3 * y).backward(retain_graph=True)
        (y if two else 4 * y).backward()
        monitor.before_update()
        sample = monitor.after_update()
        assert sample is not None
        return sample.scans[0].flow["h"].loss

    assert flow(True) == pytest.approx(flow(False), rel=1e-6)


def test_a_penalty_on_gradients_adds_nothing_to_them() -> None:
    def flow(penalty: bool) -> list[float]:
        torch.manual_seed(0)
        model = net()
        monitor = Monitor(model)
        x = torch.randn(2, 5, 3, requires_grad=True)
        monitor.begin()
        y = model(x).sum()
        if penalty:
            torch.autograd.grad(y, x, create_graph=True)
        y.backward()
        monitor.before_update()
        sample = monitor.after_update()
        assert sample is not None
        return sample.scans[0].flow["h"].loss

    assert flow(True) == pytest.approx(flow(False), rel=1e-6)


@pytest.mark.parametrize("name", ["args", "closure"])
def test_an_optimiser_that_calls_the_model_itself(name: str) -> None:
    def run(watching: bool) -> tuple[Net, Any]:
        torch.manual_seed(0)
        model = net()
        optimizer = torch.optim.LBFGS(model.parameters(), 0.1, max_iter=3)
        watched = watch(model, optimizer, every=1) if watching else None
        for steps in (5, 7):
            x = torch.randn(2, steps, 3)

            def closure(x: Tensor = x) -> Tensor:
                optimizer.zero_grad()
                loss = model(x).square().mean()
                loss.backward()
                return loss

            if name == "args":
                optimizer.step(closure)
            else:
                optimizer.step(closure=closure)
        return model, watched

    (model, watched), (other, _) = run(True), run(False)
    assert [sample.lengths for sample in watched.samples] == [(5, 5, 5), (7, 7, 7)]
    assert all(sample.scans and sample.weights[0].update for sample in watched.samples)
    assert watched.monitor._watched == []
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), other.parameters(), strict=True))


def test_a_copy_of_a_watched_model_is_not_watched() -> None:
    model = net()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    watched = watch(model, optimizer)
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    copies = [copy.deepcopy(model), torch.load(file, weights_only=False)]
    model(torch.randn(2, 5, 3)).sum().backward()
    for one in copies:
        one(torch.randn(2, 9, 3)).sum().backward()
    optimizer.step()
    assert watched.samples[0].lengths == (5, 5, 5)


def test_an_exception_on_the_way_leaves_nothing_behind() -> None:
    class Fails(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.core = nn.GRU(3, 4, batch_first=True)

        def forward(self, x: Tensor) -> Tensor:
            self.core(x)
            raise ValueError("on the way")

    model = Fails()
    watch(model, torch.optim.SGD(model.parameters(), 0.1))
    with pytest.raises(ValueError, match="on the way"):
        model(torch.randn(2, 5, 3))
    assert type(model.core) is nn.GRU
    assert watcher() is None
    assert not model.core._forward_hooks
    assert not model.core._forward_pre_hooks


@pytest.mark.parametrize(("limit", "clipped"), [(None, False), (1e-3, True), (1e6, False)])
def test_clipping_by_the_loop_itself_is_seen(limit: float | None, clipped: bool) -> None:
    model = net()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    watched = watch(model, optimizer, every=1)
    for _ in range(2):
        optimizer.zero_grad()
        model(torch.randn(2, 5, 3)).sum().backward()
        before = float(torch.stack([p.grad.norm() for p in model.parameters() if p.grad is not None]).norm())
        if limit is not None:
            nn.utils.clip_grad_norm_(model.parameters(), limit)
        optimizer.step()
        assert watched.samples[-1].gradient == pytest.approx(before, rel=1e-5)
    assert [sample.clipped for sample in watched.samples] == [clipped] * 2
    watched.stop()
    assert not any(p._post_accumulate_grad_hooks for p in model.parameters())


def test_several_optimisers() -> None:
    def run(second: bool) -> Any:
        torch.manual_seed(0)
        model = net("torch")
        both = [torch.optim.SGD(part.parameters(), 0.1) for part in (model.core, model.head)]
        watched = watch(model, both[second])
        model(torch.randn(2, 5, 3)).sum().backward()
        for optimizer in both:
            optimizer.step()
        return watched.samples[0]

    first, late = run(False), run(True)
    assert [scan.name for scan in first.scans] == ["core"]
    assert [weight.name for weight in first.weights if weight.update is None] == ["head.weight", "head.bias"]
    assert late.scans == []
    assert list(late.left) == ["core"]
    assert "another optimiser" in late.left["core"]
    assert {weight.name for weight in late.weights if weight.update} == {"head.weight", "head.bias"}


def test_inputs_that_were_overwritten_are_not_measured() -> None:
    model = net()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    watched = watch(model, optimizer)
    x = torch.randn(2, 5, 3)
    model(x).sum().backward()
    x.normal_()
    optimizer.step()
    assert watched.samples[0].scans == []
    assert list(watched.samples[0].left) == ["core"]


@pytest.mark.parametrize("reentrant", [False, True])
@pytest.mark.parametrize("steps", [5, 200])
def test_a_forward_pass_that_is_made_again_in_the_backward_pass(reentrant: bool, steps: int) -> None:
    class Checkpointed(Net):
        def forward(self, x: Tensor) -> Tensor:
            made = checkpoint(lambda x: self.core(x)[0], x, use_reentrant=reentrant)
            return self.head(made[:, -1])

    def gradients(watching: bool) -> tuple[Any, list[Tensor]]:
        torch.manual_seed(0)
        model = Checkpointed(nn.LSTM(3, 4, batch_first=True))
        optimizer = torch.optim.SGD(model.parameters(), 0.1)
        watched = watch(model, optimizer) if watching else None
        model(torch.randn(2, steps, 3, requires_grad=True)).sum().backward()
        optimizer.step()
        assert type(model.core) is nn.LSTM
        assert watcher() is None
        return watched, [p.grad for p in model.parameters() if p.grad is not None]

    (watched, found), (_, expected) = gradients(True), gradients(False)
    torch.testing.assert_close(found, expected)
    assert [scan.name for scan in watched.samples[0].scans] == ([] if reentrant else ["core"])
