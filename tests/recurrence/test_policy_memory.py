"""What policies are for: training long sequences in little memory, as the system counts it in a process of its own."""

from __future__ import annotations

import subprocess
import sys

import pytest

TRAIN = """
import ctypes, gc, sys
from pathlib import Path
import torch
from rondeau import Full, Keep, Recompute, Truncated, scan
from rondeau.cells import LSTMCell

time, takes, policy = int(sys.argv[1]), sys.argv[2] == "True", eval(sys.argv[3])
torch.set_num_threads(1)
cell = LSTMCell(64)

def train(x):
    scan(cell, x, keep=Keep(outputs="last"), gradient=policy, engine="native")[0].square().sum().backward()

def resident(field):
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(field))
    return int(line.split()[1]) * 1024

train(torch.randn(16, 301, 8))  # three windows, so that everything is compiled
x = torch.randn(16, time, 8).requires_grad_(takes)
gc.collect()
ctypes.CDLL(None).malloc_trim(0)
Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
before = resident("VmRSS")
train(x)
print(resident("VmHWM") - before - takes * x.numel() * 4)
"""


def peak(time: int, policy: str, takes: bool) -> int:
    """Bytes above the inputs, and above their gradient where they take one."""
    command = [sys.executable, "-c", TRAIN, str(time), str(takes), policy]
    return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux counts")
@pytest.mark.parametrize("policy", ["Recompute(every=150)", "Truncated(150)"])
@pytest.mark.parametrize("takes", [False, True])
def test_a_long_sequence_in_the_memory_of_windows(policy: str, takes: bool) -> None:
    step = 16 * 64 * 4 * 10  # what an LSTM keeps of a step: four gates, their like on the way back, and the states
    windows, boundaries = 3 * 150 * step, 20_000 // 150 * 16 * 2 * 64 * 4
    assert windows + boundaries < 25e6
    assert peak(20_000, policy, takes) < windows + boundaries + 10e6


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux counts")
def test_which_all_steps_would_not_fit_in() -> None:
    assert peak(20_000, "Full()", False) > 400e6
