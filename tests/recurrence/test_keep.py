"""What a scan keeps: against torch's own derivatives, and natively as on the reference loop."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor

from rondeau import Keep, Ragged, named, scan
from rondeau.cells import AttentionCell, Cell, GRUCell, HiddenState, LSTMCell, SimpleRNNCell, StackedRNNCells, within
from rondeau.cells.base import state_leaves
from rondeau.errors import ArgumentError, EngineError, RondeauError, ShapeError, StateError
from rondeau.recurrence.engine import traces_of
from rondeau.recurrence.loops import Loops
from tests.recurrence.compare import assert_close, poisoned

ALL: dict[str, Any] = {"states": True, "intermediates": True, "cotangents": True}
LENGTHS = [5, 0, 7, 1, 5]
TOLERANCE = 64  # epsilons of the type, times the largest number: some forty operations in a row


class Two(NamedTuple):
    """A state of two sizes."""

    fast: Any
    slow: Any


class Users(Cell):
    """Two states, one of which the output is made of; one names its gate before, one after it is changed in place."""

    def __init__(self) -> None:
        super().__init__()
        self.state_size, self.output_size = Two(fast=6, slow=3), 4

    def build(self, features: int) -> None:
        self.kernel = self.add_weight("kernel", (features + 6, 6))
        self.down = self.add_weight("down", (6, 3))
        self.out = self.add_weight("out", (3, 4))

    def step(self, x: Tensor, state: Two) -> tuple[Tensor, Two]:
        z = torch.cat([x, state.fast], -1) @ self.kernel
        gate = named("gate", torch.sigmoid(z))
        fast = gate * state.fast + (1 - gate) * torch.tanh(z)
        low = named("low", fast @ self.down)
        low = low * 2
        named("input", x)
        named("open", gate > 0.5)
        named("norm", fast.square().sum(-1))
        slow = 0.9 * state.slow + 0.1 * low
        return slow @ self.out, Two(fast, slow)


class Three(NamedTuple):
    a: Any
    b: Any
    c: Any


class Stays(Cell):
    """A state that is handed on as it came, one that is given out twice, and one that nothing depends on."""

    def __init__(self) -> None:
        super().__init__()
        self.state_size, self.output_size = Three(3, 3, 3), 3

    def build(self, features: int) -> None:
        self.kernel = self.add_weight("kernel", (features, 3))

    def step(self, x: Tensor, state: Three) -> tuple[Tensor, Three]:
        a, b, _ = state
        h = torch.tanh(x @ self.kernel + 0.5 * b + a * a)
        return h, Three(a, h, torch.zeros_like(h))


CELLS: dict[str, Callable[[], Cell]] = {
    "SimpleRNN": lambda: SimpleRNNCell(5),
    "LSTM": lambda: LSTMCell(5),
    "GRU": lambda: GRUCell(5),
    "GRU, reset before": lambda: GRUCell(5, reset_after=False),
    "a user's": Users,
    "stacked": lambda: StackedRNNCells([LSTMCell(4), GRUCell(5)]),
    "states of all kinds": Stays,
}


def values(keep: Keep) -> dict[str, Tensor]:
    """All that was kept, by name."""
    found = dict(keep.intermediates)
    found |= {f"state {name}": r for name, r in state_leaves(keep.states)}
    found |= {f"cotangent of {name}": r for name, r in state_leaves(keep.cotangents)}
    return {name: r.values for name, r in found.items()}


def kept(cell: Cell, x: Ragged, engine: str, reverse: bool = False, **given: Any) -> dict[str, Tensor]:
    """What is kept of a scan whose loss weighs outputs and final states at random, always the same."""
    keep = Keep(**ALL)
    with poisoned():
        outputs, final = scan(cell, x, reverse=reverse, engine=engine, keep=keep, **given)
        g = torch.Generator().manual_seed(1)
        results = [outputs.values, *(t for _, t in state_leaves(final))]
        losses = [torch.sum(r * torch.randn(r.shape, dtype=r.dtype, generator=g)) for r in results]
        torch.autograd.backward([loss for loss in losses if loss.requires_grad])
    found = values(keep)
    assert not any(t.requires_grad for t in found.values())
    return {"output": outputs.values.detach(), **found}


def check(cell: Cell, x: Ragged, reverse: bool = False, **given: Any) -> dict[str, Tensor]:
    native, reference = (kept(cell, x, engine, reverse, **given) for engine in ("native", "reference"))
    assert list(native) == list(reference)
    for name, expected in reference.items():
        if expected.is_floating_point():
            assert_close(name, native[name], expected, TOLERANCE)
        else:
            assert torch.equal(native[name], expected), name
    return native


def made(name: str, dtype: torch.dtype = torch.float64) -> tuple[Cell, Ragged]:
    cell = CELLS[name]()
    cell.build_for(3)
    cell.to(dtype)
    x = torch.randn(sum(LENGTHS), 3, dtype=dtype)
    return cell, Ragged(x, torch.tensor(LENGTHS))


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("name", CELLS)
def test_native_loops_keep_what_the_reference_loop_keeps(name: str, reverse: bool) -> None:
    cell, x = made(name)
    check(cell, x, reverse)


@pytest.mark.parametrize("name", ["LSTM", "a user's"])
def test_in_single_precision_too(name: str) -> None:
    cell, x = made(name, torch.float32)
    check(cell, x)


@pytest.mark.parametrize("name", CELLS)
def test_of_dense_rows_too(name: str) -> None:
    cell, x = made(name)
    check(cell, Ragged(x.values[:12], torch.tensor([4, 4, 4])))


@pytest.mark.parametrize("lengths", [[0, 0], []])
@pytest.mark.parametrize("name", CELLS)
def test_of_no_steps_nothing_is_kept_in_the_right_shapes(name: str, lengths: list[int]) -> None:
    cell, x = made(name)
    keep, full = Keep(states=True, intermediates=True), Keep(states=True, intermediates=True)
    scan(cell, x, keep=full)
    for engine in ("native", "reference"):
        scan(cell, Ragged(x.values[:0], torch.tensor(lengths, dtype=torch.int64)), keep=keep, engine=engine)
        for (_, empty), (_, other) in zip(state_leaves(keep.states), state_leaves(full.states), strict=True):
            assert empty.values.shape == (0, *other.values.shape[1:])
        assert list(keep.intermediates) == list(full.intermediates)
        for name, other in full.intermediates.items():
            assert keep.intermediates[name].values.shape == (0, *other.values.shape[1:])
            assert keep.intermediates[name].values.dtype == other.values.dtype


@pytest.mark.parametrize("engine", ["native", "reference"])
@pytest.mark.parametrize("reverse", [False, True])
def test_they_are_what_the_formulas_say(engine: str, reverse: bool) -> None:
    cell, x = LSTMCell(4), torch.randn(2, 6, 3)
    keep = Keep(states=True, intermediates=True)
    outputs, final = scan(cell, x, lengths=[6, 4], reverse=reverse, engine=engine, keep=keep)
    h, c, gates = keep.states.h, keep.states.c, keep.intermediates
    assert torch.equal(h.pad(), outputs)
    last = [(0, 0 if reverse else 5), (1, 0 if reverse else 3)]
    assert torch.equal(torch.stack([c.pad()[at] for at in last]), final.c)
    assert cell.bias is not None
    z = x[0, 0] @ cell.kernel + cell.bias
    z = z + (h.pad()[0, 1] @ cell.recurrent_kernel if reverse else 0)
    i, f, g, o = z.chunk(4)
    expected = {
        "input_gate": i.sigmoid(),
        "forget_gate": f.sigmoid(),
        "candidate": g.tanh(),
        "output_gate": o.sigmoid(),
    }
    assert set(gates) == set(expected)
    for name, value in expected.items():
        torch.testing.assert_close(gates[name].pad()[0, 0], value)
    assert gates["input_gate"].lengths.tolist() == [6, 4]


@pytest.mark.parametrize("engine", ["native", "reference"])
def test_the_names_of_a_gru_s_gates(engine: str) -> None:
    for after in (True, False):
        cell, x = GRUCell(4, reset_after=after), torch.randn(2, 6, 3)
        keep = Keep(states=True, intermediates=True)
        scan(cell, x, engine=engine, keep=keep)
        z, n = keep.intermediates["update_gate"].pad(), keep.intermediates["candidate"].pad()
        h = keep.states.h.pad()
        before = torch.cat([torch.zeros(2, 1, 4), h[:, :-1]], 1)
        torch.testing.assert_close(z * before + (1 - z) * n, h)
        assert list(keep.intermediates) == ["update_gate", "reset_gate", "candidate"]


@pytest.mark.parametrize("engine", ["native", "reference"])
def test_a_cotangent_is_the_derivative_by_the_state_between_two_scans(engine: str) -> None:
    """Cut after step t, the later steps tell the derivative by the state there; the output's own share is added."""
    cell, x = LSTMCell(4).double(), torch.randn(3, 6, 3, dtype=torch.float64)
    keep = Keep(cotangents=True)
    outputs, _ = scan(cell, x, keep=keep, engine=engine)
    assert cell.bias is not None
    outputs.pow(3).sum().backward()
    for t in range(5):
        _, state = scan(cell, x[:, : t + 1], engine="reference")
        h, c = (s.detach().requires_grad_() for s in state)
        later, _ = scan(cell, x[:, t + 1 :], (h, c), engine="reference")
        loss = later.pow(3).sum() + h.pow(3).sum()
        by_h, through_c = torch.autograd.grad(loss, (h, c))
        torch.testing.assert_close(keep.cotangents.h.pad()[:, t], by_h)
        o = torch.sigmoid((x[:, t] @ cell.kernel + _before(cell, x, t) @ cell.recurrent_kernel + cell.bias)[:, 12:])
        through_h = by_h * o * (1 - torch.tanh(c) ** 2)
        torch.testing.assert_close(keep.cotangents.c.pad()[:, t], through_c + through_h)


def _before(cell: Cell, x: Tensor, t: int) -> Tensor:
    return scan(cell, x[:, :t], engine="reference")[1].h if t else torch.zeros(len(x), 4, dtype=x.dtype)


def test_a_state_handed_on_has_the_cotangent_of_the_later_steps_alone() -> None:
    cell, x = made("states of all kinds")
    state = Three(*(torch.rand(1, 3, dtype=torch.float64) for _ in range(3)))
    found = check(cell, Ragged(x.values[:4], torch.tensor([4])), state=state)
    assert found["cotangent of a"][3].ne(0).all()  # of the final state
    assert found["cotangent of a"][0].ne(found["cotangent of a"][3]).all()
    assert found["cotangent of c"][:3].eq(0).all()


def test_an_attention_s_weights_over_a_memory_of_any_length() -> None:
    cell = AttentionCell(GRUCell(4)).double()
    x = Ragged(torch.randn(7, 3, dtype=torch.float64), torch.tensor([5, 2]))
    for time in (6, 9):
        context = {n: t.detach() for n, t in cell.remember(torch.randn(2, time, 4, dtype=torch.float64)).items()}
        found = check(cell, x, context=context)
        assert found["attention"].shape == (7, time)
        torch.testing.assert_close(found["attention"].sum(-1), torch.ones(7, dtype=torch.float64))
        assert "cell.update_gate" in found


def test_what_a_user_s_cell_names() -> None:
    cell, x = made("a user's")
    assert isinstance(cell, Users)
    found = check(cell, x)
    assert torch.equal(found["input"], x.values)
    assert found["open"].dtype == torch.bool
    assert torch.equal(found["open"], found["gate"] > 0.5)
    assert found["norm"].shape == (len(x.values),)
    torch.testing.assert_close(found["norm"], found["state fast"].square().sum(-1))
    torch.testing.assert_close(found["low"], found["state fast"] @ cell.down)


@pytest.mark.parametrize("engine", ["native", "reference"])
def test_changed_in_place_afterwards_it_stays_as_it_was_named(engine: str) -> None:
    class Changes(Cell):
        state_size, output_size = HiddenState(h=3), 3

        def step(self, x: Tensor, state: HiddenState) -> tuple[Tensor, HiddenState]:
            h = named("before", x + state.h)
            h.mul_(2)
            return h, HiddenState(named("after", h))

    keep = Keep(intermediates=True)
    x = torch.randn(2, 4, 3)
    with torch.no_grad():
        scan(Changes(), x, keep=keep, engine=engine)
    before, after = (keep.intermediates[name].values for name in ("before", "after"))
    assert torch.equal(2 * before, after)


@pytest.mark.parametrize("engine", ["native", "reference"])
def test_names_in_a_stack_say_the_cell_s_place(engine: str) -> None:
    cell = StackedRNNCells([GRUCell(3), StackedRNNCells([GRUCell(3)])])
    keep = Keep(intermediates=["0.reset_gate", "1.0.candidate"], states=True)
    scan(cell, torch.randn(2, 3, 3), keep=keep, engine=engine)
    assert list(keep.intermediates) == ["0.reset_gate", "1.0.candidate"]
    assert keep.states[1][0].h.values.shape == (6, 3)


@pytest.mark.parametrize("engine", ["native", "reference"])
def test_asked_for_alone_nothing_else_is_kept(engine: str) -> None:
    x, cell = torch.randn(2, 3, 3), LSTMCell(4)
    keep = Keep(intermediates=["forget_gate"])
    with torch.no_grad():
        scan(cell, x, keep=keep, engine=engine)
    assert list(keep.intermediates) == ["forget_gate"]
    for name in ("states", "cotangents"):
        with pytest.raises(StateError, match=f"{name} were not kept. Ask for them: Keep\\({name}=True\\)"):
            getattr(keep, name)
    keep = Keep(states=True)
    scan(cell, x, keep=keep, engine=engine)
    assert keep.states.c.pad().shape == (2, 3, 4)
    with pytest.raises(StateError, match="intermediates were not kept"):
        keep.intermediates  # noqa: B018


def test_nothing_kept_nothing_changed() -> None:
    """The kernels are those of a step without names, and a scan that keeps computes the same bits."""

    class Bare(GRUCell):
        def step(self, x: Tensor, state: HiddenState, context: Any) -> tuple[Tensor, HiddenState]:
            assert self.bias is not None
            from_x, from_h = x @ self.kernel + self.bias[0], state.h @ self.recurrent_kernel + self.bias[1]
            xz, xr, xn = from_x.chunk(3, dim=-1)
            hz, hr, hn = from_h.chunk(3, dim=-1)
            z, r = self.recurrent_activation(xz + hz), self.recurrent_activation(xr + hr)
            n = xn + r * hn
            h = z * state.h + (1 - z) * self.activation(n)
            return h, HiddenState(h)

    cell, bare, x = GRUCell(5), Bare(5), torch.randn(3, 4, 2)
    plain, _ = scan(cell, x, engine="native")
    again, _ = scan(cell, x, engine="native", keep=Keep(**ALL))
    scan(bare, x, engine="native")
    assert torch.equal(plain, again)
    first, keeping = (_loops(cell, place) for place in (0, 1))
    other = _loops(bare, 0)
    for loop in ("training", "inference", "backward"):
        assert getattr(first, loop).text == getattr(other, loop).text
        assert getattr(first, loop).text != getattr(keeping, loop).text
    assert traces_of(cell).made == 2
    scan(cell, x, engine="native")
    scan(cell, x, engine="native", keep=Keep(**ALL))
    assert traces_of(cell).made == 2


def _loops(cell: Cell, place: int) -> Loops:
    loops = list(traces_of(cell).entries.values())[place].loops
    assert loops is not None
    return loops


@pytest.mark.parametrize("engine", ["native", "reference"])
def test_each_backward_pass_begins_anew(engine: str) -> None:
    cell, x = GRUCell(3).double(), torch.randn(2, 4, 2, dtype=torch.float64)
    keep = Keep(cotangents=True)
    outputs, final = scan(cell, x, keep=keep, engine=engine)
    with pytest.raises(StateError, match="before a backward pass"):
        keep.cotangents  # noqa: B018
    outputs[:, :2].sum().backward(retain_graph=True)
    first = keep.cotangents.h.values
    assert first.view(2, 4, 3)[:, 2:].eq(0).all()
    final.h.sum().backward(retain_graph=True)
    assert keep.cotangents.h.pad()[:, 3].eq(1).all()
    outputs[:, :2].sum().backward()
    torch.testing.assert_close(keep.cotangents.h.values, first)


@pytest.mark.parametrize("engine", ["native", "reference"])
def test_an_earlier_scan_s_backward_pass_writes_over_nothing(engine: str) -> None:
    cell, keep = GRUCell(3), Keep(cotangents=True, states=True)
    early, _ = scan(cell, torch.randn(2, 4, 2), keep=keep, engine=engine)
    late, _ = scan(cell, torch.randn(1, 3, 2), keep=keep, engine=engine)
    early.sum().backward()
    with pytest.raises(StateError, match="before a backward pass"):
        keep.cotangents  # noqa: B018
    late.sum().backward()
    assert keep.cotangents.h.pad().shape == keep.states.h.pad().shape == (1, 3, 3)


def test_gradients_of_gradients_tell_the_same_cotangents() -> None:
    cell, x = LSTMCell(3).double(), torch.randn(2, 4, 2, dtype=torch.float64, requires_grad=True)
    found = []
    for engine, create in (("native", False), ("native", True), ("reference", True)):
        keep = Keep(**ALL)
        outputs, _ = scan(cell, x, keep=keep, engine=engine)
        (gradient,) = torch.autograd.grad(outputs.square().sum(), x, create_graph=create)
        found.append(values(keep))
        assert not any(t.requires_grad for t in found[-1].values())
        if create:
            gradient.square().sum().backward()
    for other in found[1:]:
        for name, value in found[0].items():
            torch.testing.assert_close(other[name], value)


@pytest.mark.parametrize("engine", ["native", "reference"])
def test_frozen_and_without_input_gradients_there_are_cotangents_all_the_same(engine: str) -> None:
    cell, x = LSTMCell(3), torch.randn(2, 4, 2)
    keep, frozen = Keep(cotangents=True), Keep(cotangents=True)
    outputs, _ = scan(cell, x, keep=keep, engine=engine)
    outputs.square().sum().backward()
    cell.requires_grad_(False)
    outputs, _ = scan(cell, x, keep=frozen, engine=engine)
    outputs.square().sum().backward()
    for (_, a), (_, b) in zip(state_leaves(keep.cotangents), state_leaves(frozen.cotangents), strict=True):
        torch.testing.assert_close(a.values, b.values)


def test_masks_with_holes_are_carried_along() -> None:
    mask = torch.tensor([[True, False, True], [False, True, True]])
    x = torch.randn(2, 3, 4)
    keep = Keep(states=True)
    outputs, _ = scan(LSTMCell(3), Ragged.compress(x, mask), keep=keep)
    assert torch.equal(keep.states.h.expand(), outputs.expand())


def test_a_scan_within_a_step_has_names_of_its_own() -> None:
    class Nested(Cell):
        def __init__(self) -> None:
            super().__init__()
            self.state_size, self.output_size, self.inner = HiddenState(h=3), 3, GRUCell(3)

        def step(self, x: Tensor, state: HiddenState) -> tuple[Tensor, HiddenState]:
            _, inner = scan(self.inner, x[:, None].expand(-1, 2, -1), engine="reference")
            h = named("update_gate", 0.5 * (state.h + inner.h))
            return h, HiddenState(h)

    keep = Keep(intermediates=True)
    scan(Nested(), torch.randn(2, 3, 4), keep=keep, engine="reference")
    assert list(keep.intermediates) == ["update_gate"]


@pytest.mark.parametrize("engine", ["native", "reference", None])
@pytest.mark.parametrize(
    ("wrong", "names", "error", "message"),
    [
        (lambda x: named("a", named("a", x)), True, ArgumentError, "two intermediates of a step are named 'a'"),
        (
            lambda x: named("a", torch.ones(3)),
            True,
            ShapeError,
            r"named\('a', ...\).*expected a tensor \(.*, ...\), got \(3,\)",
        ),
        (lambda x: named("a", 1.0), True, ShapeError, "got float"),
        (lambda x: named("a", x), ["b"], ArgumentError, "no intermediate is named 'b'.*expected one of: a"),
        (lambda x: x, ["b"], ArgumentError, "expected none, since the step names nothing.*rondeau.named"),
    ],
)
def test_names_that_do_not_fit(engine: Any, wrong: Any, names: Any, error: type[RondeauError], message: str) -> None:
    class Wrong(Cell):
        state_size, output_size = HiddenState(h=2), 2

        def step(self, x: Tensor, state: HiddenState) -> tuple[Tensor, HiddenState]:
            wrong(x)
            return x, HiddenState(x)

    x = torch.randn(4, 3, 2)
    with pytest.raises(error if engine != "native" else EngineError, match=message):
        scan(Wrong(), x, keep=Keep(intermediates=names), engine=engine)
    if names is True:
        scan(Wrong(), x, engine=engine)  # nobody asks, nobody looks


def test_named_at_some_steps_only() -> None:
    class Some(Cell):
        state_size, output_size, steps = HiddenState(h=2), 2, 0

        def step(self, x: Tensor, state: HiddenState) -> tuple[Tensor, HiddenState]:
            Some.steps += 1
            return named("odd" if Some.steps % 2 else "even", x), HiddenState(x)

    with pytest.raises(ArgumentError, match=r"at some steps only: even, odd .*Some.step.*every step"):
        scan(Some(), torch.randn(4, 3, 2), keep=Keep(intermediates=True), engine="reference")


def test_a_cell_around_another_says_its_place() -> None:
    class Around(Cell):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = GRUCell(3), GRUCell(3)
            self.a.build_for(3)
            self.b.build_for(3)
            self.state_size, self.output_size = (HiddenState(3), HiddenState(3)), 3

        def step(self, x: Tensor, state: Any) -> tuple[Tensor, Any]:
            with within("a"):
                y, a = self.a(x, state[0])
            with within("b"):
                y, b = self.b(y, state[1])
            return y, (a, b)

    keep = Keep(intermediates=["b.candidate"])
    for engine in ("native", "reference"):
        scan(Around(), torch.randn(2, 3, 3), keep=keep, engine=engine)
        assert list(keep.intermediates) == ["b.candidate"]


def test_what_keep_refuses() -> None:
    with pytest.raises(ArgumentError, match="Keep keeps nothing"):
        Keep()
    for names in ("forget_gate", [], [1], 3):
        with pytest.raises(ArgumentError, match="Keep: intermediates: expected True, or a list of names"):
            Keep(intermediates=names)  # type: ignore[arg-type]
    with pytest.raises(StateError, match="states are read before the scan"):
        Keep(states=True).states  # noqa: B018
    x = torch.randn(2, 3, 4)
    with pytest.raises(ArgumentError, match="scan: keep: expected a Keep, got bool"):
        scan(LSTMCell(3), x, keep=True)  # type: ignore[arg-type]
    with torch.no_grad(), pytest.raises(ArgumentError, match="cotangents are to be kept, but gradients are disabled"):
        scan(LSTMCell(3), x, keep=Keep(cotangents=True))


COMPILED = """
import torch
from rondeau.cells import GRUCell, LSTMCell, StackedRNNCells

cell, x = StackedRNNCells([LSTMCell(4), GRUCell(4)]), torch.ones(2, 3)
expected, _ = cell(x)
assert torch.equal(torch.compile(lambda x: cell(x)[0], backend="eager", fullgraph=True)(x), expected)

from rondeau import Keep, scan

keep = Keep(states=True, intermediates=["0.forget_gate"], cotangents=True)
outputs, _ = torch.compile(lambda x: scan(cell, 2 * x, keep=keep), backend="eager")(x[None])
outputs.sum().backward()
assert keep.states[0].h.values.shape == keep.cotangents[0].h.values.shape == (2, 4)
assert list(keep.intermediates) == ["0.forget_gate"]
"""


def test_torch_compile_passes_names_by_and_runs_a_scan_that_keeps_outside_of_its_graph() -> None:
    # by itself: the shape checks of these tests stand between
    subprocess.run([sys.executable, "-c", COMPILED], check=True, timeout=120)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("engine", ["native", "reference"])
def test_with_resets_everything_is_in_the_order_of_the_rows(engine: str, reverse: bool) -> None:
    torch.manual_seed(0)
    cell, x = LSTMCell(3).double(), torch.randn(2, 5, 3, dtype=torch.float64)
    keep = Keep(states=True, cotangents=True)
    resets = torch.tensor([[0, 0, 1, 0, 0], [0, 1, 0, 0, 1]])
    outputs, _ = scan(cell, x, resets=resets, reverse=reverse, keep=keep, engine=engine)
    outputs.pow(2).sum().backward()
    assert torch.equal(keep.states.h.pad(), outputs)
    alone = Keep(cotangents=True)
    part, _ = scan(cell, x[:1, 2:], reverse=reverse, keep=alone, engine=engine)
    part.pow(2).sum().backward()
    torch.testing.assert_close(keep.cotangents.h.pad()[0, 2:], alone.cotangents.h.pad()[0], rtol=0, atol=1e-14)
    assert keep.cotangents.h.pad()[0, :2].abs().min() > 0
