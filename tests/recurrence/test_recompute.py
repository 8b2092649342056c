"""`Recompute`: the gradients of everything, from windows that are computed twice."""

from __future__ import annotations

import gc
import weakref
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor
from torch.nn.utils import parametrizations

from rondeau import Keep, Ragged, Recompute, scan
from rondeau.cells import Cell, Context, GRUCell, HiddenState, LSTMCell, StackedRNNCells
from rondeau.errors import ArgumentError, EngineError
from rondeau.recurrence import recompute
from rondeau.recurrence.engine import traces_of, use_engine
from rondeau.recurrence.runtime.jit import compilations
from tests.recurrence.compare import Case, assert_close, results

ENGINES = ["native", "reference"]
LENGTHS = [7, 0, 10, 3, 4, 1]
DOUBLE = torch.float64


def same(cell: Cell, case: Case, engine: str, every: int = 3, tolerance: float = 64) -> None:
    whole, found = results(cell, case, engine), results(cell, case, engine, gradient=Recompute(every))
    assert found.keys() == whole.keys()
    for name, expected in whole.items():
        assert_close(name, found[name], expected, tolerance)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, DOUBLE], ids=str)
@pytest.mark.parametrize("lengths", [LENGTHS, [9, 9, 9], [1], [0, 0], [5, 6, 7, 8]])
def test_gradients_of_the_whole(engine: str, reverse: bool, dtype: torch.dtype, lengths: list[int]) -> None:
    cell = LSTMCell(5).to(dtype)
    cell.build_for(3)
    case = Case.random(cell.to(dtype), 3, lengths, dtype)
    case.reverse = reverse
    for every in (1, 3, 4, 10):
        same(cell, case, engine, every)


@pytest.mark.parametrize("engine", ENGINES)
def test_one_window_is_the_whole(engine: str) -> None:
    cell = GRUCell(4).double()
    case = Case.random(cell, 3, LENGTHS)
    whole = results(cell, case, engine)
    for every in (10, 11, 10**12):
        for name, found in results(cell, case, engine, gradient=Recompute(every)).items():
            assert torch.equal(found, whole[name]), name


class Everything(Cell):
    """Reads context of every kind, the index, a parametrised weight, closures that are leaves and others."""

    per_row, per_step = ("gain", "memory"), ("clock",)

    def __init__(self) -> None:
        super().__init__()
        self.state_size, self.output_size = HiddenState(h=4), 4
        self.inner = parametrizations.weight_norm(torch.nn.Linear(4, 4, dtype=DOUBLE))
        self.frozen = torch.nn.Parameter(torch.randn(4, dtype=DOUBLE), requires_grad=False)
        self.base = torch.nn.Parameter(torch.randn(4, dtype=DOUBLE))
        self.leaf = [torch.randn(4, dtype=DOUBLE, requires_grad=True)]
        self.refresh()

    def refresh(self) -> None:
        self.made = [self.base * 2 + self.leaf[0].square()]  # no leaf, of leaves that the step reads as well

    def step(self, x: Tensor, state: HiddenState, context: Context) -> tuple[Tensor, HiddenState]:
        read = (torch.softmax((context.memory @ state.h[:, :, None])[..., 0], -1)[:, None] @ context.memory)[:, 0]
        h = torch.tanh(x * context.clock + self.inner(state.h) * context.gain + read + self.base * 0.3)
        h = h * torch.sigmoid(self.made[0]) + 0.1 * context.index + self.frozen * self.leaf[0]
        return torch.sin(h), HiddenState(h)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("hooked", [False, True])
def test_every_tensor_the_step_reads(engine: str, reverse: bool, hooked: bool) -> None:
    cell = Everything()
    case = Case.random(cell, 4, LENGTHS)
    context: dict[str, Tensor] = {
        "gain": torch.randn(6, 4, dtype=DOUBLE),
        "memory": torch.randn(6, 5, 4, dtype=DOUBLE),
        "clock": torch.randn(6, 10, 4, dtype=DOUBLE),
    }
    sources = [case.x, case.state.h, *context.values(), *cell.inner.parameters(), cell.base, cell.leaf[0]]
    seen: list[Tensor] = []

    def hook(gradient: Tensor) -> Tensor:
        seen.append(gradient)
        return 2 * gradient

    def gradients(gradient: Any) -> list[Tensor]:
        for t in sources:
            t.requires_grad_()
        cell.refresh()
        handles: list[Any] = [t.register_hook(hook) for t in (cell.base, *cell.made) if hooked]  # type: ignore[no-untyped-call]
        rows = Ragged(case.x, case.lengths)
        y, state = scan(cell, rows, case.state, reverse=reverse, context=context, engine=engine, gradient=gradient)
        found = torch.autograd.grad(y.values.square().sum() + state.h.exp().sum(), [*sources, *cell.made])
        for handle in handles:
            handle.remove()
        return [y.values, state.h, *found]

    whole = gradients(None)
    count = len(seen)
    for i, (mine, theirs) in enumerate(zip(gradients(Recompute(3)), whole, strict=True)):
        assert_close(f"{i}", mine, theirs, 256)
    assert len(seen) == 2 * count  # a hook runs once, with the sum


@pytest.mark.parametrize("engine", ENGINES)
def test_stacked_cells_and_ids(engine: str) -> None:
    cell = StackedRNNCells([GRUCell(3), LSTMCell(4)])
    cell.build_for(2)
    cell.double()
    same(cell, Case.random(cell, 2, LENGTHS), engine)


@pytest.mark.parametrize("engine", ENGINES)
def test_random_context_is_drawn_once(engine: str) -> None:
    cell = LSTMCell(5, dropout=0.4, recurrent_dropout=0.3)
    cell.build_for(3)
    cell.double()
    found = []
    for gradient in (None, Recompute(3)):
        source = torch.Generator().manual_seed(5)
        case = Case.random(cell, 3, LENGTHS)
        found.append(results(cell, case, engine, gradient=gradient, generator=source))
    for name, expected in found[0].items():
        assert_close(name, found[1][name], expected, 64)


class CountState(NamedTuple):
    h: Any
    n: Any


class Counting(Cell):
    """A state of whole numbers beside one of others."""

    def __init__(self) -> None:
        super().__init__()
        self.state_size, self.output_size = CountState(h=3, n=1), 3
        self.w = torch.nn.Parameter(torch.randn(3, 3, dtype=DOUBLE))

    def initial_state(self, batch: int, *, dtype: Any = None, device: Any = None) -> CountState:
        return CountState(torch.zeros(batch, 3, dtype=dtype), torch.zeros(batch, 1, dtype=torch.int64))

    def step(self, x: Tensor, state: CountState) -> tuple[Tensor, CountState]:
        h = torch.tanh(x + state.h @ self.w) / (1 + 0.1 * state.n)
        return h, CountState(h, state.n + 1)


def test_states_without_derivatives() -> None:
    cell = Counting()
    x = torch.randn(2, 7, 3, dtype=DOUBLE, requires_grad=True)
    begin = CountState(torch.zeros(2, 3, dtype=DOUBLE), torch.zeros(2, 1, dtype=torch.int64))
    found = []
    for gradient in (None, Recompute(2)):
        y, state = scan(cell, x, begin, engine="reference", gradient=gradient, lengths=[7, 4])
        assert state.n.tolist() == [[7], [4]]
        assert not state.n.requires_grad
        found.append(torch.autograd.grad(y.sum() + state.h.sum(), [x, cell.w]))
    for a, b in zip(*found, strict=True):
        assert_close("gradient", b, a, 64)


@pytest.mark.parametrize("engine", ENGINES)
def test_twice_backwards(engine: str) -> None:
    cell, x = GRUCell(4), torch.randn(2, 7, 3, requires_grad=True)
    y, _ = scan(cell, x, engine=engine, gradient=Recompute(2))
    sources = [x, *cell.parameters()]
    first = torch.autograd.grad(y.sum(), sources, retain_graph=True)
    second = torch.autograd.grad(y.sum(), sources)
    for a, b in zip(first, second, strict=True):
        assert torch.equal(a, b)
    with pytest.raises(RuntimeError, match="second time"):
        torch.autograd.grad(y.sum(), sources)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("reverse", [False, True])
def test_derivatives_of_derivatives(engine: str, last: bool, reverse: bool) -> None:
    cell = GRUCell(3)
    cell.build_for(2)
    cell.double()
    x = torch.randn(3, 7, 2, dtype=DOUBLE, requires_grad=True)
    keep = Keep(outputs="last") if last else None
    found = []
    for gradient in (None, Recompute(3)):
        options: Any = {"lengths": [7, 0, 4], "keep": keep, "reverse": reverse}
        y, _ = scan(cell, x, engine=engine if gradient else "reference", gradient=gradient, **options)
        (first,) = torch.autograd.grad(y.pow(3).sum(), x, create_graph=True)
        found.append(torch.autograd.grad(first.square().sum(), [x, *cell.parameters()]))
    for a, b in zip(*found, strict=True):
        assert_close("second", b, a, 64)


@pytest.mark.parametrize("engine", ENGINES)
def test_only_what_needs_gradients(engine: str) -> None:
    cell, x = GRUCell(4), torch.randn(2, 7, 3)
    cell.build_for(3)
    cell.requires_grad_(False)
    y, _ = scan(cell, x, engine=engine, gradient=Recompute(2))
    assert not y.requires_grad
    bias = dict(cell.named_parameters())["bias"].requires_grad_()
    found: list[Any] = []
    for gradient in (None, Recompute(2)):
        bias.grad = None
        scan(cell, x, engine=engine, gradient=gradient)[0].sum().backward()
        assert cell.kernel.grad is None
        assert x.grad is None
        found.append(bias.grad)
    assert_close("bias", found[1], found[0], 64)
    with torch.no_grad():
        assert not scan(cell, x, engine=engine, gradient=Recompute(2))[0].requires_grad


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("which", ["parameter", "input", "state"])
def test_what_changed_in_between_is_refused(engine: str, which: str) -> None:
    cell, x, h = GRUCell(4), torch.randn(2, 7, 3), torch.randn(2, 4)
    y, _ = scan(cell, x, h, engine=engine, gradient=Recompute(2))
    with torch.no_grad():
        {"parameter": cell.kernel, "input": x, "state": h}[which].mul_(0.5)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()


def gradient_of(parameter: Tensor) -> Tensor:
    """Taken away."""
    found, parameter.grad = parameter.grad, None
    assert found is not None
    return found


class Scaled(Cell):
    """Reads an attribute."""

    def __init__(self) -> None:
        super().__init__()
        self.state_size, self.output_size, self.factor = HiddenState(h=3), 3, 0.5
        self.w = torch.nn.Parameter(torch.randn(3, 3))

    def step(self, x: Tensor, state: HiddenState) -> tuple[Tensor, HiddenState]:
        h = torch.tanh(x + state.h @ self.w) * self.factor
        return h, HiddenState(h)


def test_a_cell_that_changed_is_refused_or_remembered() -> None:
    cell, x = Scaled(), torch.randn(2, 7, 3)
    scan(cell, x, engine="reference")[0].sum().backward()
    expected = gradient_of(cell.w)
    y, _ = scan(cell, x, engine="native", gradient=Recompute(2))
    cell.factor = 2.0
    y.sum().backward()  # compiled loops are those of the forward pass
    assert_close("w", gradient_of(cell.w), expected, 64)
    y, _ = scan(cell, x, engine="reference", gradient=Recompute(2))
    cell.factor = 0.5
    with pytest.raises(EngineError, match="has changed since the forward pass"):
        y.sum().backward()


class Noisy(Scaled):
    def step(self, x: Tensor, state: HiddenState) -> tuple[Tensor, HiddenState]:
        h = torch.nn.functional.dropout(torch.tanh(x + state.h @ self.w))
        return h, HiddenState(h)


def test_random_numbers_in_a_step_are_refused() -> None:
    cell, x = Noisy(), torch.randn(2, 7, 3)
    with pytest.raises(EngineError, match=r"Noisy.step draws random numbers .*draw\(\)"):
        scan(cell, x, engine="reference", gradient=Recompute(2))
    with torch.no_grad():
        scan(cell, x, engine="reference", gradient=Recompute(2))


def test_what_cannot_be_compiled_says_so_once_and_runs() -> None:
    class Mixing(Scaled):
        def step(self, x: Tensor, state: HiddenState) -> tuple[Tensor, HiddenState]:
            h = torch.tanh(x + state.h.mean(0) @ self.w)
            return h, HiddenState(h)

    cell, x = Mixing(), torch.randn(2, 7, 3)
    with pytest.warns(RuntimeWarning, match="Mixing runs on the slow reference loop"):
        y, _ = scan(cell, x, gradient=Recompute(2))
    y.sum().backward()
    found = gradient_of(cell.w)
    scan(cell, x, engine="reference")[0].sum().backward()
    assert_close("w", found, gradient_of(cell.w), 64)
    with pytest.raises(EngineError, match=r"Mixing.step cannot be compiled.*the reference loop"):
        scan(cell, x, engine="native", gradient=Recompute(2))
    with use_engine("reference"):
        scan(cell, x, gradient=Recompute(2))


def test_transforms_are_refused() -> None:
    cell, x = GRUCell(4), torch.randn(5, 2, 7, 3)
    cell.build_for(3)

    def loss(x: Tensor) -> Tensor:
        y, _ = scan(cell, x, gradient=Recompute(2))
        return torch.sum(y)

    for transform, given in ((torch.func.grad(loss), x[0]), (torch.func.vmap(loss), x)):
        with pytest.raises(EngineError, match=r"torch.func.*gradient=Truncated"):
            transform(given)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("reverse", [False, True])
def test_what_is_kept_is_that_of_the_whole(engine: str, reverse: bool) -> None:
    cell, x = LSTMCell(4), torch.randn(6, 10, 3, dtype=DOUBLE)
    cell.build_for(3)
    cell.double()
    kept = []
    for gradient in (None, Recompute(4)):
        keep = Keep(states=True, intermediates=True, cotangents=True)
        y, _ = scan(cell, x, lengths=LENGTHS, reverse=reverse, engine=engine, keep=keep, gradient=gradient)
        y.square().sum().backward()
        named = {n: r.values for n, r in keep.intermediates.items()}
        both = {"c": keep.states.c, "h": keep.states.h, "dc": keep.cotangents.c, "dh": keep.cotangents.h}
        kept.append(named | {n: r.values for n, r in both.items()})
    assert kept[0].keys() == kept[1].keys()
    assert len(kept[0]) > 4
    for name, expected in kept[0].items():
        assert_close(name, kept[1][name], expected, 64)
    with pytest.raises(ArgumentError, match="no intermediate is named 'nothing'"):
        scan(cell, x, keep=Keep(intermediates=["nothing"]), gradient=Recompute(4))


def test_nothing_compiles_or_traces_again() -> None:
    cell = GRUCell(4)

    def train(time: int, every: int) -> None:
        scan(cell, torch.randn(2, time, 3), gradient=Recompute(every), engine="native")[0].sum().backward()

    train(7, 2)
    made, traced = compilations(), traces_of(cell).made
    for time, every in ((20, 3), (50, 1), (9, 4), (6, 5)):
        train(time, every)
    assert (compilations(), traces_of(cell).made) == (made, traced)


@pytest.mark.parametrize("engine", ENGINES)
def test_rows_that_ended_are_in_no_later_window(engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rows: list[tuple[int, int]] = []
    original = recompute.Given.of

    def of(given: Any, window: Any, state: list[Tensor]) -> list[Tensor]:
        rows.append((window.first, len(window.lengths)))
        assert all(len(s) == len(window.lengths) for s in state)
        return original(given, window, state)

    monkeypatch.setattr(recompute.Given, "of", of)
    scan(GRUCell(4), torch.randn(6, 10, 3), lengths=LENGTHS, engine=engine, gradient=Recompute(4))[0].sum().backward()
    forward = [(0, 5), (4, 2), (8, 1)]
    assert rows == [*forward, *forward[::-1]]


@pytest.mark.parametrize("engine", ENGINES)
def test_it_is_freed_without_a_collector(engine: str) -> None:
    cell, x = GRUCell(4), torch.randn(2, 7, 3)
    y, _ = scan(cell, x, engine=engine, gradient=Recompute(2))
    gc.disable()
    try:
        call = weakref.ref(y.grad_fn.next_functions[0][0].call if not hasattr(y.grad_fn, "call") else y.grad_fn.call)
        del y, _
        assert call() is None
    finally:
        gc.enable()


def test_autocast_computes_in_float32() -> None:
    cell = GRUCell(4)
    cell.build_for(3)
    x = torch.randn(2, 7, 3, dtype=torch.bfloat16, requires_grad=True)
    found = []
    for gradient in (None, Recompute(3)):
        with torch.autocast("cpu", torch.bfloat16):
            y, _ = scan(cell, x, engine="native", gradient=gradient)
        found.append((y, *torch.autograd.grad(y.sum(), [x, *cell.parameters()])))
    for a, b in zip(*found, strict=True):
        assert_close("gradient", b, a, 64)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("gradient", [None, Recompute(2)], ids=repr)
@pytest.mark.parametrize("create_graph", [False, True])
def test_inputs_made_of_a_parameter_that_the_step_reads(engine: str, gradient: Any, create_graph: bool) -> None:
    cell = GRUCell(4)
    cell.build_for(3)
    cell.double()
    x = torch.randn(2, 7, 4, dtype=DOUBLE)
    tied = dict(cell.named_parameters())["recurrent_kernel"]

    def gradients(engine: str, gradient: Any) -> Any:
        y, _ = scan(cell, x @ tied[:, :3], engine=engine, gradient=gradient)
        found = torch.autograd.grad(y.square().sum(), list(cell.parameters()), create_graph=create_graph)
        if not create_graph:
            return found
        return torch.autograd.grad(torch.stack([t.square().sum() for t in found]).sum(), list(cell.parameters()))

    for a, b in zip(gradients(engine, gradient), gradients("reference", None), strict=True):
        assert_close("gradient", a, b, 256)


@pytest.mark.parametrize("engine", ENGINES)
def test_resets_are_rows_of_their_own(engine: str) -> None:
    cell, x = GRUCell(4), torch.randn(3, 20, 3, requires_grad=True)
    resets = torch.rand(3, 20) < 0.2
    found = []
    for gradient in (None, Recompute(3)):
        y, state = scan(cell, x, lengths=[20, 0, 13], resets=resets, engine=engine, gradient=gradient)
        found.append((y, state.h, *torch.autograd.grad(y.sin().sum() + state.h.sum(), [x, *cell.parameters()])))
    for a, b in zip(*found, strict=True):
        assert_close("result", b, a, 64)
