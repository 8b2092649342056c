"""A cell's step on NumPy buffers: the kernel of one step, its products, its tables."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from rondeau import Cell, HiddenState, scan
from rondeau.cells import GRUCell, LSTMCell
from rondeau.recurrence.emit.product import Blocking, blocking
from rondeau.recurrence.loops import pack, shared
from rondeau.recurrence.runtime.target import host
from rondeau.recurrence.stream import CompiledStep
from rondeau.recurrence.trace.forms import Declined


def made(cell: Cell, features: int) -> Cell:
    cell.build_for(features)
    g = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in cell.parameters():
            weight.copy_(torch.randn(weight.shape, generator=g) * 0.4)
    return cell.eval()


def product(x: Tensor, weight: Tensor, blocks: Blocking) -> Tensor:
    (n, k), columns = x.shape, weight.shape[1]
    packed = pack(weight, blocks)
    panels = -(-columns // blocks.width)
    out = torch.full((n, panels * blocks.width), torch.nan, dtype=x.dtype)
    kinds = [ctypes.c_int64] * 2 + [ctypes.c_void_p, ctypes.c_int64] * 3 + [ctypes.c_bool]
    run = ctypes.CFUNCTYPE(None, *kinds)(shared(blocks).address("product"))
    run(n, k, x.data_ptr(), x.stride(0), packed.data_ptr(), panels, out.data_ptr(), out.stride(0), False)
    return out[:, :columns]


@pytest.mark.parametrize("element", ["float", "double"])
@pytest.mark.parametrize("k", [1, 3, 4, 70])
def test_a_product_has_the_same_bits_for_any_number_of_rows(k: int, element: str) -> None:
    """One row and two take several panels at once, more rows one after the other."""
    blocks = blocking(host(), element)
    dtype = torch.float32 if element == "float" else torch.float64
    g = torch.Generator().manual_seed(0)
    for panels in range(1, 10):
        columns = panels * blocks.width - 3
        x = torch.randn(11, k, dtype=dtype, generator=g)
        weight = torch.randn(k, columns, dtype=dtype, generator=g)
        expected = x.double() @ weight.double()
        all_rows = product(x, weight, blocks)
        bound = 2 * k * torch.finfo(dtype).eps * (x.abs() @ weight.abs())
        assert ((all_rows - expected).abs() <= bound).all()
        for n in (1, 2, 3, 5):
            assert torch.equal(product(x[:n], weight, blocks), all_rows[:n])


@pytest.mark.parametrize("rows", [1, 2, 5, 33])
@pytest.mark.parametrize("units", [1, 17, 130])
@pytest.mark.parametrize("kind", [LSTMCell, GRUCell])
def test_a_step_is_the_cells_step(kind: Any, units: int, rows: int) -> None:
    cell = made(kind(units), 3)
    x = torch.randn(rows, 3, generator=torch.Generator().manual_seed(rows))
    with torch.no_grad():
        y, state = cell.double()(x.double())
        y, state = cell.double()(x.double(), state)
    cell.float()
    step = CompiledStep(cell, (3,), False, torch.float32, rows)
    step.y[...] = np.nan
    for _ in range(2):
        step.x[...] = x.numpy()
        step.run()
    assert np.abs(step.y - y.numpy()).max() < 1e-6
    for ours, theirs in zip(step.states, state, strict=True):
        assert np.abs(ours - theirs.numpy()).max() < 1e-6
    assert step.counts is None


class Lookup(Cell):
    """Looks up a table by its input, which is whole numbers."""

    def __init__(self, look: Any) -> None:
        super().__init__()
        self.state_size, self.output_size, self.look = HiddenState(h=4), 4, look
        self.table = self.add_weight("table", (7, 4))
        self.flat = self.add_weight("flat", (7,))
        self.cubes = self.add_weight("cubes", (5, 2, 4))
        self.kernel = self.add_weight("kernel", (4, 4))

    def step(self, x: Tensor, state: HiddenState) -> tuple[Tensor, HiddenState]:
        h = torch.tanh(self.look(self, x) + state.h @ self.kernel)
        return h, HiddenState(h)


LOOKUPS: dict[str, Any] = {
    "one": lambda s, x: s.table[x[:, 0]],
    "embedding": lambda s, x: F.embedding(x[:, 0], s.table),
    "index_select": lambda s, x: s.table.index_select(0, x[:, 2]),
    "several": lambda s, x: F.embedding(x, s.table).sum(1),
    "numbers": lambda s, x: s.flat[x],
    "numbers twice": lambda s, x: s.flat[x[:, 1:3].repeat(1, 2)],
    "boxes": lambda s, x: s.cubes[x[:, 3] - 3].mean(1),
    "from the end": lambda s, x: s.table[-1 - x[:, 1]],
    "a product": lambda s, x: F.embedding(x[:, 0], s.table) @ s.kernel,
}


@pytest.mark.parametrize("name", LOOKUPS)
def test_tables_are_looked_up(name: str) -> None:
    cell = made(Lookup(LOOKUPS[name]), 4).double()
    x = torch.randint(0, 7, (5, 6, 4), generator=torch.Generator().manual_seed(0))
    found = {}
    for engine in ("native", "reference"):
        outputs, last = scan(cell, x, lengths=[6, 1, 3, 4, 0], engine=engine)
        loss = (outputs * torch.linspace(0, 1, outputs.numel()).view_as(outputs)).sum() + last.h.sum()
        found[engine] = [outputs, last.h, *torch.autograd.grad(loss, list(cell.parameters()), allow_unused=True)]
    for ours, theirs in zip(found["native"], found["reference"], strict=True):
        assert (ours is None) == (theirs is None)
        assert ours is None or torch.allclose(ours, theirs, rtol=0, atol=1e-13)
    with torch.no_grad():
        expected, _ = scan(cell, x, engine="reference")
    step = CompiledStep(cell, (4,), True, torch.float64, 5)
    for t in range(6):
        step.x[...] = x[:, t].numpy()
        step.run()
        assert np.abs(step.y - expected[:, t].detach().numpy()).max() < 1e-13


@pytest.mark.parametrize("name", ["one", "embedding", "numbers"])
def test_a_number_outside_a_table_is_an_error(name: str) -> None:
    cell = made(Lookup(LOOKUPS[name]), 4)
    for wrong in (7, -1 if name == "embedding" else -8):
        with pytest.raises(IndexError):
            scan(cell, torch.full((1, 2, 4), wrong), engine="native")
    step = CompiledStep(cell, (4,), True, torch.float32, 2)
    step.x[...] = 3
    step.x[1] = 1 << 40
    step.run()
    assert not np.isnan(step.y[0]).any()
    assert np.isnan(step.y[1]).all()  # never memory that is not the table's


def test_a_table_is_not_looked_up_by_what_cannot_be_checked() -> None:
    class Remembering(Lookup):
        def step(self, x: Tensor, state: HiddenState) -> tuple[Tensor, HiddenState]:
            h = self.table[(state.h[:, 0] * 0).long()]
            return h, HiddenState(h)

    with pytest.raises(Declined, match="depends on the state"):
        CompiledStep(made(Remembering(None), 4), (4,), True, torch.float32, 1)


def test_weights_of_another_type_are_declined() -> None:
    cell = made(Lookup(lambda s, x: s.flat[x]), 4)
    cell.kernel.data = cell.kernel.data.double()
    with pytest.raises(Declined, match=r"float32, in a step of torch\.float64"):
        CompiledStep(cell, (4,), True, torch.float64, 1)


@pytest.mark.parametrize("threads", [1, 2])
def test_many_rows_run_in_torchs_threads_and_bits_stay(threads: int) -> None:
    cell = made(LSTMCell(96), 40)
    x = np.random.default_rng(0).standard_normal((65, 40)).astype(np.float32)
    one = CompiledStep(cell, (40,), False, torch.float32, 1)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        many = CompiledStep(cell, (40,), False, torch.float32, 65)
        many.x[...] = x
        many.run()
    finally:
        torch.set_num_threads(before)
    for row in (0, 7, 64):
        one.x[...] = x[row]
        one.states[0][...] = one.states[1][...] = 0
        one.run()
        assert np.array_equal(one.y[0], many.y[row])
