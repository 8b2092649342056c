"""Compiled loops within autograd: gradients of every order and in every corner are torch's own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck
from torch.utils.checkpoint import checkpoint

from rondeau import Ragged, scan
from rondeau.cells import Cell, GRUCell, HiddenState, LSTMCell, LSTMState, SimpleRNNCell, StackedRNNCells
from rondeau.errors import EngineError

TOLERANCE = 256 * torch.finfo(torch.float64).eps  # of numbers near one


class Pair(NamedTuple):
    """Two tensors."""

    h: Any
    m: Any


class Twice(Cell):
    """Uses one parameter twice, in a product and elementwise, and gives out something else than its state."""

    def __init__(self) -> None:
        super().__init__()
        self.state_size, self.output_size = HiddenState(h=3), 6
        self.kernel = self.add_weight("kernel", (3, 3), "normal")

    def step(self, x: Tensor, state: HiddenState) -> tuple[Tensor, HiddenState]:
        h = torch.tanh(x + state.h @ self.kernel)
        h = torch.sigmoid(h @ self.kernel.t()) * h + self.kernel[0]
        return torch.cat([h, x * h], -1), HiddenState(h)


class Counted(Cell):
    """Beside h, a state that no gradient flows through: detached, a whole number, or a truth value."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.state_size, self.output_size = Pair(3, 3), 3
        self.kernel = self.add_weight("kernel", (3, 3), "normal")
        self.kind = kind

    def initial_state(self, batch: int, **kwargs: Any) -> Pair:
        h = torch.zeros(batch, 3, **kwargs)
        other = {"detached": h.clone(), "int": torch.zeros(batch, 3, dtype=torch.int64)}
        return Pair(h, other.get(self.kind, torch.zeros(batch, 3, dtype=torch.bool)))

    def step(self, x: Tensor, state: Pair) -> tuple[Tensor, Pair]:
        h = torch.tanh(x + state.h @ self.kernel)
        if self.kind == "detached":
            m = 0.5 * state.m + h.detach()
            return h * m, Pair(h, m)
        if self.kind == "int":
            return h / (1 + state.m), Pair(h, state.m + (h > 0).to(torch.int64))
        return torch.where(state.m, h, -2 * h), Pair(h, state.m ^ (h > 0.1))


def double(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, requires_grad=True)


def made(cell: Cell, features: int) -> Cell:
    cell.build_for(features)
    return cell.double()


CELLS: dict[str, tuple[Callable[[], Cell], int]] = {
    "rnn": (lambda: SimpleRNNCell(3), 2),
    "lstm": (lambda: LSTMCell(3), 2),
    "lstm, many features": (lambda: LSTMCell(2), 10),
    "gru": (lambda: GRUCell(3), 2),
    "older gru": (lambda: GRUCell(3, reset_after=False), 2),
    "stack": (lambda: StackedRNNCells([LSTMCell(2), GRUCell(2)]), 2),
    "twice": (Twice, 3),
}


def leaves(state: Any) -> list[Tensor]:
    return [t for part in state for t in (leaves(part) if isinstance(part, tuple) else [part])]


def function(cell: Cell, lengths: list[int], reverse: bool = False) -> tuple[Callable[..., Any], list[Tensor]]:
    """Outputs and final states as a function of inputs, first states and parameters; and those."""
    names = [name for name, _ in cell.named_parameters()]
    begun = cell.initial_state(len(lengths), dtype=torch.float64)
    count = len(leaves(begun))
    given = [double(len(lengths), max(lengths, default=0), cell.features or 3)]
    given += [torch.randn_like(t).requires_grad_() for t in leaves(begun)]
    given += list(cell.parameters())

    def run(x: Tensor, *rest: Tensor) -> tuple[Tensor, ...]:
        assert len(rest) == count + len(names)  # the parameters are the cell's own, and checked in place
        y, last = scan(cell, x, list(rest[:count]), lengths, reverse, engine="native")
        return (y, *leaves(last))

    return run, given


@pytest.mark.parametrize("kind", CELLS)
@pytest.mark.parametrize("reverse", [False, True])
def test_gradients_are_those_of_differences(kind: str, reverse: bool) -> None:
    make, features = CELLS[kind]
    run, given = function(made(make(), features), [3, 0, 2], reverse)
    assert gradcheck(run, given, fast_mode=True)


@pytest.mark.parametrize("kind", ["rnn", "lstm, many features", "older gru", "twice"])
def test_gradients_of_gradients_are_those_of_differences(kind: str) -> None:
    make, features = CELLS[kind]
    run, given = function(made(make(), features), [2, 3])
    assert gradgradcheck(run, given, fast_mode=True)


def gradients(cell: Cell, x: Tensor, engine: str, loss: Callable[[Tensor, Any], Tensor], **given: Any) -> list[Any]:
    """Of x and all parameters; None where there is none."""
    y, last = scan(cell, x, engine=engine, **given)
    wanted = [t for t in (x, *cell.parameters()) if t.requires_grad]
    return list(torch.autograd.grad(loss(y, last), wanted, allow_unused=True))


def agree(found: list[Any], expected: list[Any]) -> bool:
    """Equal but for rounding, as far as there are any; a gradient left out is zero."""
    pairs = zip(found, expected, strict=True)
    return all(a is b is None or torch.allclose(*_both(a, b), rtol=TOLERANCE, atol=TOLERANCE) for a, b in pairs)


def _both(a: Tensor | None, b: Tensor | None) -> tuple[Tensor, Tensor]:
    some = b if a is None else a
    assert some is not None
    return (torch.zeros_like(some) if a is None else a), (torch.zeros_like(some) if b is None else b)


LOSSES: dict[str, Callable[[Tensor, Any], Tensor]] = {
    "output": lambda y, last: y.square().sum(),
    "state": lambda y, last: last[0].square().sum(),
    "last state": lambda y, last: last[-1].square().sum(),
    "one step": lambda y, last: y[:, 1].sum(),
    "one row": lambda y, last: y[1].sum() + last[0][1].sum(),
    "everything": lambda y, last: y.sum() * sum(s.square().sum() for s in last),
}


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("kind", ["lstm", "older gru", "twice"])
def test_a_loss_of_some_of_the_results(kind: str, loss: str) -> None:
    make, features = CELLS[kind]
    cell, x = made(make(), features), double(3, 4, features)
    both = [gradients(cell, x, engine, LOSSES[loss], lengths=[4, 2, 3]) for engine in ("native", "reference")]
    assert agree(*both)


@pytest.mark.parametrize("frozen", [("kernel",), ("recurrent_kernel",), ("kernel", "recurrent_kernel"), None])
@pytest.mark.parametrize("wants_x", [True, False])
@pytest.mark.parametrize("features", [2, 12])
def test_frozen_parameters_and_inputs_without_gradient(
    frozen: tuple[str, ...] | None, wants_x: bool, features: int
) -> None:
    cell = made(LSTMCell(3), features)
    for name, p in cell.named_parameters():
        p.requires_grad_(frozen is not None and name not in frozen)
    x = double(2, 4, features).detach().requires_grad_(wants_x)
    if frozen is None and not wants_x:
        y, last = scan(cell, x, engine="native")
        assert not any(t.requires_grad for t in (y, *last))
        return
    both = [gradients(cell, x, engine, LOSSES["everything"]) for engine in ("native", "reference")]
    assert agree(*both)
    assert all(g is not None for g in both[0])


def test_first_states_alone_want_a_gradient() -> None:
    cell = made(LSTMCell(3), 2).requires_grad_(False)
    x = double(2, 4, 2).detach()
    found = []
    for engine in ("native", "reference"):
        h, c = torch.ones(2, 3, dtype=torch.float64), torch.ones(2, 3, dtype=torch.float64, requires_grad=True)
        y, last = scan(cell, x, LSTMState(h, c), lengths=[4, 0], engine=engine)
        found.append(list(torch.autograd.grad(y.sum() + last.h.sum(), [c])))
        assert h.grad is None
    assert agree(*found)
    assert not found[0][0][1].any(), "a row without steps hands h on, and c does not reach it"


@pytest.mark.parametrize("kind", ["detached", "int", "bool"])
@pytest.mark.filterwarnings("ignore:Counted runs on the slow reference loop:RuntimeWarning")
def test_states_that_no_gradient_flows_through(kind: str) -> None:
    cell = made(Counted(kind), 3)
    x = double(3, 5, 3)
    found, states = [], []
    for engine in (None, "reference"):
        y, last = scan(cell, x, lengths=[5, 0, 2], engine=engine)
        found.append([y, *torch.autograd.grad(y.square().sum() + last.h.sum(), [x, cell.kernel], retain_graph=True)])
        states.append(last.m)
        if last.m.requires_grad:
            assert not any(g.any() for g in torch.autograd.grad(last.m.sum(), [x, cell.kernel]))
    assert agree(*found)
    assert states[0].dtype == states[1].dtype
    assert torch.allclose(*(s.double() for s in states), rtol=0, atol=TOLERANCE)


def test_two_cells_share_a_parameter() -> None:
    first, second = made(GRUCell(3), 2), made(GRUCell(3), 3)
    second.recurrent_kernel = first.recurrent_kernel
    x = double(2, 4, 2)
    found = []
    for engine in ("native", "reference"):
        y, _ = scan(second, scan(first, x, engine=engine)[0], engine=engine)
        found.append(
            list(torch.autograd.grad(y.square().sum(), [x, first.recurrent_kernel, first.kernel, second.kernel]))
        )
    assert agree(*found)


def test_backward_twice_gives_the_same_twice() -> None:
    cell, x = made(LSTMCell(3), 12), double(2, 4, 12)
    y, _ = scan(cell, x, engine="native")
    wanted = [x, *cell.parameters()]
    first = torch.autograd.grad(y.sum(), wanted, retain_graph=True)
    second = torch.autograd.grad(y.sum(), wanted)
    assert all(map(torch.equal, first, second))
    with pytest.raises(RuntimeError, match="a second time"):
        torch.autograd.grad(y.sum(), wanted)


def test_gradients_add_up() -> None:
    cell, x = made(LSTMCell(3), 2), double(2, 4, 2)
    for _ in range(3):
        scan(cell, x, engine="native")[0].sum().backward()
    once = gradients(cell, x, "reference", lambda y, last: y.sum())
    assert agree([x.grad, *(p.grad for p in cell.parameters())], [3 * g for g in once])


def test_hooks_see_and_change_gradients_once() -> None:
    cell, x = made(LSTMCell(3), 2), double(2, 4, 2)
    plain = gradients(cell, x, "reference", lambda y, last: y.sum())
    seen: list[str] = []

    def halve(gradient: Tensor) -> Tensor:
        seen.append("hook")
        return gradient / 2

    cell.kernel.register_hook(halve)
    cell.bias.register_post_accumulate_grad_hook(lambda p: seen.append("added"))
    x.register_hook(halve)
    for time in (1, 2):
        scan(cell, x, engine="native")[0].sum().backward()
        assert sorted(seen) == sorted(["hook", "hook", "added"] * time)
    expected = [plain[0] / 2, plain[1] / 2, *plain[2:]]
    assert agree([x.grad, *(p.grad for p in cell.parameters())], [2 * g for g in expected])


def test_hooks_within_the_step_are_part_of_it() -> None:
    class Clipped(Cell):
        """Clips the gradient of its state at each step."""

        def __init__(self) -> None:
            super().__init__()
            self.state_size, self.output_size = HiddenState(h=3), 3
            self.kernel = self.add_weight("kernel", (3, 3), "normal")

        def step(self, x: Tensor, state: HiddenState) -> tuple[Tensor, HiddenState]:
            h = torch.tanh(x + state.h @ self.kernel)
            if h.requires_grad:
                h.register_hook(lambda g: g.clamp(-0.1, 0.1))
            return h, HiddenState(h)

    cell, x = made(Clipped(), 3), double(2, 5, 3)
    both = [gradients(cell, x, engine, LOSSES["output"]) for engine in ("native", "reference")]
    assert agree(*both)


# --- what changes between forward and backward ------------------------------------------------------------------------


@pytest.mark.parametrize("what", ["kernel", "recurrent_kernel", "x", "state", "output"])
def test_what_backward_needs_must_not_change_before_it(what: str) -> None:
    cell, x = made(LSTMCell(3), 12), double(2, 4, 12)
    given, begun = x * 1, [double(2, 3) * 1, double(2, 3) * 1]
    ragged = Ragged.from_padded(given, [4, 4])
    y, _ = scan(cell, ragged, begun, engine="native")
    changed = {"x": ragged.values, "state": begun[1], "output": y.values}.get(what)
    with torch.no_grad():
        (getattr(cell, what) if changed is None else changed).add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.values.sum().backward()


def test_an_output_changed_in_place_is_differentiated_or_refused() -> None:
    """The cotangent of what the user made of the output is right, or torch says what is wrong."""
    cell, x = made(GRUCell(3), 2), double(2, 4, 2)
    ragged = Ragged.from_padded(x, [4, 4])
    y, _ = scan(cell, ragged, engine="native")
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.values.mul_(2).sum().backward()


def test_a_final_state_changed_in_place() -> None:
    cell, x = made(GRUCell(3), 2), double(2, 4, 2)
    found = []
    for engine in ("native", "reference"):
        y, last = scan(cell, x, engine=engine)
        last.h.mul_(2)
        found.append(list(torch.autograd.grad(y.sum() + last.h.sum(), [x, *cell.parameters()])))
    assert agree(*found)


def test_a_cell_changed_before_the_second_gradient() -> None:
    """Gradients of gradients step the cell once more; a changed one would give wrong ones."""
    cell, x = made(GRUCell(3), 2), double(2, 4, 2)
    for change in (
        lambda: setattr(cell, "kernel", torch.nn.Parameter(torch.randn_like(cell.kernel))),
        lambda: setattr(cell, "activation", torch.sin),
    ):
        y, _ = scan(cell, x, engine="native")
        change()
        with pytest.raises(EngineError, match="it has changed since the forward pass"):
            torch.autograd.grad(y.square().sum(), [x], create_graph=True)
    with torch.no_grad():
        y, _ = scan(cell, x, engine="native")
    y, _ = scan(cell, x, engine="native")
    with torch.no_grad():
        cell.kernel.mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        torch.autograd.grad(y.square().sum(), [x], create_graph=True)


# --- corners ----------------------------------------------------------------------------------------------------------


def test_second_gradients_of_several_results() -> None:
    cell, x = made(LSTMCell(3), 2), double(2, 4, 2)
    found = []
    for engine in ("native", "reference"):
        y, last = scan(cell, x, lengths=[4, 2], reverse=True, engine=engine)
        first = torch.autograd.grad(y.square().sum() + last.c.sum(), [x, *cell.parameters()], create_graph=True)
        assert all(g.requires_grad for g in first)
        second = torch.autograd.grad(sum((g.square().sum() for g in first), x.new_zeros(())), [x, *cell.parameters()])
        found.append([*first, *second])
    assert agree(*found)


@pytest.mark.filterwarnings("ignore:Anomaly Detection has been enabled:UserWarning")
@pytest.mark.filterwarnings("ignore:Error detected in:UserWarning")
def test_anomaly_mode() -> None:
    cell, x = made(LSTMCell(3), 2), double(2, 4, 2)
    expected = gradients(cell, x, "reference", LOSSES["output"])
    with torch.autograd.detect_anomaly():
        assert agree(gradients(cell, x, "native", LOSSES["output"]), expected)
        with torch.no_grad():
            cell.kernel.fill_(torch.nan)
        y, _ = scan(cell, x, engine="native")
        with pytest.raises(RuntimeError, match="returned nan values"):
            torch.autograd.grad(y.sum(), [x])


@pytest.mark.parametrize(("lengths", "time"), [([], 0), ([], 3), ([0, 0], 0), ([0, 0], 3), ([0, 3], 3), ([1], 1)])
@pytest.mark.parametrize("kind", ["lstm", "lstm, many features", "older gru", "stack", "twice"])
def test_no_rows_and_no_steps(kind: str, lengths: list[int], time: int) -> None:
    make, features = CELLS[kind]
    cell, x = made(make(), features), double(len(lengths), time, features)
    begun = [
        torch.randn_like(t).requires_grad_() for t in leaves(cell.initial_state(len(lengths), dtype=torch.float64))
    ]
    found = []
    for engine in ("native", "reference"):
        y, last = scan(cell, x, begun, lengths, engine=engine)
        with torch.no_grad():
            alone, _ = scan(cell, x, begun, lengths, engine=engine)
        loss = y.square().sum() + sum(s.square().sum() for s in leaves(last))
        wanted = [x, *begun, *cell.parameters()]
        found.append([y, *leaves(last), alone, *torch.autograd.grad(loss, wanted, allow_unused=True)])
    for a, b in zip(*found, strict=True):
        if a is not None and b is not None:
            assert a.shape == b.shape
            assert a.dtype == b.dtype
    assert agree(*found)


def test_a_result_that_depends_on_nothing() -> None:
    class Idle(Cell):
        """Its output is its input, and its state stays."""

        def __init__(self) -> None:
            super().__init__()
            self.state_size, self.output_size = HiddenState(h=2), 3
            self.unused = self.add_weight("unused", (2, 2))

        def step(self, x: Tensor, state: HiddenState) -> tuple[Tensor, HiddenState]:
            return x * 1, HiddenState(state.h)

    cell, x = made(Idle(), 3), double(2, 4, 3)
    both = [gradients(cell, x, engine, LOSSES["everything"]) for engine in ("native", "reference")]
    assert agree(*both)
    assert both[0][1] is None


@pytest.mark.native
def test_a_first_call_may_be_checkpointed() -> None:
    cell, x = GRUCell(7).double(), torch.randn(2, 5, 3, dtype=torch.float64, requires_grad=True)
    outputs, _ = checkpoint(scan, cell, x, engine="native", use_reentrant=False)
    (found,) = torch.autograd.grad(outputs.square().sum(), x)
    (expected,) = torch.autograd.grad(scan(cell, x, engine="reference")[0].square().sum(), x)
    torch.testing.assert_close(found, expected, rtol=TOLERANCE, atol=TOLERANCE)


@pytest.mark.native
def test_a_trace_saves_nothing_for_the_user() -> None:
    seen: list[torch.Size] = []
    cell = GRUCell(7)
    with torch.autograd.graph.saved_tensors_hooks(lambda t: seen.append(t.shape) or t, lambda t: t):  # type: ignore[func-returns-value]
        scan(cell, torch.randn(2, 5, 3), engine="native")
    first = list(seen)
    seen.clear()
    with torch.autograd.graph.saved_tensors_hooks(lambda t: seen.append(t.shape) or t, lambda t: t):  # type: ignore[func-returns-value]
        scan(cell, torch.randn(2, 5, 3), engine="native")
    assert first == seen
