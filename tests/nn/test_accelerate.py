"""`accelerate` on models that somebody already has: in place, nothing lost, and taken back."""

from __future__ import annotations

import copy
import gc
import io
import pickle
import warnings
import weakref
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.utils import parametrizations, parametrize

import rondeau
from rondeau.errors import ArgumentError
from rondeau.recurrence.engine import Traces, use_engine

EXACT = 1e-12  # float64
KERNELS = pytest.mark.usefixtures("native")


class Tagger(torch.nn.Module):
    """As people write them."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = torch.nn.Embedding(11, 6)
        self.encoder = torch.nn.LSTM(6, 5, 2, bidirectional=True, batch_first=True, dropout=0.3)
        self.decoder = torch.nn.ModuleDict({"rnn": torch.nn.GRU(10, 4, batch_first=True)})
        self.head = torch.nn.Linear(4, 3)

    def forward(self, ids: Tensor) -> Tensor:
        steps, _ = self.encoder(self.embedding(ids))
        return self.head(self.decoder["rnn"](steps)[0])  # type: ignore[no-any-return]


@pytest.fixture
def model() -> Tagger:
    return Tagger().double().eval()


@pytest.fixture
def ids() -> Tensor:
    return torch.randint(11, (3, 8))


def _step(model: torch.nn.Module, ids: Tensor, optimiser: torch.optim.Optimizer) -> float:
    optimiser.zero_grad()
    loss = model(ids).square().mean()
    loss.backward()
    optimiser.step()
    return loss.item()


def _close(a: Tensor, b: Tensor) -> None:
    torch.testing.assert_close(a, b, rtol=EXACT, atol=EXACT)


class Own(torch.nn.LSTM):
    """A user's, with nothing but more names."""

    extra = 3

    def twice(self) -> int:
        return 2 * self.hidden_size


class WithForward(torch.nn.GRU):
    def forward(self, input: Any, hx: Any = None) -> Any:
        return super().forward(2 * input, hx)


# -- what it does, and says


@KERNELS
def test_same_results_from_loops(model: Tagger, ids: Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = model(ids)
    parts = dict(model.named_modules())
    parameters = dict(model.named_parameters())
    rondeau.accelerate(model, quiet=True)
    assert all(parts[name] is part for name, part in model.named_modules())
    assert all(parameters[name] is p for name, p in model.named_parameters())
    assert type(model.encoder) is rondeau.nn.LSTM
    asked = []
    find = Traces.find
    monkeypatch.setattr(Traces, "find", lambda *a: asked.append(find(*a)) or asked[-1])
    _close(model(ids), expected)
    assert len(asked) == 5
    assert all(entry.loops is not None for entry in asked)


def test_says_what_it_did(capsys: pytest.CaptureFixture[str]) -> None:
    model = torch.nn.ModuleDict(
        {
            "plain": torch.nn.LSTM(3, 4, batch_first=True),
            "own": Own(3, 4),
            "with": WithForward(3, 4),
            "cell": torch.nn.GRUCell(3, 4),
            "short": torch.nn.RNN(3, 4, dtype=torch.bfloat16),
            "away": torch.nn.GRU(3, 4, device="meta"),
            "ours": rondeau.nn.RNN(3, 4),
            "line": torch.nn.Linear(3, 4),
        }
    )
    model["patched"] = torch.nn.LSTM(3, 4)
    model["patched"].forward = lambda x: x  # type: ignore[method-assign, assignment]
    done = rondeau.accelerate(model)
    assert list(done.swapped) == ["plain", "own"]
    assert list(done.left) == ["with", "cell", "short", "away", "ours", "patched"]
    assert capsys.readouterr().out.splitlines() == [
        "swapped plain: LSTM(3, 4, batch_first=True)",
        "swapped own: Own(3, 4)",
        "left with: WithForward(3, 4), which has a forward of its own",
        "left cell: GRUCell, which makes one step at a time, no loop",
        "left short: RNN(3, 4), whose weights are torch.bfloat16, not float32 or float64",
        "left away: GRU(3, 4), whose weights are on meta, where torch's own is used",
        "left ours: RNN(3, 4), which is on compiled loops already",
        "left patched: LSTM(3, 4), which has a forward of its own",
    ]


def test_says_so_where_nothing_is_to_be_swapped(capsys: pytest.CaptureFixture[str]) -> None:
    rondeau.accelerate(torch.nn.Linear(2, 2))
    assert capsys.readouterr().out == "nothing to swap: the model has no recurrent module of torch.nn\n"
    rondeau.accelerate(torch.nn.LSTM(2, 2), quiet=True)
    assert capsys.readouterr().out == ""
    with pytest.raises(ArgumentError, match=r"expected a torch.nn.Module, got type"):
        rondeau.accelerate(torch.nn.LSTM)  # type: ignore[arg-type]


@KERNELS
def test_a_model_that_is_an_lstm() -> None:
    model, x = torch.nn.LSTM(3, 4, dtype=torch.float64), torch.randn(5, 2, 3, dtype=torch.float64)
    expected = model(x)[0]
    done = rondeau.accelerate(model, quiet=True)
    assert list(done.swapped) == ["the model itself"]
    _close(model(x)[0], expected)
    done.undo()
    assert type(model) is torch.nn.LSTM


def test_undo(model: Tagger, ids: Tensor) -> None:
    expected = model(ids)
    done = rondeau.accelerate(model, quiet=True)
    again = rondeau.accelerate(model, quiet=True)
    assert not again.swapped
    again.undo()
    assert type(model.encoder) is rondeau.nn.LSTM
    for _ in range(2):
        done.undo()
        assert type(model.encoder) is torch.nn.LSTM
        assert type(model.decoder["rnn"]) is torch.nn.GRU
    assert torch.equal(model(ids), expected)
    assert rondeau.accelerate(model, quiet=True).swapped


def test_state_dict_is_the_same_both_ways(model: Tagger) -> None:
    before = {name: t.clone() for name, t in model.state_dict().items()}
    rondeau.accelerate(model, quiet=True)
    after = model.state_dict()
    assert list(after) == list(before)
    assert all(torch.equal(after[name], t) for name, t in before.items())
    Tagger().double().load_state_dict(after)
    assert repr(model) == repr(Tagger())


# -- what people do with models


@KERNELS
@pytest.mark.parametrize("assign", [False, True])
def test_weights_loaded_afterwards(model: Tagger, ids: Tensor, assign: bool) -> None:
    other = Tagger().double().eval()
    rondeau.accelerate(model, quiet=True)
    model(ids)
    model.load_state_dict(copy.deepcopy(other.state_dict()), assign=assign)
    _close(model(ids), other(ids))


@KERNELS
@pytest.mark.parametrize("before", [True, False])
def test_optimisers(model: Tagger, ids: Tensor, before: bool) -> None:
    twin = copy.deepcopy(model)
    theirs = torch.optim.Adam(twin.parameters())
    ours = torch.optim.Adam(model.parameters()) if before else None
    rondeau.accelerate(model, quiet=True)
    ours = ours or torch.optim.Adam(model.parameters())
    for _ in range(3):
        assert _step(model, ids, ours) == pytest.approx(_step(twin, ids, theirs), rel=1e-10)
    assert len(ours.state) == len(list(model.parameters()))


@KERNELS
def test_training_and_evaluation(model: Tagger, ids: Tensor) -> None:
    twin = copy.deepcopy(model)
    rondeau.accelerate(model, quiet=True)
    for mode in (True, False, True):
        model.train(mode)
        twin.train(mode)
        torch.manual_seed(5)
        expected = twin(ids)
        torch.manual_seed(5)
        _close(model(ids), expected)
    with torch.no_grad():
        _close(model.eval()(ids), twin.eval()(ids))


@KERNELS
def test_copies(model: Tagger, ids: Tensor) -> None:
    rondeau.accelerate(model, quiet=True)
    expected = model(ids)
    twin = copy.deepcopy(model)
    assert type(twin.encoder) is rondeau.nn.LSTM
    assert twin.encoder.weight_ih_l0 is not model.encoder.weight_ih_l0
    with torch.no_grad():
        for p in model.parameters():
            p.zero_()
    _close(twin(ids), expected)
    assert type(copy.copy(model.encoder)) is rondeau.nn.LSTM


@KERNELS
@pytest.mark.parametrize("whole", [True, False])
def test_saved_and_loaded(model: Tagger, ids: Tensor, whole: bool) -> None:
    rondeau.accelerate(model, quiet=True)
    expected = model(ids)
    file = io.BytesIO()
    torch.save(model if whole else model.state_dict(), file)
    file.seek(0)
    loaded = torch.load(file, weights_only=not whole)
    if not whole:
        plain = Tagger().double().eval()
        plain.load_state_dict(loaded)
        assert type(plain.encoder) is torch.nn.LSTM
        loaded = plain
    _close(loaded(ids), expected)
    assert type(pickle.loads(pickle.dumps(model)).encoder) is rondeau.nn.LSTM


@KERNELS
def test_a_users_subclass_stays_itself() -> None:
    model = torch.nn.Sequential(Own(3, 4, dtype=torch.float64))
    x = torch.randn(5, 2, 3, dtype=torch.float64)
    expected = model(x)[0]
    done = rondeau.accelerate(model, quiet=True)
    for each in (model, copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert isinstance(each[0], Own)
        assert isinstance(each[0], rondeau.nn.LSTM)
        assert (type(each[0]).__name__, each[0].extra, each[0].twice()) == ("Own", 3, 8)
        _close(each(x)[0], expected)
    done.undo()
    assert type(model[0]) is Own


@KERNELS
def test_tied_modules_and_tied_weights() -> None:
    shared = torch.nn.GRU(4, 4, dtype=torch.float64)
    model = torch.nn.ModuleList([shared, torch.nn.GRU(4, 4, dtype=torch.float64), shared])
    model[1].weight_hh_l0 = shared.weight_hh_l0
    x = torch.randn(5, 2, 4, dtype=torch.float64)

    def gradients() -> list[Tensor]:
        y = x
        for each in model:
            y, _ = each(y)
        return list(torch.autograd.grad(y.square().sum(), list(model.parameters())))

    expected = gradients()
    done = rondeau.accelerate(model, quiet=True)
    assert list(done.swapped) == ["0", "1"]
    assert model[0] is model[2]
    assert model[1].weight_hh_l0 is shared.weight_hh_l0
    assert len(expected) == 7
    for a, b in zip(gradients(), expected, strict=True):
        _close(a, b)


@KERNELS
def test_hooks(model: Tagger, ids: Tensor) -> None:
    seen: list[str] = []
    encoder = model.encoder
    encoder.register_forward_pre_hook(lambda m, args: seen.append("before") or (2 * args[0],))  # type: ignore[func-returns-value]
    encoder.register_forward_hook(lambda m, args, out: seen.append("after") or (out[0] + 1, out[1]))  # type: ignore[func-returns-value]
    encoder.register_full_backward_hook(lambda m, to, of: seen.append("backwards"))
    encoder.weight_hh_l0.register_hook(lambda g: seen.append("weight"))
    expected = model(ids)
    rondeau.accelerate(model, quiet=True)
    seen.clear()
    found = model(ids)
    _close(found, expected)
    found.sum().backward()
    assert sorted(seen) == ["after", "backwards", "before", "weight"]


@KERNELS
def test_inside_other_modules(model: Tagger, ids: Tensor) -> None:
    expected = model(ids)
    wrapped = torch.nn.DataParallel(model)
    done = rondeau.accelerate(wrapped, quiet=True)
    assert list(done.swapped) == ["module.encoder", "module.decoder.rnn"]
    assert type(wrapped) is torch.nn.DataParallel
    _close(wrapped(ids), expected)


@KERNELS
def test_the_model_may_go(ids: Tensor) -> None:
    model = Tagger().double()
    rondeau.accelerate(model, quiet=True)
    model(ids).sum().backward()
    gone = weakref.ref(model.encoder.weight_ih_l0)
    del model
    gc.collect()
    assert gone() is None


# -- weights that are computed


PARAMETRISED = {
    "weight_norm": lambda m: parametrizations.weight_norm(m, "weight_hh_l0"),
    "orthogonal": lambda m: parametrizations.orthogonal(m, "weight_hh_l0"),
    "spectral_norm": lambda m: parametrizations.spectral_norm(m.eval(), "weight_ih_l0"),
}


@KERNELS
@pytest.mark.parametrize("before", [True, False])
@pytest.mark.parametrize("name", PARAMETRISED)
def test_parametrisations(name: str, before: bool) -> None:
    module = torch.nn.RNN(3, 4, dtype=torch.float64)
    x = torch.randn(5, 2, 3, dtype=torch.float64)

    def run() -> list[Tensor]:
        module.zero_grad()
        out = module(x)[0]
        out.square().sum().backward()
        return [out, *(p.grad.clone() for p in module.parameters() if p.grad is not None)]

    done = None if before else rondeau.accelerate(module, quiet=True)
    PARAMETRISED[name](module)
    if done is None:
        torchs = [*run()]
        done = rondeau.accelerate(module, quiet=True)
    else:
        done.undo()
        assert not isinstance(module, rondeau.nn.RNN)
        torchs = [*run()]
        done = rondeau.accelerate(module, quiet=True)
    assert isinstance(module, rondeau.nn.RNN)
    assert parametrize.is_parametrized(module)
    assert list(done.swapped.values()) == ["ParametrizedRNN(3, 4)"]
    for a, b in zip(run(), torchs, strict=True):
        _close(a, b)
    with torch.no_grad():
        for p in module.parameters():
            p.mul_(0.5)
    changed = run()
    done.undo()
    assert not isinstance(module, rondeau.nn.RNN)
    for a, b in zip(changed, run(), strict=True):
        _close(a, b)
    rondeau.accelerate(module, quiet=True)
    weight = "weight_ih_l0" if name == "spectral_norm" else "weight_hh_l0"
    parametrize.remove_parametrizations(module, weight)
    assert type(module) is rondeau.nn.RNN
    run()


@KERNELS
def test_parametrised_weights_are_not_traced_again() -> None:
    from rondeau.nn.cells import cell_for
    from rondeau.recurrence.engine import traces_of

    module = rondeau.nn.GRU(3, 13)
    parametrizations.weight_norm(module, "weight_hh_l0")
    x, cell = torch.randn(5, 2, 3), cell_for("GRU", 3, 13, True, 0)
    module(x)[0].sum().backward()
    made = traces_of(cell).made
    for _ in range(3):
        module(x)[0].sum().backward()
    assert traces_of(cell).made == made


@KERNELS
def test_the_older_weight_norm() -> None:
    module = torch.nn.GRU(3, 4, dtype=torch.float64)
    with pytest.warns(FutureWarning):
        torch.nn.utils.weight_norm(module, "weight_hh_l0")  # type: ignore[deprecated]
    x = torch.randn(5, 2, 3, dtype=torch.float64)
    found, expected = [], []
    for results in (found, expected):
        done = rondeau.accelerate(module, quiet=True) if results is found else None
        for _ in range(2):
            module.zero_grad()
            output = module(x)[0]
            output.sum().backward()
            results += [output, *(p.grad.clone() for p in module.parameters() if p.grad is not None)]
            with torch.no_grad():
                module.weight_hh_l0_g.mul_(2)
        with torch.no_grad():
            module.weight_hh_l0_g.div_(4)
        if done is not None:
            done.undo()
    assert len(found) == 2 * 6
    for a, b in zip(found, expected, strict=True):
        _close(a, b)


@KERNELS
def test_functional_call(model: Tagger, ids: Tensor) -> None:
    rondeau.accelerate(model, quiet=True)
    other = {name: 2 * t.detach() for name, t in model.named_parameters()}
    found = torch.func.functional_call(model, other, (ids,))
    twin = Tagger().double().eval()
    twin.load_state_dict(other)
    _close(found, twin(ids))


# -- what else runs models


def test_torch_func_and_forward_mode_are_torchs(model: Tagger, ids: Tensor) -> None:
    weights = {name: p.detach() for name, p in model.named_parameters()}

    def loss(weights: dict[str, Tensor], row: Tensor) -> Tensor:
        return torch.func.functional_call(model, weights, (row[None],)).square().sum()  # type: ignore[no-any-return]

    expected = torch.func.grad(loss)(weights, ids[0])
    rondeau.accelerate(model, quiet=True)
    with use_engine("native"):
        found = torch.func.grad(loss)(weights, ids[0])
    for name, t in expected.items():
        _close(found[name], t)


def test_autocast_is_torchs() -> None:
    theirs = torch.nn.LSTM(3, 4)
    x = torch.randn(40, 2, 3)
    with torch.autocast("cpu", torch.bfloat16):
        expected = theirs(x)[0]
        rondeau.accelerate(theirs, quiet=True)
        found = theirs(x)[0]
    assert found.dtype == expected.dtype
    assert torch.equal(found, expected)


def test_other_types_are_torchs() -> None:
    module = torch.nn.GRU(3, 4)
    rondeau.accelerate(module, quiet=True)
    x = torch.randn(40, 2, 3).bfloat16()
    assert module.bfloat16()(x)[0].dtype == torch.bfloat16


@pytest.mark.parametrize("strict", [True, False])
def test_export_holds_torchs_own(strict: bool) -> None:
    model, x = torch.nn.Sequential(torch.nn.GRU(3, 4)), torch.randn(40, 2, 3)
    model.eval()
    expected = model(x)[0]
    rondeau.accelerate(model, quiet=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.export.export(model, (x,), strict=strict)
    assert "aten.gru" in str(program.graph)
    torch.testing.assert_close(program.module()(x)[0], expected)


def test_compile_leaves_it_as_it_is(model: Tagger, ids: Tensor) -> None:
    rondeau.accelerate(model, quiet=True)
    expected = model(ids)
    compiled = torch.compile(model, backend="eager")
    with use_engine("native"):
        for _ in range(2):
            _close(compiled(ids), expected)
    torch.compiler.reset()


@pytest.mark.filterwarnings("ignore")
def test_torchscript_takes_torchs_own(capsys: pytest.CaptureFixture[str]) -> None:
    model, x = torch.nn.Sequential(torch.nn.GRU(3, 4)), torch.randn(40, 2, 3)
    expected = model(x)[0]
    rondeau.accelerate(model, quiet=True)
    traced = torch.jit.trace(model, x, check_trace=False)
    torch.testing.assert_close(traced(x)[0], expected)
    with pytest.warns(RuntimeWarning, match=r"compiles torch.nn.GRU instead of Rondeau's"):
        scripted = torch.jit.script(model)
    torch.testing.assert_close(scripted(x)[0], expected)
    capsys.readouterr()
    assert list(rondeau.accelerate(scripted).left) == ["0"]
    assert "which is compiled by TorchScript" in capsys.readouterr().out


def test_fx_is_refused() -> None:
    model = torch.nn.Sequential(rondeau.nn.GRU(3, 4))
    with pytest.raises(rondeau.errors.EngineError, match=r"torch.fx traces into rondeau.nn.GRU.*undo\(\)"):
        torch.fx.symbolic_trace(model)


@pytest.mark.filterwarnings("ignore")
def test_quantised_modules_stay(capsys: pytest.CaptureFixture[str]) -> None:
    model = torch.ao.quantization.quantize_dynamic(torch.nn.Sequential(torch.nn.LSTM(3, 4)), {torch.nn.LSTM})
    done = rondeau.accelerate(model)
    assert not done.swapped
    assert capsys.readouterr().out == "left 0: LSTM, which is quantised\n"
