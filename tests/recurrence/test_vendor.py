"""A vendor's library in the place of the steps. torch's functions take CPU tensors too: what they compute is held to the
reference loop here; that it is cuDNN which they call on CUDA is for test_cuda.py."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.utils.parametrizations import weight_norm

from rondeau import Keep, Ragged, activations, explain, scan
from rondeau.cells import Cell, GRUCell, HiddenState, LSTMCell, SimpleRNNCell, StackedRNNCells, VendorKernel, cudnn
from rondeau.cells.base import state_leaves
from rondeau.errors import EngineError
from rondeau.recurrence import reference, vendor
from rondeau.recurrence.engine import use_engine
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
def calls(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """CPU tensors count as elsewhere, and cuDNN as there; gives the names of the kernels that ran."""
    ran: list[str] = []
    run = vendor.run

    def counted(kernel: VendorKernel, *given: Any) -> Any:
        ran.append(kernel.name)
        return run(kernel, *given)

    monkeypatch.setattr(vendor, "away", lambda device: True)
    monkeypatch.setattr(vendor, "run", counted)
    monkeypatch.setattr(cudnn, "missing", lambda tensor: None)
    with use_engine("reference"):  # whatever the tests were started with
        from rondeau.recurrence import engine

        monkeypatch.setattr(engine, "_forced", [])
        yield ran


def built(name: str, features: int = 3) -> Cell:
    cell: Cell = CELLS[name]().double()
    cell.build_for(features)
    return cell.double()


def check(cell: Cell, case: Case, calls: list[str]) -> None:
    """Outputs, final states, and gradients, by the library as on the reference loop."""
    found = results(cell, case, None)
    assert len(calls) == 1
    expected = results(cell, case, "reference")
    assert len(calls) == 1
    assert found.keys() == expected.keys()
    for name, right in expected.items():
        assert_close(name, found[name], right, EPSILONS)
