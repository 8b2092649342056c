"""A vendor's library in the place of the steps.

torch's functions take CPU tensors too: what they compute is held to the reference loop here. That they call cuDNN, and
what comes of it, is for test_cuda.py.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.utils.checkpoint
from torch import Tensor
from torch.nn.utils.parametrizations import weight_norm

from rondeau import Keep, Ragged, Recompute, Sequential, Truncated, explain, scan
from rondeau.cells import Cell, GRUCell, HiddenState, LSTMCell, SimpleRNNCell, StackedRNNCells, VendorKernel, cudnn
from rondeau.cells.base import state_leaves
from rondeau.errors import EngineError
from rondeau.layers import GRU, LSTM, Bidirectional
from rondeau.recurrence import engine, vendor
from tests.recurrence.compare import Case, assert_close, results

EPSILONS = 64  # of the type, times the largest number: sums of some thirty terms, in another order
CELLS: dict[str, Any] = {
    "tanh": lambda: SimpleRNNCell(5, bias_initializer="normal"),
    "relu": lambda: SimpleRNNCell(5, activation="relu", bias_initializer="normal"),
    "rnn without bias": lambda: SimpleRNNCell(5, use_bias=False),
    "lstm": lambda: LSTMCell(5, bias_initializer="normal"),
    "lstm without bias": lambda: LSTMCell(5, use_bias=False),
    "gru": lambda: GRUCell(5, bias_initializer="normal"),
    "gru without bias": lambda: GRUCell(5, use_bias=False),
}
LENGTHS = {
    "dense": [4, 4, 4],
    "ragged": [2, 5, 1, 3],
    "rows without steps": [0, 3, 0, 4, 0],
    "one step": [1],
    "one row": [6],
}


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """CPU tensors count as elsewhere, and cuDNN as there; gives the names of the kernels that ran."""
    ran: list[str] = []
    run = vendor.run

    def counted(kernel: VendorKernel, *given: Any) -> Any:
        ran.append(kernel.name)
        return run(kernel, *given)

    monkeypatch.setattr(vendor, "away", lambda device: True)
    monkeypatch.setattr(vendor, "run", counted)
    monkeypatch.setattr(cudnn, "missing", lambda tensor: None)
    monkeypatch.setattr(engine, "_forced", [])  # whatever the tests were started with
    return ran


def built(name: str, features: int = 3) -> Cell:
    cell: Cell = CELLS[name]()
    cell.build_for(features)
    return cell.double()


def check(cell: Cell, case: Case, calls: list[str]) -> None:
    """Outputs, final states, and gradients, by the library as on the reference loop."""
    calls.clear()
    found = results(cell, case, None)
    assert len(calls) == 1
    expected = results(cell, case, "reference")
    assert len(calls) == 1
    assert found.keys() == expected.keys()
    for name, right in expected.items():
        assert_close(name, found[name], right, EPSILONS)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("lengths", LENGTHS)
@pytest.mark.parametrize("name", CELLS)
def test_outputs_states_and_gradients(name: str, lengths: str, reverse: bool, calls: list[str]) -> None:
    cell = built(name)
    case = Case.random(cell, 3, LENGTHS[lengths])
    case.reverse = reverse
    check(cell, case, calls)


@pytest.mark.parametrize(("features", "units"), [(1, 1), (17, 3), (3, 33)])
@pytest.mark.parametrize("kind", [SimpleRNNCell, LSTMCell, GRUCell])
def test_sizes(kind: Any, features: int, units: int, calls: list[str]) -> None:
    cell = kind(units)
    cell.build_for(features)
    check(cell.double(), Case.random(cell, features, [3, 1, 4]), calls)


def test_the_names_of_the_kernels(calls: list[str]) -> None:
    for name in CELLS:
        scan(built(name), torch.zeros(2, 3, 3, dtype=torch.float64))
    functions = ("rnn_tanh", "rnn_relu", "rnn_tanh", "lstm", "lstm", "gru", "gru")
    assert calls == [f"cuDNN, through torch.{function}" for function in functions]


def test_padded_and_compressed_inputs_and_resets(calls: list[str]) -> None:
    cell = built("gru")
    x = torch.randn(3, 5, 3, dtype=torch.float64)
    resets = torch.rand(3, 5) < 0.4
    mask = torch.tensor([[0, 1, 0, 1, 1], [0, 0, 0, 0, 0], [1, 1, 0, 0, 1]], dtype=torch.bool)
    ways: list[Any] = [
        ((x,), {}),
        ((x.transpose(0, 1).contiguous().transpose(0, 1),), {"lengths": [5, 0, 2]}),
        ((Ragged.compress(x, mask),), {"reverse": True}),
        ((x,), {"resets": resets}),
        ((x,), {"resets": resets, "reverse": True, "lengths": [5, 0, 3]}),
    ]
    for given, more in ways:
        (y, state), (expected, last) = scan(cell, *given, **more), scan(cell, *given, **more, engine="reference")
        a, b = (t.values if isinstance(t, Ragged) else t for t in (y, expected))
        assert_close("outputs", a.detach(), b.detach(), EPSILONS)
        assert_close("final state", state.h.detach(), last.h.detach(), EPSILONS)
        assert type(state) is HiddenState
    assert len(calls) == len(ways)


def test_what_takes_no_gradient(calls: list[str]) -> None:
    cell = built("lstm")
    x = torch.randn(2, 4, 3, dtype=torch.float64)
    expected, _ = scan(cell, x, engine="reference")
    with torch.no_grad():
        y, _ = scan(cell, x)
    assert not y.requires_grad
    assert_close("without gradients", y, expected.detach(), EPSILONS)
    with torch.inference_mode():
        assert torch.equal(scan(cell, x)[0], y)
    cell.kernel.requires_grad_(False)
    wanted = [cell.recurrent_kernel, cell.bias]
    found = torch.autograd.grad(scan(cell, x)[0].square().sum(), wanted)
    right = torch.autograd.grad(scan(cell, x, engine="reference")[0].square().sum(), wanted)
    assert all(torch.allclose(a, b, rtol=1e-12, atol=1e-12) for a, b in zip(found, right, strict=True))
    cell.requires_grad_(False)
    assert not scan(cell, x)[0].requires_grad
    x.requires_grad_()
    _, state = scan(cell, x)
    [found_x] = torch.autograd.grad(state.c.sum(), x)  # the output has no part in it
    [right_x] = torch.autograd.grad(scan(cell, x, engine="reference")[1].c.sum(), x)
    assert_close("gradient of x", found_x, right_x, EPSILONS)


def test_backward_twice_and_after_a_change(calls: list[str]) -> None:
    cell = built("gru")
    x = torch.randn(2, 4, 3, dtype=torch.float64, requires_grad=True)
    y, _ = scan(cell, x)
    [first] = torch.autograd.grad(y.sum(), x, retain_graph=True)
    [second] = torch.autograd.grad(y.sum(), x)
    assert torch.equal(first, second)
    with pytest.raises(RuntimeError, match="second time"):
        torch.autograd.grad(y.sum(), x)
    y, _ = scan(cell, x)
    with torch.no_grad():
        x.add_(1)
        cell.recurrent_kernel.add_(1)  # what was read is a copy, as with torch's own modules it is not
    assert torch.isfinite(torch.autograd.grad(y.sum(), cell.kernel)[0]).all()


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("name", CELLS)
def test_gradients_of_gradients(name: str, reverse: bool, calls: list[str]) -> None:
    cell = built(name)
    case = Case.random(cell, 3, [3, 0, 4])

    def curvature(engine: str | None) -> list[Tensor]:
        x = case.x.clone().requires_grad_()
        h = [t.clone().requires_grad_() for _, t in state_leaves(case.state)]
        y, _ = scan(cell, Ragged(x, case.lengths), h, reverse=reverse, engine=engine)
        weights = list(cell.parameters())
        slopes = torch.autograd.grad(y.values.pow(3).sum(), [x, *h, *weights], create_graph=True)
        return list(torch.autograd.grad(sum(s.pow(2).sum() for s in slopes), [x, *h, *weights]))  # type: ignore[arg-type]

    for found, right in zip(curvature(None), curvature("reference"), strict=True):
        assert_close("second derivative", found, right, 16 * EPSILONS)
    assert len(calls) == 1


def test_cudnn_has_no_second_derivative_so_it_is_off_there(monkeypatch: pytest.MonkeyPatch, calls: list[str]) -> None:
    seen: list[tuple[bool, bool]] = []
    lstm = torch.lstm

    def spy(*given: Any) -> Any:
        seen.append((torch.backends.cudnn.enabled, given[7]))
        return lstm(*given)

    spy.__name__ = "lstm"
    monkeypatch.setattr(torch, "lstm", spy)
    cell = built("lstm").eval()
    x = torch.randn(2, 4, 3, dtype=torch.float64, requires_grad=True)
    with torch.no_grad():
        scan(cell, x)
    y, _ = scan(cell, x)
    assert seen == [(True, False), (True, True)]  # cuDNN's backward pass wants its "training", whatever the cell's is
    torch.autograd.grad(y.sum(), x, create_graph=True)
    assert seen[2:] == [(False, True)]
    assert torch.backends.cudnn.enabled
    cell.requires_grad_(False)
    scan(cell, x.detach())
    assert seen[3:] == [(True, False)]  # nothing to keep for a backward pass that cannot come


def test_weights_lie_in_one_piece_of_memory_as_cudnn_has_them() -> None:
    for name in CELLS:
        kernel = built(name).vendor()
        assert isinstance(kernel, VendorKernel)
        place = kernel.weights[0].untyped_storage().data_ptr()
        for weight in kernel.weights:
            assert weight.is_contiguous()
            assert weight.data_ptr() == place
            place += weight.nbytes
        assert place == kernel.weights[0].untyped_storage().data_ptr() + kernel.weights[0].untyped_storage().nbytes()


def test_parametrised_weights(calls: list[str]) -> None:
    cell = built("gru")
    weight_norm(cell, "recurrent_kernel")
    with torch.no_grad():
        cell.parametrizations.recurrent_kernel.original0.mul_(2)  # type: ignore[union-attr]
    check(cell, Case.random(cell, 3, [3, 1]), calls)


def test_layers(calls: list[str]) -> None:
    x = torch.randn(4, 6, 3)
    layers: list[Any] = [LSTM(5, return_sequences=True, go_backwards=True), Bidirectional(GRU(4, dropout=0.5))]
    model = Sequential(layers)
    found = model.predict(x, verbose=0)
    assert {name.rpartition(".")[2] for name in calls} == {"lstm", "gru"}
    with engine.use_engine("reference"):
        assert abs(found - model.predict(x, verbose=0)).max() < EPSILONS * torch.finfo(torch.float32).eps


# --- where the reference loop has to do it ----------------------------------------------------------------------------


class OwnStep(LSTMCell):
    """No LSTM any more."""

    def step(self, x: Any, state: Any, context: Any) -> Any:
        h, state = super().step(x, state, context)
        return 2 * h, state


class OwnDrop(GRUCell):
    """Its step calls another function than its parent's does."""

    def drop_inputs(self, x: Any, context: Any) -> Any:
        return x.square()


class Mixin:
    """Comes before the cell it is mixed into."""

    def step(self, x: Any, state: Any, context: Any) -> Any:
        return state.h, HiddenState(state.h + 1)


class Mixed(Mixin, SimpleRNNCell):
    """Another step, from aside."""


def with_step(cell: Cell) -> Cell:
    cell.step = lambda x, state, context: (x @ cell.kernel, state)  # type: ignore[operator]
    return cell


DECLINED: dict[str, tuple[Any, str]] = {
    "a step of its own": (lambda: OwnStep(4), "OwnStep has a step of its own, and no vendor"),
    "a part of the step": (lambda: OwnDrop(4), "its drop_inputs is not that of the formula"),
    "a step mixed in": (lambda: Mixed(4), "Mixed has a step of its own"),
    "a step put on": (lambda: with_step(SimpleRNNCell(4)), "SimpleRNNCell has a step of its own"),
    "activation": (lambda: LSTMCell(4, activation="relu"), "its activation is not tanh"),
    "simple activation": (lambda: SimpleRNNCell(4, activation="sigmoid"), "its activation is not tanh"),
    "gates": (lambda: GRUCell(4, recurrent_activation="hard_sigmoid"), "its recurrent_activation is not sigmoid"),
    "reset": (lambda: GRUCell(4, reset_after=False), "reset_after is false"),
    "dropout": (lambda: LSTMCell(4, dropout=0.1, seed=1), "it drops out within the loop, in training"),
    "recurrent dropout": (lambda: GRUCell(4, recurrent_dropout=0.1, seed=1), "it drops out within the loop"),
    "stack": (lambda: StackedRNNCells([LSTMCell(4)]), "StackedRNNCells offers no kernel of a vendor's library"),
}


@pytest.mark.parametrize("what", DECLINED)
def test_what_no_library_knows(what: str, calls: list[str]) -> None:
    make, reason = DECLINED[what]
    cell = make()
    x = torch.randn(2, 4, 3)
    assert explain(cell, 3).cuda.startswith(f"the reference loop, because {reason}")
    y, _ = scan(cell, x, generator=torch.Generator().manual_seed(1))
    expected, _ = scan(cell, x, generator=torch.Generator().manual_seed(1), engine="reference")
    assert torch.equal(y, expected)
    assert not calls


def test_a_class_whose_step_is_replaced(monkeypatch: pytest.MonkeyPatch, calls: list[str]) -> None:
    cell = LSTMCell(4)
    monkeypatch.setattr(LSTMCell, "step", OwnDrop.step)
    assert "its step is not that of the formula" in explain(cell, 3).cuda
    cell, rnn = GRUCell(4), SimpleRNNCell(4)
    monkeypatch.setattr(GRUCell, "_reset_after", GRUCell._reset_before)
    monkeypatch.setattr(torch, "tanh", torch.sin)
    rnn.activation = torch.tanh
    for each in (cell, rnn):
        scan(each, torch.randn(2, 4, 3))
    assert not calls


def test_what_a_call_asks_for(calls: list[str]) -> None:
    cell = LSTMCell(4, dropout=0.5)
    x = torch.randn(2, 4, 3)
    scan(cell, x)
    assert not calls
    cell.eval()
    scan(cell, x)
    assert len(calls) == 1
    expected, _ = scan(cell, x, engine="reference")
    assert torch.equal(scan(cell, x, context={"input_mask": torch.ones(2, 3)})[0], expected)
    keep = Keep(states=True)
    assert torch.equal(scan(cell, x, keep=keep)[0], expected)
    assert torch.equal(keep.states.h.pad(), expected)
    assert torch.equal(scan(cell, x[:, :0])[1].h, torch.zeros(2, 4))
    assert torch.equal(scan(cell, x, lengths=[0, 0])[0], torch.zeros(2, 4, 4))
    with pytest.raises(RuntimeError, match="dtype"):
        scan(cell, x.double())
    torch.func.grad(lambda v: scan(cell, v)[0].sum())(x)
    assert len(calls) == 1


def test_tensors_that_do_not_go_together() -> None:
    class Marked(Tensor):
        pass

    def choice(cell: Any) -> VendorKernel | str:
        x = Ragged.from_rows([torch.zeros(2, 1)])
        return vendor.choose(cell, x, cell.initial_state(1), {}, None)

    lstm, summing = LSTMCell(4), Running()
    lstm.build_for(1)
    assert choice(lstm) == "cuDNN is for NVIDIA's devices"
    assert choice(lstm.to("meta")) == "inputs, states and weights are on several devices"
    assert isinstance(choice(summing), VendorKernel)
    summing._parameters.clear()
    summing.scale = torch.ones(1).as_subclass(Marked)
    assert choice(summing) == "its weights are no plain tensors"


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_autocast(dtype: torch.dtype, calls: list[str]) -> None:
    cell = LSTMCell(4)
    x = torch.randn(3, 5, 3).to(dtype).requires_grad_()
    expected, _ = scan(cell, x.float(), engine="reference")
    bound = 8 * torch.finfo(torch.bfloat16).eps
    with torch.autocast("cpu", torch.bfloat16):
        y, _ = scan(cell, x)
    assert float((y - expected).detach().abs().max()) < bound
    [once] = torch.autograd.grad(y.sum(), x, retain_graph=True)
    [twice] = torch.autograd.grad(y.sum(), x, create_graph=True)  # outside of autocast
    assert once.dtype == twice.dtype == dtype
    assert float((once - twice).detach().abs().max()) < bound
    assert torch.isfinite(torch.autograd.grad(twice.square().sum(), cell.kernel)[0]).all()
    assert len(calls) == 1


@pytest.mark.parametrize("reentrant", [False, True])
def test_checkpoints_of_torch(reentrant: bool, calls: list[str]) -> None:
    cell = built("gru")
    x = torch.randn(3, 5, 3, dtype=torch.float64, requires_grad=True)
    y = torch.utils.checkpoint.checkpoint(lambda v: scan(cell, v)[0], x, use_reentrant=reentrant)
    y.sum().backward()
    assert len(calls) > 1
    [expected] = torch.autograd.grad(scan(cell, x, engine="reference")[0].sum(), x)
    assert x.grad is not None
    assert_close("gradient of x", x.grad, expected, EPSILONS)


@pytest.mark.parametrize("change", ["tanh", "double"])
def test_changes_between_calls_are_seen(change: str, calls: list[str]) -> None:
    cell = SimpleRNNCell(4)
    x = torch.randn(2, 4, 3)
    scan(cell, x)
    if change == "tanh":
        cell.activation = torch.relu
    else:
        cell, x = cell.double(), x.double()
    for _ in range(2):
        assert_close(change, scan(cell, x)[0].detach(), scan(cell, x, engine="reference")[0].detach(), EPSILONS)
        with torch.no_grad():
            cell.kernel.mul_(2)
    assert len(calls) == 3


def test_compiled_loops_are_for_the_cpu(calls: list[str]) -> None:
    x = torch.randn(2, 4, 3)
    on = r"on cpu, and loops are for the CPU. Leave engine out to run it by"  # the device is only called another here
    with pytest.raises(EngineError, match=rf"{on} cuDNN, through torch.lstm"):
        scan(LSTMCell(4), x, engine="native")
    with pytest.raises(EngineError, match=rf"{on} the reference loop, because reset_after is false"):
        scan(GRUCell(4, reset_after=False), x, engine="native")


# --- a user's own -----------------------------------------------------------------------------------------------------


class Running(Cell):
    """A sum over time, for which there is a function."""

    def __init__(self) -> None:
        super().__init__()
        self.state_size, self.output_size = HiddenState(h=1), 1
        self.scale = self.add_weight("scale", (1,), "ones")

    def step(self, x: Tensor, state: HiddenState) -> tuple[Tensor, HiddenState]:
        h = state.h + self.scale * x
        return h, HiddenState(h)

    def vendor(self) -> VendorKernel | str:
        def run(values: Any, batch_sizes: Any, states: Any, weights: Any, twice: bool) -> Any:
            columns = torch.nn.utils.rnn.PackedSequence(values, batch_sizes)
            padded, lengths = torch.nn.utils.rnn.pad_packed_sequence(columns)
            sums = states[0] + (weights[0] * padded).cumsum(0)
            packed = torch.nn.utils.rnn.pack_padded_sequence(sums, lengths)
            return packed.data, [sums[lengths - 1, torch.arange(len(lengths))]]

        return VendorKernel("a cumulative sum", (self.scale,), run, lambda tensor: None)


class Squares(Running):
    """Leaves the sum's kernel behind."""

    def step(self, x: Tensor, state: HiddenState) -> tuple[Tensor, HiddenState]:
        return super().step(x.square(), state)


class Plainly(Running):
    """Its vendor is as new as its step."""

    def step(self, x: Tensor, state: HiddenState) -> tuple[Tensor, HiddenState]:
        return super().step(x, state)

    def vendor(self) -> VendorKernel | str:
        return super().vendor()


def test_a_kernel_of_ones_own(calls: list[str]) -> None:
    cell = Running().double()
    check(cell, Case.random(cell, 1, [3, 0, 5, 1]), calls)
    assert explain(cell, 1).cuda == "a cumulative sum"
    cell = Plainly().double()
    check(cell, Case.random(cell, 1, [3, 1]), calls)
    scan(Squares(), torch.ones(2, 3, 1))
    assert calls == ["a cumulative sum"]
    assert explain(Squares(), 1).cuda.startswith("the reference loop, because Squares has a step of its own")


# --- what there is on this machine ------------------------------------------------------------------------------------


def test_what_cudnn_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    class There:
        """A tensor on CUDA, as far as anyone asks."""

        device, dtype = torch.device("cuda", 0), torch.bfloat16

    there: Any = There()
    assert cudnn.missing(torch.zeros(1)) == "cuDNN is for NVIDIA's devices"
    monkeypatch.setattr(torch.version, "hip", None)
    assert cudnn.missing(there) == "torch.backends.cudnn takes no torch.bfloat16 on cuda:0"
    monkeypatch.setattr(torch.backends.cudnn, "is_acceptable", lambda tensor: True)
    assert cudnn.missing(there) is None
    with torch.backends.cudnn.flags(enabled=False):
        assert cudnn.missing(there) == "torch.backends.cudnn.enabled is false"
    monkeypatch.setattr(torch.version, "hip", "6.0")
    assert cudnn.missing(there) == "cuDNN is for NVIDIA's devices"


def test_on_the_cpu_nothing_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LSTMCell, "vendor", lambda cell: pytest.fail("asked"))
    scan(LSTMCell(4), torch.zeros(2, 3, 3))


def test_explained(calls: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    plan = explain(LSTMCell(4), 3)  # all is elsewhere here
    assert (plan.native, plan.vendor, plan.cuda) == (False, *["cuDNN, through torch.lstm"] * 2)
    assert str(plan).startswith("LSTMCell, 3 features, float32: cuDNN, through torch.lstm\n")
    plan = explain(LSTMCell(4, dropout=0.5, seed=1).eval(), 3)
    assert plan.vendor == "cuDNN, through torch.lstm"
    monkeypatch.setattr(vendor, "away", lambda device: False)
    plan = explain(LSTMCell(4), 3)
    assert (plan.native, plan.vendor, plan.cuda) == (True, None, "cuDNN, through torch.lstm")
    assert "\non CUDA:\n  cuDNN, through torch.lstm\n" in str(plan)
    cell = LSTMCell(4)
    cell.build_for(3)
    assert explain(cell.bfloat16()).cuda == "the reference loop, because torch.backends.cudnn takes no torch.bfloat16"
    plan = explain(OwnStep(4), 3)
    assert plan.native
    assert "\non CUDA:\n  the reference loop, because OwnStep has a step of its own" in str(plan)


@pytest.mark.parametrize("name", ["tanh", "lstm", "gru"])
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("lengths", ["dense", "ragged", "rows without steps"])
def test_windows_are_the_kernels_too(calls: list[str], name: str, reverse: bool, lengths: str) -> None:
    cell = CELLS[name]()
    cell.build_for(4)
    cell.double()
    case = Case.random(cell, 4, LENGTHS[lengths])
    case.reverse = reverse
    expected = results(cell, case, "reference")
    for name, found in results(cell, case, None, gradient=Recompute(2)).items():
        assert_close(name, found, expected[name], EPSILONS)
    assert len(calls) == 2 * -(-max(LENGTHS[lengths]) // 2)  # there and back
    calls.clear()
    expected = results(cell, case, "reference", gradient=Truncated(2))
    for name, found in results(cell, case, None, gradient=Truncated(2)).items():
        assert_close(name, found, expected[name], EPSILONS)
    assert calls
    with pytest.raises(EngineError, match="loops are for the CPU"):
        scan(cell, torch.randn(2, 5, 4, dtype=torch.float64), engine="native", gradient=Recompute(2))
