"""`scan` as an operator of torch: by itself, under torch.compile, and in exported programs that run elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor

from rondeau import Ragged, scan
from rondeau.cells import Cell, GRUCell, LSTMCell, SimpleRNNCell
from rondeau.cells.base import state_leaves
from rondeau.errors import DataError, EngineError, ShapeError
from rondeau.recurrence.engine import traces_of
from rondeau.recurrence.text import write

SCAN = torch.ops.rondeau.scan.default
TOLERANCE = 64  # epsilons of the type, of a result's largest number


class Reading(NamedTuple):
    h: Any
    low: Any


class Attending(Cell):
    """Reads a memory, a per-step input and the index; its two states have other sizes than its output."""

    per_row = ("memory",)
    per_step = ("clock",)

    def __init__(self, units: int) -> None:
        super().__init__()
        self.state_size, self.output_size = Reading(h=units, low=3), units

    def build(self, features: int) -> None:
        units = self.output_size
        self.kernel = self.add_weight("kernel", (features, units))
        self.recurrent = self.add_weight("recurrent", (units, units))
        self.down = self.add_weight("down", (units, 3))

    def step(self, x: Tensor, state: Any, context: Any) -> Any:
        h, low = state
        query = torch.tanh(x @ self.kernel + h @ self.recurrent)
        scores = torch.softmax((context.memory * query[:, None, :]).sum(-1), -1)
        read = (scores[:, :, None] * context.memory).sum(1)
        h = torch.tanh(h + read) * context.clock + 0.01 * context.index
        return h, Reading(h, low + h @ self.down)


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)
    if "torch._dynamo" in sys.modules:
        torch._dynamo.reset()


def close(found: Any, expected: Any) -> None:
    for a, b in zip([t.detach() for t in found], [t.detach() for t in expected], strict=True):
        assert a.shape == b.shape
        assert a.dtype == b.dtype
        allowed = TOLERANCE * torch.finfo(b.dtype).eps * max(1.0, float(b.abs().max())) if b.numel() else 0
        assert not b.numel() or float((a - b).abs().max()) <= allowed


CELLS: dict[str, Callable[[], Cell]] = {
    "lstm": lambda: LSTMCell(4),
    "gru": lambda: GRUCell(4),
    "simple": lambda: SimpleRNNCell(4, use_bias=False),
    "attending": lambda: Attending(4),
}
LENGTHS = [4, 0, 1, 3]


class Case:
    """A scan, as the operator takes it and as `scan` does."""

    def __init__(self, cell: Cell, form: str, reverse: bool = False, train: bool = True) -> None:
        self.cell, self.reverse, self.padded = cell, reverse, form != "ragged"
        self.lengths = None if form == "dense" else torch.tensor(LENGTHS)
        cell.build_for(3)
        self.x = torch.randn(4, 5, 3) if self.padded else torch.randn(sum(LENGTHS), 3)
        self.state = [torch.randn(4, *((n,) if isinstance(n, int) else n)) for _, n in state_leaves(cell.state_size)]
        self.context: dict[str, Tensor] = {}
        if cell.per_step:
            self.context = {"memory": torch.randn(4, 6, 4), "clock": torch.rand(4, 5, 1)}
        self.tensors = [self.x, *self.state, *self.context.values()]
        for tensor in self.tensors:
            tensor.requires_grad_(train)
        with torch.set_grad_enabled(train):
            self.by_scan("native")
        (entry,) = traces_of(cell).entries.values()
        assert entry.loops is not None
        self.ir = write(entry.loops.step)
        self.names = ["x", *(f"state.{i}" for i in range(len(self.state))), *(f"context.{n}" for n in self.context)]
        self.names += [f"param.{i}" for i in range(len(entry.captured))]
        self.tensors += entry.captured

    @property
    def arguments(self) -> tuple[Any, ...]:
        tensors = list(self.tensors)
        if not self.padded and self.context:
            place = self.names.index("context.clock")
            tensors[place] = Ragged.from_padded(tensors[place], self.lengths).values
        return tensors, self.lengths, self.names, self.padded, self.reverse, self.ir

    def by_operator(self) -> list[Tensor]:
        return list(SCAN(*self.arguments))

    def by_scan(self, engine: str) -> list[Tensor]:
        inputs = self.x if self.padded or self.lengths is None else Ragged(self.x, self.lengths)
        outputs, state = scan(self.cell, inputs, self.state, self.lengths if self.padded else None, self.reverse,
                              context=self.context, engine=engine)  # fmt: skip
        values = outputs.values if isinstance(outputs, Ragged) else outputs
        return [values, *(t for _, t in state_leaves(state))]


def gradients(case: Case, results: list[Tensor], create_graph: bool = False) -> list[Tensor]:
    torch.manual_seed(3)
    cotangents = [torch.randn_like(r) for r in results]
    return list(torch.autograd.grad(results, case.tensors, cotangents, create_graph=create_graph))


# -- the operator itself


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("form", ["dense", "padded", "ragged"])
@pytest.mark.parametrize("name", CELLS)
def test_it_computes_what_scan_does(name: str, form: str, reverse: bool) -> None:
    case = Case(CELLS[name](), form, reverse)
    found, expected = case.by_operator(), case.by_scan("reference")
    close(found, expected)
    close(gradients(case, found), gradients(case, expected))
    with torch.no_grad():
        close(case.by_operator(), expected)


@pytest.mark.parametrize("form", ["dense", "ragged"])
@pytest.mark.parametrize("name", CELLS)
def test_gradients_of_gradients(name: str, form: str) -> None:
    case = Case(CELLS[name](), form, reverse=True)
    second = []
    for results in (case.by_operator(), case.by_scan("reference")):
        first = gradients(case, results, create_graph=True)
        squares = sum(g.square().sum() for g in first if g.requires_grad)
        second.append(torch.autograd.grad(squares, case.tensors, materialize_grads=True))
    close(*second)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("form", ["dense", "padded", "ragged"])
@pytest.mark.parametrize("name", ["lstm", "attending"])
def test_torch_finds_nothing_wrong_with_it(name: str, form: str) -> None:
    tensors, *others = Case(CELLS[name](), form).arguments
    leaves = [t.detach().clone().requires_grad_() for t in tensors]
    torch.library.opcheck(SCAN, (leaves, *others))


def test_frozen_weights_take_no_gradients() -> None:
    cell = LSTMCell(4)
    case = Case(cell, "dense")
    cell.kernel.requires_grad_(False)
    results = case.by_operator()
    wanted = [cell.recurrent_kernel, case.x]
    expected = torch.autograd.grad(case.by_scan("reference")[0].sum(), wanted)
    close(torch.autograd.grad(results[0].sum(), wanted), expected)


def test_a_scan_recorded_for_inference_has_no_gradients() -> None:
    case = Case(LSTMCell(4), "dense", train=False)
    case.x.requires_grad_()
    with pytest.raises(EngineError, match="without the gradient of x"):
        case.by_operator()


def test_tensors_that_do_not_fit_are_refused_before_any_memory_is_read() -> None:
    case = Case(LSTMCell(4), "padded", train=False)
    tensors, lengths, *rest = case.arguments

    def other(place: int, tensor: Tensor) -> list[Tensor]:
        return [*tensors[:place], tensor, *tensors[place + 1 :]]

    with torch.no_grad():
        for place, tensor in enumerate(tensors):
            with pytest.raises(ShapeError, match="does not fit"):
                SCAN(other(place, tensor[..., :-1]), lengths, *rest)
            with pytest.raises(DataError, match="another type"):
                SCAN(other(place, tensor.float() if place else tensor.long()), lengths, *rest)
        with pytest.raises(ShapeError, match="are missing"):
            SCAN(tensors[:-1], lengths, rest[0][:-1], *rest[1:])
        for wrong in ([6, 0, 0, 0], [-1, 0, 0, 0]):
            with pytest.raises(DataError, match="length"):
                SCAN(tensors, torch.tensor(wrong), *rest)
        ragged = Case(LSTMCell(4), "ragged", train=False).arguments
        with pytest.raises(DataError, match="lengths and values"):
            SCAN(ragged[0], torch.tensor([4, 0, 1, 2]), *ragged[2:])
