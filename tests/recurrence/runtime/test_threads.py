from __future__ import annotations

import ctypes
import gc
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from rondeau.recurrence.runtime import threads
from rondeau.recurrence.runtime.jit import Code, compile_object
from rondeau.recurrence.runtime.target import host

pytestmark = pytest.mark.timeout(90)  # half of what is tested is that nothing hangs


def marks(parts: int) -> Tensor:
    return torch.zeros(parts, 2, dtype=torch.int64)


def starts(code: Code, parts: int) -> list[int]:
    """Run `mark` once, see that every part was done once, and return where its calls began."""
    board = marks(parts)
    threads.run(code.address("mark"), board.data_ptr(), parts)
    assert board[:, 0].tolist() == [1] * parts
    return sorted(set(board[:, 1].tolist()))


@pytest.mark.usefixtures("two")
@pytest.mark.parametrize("parts", [0, 1, 2, 3, 7, 64])
def test_every_part_is_done_once(code: Code, parts: int) -> None:
    expected = sorted({0, -(-parts // 2)}) if parts > 1 else [0] * parts
    assert starts(code, parts) == expected
    assert threads.how() == "torch's pool, 2 threads"


@pytest.mark.usefixtures("two")
def test_torchs_number_of_threads_is_respected(code: Code) -> None:
    torch.set_num_threads(3)
    assert starts(code, 9) == [0, 3, 6]
    torch.set_num_threads(1)
    assert starts(code, 9) == [0]
    assert threads.how() == "one thread: torch.get_num_threads() is 1"


@pytest.mark.usefixtures("two")
def test_without_torchs_pool_one_thread_does_it(code: Code, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "_parallel_for", None)
    assert starts(code, 9) == [0]
    assert threads.how() == f"one thread: torch {torch.__version__} has no torch_parallel_for"


@pytest.mark.usefixtures("two")
def test_inside_a_parallel_region_it_runs_serially(code: Code) -> None:
    seen: list[list[int]] = []
    region = ctypes.CFUNCTYPE(None, ctypes.c_int64, ctypes.c_int64, ctypes.c_void_p)(
        lambda begin, end, nothing: seen.extend(starts(code, 8) for _ in range(begin, end))
    )
    parallel_for = threads._find()
    assert parallel_for is not None
    assert parallel_for(0, 4, 1, ctypes.cast(region, ctypes.c_void_p).value or 0, 0) == 0
    assert seen == [[0]] * 4
    assert starts(code, 8) == [0, 4]  # and not outside it


@pytest.mark.usefixtures("two")
def test_the_python_lock_is_released() -> None:
    """Parts wait for a number that only another Python thread writes."""
    text = """
define void @wait(i64 %begin, i64 %end, ptr %a) {
entry:
  br label %again
again:
  %v = load volatile i64, ptr %a
  %zero = icmp eq i64 %v, 0
  br i1 %zero, label %again, label %done
done:
  ret void
}
"""
    code = Code.load(compile_object(text, host()), ["wait"])
    for parts in (1, 2):
        flag = ctypes.c_int64(0)
        other = threading.Thread(target=lambda flag=flag: (time.sleep(0.05), setattr(flag, "value", 1)))
        other.start()
        threads.run(code.address("wait"), ctypes.addressof(flag), parts)
        other.join()


@pytest.mark.usefixtures("two")
def test_four_python_threads_at_once(code: Code) -> None:
    boards = [marks(parts) for parts in (5, 8, 13, 64)]
    together = threading.Barrier(4)

    def work(board: Tensor) -> None:
        together.wait()
        for _ in range(500):
            threads.run(code.address("mark"), board.data_ptr(), len(board))

    workers = [threading.Thread(target=work, args=(board,)) for board in boards]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    for board in boards:
        assert board[:, 0].tolist() == [500] * len(board)


@pytest.mark.usefixtures("two")
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_ten_thousand_runs_leak_nothing(code: Code) -> None:
    board = marks(16)

    def resident() -> int:
        gc.collect()
        return int(Path("/proc/self/statm").read_text().split()[1]) * 4

    def work(times: int) -> None:
        for n in range(times):
            threads.run(code.address("mark"), board.data_ptr(), n % 17)

    work(1000)
    before = resident()
    work(10_000)
    assert resident() - before < 500


def test_functions_of_unloaded_code_are_not_kept_for_ever(code: Code, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "_functions", {})
    monkeypatch.setattr(threads, "_MOST_FUNCTIONS", 3)
    for address in range(1, 9):
        threads._function(address)
    assert len(threads._functions) <= 3
    assert starts(code, 3) == [0]


RUN = """
import os, torch
from rondeau.recurrence.runtime import cache, threads

def starts():
    code = cache.kernel("mark", lambda: MARK, ["mark"])
    board = torch.zeros(8, 2, dtype=torch.int64)
    threads.run(code.address("mark"), board.data_ptr(), 8)
    assert board[:, 0].tolist() == [1] * 8, board
    return sorted(set(board[:, 1].tolist()))
"""


def test_the_team_is_what_the_system_grants(elsewhere: Callable[..., str]) -> None:
    script = RUN + "torch.set_num_threads(2)\nprint(torch.get_num_threads(), starts())"
    assert elsewhere(script, OMP_THREAD_LIMIT="1").split(maxsplit=1)[1] == "[0]\n"


@pytest.mark.skipif(not hasattr(threads.os, "fork"), reason="there is no fork")
def test_a_forked_child_uses_one_thread(elsewhere: Callable[..., str]) -> None:
    script = RUN + (
        "import warnings\n"
        "warnings.simplefilter('ignore', DeprecationWarning)\n"  # Python 3.12 tells of forking beside threads
        "torch.set_num_threads(2)\n"
        "assert starts() == [0, 4]\n"
        "child = os.fork()\n"
        "if child == 0:\n"
        "    print(starts(), threads.how(), flush=True)\n"
        "    os._exit(0)\n"
        "assert os.waitpid(child, 0)[1] == 0\n"
        "assert starts() == [0, 4]\n"
    )
    assert elsewhere(script) == "[0] one thread: this process was forked, and torch's pool did not come along\n"


@pytest.mark.skipif(not hasattr(threads.os, "fork"), reason="there is no fork")
def test_dataloader_workers_run_kernels_too(elsewhere: Callable[..., str]) -> None:
    script = RUN + (
        "from torch.utils.data import DataLoader, Dataset\n"
        "class Items(Dataset):\n"
        "    def __len__(self): return 4\n"
        "    def __getitem__(self, i): return torch.tensor([i, len(starts())])\n"
        "if __name__ == '__main__':\n"
        "    torch.set_num_threads(2)\n"
        "    assert starts() == [0, 4]\n"
        "    for way in ('fork', 'spawn'):\n"
        "        loader = DataLoader(Items(), num_workers=2, multiprocessing_context=way, timeout=50)\n"
        "        print(way, torch.cat(list(loader)).tolist())\n"
        "    assert starts() == [0, 4]\n"
    )
    items = "[[0, 1], [1, 1], [2, 1], [3, 1]]"
    assert elsewhere(script) == f"fork {items}\nspawn {items}\n"
