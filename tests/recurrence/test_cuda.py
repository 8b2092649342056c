"""On a CUDA device: that cuDNN runs what `explain` says it runs, and computes what the reference loop does there."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch.profiler import ProfilerActivity, profile

import rondeau
from rondeau import Keep, explain, layers, scan
from rondeau.cells import Cell, GRUCell, LSTMCell, SimpleRNNCell
from rondeau.cells.base import map_state, state_leaves
from rondeau.errors import EngineError
from rondeau.recurrence import engine
from tests.recurrence.compare import Case, assert_close

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")]

EPSILONS = 512  # of the type, times the largest number: sums of a few hundred terms, in another order
CELLS: dict[str, Any] = {
    "rnn_tanh": lambda: SimpleRNNCell(33, bias_initializer="normal"),
    "rnn_relu": lambda: SimpleRNNCell(33, activation="relu", bias_initializer="normal"),
    "lstm": lambda: LSTMCell(33, bias_initializer="normal"),
    "gru": lambda: GRUCell(33, bias_initializer="normal"),
}
LENGTHS = {"dense": [9, 9, 9, 9], "ragged": [4, 0, 11, 1, 7]}


@pytest.fixture(autouse=True)
def _as_exact_as_the_type(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Without TF32, which cuDNN takes for float32 unless told otherwise; and with no engine forced upon the tests."""
    monkeypatch.setattr(engine, "_forced", [])
    with torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=False):
        yield


def built(name: str, dtype: torch.dtype = torch.float32) -> Cell:
    cell: Cell = CELLS[name]()
    cell.build_for(17)
    return cell.to("cuda", dtype)


def results(cell: Cell, case: Case, which: str | None) -> dict[str, torch.Tensor]:
    """Outputs, final states, and every gradient, by name."""
    x = case.x.cuda().requires_grad_()
    state = map_state(lambda s: s.cuda().requires_grad_(), case.state)
    y, last = scan(cell, rondeau.Ragged(x, case.lengths), state, reverse=case.reverse, engine=which)
    found = {"outputs": y.values, **{f"final {n}": t for n, t in state_leaves(last)}}
    g = torch.Generator().manual_seed(1)
    cotangents = [torch.randn(t.shape, generator=g).to(t) for t in found.values()]
    sources = {"x": x, **dict(state_leaves(state)), **dict(cell.named_parameters())}
    gradients = torch.autograd.grad(list(found.values()), list(sources.values()), cotangents)
    found |= {f"gradient of {n}": t for n, t in zip(sources, gradients, strict=True)}
    return {n: t.detach() for n, t in found.items()}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("lengths", LENGTHS)
@pytest.mark.parametrize("name", CELLS)
def test_outputs_states_and_gradients(name: str, lengths: str, reverse: bool, dtype: torch.dtype) -> None:
    cell = built(name, dtype)
    case = Case.random(cell, 17, LENGTHS[lengths], dtype)
    case.reverse = reverse
    expected = results(cell, case, "reference")
    for what, found in results(cell, case, None).items():
        assert found.is_cuda
        assert_close(what, found, expected[what], EPSILONS)


@pytest.mark.parametrize("name", CELLS)
def test_a_scan_is_one_call_of_cudnn(name: str) -> None:
    """Warnings are errors here: torch would warn of weights that do not lie as cuDNN has them."""
    cell = built(name)
    x = torch.randn(4, 50, 17, device="cuda", requires_grad=True)
    with profile(activities=[ProfilerActivity.CPU]) as seen:
        y, _ = scan(cell.eval(), x, lengths=[50, 0, 20, 3])  # in evaluation too there may be a backward pass
        y.sum().backward()
    counts = {event.key: event.count for event in seen.key_averages()}
    assert counts["aten::_cudnn_rnn"] == 1
    assert counts["aten::_cudnn_rnn_backward"] == 1
    assert "aten::tanh" not in counts
    with profile(activities=[ProfilerActivity.CPU]) as seen, torch.no_grad():
        scan(cell, x)
    assert {event.key: event.count for event in seen.key_averages()}["aten::_cudnn_rnn"] == 1


@pytest.mark.parametrize("name", CELLS)
def test_gradients_of_gradients(name: str) -> None:
    cell = built(name, torch.float64)
    x = torch.randn(3, 5, 17, device="cuda", dtype=torch.float64, requires_grad=True)

    def curvature(which: str | None) -> list[torch.Tensor]:
        y, _ = scan(cell, x, lengths=[5, 0, 3], engine=which)
        [slope] = torch.autograd.grad(y.square().sum(), x, create_graph=True)
        return list(torch.autograd.grad(slope.square().sum(), [x, *cell.parameters()]))

    for found, right in zip(curvature(None), curvature("reference"), strict=True):
        assert_close("second derivative", found, right, 16 * EPSILONS)


def test_a_cell_that_goes_there_and_back() -> None:
    cell = LSTMCell(8)
    x = torch.randn(2, 6, 3)
    before, _ = scan(cell, x, engine="native")
    same = list(cell.parameters())
    there, _ = scan(cell.cuda(), x.cuda())
    assert all(a is b for a, b in zip(cell.parameters(), same, strict=True))
    assert_close("there", there.detach().cpu(), before.detach(), EPSILONS)
    with pytest.raises(EngineError):
        scan(cell, x, engine="native")  # the weights are elsewhere
    assert torch.equal(scan(cell.cpu(), x, engine="native")[0], before)


def test_half_precision_and_autocast() -> None:
    cell = built("gru")
    x = torch.randn(3, 6, 17, device="cuda")
    expected, _ = scan(cell, x, engine="reference")
    bound = 16 * torch.finfo(torch.float16).eps
    with torch.autocast("cuda", torch.float16):
        y, _ = scan(cell, x)
        y.float().sum().backward()
    assert float((y - expected).detach().abs().max()) < bound
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in cell.parameters())
    y, _ = scan(cell.half(), x.half())
    assert y.dtype == torch.float16
    assert float((y - expected).detach().abs().max()) < bound


def test_what_is_said() -> None:
    cell = built("lstm")
    plan = explain(cell)
    assert (plan.native, plan.vendor, plan.cuda) == (False, *["cuDNN, through torch.lstm"] * 2)
    with pytest.raises(EngineError, match=r"cuda:0, and loops are for the CPU\. Leave engine out to run it by cuDNN"):
        scan(cell, torch.zeros(2, 3, 17, device="cuda"), engine="native")
    with torch.backends.cudnn.flags(enabled=False):
        assert explain(cell).cuda == "the reference loop, because torch.backends.cudnn.enabled is false"
        scan(cell, torch.zeros(2, 3, 17, device="cuda"))
    other = GRUCell(4, reset_after=False)
    other.build_for(3)
    assert explain(other.cuda()).cuda == "the reference loop, because reset_after is false"
    dropping = LSTMCell(4, dropout=0.5, seed=1)
    dropping.build_for(3)
    assert "it drops out" in explain(dropping.cuda()).cuda
    keep = Keep(states=True)
    scan(cell, torch.zeros(2, 3, 17, device="cuda"), keep=keep)
    assert keep.states.c.values.is_cuda


def test_training() -> None:
    stack: list[Any] = [layers.Embedding(9, 8, mask_zero=True), layers.Bidirectional(layers.LSTM(6)), layers.Dense(2)]
    model = rondeau.Sequential(stack)
    model.compile("adam", "mse", device="cuda")
    rows = [[1, 2, 3], [4, 5, 6, 7, 8], [2]] * 4
    losses = model.fit(rows, torch.zeros(12, 2).numpy(), epochs=5, verbose=0).history["loss"]
    assert losses[-1] < losses[0]
