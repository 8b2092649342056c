"""Steps that cannot be compiled: named, with the line, once; run on the reference loop all the same."""

from __future__ import annotations

import linecache
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from rondeau import scan
from rondeau.cells import Cell, HiddenState
from rondeau.errors import EngineError
from tests.recurrence.compare import Case, results

UNITS, FEATURES = 4, 4
LENGTHS = [3, 2, 3]

Function = Callable[[Tensor, Tensor, Any], Tensor]


class Base(Cell):
    """`function(h, x, cell)` of the state and the input."""

    function: Function

    def __init__(self) -> None:
        super().__init__()
        self.state_size, self.output_size = HiddenState(h=UNITS), UNITS
        self.weight = self.add_weight("weight", (UNITS, UNITS))
        self.norm = torch.nn.BatchNorm1d(UNITS, track_running_stats=False)
        self.dropout = torch.nn.Dropout(0.5)
        self.register_buffer("count", torch.zeros(()))
        self.register_buffer("order", torch.tensor([1, 0, 3, 2]))
        self.calls = 0
        self.log: list[Tensor] = []
        self.double()

    def step(self, x: Tensor, state: HiddenState) -> tuple[Tensor, HiddenState]:
        h = torch.tanh(x + type(self).function(state.h, x, self) @ self.weight)
        return h, HiddenState(h)


def made(function: Function) -> Cell:
    """A class of its own, since a warning comes once for each."""
    torch.manual_seed(2)
    return type("Declining", (Base,), {"function": staticmethod(function)})()


def _adds_in_place(h: Tensor, x: Tensor, w: Any) -> Tensor:
    h += 1  # declined here
    return h


def _adds_to_input(h: Tensor, x: Tensor, w: Any) -> Tensor:
    x.add_(1)  # declined here
    return h


def _sets_a_part(h: Tensor, x: Tensor, w: Any) -> Tensor:
    h[:, 0] = 1  # declined here
    return h


def _changes_a_view(h: Tensor, x: Tensor, w: Any) -> Tensor:
    h.view(-1, 2, 2).mul_(2)  # declined here
    return h


def _counts(h: Tensor, x: Tensor, w: Any) -> Tensor:
    w.count.add_(1)  # declined here
    return h


def _branches(h: Tensor, x: Tensor, w: Any) -> Tensor:
    if h.sum() > 0:  # declined here
        return h
    return -h


def _catches(h: Tensor, x: Tensor, w: Any) -> Tensor:
    try:
        return h * h.sum().item()  # declined here
    except Exception:
        return h


def _attention(h: Tensor, x: Tensor, w: Any) -> Tensor:
    return h @ h.T @ h  # declined here


# name -> the step and a word of the reason
MIXES: dict[str, tuple[Function, str]] = {
    "rows by rows": (_attention, "mm multiplies rows"),
    "batch normalisation": (lambda h, x, w: w.norm(h), "rows"),  # declined here
    "flip of the rows": (lambda h, x, w: h.flip(0), "flip mixes rows"),  # declined here
    "roll of the rows": (lambda h, x, w: h.roll(1, 0), "roll mixes rows"),  # declined here
    "mean of the rows": (lambda h, x, w: h - h.mean(0), "mean takes the mean over rows"),  # declined here
    "sum of the rows": (lambda h, x, w: h + h.sum(0), "rows"),  # declined here
    "sum of everything": (lambda h, x, w: h / h.square().sum(), "rows"),  # declined here
    "largest of the rows": (lambda h, x, w: h - h.amax(0), "amax takes the max over rows"),  # declined here
    "softmax over the rows": (lambda h, x, w: h.softmax(0), "_softmax takes the max over rows"),  # declined here
    "norm over the rows": (lambda h, x, w: F.normalize(h, dim=0), "norm"),  # declined here
    "sort of the rows": (lambda h, x, w: h.sort(0).values, "sort"),  # declined here
    "product of the rows": (lambda h, x, w: h * h.prod(0), "prod multiplies rows"),  # declined here
    "cumsum of the rows": (lambda h, x, w: h.cumsum(0), "rows"),  # declined here
    "one row for all": (lambda h, x, w: h + h[:1], "slice mixes rows"),  # declined here
    "rows joined": (lambda h, x, w: torch.cat([h, x]).view(2, -1, 4).sum(0), "cat joins"),  # declined here
    "the batch size": (lambda h, x, w: h * (1 / h.shape[0]), "mul depends on the batch size"),  # declined here
    "the batch size, added": (lambda h, x, w: h + len(h), "add depends on the batch size"),  # declined here
}
RANDOM: dict[str, tuple[Function, str]] = {
    "dropout": (lambda h, x, w: F.dropout(h, 0.5, True), "random"),  # declined here
    "nn.Dropout": (lambda h, x, w: w.dropout(h), "random"),  # declined here
    "randn_like": (lambda h, x, w: h + torch.randn_like(h), "randn_like draws random"),  # declined here
    "rand": (lambda h, x, w: h + torch.rand(UNITS), "rand draws random"),  # declined here
    "bernoulli": (lambda h, x, w: h * torch.bernoulli(h.sigmoid()), "bernoulli draws random"),  # declined here
    "normal in place": (lambda h, x, w: h + torch.zeros(UNITS).normal_(), "draws random"),  # declined here
}
MUTATES: dict[str, tuple[Function, str]] = {
    "the state": (_adds_in_place, "add_ changes an input of the step in place"),
    "a part of the state": (_sets_a_part, "changes an input of the step in place"),
    "the state, through a view": (_changes_a_view, "mul_ changes an input of the step in place"),
    "the input": (_adds_to_input, "add_ changes an input of the step in place"),
    "a buffer": (_counts, "add_ changes a tensor from outside the step in place"),
}
READS: dict[str, tuple[Function, str]] = {
    "item": (lambda h, x, w: h * h.sum().item(), ".item() reads"),  # declined here
    "if": (_branches, "an if"),
    "float": (lambda h, x, w: h * float(h.detach()[0, 0]), "float() reads"),  # declined here
    "numpy": (lambda h, x, w: h * h.detach().numpy().mean(), ".numpy() reads"),  # declined here
    "a NumPy function": (lambda h, x, w: h * torch.from_numpy(np.asarray(h.detach())), "reads"),  # declined here
    "tolist": (lambda h, x, w: h * sum(h[0].tolist()), ".tolist() reads"),  # declined here
    "max of Python": (lambda h, x, w: h * max(h[0]), "reads"),  # declined here
    "format": (lambda h, x, w: h * len(f"{h.sum():.1f}"), "printing reads"),  # declined here
    "a parameter's value": (lambda h, x, w: h * w.weight[0, 0].item(), ".item() reads"),  # declined here
    "a buffer's value": (lambda h, x, w: h if w.count else -h, "an if"),  # declined here
    "masked_select": (lambda h, x, w: h * h[h > 0].mean(), "index picks elements by"),  # declined here
    "nonzero": (lambda h, x, w: h * len(h.nonzero()), "nonzero reads"),  # declined here
    "where it is": (lambda h, x, w: h * torch.where(h > 0)[0].shape[0], "reads"),  # declined here
    "allclose": (lambda h, x, w: h if torch.allclose(h, x) else -h, "reads"),  # declined here
    "in spite of a try": (_catches, ".item() reads"),
    "by an index of values": (lambda h, x, w: h.gather(1, h.argsort(1)), "sort"),  # declined here
    "by a computed index": (lambda h, x, w: h * h[:, h.argmax(1)[:1]], "index picks elements"),  # declined here
    "by a buffer": (lambda h, x, w: h[:, w.order], "index picks elements by a tensor's values"),  # declined here
}
ALL = {**MIXES, **RANDOM, **MUTATES, **READS}


def _run(cell: Cell, engine: str | None) -> dict[str, Tensor]:
    torch.manual_seed(5)  # what a step draws comes from torch's own numbers
    case = Case.random(cell, FEATURES, LENGTHS)
    if type(cell).function in [function for function, _ in MUTATES.values()]:  # in training torch itself refuses those
        with torch.no_grad():
            return results(cell, case, engine, gradients=False)
    return results(cell, case, engine)


@pytest.mark.parametrize("name", ALL)
def test_declined_by_name_with_the_line(name: str) -> None:
    function, word = ALL[name]
    cell = made(function)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found, again = _run(cell, None), _run(cell, None)
        expected = _run(cell, "reference")
    assert [w.category for w in caught] == [RuntimeWarning]
    message = str(caught[0].message)
    assert "Declining runs on the slow reference loop" in message
    assert word in message
    path, line, text = _line(message)
    assert path == __file__
    assert "# declined here" in linecache.getline(path, line)
    assert text in linecache.getline(path, line)
    for key, value in expected.items():
        assert torch.equal(found[key], value), key
        assert torch.equal(again[key], value), key


def _line(message: str) -> tuple[str, int, str]:
    """What a warning says of the place."""
    assert ", line " in message, message
    path, _, rest = message.partition(", line ")
    number, _, text = rest.partition(": ")
    return path.rpartition("(")[2], int(number), text.partition("). ")[0]


@pytest.mark.parametrize("name", ALL)
def test_refused_where_native_is_asked_for(name: str) -> None:
    function, word = ALL[name]
    with pytest.raises(EngineError) as caught:
        _run(made(function), "native")
    assert word in str(caught.value)
    assert "# declined here" in str(caught.value) or "declined here" in _source(str(caught.value))


def _source(message: str) -> str:
    path, _, rest = message.partition(", line ")
    return linecache.getline(path.rpartition("at ")[2], int(rest.partition(":")[0]))


def test_a_step_that_changes_its_attributes_is_declined() -> None:
    def count(h: Tensor, x: Tensor, w: Any) -> Tensor:
        w.calls += 1
        return h * 2

    with pytest.warns(RuntimeWarning, match="changes attributes"):
        found = _run(made(count), None)
    for key, value in _run(made(count), "reference").items():
        assert torch.equal(found[key], value)


def test_a_step_that_computes_with_what_it_counts_is_declined() -> None:
    def count(h: Tensor, x: Tensor, w: Any) -> Tensor:
        w.calls += 1
        return h / w.calls

    with pytest.raises(EngineError, match=r"div depends on .* what changes from call to call"):
        _run(made(count), "native")


def test_a_step_that_fills_a_list_is_declined() -> None:
    def log(h: Tensor, x: Tensor, w: Any) -> Tensor:
        w.log.append(h)
        return h

    with pytest.raises(EngineError, match="changes attributes, lists"):
        _run(made(log), "native")


def test_a_step_in_two_types_is_declined() -> None:
    with pytest.raises(EngineError, match=r"computes in float32, in a step of torch\.float64"):
        _run(made(lambda h, x, w: h.float().double()), "native")


def test_an_unknown_operation_is_named() -> None:
    with pytest.raises(EngineError, match="lgamma, which the compiler does not know"):
        _run(made(lambda h, x, w: torch.lgamma(h)), "native")


def test_the_line_is_the_users_where_the_gradient_is_to_blame() -> None:
    def step(h: Tensor, x: Tensor, w: Any) -> Tensor:
        return Strange.apply(h)  # declined here

    with pytest.raises(EngineError, match="lgamma"):
        _run(made(step), "native")


class Strange(torch.autograd.Function):
    """A gradient that nobody compiles."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x * 2

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Tensor:  # type: ignore[override]
        return g * torch.lgamma(ctx.saved_tensors[0])


def test_without_a_batch_nothing_is_declined() -> None:
    cell = made(lambda h, x, w: h)
    outputs, _ = scan(cell, torch.zeros(0, 3, FEATURES, dtype=torch.float64), engine="native")
    assert outputs.shape == (0, 3, UNITS)


WHOLE: dict[str, Callable[[Tensor], Tensor]] = {
    "abs": lambda x: x.abs(),
    "clamp": lambda x: x.clamp(0, 2),
    "maximum": lambda x: torch.maximum(x, 2 * x - 3),
    "fmod": lambda x: x.fmod(3),
    "remainder": lambda x: x % 3,
    "of a negative divisor": lambda x: x % -3,
    "round": lambda x: x.round(),
    "sign": lambda x: x.sign(),
    "sum of truths": lambda x: (x > 0) + (x > 1),
    "product of truths": lambda x: (x > 0) * (x > 1),
    "count": lambda x: (x > 0).sum(-1, keepdim=True),
    "any": lambda x: (x > 2).any(-1, keepdim=True),
    "compared": lambda x: x < 2,
}
NARROW = [torch.int32, torch.int16, torch.int8, torch.uint8]


class Whole(Cell):
    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.state_size, self.output_size, self.function = HiddenState(h=7), 7, function
        self.register_buffer("numbers", torch.arange(7, dtype=torch.int32))

    def step(self, x: Tensor, state: HiddenState) -> tuple[Tensor, HiddenState]:
        h = torch.tanh(state.h + self.function(x).float() + 0.1 * (x == self.numbers).float())
        return h, HiddenState(h)


def whole(cell: Cell, dtype: torch.dtype, engine: str) -> Tensor:
    x = torch.randint(0 if dtype == torch.uint8 else -4, 7, (2, 5, 7), generator=torch.Generator().manual_seed(0))
    return scan(cell, x.to(dtype), engine=engine)[0]


@pytest.mark.parametrize("name", WHOLE)
def test_whole_numbers(name: str) -> None:
    cell = Whole(WHOLE[name])
    found, expected = (whole(cell, torch.int64, engine) for engine in ("native", "reference"))
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("dtype", NARROW, ids=str)
def test_narrow_whole_numbers_are_read_but_not_computed_with(dtype: torch.dtype) -> None:
    cell = Whole(lambda x: x)
    found, expected = (whole(cell, dtype, engine) for engine in ("native", "reference"))
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)
    with pytest.raises(EngineError, match=r"computes in u?int\d+; loops compute whole numbers in int64"):
        whole(Whole(lambda x: x * 2), dtype, "native")


@pytest.mark.parametrize(
    ("function", "reason"),
    [
        (lambda x: x % (x + 100), "computes remainder of whole numbers"),
        (lambda x: x.amax(-1, keepdim=True), "takes the max of whole numbers"),
        (lambda x: (x > 0).prod(-1, keepdim=True), "makes whole numbers of what"),
        (lambda x: (x * 2).int(), "computes in int32"),
    ],
)
def test_what_whole_numbers_cannot_do_is_declined_before_anything_is_compiled(
    function: Callable[[Tensor], Tensor], reason: str
) -> None:
    cell = Whole(function)
    with pytest.raises(EngineError, match=reason):
        whole(cell, torch.int64, "native")
    with pytest.warns(RuntimeWarning, match=reason):
        found = scan(cell, torch.ones(2, 5, 7, dtype=torch.int64))[0]
    assert found.shape == (2, 5, 7)
