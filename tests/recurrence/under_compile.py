"""`scan`, layers and models under torch.compile: one operator in the graph for each scan, and never a stale step.

Run by `test_compiled`, in a process where nothing checks shapes: torch.compile cannot see through that.
"""

from __future__ import annotations

import random
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

import rondeau
from rondeau import Ragged, layers, scan
from rondeau.cells import Cell, GRUCell, HiddenState, LSTMCell
from rondeau.errors import EngineError
from rondeau.recurrence.engine import use_engine

# what torch.compile itself does where a graph ends
pytestmark = pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf:UserWarning")
torch.set_num_threads(1)
TOLERANCE = 16 * torch.finfo(torch.float32).eps
SHIFT = torch.tensor([0.5])
SCALES = [1.0]


class Mine(Cell):
    """Reads an attribute, a tensor that is no parameter, a global tensor, a global list, and its mode."""

    def __init__(self, units: int) -> None:
        super().__init__()
        self.state_size, self.output_size = HiddenState(h=units), units
        self.factor, self.plain = 1.0, torch.rand(units)

    def build(self, features: int) -> None:
        self.w = self.add_weight("w", (features, self.output_size))
        self.u = self.add_weight("u", (self.output_size, self.output_size))

    def step(self, x: Tensor, state: HiddenState) -> Any:
        h = torch.tanh(x @ self.w + state.h @ self.u) * self.factor + self.plain * SHIFT * SCALES[0]
        return h if self.training else 2 * h, HiddenState(h)


class Mixing(Mine):
    def step(self, x: Tensor, state: HiddenState) -> Any:
        h = torch.tanh(x @ self.w + state.h.mean(0))
        return h, HiddenState(h)


class Unwatched(Mine):
    """Nobody can tell whether what it reads has changed."""

    def __init__(self, units: int) -> None:
        super().__init__(units)
        self.rng = random.Random(0)

    def step(self, x: Tensor, state: HiddenState) -> Any:
        h = torch.tanh(x @ self.w) * self.rng.choice([1.0, 2.0])
        return h, HiddenState(h)


class Graphs:
    """A backend that keeps the graphs it is given."""

    def __init__(self) -> None:
        self.all: list[torch.fx.GraphModule] = []

    def __call__(self, graph: torch.fx.GraphModule, inputs: Any) -> Any:
        self.all.append(graph)
        return graph

    @property
    def scans(self) -> list[int]:
        """How many scans there are in each graph."""
        return [sum(n.target is torch.ops.rondeau.scan.default for n in g.graph.nodes) for g in self.all]

    def compile(self, function: Any, whole: bool = True) -> Any:
        return torch.compile(function, fullgraph=whole, backend=self)


@pytest.fixture(autouse=True)
def _anew() -> Iterator[None]:
    torch.manual_seed(0)
    yield
    torch._dynamo.reset()


@pytest.fixture
def graphs() -> Graphs:
    return Graphs()


X = torch.randn(3, 6, 5)


def built(cell: Cell) -> Cell:
    cell.build_for(5)
    return cell


def close(found: Tensor, expected: Tensor) -> None:
    assert found.shape == expected.shape
    assert found.dtype == expected.dtype
    if expected.numel():
        assert float((found - expected).detach().abs().max()) <= TOLERANCE * max(
            1, float(expected.detach().abs().max())
        )


MODELS: dict[str, Callable[[], Any]] = {
    "sequential": lambda: rondeau.Sequential([layers.LSTM(7, return_sequences=True), layers.GRU(6), layers.Dense(3)]),
    "bidirectional": lambda: rondeau.Sequential([layers.Bidirectional(layers.GRU(4)), layers.Dense(2)]),
    "backwards": lambda: layers.LSTM(4, go_backwards=True, return_sequences=True),
    "stacked": lambda: layers.RNN([LSTMCell(4), GRUCell(3, reset_after=False)]),
    "own cell": lambda: layers.RNN(Mine(4)),
}


@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
@pytest.mark.parametrize("name", MODELS)
def test_models_train_and_infer_as_without(name: str, backend: str) -> None:
    model = MODELS[name]()
    model(X)
    compiled = torch.compile(model, fullgraph=True, backend=backend)
    x = X.clone().requires_grad_()
    sources = [x, *model.parameters()]
    cotangent = torch.randn_like(model(x))
    found = torch.autograd.grad(compiled(x), sources, cotangent)
    for a, b in zip(found, torch.autograd.grad(model(x), sources, cotangent), strict=True):
        close(a, b)
    model.eval()
    with torch.no_grad():
        close(compiled(X), model(X))
    with torch.inference_mode():
        close(compiled(X), model(X))


def test_each_scan_is_one_node(graphs: Graphs) -> None:
    model = MODELS["sequential"]()
    model(X)
    graphs.compile(model)(X)
    assert graphs.scans == [2]
    graphs.compile(lambda x: scan(model.layers[0].cell, x)[1])(X)
    assert graphs.scans == [2, 1]


def test_batch_and_time_take_few_graphs(graphs: Graphs) -> None:
    cell = built(Mine(4))
    compiled = graphs.compile(lambda x: scan(cell, x))
    for batch, time in ((3, 6), (4, 7), (5, 8), (9, 2), (2, 30), (8, 3), (1, 1), (1, 1), (0, 3), (2, 0)):
        x = torch.randn(batch, time, 5)
        (output, state), (expected, final) = compiled(x), scan(cell, x)
        close(output, expected)
        close(state.h, final.h)
    assert len(graphs.all) <= 5  # as it comes; of any size; and for the sizes 1 and 0, which torch always takes apart


def change_attribute(cell: Any) -> None:
    cell.factor = 3.0


def change_plain_tensor(cell: Any) -> None:
    cell.plain = torch.rand(4)


def change_list(cell: Any) -> None:
    SCALES[0] += 1


def change_in_place(cell: Any) -> None:
    with torch.no_grad():
        for tensor in (*cell.parameters(), cell.plain, SHIFT):
            tensor += 0.1


def change_mode(cell: Any) -> None:
    cell.eval()


def change_weight(cell: Any) -> None:
    cell.w = torch.nn.Parameter(torch.randn(5, 4))


@pytest.mark.parametrize(
    "change", [change_attribute, change_plain_tensor, change_list, change_in_place, change_mode, change_weight]
)
def test_a_change_between_calls_is_seen(change: Callable[[Any], None], graphs: Graphs) -> None:
    cell = built(Mine(4))
    compiled = graphs.compile(lambda x: scan(cell, x)[0])
    before = compiled(X)
    change(cell)
    assert not torch.equal(compiled(X), before)
    close(compiled(X), scan(cell, X)[0])
    assert set(graphs.scans) == {1}


def test_a_weight_frozen_later_takes_no_gradient(graphs: Graphs) -> None:
    cell = built(Mine(4))
    compiled = graphs.compile(lambda x: scan(cell, x)[0])
    compiled(X).sum().backward()
    assert cell.w.grad is not None
    cell.w.requires_grad_(False)
    cell.w.grad = cell.u.grad = None
    compiled(X).sum().backward()
    assert cell.w.grad is None
    assert cell.u.grad is not None


def test_the_engine_in_force_is_seen(graphs: Graphs) -> None:
    cell = built(Mine(4))
    compiled = graphs.compile(lambda x: scan(cell, x)[0], whole=False)
    native = compiled(X)
    with use_engine("reference"):
        close(compiled(X), native)
    close(compiled(X), native)
    assert graphs.scans == [1, 0, 1]


@pytest.mark.parametrize("reverse", [False, True])
def test_lengths_and_ragged_inputs_stay_in_the_graph(reverse: bool, graphs: Graphs) -> None:
    cell, lengths = built(Mine(4)), torch.tensor([6, 0, 2])
    output, state = graphs.compile(lambda x, n: scan(cell, x, None, n, reverse))(X, lengths)
    expected, final = scan(cell, X, None, lengths, reverse)
    close(output, expected)
    close(state.h, final.h)
    ragged = Ragged.from_padded(X, lengths)
    output, state = graphs.compile(lambda r: scan(cell, r, reverse=reverse))(ragged)
    assert isinstance(output, Ragged)
    assert torch.equal(output.lengths, lengths)
    close(output.values, scan(cell, ragged, reverse=reverse)[0].values)
    close(state.h, final.h)
    assert graphs.scans == [1, 1]


def test_an_initial_state_stays_in_the_graph(graphs: Graphs) -> None:
    cell = built(LSTMCell(4))
    state = [torch.randn(3, 4, requires_grad=True) for _ in range(2)]

    def run(x: Tensor, h: Tensor, c: Tensor) -> Tensor:
        return scan(cell, x, [h, c])[1].c

    found, expected = graphs.compile(run)(X, *state), run(X, *state)
    close(found, expected)
    for a, b in zip(*(torch.autograd.grad(t.sum(), state) for t in (found, expected)), strict=True):
        close(a, b)
    assert graphs.scans == [1]


def test_dropout_is_drawn_as_without(graphs: Graphs) -> None:
    cell = built(LSTMCell(4, dropout=0.5, recurrent_dropout=0.3))
    compiled = graphs.compile(lambda x: scan(cell, x)[0])
    torch.manual_seed(1)
    found = compiled(X)
    torch.manual_seed(1)
    close(found, scan(cell, X)[0])
    assert graphs.scans == [1]


def test_autocast(graphs: Graphs) -> None:
    cell = built(LSTMCell(4))
    compiled = graphs.compile(lambda x: scan(cell, x)[0])
    with torch.autocast("cpu", torch.bfloat16):
        found, expected = compiled(X.bfloat16()), scan(cell, X.bfloat16())[0]
    close(found, expected)
    assert graphs.scans == [1]


def outside(cell: Cell, **options: Any) -> Callable[[Tensor], Tensor]:
    return lambda x: scan(cell, x, **options)[0] * 2


def test_what_is_declined_runs_outside_of_the_graph_and_says_so(graphs: Graphs) -> None:
    cell = built(Mixing(4))
    compiled = graphs.compile(outside(cell), whole=False)
    with pytest.warns(RuntimeWarning, match="runs on the slow reference loop.*mean over rows"):
        found = compiled(X)
    close(found, outside(cell)(X))
    assert sum(graphs.scans) == 0


def test_what_is_declined_is_an_error_where_it_must_be_native(graphs: Graphs) -> None:
    with pytest.raises(EngineError, match="mean over rows"):
        graphs.compile(outside(built(Mixing(4)), engine="native"), whole=False)(X)


def test_a_whole_graph_says_why_there_is_none(graphs: Graphs) -> None:
    with pytest.raises(torch._dynamo.exc.Unsupported, match="this scan cannot be in a graph"):
        graphs.compile(outside(built(Mixing(4))))(X)


@pytest.mark.parametrize(
    ("cell", "options"),
    [(Unwatched(4), {}), (LSTMCell(4, dropout=0.5, seed=3), {}), (LSTMCell(4), {"lengths": [6, 0, 2]})],
)
def test_what_cannot_be_in_a_graph_runs_outside(cell: Cell, options: Any, graphs: Graphs) -> None:
    built(cell)
    compiled = graphs.compile(outside(cell, **options), whole=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        assert compiled(X).shape == (3, 6, 4)
    assert sum(graphs.scans) == 0


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_on_cuda_a_scan_runs_outside(graphs: Graphs) -> None:
    cell = built(LSTMCell(4)).cuda()
    compiled = graphs.compile(outside(cell), whole=False)
    assert torch.equal(compiled(X.cuda()), outside(cell)(X.cuda()))
    assert sum(graphs.scans) == 0


def test_importing_and_training_leave_torch_dynamo_alone() -> None:
    code = """
import sys, torch, rondeau
from rondeau.cells import LSTMCell
output, _ = rondeau.scan(LSTMCell(4), torch.zeros(2, 5, 3))
output.sum().backward()
from rondeau.recurrence import operator
print([m for m in ("torch._dynamo", "torch._inductor", "rondeau.recurrence.compiled") if m in sys.modules])
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"


@pytest.mark.parametrize("policy", [rondeau.Recompute(2), rondeau.Truncated(2)], ids=repr)
@pytest.mark.parametrize("backwards", [False, True])
def test_a_gradient_policy_runs_outside_of_the_graph(graphs: Graphs, policy: Any, backwards: bool) -> None:
    model = rondeau.Sequential([layers.GRU(4, gradient=policy, go_backwards=backwards), layers.Dense(2)])
    model(X)
    compiled = graphs.compile(model, whole=False)
    found = []
    for run in (model, compiled):
        x = X.clone().requires_grad_()
        y = run(x)
        found.append([y.detach(), *torch.autograd.grad(y.square().sum(), [x, *model.parameters()])])
    for a, b in zip(*found, strict=True):
        close(b, a)
    assert sum(graphs.scans) == 0
    with torch.no_grad():
        close(graphs.compile(model)(X), model(X))
    assert sum(graphs.scans) == 1


@pytest.mark.parametrize("reverse", [False, True])
def test_the_last_output_of_rows_is_in_the_graph(graphs: Graphs, reverse: bool) -> None:
    cell, lengths = built(GRUCell(4)), torch.tensor([6, 0, 3])

    def last(x: Any, lengths: Any) -> Any:
        return scan(cell, x, lengths=lengths, reverse=reverse, keep=rondeau.Keep(outputs="last"))[0]

    def of_rows(values: Tensor) -> Any:
        return scan(cell, Ragged(values, torch.tensor([2, 0, 4])), keep=rondeau.Keep(outputs="last"))[0]

    for given in (lengths, None):
        close(graphs.compile(last)(X, given), last(X, given))
    assert graphs.scans == [1, 1]
    close(torch.compile(of_rows, backend="eager")(X[0]), of_rows(X[0]))
