"""Loops on several threads: the same bits, and nothing that hangs or leaks."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from rondeau import scan
from rondeau.cells import Cell, GRUCell, HiddenState, LSTMCell
from rondeau.recurrence import rows
from rondeau.recurrence.engine import traces_of

pytestmark = pytest.mark.timeout(120)  # half of what is tested is that nothing hangs


class Normed(Cell):
    """Sums along units, two products at a step, a gain that is summed over all rows and steps."""

    def __init__(self, units: int) -> None:
        super().__init__()
        self.state_size, self.output_size = HiddenState(h=units), units
        self.first = self.add_weight("first", (units, units), "orthogonal")
        self.second = self.add_weight("second", (units, units), "orthogonal")
        self.gain = self.add_weight("gain", (units,), "ones")

    def step(self, x: Tensor, state: HiddenState) -> tuple[Tensor, HiddenState]:
        z = torch.tanh(state.h @ self.first) @ self.second + x
        h = self.gain * torch.nn.functional.layer_norm(z, (z.shape[-1],))
        return h, HiddenState(h)


UNITS, BATCH, TIME = 64, 70, 5
CELLS: dict[str, Callable[[], Cell]] = {
    "lstm": lambda: LSTMCell(UNITS),
    "older gru": lambda: GRUCell(UNITS, reset_after=False),
    "norm": lambda: Normed(UNITS),
}


def everything(cell: Cell, x: Tensor, lengths: list[int] | None, engine: str = "native", **given: Any) -> list[Tensor]:
    """Outputs, last states, and the gradients of inputs and parameters."""
    x = x.detach().requires_grad_()
    y, last = scan(cell, x, lengths=lengths, engine=engine, **given)
    loss = y.square().sum() + sum(s.sum() for s in last)
    return [y.detach(), *(s.detach() for s in last), *torch.autograd.grad(loss, [x, *cell.parameters()])]


def near(a: Tensor, b: Tensor) -> bool:
    """Within the rounding of sums over all rows and steps."""
    bound = BATCH * TIME * torch.finfo(a.dtype).eps * max(1.0, float(b.abs().max()))
    return torch.allclose(a, b, rtol=0, atol=bound)


def split(cell: Cell) -> bool:
    """Whether every loop of the cell is shared out at this batch."""
    loops = [entry.loops for entry in traces_of(cell).entries.values()]
    return all(
        loops is not None and rows.parts_for(BATCH, loop.macs, loop.pointwise) == torch.get_num_threads()
        for loops in loops
        for loop in ((loops.training, loops.backward) if loops is not None else ())
    )


@pytest.mark.usefixtures("two")
@pytest.mark.parametrize("ragged", [False, True])
@pytest.mark.parametrize("kind", CELLS)
def test_the_same_threads_give_the_same_bits(kind: str, ragged: bool) -> None:
    cell, x = CELLS[kind](), torch.randn(BATCH, TIME, UNITS)
    lengths = [(7 * i) % (TIME + 1) for i in range(BATCH)] if ragged else None
    first = everything(cell, x, lengths)
    assert split(cell), "the work is too little to be shared: the test is void"
    for _ in range(3):
        assert all(map(torch.equal, first, everything(cell, x, lengths)))
    for count in (1, 3):
        torch.set_num_threads(count)
        other = everything(cell, x, lengths)
        assert all(map(near, first, other))
        assert all(map(torch.equal, other, everything(cell, x, lengths)))
    assert all(map(near, first, everything(cell, x, lengths, "reference")))


@pytest.mark.usefixtures("two")
def test_outputs_do_not_depend_on_the_threads_at_all() -> None:
    """Rows are shared out, and what a row computes does not depend on the rows beside it."""
    cell, x = LSTMCell(UNITS), torch.randn(BATCH, TIME, 5)  # few features: all within the loop
    results = []
    for count in (1, 2, 5):
        torch.set_num_threads(count)
        with torch.no_grad():
            y, last = scan(cell, x, engine="native")
        results.append([y, *last])
    for other in results[1:]:
        assert all(map(torch.equal, results[0], other))


@pytest.mark.usefixtures("two")
def test_four_python_threads_at_once() -> None:
    cells = [make() for make in CELLS.values()]
    cells.append(cells[0])  # two share one
    inputs = [torch.randn(BATCH, TIME, UNITS) for _ in cells]
    expected = [everything(cell, x, None, "reference") for cell, x in zip(cells, inputs, strict=True)]
    start = threading.Barrier(len(cells))
    wrong: list[object] = []

    def work(cell: Cell, x: Tensor, right: list[Tensor]) -> None:
        start.wait()
        try:
            for _ in range(15):
                if not all(map(near, everything(cell, x, None), right)):
                    wrong.append(type(cell).__name__)
        except Exception as error:
            wrong.append(error)

    workers = [threading.Thread(target=work, args=given) for given in zip(cells, inputs, expected, strict=True)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not wrong


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("calls", [1000, pytest.param(10_000, marks=pytest.mark.slow)])
def test_calls_of_changing_shapes_leak_nothing(calls: int) -> None:
    cell = LSTMCell(2)
    cell.build_for(1)
    lengths = [torch.randint(0, 4, (n,)) for n in range(9)]
    inputs = [torch.randn(n, 4, 1) for n in range(9)]

    def work(times: int) -> None:
        for i in range(times):
            n = i % 9
            if i % 4:
                with torch.no_grad():
                    scan(cell, inputs[n], lengths=lengths[n], reverse=i % 2 == 0, engine="native")
            else:
                scan(cell, inputs[n], lengths=lengths[n], engine="native")[0].sum().backward()

    def resident() -> int:
        gc.collect()
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") // 1024

    work(500)
    objects = len(gc.get_objects())  # first: the list itself is megabytes
    before = resident()
    work(calls)
    assert resident() - before < 2000, "kilobytes: of ten thousand calls, two hundred bytes each"
    assert len(gc.get_objects()) - objects < 500
    assert traces_of(cell).made == 2


# --- processes --------------------------------------------------------------------------------------------------------

RUN = """
import os, warnings
import torch
from rondeau import scan
from rondeau.cells import LSTMCell
warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 tells of forking beside threads
torch.manual_seed(0)
torch.set_num_threads(1)
cell, inputs = LSTMCell(48), torch.randn(70, 5, 48)
cell.build_for(48)

def result():
    cell.zero_grad()
    y, _ = scan(cell, inputs, engine="native")
    y.sum().backward()
    return float(y.detach().double().sum() + cell.kernel.grad.double().sum())

def near(a, b):
    return abs(a - b) < 1e-3 * max(1, abs(b))
"""


@pytest.fixture
def elsewhere(tmp_path: Path) -> Callable[..., str]:
    """Runs a script after RUN in a fresh process, whose threads nobody has limited; what it prints."""

    def run(script: str, **environment: str) -> str:
        path = tmp_path / "script.py"
        path.write_text(RUN + script)
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "MKL_"))}
        done = subprocess.run(
            [sys.executable, str(path)],
            env={**inherited, "RONDEAU_CACHE": str(tmp_path / "kernels"), **environment},
            capture_output=True,
            text=True,
            timeout=100,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


FORK = """
torch.set_num_threads(2)
right = result()
child = os.fork()
if child == 0:
    print(near(result(), right), flush=True)
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
assert near(result(), right)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_a_forked_child_computes(elsewhere: Callable[..., str]) -> None:
    assert elsewhere(FORK) == "True\n"


WORKERS = """
from torch.utils.data import DataLoader, Dataset

class Items(Dataset):
    def __len__(self):
        return 4

    def __getitem__(self, i):
        return torch.tensor([i, result()], dtype=torch.float64)

if __name__ == "__main__":
    torch.set_num_threads(2)
    right = result()
    for way in ("fork", "spawn"):
        loader = DataLoader(Items(), num_workers=2, multiprocessing_context=way, timeout=80)
        found = torch.cat(list(loader))
        print(way, found[:, 0].tolist(), [near(float(n), right) for n in found[:, 1]])
    assert near(result(), right)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_workers_of_a_dataloader_compute(elsewhere: Callable[..., str]) -> None:
    items = "[0.0, 1.0, 2.0, 3.0] [True, True, True, True]"
    assert elsewhere(WORKERS) == f"fork {items}\nspawn {items}\n"


@pytest.mark.parametrize("threads", ["1", "2"])
def test_fewer_threads_than_asked_for(elsewhere: Callable[..., str], threads: str) -> None:
    """OMP_THREAD_LIMIT grants a smaller team than `set_num_threads` asks for."""
    script = "a = result()\ntorch.set_num_threads(4)\nprint(near(result(), a))"
    assert elsewhere(script, OMP_THREAD_LIMIT=threads) == "True\n"
