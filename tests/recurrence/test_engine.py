"""Whatever changes between calls, compiled loops compute what the step says now; where they do not fit, they say so."""

from __future__ import annotations

import copy
import io
import pickle
import threading
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.parameter import Parameter
from torch.nn.utils.parametrizations import weight_norm

from rondeau import scan
from rondeau.cells import Cell, GRUCell, HiddenState, LSTMCell, SimpleRNNCell
from rondeau.errors import ArgumentError, EngineError
from rondeau.recurrence import native
from rondeau.recurrence.engine import traces_of, use_engine

FACTOR = 0.5
TOLERANCE = 64  # epsilons of the type, times the largest number: some forty operations in a row


class Changing(Cell):
    """A step in which everything that can change is read: attribute, flag, closure, global, buffers, parameters."""

    scale: Tensor
    shift: Tensor

    def __init__(self, gain: Callable[[], float] = lambda: 1.0) -> None:
        super().__init__()
        self.state_size, self.output_size = HiddenState(h=5), 5
        self.kernel = self.add_weight("kernel", (5, 5))
        self.bias = self.add_weight("bias", (5,), "normal")
        self.register_buffer("scale", torch.rand(5))
        self.register_buffer("shift", torch.rand(()))
        self.rate, self.gain = 0.25, gain
        self.options = {"depth": 1}

    def step(self, x: Tensor, state: HiddenState) -> tuple[Tensor, HiddenState]:
        h = state.h
        for _ in range(self.options["depth"]):
            h = torch.tanh(h @ self.kernel + self.bias + x)
        h = self.rate * state.h + (1 - self.rate) * h * self.scale + self.shift * FACTOR * self.gain()
        if self.training:
            h = h * 0.9
        return h, HiddenState(h)


def close(a: Tensor, b: Tensor) -> bool:
    """Of one type and shape, and equal but for rounding."""
    bound = TOLERANCE * torch.finfo(a.dtype).eps * max(1.0, float(b.abs().max()) if b.numel() else 1.0)
    return a.shape == b.shape and a.dtype == b.dtype and torch.allclose(a, b, rtol=0, atol=bound)


def results(cell: Cell, x: Tensor, engine: str, **given: Any) -> list[Tensor]:
    """Outputs, final states, and the gradients of all that takes one."""
    x = x.detach().requires_grad_()
    y, state = scan(cell, x, engine=engine, **given)
    wanted = [x, *(p for p in cell.parameters() if p.requires_grad)]
    loss = y.square().sum() + sum(s.sum() for s in state)
    gradients = torch.autograd.grad(loss, wanted)
    return [y.detach(), *(s.detach() for s in state), *gradients]


def check(cell: Cell, x: Tensor, **given: Any) -> list[Tensor]:
    """Native results, after they were held against the reference loop's, in training and in inference."""
    found, expected = (results(cell, x, engine, **given) for engine in ("native", "reference"))
    assert all(map(close, found, expected))
    with torch.no_grad():
        alone, _ = scan(cell, x, engine="native", **given)
    assert close(alone, expected[0])
    return found


@pytest.fixture
def x() -> Tensor:
    return torch.randn(3, 4, 5)


def set_to(name: str, value: Any) -> Callable[[Changing], None]:
    return lambda cell: setattr(cell, name, value)


def change_closure(cell: Changing) -> None:
    cell.gain.__closure__[0].cell_contents[0] += 1.0  # type: ignore[attr-defined]


def change_global(cell: Changing) -> None:
    global FACTOR
    FACTOR += 1.0


def change_in_place(name: str) -> Callable[[Changing], None]:
    def change(cell: Changing) -> None:
        with torch.no_grad():
            getattr(cell, name).add_(0.5)

    return change


def give_data(cell: Changing) -> None:
    cell.kernel.data = torch.randn(5, 5)


CHANGES: dict[str, Callable[[Changing], Any]] = {
    "attribute": set_to("rate", 0.75),
    "attribute of another type": set_to("rate", 1),
    "entry of a dict": lambda cell: cell.options.update(depth=2),
    "closure": change_closure,
    "global": change_global,
    "function": set_to("gain", lambda: 3.0),
    "flag": lambda cell: cell.eval(),
    "buffer in place": change_in_place("scale"),
    "buffer replaced": set_to("scale", torch.full((5,), 2.0)),
    "buffer without axes": change_in_place("shift"),
    "parameter in place": change_in_place("kernel"),
    "parameter replaced": set_to("kernel", Parameter(torch.eye(5))),
    "parameter's data replaced": give_data,
    "parameters loaded": lambda cell: cell.load_state_dict(Changing().state_dict()),
    "bias replaced": set_to("bias", Parameter(torch.ones(5))),
    "bias frozen": lambda cell: cell.bias.requires_grad_(False),
    "everything frozen": lambda cell: cell.requires_grad_(False),
    "class": lambda cell: setattr(cell, "__class__", Doubled),
    "step of the instance": set_to("step", lambda x, state: (x - state.h, HiddenState(x - state.h))),
}


class Doubled(Changing):
    def step(self, x: Tensor, state: HiddenState) -> tuple[Tensor, HiddenState]:
        h, _ = super().step(x, state)
        return 2 * h, HiddenState(h)


@pytest.mark.parametrize("what", CHANGES)
def test_what_changes_between_calls_is_seen(what: str, x: Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(globals(), "FACTOR", 0.5)
    box = [1.0]
    cell = Changing(lambda: box[0])
    before = check(cell, x)
    CHANGES[what](cell)
    if what == "step of the instance":
        for p in cell.parameters():
            p.requires_grad_(False)  # it reads none
    after = check(cell, x)
    if "frozen" in what:
        assert torch.equal(before[0], after[0])
        assert len(after) < len(before)
    else:
        assert not close(before[0], after[0]), "this change is no change"


@pytest.mark.parametrize("wanted", [(True, False, True), (False, True, False)])
def test_frozen_and_thawed(x: Tensor, wanted: tuple[bool, ...]) -> None:
    cell = Changing()
    for each in wanted:
        cell.kernel.requires_grad_(each)
        assert len(check(cell, x)) == 4 + each


def test_another_type_between_calls(x: Tensor) -> None:
    cell = Changing()
    before = check(cell, x)
    after = check(cell.double(), x.double())
    assert after[0].dtype == torch.float64
    assert all(close(a, b.float()) for a, b in zip(before, after, strict=True))
    again = check(cell.float(), x)
    assert all(map(torch.equal, before, again))


def test_parameters_that_move_and_stay_the_same_objects(x: Tensor) -> None:
    """As `module.to("cuda")` moves them; to where no loop could read them."""
    cell = LSTMCell(4)
    with torch.no_grad():
        before, _ = scan(cell, x, engine="native")
        weights = {name: p.clone() for name, p in cell.named_parameters()}
        same = list(cell.parameters())
        torch.__future__.set_swap_module_params_on_conversion(True)
        try:
            cell.to("meta")
            with pytest.raises(EngineError, match="cannot be compiled"):
                scan(cell, x, engine="native")
            cell.to_empty(device="cpu")
        finally:
            torch.__future__.set_swap_module_params_on_conversion(False)
        cell.load_state_dict(weights)
        assert torch.equal(scan(cell, x, engine="native")[0], before)
    assert all(a is b for a, b in zip(cell.parameters(), same, strict=True))


def test_what_another_type_declined_is_traced_again(x: Tensor) -> None:
    cell = GRUCell(4)
    before, _ = scan(cell, x, engine="native")
    with pytest.raises(EngineError, match="float != double"):
        scan(cell.double(), x, engine="native")
    assert torch.equal(scan(cell.float(), x, engine="native")[0], before)


class Sum(Cell):
    """Takes any number of features."""

    def __init__(self) -> None:
        super().__init__()
        self.state_size, self.output_size = HiddenState(h=2), 2

    def step(self, x: Tensor, state: HiddenState) -> tuple[Tensor, HiddenState]:
        h = state.h + x.sum(-1, keepdim=True)
        return h, HiddenState(h)


def test_another_number_of_features_between_calls() -> None:
    cell = Sum()
    for features in (3, 7, 3):
        check(cell, torch.randn(2, 4, features))
    assert traces_of(cell).made == 4  # two kinds, each in training and in inference


def test_of_many_kinds_of_calls_the_last_are_kept() -> None:
    cell = Sum()
    for features in range(1, 13):
        check(cell, torch.randn(2, 2, features))
    assert len(traces_of(cell).entries) == 8
    assert traces_of(cell).made == 24
    check(cell, torch.randn(2, 2, 12))
    assert traces_of(cell).made == 24


def test_a_copy_is_a_cell_of_its_own(x: Tensor) -> None:
    cell = Changing()
    before = check(cell, x)
    other = copy.deepcopy(cell)
    assert not traces_of(other).entries
    assert all(map(torch.equal, before, check(other, x)))
    change_in_place("kernel")(other)
    other.rate = 0.75
    assert not close(check(other, x)[0], before[0])
    assert all(map(torch.equal, before, check(cell, x)))


@pytest.mark.parametrize("way", ["pickle", "torch"])
def test_a_cell_that_has_run_can_be_saved(way: str, x: Tensor) -> None:
    cell = LSTMCell(4)
    before = check(cell, x)
    if way == "pickle":
        other = pickle.loads(pickle.dumps(cell))
    else:
        file = io.BytesIO()
        torch.save(cell, file)
        file.seek(0)
        other = torch.load(file, weights_only=False)
    assert not traces_of(other).entries
    assert all(map(torch.equal, before, check(other, x)))
    assert "_rondeau_traces" not in cell.state_dict()


def test_parametrised_weights(x: Tensor) -> None:
    cell = GRUCell(4)
    cell.build_for(5)
    plain = check(cell, x)
    weight_norm(cell, "recurrent_kernel")
    normed = check(cell, x)
    assert close(plain[0], normed[0])
    assert len(normed) == len(plain) + 1  # magnitude and direction
    with torch.no_grad():
        cell.parametrizations.recurrent_kernel.original0.mul_(3)  # type: ignore[union-attr]
    assert not close(check(cell, x)[0], plain[0])
    torch.nn.utils.parametrize.remove_parametrizations(cell, "recurrent_kernel")
    check(cell, x)


@pytest.mark.parametrize("features", [5, 12])  # multiplied within the loop, and before it
def test_autocast_computes_in_float32(features: int) -> None:
    cell, x = LSTMCell(4), torch.randn(3, 4, features)
    expected = results(cell, x, "reference")
    with torch.autocast("cpu", torch.bfloat16):
        found = results(cell, x, "native")
        half = results(cell, x.bfloat16(), "native")
        with torch.no_grad():
            alone, _ = scan(cell, x, engine="native")
    assert all(map(close, found, expected))
    assert close(alone, expected[0])
    assert half[3].dtype == torch.bfloat16  # the gradient of x, alone
    rounded = results(cell, x.bfloat16().float(), "reference")
    assert all(map(close, half[:3] + half[4:], rounded[:3] + rounded[4:]))


def test_inference_mode(x: Tensor) -> None:
    cell = LSTMCell(4)
    cell.build_for(5)
    with torch.inference_mode():
        y, state = scan(cell, x, engine="native")
        expected, _ = scan(cell, x, engine="reference")
        inner = x + 0  # a tensor that autograd may never see
        again, _ = scan(cell, inner, state, engine="native")
        assert close(again, scan(cell, inner, state, engine="reference")[0])
    assert y.is_inference()
    assert close(y, expected)
    check(cell, x)  # and training after it
    with torch.inference_mode():
        assert torch.equal(scan(cell, x, engine="native")[0], y)


def test_a_cell_made_in_inference_mode(x: Tensor) -> None:
    with torch.inference_mode():
        cell = LSTMCell(4)
        y, _ = scan(cell, x, engine="native")
        assert close(y, scan(cell, x, engine="reference")[0])


# --- where the reference loop has to do it ----------------------------------------------------------------------------


@pytest.fixture
def no_native(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing runs on compiled loops."""

    def refuse(*given: Any, **named: Any) -> None:
        raise AssertionError("compiled loops were taken")

    monkeypatch.setattr(native, "forward", refuse)


@pytest.mark.usefixtures("no_native")
@pytest.mark.filterwarnings("ignore:There is a performance drop:UserWarning")  # torch's vmap, of masked_scatter
def test_transforms_of_torch_func(x: Tensor) -> None:
    cell = GRUCell(4)
    cell.build_for(5)
    weights = {name: p.detach() for name, p in cell.named_parameters()}

    def loss(weights: dict[str, Tensor], x: Tensor) -> Tensor:
        class Call(torch.nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.cell = cell

            def forward(self, x: Tensor) -> Tensor:
                return scan(self.cell, x)[0].square().sum()

        named = {f"cell.{name}": value for name, value in weights.items()}
        return torch.func.functional_call(Call(), named, (x,))  # type: ignore[no-any-return]

    found = torch.func.grad(loss)(weights, x)
    expected = torch.autograd.grad(scan(cell, x, engine="reference")[0].square().sum(), list(cell.parameters()))
    assert all(map(close, found.values(), expected))
    each = torch.func.vmap(torch.func.grad(loss), (None, 0))(weights, x[:, None])
    assert all(close(g.sum(0), e) for g, e in zip(each.values(), expected, strict=True))


@pytest.mark.usefixtures("no_native")
@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:DeprecationWarning")  # torch's own use of it
def test_forward_differentiation(x: Tensor) -> None:
    cell = GRUCell(4).double()
    cell.build_for(5)
    x = x.double()
    direction = torch.randn_like(x)
    with torch.autograd.forward_ad.dual_level():
        y, _ = scan(cell, torch.autograd.forward_ad.make_dual(x, direction))
        found = torch.autograd.forward_ad.unpack_dual(y).tangent
    step = 1e-6
    high, low = (scan(cell, x + sign * step * direction, engine="reference")[0] for sign in (1, -1))
    assert found is not None
    assert torch.allclose(found, (high - low).detach() / (2 * step), rtol=0, atol=1e-8)


@pytest.mark.native
@pytest.mark.usefixtures("no_native")
def test_use_engine_names_the_loop_for_all_scans_within(x: Tensor) -> None:
    cell = LSTMCell(4)
    with use_engine("reference"):
        scan(cell, x)
        with pytest.raises(AssertionError, match="compiled loops were taken"), use_engine("native"):
            scan(cell, x)
        scan(cell, x)
        with pytest.raises(AssertionError, match="compiled loops were taken"):
            scan(cell, x, engine="native")  # who names one has it
    with pytest.raises(AssertionError, match="compiled loops were taken"):
        scan(cell, x)


def test_engines_that_are_none(x: Tensor) -> None:
    with pytest.raises(ArgumentError, match="'native', 'reference' or None, got 'cuda'"):
        scan(LSTMCell(4), x, engine="cuda")
    with pytest.raises(ArgumentError, match="'fast'"), use_engine("fast"):
        pass


class Reading(Cell):
    """Its step reads a tensor's value."""

    def __init__(self) -> None:
        super().__init__()
        self.state_size, self.output_size = HiddenState(h=5), 5

    def step(self, x: Tensor, state: HiddenState) -> tuple[Tensor, HiddenState]:
        h = state.h + x if x.sum() > 0 else state.h
        return h, HiddenState(h)


@pytest.mark.native
def test_what_is_declined_warns_once_and_names_the_line(x: Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rondeau.recurrence.engine._warned", set())
    with pytest.warns(RuntimeWarning, match=r"Reading runs on the slow reference loop.*x\.sum\(\) > 0") as caught:
        y, _ = scan(Reading(), x)
    assert len(caught) == 1
    assert caught[0].filename == __file__, "the warning stands at the caller's line"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert torch.equal(scan(Reading(), x)[0], y)
        assert torch.equal(scan(Reading(), x, engine="reference")[0], y)
    with pytest.raises(EngineError, match=r"x\.sum\(\) > 0"):
        scan(Reading(), x, engine="native")


def test_tensors_that_loops_do_not_take_are_named(x: Tensor) -> None:
    class Marked(Tensor):
        pass

    cell = LSTMCell(4)
    with pytest.raises(EngineError, match="a Marked is not a plain tensor"):
        scan(cell, x.as_subclass(Marked), engine="native")
    y, _ = scan(cell, x.as_subclass(Marked))
    assert type(y) is Marked
    assert torch.equal(y.as_subclass(Tensor), scan(cell, x, engine="reference")[0])


def test_tracing_draws_no_random_numbers(x: Tensor) -> None:
    cell = LSTMCell(4)
    cell.build_for(5)
    before = torch.get_rng_state()
    check(cell, x)
    assert torch.equal(torch.get_rng_state(), before)


def test_tracing_runs_no_hooks_and_leaves_no_gradients(x: Tensor) -> None:
    cell = Changing()
    seen: list[Tensor] = []
    cell.kernel.register_hook(seen.append)
    y, _ = scan(cell, x, engine="native")
    assert not seen
    assert cell.kernel.grad is None
    y.sum().backward()
    assert len(seen) == 1


# --- threads of Python ------------------------------------------------------------------------------------------------


@pytest.mark.timeout(60)
def test_two_python_threads_share_a_cell() -> None:
    """The first calls, tracing and compiling, come at once; so do later ones, of other kinds."""
    cell = LSTMCell(6)
    cell.build_for(5)
    inputs = [torch.randn(n, 4, 5) for n in (2, 3, 2, 5)]
    expected = [results(cell, x, "reference") for x in inputs]
    start = threading.Barrier(len(inputs))
    wrong: list[Any] = []

    def work(x: Tensor, right: list[Tensor]) -> None:
        start.wait()
        for i in range(20):
            try:
                if not all(map(close, results(cell, x, "native"), right)):
                    wrong.append("numbers")
                if i % 3 == 0:
                    with torch.no_grad():
                        scan(cell, x.double().float(), engine="native")
            except Exception as error:
                wrong.append(error)

    workers = [threading.Thread(target=work, args=pair) for pair in zip(inputs, expected, strict=True)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not wrong


def test_hooks_on_a_cells_call_are_refused_not_forgotten(x: Tensor) -> None:
    cell = GRUCell(4)
    cell.build_for(5)
    handle = cell.register_forward_hook(lambda *_: None)
    with pytest.raises(ArgumentError, match="GRUCell has hooks on its call, and a scan calls its step"):
        scan(cell, x)
    handle.remove()
    with pytest.warns(FutureWarning, match="deprecated"):
        torch.nn.utils.weight_norm(cell, "kernel")  # computes the kernel in a hook
    with pytest.raises(ArgumentError, match="parametrizations"):
        scan(cell, x)


@pytest.mark.parametrize("orthogonal_map", ["householder", "matrix_exp", "cayley"])
def test_an_orthogonal_recurrent_kernel(x: Tensor, orthogonal_map: str) -> None:
    cell = SimpleRNNCell(5)
    cell.build_for(5)
    torch.nn.utils.parametrizations.orthogonal(cell, "recurrent_kernel", orthogonal_map=orthogonal_map)
    before = check(cell, x)
    made = traces_of(cell).made
    with torch.no_grad():
        original = cell.parametrizations.recurrent_kernel.original  # type: ignore[union-attr]
        original.add_(torch.randn(5, 5).tril(-1))  # householder's diagonal holds signs
    after = check(cell, x)
    assert not close(before[0], after[0])
    kernel = cell.recurrent_kernel
    assert close(kernel @ kernel.t(), torch.eye(5))
    assert traces_of(cell).made == made  # the weights are computed anew, and nothing is compiled
