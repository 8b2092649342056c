"""rondeau.nn's LSTM, GRU and RNN against torch's, in float64: outputs, states and all gradients, for every option."""

from __future__ import annotations

import itertools
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pack_sequence
from torch.utils.checkpoint import checkpoint

import rondeau
from rondeau.recurrence import reference
from rondeau.recurrence.engine import use_engine
from tests.nn.conftest import everything, flat, twins

pytestmark = pytest.mark.usefixtures("native")
TOLERANCE = 1e-12  # numbers of size 1 to 100, float64
KINDS: list[tuple[str, dict[str, Any]]] = [
    ("LSTM", {}),
    ("LSTM", {"proj_size": 2}),
    ("GRU", {}),
    ("RNN", {}),
    ("RNN", {"nonlinearity": "relu"}),
]
STACKS: list[dict[str, Any]] = [
    {"num_layers": layers, "bidirectional": both, "bias": bias}
    for layers, both, bias in itertools.product((1, 2), (False, True), (True, False))
]


def _named(options: Any) -> str:
    return "-".join(f"{k}={v}" for k, v in options.items()) or "plain"


def _states(module: Any, batch: tuple[int, ...]) -> tuple[list[torch.Tensor], Any]:
    count = module.num_layers * (1 + module.bidirectional)
    sizes = [module.proj_size or module.hidden_size, module.hidden_size]
    made = [torch.randn(count, *batch, s, dtype=torch.float64, requires_grad=True) for s in sizes]
    return (made, tuple(made)) if module.mode == "LSTM" else (made[:1], made[0])


def _same(theirs: Any, ours: Any, call: Any, sources: list[torch.Tensor]) -> None:
    for a, b in zip(everything(theirs, call, sources), everything(ours, call, sources), strict=True):
        assert a.shape == b.shape
        torch.testing.assert_close(b, a, rtol=TOLERANCE, atol=TOLERANCE)


@pytest.mark.parametrize("stack", STACKS, ids=_named)
@pytest.mark.parametrize(("name", "more"), KINDS, ids=str)
def test_padded(name: str, more: dict[str, Any], stack: dict[str, Any]) -> None:
    theirs, ours = twins(name, 3, 5, **more, **stack, dtype=torch.float64)
    x = torch.randn(6, 4, 3, dtype=torch.float64, requires_grad=True)
    states, hx = _states(ours, (4,))
    _same(theirs, ours, lambda m: m(x), [x])
    _same(theirs, ours, lambda m: m(x, hx), [x, *states])


@pytest.mark.parametrize(("name", "more"), KINDS, ids=str)
def test_batch_first(name: str, more: dict[str, Any]) -> None:
    theirs, ours = twins(name, 3, 5, 2, bidirectional=True, batch_first=True, **more, dtype=torch.float64)
    x = torch.randn(4, 6, 3, dtype=torch.float64, requires_grad=True)
    states, hx = _states(ours, (4,))
    _same(theirs, ours, lambda m: m(x, hx), [x, *states])
    strided = x.transpose(1, 2).contiguous().transpose(1, 2).detach()
    torch.testing.assert_close(flat(ours(strided)), flat(theirs(strided)), rtol=TOLERANCE, atol=TOLERANCE)


@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize(("name", "more"), KINDS, ids=str)
def test_unbatched(name: str, more: dict[str, Any], batch_first: bool) -> None:
    theirs, ours = twins(name, 3, 5, 2, bidirectional=True, batch_first=batch_first, **more, dtype=torch.float64)
    x = torch.randn(6, 3, dtype=torch.float64, requires_grad=True)
    states, hx = _states(ours, ())
    _same(theirs, ours, lambda m: m(x), [x])
    _same(theirs, ours, lambda m: m(x, hx), [x, *states])


@pytest.mark.parametrize("enforce_sorted", [False, True])
@pytest.mark.parametrize("stack", STACKS, ids=_named)
@pytest.mark.parametrize(("name", "more"), KINDS, ids=str)
def test_packed(name: str, more: dict[str, Any], stack: dict[str, Any], enforce_sorted: bool) -> None:
    theirs, ours = twins(name, 3, 5, **more, **stack, dtype=torch.float64)
    lengths = [6, 3, 3, 1] if enforce_sorted else [3, 1, 6, 3]
    x = torch.randn(4, 6, 3, dtype=torch.float64, requires_grad=True)
    states, hx = _states(ours, (4,))

    def pack() -> PackedSequence:
        return pack_padded_sequence(x, torch.tensor(lengths), batch_first=True, enforce_sorted=enforce_sorted)

    _same(theirs, ours, lambda m: m(pack()), [x])
    _same(theirs, ours, lambda m: m(pack(), hx), [x, *states])
    mine, their = ours(pack())[0], theirs(pack())[0]
    for part in ("batch_sizes", "sorted_indices", "unsorted_indices"):
        a, b = getattr(mine, part), getattr(their, part)
        assert (a is None and b is None) or torch.equal(a, b)


@pytest.mark.parametrize(("name", "more"), KINDS, ids=str)
def test_packed_computes_no_padding(name: str, more: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    from rondeau.nn import stack

    seen = []
    scan = stack.scan
    monkeypatch.setattr(stack, "scan", lambda cell, x, *a, **k: seen.append(len(x.values)) or scan(cell, x, *a, **k))
    _, ours = twins(name, 3, 5, 2, bidirectional=True, **more)
    ours(pack_sequence([torch.randn(n, 3) for n in (50, 1, 1, 2)]  # type: ignore[arg-type]
                       , enforce_sorted=False))  # fmt: skip
    assert seen == [54] * 4


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("rate", [0.4, 1.0])
def test_dropout_is_torchs_to_the_number(rate: float, packed: bool) -> None:
    theirs, ours = twins("GRU", 3, 5, 3, bidirectional=True, dropout=rate, dtype=torch.float64)
    x = torch.randn(6, 4, 3, dtype=torch.float64, requires_grad=True)

    def call(module: Any) -> Any:
        return module(pack_padded_sequence(x, torch.tensor([6, 4, 4, 1])) if packed else x)

    _same(theirs, ours, call, [x])
    ours.eval()
    torch.testing.assert_close(flat(call(ours)), flat(call(theirs.eval())), rtol=TOLERANCE, atol=TOLERANCE)
    assert not torch.equal(flat(call(ours))[0], flat(call(ours.train()))[0])


@pytest.mark.parametrize("name", ["LSTM", "GRU", "RNN"])
def test_float32_errs_at_most_twice_as_much(name: str) -> None:
    theirs, ours = twins(name, 20, 30, 2, bidirectional=True)
    x = torch.randn(40, 8, 20, requires_grad=True)
    judge = getattr(torch.nn, name)(20, 30, 2, bidirectional=True).double()
    judge.load_state_dict(theirs.state_dict())
    exact_x = x.detach().double().requires_grad_()
    exact = everything(judge, lambda m: m(exact_x), [exact_x])
    found = [everything(m, lambda m: m(x), [x]) for m in (theirs, ours)]
    for true, torchs, own in zip(exact, *found, strict=True):
        size = true.abs().max() * torch.finfo(torch.float32).eps
        assert (own - true).abs().max() <= 2 * (torchs - true).abs().max() + size


def test_only_what_is_asked_for_has_gradients() -> None:
    theirs, ours = twins("LSTM", 3, 5, 2, dtype=torch.float64)
    x = torch.randn(6, 4, 3, dtype=torch.float64)
    for module in (theirs, ours):
        module.weight_hh_l0.requires_grad_(False)
        module.bias_ih_l1.requires_grad_(False)
        module(x)[0].square().sum().backward()
    for (name, a), b in zip(theirs.named_parameters(), ours.parameters(), strict=True):
        assert (a.grad is None) == (b.grad is None), name
        if a.grad is not None:
            torch.testing.assert_close(b.grad, a.grad, rtol=TOLERANCE, atol=TOLERANCE)
    ours.requires_grad_(False)
    assert not ours(x)[0].requires_grad
    with torch.inference_mode():
        assert ours(x)[0].is_inference()


@pytest.mark.parametrize("name", ["LSTM", "GRU", "RNN"])
def test_gradients_of_gradients(name: str) -> None:
    theirs, ours = twins(name, 2, 3, dtype=torch.float64)
    x = torch.randn(4, 2, 2, dtype=torch.float64, requires_grad=True)
    found = []
    for module in (theirs, ours):
        (first,) = torch.autograd.grad(module(x)[0].sin().sum(), x, create_graph=True)
        found.append(torch.autograd.grad(first.square().sum(), [x, *module.parameters()]))
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(b, a, rtol=TOLERANCE, atol=TOLERANCE)


def test_one_weight_in_several_places() -> None:
    theirs, ours = twins("RNN", 3, 3, 2, dtype=torch.float64)
    for module in (theirs, ours):
        module.weight_hh_l0 = module.weight_ih_l0
        module.weight_ih_l1 = module.weight_ih_l0
        module.bias_hh_l0 = module.bias_ih_l0
    x = torch.randn(5, 2, 3, dtype=torch.float64, requires_grad=True)
    _same(theirs, ours, lambda m: m(x), [x])


def test_modules_of_one_size_share_what_is_compiled() -> None:
    from rondeau.nn.cells import cell_for
    from rondeau.recurrence.engine import traces_of

    x = torch.randn(5, 2, 7)
    first, second = rondeau.nn.GRU(7, 11), rondeau.nn.GRU(7, 11)
    first(x)
    made = traces_of(cell_for("GRU", 7, 11, True, 0)).made
    assert made > 0
    for _ in range(3):
        second(x)[0].sum().backward()
        second.load_state_dict(first.state_dict())
        second.to(torch.float32).train(not second.training)
    assert traces_of(cell_for("GRU", 7, 11, True, 0)).made == made
    assert torch.equal(first(x)[0], second(x)[0])


def test_weights_changed_in_place_are_seen() -> None:
    theirs, ours = twins("LSTM", 3, 4, dtype=torch.float64)
    x = torch.randn(5, 2, 3, dtype=torch.float64)
    for module in (theirs, ours):
        module(x)
        with torch.no_grad():
            module.weight_hh_l0.mul_(2)
        module.bias_ih_l0.data = torch.ones(16, dtype=torch.float64)
        module.weight_ih_l0 = torch.nn.Parameter(torch.ones(16, 3, dtype=torch.float64))
    torch.testing.assert_close(flat(ours(x)), flat(theirs(x)), rtol=TOLERANCE, atol=TOLERANCE)


def test_reference_loop_can_be_forced(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    run = reference.run
    monkeypatch.setattr(reference, "run", lambda *args: calls.append(1) or run(*args))  # type: ignore[func-returns-value]
    theirs, ours = twins("GRU", 3, 4, 2, dtype=torch.float64)
    x = torch.randn(5, 2, 3, dtype=torch.float64, requires_grad=True)
    with use_engine("reference"):
        _same(theirs, ours, lambda m: m(x), [x])
    assert len(calls) == 2  # a layer each


@pytest.mark.parametrize("name", ["LSTM", "GRU", "RNN", "LSTMCell", "GRUCell", "RNNCell"])
def test_is_torchs_module(name: str) -> None:
    theirs, ours = twins(name, 3, 4)
    assert isinstance(ours, getattr(torch.nn, name))
    assert repr(ours) == repr(theirs)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    theirs.load_state_dict(ours.state_dict())
    torch.manual_seed(3)
    theirs.reset_parameters()
    torch.manual_seed(3)
    ours.reset_parameters()
    assert all(map(torch.equal, ours.parameters(), theirs.parameters()))


@pytest.mark.parametrize("name", ["LSTMCell", "GRUCell", "RNNCell"])
def test_single_steps(name: str) -> None:
    theirs, ours = twins(name, 3, 4, dtype=torch.float64)
    x = torch.randn(2, 3, dtype=torch.float64, requires_grad=True)
    _same(theirs, ours, lambda m: m(x), [x])
    _same(theirs, ours, lambda m: m(x[0]), [x])


def test_many_threads_at_once() -> None:
    theirs, ours = twins("GRU", 3, 6, 2, bidirectional=True, dtype=torch.float64)
    rows = [torch.randn(9, 2, 3, dtype=torch.float64) for _ in range(6)]
    expected = [theirs(x)[0] for x in rows]
    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(lambda i: _forced(ours, rows[i % 6]), range(60)))
    for i, output in enumerate(found):
        torch.testing.assert_close(output, expected[i % 6], rtol=TOLERANCE, atol=TOLERANCE)


def _forced(module: Any, x: torch.Tensor) -> torch.Tensor:
    with use_engine("native"):
        return module(x)[0]  # type: ignore[no-any-return]


@pytest.mark.parametrize("reentrant", [False, True])
def test_checkpointing(reentrant: bool) -> None:
    theirs, ours = twins("LSTM", 3, 5, 2, dropout=0.5, dtype=torch.float64)
    x = torch.randn(6, 4, 3, dtype=torch.float64, requires_grad=True)
    gradients = []
    for module in (theirs, ours):
        torch.manual_seed(2)
        x.grad = None
        checkpoint(module, x, use_reentrant=reentrant)[0].square().sum().backward()
        gradients.append([x.grad.clone(), *(p.grad for p in module.parameters())])
    for a, b in zip(*gradients, strict=True):
        torch.testing.assert_close(b, a, rtol=TOLERANCE, atol=TOLERANCE)


def test_called_by_name_with_broadcast_states() -> None:
    theirs, ours = twins("LSTM", 3, 5, 2, dtype=torch.float64)
    x = torch.randn(6, 4, 3, dtype=torch.float64)
    first = torch.randn(2, 1, 5, dtype=torch.float64, requires_grad=True)

    def call(module: Any) -> Any:
        return module(hx=[first.expand(2, 4, 5), first.expand(2, 4, 5)], input=x)

    _same(theirs, ours, call, [first])


def test_gradients_lie_as_their_weights() -> None:
    _, ours = twins("LSTM", 3, 5, 2)
    ours(torch.randn(6, 4, 3))[0].sum().backward()
    assert all(p.grad.stride() == p.stride() for p in ours.parameters())  # type: ignore[union-attr]


def test_another_default_device() -> None:
    theirs, ours = twins("LSTM", 3, 17, 2, dropout=0.5, dtype=torch.float64)
    x = torch.randn(6, 4, 3, dtype=torch.float64)
    packed = pack_padded_sequence(x, torch.tensor([6, 4, 4, 1]))
    for call in (x, packed):
        torch.manual_seed(1)
        expected = flat(theirs(call))
        torch.manual_seed(1)
        with torch.device("meta"):
            found = flat(ours(call))
        torch.testing.assert_close(found, expected, rtol=TOLERANCE, atol=TOLERANCE)


@pytest.mark.parametrize("both", [False, True])
@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("name", ["GRU", "RNN", "LSTM"])
def test_outputs_may_be_written_to_and_seen_otherwise(name: str, batch_first: bool, both: bool) -> None:
    theirs, ours = twins(name, 3, 5, batch_first=batch_first, bidirectional=both, dtype=torch.float64)
    x = torch.randn(1 if both else 4, 6, 3, dtype=torch.float64, requires_grad=True)

    def written(module: Any) -> list[torch.Tensor]:
        found = []
        for input in (x, pack_padded_sequence(x, torch.full((len(x),), 6), batch_first=True)):
            tensors = flat(module(input))
            if input is x and not batch_first:
                tensors[0] = tensors[0].view(-1)
            found += [t.mul_(2).clamp_(min=0) for t in tensors]
        return found

    _same(theirs, ours, written, [x])
    for training in (True, False):
        with torch.set_grad_enabled(training):
            assert not any(t.detach_().requires_grad for t in flat(ours(x)))
